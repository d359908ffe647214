"""Build the engine inside a worker, from what the operator named."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias, cast

from stratsweep_server.backtest.engine import (
    BacktestEngine,
    EngineDescription,
    Metric,
    MetricUnit,
    OptimizationDirection,
    Strategy,
)
from stratsweep_server.backtest.importing import EngineLoadError, import_named
from stratsweep_server.backtest.registry import RegisteredStrategy

__all__ = [
    "DEFAULT_ENGINE",
    "EngineLoadError",
    "EngineSource",
    "EngineSpec",
    "describe",
    "load_engine",
]

DEFAULT_ENGINE = "default"
_BEST_DIRECTIONS = (None, OptimizationDirection.MAXIMIZE, OptimizationDirection.MINIMIZE)
EngineSource: TypeAlias = str | Callable[[], BacktestEngine] | BacktestEngine


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Say what each worker builds its engine from; it is sent there, so the engine need not be.

    Attributes:
        factory: `"default"`, the text `"module:factory"` or `"path/file.py:factory"`, a callable
            without arguments that returns an engine (such as a class), or an engine.
        strategy_modules: Modules that register strategies of the default engine, by name or path.
        strategies: Further strategies of the default engine.
    """

    factory: EngineSource = DEFAULT_ENGINE
    strategy_modules: tuple[str, ...] = ()
    strategies: tuple[RegisteredStrategy, ...] = ()

    @property
    def is_default(self) -> bool:
        """Return whether it is the engine that comes with the server."""
        return self.factory == DEFAULT_ENGINE


def load_engine(spec: EngineSpec) -> BacktestEngine:
    """Build the engine that a specification describes. Called once in each worker.

    Raises:
        EngineLoadError: A module or factory that is not there or fails, or what it returned is not
            an engine.
    """
    if spec.is_default:
        # Not at the top: the parent imports this module, and numba and TA-Lib are heavy.
        from stratsweep_server.backtest.default import DefaultEngine, warm_up  # noqa: PLC0415

        warm_up()
        return DefaultEngine(spec.strategy_modules, spec.strategies)
    names = [*spec.strategy_modules, *(each.declaration.name for each in spec.strategies)]
    if names:
        raise EngineLoadError(
            f"strategies ({', '.join(names)}) are for the default engine; "
            f"engine {_name(spec.factory)} brings its own"
        )
    target = _find(spec.factory) if isinstance(spec.factory, str) else spec.factory
    engine = target if _is_engine(target) else _call(target, _name(spec.factory))
    if not _is_engine(engine):
        raise EngineLoadError(
            f"engine factory {_name(spec.factory)} returned an object of type "
            f"{type(engine).__name__}, which has no method run_sync(config)"
        )
    return cast(BacktestEngine, engine)


def describe(engine: BacktestEngine) -> EngineDescription:
    """Return what the engine declares; one without `describe` declares nothing.

    Raises:
        EngineLoadError: `describe` raised, or its answer is not a description.
    """
    declare = getattr(engine, "describe", None)
    if declare is None:
        return EngineDescription()
    where = f"{type(engine).__name__}.describe()"
    try:
        description = declare()
    except Exception as error:
        raise EngineLoadError(f"{where} raised {type(error).__name__}: {error}") from error
    if not isinstance(description, EngineDescription):
        raise EngineLoadError(
            f"{where} returned an object of type {type(description).__name__}, "
            "not an EngineDescription"
        )
    _check_items(f"{where}.strategies", description.strategies, Strategy)
    _check_items(f"{where}.metrics", description.metrics, Metric)
    for metric in description.metrics:
        if not isinstance(metric.unit, MetricUnit):
            raise EngineLoadError(
                f"{where}.metrics: the unit of {metric.name!r} is {metric.unit!r}, not a MetricUnit"
            )
        if metric.best_direction not in _BEST_DIRECTIONS:
            raise EngineLoadError(
                f"{where}.metrics: the best_direction of {metric.name!r} is "
                f"{metric.best_direction!r}; say OptimizationDirection.MAXIMIZE, MINIMIZE, or None"
            )
    return description


def _check_items(where: str, items: tuple[Any, ...], expected: type) -> None:
    """Refuse what is no tuple of that type, and items that share a name."""
    if not isinstance(items, tuple):
        raise EngineLoadError(f"{where} is of type {type(items).__name__}, not a tuple")
    names = set()
    for item in items:
        if not isinstance(item, expected):
            raise EngineLoadError(
                f"{where} has an item of type {type(item).__name__}, not {expected.__name__}"
            )
        name = getattr(item, "name", None)
        if name in names:
            raise EngineLoadError(f"{where} names {name!r} twice")
        names.add(name)


def _is_engine(target: object) -> bool:
    return not isinstance(target, type) and callable(getattr(target, "run_sync", None))


def _name(factory: object) -> str:
    return repr(factory if isinstance(factory, str) else getattr(factory, "__name__", factory))


def _call(factory: object, name: str) -> object:
    if not callable(factory):
        raise EngineLoadError(
            f"engine {name} is of type {type(factory).__name__}: neither a factory to call "
            "nor an object with a method run_sync(config)"
        )
    try:
        return factory()
    except Exception as error:
        raise EngineLoadError(
            f"engine factory {name} raised {type(error).__name__}: {error}"
        ) from error


def _find(text: str) -> object:
    """Find what `module:factory` or `file.py:factory` names."""
    module_name, separator, attribute = text.rpartition(":")
    if not (module_name and separator and attribute):
        raise EngineLoadError(
            f"engine {text!r} is not of the form module:factory or file.py:factory, such as "
            f"engines/mine.py:MyEngine; or use {DEFAULT_ENGINE!r}"
        )
    module = import_named(module_name)
    target: object = module
    for part in attribute.split("."):
        try:
            target = getattr(target, part)
        except AttributeError:
            raise EngineLoadError(_missing(module, attribute)) from None
    return target


def _missing(module: ModuleType, attribute: str) -> str:
    candidates = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (_is_engine(value) or getattr(value, "__module__", None) == module.__name__)
    ]
    nearest = difflib.get_close_matches(attribute, candidates, n=len(candidates) or 1, cutoff=0.0)
    has = f"it has {', '.join(nearest)}" if nearest else "it defines no class or function"
    return f"module {module.__name__!r} has no {attribute!r}; {has}"
