"""A worker's session with an engine that takes batches: what it is given, what becomes of it."""

from __future__ import annotations

import os
import queue
import random
import socket
import sys
import threading
import weakref
from contextlib import contextmanager
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stratsweep_server.backtest import BacktestResult, Bars, BatchResult
from stratsweep_server.backtest.seeds import BacktestSeeds
from stratsweep_server.execution import messages
from stratsweep_server.execution.activity import Activity, Running, shared_words
from stratsweep_server.execution.grid import ParameterAxis
from stratsweep_server.execution.messages import FrameReader
from stratsweep_server.execution.outcomes import OutcomeBatch
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.execution.session import Session
from stratsweep_server.execution.shared_bars import SharedBarsFiles
from stratsweep_server.market_data.bars import BarsHeader

CHUNK_ID = 7
PLAN = BacktestPlan(
    "any",
    (ParameterAxis("x", range(1_000_000)), ParameterAxis("mode", ["a", "b"])),
    ("SPY",),
    start_date=date(2020, 1, 1),
    timezone="Asia/Tokyo",
    starting_cash=5_000.0,
    commission=0.001,
    slippage=0.0005,
    seed=11,
    defaults={"left_out": 5},
)


class BatchEngine:
    """Scores x; `spoil(config)` may raise, or return what else to answer, or None."""

    def __init__(self, spoil=lambda config: None) -> None:
        self.spoil = spoil
        self.batches = []

    def run_sync(self, config):
        raise AssertionError("an engine that takes batches is given batches")

    def run_batch(self, config):
        self.batches.append(config)
        spoilt = self.spoil(config)
        if spoilt is not None:
            return spoilt
        x = config.parameters["x"].astype(float)
        return BatchResult({"score": x, "negative": -x})

    @property
    def sizes(self) -> list[int]:
        return [config.count for config in self.batches]


class Server:
    """The server's side of a session that runs on a thread."""

    def __init__(self, peer: socket.socket, activity: Activity, session: Session) -> None:
        self.activity = activity
        self.session = session
        self._peer = peer
        self._reader = FrameReader()
        self._ready: queue.SimpleQueue[OutcomeBatch] = queue.SimpleQueue()
        self.busy_durations: list[float] = []
        self.send_plan(PLAN)

    def send_plan(self, plan: BacktestPlan, *descriptors: int) -> None:
        socket.send_fds(self._peer, [messages.encode_plan(1, plan)], descriptors)

    def send_release(self) -> None:
        self._peer.sendall(messages.encode_release(1))

    def send_chunk(self, indices, *, apart: bool = False) -> None:
        self._indices, self._done_count = np.asarray(indices, dtype=np.int64), 0
        self._peer.sendall(messages.encode_chunk(1, CHUNK_ID, self._indices, apart=apart))

    def next_outcomes(self) -> OutcomeBatch:
        while self._ready.empty():
            for _, body in self._reader.feed(self._peer.recv(1 << 16)):
                outcomes = messages.decode_outcomes(body, self._indices_of)
                self.busy_durations.append(outcomes.busy_duration)
                self._ready.put(outcomes.batch)
        return self._ready.get()

    def run_chunk(self, indices, *, apart: bool = False) -> list[OutcomeBatch]:
        """Send a chunk and receive all of its outcomes."""
        self.send_chunk(indices, apart=apart)
        batches = []
        while sum(map(len, batches)) < len(indices):
            batches.append(self.next_outcomes())
        return batches

    def _indices_of(self, chunk_id: int, offset: int, count: int) -> np.ndarray:
        assert (chunk_id, offset) == (CHUNK_ID, self._done_count), "outcomes come in order"
        self._done_count += count
        return self._indices[offset : offset + count]


@contextmanager
def session_of(engine):
    ours, theirs = socket.socketpair()
    descriptor = shared_words()
    activity, worker_activity = Activity(descriptor), Activity(descriptor)
    os.close(descriptor)
    session = Session(theirs, worker_activity, engine)
    worker = threading.Thread(target=session.run)
    worker.start()
    try:
        yield Server(ours, activity, session)
    finally:
        ours.close()
        worker.join()
        theirs.close()
        worker_activity.close()
        activity.close()


def scores(batches: list[OutcomeBatch]) -> dict[int, float]:
    """The score by combination index of those that did not fail."""
    found = {}
    for batch in batches:
        failed = {failure.combination_index for failure in batch.failures}
        column = batch.metrics[:, batch.metric_names.index("score")] if batch.metric_names else []
        found |= {
            index: score
            for index, score in zip(batch.indices.tolist(), column, strict=False)
            if index not in failed
        }
    return found


def failures(batches: list[OutcomeBatch]) -> dict[int, str]:
    return {
        failure.combination_index: failure.message
        for batch in batches
        for failure in batch.failures
    }


def raises_at(*guilty: int):
    """What spoils each batch that has a guilty x in it."""

    def spoil(config):
        found = sorted(set(guilty) & set(config.parameters["x"].tolist()))
        if found:
            raise ValueError(f"no luck with {found}")

    return spoil


