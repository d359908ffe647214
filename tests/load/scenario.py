"""One load test from the server's start to its end, and what must hold all the way.

warm up ─▶ note what the server holds ─▶ load (client processes; some are killed) ─▶ settle
    ─▶ compare what it holds ─▶ is it idle? ─▶ is it still right? ─▶ SIGTERM under load
    ─▶ what is left?
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.load.client_program import start_clients, tally_of
from tests.load.ending import GRACE_SECONDS, stop_under_load
from tests.load.leftovers import idle_share, idle_violations, leaks, settled, warmed_up
from tests.load.log_check import log_violations
from tests.load.memory import MemoryWatch
from tests.load.processes import Usage
from tests.load.server_program import ServerProgram
from tests.load.tally import Tally

SEED = 20_240_229

_STREAM_KINDS = {"steady": 8, "grouped": 3, "faulty": 2, "slow_reader": 2, "canceller": 1}
_STREAM_SHARES = sum(_STREAM_KINDS.values())
_CLIENT_PROCESSES = 2


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
        memory: The peaks in between.
        idle_share: CPU of server and workers afterwards, in cores.
        killed_clients: Client processes that were killed in the middle of their streams.
        violations: What was not as it must be.
    """

    tally: Tally = field(default_factory=Tally)
    elapsed: float = 0.0
    before: Usage | None = None
    after: Usage | None = None
    memory: MemoryWatch | None = None
    idle_share: float = 0.0
    killed_clients: int = 0
    violations: list[str] = field(default_factory=list)


async def press(load: Load, folder: Path) -> Findings:
    """Run the whole load test; the server's log and files are in `folder`."""
    findings = Findings()
    arguments = ("--workers", str(load.workers), "--engine", "tests.fuzz.engine:OpenEngine")
    limit = ("--max-optimizations", str(load.optimizations + 2))  # so that some are refused
    grace = ("--grace", str(GRACE_SECONDS))
    with ServerProgram(folder, *arguments, *limit, *grace) as server:
        warm_up = {"steady": 4, "canceller": 2, "health": 1}
        await tally_of(server.address, 1.0, 200, warm_up, SEED)
        findings.before = await warmed_up(server)
        await _load(server, load, findings)
        findings.after = await settled(server, findings.before)
        findings.violations += leaks(findings.before, findings.after)
        findings.idle_share = await idle_share(server)
        findings.violations += idle_violations(findings.idle_share)
        last_kinds = {"steady": 1, "faulty": 1, "health": 1}
        last = await tally_of(server.address, 0.1, 1_000, last_kinds, SEED)
        findings.violations += [f"after the load: {text}" for text in last.violations]
        findings.violations += await stop_under_load(server)
    findings.violations += log_violations(server.log.read_bytes(), is_json=False)
    findings.violations += findings.tally.violations
    return findings


async def _load(server: ServerProgram, load: Load, findings: Findings) -> None:
    start = time.monotonic()
    findings.memory = MemoryWatch(server.pid)
    watch = asyncio.create_task(findings.memory.watch())
    crowd = [
        tally_of(server.address, load.duration, load.combinations, kinds, SEED + number)
        for number, kinds in enumerate(_shares(load.optimizations))
    ]
    tallies, findings.killed_clients = await asyncio.gather(
        asyncio.gather(*crowd), _kill_clients(server, load)
    )
    findings.elapsed = time.monotonic() - start
    watch.cancel()
    findings.violations += findings.memory.violations()
    for tally in tallies:
        findings.tally.add(tally)
    if server.exit_code() is not None:
        raise RuntimeError(f"the server ended with {server.exit_code()}: {server.log.read_text()}")


def _shares(optimizations: int) -> list[dict[str, int]]:
    """Which clients each process has. Probes have one of their own: they measure the
    server. So have attackers, whose requests take long to make."""
    processes: list[dict[str, int]] = [Counter() for _ in range(_CLIENT_PROCESSES)]
    wheel = [kind for kind, share in _STREAM_KINDS.items() for _ in range(share)]
    for number in range(optimizations - 1):
        kind = wheel[number * 5 % _STREAM_SHARES]  # 5 spreads the kinds: it is prime to the sum
        processes[number % _CLIENT_PROCESSES][kind] += 1
    probes = dict.fromkeys(("health", "list_strategies", "invalid", "garbage", "validator"), 1)
    return [*processes, {**probes, "small": 1, "deadline": 1}, {"attacker": 2}]


async def _kill_clients(server: ServerProgram, load: Load) -> int:
    """Start clients and kill them in the middle of their streams, every other one frozen before."""
    generator = random.Random(SEED)
    end = time.monotonic() + load.duration
    killed = 0
    while time.monotonic() < end:
        process = await start_clients(server.address, 0.0, load.combinations, {"victim": 1}, killed)
        await asyncio.sleep(generator.uniform(1.0, 3.0))
        if killed % 2:
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(1.0)
        process.kill()
        await process.wait()
        killed += 1
    return killed
