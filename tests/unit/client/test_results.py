"""A result as a table."""

import sys

import pytest
from stratsweep import ParameterResult
from stratsweep._events import EventAssembler
from stratsweep._tables import result_columns


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


def test_a_name_that_is_taken_gets_a_prefix():
    row = ParameterResult(0, {"rank": 3, "cagr": 1}, {"cagr": 0.5}, rank=1)
    assert result_columns([row]) == {
        "rank": [1],
        "combination_index": [0],
        "parameter_rank": [3],
        "cagr": [1],
        "metric_cagr": [0.5],
    }


def test_an_empty_ranking_is_an_empty_table():
    assert result_columns([]) == {"rank": [], "combination_index": []}
