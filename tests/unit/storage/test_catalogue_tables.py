"""The tables of the catalogue: as documented, and asked in the order that they have."""

from __future__ import annotations

import contextlib
import sqlite3

from stratsweep_server.optimization.store import OptimizationFilter
from stratsweep_server.storage.disk_store import open_store

from tests.documents import ROOT
from tests.records import record


def test_the_page_of_the_state_directory_lists_the_tables(tmp_path):
    open_store(tmp_path / "state", "here:1").close()
    with contextlib.closing(sqlite3.connect(tmp_path / "state/catalogue.sqlite")) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
    page = (ROOT / "docs/state-directory.md").read_text()
    assert tables
    assert [name for (name,) in tables if f"\n| `{name}` |" not in page] == []


def test_a_page_is_found_in_the_order_of_rows_and_not_sorted(tmp_path):
    store = open_store(tmp_path / "state", "here:1")
    store.create(record())
    asked: list[str] = []
    connection = store._catalogue._reading._connection
    connection.set_trace_callback(asked.append)
    store.page("", OptimizationFilter(), 9)
    connection.set_trace_callback(None)
    (query,) = [text for text in asked if "ORDER BY" in text]
    plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
    store.close()
    assert plan
    assert [step for step in plan if "B-TREE FOR ORDER BY" in step] == []
