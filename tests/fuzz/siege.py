"""One server under attack, from its start to its end, and what must hold all the way.

start ─▶ note what it holds ─▶ bursts, then hostile calls, beside an honest client in a process of
its own ─▶ smaller requests for what was found ─▶ settle ─▶ compare ─▶ SIGTERM under load ─▶ its log
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.attackers import Attackers
from tests.fuzz.attacks import Attack
from tests.fuzz.grids import SYMBOL
from tests.fuzz.outcome import Outcome
from tests.load.client_program import tally_of
from tests.load.ending import GRACE_SECONDS, stop_under_load
from tests.load.leftovers import idle_share, idle_violations, leaks, settled, warmed_up
from tests.load.log_check import log_violations
from tests.load.memory import MemoryWatch
from tests.load.processes import Usage
from tests.load.server_program import ServerProgram

KINDS = ((True, False), (False, True))
"""Of servers: whether the engine declares something, and whether the log is JSON."""

_HONEST = {"health": 1, "small": 2}
_ADDRESS_SPACE = 4 * 2**30
"""Beyond it allocations fail: a defect costs the server its life, not the machine."""


@dataclass(frozen=True, slots=True)
class Siege:
    """How to attack.

    Attributes:
        declares: Whether the server's engine declares strategies and uses bars.
        logs_json: Whether the server logs JSON.
        seconds: In which calls are begun.
        seed: Of all choices.
        burst: Honest calls at once.
        lanes: Hostile calls at a time.
        deadline: Seconds in which each must be answered.
    """

    declares: bool
    logs_json: bool
    seconds: float
    seed: int
    burst: int = 2_000
    lanes: int = 12
    deadline: float = 30.0

    @property
    def name(self) -> str:
        """For people, and for a folder."""
        engine = "declaring" if self.declares else "open"
        return f"{engine}-engine-{'json' if self.logs_json else 'text'}-log"


async def besiege(siege: Siege, folder: Path) -> Outcome:
    """Attack a server of its own; its files and its log are in `folder`, which is made."""
    with ServerProgram(folder, *_arguments(siege, folder), max_memory=_ADDRESS_SPACE) as server:
        outcome = Outcome(MemoryWatch(server.pid))
        attackers = Attackers(server, outcome, siege.seed, siege.deadline)
        await attackers.warm_up()
        before = await warmed_up(server)
        await _attack(siege, server, attackers, outcome)
        if server.exit_code() is None:
            for text in await _aftermath(siege, server, before):
                outcome.findings.add(text)
    for text in log_violations(server.log.read_bytes(), is_json=siege.logs_json):
        outcome.findings.add(text)
    return outcome


async def replay(siege: Siege, folder: Path, attack: Attack) -> Outcome:
    """Send one call to a server of its own."""
    with ServerProgram(folder, *_arguments(siege, folder), max_memory=_ADDRESS_SPACE) as server:
        outcome = Outcome(MemoryWatch(server.pid))
        attackers = Attackers(server, outcome, siege.seed, siege.deadline)
        await attackers.warm_up()
        await attackers.weighed(attack)
    for text in log_violations(server.log.read_bytes(), is_json=siege.logs_json):
        outcome.findings.add(text)
    return outcome


async def _attack(
    siege: Siege, server: ServerProgram, attackers: Attackers, outcome: Outcome
) -> None:
    watch = asyncio.create_task(outcome.memory.watch())
    honest = asyncio.create_task(tally_of(server.address, siege.seconds, 10, _HONEST, siege.seed))
    await attackers.attack(siege.seconds, siege.lanes, siege.burst)
    outcome.honest = await honest
    watch.cancel()
    if server.exit_code() is not None:
        return
    for text in outcome.honest.violations:
        outcome.findings.add(f"an honest client: {text}")
    for text in outcome.memory.violations():
        outcome.findings.add(text)
    await attackers.minimize()


async def _aftermath(siege: Siege, server: ServerProgram, before: Usage) -> list[str]:
    found = leaks(before, await settled(server, before))
    found += idle_violations(await idle_share(server))
    last = await tally_of(server.address, 0.1, 10, _HONEST, siege.seed)
    found += [f"afterwards, {text}" for text in last.violations]
    return found + await stop_under_load(server)


def _arguments(siege: Siege, folder: Path) -> list[str]:
    engine = "DeclaringEngine" if siege.declares else "OpenEngine"
    arguments = ["--workers", "2", "--engine", f"tests.fuzz.engine:{engine}"]
    arguments += ["--grace", str(GRACE_SECONDS), "--data", str(_price_files(folder))]
    return [*arguments, "--log-format", "json" if siege.logs_json else "text"]


def _price_files(folder: Path) -> Path:
    data = folder / "prices"
    data.mkdir(parents=True)
    days = (f"2024-01-{day:02},10,12,9,{10 + day / 100},1000" for day in range(1, 32))
    (data / f"{SYMBOL}.csv").write_text("\n".join(["Date,Open,High,Low,Close,Volume", *days]))
    return data
