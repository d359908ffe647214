"""What a stream must have said: every outcome once, every figure right, the ranking in order. Pure.

Violations are gathered as text: a load test reports them all and goes on.
"""

from __future__ import annotations

from stratsweep.v1 import optimization_event_pb2, outcome_pb2

from tests.load.engine import expected_failures, score


class StreamCheck:
    """Watches the events of one optimization of x = 0 … count - 1.

    Args:
        strategy: Of `LoadEngine`.
        count: How many combinations.
        salt: The salt parameter of the request.
    """

    def __init__(self, strategy: str, count: int, salt: int) -> None:
        self.violations: list[str] = []
        self.event_count = 0
        self.is_complete = False
        self._count = count
        self._salt = salt
        self._failures = expected_failures(strategy, count)
        self._seen: set[int] = set()
        self._sequence_number = 0
        self._ranked: list[int] = []
        self._failed: list[int] = []

    def see(self, event: optimization_event_pb2.OptimizationEvent) -> None:
        """The next event of the stream."""
        self.event_count += 1
        kind = event.WhichOneof("kind")
        if kind == "heartbeat":
            return
        if kind == "started":
            self._expect("the total of started", event.started.total_count, self._count)
        elif kind == "progress":
            self._see_progress(event.progress)
        elif kind == "result":
            self._see_part(event.result)
        # One for started, one for each outcome, one for each part of the result.
        self._sequence_number += len(event.progress.outcomes) if kind == "progress" else 1
        self._expect("a sequence number", event.sequence_number, self._sequence_number)

    def end(self) -> None:
        """The stream has ended with OK."""
        if not self.is_complete:
            self.violations.append("the stream ended without its last part")

    def _see_progress(self, progress: optimization_event_pb2.Progress) -> None:
        for outcome in progress.outcomes:
            self._see_outcome(outcome)
        self._expect("completed_count", progress.completed_count, len(self._seen))
        self._expect("total_count", progress.total_count, self._count)
        failed = len(self._seen & self._failures.keys())
        self._expect("failed_count", progress.failed_count, failed)

    def _see_outcome(self, outcome: outcome_pb2.Outcome) -> None:
        entry = getattr(outcome, outcome.WhichOneof("kind"))
        x = entry.combination_index
        if x in self._seen:
            self.violations.append(f"combination {x} has two outcomes")
        self._seen.add(x)
        self._check_entry(entry)

    def _see_part(self, part: optimization_event_pb2.OptimizationResult) -> None:
        for row in part.ranked_results:
            self._ranked.append(row.combination_index)
            self._expect("a rank", row.rank, len(self._ranked))
            self._check_entry(row)
        for failure in part.failures:
            self._failed.append(failure.combination_index)
            self._check_entry(failure)
        if part.is_last_part:
            self.is_complete = True
            self._check_result(part)

    def _check_result(self, part: optimization_event_pb2.OptimizationResult) -> None:
        everything = range(self._count)
        self._expect("the number of outcomes streamed", len(self._seen), self._count)
        self._expect("the failures", self._failed, sorted(self._failures))
        ranking = sorted(
            (x for x in everything if x not in self._failures),
            key=lambda x: (-score(x, self._salt), x),
        )
        if self._ranked != ranking:
            self.violations.append("the ranking is not the one by score, then by index")
        self._expect("succeeded_count", part.succeeded_count, len(ranking))
        self._expect("the state", part.state, optimization_event_pb2.OPTIMIZATION_STATE_SUCCEEDED)

    def _check_entry(
        self, entry: outcome_pb2.ParameterResult | outcome_pb2.BacktestFailure
    ) -> None:
        x = entry.combination_index
        self._expect(f"parameter x of {x}", entry.parameters["x"].integer_value, x)
        self._expect(f"salt of {x}", entry.parameters["salt"].integer_value, self._salt)
        if isinstance(entry, outcome_pb2.BacktestFailure):
            kind = outcome_pb2.FailureKind.Name(entry.kind).removeprefix("FAILURE_KIND_")
            self._expect(f"the failure of {x}", kind, self._failures.get(x))
        elif x in self._failures:
            self.violations.append(f"combination {x} succeeded and should have failed")
        else:
            self._expect(f"the score of {x}", entry.metrics["score"], score(x, self._salt))

    def _expect(self, what: str, actual: object, expected: object) -> None:
        if actual != expected:
            self.violations.append(f"{what} is {actual}, not {expected}")
