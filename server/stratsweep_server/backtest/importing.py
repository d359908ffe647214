"""Importing modules that the operator names, and keeping others from importing what is heavy."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any


class EngineLoadError(Exception):
    """The engine, or a module of strategies, cannot be loaded; the message says what to change."""


def import_named(module: str) -> ModuleType:
    """Import a module by its name, from the current directory too.

    Args:
        module: The dotted name, such as `strategies.trend`.

    Raises:
        EngineLoadError: There is no such module, or importing it failed.
    """
    if module.endswith(".py") or "/" in module or "\\" in module:
        raise EngineLoadError(
            f"{module!r} is a path; give the module's name instead: {_as_module(module)!r}, "
            "searched in the current directory and PYTHONPATH"
        )
    # An installed command has its own folder at the head of sys.path, not the current directory.
    directory = str(Path.cwd())
    if directory not in sys.path and "" not in sys.path:
        sys.path.append(directory)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise EngineLoadError(
                f"there is no module {module!r} ({error}); searched in the current directory "
                f"({directory}), PYTHONPATH and the installed packages"
            ) from None
        raise EngineLoadError(f"module {module!r} cannot be imported: {error}") from error
    except (Exception, SystemExit) as error:
        text = f"module {module!r} cannot be imported: {type(error).__name__}: {error}"
        # The text of a SyntaxError has file and line, its traceback none of the module's.
        raise EngineLoadError(text) from (None if isinstance(error, SyntaxError) else error)


def _as_module(path: str) -> str:
    parts = path.removesuffix(".py").replace("\\", "/").split("/")
    return ".".join(part for part in parts if part not in {"", ".", ".."})


@contextmanager
def hidden(*modules: str) -> Iterator[None]:
    """Make imports of modules fail for a while, as if they were not installed."""
    loaded = {name: sys.modules[name] for name in modules if name in sys.modules}
    sys.modules.update(dict.fromkeys(modules))  # type: ignore[arg-type]  # None is "not there"
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(loaded)


@contextmanager
def deferred(classes: Mapping[str, Sequence[str]]) -> Iterator[None]:
    """Let imports of modules that are not loaded yet give stand-ins of classes for a while.

    Whoever keeps a stand-in can do two things with it as with the class: ask whether something is
    an instance, and make one. Only the second loads the module. A module that is loaded already is
    imported as it is, and one that is not installed not at all.

    Args:
        classes: By name of the module, the names of the classes that are wanted of it.
    """
    missing = [name for name in classes if name not in sys.modules]
    for name in missing:
        if importlib.util.find_spec(name) is not None:
            module = ModuleType(name)
            for each in classes[name]:
                setattr(module, each, _StandIn(each, (), {"__module__": name}))
            sys.modules[name] = module
    try:
        yield
    finally:
        for name in missing:
            sys.modules.pop(name, None)


class _StandIn(type):
    """The type of a class that stands for one of the same name in a module."""

    def __instancecheck__(cls, instance: object) -> bool:
        module = sys.modules.get(cls.__module__)  # whose instances there can be once it is loaded
        real = getattr(module, cls.__name__, None)
        return isinstance(real, type) and real is not cls and isinstance(instance, real)

    def __call__(cls, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - of any class
        return getattr(importlib.import_module(cls.__module__), cls.__name__)(*arguments, **options)
