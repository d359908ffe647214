"""A result as a notebook shows it."""

import re
from dataclasses import replace

import pytest
from stratsweep import ParameterResult
from stratsweep._assembler import EventAssembler


@pytest.fixture
def html(script):
    """Make the HTML of a script's result, with other values of its fields."""

    def html(messages, **changes):
        assembler = EventAssembler()
        for message in messages:
            assembler.feed(message)
        return replace(assembler.finished_result(), **changes)._repr_html_()

    return html


def cells(text):
    return [re.findall(r">([^<>]+)</t[hd]>", row) for row in text.split("<tr>")[1:]]


def test_the_table_is_that_of_the_command_line(html, script):
    text = html(script.whole())
    assert "sma_cross on SPY, 2020-01-02 to 2020-12-31: 3 of 3 results, 1 failed" in text
    assert cells(text) == [
        ["rank", "slow", "fast", "sharpe_ratio", "total_return", "trade_count"],
        ["1", "100", "5", "1.5000", "25.00%", "12"],
        ["2", "50", "5", "0.5000", "12.50%", "7"],
        ["3", "100", "10", "-", "0.00%", "0"],
    ]


def test_it_ends_after_twenty_rows(html, script):
    rows = [ParameterResult(n, {"x": n}, {"sharpe_ratio": 1.0}, rank=n + 1) for n in range(50)]
    text = html(script.whole(), ranked=rows, succeeded_count=50)
    assert "20 of 50 results" in text
    assert len(cells(text)) == 21


def test_no_text_becomes_markup(html, script):
    rows = [ParameterResult(0, {"<b>": "<script>"}, {"<i>": 1.0}, rank=1)]
    text = html(script.whole(), ranked=rows)
    assert not re.search("<(b|i|script)>", text)
    assert "&lt;script&gt;" in text


def test_what_could_not_be_ranked_says_why_and_has_no_table(html, script):
    text = html(script.failed())
    assert "nothing could be ranked: every backtest failed" in text
    assert "<table>" not in text
