"""How messages count: one of a thing is not several."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from stratsweep_server.texts import counted

SERVER = Path(__file__).resolve().parents[2] / "server" / "stratsweep_server"
THINGS = "backtest|call|combination|line|module|optimization|symbol|violation|worker"
A_COUNT_BEFORE_A_PLURAL = re.compile(rf"(?<!of )\0 (?:[a-z]+ )?(?:{THINGS})s\b")
OF_MORE_THAN_ONE = (
    "all \0 backtests failed; the first: ",
    "all \0 combinations",
    "it names \0 symbols; repeat --symbol",
    "the \0 lines",
    "the grid has \0 combinations before constraints",
)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 workers"), (1, "1 worker"), (2, "2 workers"), (1_000, "1,000 workers")],
)
def test_one_of_a_thing_is_no_plural(count, text):
    assert counted(count, "worker") == text


def texts_of(path: Path) -> Iterator[str]:
    """The texts of a source file, with a NUL for whatever is put into them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"%[\d.]*[dg]", "\0", node.value)


def test_the_servers_messages_count_with_one_function():
    wrong = [
        f"{path.name}: {text!r}"
        for path in sorted(SERVER.rglob("*.py"))
        for text in texts_of(path)
        if A_COUNT_BEFORE_A_PLURAL.search(text) and not text.startswith(OF_MORE_THAN_ONE)
    ]
    assert wrong == []
