"""Import modules that the operator names, and keep others from importing what is heavy."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from stratsweep_server.backtest.declaration import StrategyDeclarationError
from stratsweep_server.backtest.module_files import ModuleFile


class EngineLoadError(Exception):
    """Report that the engine, or a module of strategies, cannot be loaded, and what to change."""


def import_named(text: str) -> ModuleType:
    """Import a module by its name, from the current directory too, or by the path of its file.

    Args:
        text: A dotted name, such as `strategies.trend`, or a path, such as `ideas/trend.py`.

    Raises:
        EngineLoadError: There is no such module, or importing it failed.
    """
    file = ModuleFile.named_by(text)
    if file is not None:
        return _import_file(text, file)
    # An installed command has its own folder at the head of sys.path, not the current directory.
    directory = str(Path.cwd())
    if directory not in sys.path and "" not in sys.path:
        sys.path.append(directory)
    missing = (
        f"there is no module {text!r}; searched in the current directory ({directory}), PYTHONPATH "
        "and the installed packages; a file is named by its path, with .py"
    )
    module = _import(text, f"module {text!r}", missing)
    if module.__spec__ is not None and module.__spec__.origin is None:
        raise EngineLoadError(
            f"{text!r} is a directory without __init__.py, which imports nothing; give a module in "
            f"it, {text}.NAME, or the path of its file"
        )
    return module


def _import_file(text: str, file: ModuleFile) -> ModuleType:
    if obstacle := file.obstacle():
        raise EngineLoadError(f"{text!r} cannot be imported: {obstacle} ({file.path})")
    with file.searched_first():
        module = _import(file.module, repr(text), f"there is no file {file.path}{file.nearest()}")
    if not file.is_source_of(module):
        other = getattr(module, "__file__", None) or "a part of Python"
        raise EngineLoadError(
            f"{text!r} cannot be imported: another module is named {module.__name__!r}, too "
            f"({other}); rename one of them"
        )
    return module


def _import(module: str, what: str, missing: str) -> ModuleType:
    """Import a module.

    Args:
        module: Its dotted name.
        what: What to call it in messages.
        missing: What to say where there is none of that name.
    """
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise EngineLoadError(missing) from None
        raise EngineLoadError(f"{what} cannot be imported: {error}") from error
    except (Exception, SystemExit) as error:
        is_ours = isinstance(error, StrategyDeclarationError)
        cause = str(error) if is_ours else f"{type(error).__name__}: {error}"
        raise EngineLoadError(f"{what} cannot be imported: {cause}") from error


@contextmanager
def hidden(*modules: str) -> Iterator[None]:
    """Make imports of modules fail within the block, as if they were not installed."""
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
    """Let imports within the block give stand-ins of classes, for modules not loaded yet.

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
    """Make classes that stand for the one of the same name in a module."""

    def __instancecheck__(cls, instance: object) -> bool:
        module = sys.modules.get(cls.__module__)  # whose instances there can be once it is loaded
        real = getattr(module, cls.__name__, None)
        return isinstance(real, type) and real is not cls and isinstance(instance, real)

    def __call__(cls, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - of any class
        return getattr(importlib.import_module(cls.__module__), cls.__name__)(*arguments, **options)
