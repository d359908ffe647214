"""The notations that the numbers of price files may have, and what could be either of two."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.market_data.bars import Bars
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.price_file import read_price_file

SEPARATORS = [",", ";", "\t", "|"]


def content(closes: list[str], volumes: list[str] | None = None, separator: str = ";") -> bytes:
    """A CSV file with these texts, whose four prices are one."""
    volumes = volumes or ["" for _ in closes]
    lines = [["Date", "Open", "High", "Low", "Close", "Volume"]]
    for day, (close, volume) in enumerate(zip(closes, volumes, strict=True), start=1):
        lines.append(
            [f"2024-01-{day:02}", *[_field(close, separator)] * 4, _field(volume, separator)]
        )
    return "\n".join(separator.join(line) for line in lines).encode()


def _field(text: str, separator: str) -> str:
    return f'"{text}"' if separator in text else text


def read(closes: list[str], volumes: list[str] | None = None, separator: str = ";") -> Bars:
    return read_price_file("X", "X.csv", content(closes, volumes, separator)).bars


def read_parquet(closes: list[str], volumes: list[str]) -> Bars:
    prices = dict.fromkeys(("open", "high", "low", "close"), pl.Series(closes))
    days = pl.Series([f"2024-01-{day:02}" for day in range(1, len(closes) + 1)])
    buffer = io.BytesIO()
    pl.DataFrame({"date": days, **prices, "volume": pl.Series(volumes)}).write_parquet(buffer)
    return read_price_file("X", "X.parquet", buffer.getvalue()).bars


def refusal(
    closes: list[str], volumes: list[str] | None = None, separator: str = ";"
) -> InvalidBarsError:
    with pytest.raises(InvalidBarsError) as caught:
        read(closes, volumes, separator)
    return caught.value


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize(
    ("closes", "volumes", "close", "volume"),
    [
        (["1004.5"], ["562600"], 1004.5, 562_600),
        (["1.0045e3"], ["5.626E+5"], 1004.5, 562_600),
        (["1,004.50"], ["562,600"], 1004.5, 562_600),
        (["1.004,50"], ["562.600"], 1004.5, 562_600),
        (["1004,5"], ["562.600"], 1004.5, 562_600),
        (["1004,5"], ["562600"], 1004.5, 562_600),
        (["1,004"], ["1,562,600"], 1004, 1_562_600),
        (["1.004"], ["1.562.600"], 1004, 1_562_600),
        (["1,004"], ["562.5"], 1004, 562.5),
        (["1.004"], ["562,5"], 1004, 562.5),
        (["1,004"], ["0.562"], 1004, 0.562),
        (["1.004"], ["0,562"], 1004, 0.562),
        (["1,004", "998.25"], ["1", "1"], 1004, 1),
        (["1,004", "0,98"], ["1", "1"], 1.004, 1),
        (["1,0045"], ["nan"], 1.0045, np.nan),
        (["1,0045E3"], ["1E3"], 1004.5, 1000),
        (["12345,678"], [""], 12345.678, np.nan),
        (["150.123", "150.120"], ["985", "1004"], 150.123, 985),
        (["150.123", "150.12", "150"], ["1", "1", "1"], 150.123, 1),
        ([".5"], ["1"], 0.5, 1),
        ([",5"], ["1"], 0.5, 1),
    ],
)
def test_numbers_have_the_notation_that_the_files_numbers_show(
    closes, volumes, close, volume, separator
):
    bars = read(closes, volumes, separator)
    assert bars.close[0] == close
    assert bars.volume[0] == volume or np.isnan([bars.volume[0], volume]).all()
    stored = read_parquet(closes, [text or "nan" for text in volumes])
    assert stored.close.tolist() == bars.close.tolist()
    assert np.array_equal(stored.volume, bars.volume, equal_nan=True)


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize(
    ("closes", "volumes", "row", "shown"),
    [
        (["985", "1,004"], ["1", "1"], 3, "the open '1,004' may be 1004 or 1.004"),
        (["985", "1.004"], ["1", "1"], 3, "the open '1.004' may be 1004 or 1.004"),
        (["985", "1.000"], ["1", "1"], 3, "the open '1.000' may be 1000 or 1.000"),
        (["985", "998"], ["1", "562,600"], 3, "the volume '562,600' may be 562600 or 562.600"),
        (["1,004"], ["562,600"], 2, "the open '1,004' may be 1004 or 1.004"),
        (["1,004"], ["562.600"], 2, "the open '1,004' may be 1004 or 1.004"),
        (["985", "1.004", "2045,50"], ["1"] * 3, 3, "the open '1.004' may be 1004 or 1.004"),
        (["1012.00", "1,004"], ["1", "1"], 3, "the open '1,004' may be 1004 or 1.004"),
    ],
)
def test_what_may_be_thousands_or_decimals_is_refused(closes, volumes, row, shown, separator):
    error = refusal(closes, volumes, separator)
    assert error.row == row
    assert error.reason.startswith(shown)
    assert "write all with a decimal point and no other mark, such as " in error.reason
    with pytest.raises(InvalidBarsError, match=shown):
        read_parquet(closes, volumes)


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize(
    "text",
    [
        "1 004.50",
        "1\u00a0004",
        "1\u202f004,5",
        "1'004.50",
        "1_004",
        "$1004",
        "1004 €",
        "(1004)",
        "12,34,567.00",
        "1,004,5",
        "1.004.5",
        "1,0040,000",
        "0,123,456",
        "1004-",
        "0x10",
        "1d5",
        "562K",
        "N/A",
        "-",
        "\uff11\uff10",
    ],
)
def test_what_is_no_number_is_refused_with_what_to_write(text, separator):
    closes = [text if row == 2 else f"{1000 + row}.5" for row in range(5)]
    error = refusal(closes, separator=separator)
    assert error.row == 4
    assert error.reason.startswith(f"the open {text!r} is not a number; write numbers as 1004.5")
    assert refusal(["1"] * 5, closes, separator).reason.startswith(f"the volume {text!r} is not a")


@pytest.mark.parametrize(
    ("closes", "row", "shown"),
    [
        (["1004.5", "1004,5", "1003.5"], 3, "'1004,5' has a decimal comma"),
        (["1004,5", "1004.5", "1003,5"], 3, "'1004.5' has a decimal point"),
        (["1,004.50", "1.004,50", "998.50"], 3, "'1.004,50' has a decimal comma"),
    ],
)
def test_the_number_in_another_notation_than_most_is_the_one_refused(closes, row, shown):
    error = refusal(closes)
    assert error.row == row
    assert shown in error.reason


def test_the_first_bad_line_is_refused_whichever_its_column():
    assert refusal(["1", "1", "x"], ["1", "many", "1"]).row == 3


@pytest.mark.parametrize("sign", ["$", "€", "£", "¥"])
def test_a_currency_sign_that_all_prices_have_is_taken_off(sign):
    assert read([f"{sign}1,004.50", f"{sign}998.5"]).close.tolist() == [1004.5, 998.5]
    assert refusal([f"{sign}1004.5", "998.5"]).row == 2
    assert refusal([f"{sign}1004.5", "$€998.5"]).row is not None


def test_volumes_that_all_have_a_magnitude_are_scaled():
    volumes = ["1.23M", "562.60K", "1B", "-", ""]
    assert read(["1"] * 5, volumes).volume[:3].tolist() == [1_230_000, 562_600, 10**9]
    assert np.isnan(read(["1"] * 5, volumes).volume[3:]).all()
    assert read(["1"] * 2, ["1,23M", "562,60K"]).volume.tolist() == [1_230_000, 562_600]
    assert refusal(["1"] * 3, ["1.23M", "5", "1M"]).row in (2, 3)
    assert refusal(["1K"] * 3).row == 2


def test_a_volume_in_thousands_of_thousands_is_no_decimal():
    assert read(["10.5"] * 2, ["1,250K", "1,001.5K"]).volume.tolist() == [1_250_000, 1_001_500]
    assert read(["10,5"] * 2, ["1.250K", "900K"]).volume.tolist() == [1_250_000, 900_000]
    for volumes in (["1,250K", "900K"], ["1.250K", "900K"]):
        assert "may be 1250e3 or 1.250e3" in refusal(["10", "11"], volumes).reason


decimals = st.integers(0, 4)
values = st.lists(st.decimals(1, 3_000_000, allow_nan=False, places=4), min_size=1, max_size=8)


@given(values, decimals, st.sampled_from([".", ","]), st.booleans(), st.sampled_from(SEPARATORS))
def test_no_number_is_read_as_another_one(numbers, places, mark, grouped, separator):
    """Save for a point before three digits in all of them, which is a decimal point."""
    texts = [f"{number:{',' if grouped else ''}.{places}f}" for number in numbers]
    if mark == ",":
        texts = [text.translate(str.maketrans(".,", ",.")) for text in texts]
    if mark == "," and grouped and places == 0:
        texts.append("985")
    expected = [
        float(text.replace("." if mark == "," else ",", "").replace(",", ".")) for text in texts
    ]
    try:
        assert read(texts, texts, separator).volume.tolist() == expected
    except InvalidBarsError as error:
        assert grouped or places == 3
        assert " may be " in error.reason  # noqa: PT017
