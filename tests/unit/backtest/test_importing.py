from __future__ import annotations

import subprocess
import sys

import pytest
from stratsweep_server.backtest.importing import hidden

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
