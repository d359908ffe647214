"""A few seconds of what `make fuzz` does for minutes."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.fuzz.siege import KINDS, Siege, besiege

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs /proc")


async def test_servers_under_attack_keep_the_contract(tmp_path):
    sieges = [Siege(*kind, seconds=3.0, seed=11, burst=100) for kind in KINDS]
    folders = [tmp_path / siege.name for siege in sieges]
    outcomes = await asyncio.gather(*map(besiege, sieges, folders))
    for outcome, folder in zip(outcomes, folders, strict=True):
        assert list(outcome.findings.lines(folder)) == []
        assert outcome.honest.calls.keys() == {"health check", "small optimization"}


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_under_attack_for_long_keeps_the_contract(tmp_path, kind):
    siege = Siege(*kind, seconds=180.0, seed=random.randrange(10**6))
    outcome = await besiege(siege, tmp_path)
    assert list(outcome.findings.lines(tmp_path)) == [], f"seed {siege.seed}"
