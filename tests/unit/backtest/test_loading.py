"""Loading engines and modules of strategies in a worker."""

import pickle
import sys
from dataclasses import replace
from unittest.mock import patch

import pytest
from stratsweep_server.backtest import (
    BacktestResult,
    EngineDescription,
    Metric,
    Strategy,
    registry,
)
from stratsweep_server.backtest.default import DefaultEngine
from stratsweep_server.backtest.loading import EngineLoadError, EngineSpec, describe, load_engine
from stratsweep_server.backtest.registry import declare

ENGINES = """
from stratsweep_server.backtest import BacktestResult

class Fixed:
    def run_sync(self, config):
        return BacktestResult({"score": 1.0})

class NotAnEngine:
    pass

class Nested:
    engine = Fixed

def build():
    return Fixed()

def broken():
    raise RuntimeError("no license")

instance = Fixed()
number = 3
"""

STRATEGIES = """
from stratsweep_server.backtest import strategy

@strategy
def mine(bars, level: float = 1.0):
    return bars.close * 0
"""


class Fixed:
    def run_sync(self, config):
        return BacktestResult({"score": 1.0})


@pytest.fixture(autouse=True)
def _modules(tmp_path, monkeypatch):
    """A current directory with modules in it; what they import and register is forgotten."""
    (tmp_path / "engines_here.py").write_text(ENGINES)
    (tmp_path / "strategies_here.py").write_text(STRATEGIES)
    (tmp_path / "clash_here.py").write_text(STRATEGIES.replace("mine", "sma_cross"))
    (tmp_path / "raising_here.py").write_text("raise RuntimeError('bad day')")
    (tmp_path / "exiting_here.py").write_text("raise SystemExit(3)")
    (tmp_path / "needing_here.py").write_text("import not_installed_at_all")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with patch.dict(registry._registered):
        yield
    for name in [name for name in sys.modules if name.endswith("_here")]:
        del sys.modules[name]


@pytest.mark.parametrize("factory", ["build", "Fixed", "Nested.engine", "instance"])
def test_an_engine_is_named_by_module_and_factory_from_the_current_directory(factory):
    engine = load_engine(EngineSpec(f"engines_here:{factory}"))
    assert engine.run_sync(None).metrics == {"score": 1.0}


@pytest.mark.parametrize("factory", [Fixed, Fixed()], ids=["class", "instance"])
def test_an_engine_is_given_as_a_class_or_an_instance(factory):
    assert isinstance(load_engine(EngineSpec(factory)), Fixed)


def test_the_default_engine_needs_no_name():
    assert isinstance(load_engine(EngineSpec()), DefaultEngine)


def test_strategy_modules_register_with_the_default_engine():
    engine = load_engine(EngineSpec(strategy_modules=("strategies_here",)))
    names = [strategy.name for strategy in describe(engine).strategies]
    assert "mine" in names
    assert "sma_cross" in names


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("engines_here", "not of the form module:factory.*current directory and PYTHONPATH"),
        (":build", "not of the form"),
        ("engines_here:", "not of the form"),
        ("nowhere:build", "no module 'nowhere'.*current directory.*PYTHONPATH"),
        ("engines_here.inner:build", "no module 'engines_here.inner'"),
        ("engines_here.py:build", "is a path; give the module's name instead: 'engines_here'"),
        ("./engines/mine.py:build", "is a path; give the module's name instead: 'engines.mine'"),
        ("engines/mine:build", "is a path; give the module's name instead: 'engines.mine'"),
        ("engines_here:biuld", "has no 'biuld'; it has build, Fixed"),
        ("engines_here:broken", "factory 'engines_here:broken' raised RuntimeError: no license"),
        ("engines_here:NotAnEngine", "returned an object of type NotAnEngine.*run_sync"),
        ("engines_here:number", "of type int: neither a factory to call nor an object"),
        ("raising_here:build", "'raising_here' cannot be imported: RuntimeError: bad day"),
        ("exiting_here:build", "'exiting_here' cannot be imported: SystemExit: 3"),
        ("needing_here:build", "cannot be imported: No module named 'not_installed_at_all'"),
        ("raising_here:", "not of the form"),
        (3, "of type int: neither a factory to call nor an object"),
    ],
)
def test_an_engine_that_cannot_be_loaded_says_what_to_change(factory, message):
    with pytest.raises(EngineLoadError, match=message):
        load_engine(EngineSpec(factory))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("nowhere", "no module 'nowhere'"),
        ("strategies_here.py", "give the module's name instead: 'strategies_here'"),
        ("raising_here", "cannot be imported: RuntimeError: bad day"),
        ("clash_here", "'sma_cross' of module 'clash_here' is already registered"),
    ],
)
def test_a_strategy_module_that_cannot_be_imported_says_what_to_change(module, message):
    with pytest.raises(EngineLoadError, match=message):
        load_engine(EngineSpec(strategy_modules=(module,)))


def test_strategy_modules_with_another_engine_are_refused():
    with pytest.raises(EngineLoadError, match=r"strategies_here.*are for the default engine"):
        load_engine(EngineSpec("engines_here:build", ("strategies_here",)))


def mine(bars, level: float = 1.0):
    return bars.close * 0


def test_strategies_are_given_as_functions_too():
    engine = load_engine(EngineSpec(strategies=(declare(mine),)))
    assert "mine" in [strategy.name for strategy in describe(engine).strategies]
    with pytest.raises(EngineLoadError, match=r"\(strategies_here, mine\) are for the default"):
        load_engine(EngineSpec(Fixed, ("strategies_here",), (declare(mine),)))


def test_a_function_with_the_name_of_another_strategy_is_refused():
    free = declare(mine)
    taken = replace(free, declaration=replace(free.declaration, name="sma_cross"))
    with pytest.raises(EngineLoadError, match=r"'sma_cross' of module .* is already registered by"):
        load_engine(EngineSpec(strategies=(taken,)))


def test_a_spec_and_its_errors_travel_to_another_process():
    spec = EngineSpec("engines_here:build", ())
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert str(pickle.loads(pickle.dumps(EngineLoadError("text")))) == "text"


def test_only_the_servers_own_engine_is_the_default():
    assert EngineSpec().is_default
    assert not EngineSpec("engines_here:build").is_default
    assert not EngineSpec(Fixed).is_default


def test_an_engine_without_description_declares_nothing():
    assert describe(Fixed()) == EngineDescription()


class Describing(Fixed):
    def __init__(self, answer):
        self.answer = answer

    def describe(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_description_is_passed_on():
    description = EngineDescription(strategies=(Strategy("a"),), metrics=(Metric("score"),))
    assert describe(Describing(description)) is description


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "returned an object of type NoneType, not an EngineDescription"),
        (RuntimeError("no"), "raised RuntimeError: no"),
        (EngineDescription(strategies=("a",)), r"\.strategies has an item of type str"),
        (EngineDescription(metrics=(Strategy("a"),)), "item of type Strategy, not Metric"),
        (EngineDescription(metrics=(Metric("a"), Metric("a"))), "metrics names 'a' twice"),
        (EngineDescription(strategies=None), "strategies is of type NoneType, not a tuple"),
    ],
)
def test_a_description_that_is_none_is_refused(answer, message):
    with pytest.raises(EngineLoadError, match=message):
        describe(Describing(answer))
