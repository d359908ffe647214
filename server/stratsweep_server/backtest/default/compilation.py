"""Compile the kernels once per machine, keep them on disk, and use IEEE arithmetic."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

from stratsweep_server.backtest.importing import hidden

_Function = TypeVar("_Function", bound=Callable[..., object])


def cache_directory() -> Path:
    """Return the folder that keeps compiled kernels, another one for each state of the sources.

    numba looks at a kernel's own file only, and would go on using one whose callees in another file
    have changed. `NUMBA_CACHE_DIR` overrides the place.
    """
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        sources.update(path.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "stratsweep" / f"kernels-{sources.hexdigest()[:16]}"


def are_kernels_cached() -> bool:
    """Return whether this machine has compiled all kernels before: see `note_kernels_cached`."""
    return _marker().exists()


def note_kernels_cached() -> None:
    """Remember that all kernels are compiled, from these sources, by this Python and this numba."""
    with contextlib.suppress(OSError):  # where nothing can be kept, the next start compiles, too
        _marker().parent.mkdir(parents=True, exist_ok=True)
        _marker().touch()


def _marker() -> Path:
    makers = f"{sys.implementation.cache_tag}-numba-{numba.__version__}"
    return Path(_numba_config.CACHE_DIR) / f"{cache_directory().name}-{makers}"


with hidden("scipy.linalg", "scipy.linalg.cython_blas"), contextlib.suppress(ImportError):
    # Where scipy is installed, numba would take its BLAS for np.convolve and np.correlate, and load
    # it for that at once: a sixth of the start, 16 MB, and results that depend on scipy. A kernel
    # that calls np.dot or np.linalg gets it all the same. The module is numba's own affair; where
    # it moves, or is loaded already, all that is lost is this.
    import numba.np.arraymath

_numba_config: Any = numba.config  # whose attributes are made when it is imported
if not _numba_config.CACHE_DIR:
    _numba_config.CACHE_DIR = str(cache_directory())


def compiled(function: _Function) -> _Function:
    """Compile a function on its first call, or load it from the cache on disk.

    Arithmetic is done in the order written (no fastmath), so that results do not depend on what
    the compiler makes of it; a division by zero gives infinity or NaN as in numpy. numba compiles
    anew for each combination of argument types: give arrays as read-only, as bars are.

    Where the cache cannot be written to, each fork server compiles for itself.
    """
    return _compiled(function, inline=False)


def inlined(function: _Function) -> _Function:
    """Compile a function as `compiled` does, and always make it a part of its caller.

    A loop with a call gets no vector instructions, and arrays that are handed to a call have their
    references counted.
    """
    return _compiled(function, inline=True)


def _compiled(function: _Function, *, inline: bool) -> _Function:
    try:
        jit = numba.njit(cache=True, error_model="numpy", forceinline=inline)
        return cast(_Function, jit(function))
    except (RuntimeError, OSError):
        return cast(_Function, numba.njit(error_model="numpy", forceinline=inline)(function))
