"""Pack what workers build their engine from into bytes: by value where they cannot import it.

A class or function of a module travels as that module's name. One of the main module does not,
since no worker has that (`mainless`): a script, a notebook's cell, `python -c`. It travels as its
code with what the code refers to. Only this process's own objects are packed; nothing that a client
sends is.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import CodeType, FunctionType, MethodType
from typing import Any

from stratsweep_server.backtest.loading import DEFAULT_ENGINE, EngineLoadError, EngineSpec

ENGINE = "engine"
GIVEN_OBJECTS = "given objects"
"""Functions, classes or an engine that were given to the server's program as such, not by names."""

_Part = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class PackedEngine:
    """Hold the bytes from which each worker builds its engine.

    Attributes:
        data: What `unpack_engine` takes.
        is_default: Whether it is the engine that comes with the server.
        inputs: What outcomes depend on and is known before it is loaded, see `backtest.inputs`: its
            name, the version of ours, and a digest of what was given as objects.
    """

    data: bytes
    is_default: bool
    inputs: Mapping[str, str]


def pack_engine(spec: EngineSpec) -> PackedEngine:
    """Pack the specification of an engine into bytes that any worker can unpack.

    Raises:
        EngineLoadError: A part of it cannot be sent to another process; the message says which.
    """
    if isinstance(spec.factory, str) and not spec.strategies:
        return PackedEngine(pickle.dumps(spec), spec.is_default, {ENGINE: _engine_name(spec)})
    try:
        data = _dumps(spec)
        inputs = {ENGINE: _engine_name(spec), GIVEN_OBJECTS: _digest(data)}
        return PackedEngine(data, spec.is_default, inputs)
    except Exception as error:
        raise EngineLoadError(_explain(spec, error)) from None


def _engine_name(spec: EngineSpec) -> str:
    if spec.is_default:
        return f"{DEFAULT_ENGINE} {_own_version()}"
    return spec.factory if isinstance(spec.factory, str) else _name(spec.factory)


def _own_version() -> str:
    try:
        return version("stratsweep")
    except PackageNotFoundError:  # it runs from its sources, without having been installed
        return "of unknown version"


def _digest(data: bytes) -> str:
    """Return the SHA-256 of packed objects, the same in every process.

    cloudpickle calls each class that goes by value by a random name, which is left out.
    """
    import cloudpickle  # noqa: PLC0415 - as below

    for name in getattr(cloudpickle.cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_ID", {}):
        data = data.replace(name.encode(), b"")
    return hashlib.sha256(data).hexdigest()


def unpack_engine(data: bytes) -> EngineSpec:
    """Return the engine's specification (in the worker: the sender is the server itself).

    Raises:
        EngineLoadError: It needs something that cannot be imported here.
    """
    try:
        spec: EngineSpec = pickle.loads(data)  # noqa: S301 - from `pack_engine`
    except Exception as error:
        raise EngineLoadError(
            f"the engine, or a strategy, cannot be loaded in a worker: {type(error).__name__}: "
            f"{error}; its module must be in the current directory or on PYTHONPATH"
        ) from None
    return spec


def _dumps(value: object) -> bytes:
    import cloudpickle  # noqa: PLC0415 - of no use to a server that is given names

    with _main_by_value(cloudpickle):
        data: bytes = cloudpickle.dumps(value)
    return data


@contextmanager
def _main_by_value(cloudpickle: Any) -> Iterator[None]:  # noqa: ANN401 - a module without types
    """Pack the main module by value in a process of multiprocessing, where it has another name."""
    module = sys.modules.get("__mp_main__")
    if module is None:
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _explain(spec: EngineSpec, error: Exception) -> str:
    """Say in one line what cannot be sent, and what to do."""
    whole: list[_Part] = [(each.declaration.name, each.function) for each in spec.strategies]
    kind = "strategy"
    remedy = "create it in the function, or put that into a module: strategy_modules=['module']"
    if not isinstance(spec.factory, str):
        whole = [(_name(spec.factory), spec.factory)]
        kind = "engine"
        remedy = (
            "create it in the engine's __init__ and give the class, "
            "or put the engine into a module: engine='module:Class'"
        )
    names, cause = _find_culprit(whole, error)
    what = f"{names[-1]!r} in {'.'.join(names[:-1])!r}" if len(names) > 1 else "it"
    return (
        f"{kind} {names[0]!r} cannot be sent to worker processes: {what} cannot be pickled "
        f"({type(cause).__name__}: {' '.join(str(cause).split())}); {remedy}"
    )


def _find_culprit(parts: Iterable[_Part], error: Exception) -> tuple[list[str], Exception]:
    """Return the names on the way to the smallest part that cannot be packed, and why it cannot."""
    names: list[str] = []
    seen: list[object] = []
    while (found := _first_unpackable(parts, seen)) is not None:
        name, value, error = found
        names.append(name)
        seen.append(value)
        parts = _parts_of(value)
    return names or ["?"], error


def _first_unpackable(
    parts: Iterable[_Part], seen: Sequence[object]
) -> tuple[str, object, Exception] | None:
    for name, value in parts:
        if any(value is each for each in seen):
            continue
        try:
            _dumps(value)
        except Exception as error:
            return name, value, error
    return None


def _parts_of(value: object) -> Iterator[_Part]:
    """Yield what an object refers to, by name: globals of a function, attributes of all else."""
    if isinstance(value, MethodType):
        yield from _parts_of(value.__func__)
    elif isinstance(value, FunctionType):
        for name in _names_in(value.__code__):
            if name in value.__globals__:
                yield name, value.__globals__[name]
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            with suppress(ValueError):  # it is empty
                yield name, cell.cell_contents
    elif isinstance(value, functools.partial):
        yield _name(value.func), value.func
    elif isinstance(value, type):
        for name, attribute in vars(value).items():
            yield name, getattr(attribute, "__func__", attribute)
        yield from ((base.__name__, base) for base in value.__bases__)
    else:
        yield from getattr(value, "__dict__", {}).items()
        yield from _parts_of(type(value))


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _name(value: object) -> str:
    return str(getattr(value, "__name__", type(value).__name__))
