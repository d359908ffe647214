"""The import command: its options, what it refuses, and what it writes."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result
from stratsweep_server.market_data.importing.__main__ import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="stratsweep import")


def test_the_zone_is_the_options_else_the_layouts_else_the_folders(folder):
    (folder / "stratsweep.toml").write_text('timezone = "Asia/Tokyo"\n')
    (folder / "a.csv").write_text("20240702 170000;1;4;1;2;5\n20240702 170100;1;4;1;2;5\n")

    def first_time(*options: str) -> str:
        options = ("--symbol", "X", "--overwrite", "--format", "json", *options)
        return json.loads(run("a.csv", *options).stdout)["first_time"]

    assert first_time("--layout", "ninjatrader") == "2024-07-02T08:00:00Z"
    assert first_time("--layout", "histdata") == "2024-07-02T22:00:00Z"
    assert first_time("--layout", "histdata", "--timezone", "UTC") == "2024-07-02T17:00:00Z"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--symbol", "../X"], "'../X' is not a symbol"),
        (["--symbol", "X", "--timezone", "New_York"], "the nearest: America/New_York"),
        (["--symbol", "X", "--columns", "open"], "'open' is not ROLE=COLUMN"),
        (["--symbol", "X", "--columns", "opn=2"], "'opn=2' is not ROLE=COLUMN"),
        (["--symbol", "X", "--columns", "open=1,open=2"], "open is there twice"),
        (["--symbol", "X", "--layout", "nobody"], "'nobody' is not one of 'binance'"),
        ([], "Missing option '--symbol'"),
    ],
)
def test_bad_usage_ends_with_code_2(folder, options, message):
    (folder / "a.csv").write_text("2024-01-02,1,2,1,2\n")
    refused = run("a.csv", *options)
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert refused.stderr.startswith("Usage: stratsweep import [OPTIONS] FILE...\n")


def test_a_date_and_a_time_beside_it_are_chosen_by_position(folder):
    (folder / "a.csv").write_text("SPY,2024-01-02,09:30,1,4,1,2\n")
    columns = "date=2, time=3, open=4,high=5,low=6,close=7"
    imported = run("a.csv", "--symbol", "X", "--columns", columns, "--format", "json")
    assert json.loads(imported.stdout)["first_time"] == "2024-01-02T09:30:00Z"


def test_files_of_one_name_are_told_apart_by_their_folders(folder):
    for month, close in (("01", 2), ("02", 3)):
        (folder / month).mkdir()
        text = f"Date,Open,High,Low,Close\n2024-01-02,1,4,1,{close}\n"
        (folder / month / "a.csv").write_text(text)
    refused = run("01/a.csv", "02/a.csv", "--symbol", "X")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("error: 01/a.csv and 02/a.csv disagree: at 2024-01-02")


def test_many_refused_files_are_counted(folder):
    names = [f"{number}.csv" for number in range(8)]
    for name in names:
        (folder / name).write_text("Date,Open,High,Low,Close\n")
    lines = run(*names, "--symbol", "X").stderr.splitlines()
    assert len(lines) == 6
    assert lines[-1] == "3 more of the 8 files cannot be used"


def test_a_file_that_cannot_be_written_is_an_error(folder):
    (folder / "a.csv").write_text("Date,Open,High,Low,Close\n2024-01-02,1,4,1,2\n")
    (folder / "b").mkdir()
    (folder / "b" / "X.parquet").mkdir()
    refused = run("a.csv", "--symbol", "X", "--to", "b", "--overwrite")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("error: ")
    assert [path.name for path in (folder / "b").iterdir()] == ["X.parquet"]
