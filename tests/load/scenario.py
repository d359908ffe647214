"""One load test from the server's start to its end, and what must hold all the way.

warm up ─▶ note what the server holds ─▶ load (client processes; some are killed) ─▶ settle
    ─▶ compare what it holds ─▶ is it idle? ─▶ is it still right? ─▶ SIGTERM ─▶ what is left?
"""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from tests.load.client_process import PATIENCE_SECONDS
from tests.load.processes import Usage, usage
from tests.load.server_program import ROOT, ServerProgram
from tests.load.tally import Tally
from tests.waiting import is_alive

SEED = 20_240_229

_STREAM_KINDS = {"steady": 8, "grouped": 3, "faulty": 2, "slow_reader": 2, "canceller": 1}
_STREAM_SHARES = sum(_STREAM_KINDS.values())
_CLIENT_PROCESSES = 2
_SETTLE_SECONDS = 15.0
_IDLE_SECONDS = 2.0
_IDLE_SHARE = 0.01
"""Of one core: below it a server counts as idle."""


@dataclass(frozen=True, slots=True)
class Load:
    """How hard to press.

    Attributes:
        duration: Seconds in which calls are begun.
        optimizations: Streams at a time, disturbed ones included.
        combinations: Of each of the larger optimizations.
        workers: Of the server.
    """

    duration: float
    optimizations: int
    combinations: int
    workers: int


@dataclass(slots=True)
class Findings:
    """What came out.

    Attributes:
        tally: Of all clients.
        elapsed: Seconds from the first call to the last answer.
        before: What the server held when it was warm.
        after: The same when the load was gone and things had settled.
        idle_share: CPU of server and workers afterwards, in cores.
        killed_clients: Client processes that were killed in the middle of their streams.
        violations: What was not as it must be.
    """

    tally: Tally = field(default_factory=Tally)
    elapsed: float = 0.0
    before: Usage | None = None
    after: Usage | None = None
    idle_share: float = 0.0
    killed_clients: int = 0
    violations: list[str] = field(default_factory=list)


async def press(load: Load, folder: Path) -> Findings:
    """Run the whole load test; the server's log and files are in `folder`."""
    findings = Findings()
    arguments = ("--workers", str(load.workers), "--engine", "tests.load.engine:LoadEngine")
    limit = ("--max-optimizations", str(load.optimizations + 2))  # so that some are refused
    with ServerProgram(folder, *arguments, *limit) as server:
        await _tally_of(server, 1.0, 200, {"steady": 4, "canceller": 2, "health": 1})
        findings.before = await _settled(server, None)
        await _load(server, load, findings)
        findings.after = await _settled(server, findings.before)
        findings.violations += _leaks(findings.before, findings.after)
        findings.idle_share = await _idle_share(server)
        if findings.idle_share > _IDLE_SHARE:
            findings.violations.append(f"idle, it uses {findings.idle_share:.1%} of a core")
        last = await _tally_of(server, 0.1, 1_000, {"steady": 1, "faulty": 1, "health": 1})
        findings.violations += [f"after the load: {text}" for text in last.violations]
        await _end(server, findings)
    findings.violations += findings.tally.violations
    return findings


async def _load(server: ServerProgram, load: Load, findings: Findings) -> None:
    start = time.monotonic()
    crowd = [
        _tally_of(server, load.duration, load.combinations, kinds, SEED + number)
        for number, kinds in enumerate(_shares(load.optimizations))
    ]
    tallies, findings.killed_clients = await asyncio.gather(
        asyncio.gather(*crowd), _kill_clients(server, load)
    )
    findings.elapsed = time.monotonic() - start
    for tally in tallies:
        findings.tally.add(tally)
    if server.exit_code() is not None:
        raise RuntimeError(f"the server ended with {server.exit_code()}: {server.log.read_text()}")


