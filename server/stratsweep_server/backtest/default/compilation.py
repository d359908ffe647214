"""How the kernels are compiled: once per machine, kept on disk, with IEEE arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """Compile a function on its first call, or load it from the cache on disk.

    Arithmetic is done in the order written (no fastmath), so that results do not depend on what
    the compiler makes of it; a division by zero gives infinity or NaN as in numpy. numba compiles
    anew for each combination of argument types: give arrays as read-only, as bars are.

    Where neither the package's folder nor the user's cache folder can be written to, each fork
    server compiles for itself.
    """
    try:
        return cast(_Function, numba.njit(cache=True, error_model="numpy")(function))
    except RuntimeError:
        return cast(_Function, numba.njit(error_model="numpy")(function))
