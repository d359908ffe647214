"""What every store does, whether it outlives the process or not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stratsweep_server.optimization.memory_store import MemoryStore
from stratsweep_server.optimization.outcome_log import OutcomeLog
from stratsweep_server.optimization.states import ForbiddenTransitionError, OptimizationState
from stratsweep_server.optimization.store import (
    HeldElsewhereError,
    OptimizationExistsError,
    OptimizationFilter,
    Run,
    Store,
    StoreUnavailableError,
    UnknownOptimizationError,
)
from stratsweep_server.storage.disk_store import open_store

from tests.forgetful_files import ADDITIONS, EVERYTHING, NOTHING, REMOVALS, ForgetfulFiles, Survival
from tests.outcome_batches import Timed, described, kept, succeeded, with_failures
from tests.records import ended, record

ADDRESS = "127.0.0.1:50051"
ANY = OptimizationFilter()
QUEUED, RUNNING = OptimizationState.QUEUED, OptimizationState.RUNNING
SUCCEEDED, CANCELLED = OptimizationState.SUCCEEDED, OptimizationState.CANCELLED
INTERRUPTED = OptimizationState.INTERRUPTED


@pytest.fixture(params=["memory", "disk", "disk in memory"])
def store(request, tmp_path) -> Iterator[Store]:
    path = tmp_path / "state"
    opened: Store
    if request.param == "memory":
        opened = MemoryStore(ADDRESS)
    elif request.param == "disk":
        opened = open_store(path, ADDRESS)
    else:
        opened = open_store(path, ADDRESS, LogsIn(ForgetfulFiles(), path))
    yield opened
    opened.close()


class LogsIn:
    """Outcome logs of a state directory in files of the tests."""

    def __init__(self, logs: ForgetfulFiles, path: Path) -> None:
        self.logs = logs
        self._root = path / "optimizations"

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.logs, name)
        return lambda *paths: method(*(path.relative_to(self._root) for path in paths))


def ids(records) -> list[str]:
    return [each.optimization_id for each in records]


def test_what_was_created_is_found_as_it_was_and_held_here(store):
    created = record()
    store.create(created)
    assert store.find("", "first") == replace(created, holder_address=ADDRESS)


def test_what_was_never_created_is_unknown_to_every_method(store):
    store.create(record())
    for caller, name in (("", "second"), ("somebody", "first")):
        for method in (store.find, store.claim, store.delete):
            with pytest.raises(UnknownOptimizationError):
                method(caller, name)
        with pytest.raises(UnknownOptimizationError):
            store.move(record(name, caller=caller))


def test_an_id_is_created_once_by_each_caller(store):
    store.create(record())
    with pytest.raises(OptimizationExistsError):
        store.create(record(strategy="other"))
    store.create(record(caller="somebody", strategy="other"))
    assert store.find("", "first").strategy == "sma_cross"
    assert store.find("somebody", "first").strategy == "other"


def test_of_many_threads_that_create_an_id_at_once_one_does(store):
    barrier = threading.Barrier(8)

    def create(_) -> bool:
        barrier.wait()
        try:
            store.create(record())
        except OptimizationExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(create, range(8))) == 1


def test_a_move_writes_what_may_change(store):
    store.create(record(state=QUEUED, start_time=None))
    store.move(record(state=RUNNING, start_time=5, started=b"later"))
    moved = record(
        state=SUCCEEDED,
        start_time=5,
        end_time=7,
        started=b"later",
        completed_count=10,
        failed_count=3,
        running_seconds=1.25,
        message="done",
    )
    store.move(moved)
    assert store.find("", "first") == moved


def test_a_move_leaves_the_rest_as_it_was_created(store):
    store.create(record())
    store.move(record(strategy="other", symbols=(), labels={}, request=b"", total_count=1))
    assert store.find("", "first") == record(holder_address=ADDRESS)


@pytest.mark.parametrize("after", OptimizationState)
def test_an_ended_optimization_never_moves(store, after):
    ended(store, "first")
    with pytest.raises(ForbiddenTransitionError):
        store.move(record(state=after))
    assert store.find("", "first").state is SUCCEEDED


def test_a_move_that_the_states_forbid_changes_nothing(store):
    store.create(record(state=QUEUED))
    with pytest.raises(ForbiddenTransitionError):
        store.move(record(state=SUCCEEDED, message="no"))
    assert store.find("", "first").message == ""


def test_what_is_interrupted_goes_on_once_it_is_claimed(store):
    ended(store, "first", INTERRUPTED)
    assert store.find("", "first").holder_address == ""
    claimed = store.claim("", "first")
    assert (claimed.state, claimed.holder_address) == (INTERRUPTED, ADDRESS)
    assert claimed.request == record().request
    store.move(replace(claimed, state=QUEUED))
    store.move(replace(claimed, state=RUNNING))
    assert store.find("", "first").holder_address == ADDRESS


def test_what_nobody_holds_is_not_moved(store):
    found = ended(store, "first", INTERRUPTED)
    with pytest.raises(HeldElsewhereError):
        store.move(replace(found, state=QUEUED))
    assert store.find("", "first") == found


def test_what_is_claimed_and_stays_interrupted_is_let_go_of(store):
    claimed = store.claim("", ended(store, "first", INTERRUPTED).optimization_id)
    store.move(replace(claimed, message="the bars have changed"))
    found = store.find("", "first")
    assert (found.message, found.holder_address) == ("the bars have changed", "")


def test_what_has_ended_is_claimed_by_nobody(store):
    ended(store, "first", CANCELLED)
    assert store.claim("", "first").holder_address == ""


def test_what_is_held_here_may_be_claimed_again(store):
    store.create(record())
    assert store.claim("", "first") == store.find("", "first")
    assert store.orphans() == []


def test_pages_are_newest_first_and_stable_while_others_are_created(store):
    for number in range(5):
        store.create(record(f"o{number}"))
    first, token = store.page("", ANY, 2)
    store.create(record("o5"))
    second, token = store.page("", ANY, 2, token)
    third, end = store.page("", ANY, 2, token)
    assert [ids(first), ids(second), ids(third)] == [["o4", "o3"], ["o2", "o1"], ["o0"]]
    assert end == ""
    assert ids(store.page("", ANY, 9)[0])[0] == "o5"


def test_a_page_that_is_just_full_has_none_after_it(store):
    store.create(record("a"))
    store.create(record("b"))
    assert store.page("", ANY, 2)[1] == ""


def test_pages_have_all_of_an_optimization_but_its_request(store):
    store.create(record())
    assert store.page("", ANY, 9)[0] == [replace(store.find("", "first"), request=b"")]


def test_a_page_has_no_optimization_of_another_caller(store):
    store.create(record(caller="somebody"))
    assert store.page("", ANY, 9) == ([], "")


@pytest.mark.parametrize("token", ["no", "-1", "1.5", "\u0661"])
def test_a_strange_token_is_refused(store, token):
    with pytest.raises(ValueError, match="token"):
        store.page("", ANY, 2, token)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (OptimizationFilter(states=[RUNNING]), ["b"]),
        (OptimizationFilter(states=[SUCCEEDED, RUNNING]), ["b", "a"]),
        (OptimizationFilter(states=[INTERRUPTED]), []),
        (OptimizationFilter(strategy="macd_cross"), ["b"]),
        (OptimizationFilter(symbol="QQQ"), ["b", "a"]),
        (OptimizationFilter(symbol="DIA"), ["b"]),
        (OptimizationFilter(symbol="Q"), []),
        (OptimizationFilter(labels={"a.b": 'x"y'}), ["b"]),
        (OptimizationFilter(labels={"a.b": 'x"y', "desk": "fx"}), []),
        (OptimizationFilter(labels={"desk": "x"}), []),
        (OptimizationFilter(created_after=200), ["b"]),
        (OptimizationFilter(created_before=200), ["a"]),
        (OptimizationFilter(created_after=100, created_before=201), ["b", "a"]),
        (OptimizationFilter(created_after=-(10**21), created_before=10**21), ["b", "a"]),
        (OptimizationFilter(created_after=10**21), []),
        (OptimizationFilter(id_prefix="A"), []),
        (OptimizationFilter(id_prefix="a"), ["a"]),
        (OptimizationFilter(id_prefix="%"), []),
        (OptimizationFilter(strategy="macd_cross", id_prefix="a"), []),
    ],
)
def test_a_filter_leaves_what_fits_all_of_it(store, wanted, found):
    ended(store, "a", create_time=100)
    labels = {"a.b": 'x"y', "ü": "\n"}
    symbols = ("DIA", "QQQ")
    store.create(
        record("b", create_time=200, strategy="macd_cross", symbols=symbols, labels=labels)
    )
    assert ids(store.page("", wanted, 9)[0]) == found


def test_a_deleted_id_is_unknown_and_may_be_used_again(store):
    ended(store, "first")
    store.delete("", "first")
    with pytest.raises(UnknownOptimizationError):
        store.find("", "first")
    assert store.page("", ANY, 9) == ([], "")
    store.create(record(strategy="other"))
    assert store.find("", "first").strategy == "other"


@pytest.mark.parametrize("state", [QUEUED, RUNNING])
def test_what_waits_or_runs_is_not_deleted(store, state):
    store.create(record(state=state))
    with pytest.raises(HeldElsewhereError) as refused:
        store.delete("", "first")
    assert refused.value.address == ADDRESS
    assert store.find("", "first").state is state


def test_what_is_about_to_go_on_is_not_deleted(store):
    ended(store, "first", INTERRUPTED)
    store.claim("", "first")
    with pytest.raises(HeldElsewhereError):
        store.delete("", "first")


def test_matching_are_those_with_the_same_inputs_that_do_not_run_newest_first(store):
    ended(store, "a")
    ended(store, "b", INTERRUPTED)
    ended(store, "c", inputs_key="other")
    ended(store, "d", caller="somebody")
    store.create(record("e"))
    found = store.matching("", "inputs")
    assert ids(found) == ["b", "a"]
    assert found[0].request == record().request


BATCHES: list[Timed] = [
    (succeeded([4, 2]), 0.5),
    (with_failures([0, 3, 1], [3]), 0.75),
    (succeeded([9], ["sharpe", "calmar"]), 1.0),
]


class Writing:
    """Optimization `name` being run: outcomes are visible once they are kept."""

    def __init__(self, store: Store, name: str, log: OutcomeLog) -> None:
        self.reported: list[int] = []
        self.failures: list[StoreUnavailableError] = []
        self._log = log
        run = Run(log.count, 5, 0.25)
        self._journal = store.journal(
            "", name, run, log, self.reported.append, self.failures.append
        )

    async def write(self, *batches: Timed) -> None:
        for batch, elapsed in batches:
            self._log.append(batch, elapsed)
            self._journal.append(batch, elapsed)
        await self._journal.flush()


async def run_to_the_end(store: Store, name: str = "first") -> None:
    store.create(record(name, total_count=6))
    await Writing(store, name, OutcomeLog(6)).write(*BATCHES)
    store.conclude("", name)
    store.move(record(name, state=SUCCEEDED))


def test_what_was_never_run_has_an_empty_log(store):
    store.create(record(total_count=7, state=QUEUED))
    log = store.log("", "first")
    assert (log.count, log.total_count, len(log.failures)) == (0, 7, 0)


async def test_outcomes_are_reported_when_they_are_kept_and_read_as_they_were(store):
    store.create(record(total_count=6))
    writing = Writing(store, "first", OutcomeLog(6))
    for number, batch in enumerate(BATCHES, 1):
        await writing.write(batch)
        assert writing.reported[-1] == sum(len(each) for each, _ in BATCHES[:number])
        assert kept(store.log("", "first")) == described(BATCHES[:number])
    assert writing.failures == []
    store.conclude("", "first")
    store.move(record(state=SUCCEEDED))
    log = store.log("", "first")
    assert (log.count, log.total_count) == (6, 6)
    assert kept(log) == described(BATCHES)


async def test_each_optimization_has_a_log_of_its_own(store):
    for name in ("first", "second"):
        store.create(record(name, total_count=6))
    first, second = (Writing(store, name, OutcomeLog(6)) for name in ("first", "second"))
    await first.write(BATCHES[0])
    await second.write(BATCHES[1])
    assert kept(store.log("", "first")) == described(BATCHES[:1])
    assert kept(store.log("", "second")) == described(BATCHES[1:2])


async def test_a_log_that_is_read_outlives_the_deletion_of_its_optimization(store):
    await run_to_the_end(store)
    log = store.log("", "first")
    store.delete("", "first")
    assert kept(log) == described(BATCHES)
    with pytest.raises(UnknownOptimizationError):
        store.log("", "first")


async def test_an_id_that_is_used_again_begins_with_an_empty_log(store):
    await run_to_the_end(store)
    store.delete("", "first")
    store.create(record(total_count=3))
    assert store.log("", "first").count == 0


async def test_an_interrupted_optimization_goes_on_where_it_stood(store):
    store.create(record(total_count=6))
    log = OutcomeLog(6)
    await Writing(store, "first", log).write(*BATCHES[:2])
    store.move(record(state=INTERRUPTED))
    store.move(replace(store.claim("", "first"), state=RUNNING))
    writing = Writing(store, "first", log)
    await writing.write(*BATCHES[2:])
    assert writing.reported == [6]
    assert kept(store.log("", "first")) == described(BATCHES)


@pytest.mark.parametrize("survival", [NOTHING, EVERYTHING, REMOVALS, ADDITIONS])
async def test_nothing_that_was_reported_is_missing_after_a_crash(tmp_path, survival: Survival):
    path = tmp_path / "state"
    files = ForgetfulFiles()
    store = open_store(path, ADDRESS, LogsIn(files, path))
    await run_to_the_end(store, "ended")
    store.create(record("running", total_count=6))
    writing = Writing(store, "running", OutcomeLog(6))
    await writing.write(*BATCHES[:2])
    crashed = files.crash(survival)
    store.close()
    reopened = open_store(path, ADDRESS, LogsIn(crashed, path))
    assert ids(reopened.orphans()) == ["running"]
    assert kept(reopened.log("", "ended")) == described(BATCHES)
    log = OutcomeLog(6)
    for batch in BATCHES[:2]:
        log.append(*batch)
    reopened.claim("", "running")
    assert kept(reopened.log("", "running")) == described(BATCHES[:2])
    await Writing(reopened, "running", log).write(*BATCHES[2:])
    assert kept(reopened.log("", "running")) == described(BATCHES)
    reopened.close()


async def test_a_disk_that_fails_is_reported_once_and_leaves_what_was_reported(tmp_path):
    path = tmp_path / "state"
    files = LogsIn(ForgetfulFiles(), path)
    store = open_store(path, ADDRESS, files)
    store.create(record(total_count=6))
    writing = Writing(store, "first", OutcomeLog(6))
    await writing.write(BATCHES[0])
    files.logs._power = files.logs.change_count  # none is left
    for batch in BATCHES[1:]:
        with pytest.raises(StoreUnavailableError):
            await writing.write(batch)
    assert len(writing.failures) == 1
    assert writing.reported == [2]
    files.logs = files.logs.restart()
    store.move(record(state=INTERRUPTED))
    assert kept(store.log("", "first")) == described(BATCHES[:1])
    store.close()
