from __future__ import annotations

import subprocess
import sys

import pytest
from stratsweep_server.backtest.importing import deferred, hidden

CALLS_DOT = """
import sys
import stratsweep_server.backtest.default
assert "scipy.linalg" not in sys.modules

import numba, numpy as np
dot = numba.njit(lambda a, b: np.dot(a, b))
assert dot(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 11.0
assert "scipy.linalg" in sys.modules
"""

AFTER_SCIPY = """
import scipy.linalg
import stratsweep_server.backtest.default
from numba.np import arraymath
assert not arraymath._HAVE_BLAS
"""


def test_a_hidden_module_cannot_be_imported_for_a_while():
    import json.tool as before

    with hidden("json.tool"), pytest.raises(ImportError):
        import json.tool
    import json.tool

    assert json.tool is before


def test_a_module_that_was_never_imported_can_be_after_it_was_hidden():
    sys.modules.pop("wave", None)
    with hidden("wave"):
        pass
    assert "wave" not in sys.modules


def test_the_engine_does_not_load_scipy_and_a_strategys_own_kernel_still_can():
    pytest.importorskip("scipy")
    subprocess.run([sys.executable, "-c", CALLS_DOT], check=True)


def test_kernels_do_not_take_scipys_blas_where_scipy_was_loaded_before():
    pytest.importorskip("scipy")
    subprocess.run([sys.executable, "-c", AFTER_SCIPY], check=True)


TALIB = """
import sys
import stratsweep_server.backtest.default
assert not {"pandas", "polars"} & set(sys.modules)
import numpy as np
import talib
from talib import abstract, stream
closes = np.arange(50.0) % 7
expected = talib.EMA(closes, timeperiod=5)
assert isinstance(expected, np.ndarray)
assert not {"pandas", "polars"} & set(sys.modules)

import pandas as pd
series = pd.Series(closes, index=pd.date_range("2024-01-01", periods=50))
average = talib.EMA(series, timeperiod=5)
pd.testing.assert_series_equal(average, pd.Series(expected, index=series.index))
upper, middle, lower = talib.BBANDS(series)
assert all(each.index is series.index for each in (upper, middle, lower))
frame = series.to_frame("close")
pd.testing.assert_series_equal(abstract.EMA(frame, timeperiod=5), average)
assert list(abstract.BBANDS(frame).columns) == ["upperband", "middleband", "lowerband"]
assert stream.EMA(series, timeperiod=5).value == expected[-1]

import polars as pl
assert talib.EMA(pl.Series(closes), timeperiod=5).to_list()[-1] == expected[-1]
assert isinstance(abstract.BBANDS(pl.DataFrame({"close": closes})), pl.DataFrame)
"""


def test_talib_takes_series_in_a_strategy_as_anywhere_and_loads_nothing_for_others():
    subprocess.run([sys.executable, "-c", TALIB], check=True)


def test_a_deferred_module_that_is_not_installed_cannot_be_imported():
    with deferred({"no_such_module": ("Thing",)}), pytest.raises(ModuleNotFoundError):
        import no_such_module  # noqa: F401


def test_a_deferred_module_that_is_loaded_is_imported_as_it_is():
    import json.tool as before

    with deferred({"json.tool": ("main",)}):
        import json.tool

        assert json.tool is before


def test_a_stand_in_knows_instances_once_the_module_is_loaded_and_makes_them():
    sys.modules.pop("fractions", None)
    with deferred({"fractions": ("Fraction",)}):
        from fractions import Fraction as StandIn
    assert "fractions" not in sys.modules
    assert not isinstance(1, StandIn)
    half = StandIn(1, 2)
    from fractions import Fraction

    assert type(half) is Fraction
    assert isinstance(half, StandIn)
    assert not isinstance(1, StandIn)
