"""The documents name what there is: files, commands, options, strategies, metrics."""

from __future__ import annotations

import re

import click
import pytest
from stratsweep.cli import main as command_line
from stratsweep.cli.exit_codes import ExitCode
from stratsweep_server.__main__ import main as server_command_line
from stratsweep_server.backtest import OptimizationDirection, Strategy, StrategyParameter
from stratsweep_server.backtest.default import DefaultEngine
from stratsweep_server.backtest.default.strategies import BUILT_IN
from stratsweep_server.market_data.importing.__main__ import main as import_command_line
from stratsweep_server.market_data.importing.layouts import LAYOUTS

from tests.documents import DOCUMENTS, PAGES, README, ROOT, Document

README_MAX_LINES = 200
COMMAND_LINE = Document("docs/command-line.md")
SERVER = Document("docs/server.md")
ARCHITECTURE = Document("ARCHITECTURE.md")
CONTRIBUTING = Document("CONTRIBUTING.md")
DECISIONS = [each for each in DOCUMENTS if each.name.startswith("docs/decisions/")]
PACKAGES = [ROOT, ROOT / "server" / "stratsweep_server", ROOT / "client" / "stratsweep"]


def each_of(documents: list[Document]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("document", documents, ids=lambda document: document.name)


def strategy_row(strategy: Strategy) -> str:
    """The row of a strategy in the table of built-in ones."""
    parameters = ", ".join(map(_parameter_text, strategy.parameters)) or "none"
    return f"| `{strategy.name}` | {strategy.description} | {parameters} |"


def _parameter_text(parameter: StrategyParameter) -> str:
    default = parameter.default
    shown = str(default).lower() if isinstance(default, bool) else f"{default:g}"
    if parameter.minimum is None:
        return f"`{parameter.name}` {shown}"
    return f"`{parameter.name}` {shown} ({parameter.minimum:g} to {parameter.maximum:g})"


@each_of(DOCUMENTS)
def test_every_link_leads_somewhere(document: Document):
    for link in document.links:
        path, _, anchor = link.partition("#")
        if link.startswith("https://"):
            continue
        target = (document.path.parent / path).resolve() if path else document.path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in Document(str(target.relative_to(ROOT))).anchors, link


def test_the_readme_is_read_in_five_minutes():
    assert len(README.text.splitlines()) <= README_MAX_LINES


def test_the_readme_links_to_every_page():
    assert {page.path for page in PAGES} - README.linked_documents == set()


@each_of(PAGES)
def test_each_page_says_first_what_it_answers_and_leads_to_its_neighbours(document: Document):
    title, _, first, *_ = document.text.splitlines()
    assert title.startswith("# ")
    assert first.startswith("This page answers ")
    assert len(document.linked_documents - {document.path}) >= 2


def test_the_architecture_links_to_the_decisions_of_every_floor():
    assert DECISIONS
    assert {page.path for page in DECISIONS} - ARCHITECTURE.linked_documents == set()


@each_of([ARCHITECTURE, CONTRIBUTING, *DECISIONS])
def test_every_file_that_is_named_exists(document: Document):
    names = re.findall(r"`([\w./-]+(?:/|\.(?:py|proto|txt|md|yaml|toml)))`", document.text)
    missing = [name for name in names if not any((base / name).exists() for base in PACKAGES)]
    assert missing == []


@each_of(DOCUMENTS)
def test_every_make_target_that_is_named_exists(document: Document):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)(?=[`\s])", document.text)) <= targets


def test_every_metric_is_defined_as_the_engine_defines_it():
    metrics = DefaultEngine().describe().metrics
    ends = {
        OptimizationDirection.MAXIMIZE: "largest",
        OptimizationDirection.MINIMIZE: "smallest",
        None: "neither",
    }
    assert Document("docs/trading-model.md").rows("Metrics") == [
        f"| `{metric.name}` | {ends[metric.best_direction]} | {metric.description} |"
        for metric in metrics
    ]


def test_every_built_in_strategy_is_there_with_its_parameters_defaults_and_bounds():
    declared = DefaultEngine().describe().strategies
    built_in = [strategy for strategy in declared if strategy.name in BUILT_IN]
    rows = Document("docs/strategies.md").rows("Built-in")
    assert rows == [strategy_row(each) for each in built_in]


@pytest.mark.parametrize(
    ("page", "title", "command"),
    [
        (COMMAND_LINE, "Options", command_line.commands["optimize"]),
        (COMMAND_LINE, "Importing files", import_command_line),
        (SERVER, "Options", server_command_line),
    ],
    ids=lambda each: getattr(each, "name", each),
)
def test_every_option_is_there_and_no_other(page: Document, title: str, command: click.Command):
    documented = set(re.findall(r"`(--[\w-]+)", " ".join(page.rows(title))))
    options = {
        each.opts[0]
        for each in command.params
        if isinstance(each, click.Option) and not each.hidden
    }
    assert documented == options


def test_every_vendors_layout_is_there_with_its_columns_and_its_zone():
    rows = Document("docs/market-data.md").rows("Cleaning and joining files")
    assert [re.findall("`([^`]*)`", row) for row in rows] == [
        [
            name,
            *(",".join(columns) for columns in layout.columns),
            *([layout.timezone] if layout.timezone else []),
        ]
        for name, layout in LAYOUTS.items()
    ]


@each_of([README, *PAGES])
def test_every_option_that_is_named_exists(document: Document):
    commands = [server_command_line, import_command_line, *command_line.commands.values()]
    options = {name for command in commands for each in command.params for name in each.opts}
    options.add("--help")
    assert set(re.findall(r"`(?:[^`]* )?(--[\w-]+)", document.prose)) <= options


def test_every_exit_code_is_there():
    table = re.findall(r"^\| (\d+) \|", COMMAND_LINE.section("Exit codes"), re.MULTILINE)
    assert [int(code) for code in table] == [code.value for code in ExitCode]
