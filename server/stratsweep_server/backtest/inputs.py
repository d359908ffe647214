"""Tell what is loaded in this process that the outcomes of its backtests depend on.

That is Python, the processor's instructions that numpy uses, the user's modules by the digests of
their files, and the versions of the installed distributions that modules are loaded from. What
belongs to Python or to this server is told by their versions.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from stratsweep_server.backtest.distributions import versions_of
from stratsweep_server.backtest.sources import (
    INSTALLED,
    ModuleSource,
    digest_of_source,
    is_of_the_program,
)

MODULE_PREFIX = "module "
"""What the names of the user's modules begin with among inputs."""
INSTRUCTION_SET = "instruction set"

_INSTALLED_FILE = re.compile(
    rf"(?P<directory>.*?/({'|'.join(INSTALLED)}))/(?P<top>[^/]+)(/(?P<rest>.*))?", re.DOTALL
)


def loaded_inputs(sources: Sequence[ModuleSource], later: Iterable[str] = ()) -> dict[str, str]:
    """Return short texts by readable names, such as `{"numpy": "2.2.1", "python": "3.11.9"}`.

    Args:
        sources: The user's modules of which copies are kept.
        later: Files of modules that will be imported later.
    """
    inputs = {
        "python": ".".join(map(str, sys.version_info[:3])),
        INSTRUCTION_SET: instruction_set(),
    }
    inputs |= {MODULE_PREFIX + each.module: each.digest for each in sources}
    installed: dict[str, set[str]] = {}
    for module, file in [*_loaded_files(), *(("", file) for file in later)]:
        if is_of_the_program(file):
            continue
        if place := _INSTALLED_FILE.fullmatch(file):
            installed.setdefault(place["directory"], set()).add(_name_in(place))
        elif module and MODULE_PREFIX + module not in inputs:
            inputs[MODULE_PREFIX + module] = _digest_of_file(Path(file))
    for directory, names in installed.items():
        # What installers let each interpreter import, such as `_virtualenv`, begins so.
        named = sorted(name for name in names if not name.startswith("_"))
        inputs |= versions_of(Path(directory), named)
    return inputs


@cache
def instruction_set() -> str:
    """Return the machine's architecture and which vector instructions numpy uses on it."""
    from numpy._core import _multiarray_umath  # type: ignore[attr-defined]  # noqa: PLC0415 - in the worker alone

    features = getattr(_multiarray_umath, "__cpu_features__", {})
    return " ".join([os.uname().machine, *sorted(name for name in features if features[name])])


def _loaded_files() -> Iterator[tuple[str, str]]:
    for name, module in [*sys.modules.items()]:
        file = getattr(getattr(module, "__spec__", None), "origin", None)
        if isinstance(file, str) and os.sep in file:
            yield name, file


def _name_in(place: re.Match[str]) -> str:
    """Return what the package of an installed module is called, its namespace included."""
    top, rest = place["top"], place["rest"]
    if rest is None:
        return top.partition(".")[0]
    within, separator, _ = rest.partition("/")
    is_nested = separator and _is_namespace(f"{place['directory']}/{top}")
    return f"{top}/{within}" if is_nested else top


@cache
def _is_namespace(package: str) -> bool:
    return not Path(package, "__init__.py").exists()


def _digest_of_file(file: Path) -> str:
    """Return the digest of a module's file, or of the archive that it is in."""
    for path in (file, *file.parents):
        with suppress(OSError):
            return digest_of_source(path.read_bytes())
    return "unknown"
