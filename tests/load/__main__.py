"""`python -m tests.load`: press a real server on loopback, print what came out.

The exit code is 1 when anything was not as it must be, whatever the speed.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from tests.load.scenario import Findings, Load, press
from tests.load.tally import Tally, percentile

_MEBIBYTE = 2**20


def main() -> None:
    """Read the arguments, press, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--seconds", type=float, help="in which calls are begun (default 60)")
    parser.add_argument("--optimizations", type=int, help="at a time (default 32)")
    parser.add_argument("--combinations", type=int, help="of each (default 1000)")
    parser.add_argument("--workers", type=int, default=2, help="of the server (default 2)")
    parser.add_argument("--quick", action="store_true", help="10 seconds, 16 at a time, of 300")
    options = parser.parse_args()
    load = Load(
        duration=options.seconds or (10.0 if options.quick else 60.0),
        optimizations=options.optimizations or (16 if options.quick else 32),
        combinations=options.combinations or (300 if options.quick else 1_000),
        workers=options.workers,
    )
    print(
        f"{load.optimizations} optimizations at a time of up to {load.combinations} combinations, "
        f"{load.workers} workers, {load.duration:g} s, then as long as it takes to finish",
        flush=True,
    )
    folder = Path(tempfile.mkdtemp(prefix="stratsweep-load-"))
    findings = asyncio.run(press(load, folder))
    report(findings)
    if findings.violations:
        sys.exit(f"FAILED; the server's log is {folder / 'server.log'}")
    shutil.rmtree(folder)


def report(findings: Findings) -> None:
    """Print the table, then every violation."""
    for name, value in _rows(findings):
        print(f"  {name:<44} {value}")
    hidden = findings.tally.violation_count - len(findings.tally.violations)
    for text in findings.violations:
        print(f"  VIOLATION: {text}")
    if hidden:
        print(f"  … and {hidden} more")


def _rows(findings: Findings) -> list[tuple[str, str]]:
    tally, before, after = findings.tally, findings.before, findings.after
    rows = [(f"{kind}: ended as it should", f"{n:,}") for kind, n in sorted(tally.calls.items())]
    rows += [
        ("client processes killed in their streams", f"{findings.killed_clients:,}"),
        ("outcomes checked in undisturbed streams", f"{tally.outcome_count:,}"),
        ("events received", f"{tally.event_count:,}"),
        ("events per second", f"{tally.event_count / findings.elapsed:,.0f}"),
        *latency_rows(tally),
        ("seconds in all", f"{findings.elapsed:.1f}"),
    ]
    if before is not None and after is not None:
        memory = f"{before.resident / _MEBIBYTE:.0f} / {after.resident / _MEBIBYTE:.0f} MiB"
        rows += [
            ("server memory before / after", memory),
            *findings.memory.rows(),
            (
                "processes below the server before / after",
                f"{len(before.pids)} / {len(after.pids)}",
            ),
            (
                "descriptors before / after",
                f"{before.descriptors.total()} / {after.descriptors.total()}",
            ),
            ("threads before / after", f"{before.threads} / {after.threads}"),
            ("cores used when idle afterwards", f"{findings.idle_share:.3f}"),
        ]
    return rows


def latency_rows(tally: Tally) -> list[tuple[str, str]]:
    """How long the calls of each kind took that are answered at once."""
    rows = []
    for kind, values in sorted(tally.seconds.items()):
        times = [percentile(values, fraction) * 1e3 for fraction in (0.5, 0.99, 1)]
        rows.append((f"{kind} p50 / p99 / max", "{:,.1f} / {:,.1f} / {:,.1f} ms".format(*times)))
    return rows


if __name__ == "__main__":
    main()
