"""Outcomes of a log as rows and as Arrow: the same figures, in messages of bounded size."""

from __future__ import annotations

import io
import math
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nanoarrow import Array, c_array_stream
from nanoarrow.ipc import InputStream
from stratsweep.v1.optimization_event_pb2 import OptimizationResult
from stratsweep.v1.optimization_event_pb2 import Progress as ProgressMessage
from stratsweep_server.execution.grid import GridColumns, ParameterAxis
from stratsweep_server.execution.outcomes import BacktestFailure, FailureKind, OutcomeBatch
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.result import RankedResults
from stratsweep_server.rpc.events import formats
from stratsweep_server.rpc.events.arrow import ArrowProgress, ArrowRanking
from stratsweep_server.rpc.events.rows import RowProgress, RowRanking
from stratsweep_server.rpc.events.single_rows import SingleRowProgress

AXES = (
    ParameterAxis("fast", range(5, 25, 5)),
    ParameterAxis("threshold", (0.5, 1.0)),
    ParameterAxis("kind", ("a\0", "Ω")),
    ParameterAxis("allow_short", (False, True)),
)
COUNT = 32
GRID = GridColumns(AXES, object)


@pytest.fixture
def log():
    """32 outcomes: every third without a win rate, every seventh a failure with a traceback."""
    indices = np.arange(COUNT, dtype=np.int64)[::-1].copy()
    metrics = np.stack([indices * 1.5, np.where(indices % 3, indices / 100, math.nan)], axis=1)
    metrics[indices % 7 == 0] = math.nan
    failures = tuple(
        BacktestFailure(index, FailureKind.ERROR, f"no luck with {index}", "x" * 500, 0.25)
        for index in range(0, COUNT, 7)
    )
    log = OutcomeLog(COUNT)
    durations = indices / 1e6
    log.append(OutcomeBatch(indices, durations, ("score", "win_rate"), metrics, failures), 0.0)
    return log


def progress_of(group):
    return ProgressMessage.FromString(b"".join(group.wire))


def result_of(part):
    return OptimizationResult.FromString(b"".join(part.wire))


def outcomes_of(groups):
    return [outcome for group in groups for outcome in progress_of(group).outcomes]


def values_of(result):
    parameters = {
        name: getattr(value, value.WhichOneof("kind")) for name, value in result.parameters.items()
    }
    return {
        "combination_index": result.combination_index,
        "backtest_duration": result.backtest_duration.ToTimedelta(),
        "parameters": parameters,
        "metrics": dict(result.metrics),
    }


def rows_of(stream):
    return [
        row
        | {"metrics": {name: value for name, value in row["metrics"].items() if value is not None}}
        for row in pa.ipc.open_stream(stream).read_all().to_pylist()
    ]


def test_a_row_has_the_combination_and_the_metrics_that_have_a_value(log):
    (group,) = RowProgress(log, GRID).encoded(0, COUNT)
    assert (group.count, group.failed_count) == (32, 5)
    outcomes = outcomes_of([group])
    plan = BacktestPlan("any", AXES, ())
    indices = [getattr(each, each.WhichOneof("kind")).combination_index for each in outcomes]
    assert indices == list(range(31, -1, -1))
    first = values_of(outcomes[0].result)
    assert first["parameters"] == plan.combination(31)
    assert first["metrics"] == {"score": 46.5, "win_rate": 0.31}
    assert values_of(outcomes[1].result)["metrics"] == {"score": 45.0}
    failure = outcomes[3].failure
    assert (failure.combination_index, failure.message) == (28, "no luck with 28")
    assert failure.parameters["kind"].string_value == plan.combination(28)["kind"]


def test_outcomes_one_by_one_are_those_that_come_together(log):
    together = outcomes_of(RowProgress(log, GRID).encoded(0, COUNT))
    groups = SingleRowProgress(log, GRID).encoded(0, COUNT)
    one_by_one = [(group.count, group.failed_count, *outcomes_of([group])) for group in groups]
    assert one_by_one == [(1, int(each.HasField("failure")), each) for each in together]


