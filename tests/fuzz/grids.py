"""Requests that are large in what they mean: axes, texts, names, symbols, constraints. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import TypeAlias

from stratsweep.v1 import optimization_config_pb2, optimization_service_pb2, parameter_pb2

from tests.fuzz.arithmetic import arithmetic_text
from tests.fuzz.constraints import Grammar
from tests.fuzz.values import size
from tests.requests import optimize_request, seconds

Filler: TypeAlias = Callable[[parameter_pb2.Parameter, int, Random], None]

SYMBOL = "ANY"
MAX_BYTES = 4 * 2**20 - 4_096
"""gRPC takes a message of 4 MiB."""

_NUMERIC = {"integer_range", "integer_list", "double_range", "double_list"}
_OVERHEAD = 5
"""Bytes for the tag and the length of an entry, at most."""
_LARGEST_GRID = 1_000_000
"""What a server takes by default."""


def full_request() -> optimization_service_pb2.OptimizeRequest:
    """A good request in which every field is set and every kind of values is used."""
    config = optimization_config_pb2.OptimizationConfig(
        strategy="quick",
        symbols=[SYMBOL],
        date_range=optimization_config_pb2.DateRange(
            start_date="2024-01-01", end_date="2024-01-31"
        ),
        parameters=_axes_of_every_kind(),
        constraints=["x < 4 OR short", "level > avg(level) - 10"],
        optimization_target="score",
        direction=optimization_config_pb2.OPTIMIZATION_DIRECTION_MINIMIZE,
        backtest_timeout=seconds(20.5),
        starting_cash=1_000.0,
        commission=0.001,
        slippage=0.001,
        max_ranked_results=50,
        warm_up_bar_count=5,
    )
    return optimization_service_pb2.OptimizeRequest(
        config=config, progress_interval=seconds(0.01), labels={"desk": "rates", "run": "7"}
    )


def small_request() -> optimization_service_pb2.OptimizeRequest:
    """A good request for one combination."""
    request = optimize_request("quick", 1, symbol=SYMBOL)
    request.config.parameters.add(name="salt", integer_list=parameter_pb2.IntegerList(values=[1]))
    return request


def _axes_of_every_kind() -> list[parameter_pb2.Parameter]:
    make, pb2 = parameter_pb2.Parameter, parameter_pb2
    return [
        make(name="x", integer_range=pb2.IntegerRange(start=0, stop=8, step=2)),
        make(name="salt", integer_list=pb2.IntegerList(values=[3])),
        make(name="threshold", double_range=pb2.DoubleRange(start=0.1, stop=0.2, step=0.1)),
        make(name="share", double_range=pb2.DoubleRange(start=0, stop=1, point_count=2)),
        make(name="level", double_list=pb2.DoubleList(values=[0.5, 1.5])),
        make(name="mode", string_list=pb2.StringList(values=["fast", "slow"])),
        make(name="short", bool_list=pb2.BoolList(values=[False, True])),
    ]


def large_request(generator: Random) -> optimization_service_pb2.OptimizeRequest:
    """A request whose size is in one or several of its lists; legal, if the limits allow it."""
    request = full_request()
    request.result_format = generator.randrange(3)
    request.validate_only = generator.random() < 0.3
    if generator.random() < 0.1:
        symbols = (f"S{number}" for number in range(size(generator, 20_000)))
        request.config.symbols.extend(symbols)
    del request.config.parameters[:], request.config.constraints[:]
    combinations = generator.randrange(1, 11 * _LARGEST_GRID // 10)
    room = MAX_BYTES - request.ByteSize()
    for name, fill in _axes(generator):
        count = size(generator, combinations) + 1
        combinations //= count
        axis = parameter_pb2.Parameter(name=name)
        fill(axis, count, generator)
        room -= axis.ByteSize() + _OVERHEAD
        if room > 0:
            request.config.parameters.append(axis)
    numeric = [
        each.name for each in request.config.parameters if each.WhichOneof("values") in _NUMERIC
    ]
    grammar = Grammar(generator, numeric[:200], generator.choice((0, 0, 0.05)))
    if generator.random() < 0.8:
        for _ in range(size(generator, 110)):
            text = grammar.constraint()
            room -= len(text.encode()) + _OVERHEAD
            if room > 0:
                request.config.constraints.append(text)
    return request


def arithmetic_request(generator: Random) -> optimization_service_pb2.OptimizeRequest:
    """A small grid of whole numbers of every size, and constraints that calculate with them."""
    request = full_request()
    del request.config.parameters[:], request.config.constraints[:]
    for name in ("x", "salt"):
        axis = request.config.parameters.add(name=name)
        generator.choice((_fill_integer_range, _fill_integers))(axis, 20, generator)
    for _ in range(generator.randint(1, 2)):
        request.config.constraints.append(arithmetic_text(generator, ("x", "salt")))
    return request


def long_preparation() -> optimization_service_pb2.OptimizeRequest:
    """A request that breaks no rule and keeps a server at work before anything runs."""
    request = full_request()
    del request.config.parameters[:], request.config.constraints[:]
    for name, stop in (("x", 999), ("salt", 999)):
        axis = parameter_pb2.IntegerRange(start=0, stop=stop)
        request.config.parameters.add(name=name, integer_range=axis)
    term = "sqrt(abs(pow(x, 0.5) - pow(salt, 1.5)) + avg(x))"
    for number in range(100):
        request.config.constraints.append(f"{term} * {term} + {term} > -{number}")
    return request


def _axes(generator: Random) -> Iterator[tuple[str, Filler]]:
    """Names of parameters, with what gives them values: those of the engine, or any others."""
    if generator.random() < 0.7:
        others = generator.sample(_OPTIONAL, generator.randint(0, len(_OPTIONAL)))
        yield from generator.sample([*_REQUIRED, *others], len(_REQUIRED) + len(others))
        return
    count = size(generator, 20_000 if generator.random() < 0.1 else 64) + 1
    length = size(generator, 50_000 if generator.random() < 0.1 else 240) + 1
    letter = generator.choice('ppp漢\n"')
    for number in range(min(count, MAX_BYTES // (4 * length))):
        yield letter * length + str(number), generator.choice(_FILLERS)


def _fill_integer_range(axis: parameter_pb2.Parameter, count: int, generator: Random) -> None:
    step = 2 ** generator.randrange(44)
    start = generator.choice((0, -count * step // 2, -(2**63), 2**63 - 1 - (count - 1) * step))
    end = generator.choice((0, step - 1))
    axis.integer_range.start = start
    axis.integer_range.stop = min(start + (count - 1) * step + end, 2**63 - 1)
    axis.integer_range.step = step


def _fill_double_range(axis: parameter_pb2.Parameter, count: int, generator: Random) -> None:
    scale = 10.0 ** generator.randint(-300, 300)
    axis.double_range.stop = scale * generator.random()
    axis.double_range.point_count = max(count, 2)


def _fill_integers(axis: parameter_pb2.Parameter, count: int, generator: Random) -> None:
    first = generator.choice((0, -count // 2, -(2**63), 2**63 - 1 - count))
    axis.integer_list.values.extend(range(first, first + min(count, 300_000)))


def _fill_doubles(axis: parameter_pb2.Parameter, count: int, generator: Random) -> None:
    scale = 10.0 ** generator.randint(-300, 300)
    axis.double_list.values.extend(number * scale for number in range(min(count, 300_000)))


def _fill_texts(axis: parameter_pb2.Parameter, count: int, generator: Random) -> None:
    """Many short ones, and one that may be very long."""
    axis.string_list.values.extend(map(str, range(min(count, 100_000) - 1)))
    letter, longest = generator.choice((("a", 999), ("漢", 999), ("a", 100_000)))
    axis.string_list.values.append(letter * (size(generator, longest) + 1))


def _fill_switches(axis: parameter_pb2.Parameter, count: int, generator: Random) -> None:
    axis.bool_list.values.extend([False, True][:count])


_FILLERS = (
    _fill_integer_range,
    _fill_double_range,
    _fill_integers,
    _fill_doubles,
    _fill_texts,
    _fill_switches,
)
_REQUIRED = (("x", _fill_integer_range), ("salt", _fill_integers))
"""Parameters of `engine.DeclaringEngine`."""
_OPTIONAL = (
    ("share", _fill_double_range),
    ("level", _fill_doubles),
    ("mode", _fill_texts),
    ("short", _fill_switches),
)
