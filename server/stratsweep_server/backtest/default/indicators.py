"""TA-Lib, imported without the data frame libraries that it pulls in where they are installed.

`import talib` imports polars and pandas to accept their series. polars starts threads on import,
which a fork server must not have, and both cost every worker time and memory for nothing: bars are
numpy arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["talib"]


@contextmanager
def _hidden(*modules: str) -> Iterator[None]:
    """Make imports of modules fail as if they were not installed."""
    loaded = {name: sys.modules[name] for name in modules if name in sys.modules}
    sys.modules.update(dict.fromkeys(modules))  # type: ignore[arg-type]  # None is "not there"
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(loaded)


with _hidden("polars", "pandas"):
    import talib
