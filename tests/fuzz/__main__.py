"""`python -m tests.fuzz`: attack real servers on loopback, print what was found.

The exit code is 1 when anything was found. A request that was found before is sent again by
`--replay FILE`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.fuzz.findings import from_text
from tests.fuzz.outcome import Outcome
from tests.fuzz.siege import KINDS, Siege, besiege, replay
from tests.load.__main__ import latency_rows


def main() -> None:
    """Read the arguments, attack, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="in all (default 120)")
    parser.add_argument("--seed", type=int, help="of all choices (default: a new one)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="send one request again")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="stratsweep-fuzz-"))
    found = False
    for kind in KINDS:
        siege = Siege(*kind, options.seconds / len(KINDS), seed)
        place = folder / siege.name
        print(f"{siege.name}, seed {seed}", flush=True)
        if options.replay is None:
            outcome = asyncio.run(besiege(siege, place))
        else:
            outcome = asyncio.run(replay(siege, place, from_text(options.replay.read_text())))
        found |= report(outcome, place)
    if found:
        sys.exit(f"FAILED; requests and logs are in {folder}")
    shutil.rmtree(folder)


def report(outcome: Outcome, folder: Path) -> bool:
    """Print the table, then every finding; returns whether there is any."""
    for name, value in _rows(outcome):
        print(f"  {name:<44} {value}")
    for line in outcome.findings.lines(folder):
        print(f"  FOUND: {line}")
    return bool(outcome.findings.entries)


def _rows(outcome: Outcome) -> list[tuple[str, str]]:
    rows = [(name, f"{count:,}") for name, count in sorted(outcome.calls.items())]
    for kind, seconds in sorted(outcome.slowest.items()):
        rows.append((f"{kind}: slowest answer", f"{seconds:.2f} s"))
    for kind, count in sorted(outcome.honest.calls.items()):
        rows.append((f"honest {kind}: as it should", f"{count:,}"))
    rows += [(f"honest {name}", value) for name, value in latency_rows(outcome.honest)]
    largest = f"{outcome.memory.call_peak / 2**20:,.0f} MiB"
    return [*rows, *outcome.memory.rows(), ("the most for one large call", largest)]


if __name__ == "__main__":
    main()
