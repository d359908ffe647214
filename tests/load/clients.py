"""What each kind of client does, again and again, until its time is over. Plain generated stubs."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from stratsweep.v1 import optimization_service_pb2, parameter_pb2
from stratsweep.v1.optimization_service_pb2_grpc import OptimizationServiceStub

from tests.fuzz.attacks import Arsenal
from tests.fuzz.calls import CHANNEL_OPTIONS, send
from tests.fuzz.methods import methods_of
from tests.fuzz.verdict import violations
from tests.load.stream_check import StreamCheck
from tests.load.tally import Tally
from tests.requests import optimize_request, seconds

Request = optimization_service_pb2.OptimizeRequest

HEALTH_SECONDS = 5.0
"""In which a health check must be answered, whatever else the server does."""
HOSTILE_SECONDS = 30.0
"""In which a hostile request must be refused or begin."""
SMALL_SECONDS = 60.0
"""In which a small optimization must have ended, whatever else the server does."""

_HEALTH_PAUSE = 0.02
_REFUSED_PAUSE = 0.2
_FAULTY_TIMEOUT = 1.0


class RefusedError(Exception):
    """The server is busy and said so."""


class Client:
    """One client with a connection of its own.

    Args:
        channel: To the server.
        tally: What it counts into.
        generator: Makes its choices; seeded, so that a run can be repeated.
        combinations: The size of its larger optimizations.
        end: Monotonic seconds after which nothing new is begun.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        tally: Tally,
        generator: random.Random,
        combinations: int,
        end: float,
    ) -> None:
        self._stub = OptimizationServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)
        self._channel = channel
        self._tally = tally
        self._random = generator
        self._combinations = combinations
        self._end = end

    # Streams that nobody disturbs: each must be complete.

    async def steady(self) -> None:
        """A message per backtest."""
        await self._repeat("stream", lambda: self._undisturbed("quick", self._combinations))

    async def grouped(self) -> None:
        """Messages grouped by 100 ms."""
        await self._repeat(
            "grouped stream",
            lambda: self._undisturbed("quick", self._combinations, progress_interval=seconds(0.1)),
        )

    async def faulty(self) -> None:
        """Backtests that raise, exit and hang among those that do not."""
        await self._repeat(
            "stream with failures",
            lambda: self._undisturbed("faulty", 200, timeout=_FAULTY_TIMEOUT),
        )

    async def slow_reader(self) -> None:
        """Reads an event now and then."""
        await self._repeat(
            "slowly read stream", lambda: self._undisturbed("quick", 200, pause=0.01)
        )

    async def small(self) -> None:
        """Waits for a handful of backtests, again and again, and takes the time."""
        await self._repeat("small optimization", self._small)

    async def _small(self) -> None:
        with self._timed("small optimization"):
            await self._undisturbed("quick", 10, deadline=SMALL_SECONDS)
        await asyncio.sleep(0.05)

    async def _undisturbed(
        self,
        strategy: str,
        count: int,
        *,
        pause: float = 0.0,
        deadline: float | None = None,
        **options: Any,
    ) -> None:
        request, check = self._request(strategy, count, **options)
        call = self._stub.Optimize(request, timeout=deadline)
        try:
            async for response in call:
                check.see(response.event)
                if pause:
                    await asyncio.sleep(pause)
            check.end()
        finally:
            call.cancel()
            self._note(check)
        self._tally.outcome_count += count

    # Streams that are disturbed: what arrives before must be right.

    async def canceller(self) -> None:
        """Cancels in the middle."""
        await self._repeat("cancelled stream", self._cancelled)

    async def _cancelled(self) -> None:
        request, check = self._request("nap", self._combinations)
        call = self._stub.Optimize(request)
        for _ in range(self._random.randrange(1, 20)):
            response = await call.read()
            if response is grpc.aio.EOF:
                break
            check.see(response.event)
        call.cancel()
        self._note(check)
        await self._expect_status(call, grpc.StatusCode.CANCELLED)

    async def deadline(self) -> None:
        """Has less time than the optimization needs."""
        await self._repeat("stream with deadline", self._overdue)

    async def _overdue(self) -> None:
        request, check = self._request("nap", 10_000)
        call = self._stub.Optimize(request, timeout=self._random.uniform(0.1, 1.0))
        try:
            async for response in call:
                check.see(response.event)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
        self._note(check)
        await self._expect_status(call, grpc.StatusCode.DEADLINE_EXCEEDED)

    async def victim(self) -> None:
        """Opens streams and reads them until somebody kills the process."""
        await asyncio.gather(*(self._read_for_ever("nap") for _ in range(3)))

    async def _read_for_ever(self, strategy: str) -> None:
        while True:
            request, _ = self._request(strategy, self._combinations)
            try:
                async for _ in self._stub.Optimize(request):
                    pass
            except grpc.aio.AioRpcError:
                await asyncio.sleep(_REFUSED_PAUSE)

    # Calls that are answered at once.

    async def invalid(self) -> None:
        """Sends what must be refused with every violation, or cannot be read at all."""
        await self._repeat("invalid request", self._refused)

    async def _refused(self) -> None:
        request, _ = self._request("quick", 10)
        self._random.choice(_SPOILERS)(request)
        call = self._stub.Optimize(request)
        await self._expect_status(call, grpc.StatusCode.INVALID_ARGUMENT)
        details = await rpc_status.aio.from_call(call)
        kinds = {entry.type_url.rpartition(".")[2] for entry in details.details}
        if not {"ErrorInfo", "BadRequest"} <= kinds:
            self._tally.violate([f"INVALID_ARGUMENT with {kinds} only"])
        await asyncio.sleep(0.05)

    async def garbage(self) -> None:
        """Sends bytes that are no message, and calls what is not there."""
        await self._repeat("unreadable request", self._unreadable)

    async def _unreadable(self) -> None:
        service = "/stratsweep.v1.OptimizationService/"
        call = self._channel.unary_stream(service + "Optimize")(self._random.randbytes(64))
        await self._expect_status(call, grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT)
        missing = self._channel.unary_unary(service + "NoSuchMethod")(b"")
        await self._expect_status(missing, grpc.StatusCode.UNIMPLEMENTED)
        await asyncio.sleep(0.05)

    async def attacker(self) -> None:
        """Sends hostile requests, small and large: each is refused or answered by the contract."""
        arsenal = Arsenal(await methods_of(self._channel), self._random.randrange(2**32))
        numbers = itertools.count()
        await self._repeat("hostile request", lambda: self._attack(arsenal, next(numbers)))

    async def _attack(self, arsenal: Arsenal, number: int) -> None:
        attack = arsenal.small(number) if number % 4 else arsenal.large(number)
        ending = await send(self._channel, attack, HOSTILE_SECONDS)
        self._tally.violate(f"{attack.path}, {text}" for text in violations(attack, ending))

    async def validator(self) -> None:
        """Asks for nothing but validation of a large grid."""
        await self._repeat("validation", self._validated)

    async def _validated(self) -> None:
        request, check = self._request("quick", 100_000, validate_only=True)
        async for response in self._stub.Optimize(request):
            check.see(response.event)
        if check.event_count != 1:
            check.violations.append(f"validate_only gave {check.event_count} events")
        self._note(check)
        await asyncio.sleep(0.05)

    async def list_strategies(self) -> None:
        """Asks what can be run."""
        await self._repeat("ListStrategies", self._listed)

    async def _listed(self) -> None:
        response = await self._stub.ListStrategies(optimization_service_pb2.ListStrategiesRequest())
        if not response.accepts_any_strategy:
            self._tally.violate(["ListStrategies no longer accepts any strategy"])
        await asyncio.sleep(0.05)

    async def health(self) -> None:
        """Checks the health and takes the time."""
        await self._repeat("health check", self._checked)

    async def _checked(self) -> None:
        question = health_pb2.HealthCheckRequest()
        with self._timed("health check"):
            answer = await self._health.Check(question, timeout=HEALTH_SECONDS)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            self._tally.violate([f"health says {answer.status}"])
        await asyncio.sleep(_HEALTH_PAUSE)

    # What they share.

    async def _repeat(self, kind: str, act: Callable[[], Awaitable[None]]) -> None:
        """Act until the end; a refusal for overload is an answer too, and is tried again."""
        while time.monotonic() < self._end:
            try:
                await act()
            except RefusedError:
                await self._back_off()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    self._tally.violate([f"{kind}: {error.code().name}: {error.details()}"])
                    await asyncio.sleep(_REFUSED_PAUSE)
                    continue
                self._check_refusal(error)
                await self._back_off()
            else:
                self._tally.calls[kind] += 1

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._tally.seconds[kind].append(time.perf_counter() - start)

    async def _back_off(self) -> None:
        self._tally.calls["refusal for overload"] += 1
        await asyncio.sleep(_REFUSED_PAUSE)

    def _check_refusal(self, error: grpc.aio.AioRpcError) -> None:
        details = rpc_status.from_call(error)
        retry = error_details_pb2.RetryInfo.DESCRIPTOR
        if details is None or not any(entry.Is(retry) for entry in details.details):
            self._tally.violate(["RESOURCE_EXHAUSTED without RetryInfo"])

    def _request(self, strategy: str, count: int, **options: Any) -> tuple[Request, StreamCheck]:
        salt = self._random.randrange(10_000)
        request = optimize_request(strategy, count, **options)
        request.config.parameters.add(
            name="salt", integer_list=parameter_pb2.IntegerList(values=[salt])
        )
        return request, StreamCheck(strategy, count, salt)

    def _note(self, check: StreamCheck) -> None:
        self._tally.event_count += check.event_count
        self._tally.violate(check.violations)

    async def _expect_status(self, call: Any, *expected: grpc.StatusCode) -> None:
        code = await call.code()
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise RefusedError
        if code not in expected:
            wanted = " or ".join(each.name for each in expected)
            text = f"{code.name} ({await call.details()}) instead of {wanted}"
            self._tally.violate([text])


@asynccontextmanager
async def connected(address: str, *arguments: Any) -> AsyncIterator[Client]:
    """A client that is ready to act."""
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        yield Client(channel, *arguments)


def _spoil_step(request: Request) -> None:
    request.config.parameters[0].integer_range.step = -1


def _spoil_number(request: Request) -> None:
    request.config.parameters.add(
        name="y", double_list=parameter_pb2.DoubleList(values=[float("nan")])
    )


def _spoil_size(request: Request) -> None:
    for name in "abcdef":
        axis = parameter_pb2.IntegerRange(start=0, stop=999)
        request.config.parameters.add(name=name, integer_range=axis)


def _spoil_constraint(request: Request) -> None:
    request.config.constraints.append("x < ) nonsense (")


def _spoil_everything(request: Request) -> None:
    request.config.Clear()


_SPOILERS = (_spoil_step, _spoil_number, _spoil_size, _spoil_constraint, _spoil_everything)
