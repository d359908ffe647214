"""The code of README and docs/, run as it stands in an empty folder: what rots there fails here.

A comment before each block names it (`run: name`) or says why it is not run (`not run: reason`).
The one change made is the server's address: the pages have the default port, the tests a free one.
What is quoted of the examples in other languages is run with them, in `test_examples.py`.
"""

from __future__ import annotations

import ast
import doctest
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from stratsweep import AsyncClient, Client, ServerProcess
from stratsweep_server.market_data.folder_settings import FolderSettings, parse_settings
from stratsweep_server.market_data.price_file import read_price_file
from stratsweep_server.optimization.store import Run
from stratsweep_server.storage.file_layer import SystemFiles
from stratsweep_server.storage.outcome_files import OutcomeWriter

from examples.demo import write_synthetic_market
from tests.documents import GUIDES, README, ROOT, Document
from tests.outcome_batches import succeeded

DEFAULT_ADDRESS = "127.0.0.1:50051"
SEARCH_PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

needs_buf = pytest.mark.skipif(
    shutil.which("buf", path=SEARCH_PATH) is None, reason="buf is not installed"
)
needs_duckdb = pytest.mark.skipif(
    importlib.util.find_spec("duckdb") is None, reason="duckdb is not installed"
)
needs_grpc_tools = pytest.mark.skipif(
    importlib.util.find_spec("grpc_tools") is None, reason="grpcio-tools is not installed"
)

BLOCKS = {name: block for guide in GUIDES for name, block in guide.blocks.items()}


