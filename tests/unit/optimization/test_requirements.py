"""Requirements: which results meet them, and what they may say."""

import math

import numpy as np
import pytest
from stratsweep_server.execution.outcomes import OutcomeBatch
from stratsweep_server.optimization.conditions import InvalidConditionError
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.requirements import (
    Requirements,
    compiled_requirement,
    qualifies,
    rejected_counts,
)

NAN = math.nan


def log_of(**metrics):
    """A log with these columns, in one batch."""
    count = len(next(iter(metrics.values())))
    log = OutcomeLog(count)
    table = np.array(list(metrics.values()), dtype=float).T
    log.append(OutcomeBatch(np.arange(count), np.ones(count), tuple(metrics), table), 0.0)
    return log


LOG = log_of(trade_count=[0, 30, NAN, 50], win_rate=[NAN, 0.5, 0.25, 0.75], null=[1, 2, 3, 4])


def qualified(*texts, rows=range(4)):
    chosen = np.array(rows, dtype=np.intp)
    return chosen[qualifies(LOG, Requirements(texts), chosen)].tolist()


def refusal(text, metrics=("trade_count", "win_rate"), parameters=("fast",)):
    with pytest.raises(InvalidConditionError) as caught:
        compiled_requirement(text, metrics, parameters)
    return str(caught.value)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], [0, 1, 2, 3]),
        (["trade_count >= 30"], [1, 3]),
        (["NOT trade_count >= 30"], [0]),
        (["trade_count >= 30", "win_rate > 0.5"], [3]),
        (["trade_count >= 30 AND win_rate > 0.5"], [3]),
        (["trade_count = 30 OR win_rate < 0.3"], [1, 2]),
        (["trade_count IS NULL"], [2]),
        (["trade_count IS NOT NULL AND win_rate IS NOT NULL"], [1, 3]),
        (["trade_count BETWEEN 10 AND 40"], [1]),
        (["trade_count IN (0, 50)"], [0, 3]),
        (["win_rate * trade_count > 20"], [3]),
        (["trade_count % 20 = 10"], [1, 3]),
        (["10 / trade_count < 1"], [1, 3]),
        (["sqrt(trade_count) > 5"], [1, 3]),
        (["nothing_has_it > 0"], []),
        (["nothing_has_it IS NULL"], [0, 1, 2, 3]),
        (['"null" > 2'], [2, 3]),
        (["NULL"], []),
        (["TRUE"], [0, 1, 2, 3]),
    ],
)
def test_a_result_qualifies_where_every_requirement_is_true(texts, expected):
    assert qualified(*texts) == expected


def test_any_rows_in_any_order_are_judged_by_themselves():
    assert qualified("trade_count >= 30", rows=[3, 0, 1]) == [3, 1]
    assert qualified("trade_count >= 30", rows=[2]) == []
    assert qualified("trade_count >= 30", rows=[]) == []


def test_many_rows_are_judged_in_blocks():
    count = 150_000
    log = log_of(n=range(count))
    rows = np.arange(count)
    found = qualifies(log, Requirements(["n % 3 = 0"]), rows)
    assert (found == (rows % 3 == 0)).all()
    assert rejected_counts(log, Requirements(["n % 3 = 0", "n >= 0"]), rows) == [100_000, 0]


def test_it_is_counted_what_each_requirement_rejects():
    requirements = Requirements(["trade_count >= 30", "win_rate > 0.5"])
    assert rejected_counts(LOG, requirements, np.arange(4)) == [2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trade_cuont >= 30", "names 'trade_cuont', which is no metric; did you mean trade_count?"),
        ("zzz > 1", "names 'zzz', which is no metric; the metrics are trade_count, win_rate"),
        ("fast > 1", "names 'fast', a parameter; conditions on those are `constraints`"),
        ("trade_count", "gives a number, not true or false; compare it with something"),
        ("trade_count >", "ends where a metric or a number should be"),
        ("", "is empty; write it like `trade_count >= 30`, or leave it out"),
        ("Trade_Count => 30", "write `trade_count >= 30`"),
        ("trade_count >= 1,000", "write `trade_count >= 1000`"),
        ("0 < win_rate < 1", "write `0 < win_rate AND win_rate < 1`"),
        ("win_rate > 50%", "write `win_rate > 0.5`"),
        ("win_rate > avg(win_rate)", "calls avg, which is over all combinations"),
        ("win_rate > 'high'", "has the text 'high'; metrics are numbers, written without quotes"),
        ("NULL LIKE 'a'", "has the text 'a'"),
        ("sum(win_rate) > 1", "calls 'sum'; the functions are abs, avg"),
        ("win_rate.__class__ > 1", "has '.'"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_what_to_do(text, message):
    assert message in refusal(text)


def test_a_word_of_the_notation_is_a_metric_only_in_quotes():
    assert "has 'in'" in refusal("in > 1", metrics=("in",))
    assert compiled_requirement('"in" > 1', metrics=("in",)).names == {"in"}
