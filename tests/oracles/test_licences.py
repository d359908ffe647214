"""The referees' licences (AGPL, Commons Clause) stay out of the product."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("package", ["client", "server", "examples"])
def test_the_product_imports_no_referee(package):
    sources = list((ROOT / package).rglob("*.py"))
    pattern = re.compile(r"^\s*(import|from)\s+(backtesting|vectorbt)\b", re.MULTILINE)
    assert sources
    assert [path for path in sources if pattern.search(path.read_text())] == []