@dataclass
class Desk:
    """A reader's folder, with price files and the proto files in it."""

    path: Path
    address: str = DEFAULT_ADDRESS

    def save(self, name: str, file_name: str) -> None:
        """Save a block under the name that its page gives it."""
        (self.path / file_name).write_text(self.block(name), encoding="utf-8")

    def block(self, name: str) -> str:
        """A block, with the address of the server that there is."""
        return BLOCKS[name].replace(DEFAULT_ADDRESS, self.address)

    def shell(self, name: str) -> str:
        """Run a block of commands; returns its standard output."""
        return self._run(["bash", "-e", "-c", self.block(name)])

    def python(self, name: str) -> str:
        """Run a block as a program; returns its standard output."""
        file_name = f"{name.replace('-', '_')}.py"
        self.save(name, file_name)
        return self._run([sys.executable, file_name])

    def example(self, documented: type) -> str:
        """Run the example in a docstring as a program; returns its standard output."""
        steps = doctest.DocTestParser().get_examples(documented.__doc__ or "")
        program = "".join(step.source for step in steps).replace(DEFAULT_ADDRESS, self.address)
        return self._run([sys.executable, "-c", program])

    def _run(self, command: list[str]) -> str:
        finished = subprocess.run(
            command,
            cwd=self.path,
            env=os.environ | {"PATH": SEARCH_PATH},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout


@pytest.fixture(scope="module")
def market(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("market")
    write_synthetic_market(folder / "SPY.csv")
    write_synthetic_market(folder / "QQQ.csv")
    return folder


@pytest.fixture
def desk(tmp_path, market) -> Desk:
    (tmp_path / "prices").symlink_to(market)
    (tmp_path / "protos").symlink_to(ROOT / "protos")
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def address(market) -> Iterator[str]:
    with ServerProcess(["--data", str(market), "--workers", "2"]) as server:
        yield server.address


@pytest.fixture
def served_desk(desk, address) -> Desk:
    desk.address = address
    with Client(address) as client:
        client.list_strategies()  # answers once a worker is ready
    return desk


def columns(table: str) -> list[str]:
    """The names of a printed ranking's columns."""
    (header,) = re.findall(r"^ +rank .*$", table, re.MULTILINE)
    return header.split()


def ranking(table: str) -> list[list[str]]:
    """The rows of a printed ranking, the first by rank."""
    return [line.split() for line in table.splitlines() if re.match(r" +\d+  ", line)]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_every_block_is_run_or_says_why_not(guide: Document):
    unmarked = [
        (before, language)
        for before, language in guide.openings
        if language != "text" and not re.fullmatch(r"<!-- (run|not run): .+ -->", before)
    ]
    assert unmarked == []


def test_every_block_that_is_to_be_run_is_named_here_and_no_name_is_given_twice():
    names = [name for guide in GUIDES for name in guide.blocks]
    assert len(names) == len(set(names)) == sum(guide.text.count("<!-- run:") for guide in GUIDES)
    strings = {
        node.value
        for node in ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
    }
    assert set(names) - strings == set()


def test_the_sample_output_is_what_the_demo_prints():
    demo = [sys.executable, str(ROOT / "examples" / "demo.py")]
    printed = subprocess.run(demo, capture_output=True, text=True, check=True).stdout
    sample = README.text.partition("$ make demo\n")[2].partition("```")[0]
    shown = ranking(sample)
    assert len(ranking(printed)) == 10
    assert shown
    assert shown == ranking(printed)[: len(shown)], "the README shows the best ones"
    assert columns(sample) == columns(printed)


def test_the_price_file_is_one():
    bars = read_price_file("SPY", "SPY.csv", BLOCKS["price-file"].encode()).bars
    assert len(bars) == 2


def test_the_first_command_ends_with_a_ranking(desk):
    rows = ranking(desk.shell("optimize"))
    assert len(rows) == 20
    assert rows[0][0] == "1"


def test_the_shortest_strategy_works_when_pasted(desk):
    desk.save("short-strategy", "my_strategies.py")
    assert len(ranking(desk.shell("short-strategy-command"))) == 10


def test_the_strategy_works_when_pasted(desk):
    desk.save("strategy", "my_strategies.py")
    assert len(ranking(desk.shell("strategy-command"))) == 20


def test_a_strategy_that_decides_for_many_combinations_at_once(desk):
    desk.save("vectorized-strategy", "my_fast_strategies.py")
    assert len(ranking(desk.shell("vectorized-strategy-command"))) == 20


def test_the_strategy_that_looks_at_local_clocks_works_when_pasted(desk):
    desk.save("session-strategy", "my_sessions.py")
    assert len(ranking(desk.shell("session-strategy-command"))) == 7


def test_the_settings_of_a_folder_are_some():
    content = BLOCKS["folder-settings"].encode()
    assert parse_settings(content) == FolderSettings("America/New_York")


def test_a_vendors_archives_are_imported_as_written(desk):
    (desk.path / "downloads").mkdir()
    (desk.path / "prices").unlink()
    for day in (1, 2):
        rows = [
            f"{1_704_067_200_000 + (24 * day + hour) * 3_600_000},1,4,1,2,5,0,1,1,1,1,0\n"
            for hour in range(24)
        ]
        archive = desk.path / "downloads" / f"BTCUSDT-1h-2024-01-0{day}.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("BTCUSDT-1h.csv", "".join(rows))
    assert desk.shell("import").startswith("prices/BTCUSDT.parquet: 48 bars\n")


def test_combinations_are_run_again_as_written(desk):
    assert len(ranking(desk.shell("check-repeats"))) == 20


def test_the_engine_works_when_pasted(desk):
    desk.save("engine", "my_engine.py")
    assert ranking(desk.shell("engine-command"))[0] == ["1", "12", "50", "1,000"]


def test_the_engine_that_declares_works_when_pasted(desk):
    desk.save("described-engine", "my_described_engine.py")
    assert len(ranking(desk.shell("described-engine-command"))) == 10


def test_the_server_starts_as_written(desk, monkeypatch):
    monkeypatch.chdir(desk.path)
    program, command, *options = shlex.split(BLOCKS["serve"])
    assert (program, command) == ("stratsweep", "serve")
    with ServerProcess(options) as server:
        assert server.address


def test_the_shortest_client_ends_with_a_result(served_desk):
    assert served_desk.python("short-client").startswith("{'fast': ")


def test_the_client_iterates_and_ends_with_a_result(served_desk):
    *progress, last = served_desk.python("client").splitlines()
    assert progress[-1] == "39 of 39, 0 failed"
    assert last.startswith("SUCCEEDED {'fast': ")


def test_the_async_client_iterates_and_ends_with_a_result(served_desk):
    *progress, last = served_desk.python("async-client").splitlines()
    assert progress[-1].startswith("12 {'period': ")
    assert "rank=1" in last


def test_a_server_of_ones_own_lives_for_the_length_of_a_block(desk):
    assert "rank=1" in desk.python("server-process")


def test_the_example_of_a_server_process_is_a_program(desk):
    assert "rank=1" in desk.example(ServerProcess)


def test_the_examples_of_the_clients_are_programs(served_desk):
    assert "rank=1" in served_desk.example(Client)
    assert "OptimizationResult(" in served_desk.example(AsyncClient)


def test_each_symbol_alone_has_a_ranking_and_a_row_of_the_summary(desk):
    printed = desk.shell("each-symbol")
    assert len(ranking(printed)) == 6
    assert [line.split()[0] for line in printed.splitlines()[-2:]] == ["SPY", "QQQ"]


def test_what_was_printed_is_ranked_anew_from_what_is_kept(desk):
    printed = desk.shell("kept")
    assert "sma-on-spy   succeeded" in printed
    assert printed.splitlines()[-1].endswith(" · largest total_return first")


def test_what_never_trades_is_left_out_of_the_ranking(desk):
    printed = desk.shell("requirements")
    assert len(ranking(printed)) == 4
    assert printed.splitlines()[-1].endswith(" · smallest max_drawdown first")
    assert "4 left out by requirements" in printed


def test_several_symbols_are_optimized_as_they_end(served_desk):
    lines = dict(line.split(" ", 1) for line in served_desk.python("many").splitlines())
    assert lines.keys() == {"SPY", "QQQ", "TYPO"}
    assert lines["SPY"] == lines["QQQ"]
    assert lines["TYPO"].startswith("no bars for the symbol 'TYPO'")


def test_a_refusal_names_each_violation(served_desk):
    assert served_desk.python("errors") == "config.parameters[0] has 0, below the minimum 1\n"


def test_the_optimizer_works_without_grpc(desk):
    *progress, last = desk.python("grid-search").splitlines()
    assert progress == [f"{completed} 25" for completed in range(1, 26)]
    assert last.startswith("SUCCEEDED {'period': ")


@pytest.fixture
def kept_desk(desk) -> Desk:
    """A folder in which outcomes of an optimization were kept, in two files."""
    names = ("sharpe_ratio", "trade_count")
    folder = desk.path / "state" / "optimizations" / "0000000001"
    folder.parent.mkdir(parents=True)
    writer = OutcomeWriter(SystemFiles(), folder, Run(0, 0, 0.0))
    writer.append([(succeeded([0, 3, 5], names[:1]), 0.5), (succeeded([4, 1], names), 1.0)])
    writer.close()
    return desk


def test_kept_outcomes_are_read_with_polars(kept_desk):
    table = kept_desk.python("state-polars")
    assert [line.split()[1] for line in table.splitlines() if line.startswith("│ ")][-3:] == [
        *"543"
    ]


def test_kept_outcomes_are_read_with_pyarrow(kept_desk):
    rows = ast.literal_eval(kept_desk.python("state-pyarrow"))
    assert [row["combination_index"] for row in rows] == [5, 4, 3]
    assert [row["metrics.trade_count"] for row in rows] == [None, 4.125, None]


@needs_duckdb
def test_kept_outcomes_are_read_with_duckdb(kept_desk):
    rows = ast.literal_eval(kept_desk.python("state-duckdb"))
    assert rows == [(5, 5.0), (4, 4.0), (3, 3.0)]


@needs_buf
def test_a_generic_client_runs_the_stream_by_reflection(served_desk):
    output = served_desk.shell("buf-curl")
    assert output.count('"progress": {') == 30
    assert '"isLastPart": true' in output


@needs_buf
def test_a_generic_client_asks_for_health(served_desk):
    assert json.loads(served_desk.shell("health")) == {"status": "SERVING"}


def test_the_protos_are_where_the_page_says(desk):
    folder = Path(desk.shell("protos").strip())
    assert (folder / "stratsweep/v1/optimization_service.proto").exists()


def test_what_is_quoted_of_an_example_is_in_it():
    quotes = re.findall(
        r"^<!-- not run: part of (\S+) -->\n```\w+\n(.*?)```$",
        Document("docs/other-languages.md").text,
        re.MULTILINE | re.DOTALL,
    )
    assert len({example for example, _ in quotes}) == 3
    for example, quote in quotes:
        assert quote in (ROOT / example).read_text(encoding="utf-8")


@needs_grpc_tools
def test_stubs_are_generated_as_written(desk):
    (desk.path / "generated").mkdir()
    desk.shell("generate")
    generated = {path.name for path in (desk.path / "generated/stratsweep/v1").iterdir()}
    assert "optimization_service_pb2_grpc.py" in generated


def test_plain_stubs_run_the_stream(served_desk):
    first, *progress, last = served_desk.python("stubs").splitlines()
    assert first == "30 combinations"
    assert progress == [f"{completed} of 30" for completed in range(1, 31)]
    assert last.startswith("True ")


def test_json_is_one_document_with_the_fields_that_are_named(desk):
    document = json.loads(desk.shell("json"))
    assert document["state"] == "SUCCEEDED"
    assert document["total_count"] == len(document["ranked_results"]) == 15
    described = Document("docs/command-line.md").section("JSON")
    for field in (*document, *document["ranked_results"][0]):
        assert f"`{field}`" in described


def test_the_file_of_options_is_read(desk, monkeypatch):
    monkeypatch.chdir(desk.path)
    desk.save("config-file", "server.toml")
    with ServerProcess(["--config", "server.toml"]) as server:
        assert server.log_tail().startswith("{")
