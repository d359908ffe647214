"""The worker's pure parts: plain metrics out of any answer, plain text out of any exception."""

from __future__ import annotations

import math
from collections import OrderedDict
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.backtest import BacktestResult
from stratsweep_server.execution.worker import (
    describe_exception,
    format_traceback,
    plain_metrics,
    tabulate,
)

# Metrics.


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (1.5, 1.5),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (np.float64(-2.0), -2.0),
        (np.int64(7), 7.0),
        (np.bool_(1), 1.0),
        (np.array(2.5), 2.5),
        (Decimal("1.25"), 1.25),
        (Fraction(1, 4), 0.25),
    ],
)
def test_every_kind_of_number_becomes_a_plain_float(value, number):
    plain = plain_metrics(BacktestResult({"score": value}))
    assert plain == {"score": number}
    assert type(plain["score"]) is float


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, np.nan, np.float32("inf")])
def test_a_metric_without_a_value_is_absent(value):
    assert plain_metrics(BacktestResult({"score": value, "other": 1.0})) == {"other": 1.0}


@pytest.mark.parametrize("value", ["1.5", b"1.5", np.str_("1.5"), [1.0], object(), 1j])
def test_what_is_no_number_is_refused_by_name(value):
    with pytest.raises(TypeError, match=rf"metric 'score' of type {type(value).__name__}"):
        plain_metrics(BacktestResult({"score": value}))


def test_a_number_that_no_float_can_hold_is_refused_by_name():
    with pytest.raises(TypeError, match=r"metric 'score' of type int is .* too large"):
        plain_metrics(BacktestResult({"score": 10**400}))


@pytest.mark.parametrize("name", [1, None, ("a", "b"), b"score", "x" * 101])
def test_a_name_that_is_no_short_text_is_refused(name):
    with pytest.raises(TypeError):
        plain_metrics(BacktestResult({name: 1.0}))


def test_too_many_metrics_are_refused():
    assert len(plain_metrics(BacktestResult({str(n): 1.0 for n in range(1_000)}))) == 1_000
    with pytest.raises(ValueError, match="1001 metrics; 1000 are allowed"):
        plain_metrics(BacktestResult({str(n): 1.0 for n in range(1_001)}))


@pytest.mark.parametrize("result", [None, {"score": 1.0}, 1.0, SimpleNamespace(metrics=[1.0])])
def test_what_is_no_backtest_result_is_refused(result):
    with pytest.raises(TypeError, match=f"run_sync returned {type(result).__name__}, not a"):
        plain_metrics(result)


@pytest.mark.parametrize("metrics", [{}, OrderedDict(a=1.0), MappingProxyType({"a": 1.0})])
def test_any_mapping_will_do(metrics):
    assert plain_metrics(BacktestResult(metrics)) == dict(metrics)


def test_a_name_is_taken_as_plain_text():
    class Name(str):
        __slots__ = ()

    assert [type(name) for name in plain_metrics(BacktestResult({Name("a"): 1.0}))] == [str]


# Columns.

rows = st.lists(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(allow_nan=False, allow_infinity=False)),
    max_size=20,
)


@given(rows)
def test_columns_have_each_rows_metrics_and_nothing_else(metrics):
    names, table = tabulate(metrics)
    assert table.shape == (len(metrics), len(names))
    assert table.dtype == np.float64
    assert [
        {name: value for name, value in zip(names, row, strict=True) if not math.isnan(value)}
        for row in table.tolist()
    ] == metrics


@given(rows)
def test_columns_come_in_the_order_of_their_first_row(metrics):
    names, _ = tabulate(metrics)
    assert names == list(dict.fromkeys(name for row in metrics for name in row))


# Exceptions.


def raised(raise_it) -> BaseException:
    """The exception with its traceback, as the worker's loop catches it."""
    try:
        raise_it()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def raise_(error: BaseException) -> None:
    raise error


class KeywordOnlyError(Exception):
    def __init__(self, *, bar: int) -> None:
        super().__init__(f"no price at bar {bar}")


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class ExitsWhenReadError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class NumberAsTextError(Exception):
    def __str__(self) -> str:
        return 7  # noqa: PLE0307 - hostile


