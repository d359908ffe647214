"""When a strategy is called slow, and in which words."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from stratsweep.cli.slowness import SlownessWatch, is_slow, slowness_note
from stratsweep.config import OptimizationConfig, OptimizationDirection
from stratsweep.events import OptimizationStarted, Progress
from stratsweep.outcomes import ParameterResult

CONFIG = OptimizationConfig(
    "mine", ("SPY",), date(2020, 1, 1), None, {}, (), "sharpe_ratio",
    OptimizationDirection.MAXIMIZE, timedelta(seconds=300), 1.0, 0.0, 0.0, 0,
)  # fmt: skip
STARTED = OptimizationStarted("opt-1", 10_000, 0, 2, CONFIG)


def progress(completed=500, total=10_000, elapsed=3.0, remaining=57.0, durations=()) -> Progress:
    return Progress(
        completed,
        total,
        0,
        [ParameterResult(0, {}, {}, None, timedelta(seconds=each)) for each in durations],
        None,
        timedelta(seconds=elapsed),
        None if remaining is None else timedelta(seconds=remaining),
    )


@pytest.mark.parametrize(
    ("event", "slow"),
    [
        (progress(), True),
        (progress(elapsed=2.9), False),
        (progress(remaining=9.9), False),
        (progress(remaining=None), False),
        (progress(completed=0), False),
    ],
    ids=["slow", "too early", "soon done", "unknown", "nothing completed"],
)
def test_slow_is_what_people_wait_for_and_will(event, slow):
    assert is_slow(event) is slow


@pytest.mark.parametrize(
    ("event", "workers", "note"),
    [
        (
            progress(durations=[0.010, 0.014]),
            2,
            "one backtest takes 12 ms; 10,000 combinations take about a minute on 2 workers",
        ),
        (
            progress(completed=500, elapsed=3.0),
            2,
            "one backtest takes 12 ms; 10,000 combinations take about a minute on 2 workers",
        ),
        (
            progress(completed=2, total=900, elapsed=5.0, remaining=2_300, durations=[2.53]),
            1,
            "one backtest takes 2.5 s; 900 combinations take about 38 minutes on 1 worker",
        ),
        (
            progress(total=10**6, remaining=3_700, durations=[0.00021]),
            2,
            "one backtest takes 210 µs; 1,000,000 combinations take about an hour on 2 workers",
        ),
        (
            progress(completed=1, total=2, elapsed=30.0, remaining=30.0, durations=[30.0]),
            8,
            "one backtest takes 30 s; 2 combinations take about a minute on 8 workers",
        ),
        (
            progress(elapsed=3.0, remaining=15.0, durations=[0.0099]),
            2,
            "one backtest takes 9.9 ms; 10,000 combinations take about 18 seconds on 2 workers",
        ),
        (
            progress(elapsed=3.0, remaining=3 * 86_400.0, durations=[0.0]),
            2,
            "one backtest takes 0.0 µs; 10,000 combinations take about 3 days on 2 workers",
        ),
    ],
)
def test_the_note_says_what_one_and_all_of_them_take(event, workers, note):
    assert slowness_note(event, workers, None) == note


@pytest.mark.parametrize(
    ("takes_columns", "total", "has_advice"),
    [(False, 100, True), (False, 99, False), (True, 100, False), (None, 100, False)],
)
def test_the_page_is_named_to_those_who_could_decide_for_many_at_once(
    takes_columns, total, has_advice
):
    note = slowness_note(progress(total=total), 2, takes_columns)
    assert ('"Many combinations at once" in docs/strategies.md' in note) is has_advice


def test_it_is_said_once_and_nobody_is_asked_before():
    asked = []
    watch = SlownessWatch(lambda: asked.append(1))
    events = [STARTED, progress(elapsed=1.0), progress(), progress(elapsed=9.0)]
    notes = [watch.see(event) for event in events[:2]]
    assert (notes, asked) == (["", ""], [])
    assert watch.see(events[2]).startswith("one backtest takes ")
    assert watch.see(events[3]) == ""
    assert asked == [1]


def test_the_page_that_is_named_is_there():
    note = slowness_note(progress(), 2, takes_columns=False)
    (title, page) = re.findall(r'"(.+)" in (\S+)$', note)[0]
    text = (Path(__file__).parents[3] / page).read_text(encoding="utf-8")
    assert f"\n## {title}\n" in text