@given(
    metrics=st.dictionaries(
        st.text(max_size=200), st.lists(st.floats(), min_size=5, max_size=5), max_size=4
    ),
    durations=st.lists(st.floats(0, 1e6), min_size=5, max_size=5),
    failed=st.sets(st.integers(0, 4)),
    values=st.lists(st.integers(-(2**62), 2**62), min_size=5, max_size=5, unique=True),
)
def test_outcomes_one_by_one_are_those_that_come_together_whatever_they_are(
    metrics, durations, failed, values
):
    failures = tuple(BacktestFailure(i, FailureKind.ERROR, "no", "", 0.0) for i in sorted(failed))
    table = np.array(list(metrics.values())).reshape(len(metrics), 5).T
    log = OutcomeLog(5)
    log.append(OutcomeBatch(np.arange(5), np.array(durations), tuple(metrics), table, failures), 0)
    grid = GridColumns((ParameterAxis("value", values),))
    together = outcomes_of(RowProgress(log, grid).encoded(0, 5))
    assert outcomes_of(SingleRowProgress(log, grid).encoded(0, 5)) == together


def test_rows_and_arrow_have_the_values_of_the_axes_to_the_last_bit():
    numbers = range(2**63 - 6, 2**63, 2)
    texts = ("a" * 1_000, "a\0", "")
    grid = GridColumns((ParameterAxis("n", numbers), ParameterAxis("kind", texts)), object)
    log = OutcomeLog(9)
    log.append(OutcomeBatch(np.arange(9), np.zeros(9), ("score",), np.ones((9, 1)), ()), 0)
    expected = [{"n": number, "kind": text} for number in numbers for text in texts]
    for row_format in (RowProgress(log, grid), SingleRowProgress(log, grid)):
        outcomes = outcomes_of(row_format.encoded(0, 9))
        assert [values_of(outcome.result)["parameters"] for outcome in outcomes] == expected
    (group,) = ArrowProgress(log, grid, is_grouped=True).encoded(0, 9)
    rows = rows_of(progress_of(group).arrow_results)
    assert [row["parameters"] for row in rows] == expected


@pytest.mark.parametrize("is_grouped", [True, False])
def test_arrow_has_the_values_of_the_rows(log, is_grouped):
    outcomes = outcomes_of(RowProgress(log, GRID).encoded(0, COUNT))
    arrow = ArrowProgress(log, GRID, is_grouped=is_grouped)
    step = min(arrow.block_size(), COUNT)
    groups = [
        group for start in range(0, COUNT, step) for group in arrow.encoded(start, start + step)
    ]
    assert len(groups) == (1 if is_grouped else COUNT)
    streams = [stream for group in groups if (stream := progress_of(group).arrow_results)]
    assert [row for stream in streams for row in rows_of(stream)] == [
        values_of(outcome.result) for outcome in outcomes if outcome.HasField("result")
    ]
    assert outcomes_of(groups) == [each for each in outcomes if each.HasField("failure")]


def test_readers_of_arrow_find_the_columns_of_the_contract(log):
    ranking = RankedResults(log, BacktestPlan("any", AXES, ()), np.array([0, 1], dtype=np.intp))
    (part,) = ArrowRanking(GRID).ranked_parts(ranking)
    (group,) = ArrowProgress(log, GRID, is_grouped=True).encoded(0, 2)
    ranked = pa.schema(
        {
            "rank": pa.int64(),
            "combination_index": pa.int64(),
            "backtest_duration": pa.duration("us"),
            "parameters": pa.struct(
                {
                    "fast": pa.int64(),
                    "threshold": pa.float64(),
                    "kind": pa.large_string(),
                    "allow_short": pa.bool_(),
                }
            ),
            "metrics": pa.struct({"score": pa.float64(), "win_rate": pa.float64()}),
        }
    )
    streams = result_of(part).arrow_ranked_results, progress_of(group).arrow_results
    schemas = [pa.ipc.open_stream(stream).schema for stream in streams]
    assert schemas == [ranked, ranked.remove(0)]
    assert [schema.metadata for schema in schemas] == [None, None]


