"""The report on an import, as text to read and as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from stratsweep_server.market_data.bars import UTC, Bars
from stratsweep_server.market_data.errors import unit_of_rows
from stratsweep_server.market_data.importing.gaps import Gaps, find_gaps
from stratsweep_server.market_data.importing.joining import JoinedBars
from stratsweep_server.market_data.importing.jumps import RULE, Jumps, find_jumps
from stratsweep_server.market_data.importing.moments import (
    SECOND,
    are_dates,
    duration_text,
    moment_text,
)
from stratsweep_server.market_data.importing.source_file import SourceFile
from stratsweep_server.market_data.importing.zero_volume import Stretches, zero_volume_stretches

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Report:
    """Hold what there is to know of an import.

    Attributes:
        target: The file that was written.
        joined: What is in it, and where from.
        gaps: Of the bars.
        jumps: Of the bars.
        zero_volume: Of the bars.
    """

    target: Path
    joined: JoinedBars
    gaps: Gaps
    jumps: Jumps
    zero_volume: Stretches

    @property
    def bars(self) -> Bars:
        """Return the bars that were written."""
        return self.joined.bars


def report_on(target: Path, joined: JoinedBars) -> Report:
    """Look at bars for what is unusual."""
    bars = joined.bars
    return Report(target, joined, find_gaps(bars), find_jumps(bars), zero_volume_stretches(bars))


def report_text(report: Report) -> str:
    """Write a report as lines of text: what was written, what was left out, what to look at."""
    bars = report.bars
    zone = "" if are_dates(bars) else f" ({bars.timezone})"
    lines = [f"{report.target}: {_count(len(bars), 'bar')}", f"  {_span(bars)}{zone}"]
    if report.gaps.rhythm:
        lines.append(f"  usually {duration_text(report.gaps.rhythm)} from one to the next")
    for section in (_files, _left_out, _gaps, _jumps, _zero_volume, _notes, _next):
        lines.extend(section(report))
    return "\n".join(lines)


def _files(report: Report) -> Iterator[str]:
    files = report.joined.files
    if len(files) > 1:
        yield f"files: {len(files)}, by time"
        shown = (
            f"{each.name}: {_count(len(each.bars), 'bar')}, {_days(each.bars)}" for each in files
        )
        yield from _listed(shown, len(files))


def _left_out(report: Report) -> Iterator[str]:
    files = report.joined.files
    if overlap_count := report.joined.overlap_count:
        yield f"in two files: {_count(overlap_count, 'bar')}, the same in both, kept once"
    if repeated := sum(file.duplicate_count for file in files):
        yield f"repeated: {_count(repeated, 'row')} that another of the file is, left out"
    rows = [
        f"{file.name}, {unit_of_rows(file.name)} {row}: {reason}"
        for file in files
        for row, reason in islice(file.left_out, _SHOWN)
    ]
    if count := sum(len(file.left_out) for file in files):
        yield f"bad rows: {_count(count, 'row')} left out"
        yield from _listed(rows, count)


def _gaps(report: Report) -> Iterator[str]:
    gaps = report.gaps
    if gaps.shortest > gaps.rhythm:
        shortest = duration_text(gaps.shortest)
        yield f"bars are sparse: gaps shorter than {shortest} are not told apart from that"
    if not len(gaps.firsts):
        yield "gaps: none"
        return
    together = duration_text(int(gaps.missing.sum()))
    yield f"gaps: {len(gaps.firsts):,}, {together} in all, holidays included; the longest:"
    shown = (
        f"{_moment(report, first)} to {_moment(report, first + 1)}, "
        f"{duration_text(missing)} missing"
        for first, missing in zip(gaps.firsts.tolist(), gaps.missing.tolist(), strict=True)
    )
    yield from _listed(shown, len(gaps.firsts))


def _jumps(report: Report) -> Iterator[str]:
    jumps, close = report.jumps, report.bars.close
    count = len(jumps.indices)
    yield f"jumps: {f'{count:,}' if count else 'none'} ({RULE})"
    shown = (
        f"{_moment(report, index)}: {close[index - 1]:.10g} to {price:.10g}, {move:+.1%}"
        for index, price, move in zip(
            jumps.indices.tolist(), jumps.prices.tolist(), jumps.moves.tolist(), strict=True
        )
    )
    yield from _listed(shown, count)


def _zero_volume(report: Report) -> Iterator[str]:
    stretches, bars = report.zero_volume, report.bars
    if np.isnan(bars.volume).all():
        yield "volume: none is told"
        return
    count = int(stretches.counts.sum())
    if count in (0, len(bars)):
        yield f"zero volume: {'every bar' if count else 'none'}"
        return
    yield f"zero volume: {_count(count, 'bar')} in {_count(len(stretches.counts), 'stretch')}"
    shown = (
        f"{_moment(report, first)} to {_moment(report, first + length - 1)}, {length:,} bars"
        if length > 1
        else _moment(report, first)
        for first, length in zip(stretches.firsts.tolist(), stretches.counts.tolist(), strict=True)
    )
    yield from _listed(shown, len(stretches.counts))


def _notes(report: Report) -> Iterator[str]:
    files_of_notes: dict[str, list[str]] = {}
    for file in report.joined.files:
        for note in file.notes:
            files_of_notes.setdefault(note, []).append(file.name)
    for note, names in files_of_notes.items():
        more = f" and {_count(len(names) - 1, 'file')} more" if len(names) > 1 else ""
        yield f"{names[0]}{more}: {note}"


def _next(report: Report) -> Iterator[str]:
    folder, timezone = shlex.quote(str(report.target.parent)), report.bars.timezone
    command = f"stratsweep optimize sma_cross --data {folder} --symbol "
    command += shlex.quote(report.bars.symbol)
    yield f"next: {command}" + ("" if timezone == UTC else f" --timezone {timezone}")


def report_json(report: Report) -> dict[str, Any]:
    """Return a report as what JSON has, everything listed; times are ISO, UTC, or dates."""
    bars, gaps, jumps, stretches = report.bars, report.gaps, report.jumps, report.zero_volume
    has_dates = are_dates(bars)

    def moment(index: int) -> str:
        text = str(np.datetime64(int(bars.time[index]), "ns"))
        return text[:10] if has_dates else text[:19] + "Z"

    return {
        "file": str(report.target),
        "symbol": bars.symbol,
        "bar_count": len(bars),
        "first_time": moment(0),
        "last_time": moment(-1),
        "timezone": bars.timezone,
        "rhythm_seconds": gaps.rhythm / SECOND,
        "files": [_file_json(file) for file in report.joined.files],
        "overlap_count": report.joined.overlap_count,
        "gaps": [
            {"from": moment(first), "to": moment(first + 1), "missing_seconds": missing / SECOND}
            for first, missing in zip(gaps.firsts.tolist(), gaps.missing.tolist(), strict=True)
        ],
        "jumps": [
            {"time": moment(index), "close_before": bars.close[index - 1], "price": price}
            for index, price in zip(jumps.indices.tolist(), jumps.prices.tolist(), strict=True)
        ],
        "zero_volume": [
            {"from": moment(first), "to": moment(first + count - 1), "bar_count": count}
            for first, count in zip(
                stretches.firsts.tolist(), stretches.counts.tolist(), strict=True
            )
        ],
    }


def _file_json(file: SourceFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "bar_count": len(file.bars),
        "duplicate_row_count": file.duplicate_count,
        "bad_rows": [{"row": row, "reason": reason} for row, reason in file.left_out],
        "notes": list(file.notes),
    }


def _listed(shown: Iterable[str], count: int) -> Iterator[str]:
    """Indent the first few, and tell how many more there are."""
    first = list(islice(shown, _SHOWN))
    yield from (f"  {each}" for each in first)
    if (more := count - len(first)) > 0:
        yield f"  {more:,} more"


def _count(count: int, name: str) -> str:
    plural = {"stretch": "es"}.get(name, "s")
    return f"{count:,} {name}{'' if count == 1 else plural}"


def _moment(report: Report, index: int) -> str:
    return moment_text(report.bars, int(report.bars.time[index]))


def _span(bars: Bars) -> str:
    return " to ".join(moment_text(bars, int(bars.time[end])) for end in (0, -1))


def _days(bars: Bars) -> str:
    return " to ".join(moment[:10] for moment in _span(bars).split(" to "))
