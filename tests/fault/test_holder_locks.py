"""A holder's lock dies with its process: nothing that the process has started keeps it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stratsweep_server.backtest.loading import EngineSpec
from stratsweep_server.execution.pool import WorkerPool
from stratsweep_server.storage.disk_store import open_store
from stratsweep_server.storage.holders import Holder, is_alive

from tests.engines import ScriptedEngine
from tests.fault.conftest import START_METHODS


def others_with_files_in(directory: Path) -> list[str]:
    """The other processes that have something in a directory open."""
    found = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # it has gone meanwhile
            if descriptor.readlink().is_relative_to(directory):
                found.append(descriptor.parts[2])
    return [process for process in found if process != str(os.getpid())]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc")
@pytest.mark.parametrize("start_method", START_METHODS)
async def test_no_worker_has_a_file_of_the_state_directory_open(tmp_path, start_method):
    store = open_store(tmp_path / "state", "here:1")
    async with WorkerPool(
        EngineSpec(ScriptedEngine), max_workers=1, start_method=start_method, directory=tmp_path
    ) as pool:
        await pool.describe_engine()
        assert others_with_files_in(tmp_path / "state") == []
    store.close()


def test_a_program_that_outlives_its_holder_does_not_keep_the_lock(tmp_path):
    program = """
import subprocess, sys
from pathlib import Path
from stratsweep_server.storage.holders import Holder

holder = Holder(Path(sys.argv[1]))
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=0, stdout=subprocess.DEVNULL)
print(holder.holder_id, flush=True)
child.wait()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        holder_id = parent.stdout.readline().strip()
        assert is_alive(tmp_path, holder_id)
        parent.kill()
        parent.wait()
        assert not is_alive(tmp_path, holder_id)


def test_who_asks_does_not_take_another_who_asks_for_the_holder(tmp_path):
    holder = Holder(tmp_path)
    assert is_alive(tmp_path, holder.holder_id)
    path = tmp_path / f"{holder.holder_id}.lock"
    os.close(holder._lock)
    asking = os.open(path, os.O_RDWR)
    fcntl.flock(asking, fcntl.LOCK_SH)
    assert not is_alive(tmp_path, holder.holder_id)
    os.close(asking)