def test_an_engine_is_given_the_whole_chunk_in_columns():
    engine = BatchEngine()
    with session_of(engine) as server:
        batches = server.run_chunk([3, 4, 10, 1_999_999])
    (config,) = engine.batches
    assert (config.strategy, config.count, config.symbols) == ("any", 4, ("SPY",))
    assert config.parameters["x"].tolist() == [1, 2, 5, 999_999]
    assert config.parameters["mode"].tolist() == ["b", "a", "a", "b"]
    assert (config.start_date, config.end_date) == (date(2020, 1, 1), None)
    assert config.timezone == "Asia/Tokyo"
    assert (config.starting_cash, config.commission, config.slippage) == (5_000.0, 0.001, 0.0005)
    assert config.bars is None
    (batch,) = batches
    assert batch.metric_names == ("score", "negative")
    assert batch.metrics.tolist() == [[1, -1], [2, -2], [5, -5], [999_999, -999_999]]


def test_the_combination_that_runs_has_a_name_and_many_at_once_have_none():
    labels = []

    def spoil(config):
        labels.append(server.session.running_combination())
        config.begin(config.count - 1)
        labels.append(server.session.running_combination())

    with session_of(BatchEngine(spoil)) as server:
        assert server.session.running_combination() == ""
        server.run_chunk([3, 4])
        server.run_chunk([1_999_999])
        server.send_plan(replace(PLAN, axes=(ParameterAxis("text", ("a b" * 200, "c")),)))
        server.run_chunk([0])
    assert labels[:4] == ["", "x=2 mode=a", "x=999999 mode=b", "x=999999 mode=b"]
    assert labels[4].startswith("text=a ba b")
    assert labels[4].endswith("…")
    assert len(labels[4]) < 250


def test_a_large_batch_comes_in_frames_of_bounded_size():
    with session_of(BatchEngine()) as server:
        batches = server.run_chunk(range(0, 60_000, 2))
    assert [len(batch) for batch in batches] == [8_192, 8_192, 8_192, 5_424]
    assert scores(batches) == {2 * x: x for x in range(30_000)}


def test_many_metrics_make_frames_of_fewer_rows():
    def thousand_metrics(config):
        return BatchResult({f"m{n}": np.full(config.count, n) for n in range(1_000)})

    with session_of(BatchEngine(thousand_metrics)) as server:
        batches = server.run_chunk(range(1_000))
    assert max(batch.metrics.nbytes for batch in batches) < 2**20
    assert sum(map(len, batches)) == 1_000


def test_each_backtest_has_an_equal_share_of_its_batchs_time():
    with session_of(BatchEngine()) as server:
        batches = server.run_chunk(range(20_000))
    (duration,) = {duration for batch in batches for duration in batch.durations.tolist()}
    assert duration > 0
    assert sum(server.busy_durations) >= 20_000 * duration
    shares = [busy / len(batch) for busy, batch in zip(server.busy_durations, batches, strict=True)]
    assert shares == pytest.approx([shares[0]] * len(shares))


def test_a_batch_that_raises_is_halved_until_the_exception_is_one_backtests_own():
    engine = BatchEngine(raises_at(5))
    with session_of(engine) as server:
        batches = server.run_chunk(range(0, 16, 2))
    assert failures(batches) == {10: "ValueError: no luck with [5]"}
    assert scores(batches) == {2 * x: x for x in range(8) if x != 5}
    assert engine.sizes == [8, 4, 4, 2, 1, 1, 2]


@settings(max_examples=30)
@given(st.sets(st.integers(0, 40)), st.integers(1, 40))
def test_exactly_the_guilty_fail_and_the_others_have_their_own_results(guilty, count):
    engine = BatchEngine(raises_at(*guilty))
    with session_of(engine) as server:
        batches = server.run_chunk(range(0, 2 * count, 2))
    assert set(failures(batches)) == {2 * x for x in guilty if x < count}
    assert scores(batches) == {2 * x: x for x in range(count) if x not in guilty}


@pytest.mark.parametrize(
    ("nonsense", "message"),
    [
        (lambda config: "nothing", "TypeError: run_batch returned str, not a BatchResult"),
        (
            lambda config: BacktestResult({"score": "high"}),
            "TypeError: metric 'score' is no column",
        ),
        (lambda config: BatchResult({"score": [1.0] * (config.count + 1)}), "ValueError: metric"),
        (lambda config: sys.exit(3), "SystemExit: 3"),
    ],
)
def test_nonsense_is_the_failure_of_the_one_whose_batch_of_one_is_nonsense(nonsense, message):
    def spoil(config):
        return nonsense(config) if 3 in config.parameters["x"] else None

    with session_of(BatchEngine(spoil)) as server:
        batches = server.run_chunk(range(0, 20, 2))
        after = server.run_chunk([0])
    ((guilty, text),) = failures(batches).items()
    assert guilty == 6
    assert text.startswith(message)
    assert scores(batches) == {2 * x: x for x in range(10) if x != 3}
    assert scores(after) == {0: 0}


