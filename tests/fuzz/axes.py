"""The values of an axis by the contract's words, exactly. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from stratsweep.v1 import parameter_pb2
from stratsweep_server.backtest import ParameterValue


def values_of(axis: parameter_pb2.Parameter) -> Sequence[ParameterValue]:
    """The values of an axis, in order; those of a range are made when they are asked for."""
    kind = axis.WhichOneof("values")
    if kind == "integer_range":
        integers = axis.integer_range
        step = integers.step if integers.HasField("step") else 1
        return range(integers.start, integers.stop + 1, step)
    if kind == "double_range":
        return _Points(axis.double_range)
    return getattr(axis, kind).values


class _Points(Sequence[float]):
    """The points of a double range, each made when it is asked for."""

    def __init__(self, doubles: parameter_pb2.DoubleRange) -> None:
        self._start, stop = _exact(doubles.start), _exact(doubles.stop)
        if doubles.WhichOneof("spacing") == "step":
            self._step = _exact(doubles.step)
            self._count = int((stop - self._start) // self._step) + 1
        else:
            self._count = doubles.point_count
            self._step = (stop - self._start) / max(self._count - 1, 1)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> float:
        if not 0 <= number < self._count:
            raise IndexError(number)
        return float(self._start + number * self._step)


def _exact(value: float) -> Fraction:
    return Fraction(repr(value))
