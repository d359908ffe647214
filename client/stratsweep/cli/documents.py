"""What programs read: one JSON document, or CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from stratsweep._formatting import format_value
from stratsweep.config import OptimizationConfig
from stratsweep.errors import StratsweepError, Violation
from stratsweep.events import OptimizationResult, SymbolResult
from stratsweep.optimizations import Optimization
from stratsweep.parameters import DoubleRange, GridValues, IntegerRange
from stratsweep.strategies import Strategy, StrategyList, counts_of

if TYPE_CHECKING:
    from stratsweep._tables import RankingTable
    from stratsweep.repeats import RepeatCheck


class ResultDocument:
    """A result as what programs read.

    Args:
        result: The result.
        limit: How many of its best rows; None for all.
        repeats: What came of running some combinations again; JSON has it, too.
    """

    def __init__(
        self, result: OptimizationResult, limit: int | None, repeats: RepeatCheck | None = None
    ) -> None:
        self._repeats = repeats
        self._result = with_best_rows(result, limit)

    def json(self) -> str:
        """Return one line of strict JSON."""
        return result_json(self._result, self._repeats)

    def csv(self) -> Iterator[str]:
        """Return the ranking as CSV, some thousand lines at a time."""
        return result_csv(self._result)

    def table(self) -> object:
        """Return the ranking as something that gives an Arrow stream."""
        return self._result


class EachDocument:
    """The results of several symbols, each optimized alone, as what programs read.

    Args:
        ends: How each ended.
        limit: How many of each ranking's best rows; None for all.
    """

    def __init__(self, ends: Sequence[SymbolResult], limit: int | None) -> None:
        self._ends = ends
        self._results = {
            end.symbol: with_best_rows(end.result, limit) for end in ends if end.result is not None
        }

    def json(self) -> str:
        """Return one line of strict JSON: an array with an object for each symbol."""
        return _json([self._object(end) for end in self._ends])

    def csv(self) -> Iterator[str]:
        """Return all rankings as one CSV whose first column is the symbol."""
        return _csv(self.table())

    def table(self) -> RankingTable:
        """Return all rankings as one table whose first column is the symbol."""
        from stratsweep._tables import RankingTable  # noqa: PLC0415 - imports nanoarrow

        results = self._results.items()
        counts = frozenset(name for _, result in results for name in counts_of(result.metrics))
        return RankingTable({symbol: result.ranked for symbol, result in results}, counts)

    def _object(self, end: SymbolResult) -> dict[str, object]:
        if end.error is not None:
            return {"symbol": end.symbol, "error": _error(end.error)}
        return {"symbol": end.symbol, **_document(self._results[end.symbol])}


def _error(error: StratsweepError) -> dict[str, object]:
    violations: Sequence[Violation] = getattr(error, "violations", ())
    return {
        "kind": type(error).__name__,
        "reason": error.reason,
        "message": error.message,
        "violations": [dataclasses.asdict(each) for each in violations],
    }


def with_best_rows(result: OptimizationResult, limit: int | None) -> OptimizationResult:
    """Return a result with at most so many of its ranked rows; None for all."""
    if limit is None or limit >= len(result.ranked):
        return result
    return dataclasses.replace(result, ranked=list(itertools.islice(result.ranked, limit)))


def result_json(result: OptimizationResult, repeats: RepeatCheck | None = None) -> str:
    """Return a result as one line of strict JSON; spans are seconds.

    Args:
        result: What is told.
        repeats: What came of running some combinations again, where that was asked for.
    """
    document = _document(result)
    if repeats is not None:
        from stratsweep.cli.repeat_report import repeat_document  # noqa: PLC0415 - few ask for it

        document["repeat_check"] = repeat_document(repeats)
    return _json(document)


def result_csv(result: OptimizationResult) -> Iterator[str]:
    """Return the ranking as CSV, some thousand lines at a time.

    Columns: rank, combination_index, parameters, metrics.
    """
    from stratsweep._tables import RankingTable  # noqa: PLC0415 - imports nanoarrow

    return _csv(RankingTable(result.ranked, counts_of(result.metrics)))


def _csv(table: RankingTable) -> Iterator[str]:
    yield _csv_lines([table.names])
    for columns in table.lists():
        yield _csv_lines(zip(*map(_cells, columns), strict=True))


def _document(result: OptimizationResult) -> dict[str, object]:
    counts = counts_of(result.metrics)
    document: dict[str, object] = {
        "optimization_id": result.optimization_id,
        "labels": result.labels,
        "state": result.state,
        "config": _config(result.config),
    }
    if result.market_data is not None:
        document["market_data"] = {
            name: getattr(result.market_data, name) for name in _MARKET_DATA_FIELDS
        }
    return document | {
        "total_count": result.total_count,
        "succeeded_count": result.succeeded_count,
        "failed_count": result.failed_count,
        "unqualified_count": result.unqualified_count,
        "without_target_count": result.without_target_count,
        "ranked_results": [
            {
                "rank": row.rank,
                "combination_index": row.combination_index,
                "parameters": row.parameters,
                "metrics": _with_integers(row.metrics, counts),
            }
            for row in result.ranked
        ],
        "failures": [
            {
                "combination_index": failure.combination_index,
                "parameters": failure.parameters,
                "kind": failure.kind,
                "message": failure.message,
            }
            for failure in result.failures
        ],
    }


_MARKET_DATA_FIELDS = ("bar_count", "first_bar_time", "last_bar_time", "periods_per_year")


def _with_integers(metrics: Mapping[str, float], counts: frozenset[str]) -> Mapping[str, float]:
    whole = {
        name: int(metrics[name]) for name in counts & metrics.keys() if metrics[name].is_integer()
    }
    return {**metrics, **whole} if whole else metrics


def _json(document: object) -> str:
    return json.dumps(document, allow_nan=False, default=_plain)


def _csv_lines(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _cells(column: list[Any]) -> Iterable[object]:
    is_switch = bool(column) and isinstance(column[0], bool)
    return map(format_value, column) if is_switch else column


def catalogue_json(catalogue: StrategyList) -> str:
    """Return what a server can run as one line of JSON."""
    return _json(dataclasses.asdict(catalogue))


def strategy_json(strategy: Strategy) -> str:
    """Return one strategy as one line of JSON, as it is in the whole catalogue."""
    return _json(dataclasses.asdict(strategy))


def _config(config: OptimizationConfig) -> dict[str, object]:
    fields = {each.name: getattr(config, each.name) for each in dataclasses.fields(config)}
    grid = {name: _grid_values(values) for name, values in config.parameters.items()}
    return fields | {"parameters": grid}


def _grid_values(values: GridValues) -> object:
    if isinstance(values, IntegerRange | DoubleRange):
        return {
            name: value for name, value in dataclasses.asdict(values).items() if value is not None
        }
    return values


def _plain(value: object) -> object:
    match value:
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case _:
            raise TypeError(f"{value!r} has no place in JSON")


def optimizations_json(stands: Sequence[Optimization]) -> str:
    """Return where optimizations stand as one line of JSON: an array; spans are seconds."""
    return _json(list(map(_stand, stands)))


def _stand(stand: Optimization) -> dict[str, object]:
    started = stand.started
    return {
        "optimization_id": stand.optimization_id,
        "state": stand.state,
        "strategy": started.config.strategy,
        "symbols": started.config.symbols,
        "labels": started.labels,
        "total_count": started.total_count,
        "completed_count": stand.completed_count,
        "failed_count": stand.failed_count,
        "reused_count": started.reused_count,
        "create_time": stand.create_time,
        "start_time": stand.start_time,
        "end_time": stand.end_time,
        "running_duration": stand.running_duration,
        "message": stand.message,
        "is_detached": stand.is_detached,
        "holder_address": stand.holder_address,
        "stored_bytes": stand.stored_bytes,
    }
