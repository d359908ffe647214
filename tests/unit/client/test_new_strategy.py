"""`stratsweep new strategy`: what it writes is right as it stands, and what it refuses."""

from __future__ import annotations

import ast
import subprocess
import sysconfig
from pathlib import Path

import click.testing
import pytest
from stratsweep.cli import main
from stratsweep.cli.strategy_template import BUILT_IN_STRATEGIES, STRATEGY, TEST, name_problem
from stratsweep_server.backtest.default.strategies import BUILT_IN

ROOT = Path(__file__).parents[3]


@pytest.fixture
def new(tmp_path, monkeypatch):
    """Write a strategy in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def new(name: str) -> click.testing.Result:
        return click.testing.CliRunner().invoke(main, ["new", "strategy", name])

    return new


def run(*arguments: str) -> None:
    """Run an installed program in the current directory."""
    program = Path(sysconfig.get_path("scripts"), arguments[0])
    process = subprocess.run([program, *arguments[1:]], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


def test_the_written_test_passes_on_the_written_strategy(new, tmp_path):
    assert new("my_idea").exit_code == 0
    run("pytest", "-q", "-p", "no:cacheprovider")
    assert {path.name for path in tmp_path.glob("*.py")} == {"my_idea.py", "test_my_idea.py"}


def test_the_written_files_satisfy_the_linters(new):
    new("my_idea")
    config = ("--no-cache", "--config", str(ROOT / "pyproject.toml"))
    run("ruff", "format", *config, "--check", ".")
    run("ruff", "check", *config, "--ignore", "INP,S101,D103", ".")


def test_the_command_to_run_it_names_its_file_and_its_parameters(new):
    printed = new("my_idea").stdout
    assert printed.startswith("Wrote my_idea.py and test_my_idea.py.\n")
    (command,) = [line for line in printed.splitlines() if "optimize" in line]
    assert command.strip() == (
        "stratsweep optimize my_idea --strategies my_idea.py --param period=20:200:20 "
        "--param margin=0:0.04:0.01 --data prices --symbol SPY"
    )
    assert "pytest test_my_idea.py" in printed


@pytest.mark.parametrize("existing", ["my_idea.py", "test_my_idea.py"])
def test_nothing_is_overwritten_and_nothing_else_is_written_then(new, tmp_path, existing):
    (tmp_path / existing).write_text("mine")
    result = new("my_idea")
    assert result.exit_code == 2
    assert f"{existing} is there already" in result.stderr
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("my-idea", "is no name; use letters, digits and _"),
        ("my_idea.py", "is no name"),
        ("ideas/mine", "is no name"),
        ("2nd", "beginning with a letter"),
        ("__init__", "beginning with a letter"),
        ("größe", "is no name"),
        ("lambda", "is a word of Python"),
        ("len", "is a word of Python"),
        ("momentum", "is a built-in strategy"),
        ("Bars", "is a name that the files use"),
        ("numpy", "would hide the module numpy, which is installed"),
        ("random", "would hide the module random"),
        ("support", ""),
    ],
)
def test_a_name_is_that_of_a_function_and_of_no_other_module(new, tmp_path, name, problem):
    assert problem in name_problem(name)
    assert bool(problem) == bool(name_problem(name))
    if problem:
        result = new(name)
        assert result.exit_code == 2
        assert f"{name!r} {name_problem(name)}" in " ".join(result.stderr.split())
        assert list(tmp_path.iterdir()) == []


def test_the_built_in_strategies_are_known():
    assert set(BUILT_IN) == BUILT_IN_STRATEGIES


@pytest.mark.parametrize("template", [STRATEGY, TEST])
def test_every_name_that_the_files_bind_is_refused(template):
    bound = set()
    for node in ast.parse(template).body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            bound |= {each.asname or each.name for each in node.names}
        elif isinstance(node, ast.Assign):
            bound |= {each.id for each in node.targets}
        elif isinstance(node, ast.FunctionDef):
            bound.add(node.name)
    names = {name for name in bound if not name.startswith(("STRATEGY_NAME", "test_"))}
    assert names
    assert [name for name in names if not name_problem(name)] == []