@pytest.mark.parametrize("is_ranked", [True, False])
def test_every_reader_gives_what_is_sent_as_arrow(log, is_ranked):
    if is_ranked:
        order = np.flatnonzero(~log.is_failure())[::-1]
        ranking = RankedResults(log, BacktestPlan("any", AXES, ()), order)
        (part,) = ArrowRanking(GRID).ranked_parts(ranking)
        stream = result_of(part).arrow_ranked_results
    else:
        (group,) = ArrowProgress(log, GRID, is_grouped=True).encoded(0, COUNT)
        stream = progress_of(group).arrow_results
    table = pa.ipc.open_stream(stream).read_all()
    table.validate(full=True)
    assert pl.read_ipc_stream(io.BytesIO(stream)).to_dicts() == table.to_pylist()
    with InputStream.from_readable(io.BytesIO(stream)) as messages:
        assert list(Array(c_array_stream(messages)).iter_py()) == table.to_pylist()


def test_a_ranking_is_the_same_in_either_format(log):
    order = np.array([0, 2, 1, 4], dtype=np.intp)
    ranking = RankedResults(log, BacktestPlan("any", AXES, ()), order)
    (rows,) = RowRanking(GRID).ranked_parts(ranking)
    (arrow,) = ArrowRanking(GRID).ranked_parts(ranking)
    assert rows_of(result_of(arrow).arrow_ranked_results) == [
        {"rank": row.rank} | values_of(row) for row in result_of(rows).ranked_results
    ]
    assert [row.rank for row in result_of(rows).ranked_results] == [1, 2, 3, 4]


def test_a_metric_that_no_row_of_the_ranking_has_is_no_column(log):
    order = np.flatnonzero(np.isnan(log.metric("win_rate")) & ~log.is_failure())
    ranking = RankedResults(log, BacktestPlan("any", AXES, ()), order)
    (part,) = ArrowRanking(GRID).ranked_parts(ranking)
    table = pa.ipc.open_stream(result_of(part).arrow_ranked_results).read_all()
    assert [field.name for field in table.schema.field("metrics").type] == ["score"]


def test_a_grid_without_parameters_has_no_column_for_them():
    log = OutcomeLog(1)
    log.append(OutcomeBatch(np.array([0]), np.zeros(1), (), np.empty((1, 0))), 0.0)
    (group,) = ArrowProgress(log, GridColumns(()), is_grouped=True).encoded(0, 1)
    assert pa.ipc.open_stream(progress_of(group).arrow_results).read_all().column_names == [
        "combination_index",
        "backtest_duration",
    ]
    (group,) = RowProgress(log, GridColumns(())).encoded(0, 1)
    assert progress_of(group).outcomes[0].HasField("result")


@pytest.mark.parametrize(
    ("make", "make_ranking"),
    [
        (RowProgress, RowRanking),
        (partial(ArrowProgress, is_grouped=True), ArrowRanking),
    ],
)
def test_messages_are_bounded_whatever_the_outcomes_are(log, make, make_ranking, monkeypatch):
    monkeypatch.setattr(formats, "MAX_MESSAGE_BYTES", 1_000)
    groups = list(make(log, GRID).encoded(0, COUNT))
    assert sum(group.count for group in groups) == COUNT
    assert sum(group.failed_count for group in groups) == 5
    failures = [len([o for o in progress_of(g).outcomes if o.HasField("failure")]) for g in groups]
    assert max(failures) <= 2
    ranking = RankedResults(log, BacktestPlan("any", AXES, ()), np.flatnonzero(~log.is_failure()))
    assert len(list(make_ranking(GRID).ranked_parts(ranking))) > 1
