"""A result as a table."""

import pickle
import sys

import pyarrow as pa
import pytest
from stratsweep import ParameterResult
from stratsweep._events import EventAssembler
from stratsweep._tables import RankingTable
from stratsweep.cli.documents import result_csv, result_json


@pytest.fixture
def result(script):
    assembler = EventAssembler()
    for message in script.whole():
        assembler.feed(message)
    return assembler.finished_result()


def test_a_data_frame_has_rank_index_parameters_and_metrics(result):
    frame = result.to_polars()
    assert frame.columns == [
        "rank",
        "combination_index",
        "slow",
        "fast",
        "sharpe_ratio",
        "total_return",
        "trade_count",
    ]
    assert frame["fast"].to_list() == [5, 5, 10]
    assert frame["sharpe_ratio"].to_list() == [1.5, 0.5, None]


def test_pandas_and_polars_have_the_same_table(result):
    pandas, polars = result.to_pandas(), result.to_polars()
    assert list(pandas.columns) == polars.columns
    assert pandas["total_return"].tolist() == polars["total_return"].to_list()
    assert pandas["sharpe_ratio"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_missing_library_is_named_with_its_pip_command(result, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=f"pip install {library}"):
        getattr(result, f"to_{library}")()


def columns_of(rows):
    table = RankingTable(rows)
    (columns,) = table.lists()
    return dict(zip(table.names, columns, strict=True))


def test_a_name_that_is_taken_gets_a_prefix():
    row = ParameterResult(0, {"rank": 3, "cagr": 1}, {"cagr": 0.5}, rank=1)
    assert columns_of([row]) == {
        "rank": [1],
        "combination_index": [0],
        "parameter_rank": [3],
        "cagr": [1],
        "metric_cagr": [0.5],
    }


def test_an_empty_ranking_is_an_empty_table():
    assert columns_of([]) == {"rank": [], "combination_index": []}


def test_values_keep_their_types():
    values = {"whole": 1, "fraction": 0.5, "text": "a", "switch": True}
    rows = [ParameterResult(0, values, {}, rank=1), ParameterResult(1, {}, {"cagr": 1.0}, rank=2)]
    assert columns_of(rows)["switch"] == [True, None]
    table = pa.table(RankingTableOf(rows))
    assert [str(table.schema.field(name).type) for name in values] == [
        "int64",
        "double",
        "large_string",
        "bool",
    ]


class RankingTableOf:
    def __init__(self, rows):
        self.rows = rows

    def __arrow_c_stream__(self, requested_schema=None):
        return RankingTable(self.rows).arrow_stream(requested_schema)


def test_any_library_that_reads_arrow_takes_a_result(result):
    table = pa.table(result)
    assert table.column_names == result.to_polars().columns
    assert table["sharpe_ratio"].to_pylist() == [1.5, 0.5, None]


@pytest.fixture
def results_of_both_formats(script):
    results = []
    for stream in (script.whole(), script.whole_in_arrow()):
        assembler = EventAssembler()
        for message in stream:
            assembler.feed(message)
        results.append(assembler.finished_result())
    return results


def test_a_result_is_the_same_in_either_format(results_of_both_formats):
    rows, arrow = results_of_both_formats
    assert arrow == rows
    assert arrow.best == rows.best
    assert list(arrow.ranked) == list(rows.ranked)
    assert [arrow.ranked[place] for place in (-1, 0, 1)] == [rows.ranked[n] for n in (2, 0, 1)]
    assert arrow.ranked[1:] == rows.ranked[1:]
    assert pickle.loads(pickle.dumps(arrow)) == rows


@pytest.mark.parametrize(
    "as_text",
    [
        lambda result: result.to_polars().write_csv(),
        lambda result: result.to_pandas().to_csv(),
        lambda result: pa.table(result).to_pydict(),
        lambda result: "".join(result_csv(result)),
        result_json,
    ],
)
def test_a_table_is_the_same_in_either_format(results_of_both_formats, as_text):
    rows, arrow = results_of_both_formats
    assert as_text(arrow) == as_text(rows)


def test_arrow_columns_are_shared_and_not_copied(results_of_both_formats):
    _, arrow = results_of_both_formats
    (first, *_) = arrow.ranked.blocks
    child = first.batch.child(0)
    (batch, *_) = pa.table(arrow).column("rank").chunks
    assert batch.buffers()[1].address == child.buffers[1]


def test_nulls_of_arrow_are_absent_metrics_and_nan_in_pandas(results_of_both_formats):
    _, arrow = results_of_both_formats
    assert "sharpe_ratio" not in arrow.ranked[2].metrics
    assert arrow.to_pandas()["sharpe_ratio"].isna().tolist() == [False, False, True]
    assert str(arrow.to_pandas()["fast"].dtype) == "int64"
