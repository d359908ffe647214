"""Tell what is loaded in this process that the outcomes of its backtests depend on.

That is Python, the processor's instructions that numpy uses, the user's modules by the digests of
their files, and the versions of the installed distributions that modules are loaded from. What
belongs to Python or to this server is told by their versions.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TypeAlias

from stratsweep_server.backtest.distributions import distributions_of
from stratsweep_server.backtest.sources import (
    INSTALLED,
    ModuleSource,
    digest_of_source,
    is_of_the_program,
)

MODULE_PREFIX = "module "
"""What the names of the user's modules begin with among inputs."""
INSTRUCTION_SET = "instruction set"

_ModuleFile: TypeAlias = tuple[str, str]
"""A module's name and its file."""

_INSTALLED_FILE = re.compile(
    rf"(?P<directory>.*?/({'|'.join(INSTALLED)}))/(?P<top>[^/]+)(/(?P<rest>.*))?", re.DOTALL
)


def loaded_inputs(
    sources: Sequence[ModuleSource], later: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Return short texts by readable names, such as `{"numpy": "2.2.1", "python": "3.11.9"}`.

    Args:
        sources: The user's modules of which copies are kept.
        later: The files of further modules, by name, that will be imported later.
    """
    inputs = {
        "python": ".".join(map(str, sys.version_info[:3])),
        INSTRUCTION_SET: instruction_set(),
    }
    inputs |= {MODULE_PREFIX + each.module: each.digest for each in sources}
    return inputs | _remembered.inputs | _inputs_of(chain(_loaded_files(), later.items()), inputs)


def remember_loaded() -> None:
    """Look at what is loaded now, so that processes forked from this one need not."""
    files = dict(_loaded_files())
    _remembered.inputs = _inputs_of(files.items(), {})
    _remembered.modules = files.keys()
    _remembered.packages = {
        (place["directory"], _name_in(place))
        for file in files.values()
        if (place := _INSTALLED_FILE.fullmatch(file))
    }
    instruction_set()


class _Remembered:
    """Hold what `remember_loaded` has found."""

    def __init__(self) -> None:
        self.modules: Collection[str] = ()
        self.packages: set[tuple[str, str]] = set()
        self.inputs: dict[str, str] = {}


_remembered = _Remembered()


def _inputs_of(files: Iterable[_ModuleFile], known: Collection[str]) -> dict[str, str]:
    """Return what modules are as inputs, without those that are known."""
    inputs: dict[str, str] = {}
    installed: dict[str, dict[str, list[_ModuleFile]]] = {}
    for module, file in files:
        if is_of_the_program(file):
            continue
        if place := _INSTALLED_FILE.fullmatch(file):
            names = installed.setdefault(place["directory"], {})
            names.setdefault(_name_in(place), []).append((module, file))
        elif MODULE_PREFIX + module not in known:
            inputs |= _digests([(module, file)])
    for directory, names in installed.items():
        inputs |= _installed_inputs(directory, names)
    return inputs


@cache
def instruction_set() -> str:
    """Return the machine's architecture and which vector instructions numpy uses on it."""
    from numpy._core import _multiarray_umath  # type: ignore[attr-defined]  # noqa: PLC0415 - in the worker alone

    features = getattr(_multiarray_umath, "__cpu_features__", {})
    return " ".join([os.uname().machine, *sorted(name for name in features if features[name])])


def _loaded_files() -> Iterator[_ModuleFile]:
    for name, module in [*sys.modules.items()]:
        if name in _remembered.modules or not isinstance(module, ModuleType):
            continue
        # Past what a module may do when it is asked, such as load itself.
        spec = ModuleType.__getattribute__(module, "__dict__").get("__spec__")
        file = getattr(spec, "origin", None)
        if isinstance(file, str) and os.sep in file:
            yield name, file


def _installed_inputs(directory: str, names: Mapping[str, list[_ModuleFile]]) -> dict[str, str]:
    """Return the versions of what is installed, and the digests of what was merely put there."""
    # What installers let each interpreter import, such as `_virtualenv`, begins so.
    wanted = sorted(
        name
        for name in names
        if not name.startswith("_") and (directory, name) not in _remembered.packages
    )
    if not wanted:
        return {}
    owners = distributions_of(Path(directory), wanted)
    inputs = dict(sorted(owners.values()))
    for name in wanted:
        if name not in owners:
            inputs |= _digests(names[name])
    return inputs


def _digests(files: Iterable[_ModuleFile]) -> dict[str, str]:
    return {MODULE_PREFIX + module: _digest_of_file(Path(file)) for module, file in files}


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
