"""What an engine is built from, on its way to a worker."""

import functools
import subprocess
import sys
import threading
from importlib.metadata import version

import numpy as np
import pytest
from stratsweep_server.backtest import BacktestResult, Bars, Integers, indicator
from stratsweep_server.backtest.loading import EngineLoadError, EngineSpec
from stratsweep_server.backtest.registry import declare
from stratsweep_server.execution.packed_engine import pack_engine, unpack_engine
from stratsweep_server.execution.pool import WorkerPool

from tests.engines import ScriptedEngine

LOCK = threading.Lock()
FACTOR = 2.0


def travelled(spec):
    """What another process makes of it, where this module is not imported."""
    packed = pack_engine(spec)
    code = (
        "import sys\n"
        "from stratsweep_server.execution.packed_engine import unpack_engine\n"
        "from stratsweep_server.backtest.loading import load_engine\n"
        "engine = load_engine(unpack_engine(sys.stdin.buffer.read()))\n"
        "print(engine.run_sync(None).metrics)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], input=packed.data, capture_output=True, check=False
    )
    assert not process.stderr, process.stderr.decode()
    return process.stdout.decode().strip()


def local_engine():
    """A class that no module has, so that it is sent by value."""

    class Local:
        def run_sync(self, config):
            return BacktestResult({"score": FACTOR * np.float64(3)})

    return Local


def test_an_engine_that_no_module_has_travels_with_the_globals_that_it_uses():
    assert "'score':" in travelled(EngineSpec(local_engine()))
    assert "6.0" in travelled(EngineSpec(local_engine()()))


def test_an_engine_of_a_module_travels_as_its_name():
    packed = pack_engine(EngineSpec(ScriptedEngine))
    assert b"tests.engines" in packed.data
    assert unpack_engine(packed.data) == EngineSpec(ScriptedEngine)


def test_names_travel_as_they_are():
    for spec in (EngineSpec(), EngineSpec("module:factory"), EngineSpec("default", ("mine",))):
        packed = pack_engine(spec)
        assert unpack_engine(packed.data) == spec
        assert packed.is_default == spec.is_default


def test_a_strategy_travels_with_its_declaration_and_its_indicators_without_their_columns():
    @indicator
    def mean_close(bars: Bars, period: int):
        return np.full(len(bars), FACTOR * period)

    def above(bars: Bars, period: Integers = 5):
        means = mean_close(bars, period)
        return bars.close > means.table[means.rows]

    prices = np.array([1.0, 2.0, 30.0])
    bars = Bars("A", np.arange(3), prices, prices, prices, prices, prices)
    expected = above(bars, 5).tolist()
    (strategy,) = unpack_engine(
        pack_engine(EngineSpec(strategies=(declare(above),))).data
    ).strategies
    assert strategy.declaration == declare(above).declaration
    assert strategy.is_vectorized
    assert strategy.function is not above
    assert np.asarray(strategy.decide(bars, {"period": 5})).tolist() == expected[0]


class HoldsALock:
    def __init__(self):
        self.fine, self.lock = 1, threading.Lock()

    def run_sync(self, config):
        return BacktestResult({})


def uses_a_global():
    class Local:
        def fine(self):
            return FACTOR

        def run_sync(self, config):
            return [LOCK for _ in range(2)]

    return Local


def an_object():
    return uses_a_global()()


def uses_a_closure():
    lock = threading.Lock()

    class Local:
        def run_sync(self, config):
            return Local, lock

    return Local


def inherits():
    class Child(uses_a_global()):
        pass

    return Child


def has_an_attribute():
    class Local:
        lock = threading.Lock()

    return Local


def strategy_with_a_lock(bars):
    return LOCK


strategy_with_a_lock.__module__ = "__main__"


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (HoldsALock, "engine 'HoldsALock' .*: 'lock' in 'HoldsALock' cannot"),
        (uses_a_global, "engine 'Local' .*: 'LOCK' in 'Local.run_sync' cannot"),
        (an_object, "engine 'Local' .*: 'LOCK' in 'Local.run_sync' cannot"),
        (uses_a_closure, "engine 'Local' .*: 'lock' in 'Local.run_sync' cannot"),
        (inherits, "engine 'Child' .*: 'LOCK' in 'Child.Local.run_sync' cannot"),
        (has_an_attribute, "engine 'Local' .*: 'lock' in 'Local' cannot"),
        (lambda: lambda: LOCK, "engine '<lambda>' .*: 'LOCK' in '<lambda>' cannot"),
        (lambda: functools.partial(uses_a_global()), "'LOCK' in 'partial.Local.run_sync' cannot"),
        (threading.Lock, "engine 'lock' .*: it cannot"),
        (lambda: (each for each in [1]), "engine '<genexpr>' .*: it cannot"),
    ],
)
def test_what_cannot_be_sent_is_named_in_one_line_with_what_to_do(make, what):
    with pytest.raises(EngineLoadError, match=what) as caught:
        pack_engine(EngineSpec(make()))
    text = str(caught.value)
    assert "cannot be sent to worker processes" in text
    assert "create it in the engine's __init__ and give the class, or put the engine into" in text
    assert "\n" not in text
    assert caught.value.__suppress_context__


def test_a_strategy_that_cannot_be_sent_is_named_too():
    strategies = (declare(strategy_with_a_lock),)
    with pytest.raises(EngineLoadError, match=r"strategy 'strategy_with_a_lock' .*: 'LOCK' in"):
        pack_engine(EngineSpec(strategies=strategies))


async def test_what_cannot_be_sent_is_refused_before_anything_is_started(tmp_path):
    pool = WorkerPool(EngineSpec(HoldsALock()), directory=tmp_path)
    with pytest.raises(EngineLoadError, match="'lock' in 'HoldsALock'"):
        await pool.__aenter__()
    assert list(tmp_path.iterdir()) == []
    assert pool.slots == ()


def test_what_a_worker_cannot_import_is_said_in_one_line():
    data = pack_engine(EngineSpec(ScriptedEngine)).data.replace(b"tests.engines", b"never.engines")
    with pytest.raises(EngineLoadError, match="No module named 'never'; its module must be") as one:
        unpack_engine(data)
    assert "\n" not in str(one.value)


SCRIPT = """
import sys
from stratsweep_server.backtest import BacktestResult
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution.packed_engine import pack_engine

class Engine:
    level = {level}
    def run_sync(self, config):
        return BacktestResult({{"score": helper(self.level)}})

def helper(level):
    return level * 2

for spec in (EngineSpec(Engine), EngineSpec(Engine())):
    print(pack_engine(spec).inputs["given objects"])
"""


def digests_in_a_new_process(level: int) -> str:
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(level=level)],
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout


def test_what_is_given_by_value_has_one_digest_in_every_process_and_another_after_a_change():
    first = digests_in_a_new_process(level=1)
    assert len(set(first.split())) == 2
    assert digests_in_a_new_process(level=1) == first
    assert digests_in_a_new_process(level=2) != first


def test_an_engine_is_known_by_its_name_and_ours_by_its_version_too():
    assert pack_engine(EngineSpec()).inputs == {"engine": f"default {version('stratsweep')}"}
    assert pack_engine(EngineSpec("mine:Engine")).inputs == {"engine": "mine:Engine"}
    assert pack_engine(EngineSpec(ScriptedEngine)).inputs["engine"] == "ScriptedEngine"
