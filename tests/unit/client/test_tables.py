"""The ranking as a person reads it."""

import re
import sys

import pytest
from stratsweep._events import EventAssembler
from stratsweep.cli.tables import ranking_table

HEADING = "  rank   slow   fast   sharpe_ratio   total_return   trade_count"
NEEDED = "  rank   slow   fast   sharpe_ratio"
END = 2  # a space after the last cell, and the box


@pytest.fixture
def result(script):
    assembler = EventAssembler()
    for message in script.whole():
        assembler.feed(message)
    return assembler.finished_result()


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    return lambda columns: monkeypatch.setenv("COLUMNS", str(columns))


def lines(result):
    return re.sub(r"\x1b\[[\d;]*m", "", ranking_table(result, 20)).splitlines()


def test_without_a_terminal_nothing_is_left_out(result):
    assert lines(result)[0] == HEADING


def test_as_many_metrics_are_shown_as_fit_and_none_is_cut_off(result, terminal):
    seen = set()
    for columns in range(len(NEEDED) + END, len(HEADING) + END + 1):
        terminal(columns)
        heading, rule, *rows = lines(result)
        seen.add(heading.rstrip())
        assert len(rule) <= columns
        assert "…" not in heading + "".join(rows)
    assert seen == {
        HEADING,
        "  rank   slow   fast   sharpe_ratio   total_return",
        NEEDED,
    }


def test_what_is_not_shown_for_want_of_room_is_counted(result, terminal):
    terminal(len(NEEDED) + END)
    assert lines(result)[-1].endswith("in 0.42 s; a wider terminal has room for 2 more columns")
    terminal(len(HEADING) + END)
    assert lines(result)[-1].endswith("in 0.42 s")


def test_every_column_is_shown_where_it_just_fits(result, terminal):
    terminal(len(HEADING) + END)
    assert lines(result)[0].rstrip() == HEADING


def test_the_target_is_shown_even_where_it_does_not_fit(result, terminal):
    terminal(20)
    assert "1.5" in ranking_table(result, 20)
