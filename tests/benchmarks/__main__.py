"""`python -m tests.benchmarks [NAME…] [--quick] [--kept] [--list]`: figures and references.

With `--kept`, servers keep what they run in a folder on a disk, which `BENCHMARK_DISK` can name;
without it, only those of the figures in `keeping` do. Each figure runs in a process of its own:
what one leaves behind (a fork server, imported modules, memory) is no business of the next. Worker
processes import this file again, so it stays light.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.benchmarks.disk import KEPT

if TYPE_CHECKING:
    from tests.benchmarks.figures import Figure

MODULES = ("pool", "engine", "streaming", "keeping")


def figures() -> dict[str, Figure]:
    """Every figure by `module.name`, in the order in which they run."""
    found: dict[str, Figure] = {}
    for name in MODULES:
        module = importlib.import_module(f"tests.benchmarks.{name}")
        found.update({f"{name}.{figure.__name__}": figure for figure in module.FIGURES})
    return found


def chosen(names: list[str], known: list[str]) -> list[str]:
    """The figures that the names mean: a figure, or all of a module; nothing means everything."""
    unknown = [name for name in names if not any(_means(name, figure) for figure in known)]
    if unknown:
        sys.exit(f"no such figure: {', '.join(unknown)}; --list shows them")
    return [figure for figure in known if not names or any(_means(name, figure) for name in names)]


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="pool.overhead, or pool for all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, less work: coarse")
    parser.add_argument("--kept", action="store_true", help="servers keep what they run")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kept:
        os.environ[KEPT] = "yes"
    known = figures()
    names = chosen(options.names, list(known))
    if options.list:
        for name in names:
            print(f"{name:<32} {(known[name].__doc__ or '').splitlines()[0]}")
    elif options.here:
        _measure_here(known[names[0]], quick=options.quick)
    else:
        sys.exit(_measure_each(names, quick=options.quick))


def _measure_each(names: list[str], *, quick: bool) -> int:
    from tests.benchmarks import report

    print(*report.machine(), "", report.header(), sep="\n", flush=True)
    worst = 0
    for name in names:
        print(f"{name}: {report.others()}", flush=True)
        command = [sys.executable, "-m", "tests.benchmarks", "--here", name]
        worst = max(worst, abs(subprocess.call(command + ["--quick"] * quick)))
    return min(worst, 1)


def _measure_here(figure: Figure, *, quick: bool) -> None:
    from tests.benchmarks import report

    logging.disable(logging.WARNING)  # the backtests that are made to hang
    for row in asyncio.run(figure(quick)):
        print(report.line(row), flush=True)


def _means(name: str, figure: str) -> bool:
    return name in (figure, figure.partition(".")[0])


if __name__ == "__main__":
    main()