def _shares(optimizations: int) -> list[dict[str, int]]:
    """Which clients each process has. Probes have one of their own: they measure the server."""
    processes: list[dict[str, int]] = [Counter() for _ in range(_CLIENT_PROCESSES)]
    wheel = [kind for kind, share in _STREAM_KINDS.items() for _ in range(share)]
    for number in range(optimizations - 1):
        kind = wheel[number * 5 % _STREAM_SHARES]  # 5 spreads the kinds: it is prime to the sum
        processes[number % _CLIENT_PROCESSES][kind] += 1
    probes = dict.fromkeys(("health", "list_strategies", "invalid", "garbage", "validator"), 1)
    return [*processes, {**probes, "deadline": 1}]


async def _tally_of(
    server: ServerProgram,
    duration: float,
    combinations: int,
    kinds: dict[str, int],
    seed: int = SEED,
) -> Tally:
    """Run one process of clients to its end."""
    process = await _client_process(server, seed, duration, combinations, kinds)
    try:
        async with asyncio.timeout(duration + PATIENCE_SECONDS + 30):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"a client process ended with {process.returncode}")
    return Tally.from_json(output.decode())


async def _client_process(
    server: ServerProgram, seed: int, duration: float, combinations: int, kinds: dict[str, int]
) -> asyncio.subprocess.Process:
    pairs = [f"{kind}={count}" for kind, count in kinds.items()]
    numbers = (str(seed), str(duration), str(combinations))
    command = ("-m", "tests.load.client_process", server.address, *numbers, *pairs)
    return await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=subprocess.PIPE, cwd=ROOT
    )


async def _kill_clients(server: ServerProgram, load: Load) -> int:
    """Start clients and kill them in the middle of their streams, every other one frozen before."""
    generator = random.Random(SEED)
    end = time.monotonic() + load.duration
    killed = 0
    while time.monotonic() < end:
        process = await _client_process(server, killed, 0.0, load.combinations, {"victim": 1})
        await asyncio.sleep(generator.uniform(1.0, 3.0))
        if killed % 2:
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(1.0)
        process.kill()
        await process.wait()
        killed += 1
    return killed


async def _settled(server: ServerProgram, before: Usage | None) -> Usage:
    """What the server holds once it has let go of everything, or when patience is over."""
    deadline = time.monotonic() + (_SETTLE_SECONDS if before is not None else 2.0)
    while True:
        await asyncio.sleep(0.25)
        now = usage(server.pid)
        is_over = time.monotonic() > deadline
        if is_over or (before is not None and not _leaks(before, now)):
            return now


def _leaks(before: Usage, after: Usage) -> list[str]:
    found = []
    if len(after.pids) != len(before.pids):
        found.append(f"{len(after.pids)} processes below the server, {len(before.pids)} before")
    if after.zombies:
        found.append(f"{len(after.zombies)} zombies below the server")
    if after.descriptors > before.descriptors:
        found.append(f"{after.descriptors} open descriptors, {before.descriptors} before")
    return found


async def _idle_share(server: ServerProgram) -> float:
    """Cores that server and workers use when left alone, once replaced workers have started."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        before = usage(server.pid)
        await asyncio.sleep(_IDLE_SECONDS)
        used = usage(server.pid).cpu_seconds - before.cpu_seconds
        if used <= _IDLE_SHARE * _IDLE_SECONDS or time.monotonic() > deadline:
            return used / _IDLE_SECONDS


async def _end(server: ServerProgram, findings: Findings) -> None:
    """Ask the server to stop, and look for what it leaves."""
    pids = usage(server.pid).pids
    code = await asyncio.to_thread(server.stop)
    if code != 0:
        findings.violations.append(f"it ended with {code} on SIGTERM")
    left = await _left_over(pids)
    if left:
        findings.violations.append(f"{len(left)} of its processes outlived it")
    files = sorted(path.name for path in server.scratch.iterdir())
    if files:
        findings.violations.append(f"it left files: {', '.join(files)}")
    tracebacks = server.log.read_text().count("Traceback (most recent call last)")
    if tracebacks:
        findings.violations.append(f"{tracebacks} tracebacks in its log, {server.log}")


async def _left_over(pids: Collection[int]) -> list[int]:
    deadline = time.monotonic() + 5.0
    while left := [pid for pid in pids if is_alive(pid)]:
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.05)
    return left
