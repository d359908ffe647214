"""Hostile calls, each made from its number alone, so that it can be made again. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

from tests.fuzz.grids import MAX_BYTES, arithmetic_request, large_request
from tests.fuzz.methods import Method
from tests.fuzz.mutation import mutate
from tests.fuzz.values import FieldPath, field_paths, flood, size, spoil

ARITHMETIC = "arithmetic"
"""The kind of a call whose constraints can be foretold."""
MISSHAPEN = "misshapen call"
"""The kind of a call whose messages, or whose method, the contract does not have."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One call.

    Attributes:
        kind: What is wrong with it.
        path: Of the RPC.
        messages: What is sent, as bytes; an RPC that takes one message may be sent none or two.
    """

    kind: str
    path: str
    messages: tuple[bytes, ...]

    def message(self) -> Message:
        """The first message, decoded.

        Raises:
            DecodeError: The bytes are none.
            LookupError: There is none, or no such RPC.
        """
        service, name = self.path[1:].split("/")
        method = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
        return message_factory.GetMessageClass(method.input_type).FromString(self.messages[0])


class Arsenal:
    """Makes attacks on the RPCs of a server; those with the same numbers are the same.

    Args:
        methods: Of the server.
        seed: Of every choice.
    """

    def __init__(self, methods: Sequence[Method], seed: int) -> None:
        self._seed = seed
        self._methods = methods
        self._paths = {each.path: list(field_paths(each.request_type)) for each in methods}
        self._largest = max(methods, key=lambda each: len(self._paths[each.path]))

    def small(self, number: int) -> Attack:
        """A call that can be one of many at a time."""
        generator = Random(f"{self._seed} small {number}")
        method = self._largest if generator.random() < 0.5 else generator.choice(self._methods)
        return generator.choice(self._small_kinds)(method, generator)

    def large(self, number: int) -> Attack:
        """A call that may cost the server much; each field has its turn."""
        generator = Random(f"{self._seed} large {number}")
        if number % 2:
            request = large_request(generator)
            return Attack("large grid", self._largest.path, (request.SerializeToString(),))
        paths = self._paths[self._largest.path]
        return self._flooded(self._largest, paths[number // 2 % len(paths)], generator)

    @property
    def _small_kinds(self) -> tuple[Callable[[Method, Random], Attack], ...]:
        return (
            *(self._mutated, self._mutated, self._spoiled, self._spoiled),
            *(self._calculated, self._misshapen),
        )

    def _mutated(self, method: Method, generator: Random) -> Attack:
        message = self._spoil(method, generator.choice((0, 0, 1)), generator)
        data = mutate(message.SerializeToString(), generator)
        return Attack("mutated bytes", method.path, (data,))

    def _spoiled(self, method: Method, generator: Random) -> Attack:
        message = self._spoil(method, generator.choice((1, 1, 2)), generator)
        return Attack("hostile values", method.path, (message.SerializeToString(),))

    def _calculated(self, method: Method, generator: Random) -> Attack:
        """Whole numbers near the limits of 64 bits."""
        data = arithmetic_request(generator).SerializeToString()
        return Attack(ARITHMETIC, self._largest.path, (data,))

    def _misshapen(self, method: Method, generator: Random) -> Attack:
        """No message, two of them, a method that is not there."""
        data = method.example().SerializeToString()
        calls = ((method.path, ()), (method.path, (data, data)), (f"{method.path}s", (data,)))
        return Attack(MISSHAPEN, *generator.choice(calls))

    def _flooded(self, method: Method, path: FieldPath, generator: Random) -> Attack:
        """One field again and again, often up to the largest message."""
        data = method.example().SerializeToString()
        room = MAX_BYTES - len(data)
        byte_count = room if generator.random() < 0.5 else size(generator, room)
        return Attack("flood", method.path, (data + flood(path, byte_count, generator),))

    def _spoil(self, method: Method, times: int, generator: Random) -> Message:
        message = method.example()
        for _ in range(times if self._paths[method.path] else 0):
            spoil(message, generator.choice(self._paths[method.path]), generator)
        return message
