"""Modules of the operator's own, edited while a real server program runs them; and SIGHUP."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from stratsweep import AsyncClient, Client, InvalidConfigError

from tests.waiting import is_alive, until

ENGINE = """
import os
import time
from pathlib import Path

from scaling import SCALE
from stratsweep_server.backtest import BacktestResult

class Engine:
    def run_sync(self, config):
        pid = os.getpid()
        Path(f"{pid}.pid").touch()
        while config.strategy.name == "wait" and not Path("go").exists():
            time.sleep(0.005)
        return BacktestResult({"score": 1 * SCALE, "pid": pid})
"""
STRATEGIES = '''
from typing import Annotated
from stratsweep_server.backtest import Parameter, strategy

@strategy
def mine(bars, level: Annotated[int, Parameter("It.", maximum=10)] = 1):
    """The first idea."""
    return bars.close * 0
'''
OWN_ENGINE = ["--engine", "my_engine:Engine"]


@dataclass
class Desk:
    """A folder with modules in it, where a server program was started."""

    path: Path
    process: subprocess.Popen
    address: str

    @property
    def log(self) -> str:
        return (self.path / "log").read_text()

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a file's text, of the same length, in the same second as far as one can tell."""
        path = self.path / file
        text = path.read_text()
        assert old in text
        time = path.stat().st_mtime_ns
        path.write_text(text.replace(old, new))
        os.utime(path, ns=(time, time + 1))

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    async def told(self, text: str, count: int = 1) -> None:
        await until(lambda: self.log.count(text) >= count, f"the log says {text!r}")

    async def reload(self) -> None:
        before = self.log.count("new optimizations run on")
        self.send(signal.SIGHUP)
        await self.told("new optimizations run on", before + 1)

    def running_workers(self) -> set[int]:
        """The processes that have begun a backtest."""
        return {int(note.stem) for note in self.path.glob("*.pid")}

    def scratch(self) -> list[Path]:
        return list((self.path / "scratch").iterdir())


def write_modules(path: Path, engine: str = "my_engine.py") -> None:
    path.mkdir(exist_ok=True)
    (path / engine).write_text(ENGINE)
    (path / "scaling.py").write_text("SCALE = 1.0\n")
    (path / "my_strategies.py").write_text(STRATEGIES)


@contextmanager
def desk_in(
    path: Path, *arguments: str, wrapper: tuple[str, ...] = (), **options
) -> Iterator[Desk]:
    """Start a server program in a folder with my_engine and my_strategies."""
    write_modules(path)
    (path / "scratch").mkdir()
    command = [*wrapper, sys.executable, "-m", "stratsweep_server", "--workers", "2"]
    command += ["--listen", "127.0.0.1:0", "--scratch", "scratch", *arguments]
    settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True, **options}
    with (
        (path / "log").open("w") as log,
        subprocess.Popen(command, cwd=path, stderr=log, **settings) as process,
    ):
        try:
            line = process.stdout.readline()
            assert line.startswith("listening on "), (path / "log").read_text()
            with Client(line.split()[-1]) as client:
                client.list_strategies()  # answers when the modules are loaded
                yield Desk(path, process, client.address)
        finally:
            process.kill()


@pytest.fixture
def desk(tmp_path) -> Iterator[Desk]:
    """A server with the own engine, started by another program: standard input is no terminal."""
    with desk_in(tmp_path, *OWN_ENGINE) as desk:
        yield desk


async def scores(client: AsyncClient, strategy: str = "now", count: int = 8) -> set[float]:
    """Run an optimization to its end; returns its scores."""
    result = await client.optimize(
        strategy, symbols="ANY", parameters={"x": range(count)}, optimization_target="score"
    ).result()
    assert result.failures == ()
    assert len(result.ranked) == count
    return {each.metrics["score"] for each in result.ranked}


async def begun(desk: Desk, client: AsyncClient, count: int = 8) -> asyncio.Task[set[float]]:
    """An optimization that runs on both workers until the file `go` is there."""
    task = asyncio.create_task(scores(client, "wait", count))
    await until(lambda: len(desk.running_workers()) == 2, "both workers run it")
    return task


