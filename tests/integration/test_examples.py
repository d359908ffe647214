"""The examples in other languages, as programs against real servers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from stratsweep import ServerProcess
from stratsweep_server.rpc.events import formats

from tests.waiting import is_alive, until

EXAMPLES = Path(__file__).parents[2] / "examples"
ENGINE = "tests.engines:AverageEngine"
COMBINATION_COUNT = 30
BEST = {"fast": 5, "slow": 200, "sharpe_ratio": 1.95}


@dataclass(frozen=True)
class Example:
    """How to run one, and the file without which it cannot be run."""

    command: tuple[str, ...]
    needs: Path

    @property
    def is_here(self) -> bool:
        return shutil.which(self.command[0]) is not None and self.needs.exists()


NODE = EXAMPLES / "node"
TYPESCRIPT = EXAMPLES / "typescript" / "build" / "optimize.js"
GO = EXAMPLES / "go" / "build" / "optimize"
ALL = {
    "node": Example(("node", str(NODE / "optimize.js")), NODE / "node_modules"),
    "typescript": Example(("node", str(TYPESCRIPT)), TYPESCRIPT),
    "go": Example((str(GO),), GO),
}
READ_ARROW = ["node", "typescript"]


@dataclass
class Ended:
    """How a program ended."""

    code: int
    output: str
    errors: str


@dataclass
class Running:
    """A program whose lines are read as they come."""

    process: Process
    first_line: str = ""

    async def end(self) -> Ended:
        output, errors = await self.process.communicate()
        code = self.process.returncode
        assert code is not None
        return Ended(code, self.first_line + output.decode(), errors.decode())


@pytest.fixture(params=ALL)
def example(request) -> Example:
    found = ALL[request.param]
    if not found.is_here:
        pytest.skip(f"`make examples` has not prepared examples/{request.param}")
    return found


@pytest.fixture
async def start(example) -> AsyncIterator[Callable]:
    """Start the example with options; it does not outlive the test."""
    async with AsyncExitStack() as stack:

        async def start(*options: str) -> Running:
            process = await asyncio.create_subprocess_exec(
                *example.command, *options, stdout=PIPE, stderr=PIPE
            )
            stack.push_async_callback(kill, process)
            return Running(process)

        yield start


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a server listens that all tests share."""
    with ServerProcess(["--engine", ENGINE, "--workers", "2"]) as server:
        yield server.address


async def kill(process: Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.communicate()


async def hanging(start, address: str, notes: Path) -> tuple[Running, int]:
    """The example in the middle of a backtest that hangs, and the pid of its worker."""
    running = await start("--server", address, "--strategy", "hang", "--symbol", str(notes))
    running.first_line = (await running.process.stdout.readline()).decode()
    await until(lambda: bool(noted_pids(notes)), "a backtest hangs")
    return running, noted_pids(notes)[0]


def noted_pids(notes: Path) -> list[int]:
    """Of the workers whose backtests hang."""
    return [int(note.read_text()) for note in notes.glob("*.pid")]


def best_of(ended: Ended) -> dict[str, float]:
    """What it says is best, of all combinations."""
    assert (ended.code, ended.errors) == (0, "")
    *_, count, best = ended.output.splitlines()
    assert count == f"{COMBINATION_COUNT} results, 0 failed"
    return json.loads(best.removeprefix("best "))


async def test_progress_and_the_best_result_are_shown(start, address):
    ended = await (await start("--server", address)).end()
    assert best_of(ended) == BEST
    first, *progress, _, _ = ended.output.splitlines()
    assert first.startswith(f"{COMBINATION_COUNT} combinations")
    assert progress[-1].startswith(f"{COMBINATION_COUNT} of {COMBINATION_COUNT}, 0 failed, best ")


@pytest.mark.parametrize("example", READ_ARROW, indirect=True)
async def test_every_row_of_every_arrow_part_is_read(start, start_server, monkeypatch):
    monkeypatch.setattr(formats, "MAX_MESSAGE_BYTES", 500)
    connected = await start_server(engine=ENGINE)
    ended = await (await start("--server", connected.server.address, "--arrow")).end()
    assert best_of(ended) == BEST


async def test_a_refusal_names_each_violation(start, address):
    ended = await (await start("--server", address, "--symbol", "")).end()
    assert ended.code == 2
    assert "(INVALID_CONFIG)" in ended.errors
    assert "\n  config.symbols[0] " in ended.errors


async def test_an_optimization_that_failed_says_why(start, address):
    ended = await (await start("--server", address, "--strategy", "raise")).end()
    assert ended.code == 3
    assert ended.errors.startswith("error: OPTIMIZATION_STATE_FAILED: all 30 backtests failed; ")


async def test_a_server_that_is_not_there_is_said_to_be_missing(start):
    ended = await (await start("--server", "127.0.0.1:1")).end()
    assert ended.code == 4
    assert "(unavailable)" in ended.errors.lower()


async def test_a_lost_connection_is_no_result(start, tmp_path):
    with ServerProcess(["--engine", ENGINE, "--workers", "1"]) as server:
        running, _ = await hanging(start, server.address, tmp_path)
        os.kill(server.process_id, signal.SIGKILL)
        ended = await running.end()
    assert ended.code == 1
    assert "best" not in ended.output
    assert ended.errors.startswith("error: ")


async def test_ctrl_c_stops_the_work_on_the_server(start, address, tmp_path):
    running, pid = await hanging(start, address, tmp_path)
    running.process.send_signal(signal.SIGINT)
    ended = await running.end()
    assert ended.code == 130
    await until(lambda: not is_alive(pid), "the worker of the cancelled backtest ends")


@pytest.mark.parametrize("folder", [NODE, EXAMPLES / "typescript"], ids=lambda path: path.name)
def test_no_lock_file_names_a_registry(folder):
    packages = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert len(packages) > 10
    assert [name for name, package in packages.items() if "resolved" in package] == []
