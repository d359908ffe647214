"""What `import stratsweep` offers, and what it costs."""

import inspect
import re
import subprocess
import sys

import pytest
import stratsweep

EXPORTED = {
    "AsyncClient",
    "AsyncOptimizationStream",
    "BacktestFailure",
    "Client",
    "DeadlineExceededError",
    "DoubleRange",
    "FailureKind",
    "IntegerRange",
    "InputsChangedError",
    "InvalidConfigError",
    "MarketDataSummary",
    "Metric",
    "MetricUnit",
    "NotFoundError",
    "Optimization",
    "OptimizationCancelledError",
    "OptimizationConfig",
    "OptimizationDirection",
    "OptimizationEvent",
    "OptimizationExistsError",
    "OptimizationResult",
    "OptimizationRunningError",
    "OptimizationStarted",
    "OptimizationState",
    "OptimizationStream",
    "Outcome",
    "ParameterResult",
    "ParameterType",
    "ParameterValue",
    "Progress",
    "RepeatCheck",
    "RepeatDifference",
    "ResultList",
    "RunOptions",
    "ServerBusyError",
    "ServerError",
    "ServerInfo",
    "ServerProcess",
    "ServerStartError",
    "ServerUnavailableError",
    "Source",
    "Strategy",
    "StrategyList",
    "StrategyParameter",
    "StratsweepError",
    "StreamInterruptedError",
    "Symbol",
    "SymbolResult",
    "VersionMismatchWarning",
    "Violation",
    "__version__",
}


def test_the_exported_names_are_these():
    assert set(stratsweep.__all__) == EXPORTED
    assert all(hasattr(stratsweep, name) for name in EXPORTED)


def documented():
    """Every exported class and function, and the public methods and properties of these."""
    for name in sorted(EXPORTED):
        exported = getattr(stratsweep, name)
        if not (inspect.isclass(exported) or inspect.isfunction(exported)):
            continue  # a type's other name, or the version
        yield pytest.param(exported, id=name)
        for member, value in vars(exported).items():
            is_public = not member.startswith("_")
            if is_public and (inspect.isfunction(value) or isinstance(value, property)):
                yield pytest.param(value, id=f"{name}.{member}")


@pytest.mark.parametrize("exported", list(documented()))
def test_what_is_exported_says_in_a_sentence_what_it_does(exported):
    text = inspect.cleandoc(exported.__doc__ or "")
    assert re.match(r"[A-Z].*\.(\n\n|$)", text), text


def test_the_modules_of_the_clients_are_there_without_an_import_of_their_own():
    code = "import stratsweep; print(stratsweep.client.Client, stratsweep.async_client.AsyncClient)"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout == f"{stratsweep.Client} {stratsweep.AsyncClient}\n"


def test_every_error_is_a_stratsweep_error():
    errors = [name for name in EXPORTED if name.endswith("Error")]
    assert all(issubclass(getattr(stratsweep, name), stratsweep.StratsweepError) for name in errors)


def test_the_error_tree_in_the_docstring_is_complete():
    errors = [name for name in EXPORTED if name.endswith("Error")]
    assert all(name in stratsweep.errors.__doc__ for name in errors)


def test_importing_the_client_imports_nothing_heavy():
    heavy = {"numpy", "polars", "pandas", "pyarrow", "nanoarrow", "rich", "numba"}
    heavy |= {"stratsweep_server"}
    code = (
        "import sys, stratsweep, stratsweep.cli; "
        f"print(sorted({heavy} & {{name.partition('.')[0] for name in sys.modules}}))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"
