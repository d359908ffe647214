"""The import rules of the design, held by reading the source and by looking at fresh processes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CLIENT = REPOSITORY / "client"
SERVER = REPOSITORY / "server"
GENERATED = CLIENT / "stratsweep" / "v1"

FLOORS = ["rpc", "storage", "optimization", "execution", "backtest", "market_data", "arrow"]
"""Each may import the ones after it; the first two know nothing of each other."""
TOP = {"app", "config", "keeping", "logs", "options", "__main__"}
"""Above the floors; `config` is data that `app` wires."""
BENEATH = {"texts"}
"""Beneath the floors: they may all import it, and it imports none of them."""
MAX_FUNCTION_LINES = 60


@dataclass(frozen=True)
class Import:
    """One imported module, by its absolute name."""

    module: str
    is_lazy: bool
    is_for_types: bool


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def floor(self) -> str:
        """The part of `stratsweep_server` that it belongs to; empty for the package itself."""
        return (*self.name.split("."), "")[1]

    def imports(self) -> Iterator[Import]:
        """What it imports, inside functions too; `from a import b` counts as `a` and as `a.b`."""
        lazy = {node for function in functions_of(self.tree) for node in ast.walk(function)}
        for_types = {
            node
            for block in ast.walk(self.tree)
            if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
            for statement in block.body
            for node in ast.walk(statement)
        }
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, node in lazy, node in for_types)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name} has a relative import"
                for name in (node.module, *(f"{node.module}.{each.name}" for each in node.names)):
                    yield Import(name, node in lazy, node in for_types)


def functions_of(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def modules_of(root: Path) -> list[Module]:
    """Every handwritten module under `client` or `server`."""
    modules = []
    for path in sorted(root.rglob("*.py")):
        if not path.is_relative_to(GENERATED):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts).removesuffix(".__init__")
            modules.append(Module(name, path, ast.parse(path.read_text())))
    return modules


CLIENT_MODULES = modules_of(CLIENT)
SERVER_MODULES = modules_of(SERVER)
MODULES = CLIENT_MODULES + SERVER_MODULES


def is_of(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def modules_after(code: str) -> set[str]:
    """What a fresh interpreter has imported after running a line of code."""
    process = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(process.stdout.split())


def loaded_of(loaded: set[str], *packages: str) -> list[str]:
    return sorted(module for module in loaded if is_of(module, *packages))


def test_the_rules_have_something_to_hold():
    assert {module.floor for module in SERVER_MODULES} == {"", *FLOORS, *TOP, *BENEATH}
    assert len(CLIENT_MODULES) > 10


@pytest.mark.parametrize("floor", [*FLOORS, *BENEATH])
def test_arrows_between_the_floors_point_one_way(floor):
    above = [*TOP, *(FLOORS if floor in BENEATH else FLOORS[: FLOORS.index(floor)])]
    forbidden = [f"stratsweep_server.{other}" for other in above]
    if floor == "rpc":
        forbidden.append("stratsweep_server.storage")
    wrong = [
        f"{module.name} imports {each.module}"
        for module in SERVER_MODULES
        if module.floor == floor
        for each in module.imports()
        if is_of(each.module, *forbidden)
    ]
    assert wrong == []


def test_only_the_rpc_floor_and_app_import_grpc_and_the_contract():
    wrong = [
        f"{module.name} imports {each.module}"
        for module in SERVER_MODULES
        if module.floor not in {"rpc", "app"}
        for each in module.imports()
        if is_of(each.module, "grpc", "grpc_health", "grpc_reflection", "grpc_status", "google")
        or is_of(each.module, "stratsweep")
    ]
    assert wrong == []


def test_main_imports_the_server_inside_functions_only():
    # The fork server is started before anything heavy is imported. The options come before it.
    main, options = (
        next(module for module in SERVER_MODULES if module.floor == name)
        for name in ("__main__", "options")
    )
    of_server = [each for each in main.imports() if is_of(each.module, "stratsweep_server")]
    assert of_server
    assert all(each.is_lazy or is_of(each.module, options.name) for each in of_server)
    assert not any(is_of(each.module, "stratsweep_server") for each in options.imports())


def test_a_worker_imports_neither_grpc_nor_polars_nor_the_floors_above():
    loaded = modules_after("import stratsweep_server.execution.worker")
    above = [f"stratsweep_server.{name}" for name in ("rpc", "optimization", *TOP)]
    assert "stratsweep_server.execution.worker" in loaded
    assert loaded_of(loaded, "grpc", "google", "polars", "loky", "stratsweep", *above) == []
    assert loaded_of(loaded, "numba", "talib") == [], "an engine of the user's does not need these"


def test_the_default_engine_adds_neither_grpc_nor_polars_to_a_worker():
    loaded = modules_after("import stratsweep_server.backtest.default")
    assert "numba" in loaded
    assert loaded_of(loaded, "grpc", "google", "polars", "pandas") == []


def test_the_main_program_is_light_until_it_has_started_the_fork_server():
    loaded = modules_after("import stratsweep_server.__main__")
    assert loaded_of(loaded, "grpc", "google", "polars", "numpy", "numba") == []


def test_the_optimizer_works_without_grpc():
    loaded = modules_after("import stratsweep_server.optimization")
    assert loaded_of(loaded, "grpc", "google", "stratsweep") == []


def test_the_client_imports_nothing_of_the_server():
    wrong = [
        f"{module.name} imports {each.module}"
        for module in CLIENT_MODULES
        for each in module.imports()
        if is_of(each.module, "stratsweep_server")
    ]
    assert wrong == []


def test_no_module_of_the_client_imports_itself_by_way_of_others():
    names = {module.name for module in CLIENT_MODULES}
    graph = {
        module.name: names.intersection(
            each.module for each in module.imports() if not (each.is_lazy or each.is_for_types)
        )
        for module in CLIENT_MODULES
    }
    assert "stratsweep.outcomes" in graph["stratsweep.events"]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_importing_the_client_is_light():
    loaded = modules_after("import stratsweep; stratsweep.Client")
    assert "grpc" in loaded
    assert loaded_of(loaded, "numpy", "pandas", "polars", "stratsweep_server") == []


def test_the_command_line_loads_grpc_after_it_has_started_a_private_server():
    loaded = modules_after("import stratsweep.cli")
    assert loaded_of(loaded, "grpc", "google", "asyncio", "rich", "numpy") == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_every_module_says_what_it_is_for(module):
    text = ast.get_docstring(module.tree)
    assert text, f"{module.path} has no docstring"
    assert text.splitlines()[0].endswith((".", ":", "?", "!")), "the first line is a sentence"


def test_no_function_is_longer_than_a_screen():
    wrong = [
        f"{module.path}:{function.lineno} {function.name} has {lines} lines"
        for module in MODULES
        for function in functions_of(module.tree)
        if (lines := function.end_lineno - function.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert wrong == []
