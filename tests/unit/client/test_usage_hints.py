"""What the command line says of mistakes of newcomers: what happened, to what, what to do next."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from stratsweep.cli import main
from stratsweep.cli.usage_hints import plain_number

LISTED = "`stratsweep strategies` lists all."
SOUND = ("optimize", "sma_cross", "--symbol", "SPY")


def complaint_of(*arguments: str) -> str:
    """The last line of a command line that is refused before anything starts."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    *_, last = result.output.splitlines()
    return last


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ("optimize", "sma_cross"),
            f"Missing option '--symbol'. Name what to trade, such as --symbol SPY; {LISTED}",
        ),
        (
            ("optimize", "--symbol", "SPY"),
            f"Missing argument 'STRATEGY'. Name what to optimize, such as sma_cross; {LISTED}",
        ),
        (("optimise", "sma_cross"), "No such command 'optimise'. Did you mean 'optimize'?"),
        ((*SOUND, "--tagret", "cagr"), "No such option '--tagret'. Did you mean '--target'?"),
        (
            (*SOUND, "--fast", "5"),
            "No such option '--fast'; a parameter of the strategy is given as --param fast=VALUES",
        ),
        (
            (*SOUND, "fast=5,10"),
            "Got unexpected extra argument (fast=5,10); write --param fast=5,10",
        ),
        (
            (*SOUND, "AAPL"),
            "argument (AAPL); symbols are given with --symbol, parameters with --param NAME=VALUES",
        ),
        (
            (*SOUND, "--cash", "10k"),
            "Invalid value for '--cash': '10k' is not a number; write 10000",
        ),
        ((*SOUND, "--cash", "10,000"), "'10,000' is not a number; write 10000"),
        ((*SOUND, "--cash", "$1.5m"), "'$1.5m' is not a number; write 1500000"),
        ((*SOUND, "--cash", "much"), "Invalid value for '--cash': 'much' is not a number"),
        ((*SOUND, "--commission", "0.1%"), "'0.1%' is not a number; write the fraction, 0.001"),
        ((*SOUND, "--slippage", "0,001"), "'0,001' is not a number; write 0.001"),
        ((*SOUND, "--top", "0"), "Invalid value for '--top': '0' is not a whole number from 1 on"),
        ((*SOUND, "--top", "all"), "'all' is not a whole number from 1 on"),
        ((*SOUND, "--workers", "2.5"), "'2.5' is not a whole number from 1 on"),
        ((*SOUND, "--seed", "-1"), "'-1' is not a whole number from 0 on"),
        (
            (*SOUND, "--from", "2020"),
            "'2020' is not a day; write it as YYYY-MM-DD; such as 2020-01-01",
        ),
        (
            (*SOUND, "--to", "2020"),
            "'2020' is not a day; write it as YYYY-MM-DD; such as 2020-12-31",
        ),
        ((*SOUND, "--timeout", "5m"), "'5m' is not a number of seconds; write 300"),
        ((*SOUND, "--timeout", "long"), "'long' is not a number of seconds"),
        (
            (*SOUND, "--param", "slow=9", "--param", "fast=5", "--param", "fast=6"),
            "--param: 'fast' is named more than once; join its values",
        ),
        (
            (*SOUND, "--label", "desk=a", "--label", "desk=b"),
            "--label: 'desk' is named more than once; give it one value",
        ),
        ((*SOUND, "--data", "nowhere"), "Directory 'nowhere' does not exist."),
        ((*SOUND, "--format", "xml"), "'xml' is not one of 'table', 'json', 'csv'."),
        ((*SOUND, "--server", "localhost"), "write host:port, such as 127.0.0.1:50051"),
        (("strategies", "--fast"), "No such option '--fast'."),
    ],
)
def test_a_mistake_says_what_to_do(arguments, complaint):
    assert complaint in complaint_of(*arguments)


def test_a_price_file_instead_of_its_folder_says_how_to_name_both(tmp_path):
    (tmp_path / "SPY.csv").touch()
    complaint = complaint_of(*SOUND, "--data", str(tmp_path / "SPY.csv"))
    assert complaint.endswith(f"is a file; give its folder: --data {tmp_path} --symbol SPY")


def test_an_output_that_cannot_be_written_says_why(tmp_path):
    assert "there is no directory" in complaint_of(
        *SOUND, "--output", str(tmp_path / "x" / "a.csv")
    )
    assert ".json, .csv, .parquet" in complaint_of(*SOUND, "--output", "results.xlsx")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10k", "10000"),
        ("1.5M", "1500000"),
        ("10,000", "10000"),
        ("1'234'567.50", "1234567.50"),
        ("10 000", "10000"),
        ("0,1", "0.1"),
        ("0.1%", "0.001"),
        ("€ 5", "5"),
        ("1,2,3", None),
        ("", None),
        ("a lot", None),
    ],
)
def test_amounts_as_people_write_them_become_plain_numbers(text, number):
    assert plain_number(text) == number
