"""Lines of a worker's output and the combinations that they are from."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from stratsweep_server.backtest.default import DefaultEngine
from stratsweep_server.execution.grid import ParameterAxis
from stratsweep_server.execution.labelled_output import LabelledOutput
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.execution.planned_backtests import PlannedBacktests


class Desk:
    """Two streams into one pipe, as a worker has them, and what comes out of it."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self.output = LabelledOutput()
        self.out, self.err = (self.output.stream(self._writer) for _ in range(2))

    def label(self, text: str) -> None:
        self.output.label = lambda: text

    def lines(self) -> list[str]:
        """All that was printed so far."""
        self.out.flush()
        os.write(self._writer, b"end")
        return os.read(self._reader, 100_000).decode().removesuffix("end").split("\n")

    def close(self) -> None:
        for stream in (self.out, self.err):
            stream.close()
        os.close(self._reader)
        os.close(self._writer)


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.close()


def test_every_line_begins_with_the_label_of_its_time_on_either_stream(desk):
    print("imported", file=desk.out)
    desk.label("fast=5 slow=20")
    print("a", 1, "b\nc\n", file=desk.out)
    print("careful", file=desk.err)
    desk.label("")
    print("idle", file=desk.out)
    assert desk.lines() == [
        "imported",
        "fast=5 slow=20 | a 1 b",
        "fast=5 slow=20 | c",
        "fast=5 slow=20 | ",
        "fast=5 slow=20 | careful",
        "idle",
        "",
    ]


def test_a_line_that_another_combination_would_go_on_with_ends(desk):
    for x in (1, 1, 2, 3):
        desk.label(f"x={x}")
        print(".", end="", file=desk.out)
    desk.label("")
    print("idle", file=desk.out)
    assert desk.lines() == ["x=1 | ..", "x=2 | .", "x=3 | .", "idle", ""]


def test_what_no_encoding_has_is_escaped_instead_of_failing_the_backtest(desk):
    desk.label("x=1")
    print("größe \udc80", file=desk.out)
    assert desk.lines() == ["x=1 | größe \\udc80", ""]


def test_nobody_is_asked_for_a_label_while_nothing_is_printed(desk):
    def label() -> str:
        raise AssertionError

    desk.output.label = label
    desk.out.flush()
    assert desk.lines() == [""]


def test_a_label_is_one_line_whatever_texts_a_combination_has():
    axes = (ParameterAxis("kind", ["simple", "a\nfast=6 | b\x1b"]), ParameterAxis("fast", [5]))
    backtests = PlannedBacktests(BacktestPlan("any", axes, ()), DefaultEngine())
    assert backtests.describe(0) == "kind=simple fast=5"
    assert backtests.describe(1) == r"kind='a\nfast=6 | b\x1b' fast=5"
