"""Loading engines and modules of strategies in a worker."""

import pickle
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from stratsweep_server.backtest import (
    BacktestResult,
    EngineDescription,
    Metric,
    OptimizationDirection,
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
        ("engines_here", "not of the form module:factory or file.py:factory"),
        ("engines_here.py", "not of the form module:factory or file.py:factory"),
        (":build", "not of the form"),
        ("engines_here:", "not of the form"),
        ("nowhere:build", "no module 'nowhere'.*current directory.*PYTHONPATH"),
        ("engines_here.inner:build", "no module 'engines_here.inner'"),
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
        ("raising_here", "cannot be imported: RuntimeError: bad day"),
        ("clash_here", "'sma_cross' of module 'clash_here' is already registered"),
    ],
)
def test_a_strategy_module_that_cannot_be_imported_says_what_to_change(module, message):
    with pytest.raises(EngineLoadError, match=message):
        load_engine(EngineSpec(strategy_modules=(module,)))


PATHS = [
    "lone_here.py",
    "./lone_here.py",
    "some ideas/my trend-following_here.py",
    "{cwd}/some ideas/../lone_here.py",
]


@pytest.mark.parametrize("path", PATHS)
def test_an_engine_and_strategies_are_named_by_the_path_of_their_file(tmp_path, path):
    path = path.format(cwd=tmp_path)
    (tmp_path / "some ideas").mkdir()
    Path(path).write_text(ENGINES + STRATEGIES)
    assert load_engine(EngineSpec(f"{path}:Nested.engine")).run_sync(None)
    names = names_of(load_engine(EngineSpec(strategy_modules=(path, path))))
    assert "mine" in names


def test_a_file_finds_those_beside_it_as_a_script_does_at_once_and_later(tmp_path):
    ideas = tmp_path / "ideas"
    ideas.mkdir()
    for folder, level in [(tmp_path, 1), (ideas, 2)]:
        (folder / "level_here.py").write_text(f"LEVEL = {level}")
    (ideas / "late_here.py").write_text("")
    text = "import level_here\ndef build():\n    import late_here\n    return Fixed()\n"
    (ideas / "own_here.py").write_text(ENGINES + text)
    before = [*sys.path]
    assert load_engine(EngineSpec("ideas/own_here.py:build")).run_sync(None)
    assert sys.modules["level_here"].LEVEL == 2
    assert sys.path == [*before, str(ideas)]


def test_a_file_of_a_package_is_the_module_that_it_is_there(tmp_path):
    (tmp_path / "pack_here").mkdir()
    (tmp_path / "pack_here/__init__.py").write_text("")
    (tmp_path / "pack_here/level.py").write_text("LEVEL = 3")
    (tmp_path / "pack_here/trend.py").write_text("from .level import LEVEL" + STRATEGIES)
    load_engine(EngineSpec(strategy_modules=("pack_here/trend.py", "pack_here.trend")))
    assert registry.registered_strategies()["mine"].declaration.module == "pack_here.trend"
    for name in ("pack_here.level", "pack_here.trend"):
        del sys.modules[name]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("strategys_here.py", r"no file .*/strategys_here.py; the nearest there: strategies_here"),
        ("nowhere/mine.py", "there is no file .*/nowhere/mine.py$"),
        ("nowhere/mine", r"'nowhere/mine' cannot be imported: there is no such file \(/.*/mine"),
        ("ideas_here", "is a directory without __init__.py.*a module in it, ideas_here.NAME"),
        ("nothing", "there is no module 'nothing'.*a file is named by its path, with .py"),
        ("./ideas_here", "'./ideas_here' cannot be imported: it is a directory; give a file in it"),
        ("folder_here.py", "'folder_here.py' cannot be imported: it is a directory"),
        ("./notes.txt", "'./notes.txt' cannot be imported: its name does not end with .py"),
        ("a.b_here.py", "there is a dot in its name, which no module can have; rename it"),
        ("raising_here.py", "'raising_here.py' cannot be imported: RuntimeError: bad day"),
        ("needing_here.py", "cannot be imported: No module named 'not_installed_at_all'"),
        ("./colorsys.py", "another module is named 'colorsys', too .*/colorsys.py.*rename one"),
        ("time.py", "another module is named 'time', too .a part of Python"),
        ("twin_here.py", "another module is named 'twin_here', too .*/twin_here/__init__.py"),
    ],
)
def test_a_path_that_names_no_module_says_what_to_change(tmp_path, path, message):
    import colorsys  # noqa: F401

    (tmp_path / "ideas_here").mkdir()
    (tmp_path / "folder_here.py").mkdir()
    (tmp_path / "twin_here").mkdir()
    for file in ("a.b_here.py", "colorsys.py", "time.py", "notes.txt", "twin_here.py"):
        (tmp_path / file).write_text("")
    (tmp_path / "twin_here/__init__.py").write_text("")
    with pytest.raises(EngineLoadError, match=message):
        load_engine(EngineSpec(strategy_modules=(path,)))


def test_two_files_of_one_name_cannot_both_be_loaded(tmp_path):
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same_here.py").write_text("")
    paths = ("first/same_here.py", "second/same_here.py")
    with pytest.raises(EngineLoadError, match=r"'second/same_here.py' .*first/same_here.py"):
        load_engine(EngineSpec(strategy_modules=paths))


def names_of(engine) -> list[str]:
    return [strategy.name for strategy in describe(engine).strategies]


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
        (
            EngineDescription(metrics=(Metric("a", unit="percent"),)),
            "the unit of 'a' is 'percent', not a MetricUnit",
        ),
        (
            EngineDescription(metrics=(Metric("a", best_direction=OptimizationDirection.BEST),)),
            "the best_direction of 'a' is .*BEST.*; say OptimizationDirection.MAXIMIZE, MINIMIZE",
        ),
        (EngineDescription(strategies=None), "strategies is of type NoneType, not a tuple"),
    ],
)
def test_a_description_that_is_none_is_refused(answer, message):
    with pytest.raises(EngineLoadError, match=message):
        describe(Describing(answer))