async def test_sighup_loads_modules_anew_for_new_optimizations_and_running_ones_keep_theirs(desk):
    async with AsyncClient(desk.address) as client:
        old = await begun(desk, client)
        desk.edit("my_engine.py", "1 * SCALE", "2 * SCALE")
        desk.edit("scaling.py", "1.0", "3.0")
        await desk.reload()
        new = asyncio.create_task(scores(client))
        for worker in desk.running_workers():
            os.kill(worker, signal.SIGKILL)
        assert await new == {6.0}
        assert not old.done()
        (desk.path / "go").touch()
        assert await old == {1.0}
        assert await scores(client) == {6.0}
    digest = hashlib.sha256((desk.path / "my_engine.py").read_bytes()).hexdigest()
    assert f"loaded scaling from {desk.path}/scaling.py (sha256 " in desk.log
    assert f"changed: my_engine from {desk.path}/my_engine.py (sha256 {digest[:12]}, " in desk.log
    assert "1 running one on what was loaded before" in desk.log


async def test_without_sighup_an_edit_has_no_effect_though_workers_are_replaced_and_is_told(desk):
    async with AsyncClient(desk.address) as client:
        old = await begun(desk, client)
        desk.edit("scaling.py", "1.0", "3.0")
        (desk.path / "my_engine.py").unlink()
        for worker in desk.running_workers():
            os.kill(worker, signal.SIGKILL)
        await until(lambda: len(desk.running_workers()) >= 4, "both are replaced")
        (desk.path / "go").touch()
        assert await old == {1.0}
        assert await scores(client) == {1.0}
        sources = (await client.list_strategies()).sources
        assert [(each.file, each.is_stale) for each in sources] == [
            ("my_engine.py", True),
            ("scaling.py", True),
        ]
        await scores(client)
    message = f"{desk.path}/scaling.py has changed since it was loaded as scaling; SIGHUP"
    assert desk.log.count(message) == 1


async def test_what_cannot_be_loaded_is_told_with_file_and_line_and_the_old_code_serves_on(desk):
    async with AsyncClient(desk.address) as client:
        desk.edit("my_engine.py", "return BacktestResult(", "return BacktestResult((")
        desk.send(signal.SIGHUP)
        await desk.told("they cannot be loaded, and nothing changes")
        assert "SyntaxError" in desk.log
        assert "my_engine.py, line 15" in desk.log
        assert await scores(client) == {1.0}
        desk.edit("my_engine.py", "return BacktestResult((", "return BacktestResult(")
        desk.edit("scaling.py", "1.0", "1/0")
        desk.send(signal.SIGHUP)
        await desk.told("they cannot be loaded, and nothing changes", 2)
        assert f'{desk.path}/scaling.py", line 1' in desk.log
        assert await scores(client) == {1.0}
        desk.edit("scaling.py", "1/0", "4.0")
        await desk.reload()
        assert await scores(client) == {4.0}
        assert not any(each.is_stale for each in (await client.list_strategies()).sources)


async def test_strategies_and_their_bounds_are_those_of_the_last_reload(tmp_path):
    (tmp_path / "SPY.csv").write_text(
        "Date,Open,High,Low,Close\n2024-01-02,1,1,1,1\n2024-01-03,1,1,1,1\n2024-01-04,1,1,1,1\n"
    )
    config = {"symbols": "SPY", "parameters": {"level": [20]}}
    with desk_in(tmp_path, "--strategies", "my_strategies", "--data", ".") as desk:
        async with AsyncClient(desk.address) as client:
            with pytest.raises(InvalidConfigError, match="above the maximum 10"):
                await client.validate("mine", **config)
            before = await client.list_strategies()
            (mine,) = [each for each in before.strategies if each.name == "mine"]
            (source,) = before.sources
            text = (tmp_path / "my_strategies.py").read_bytes()
            assert mine.source == source.module == "my_strategies"
            assert source.file == "my_strategies.py"
            assert source.digest == hashlib.sha256(text).hexdigest()
            assert source.modification_time <= source.load_time
            (built_in,) = [each for each in before.strategies if each.name == "momentum"]
            assert built_in.source == ""
            assert (mine.takes_columns, built_in.takes_columns) == (False, True)

            desk.edit("my_strategies.py", "maximum=10", "maximum=90")
            desk.edit("my_strategies.py", "The first idea.", "The other idea.")
            assert (await client.list_strategies()).sources[0].is_stale
            await desk.reload()
            assert (await client.validate("mine", **config)).total_count == 1
            after = await client.list_strategies()
            assert "The other idea." in [each.description for each in after.strategies]
            assert after.sources[0].load_time > source.load_time
        with grpc.insecure_channel(desk.address) as channel:
            answer = channel.unary_unary("/stratsweep.v1.OptimizationService/ListStrategies")(b"")
        assert b"my_strategies.py" in answer
        assert str(tmp_path).encode() not in answer


