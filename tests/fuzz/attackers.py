"""Bursts of honest calls, then hostile ones from several connections, each ending judged."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from random import Random

import grpc
from google.protobuf.message import DecodeError, Message

from tests.fuzz.attacks import Arsenal, Attack
from tests.fuzz.calls import CHANNEL_OPTIONS, Ending, send
from tests.fuzz.findings import Finding, signature
from tests.fuzz.grids import small_request
from tests.fuzz.methods import Method, methods_of
from tests.fuzz.minimization import minimize
from tests.fuzz.outcome import Outcome
from tests.fuzz.verdict import violations
from tests.load.server_program import ServerProgram

_BURST_CHANNELS = 100
_SHARES = (0.25, 0.75, 1.0)
"""Of the time: when bursts, small calls, and large ones are over."""
_BURST_METHODS = ("Check", "GetServerInfo", "ListStrategies", "Optimize")
_MAX_CALL_MEMORY = 512 * 2**20
_MINIMIZED = 8
_MINIMIZE_SECONDS = 4.0


class Attackers:
    """All that attacks one server.

    Args:
        server: It runs.
        outcome: What they add to.
        seed: Of all choices.
        deadline: Seconds in which each call must be answered.
    """

    def __init__(self, server: ServerProgram, outcome: Outcome, seed: int, deadline: float) -> None:
        self._server = server
        self._outcome = outcome
        self._seed = seed
        self._deadline = deadline

    async def warm_up(self) -> None:
        """Let each RPC answer once: what a server loads with its first call is no leak."""
        async with self._connected() as channel:
            for method in await methods_of(channel):
                data = method.example().SerializeToString()
                await self._judged(channel, Attack("example", method.path, (data,)))

    async def attack(self, seconds: float, lanes: int, burst: int) -> None:
        """Attack for some time: bursts; small calls with a large one beside them; large ones.

        Args:
            seconds: In which calls are begun.
            lanes: Hostile calls at a time.
            burst: Honest calls at once.
        """
        begin = time.monotonic()
        async with self._connected() as channel:
            methods = await methods_of(channel)
        bursts_end, small_end, large_end = (begin + seconds * share for share in _SHARES)
        await self._bursts(methods, burst, bursts_end)
        arsenal, numbers = Arsenal(methods, self._seed), itertools.count()
        small = [self._lane(arsenal.small, numbers, small_end) for _ in range(lanes)]
        await asyncio.gather(*small, self._weighed_lane(arsenal.large, numbers, small_end))
        large = [self._lane(arsenal.large, numbers, large_end) for _ in range(lanes)]
        await asyncio.gather(*large)

    async def weighed(self, attack: Attack) -> None:
        """Make one call, and see what the server takes for it."""
        async with self._connected() as channel:
            with self._outcome.memory.cost() as taken:
                await self._judged(channel, attack)
        if taken[0] > _MAX_CALL_MEMORY:
            text = f"{taken[0] / 2**20:,.0f} MiB of the server's memory for one call"
            self._outcome.findings.add(text, attack)

    async def minimize(self) -> None:
        """Look for smaller requests that show what was found."""
        async with self._connected() as channel:
            for finding in list(self._outcome.findings.entries.values())[:_MINIMIZED]:
                message = _message_of(finding)
                if message is not None and self._is_alive():
                    await self._minimize(channel, finding, message)

    async def _bursts(self, methods: Sequence[Method], count: int, end: float) -> None:
        """Many good calls at once, over one connection and over many, in turn."""
        chosen = [method for method in methods if method.path.endswith(_BURST_METHODS)]
        kinds = list(itertools.product(chosen, (1, _BURST_CHANNELS)))
        Random(self._seed).shuffle(kinds)
        for method, width in itertools.cycle(kinds):
            if time.monotonic() > end or not self._is_alive():
                return
            await self._burst(method, width, count)

    async def _burst(self, method: Method, width: int, count: int) -> None:
        is_main = method.path.endswith("Optimize")
        data = (small_request() if is_main else method.example()).SerializeToString()
        attack = Attack("burst", method.path, (data,))
        async with AsyncExitStack() as stack:
            channels = [await stack.enter_async_context(self._connected()) for _ in range(width)]
            calls = (self._judged(channels[number % width], attack) for number in range(count))
            await asyncio.gather(*calls)

    async def _lane(
        self, make: Callable[[int], Attack], numbers: itertools.count, end: float
    ) -> None:
        async with self._connected() as channel:
            while time.monotonic() < end and self._is_alive():
                await self._judged(channel, make(next(numbers)))

    async def _weighed_lane(
        self, make: Callable[[int], Attack], numbers: itertools.count, end: float
    ) -> None:
        """No other large call is beside, so that what the server takes is that call's."""
        while time.monotonic() < end and self._is_alive():
            await self.weighed(make(next(numbers)))

    async def _judged(self, channel: grpc.aio.Channel, attack: Attack) -> Ending:
        ending = await send(channel, attack, self._deadline)
        if not self._is_alive():
            code = self._server.exit_code()
            self._outcome.findings.add(f"the server ended with {code} in a {attack.kind}", attack)
            return ending
        self._outcome.count(attack, ending)
        for text in violations(attack, ending):
            self._outcome.findings.add(text, attack)
        return ending

    async def _minimize(
        self, channel: grpc.aio.Channel, finding: Finding, message: Message
    ) -> None:
        attack, wanted = finding.attack, signature(finding.text, finding.attack)

        def of(candidate: Message) -> Attack:
            return Attack(attack.kind, attack.path, (candidate.SerializeToString(),))

        async def shows(candidate: Message) -> bool:
            ending = await send(channel, of(candidate), self._deadline)
            found = {signature(text, attack) for text in violations(of(candidate), ending)}
            return wanted in found

        if await shows(message):
            finding.attack = of(await minimize(message, shows, _MINIMIZE_SECONDS))

    def _connected(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(self._server.address, options=CHANNEL_OPTIONS)

    def _is_alive(self) -> bool:
        return self._server.exit_code() is None


def _message_of(finding: Finding) -> Message | None:
    """The request of a finding; None where there is none, or none that can be read."""
    if finding.attack is None or len(finding.attack.messages) != 1:
        return None
    try:
        return finding.attack.message()
    except (DecodeError, LookupError):
        return None
