"""The errors of this package.

StratsweepError
├── InvalidConfigError         the server refused the request; `violations` says why
├── NotFoundError              the server has no such strategy, symbol or optimization
├── OptimizationExistsError    there is an optimization of that id with another config
├── OptimizationRunningError   it runs, here or at another server, whose `address` is known
├── InputsChangedError         it cannot go on: bars, code or versions are others than they were
├── ServerUnavailableError     nobody answers, or the server cannot work for now
├── ServerBusyError            the server takes no more for now; `retry_after` says when to ask
├── DeadlineExceededError      the call's own timeout passed
├── OptimizationCancelledError the call was cancelled
├── StreamInterruptedError     the stream ended before its result
├── ServerError                the server failed; its log has the cause under `error_id`
└── ServerStartError           a server of our own did not start; `exit_code` and `log` say why

Wrong types and empty lists are caught before anything is sent, as TypeError and ValueError.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


class VersionMismatchWarning(UserWarning):
    """Warn that a server and this client differ in a way that matters.

    Either the server has ignored part of a request, which it is too old to know, or its contract
    has another major version. `warnings.simplefilter("error", VersionMismatchWarning)` makes it an
    error.
    """


@dataclass(frozen=True, slots=True)
class Violation:
    """Name one thing that is wrong with a request.

    Attributes:
        field: The path of the field, such as `config.parameters[1].integer_range.step`.
        description: What is wrong with it and what to do, for people.
    """

    field: str
    description: str


class StratsweepError(Exception):
    """Report what went wrong between this client and a server.

    Attributes:
        message: What happened, for people.
        reason: A name of the contract's `ErrorReason` without its prefix, such as
            "UNKNOWN_SYMBOL"; empty where the server gave none.
        optimization_id: Names the optimization whose stream ended so; None where none had started.
        completed_count: How many of its backtests had completed, as far as this client was told,
            failed ones included; None where none had started.
        total_count: How many there were to be; None where none had started.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.optimization_id: str | None = None
        self.completed_count: int | None = None
        self.total_count: int | None = None

    def __str__(self) -> str:
        if self.completed_count is None:
            return self.message
        return (
            f"{self.message}, after {self.completed_count:,} of {self.total_count:,} backtests "
            f"(optimization {self.optimization_id})"
        )


class _ViolationsError(StratsweepError):
    """An error with a list of violations.

    Attributes:
        violations: Everything that is wrong, not only the first; empty where the server gave none.
    """

    def __init__(
        self, message: str, *, reason: str = "", violations: tuple[Violation, ...] = ()
    ) -> None:
        super().__init__(message, reason=reason)
        self.violations = violations

    def __str__(self) -> str:
        if not self.violations:
            return self.message
        lines = [f"  {each.field}: {each.description}" for each in self.violations]
        return "\n".join(["the server refused the request:", *lines])


class InvalidConfigError(_ViolationsError):
    """Report that the server refused the request; nothing ran."""


class NotFoundError(_ViolationsError):
    """Report that the server has no strategy, symbol or optimization of that name.

    Its `reason` is "UNKNOWN_STRATEGY", "UNKNOWN_SYMBOL" or "UNKNOWN_OPTIMIZATION".
    """


class OptimizationExistsError(StratsweepError):
    """Report that there is an optimization of that id whose config differs; nothing ran.

    The message says what differs.
    """


class OptimizationRunningError(StratsweepError):
    """Report that an optimization is queued or runs where that must not be.

    Its `reason` is "OPTIMIZATION_RUNNING" where this server runs it, and "RUNS_ELSEWHERE" where
    another one that shares the store does.

    Attributes:
        address: Where that other server listens; empty where it is this one.
    """

    def __init__(self, message: str, *, reason: str = "", address: str = "") -> None:
        super().__init__(message, reason=reason)
        self.address = address


class InputsChangedError(StratsweepError):
    """Report that an optimization cannot go on, since its inputs are others than they were.

    Its outcomes would come from other bars, code or versions; the message says which.
    """


class ServerUnavailableError(StratsweepError):
    """Report that no server answers at the address, or that it takes no work. Nothing ran.

    Its `reason` is "DRAINING" where the server is being stopped, "NO_WORKERS" where no worker
    starts, "STORAGE_UNAVAILABLE" where a folder that it needs cannot be used, "STORE_UNAVAILABLE"
    where what optimizations are kept in cannot; it is empty where nobody answers.
    """


class ServerBusyError(StratsweepError):
    """Report that the server runs as many optimizations as it may, or has no memory for another.

    Attributes:
        retry_after: How long to wait before asking again; None where the server does not say.
    """

    def __init__(
        self, message: str, *, reason: str = "", retry_after: timedelta | None = None
    ) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class DeadlineExceededError(StratsweepError):
    """Report that the timeout given to the call passed; the server stopped the work."""


class OptimizationCancelledError(StratsweepError):
    """Report that the call was cancelled; the server stopped the work."""


class StreamInterruptedError(StratsweepError):
    """Report that the stream ended before the last part of the result.

    Its `reason` is "DRAINING" where somebody stopped the server, "OPTIMIZATION_INTERRUPTED" where
    the optimization stands still; it is empty where the connection was lost or the server died.
    """


class ServerError(StratsweepError):
    """Report that the server failed, or answered what this client does not understand.

    Attributes:
        error_id: What to search the server's log for; empty where the server gave none.
    """

    def __init__(self, message: str, *, reason: str = "", error_id: str = "") -> None:
        super().__init__(message, reason=reason)
        self.error_id = error_id


class ServerStartError(StratsweepError):
    """Report that a server that this process started did not come up.

    Attributes:
        exit_code: The program's exit code, negative for a signal; None if it had not ended.
        log: The last lines that it wrote.
    """

    def __init__(self, message: str, *, exit_code: int | None = None, log: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.log = log

    def __str__(self) -> str:
        return f"{self.message}\n{self.log}".rstrip()
