"""Fingerprints of what real worker processes load: the same after a restart, or it is said why."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from stratsweep_server.backtest import BacktestResult
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution.pool import WorkerPool
from stratsweep_server.market_data.bars import Bars
from stratsweep_server.optimization.fingerprint import differences, fingerprint_of

from tests.waiting import until

ENGINE = """
from stratsweep_server.backtest import BacktestResult
from helper import scale

class Engine:
    def run_sync(self, config):
        import imported_late
        return BacktestResult({"score": scale(imported_late.LEVEL)})
"""
FILES = {
    "fingerprinted.py": ENGINE,
    "helper.py": "def scale(x):\n    return 2 * x\n",
    "imported_late.py": "from deep.constants import LEVEL\n",
    "deep/__init__.py": "",
    "deep/constants.py": "LEVEL = 1.0\n",
}


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Path:
    """The current directory, with an engine that imports a helper at once, and others late."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bars_of(symbol: str, closes: list[float]) -> Bars:
    prices = np.array(closes)
    return Bars(symbol, np.arange(len(prices)), prices, prices, prices, prices, prices)


SPY, QQQ = bars_of("SPY", [1.0, 2.0]), bars_of("QQQ", [3.0, 4.0])


async def fingerprint(
    engine: object = "fingerprinted:Engine", bars: tuple[Bars, ...] = (), **options
) -> dict[str, str]:
    """The fingerprint that a server which starts now has."""
    async with WorkerPool(EngineSpec(engine, **options), max_workers=1) as pool:
        await pool.describe_engine()
        shared = pool.share(bars) if bars else None
        found = fingerprint_of(pool.generation, shared.digests if shared else {})
        if shared:
            shared.close()
        return found


async def test_a_restart_on_the_same_things_changes_nothing(desk):
    before = await fingerprint(bars=(SPY, QQQ))
    for name in FILES:
        (desk / name).touch()
    assert differences(before, await fingerprint(bars=(SPY, QQQ))) == []


async def test_all_that_outcomes_depend_on_is_named(desk):
    found = await fingerprint(bars=(SPY,))
    modules = ("deep", "deep.constants", "fingerprinted", "helper", "imported_late")
    assert {name for name in found if name.startswith("module ")} == {
        f"module {name}" for name in modules
    }
    assert found["engine"] == "fingerprinted:Engine"
    assert found["numpy"] == version("numpy")
    assert {"bars SPY", "python", "instruction set"} <= found.keys()


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("fingerprinted.py", "fingerprinted"),
        ("helper.py", "helper"),
        ("imported_late.py", "imported_late"),
        ("deep/constants.py", "deep.constants"),
    ],
)
async def test_an_edited_module_is_named_be_it_imported_at_once_or_late(desk, file, module):
    before = await fingerprint()
    (desk / file).write_text(FILES[file] + "\n# edited\n")
    assert differences(before, await fingerprint()) == [f"the module {module} has changed"]


async def test_other_prices_are_named_by_their_symbol(desk):
    before = await fingerprint(bars=(SPY, QQQ))
    after = await fingerprint(bars=(bars_of("SPY", [1.0, 2.5]), QQQ))
    assert differences(before, after) == ["the bars of SPY have changed"]


async def test_strategies_of_the_default_engine_are_told_apart(tmp_path):
    (tmp_path / "trend.py").write_text(
        "from stratsweep_server.backtest import strategy, Bars, Integers\n"
        "@strategy\n"
        "def trend(bars: Bars, length: Integers = 3):\n"
        '    """Long."""\n'
        "    return bars.close * length\n"
    )
    modules = (str(tmp_path / "trend.py"),)
    before = await fingerprint("default", strategy_modules=modules)
    assert before["engine"] == f"default {version('stratsweep')}"
    assert {"numba", "numpy", "module trend"} <= before.keys()
    (tmp_path / "trend.py").write_text((tmp_path / "trend.py").read_text() + "# edited\n")
    after = await fingerprint("default", strategy_modules=modules)
    assert differences(before, after) == ["the module trend has changed"]


def engine_of_level(level: float) -> Callable[[], object]:
    class Engine:
        def run_sync(self, config):
            return BacktestResult({"score": level})

    return Engine


async def test_an_engine_that_is_given_by_value_is_known_by_its_value():
    before = await fingerprint(engine_of_level(1.0))
    assert differences(before, await fingerprint(engine_of_level(1.0))) == []
    after = await fingerprint(engine_of_level(2.0))
    assert differences(before, after) == ["what was given as functions or as an engine has changed"]


async def test_a_reload_has_a_fingerprint_of_its_own_and_what_runs_keeps_its_old_one(desk):
    async with WorkerPool(EngineSpec("fingerprinted:Engine"), max_workers=1) as pool:
        await pool.describe_engine()
        old = pool.generation
        before = fingerprint_of(old, {})
        (desk / "helper.py").write_text("def scale(x):\n    return 3 * x\n")
        pool.reload()
        await until(lambda: pool.generation is not old, "it is loaded anew")
        assert fingerprint_of(old, {}) == before
        after = fingerprint_of(pool.generation, {})
        assert differences(before, after) == ["the module helper has changed"]