def test_what_is_known_is_sent_before_the_next_batch_runs():
    seen = threading.Event()

    def spoil(config):
        if config.count == 4:
            raise ValueError("too many")
        if config.parameters["x"][0] == 2:
            assert seen.wait(30), "the first half never arrived"

    with session_of(BatchEngine(spoil)) as server:
        server.send_chunk(range(0, 8, 2))
        first = server.next_outcomes()
        seen.set()
        second = server.next_outcomes()
    assert scores([first]) == {0: 0, 2: 1}
    assert scores([second]) == {4: 2, 6: 3}


def test_what_runs_apart_runs_in_batches_of_one():
    engine = BatchEngine(raises_at(2))
    with session_of(engine) as server:
        batches = server.run_chunk(range(0, 10, 2), apart=True)
    assert engine.sizes == [1] * 5
    assert failures(batches) == {4: "ValueError: no luck with [2]"}
    assert scores(batches) == {0: 0, 2: 1, 6: 3, 8: 4}


# What the words say.


class Witness:
    """Notes what the server sees while a batch runs."""

    def __init__(self, positions) -> None:
        self.positions = positions
        self.activity = None
        self.seen = []

    def __call__(self, config):
        self.look(config)
        for position in self.positions:
            config.begin(position)
            self.look(config)

    def look(self, config) -> None:
        running = self.activity.running()
        assert isinstance(running, Running)
        assert running.chunk_id == CHUNK_ID
        self.seen.append((config.count, running.offset))


def test_the_words_say_which_of_a_batch_runs_where_the_engine_says_so():
    witness = Witness([0, np.int64(3), None])
    with session_of(BatchEngine(witness)) as server:
        witness.activity = server.activity
        server.run_chunk(range(5))
        assert server.activity.running() is None
    assert witness.seen == [(5, None), (5, 0), (5, 3), (5, None)]


def test_a_halfs_positions_are_places_in_the_chunk_and_one_alone_is_always_named():
    witness = Witness([None])

    def spoil(config):
        config.begin(config.count - 1)
        witness.look(config)
        witness(config)
        if config.parameters["x"][-1] == 3:
            raise ValueError("unlucky")

    with session_of(BatchEngine(spoil)) as server:
        witness.activity = server.activity
        server.run_chunk([0, 2, 4, 6])
    assert witness.seen == [
        *[(4, 3), (4, 3), (4, None)],
        *[(2, 1), (2, 1), (2, None)],
        *[(2, 3), (2, 3), (2, None)],
        *[(1, 2), (1, 2), (1, 2)],
        *[(1, 3), (1, 3), (1, 3)],
    ]


@pytest.mark.parametrize("position", [-1, 1, 2**64 - 1])
def test_a_position_outside_of_the_batch_is_refused(position):
    def spoil(config):
        config.begin(position)

    with session_of(BatchEngine(spoil)) as server:
        batches = server.run_chunk([0])
    assert failures(batches) == {0: f"IndexError: begin({position}) in a batch of 1"}


class DrawingEngine:
    """Asked one by one; the odd ones of x draw."""

    def __init__(self):
        self.seeds = {}

    def run_sync(self, config):
        x = config.strategy.parameters["x"]
        self.seeds[x, config.strategy.parameters["mode"]] = config.seed
        return BacktestResult({"score": np.random.rand() + random.random() if x % 2 else x})


def test_an_engine_that_is_asked_one_by_one_draws_by_each_backtests_own_seed():
    engine = DrawingEngine()
    with session_of(engine) as server:
        in_order = scores(server.run_chunk(range(40)))
        backwards = scores(server.run_chunk(range(39, -1, -1)))
        apart = scores([each for index in range(40) for each in server.run_chunk([index])])
    assert in_order == backwards == apart
    assert len({score for index, score in in_order.items() if index // 2 % 2}) == 20
    seeds = BacktestSeeds(PLAN.seed, PLAN.defaults)
    assert engine.seeds[7, "b"] == seeds.of({"mode": "b", "x": 7})
    assert len(set(engine.seeds.values())) == 40


def test_an_engine_that_takes_batches_is_told_the_seed_of_each():
    engine = BatchEngine()
    with session_of(engine) as server:
        server.run_chunk([3, 15])
    (config,) = engine.batches
    seeds = BacktestSeeds(PLAN.seed, PLAN.defaults)
    values = {name: column[1] for name, column in config.parameters.items()}
    assert config.seed_of(values) == seeds.of({"x": 7, "mode": "b"})


def test_bars_come_as_a_file_with_their_plan_and_go_with_it(tmp_path):
    prices = 1.0 + np.arange(3)
    bars = Bars("SPY", np.arange(3), prices, prices, prices, prices, prices)
    plan = replace(PLAN, bar_headers={"SPY": BarsHeader(3)})
    engine = BatchEngine()
    with session_of(engine) as server:
        shared = SharedBarsFiles().share([bars], tmp_path)
        server.send_plan(plan, shared.fileno())
        shared.close()
        server.run_chunk([1, 2])
        (given,) = engine.batches[0].bars.values()
        assert given.close.tolist() == [1, 2, 3]
        known = weakref.ref(given)
        server.send_release()
        del given
        engine.batches.clear()
        server.send_plan(PLAN)
        server.run_chunk([1])
        assert engine.batches[0].bars is None
        assert known() is None