async def test_files_that_are_named_by_their_paths_are_kept_and_loaded_anew_like_modules(tmp_path):
    write_modules(tmp_path / "own ideas", "my-engine.py")
    with desk_in(tmp_path, "--engine", "own ideas/my-engine.py:Engine") as desk:
        async with AsyncClient(desk.address) as client:
            old = await begun(desk, client)
            desk.edit("own ideas/my-engine.py", "1 * SCALE", "2 * SCALE")
            (desk.path / "own ideas/scaling.py").unlink()
            for worker in desk.running_workers():
                os.kill(worker, signal.SIGKILL)
            await until(lambda: len(desk.running_workers()) >= 4, "both are replaced")
            (desk.path / "own ideas/scaling.py").write_text("SCALE = 1/0")
            desk.send(signal.SIGHUP)
            await desk.told("they cannot be loaded, and nothing changes")
            assert f'{desk.path}/own ideas/scaling.py", line 1' in desk.log
            (desk.path / "go").touch()
            assert await old == {1.0}
            (desk.path / "own ideas/scaling.py").write_text("SCALE = 3.0")
            await desk.reload()
            assert await scores(client) == {6.0}
            sources = (await client.list_strategies()).sources
            assert [(each.module, each.file) for each in sources] == [
                ("my-engine", "my-engine.py"),
                ("scaling", "scaling.py"),
            ]


async def test_sighup_to_the_whole_group_ends_neither_fork_server_nor_workers(tmp_path):
    with desk_in(tmp_path, *OWN_ENGINE, process_group=0) as desk:
        async with AsyncClient(desk.address) as client:
            old = await begun(desk, client)
            workers = desk.running_workers()
            for worker in workers:
                os.kill(worker, signal.SIGHUP)
            os.killpg(desk.process.pid, signal.SIGHUP)
            await desk.told("no module has changed")
            await desk.told("new optimizations run on")
            assert all(map(is_alive, workers))
            (desk.path / "go").touch()
            assert await old == {1.0}
            assert await scores(client) == {1.0}
        assert "WARNING" not in desk.log
        assert "ERROR" not in desk.log
        desk.send(signal.SIGTERM)
        assert desk.process.wait() == 0
    assert desk.scratch() == []


async def test_a_server_that_was_started_to_hear_no_hang_up_hears_none(tmp_path):
    with desk_in(tmp_path, *OWN_ENGINE, wrapper=("nohup",)) as desk:
        desk.send(signal.SIGHUP)
        desk.send(signal.SIGHUP)
        async with AsyncClient(desk.address) as client:
            assert await scores(client) == {1.0}
        desk.send(signal.SIGTERM)
        assert desk.process.wait() == 0
    assert "anew" not in desk.log


IN_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("is_closed", [False, True], ids=["sent", "terminal closed"])
async def test_a_server_in_a_terminal_stops_cleanly_when_that_hangs_up(tmp_path, is_closed):
    ours, theirs = map(os.fdopen, pty.openpty())
    wrapper = (sys.executable, "-c", IN_A_TERMINAL)
    options = {"wrapper": wrapper, "stdin": theirs}
    with ours, theirs, desk_in(tmp_path, *OWN_ENGINE, "--grace", "0", **options) as desk:
        theirs.close()
        async with AsyncClient(desk.address) as client:
            old = await begun(desk, client)
            workers = desk.running_workers()
            if is_closed:
                ours.close()
            else:
                desk.send(signal.SIGHUP)
                desk.send(signal.SIGHUP)
            await asyncio.to_thread(desk.process.wait)
            old.cancel()
    assert desk.process.returncode == 0
    assert desk.log.endswith("stopped\n")
    assert "Traceback" not in desk.log
    assert desk.scratch() == []
    await until(lambda: not any(map(is_alive, workers)), "the workers are gone")
