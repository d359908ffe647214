"""A result as a table."""

import json
import pickle
import sys
from dataclasses import replace

import polars as pl
import pyarrow as pa
import pytest
from stratsweep import ParameterResult
from stratsweep._assembler import EventAssembler
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


def columns_of(rows, counts=()):
    table = RankingTable(rows, counts)
    batches = [dict(zip(table.names, columns, strict=True)) for columns in table.lists()]
    return {name: [value for batch in batches for value in batch[name]] for name in table.names}


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
    table = pa.table(RankingTable(rows))
    assert [str(table.schema.field(name).type) for name in values] == [
        "int64",
        "double",
        "large_string",
        "bool",
    ]


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


@pytest.fixture(params=["rows", "arrow"])
def counted(request, results_of_both_formats):
    """A result whose `trade_count` is a count, as it comes in either format."""
    return results_of_both_formats[request.param == "arrow"]


def with_trade_counts(result, *counts):
    """The result with other values of `trade_count`; None leaves it out."""
    rows = []
    for row, count in zip(result.ranked, counts, strict=True):
        metrics = {name: value for name, value in row.metrics.items() if name != "trade_count"}
        rows.append(
            replace(row, metrics=metrics | ({} if count is None else {"trade_count": count}))
        )
    return replace(result, ranked=rows)


def test_a_count_is_an_integer_in_every_table_and_document(counted):
    assert str(counted.to_pandas()["trade_count"].dtype) == "int64"
    assert counted.to_polars()["trade_count"].dtype == pl.Int64
    assert pa.table(counted)["trade_count"].type == pa.int64()
    (_, first, *_) = "".join(result_csv(counted)).splitlines()
    assert first.endswith(",12")
    metrics = json.loads(result_json(counted))["ranked_results"][0]["metrics"]
    assert [type(metrics[name]) for name in ("sharpe_ratio", "trade_count")] == [float, int]


def test_other_metrics_stay_doubles_even_where_they_are_whole(counted):
    assert str(pa.table(counted)["total_return"].type) == "double"
    assert json.loads(result_json(counted))["ranked_results"][2]["metrics"]["total_return"] == 0.0
    assert '"total_return": 0.0' in result_json(counted)


def test_a_count_that_is_absent_is_null_among_integers(counted):
    result = with_trade_counts(counted, 12.0, None, 7.0)
    assert result.to_polars()["trade_count"].to_list() == [12, None, 7]
    frame = result.to_pandas()
    assert str(frame["trade_count"].dtype) == "Int64"
    assert frame["trade_count"].isna().tolist() == [False, True, False]
    assert "".join(result_csv(result)).splitlines()[2].endswith(",")


def test_a_count_that_is_not_whole_stays_as_it_is(counted):
    result = with_trade_counts(counted, 12.5, 7.0, 1e300)
    assert result.to_polars()["trade_count"].to_list() == [12.5, 7.0, 1e300]
    metrics = json.loads(result_json(result))["ranked_results"]
    assert metrics[0]["metrics"]["trade_count"] == 12.5


def test_integers_are_the_same_without_numpy(counted, monkeypatch):
    sparse = with_trade_counts(counted, None, 3.0, 2.5)
    expected = [pa.table(each).to_pydict() for each in (counted, sparse)]
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert [columns_of(each.ranked, {"trade_count"}) for each in (counted, sparse)] == expected


def test_several_rankings_share_one_table_with_their_symbols(counted):
    other = with_trade_counts(replace(counted, ranked=counted.ranked[:2]), None, None)
    rankings = {"SPY": counted.ranked, "NONE": [], "AAPL": other.ranked}
    table = pa.table(RankingTable(rankings, {"trade_count"}))
    assert table.column_names == ["symbol", *pa.table(counted).column_names]
    assert table["symbol"].to_pylist() == ["SPY"] * 3 + ["AAPL"] * 2
    assert table["rank"].to_pylist() == [1, 2, 3, 1, 2]
    assert table["trade_count"].type == pa.int64()
    assert table["trade_count"].to_pylist() == [12, 7, 0, None, None]


def test_the_bars_are_told_in_the_document(counted):
    assert json.loads(result_json(counted))["market_data"] == {
        "bar_count": 253,
        "first_bar_time": "2020-01-02T00:00:00+00:00",
        "last_bar_time": "2020-12-31T00:00:00+00:00",
        "periods_per_year": 252.3,
    }
    without = json.loads(result_json(replace(counted, market_data=None)))
    assert "market_data" not in without