class UnpicklableError(Exception):
    def __init__(self) -> None:
        super().__init__("has a lambda")
        self.callback = lambda: None

    def __reduce__(self):
        raise RuntimeError("no pickle")


class HidingMeta(type):
    def __getattribute__(cls, name: str) -> object:
        raise RuntimeError("no name")


class NamelessError(Exception, metaclass=HidingMeta):
    pass


class HostileText(str):
    __slots__ = ()

    def split(self, *arguments):
        raise RuntimeError("no words")


class HostileTextError(Exception):
    def __str__(self) -> str:
        return HostileText("text")


def endless_recursion(depth: int = 0) -> int:
    return endless_recursion(depth + 1)


def local_class() -> None:
    class LocalError(Exception):
        pass

    raise LocalError("here only")


NO_TEXT = "<its text could not be made"


@pytest.mark.parametrize(
    ("raise_it", "message"),
    [
        (lambda: raise_(ValueError("no luck")), "ValueError: no luck"),
        (lambda: raise_(ValueError()), "ValueError"),
        (lambda: raise_(ValueError("two\n  lines\t!")), "ValueError: two lines !"),
        (lambda: raise_(KeyError("SPY")), "KeyError: 'SPY'"),
        (lambda: raise_(SystemExit(3)), "SystemExit: 3"),
        (lambda: raise_(KeyboardInterrupt()), "KeyboardInterrupt"),
        (lambda: raise_(KeywordOnlyError(bar=3)), "KeywordOnlyError: no price at bar 3"),
        (lambda: raise_(UnpicklableError()), "UnpicklableError: has a lambda"),
        (lambda: raise_(UnreadableError()), f"UnreadableError: {NO_TEXT}"),
        (lambda: raise_(ExitsWhenReadError()), f"ExitsWhenReadError: {NO_TEXT}"),
        (lambda: raise_(NumberAsTextError()), f"NumberAsTextError: {NO_TEXT}"),
        (lambda: raise_(HostileTextError()), f"HostileTextError: {NO_TEXT}"),
        (lambda: raise_(NamelessError("still here")), "NamelessError: still here"),
        (local_class, "local_class.<locals>.LocalError: here only"),
        (endless_recursion, "RecursionError: maximum recursion depth exceeded"),
        (lambda: raise_(ExceptionGroup("two", [ValueError(), OSError()])), "ExceptionGroup: two"),
    ],
)
def test_an_exception_is_described_in_one_line_whatever_it_is(raise_it, message):
    error = raised(raise_it)
    description = describe_exception(error)
    assert description.startswith(message)
    assert "\n" not in description
    assert isinstance(format_traceback(error), str)


def test_a_description_is_cut():
    assert len(describe_exception(ValueError("x" * 10**6))) == 2_000


def test_a_traceback_says_where():
    text = format_traceback(raised(lambda: raise_(ValueError("no luck"))))
    assert text.startswith("Traceback (most recent call last):")
    assert "in raise_\n    raise error" in text
    assert text.endswith("ValueError: no luck\n")


def test_a_traceback_names_the_cause():
    def chain() -> None:
        try:
            raise_(OSError("no file"))
        except OSError as error:
            raise ValueError("no prices") from error

    text = format_traceback(raised(chain))
    assert text.index("OSError: no file") < text.index("direct cause") < text.index("no prices")


def test_a_long_traceback_keeps_its_end():
    text = format_traceback(raised(lambda: raise_(ValueError("x" * 10**6 + " the end"))))
    assert len(text) == 32_000
    assert text.endswith("the end\n")


def test_a_deep_traceback_is_short():
    def ping() -> None:
        pong()

    def pong() -> None:
        ping()

    text = format_traceback(raised(ping))
    assert "RecursionError" in text
    assert text.count("File ") == 50


@pytest.mark.parametrize("error", [UnreadableError(), ExitsWhenReadError(), NamelessError()])
def test_a_traceback_of_a_hostile_exception_is_text(error):
    assert isinstance(format_traceback(raised(lambda: raise_(error))), str)


def test_a_ring_of_causes_comes_to_an_end():
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert "second" in format_traceback(first)
