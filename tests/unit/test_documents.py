"""The documents name what there is: files, commands, options, strategies, metrics."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from stratsweep.cli import main as command_line
from stratsweep.cli.exit_codes import ExitCode
from stratsweep_server.__main__ import main as server_command_line
from stratsweep_server.backtest import Strategy, StrategyParameter
from stratsweep_server.backtest.default import DefaultEngine
from stratsweep_server.backtest.default.strategies import BUILT_IN

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
PACKAGES = [ROOT, ROOT / "server" / "stratsweep_server", ROOT / "client" / "stratsweep"]


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def section(document: str, title: str) -> str:
    """The text under a heading, up to the next one of the same level."""
    _, found, rest = text_of(document).partition(f"\n## {title}\n")
    assert found, f"{document} has no section {title!r}"
    return rest.partition("\n## ")[0]


def rows_of(document: str, title: str) -> list[str]:
    """The rows of a section's tables that begin with a name in backticks."""
    return [line for line in section(document, title).splitlines() if line.startswith("| `")]


def strategy_row(strategy: Strategy) -> str:
    """The README's row of a strategy."""
    parameters = ", ".join(map(_parameter_text, strategy.parameters)) or "none"
    return f"| `{strategy.name}` | {strategy.description} | {parameters} |"


def _parameter_text(parameter: StrategyParameter) -> str:
    default = parameter.default
    shown = str(default).lower() if isinstance(default, bool) else f"{default:g}"
    if parameter.minimum is None:
        return f"`{parameter.name}` {shown}"
    return f"`{parameter.name}` {shown} ({parameter.minimum:g} to {parameter.maximum:g})"


def anchor(heading: str) -> str:
    return "#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document):
    text = text_of(document)
    anchors = {anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    links = re.findall(r"\]\(([^)]+)\)", text)
    for link in links:
        is_here = link in anchors if link.startswith("#") else (ROOT / link).exists()
        assert is_here or link.startswith("https://"), link


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_file_that_is_named_exists(document):
    names = re.findall(r"`([\w./-]+(?:/|\.(?:py|proto|txt|md|yaml|toml)))`", text_of(document))
    assert names
    missing = [name for name in names if not any((base / name).exists() for base in PACKAGES)]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_that_is_named_exists(document):
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)(?=[`\s])", text_of(document))) <= targets


def test_the_readme_defines_every_metric_as_the_engine_does():
    metrics = DefaultEngine().describe().metrics
    assert rows_of("README.md", "Metrics") == [
        f"| `{metric.name}` | {metric.description} |" for metric in metrics
    ]


def test_the_readme_has_every_strategy_with_its_parameters_defaults_and_bounds():
    declared = DefaultEngine().describe().strategies
    built_in = [strategy for strategy in declared if strategy.name in BUILT_IN]
    assert rows_of("README.md", "Strategies") == [strategy_row(each) for each in built_in]


@pytest.mark.parametrize(
    ("title", "command"),
    [("Command line", command_line.commands["optimize"]), ("Server", server_command_line)],
)
def test_the_readme_has_every_option_and_no_other(title: str, command: click.Command):
    documented = set(re.findall(r"`(--[\w-]+)", " ".join(rows_of("README.md", title))))
    options = {each.opts[0] for each in command.params if isinstance(each, click.Option)}
    assert documented == options


def test_the_readme_has_every_exit_code():
    table = re.findall(r"^\| (\d+) \|", section("README.md", "Command line"), re.MULTILINE)
    assert [int(code) for code in table] == [code.value for code in ExitCode]
