"""The printed table: one line per row, the machine above it."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.benchmarks.figures import Reach, Row, Sample

_PACKAGES = ("stratsweep", "grpcio", "numpy", "numba", "joblib", "vectorbt", "backtesting")
_WIDTHS = (54, 34, 58, 8, 13, 7)
_VERDICTS = {True: "yes", False: "NO", None: "-"}


def machine() -> list[str]:
    """What the numbers were taken on."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return [
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {platform.platform()}",
        f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {_version(name)}" for name in _PACKAGES),
        f"load {load} (1, 5, 15 minutes) before the run; numbers are medians (lowest to highest)",
    ]


def others() -> str:
    """How busy the cores are right now, while no figure is being measured: looks for a second."""
    busy_before, total_before = _processor_ticks()
    time.sleep(1.0)
    busy, total = _processor_ticks()
    share = (busy - busy_before) / (total - total_before)
    return f"other processes use {share:.0%} of the cores"


def header() -> str:
    """The names of the columns."""
    names = ("figure", "ours", "reference in the same run", "ratio", "wanted", "reached")
    return "\n".join((_line(names), _line(["-" * width for width in _WIDTHS])))


def line(row: Row) -> str:
    """A row, with its note below it."""
    reference, ratio = row.reference, ""
    if row.theirs is not None:
        reference += f" {_sample(row.theirs, row.unit)}"
    if row.ratio is not None:
        ratio = f"{_number(row.ratio)} x"
    wanted = _wanted(row.reach, row.unit)
    ours = _sample(row.ours, row.unit)
    text = _line((row.label, ours, reference, ratio, wanted, _VERDICTS[row.is_reached]))
    return f"{text}\n    {row.note}" if row.note else text


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return "  ".join(
        f"{cell:<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)
    ).rstrip()


def _sample(sample: Sample, unit: str) -> str:
    text = f"{_number(sample.median)} {unit}".rstrip()
    if len(sample.values) > 1:
        text += f" ({_number(min(sample.values))} to {_number(max(sample.values))})"
    return text


def _number(value: float) -> str:
    """Three significant digits, never as a power of ten where there are thousands."""
    text = f"{value:.3g}"
    return f"{float(text):,.0f}" if abs(value) >= 1_000 else text


def _wanted(reach: Reach | None, unit: str) -> str:
    if reach is None:
        return ""
    suffix = " x" if reach.of_ratio else f" {unit}".rstrip()
    if reach.lowest is not None and reach.highest is not None:
        return f"{reach.lowest:g} to {reach.highest:g}{suffix}"
    if reach.lowest is not None:
        return f">= {reach.lowest:g}{suffix}"
    return f"<= {reach.highest:g}{suffix}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _processor_ticks() -> tuple[int, int]:
    """Ticks in which a core was busy or taken by the hypervisor, and all ticks."""
    fields = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def _processor() -> str:
    if sys.platform == "linux":
        for text in Path("/proc/cpuinfo").read_text().splitlines():
            if text.startswith("model name"):
                return text.partition(":")[2].strip()
    return platform.processor() or platform.machine()
