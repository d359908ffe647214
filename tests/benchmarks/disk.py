"""Where servers keep what they run: nowhere, or in a folder on a real disk; how fast that is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.figures import Sample

DISK = "BENCHMARK_DISK"
"""The environment variable that says where; default: what the system keeps over restarts."""

KEPT = "BENCHMARK_KEPT"
"""The environment variable by which servers keep what they run in all figures."""

NOWHERE = "none"
_DEFAULT = "/var/tmp"
_IN_MEMORY = ("tmpfs", "ramfs")
_SYNCS = 200
_BYTES = 4_096


@contextmanager
def disk_folder() -> Iterator[Path]:
    """A new folder on the disk, removed afterwards.

    Exits with what to do where a sync costs nothing there, since it keeps nothing.
    """
    parent = Path(os.environ.get(DISK, _DEFAULT))
    if (kind := _file_system(parent)) in _IN_MEMORY:
        sys.exit(f"{parent} is on {kind}, which keeps nothing: name a folder on a disk by {DISK}")
    with tempfile.TemporaryDirectory(dir=parent, prefix="stratsweep-benchmark-") as folder:
        yield Path(folder)


@contextmanager
def usual_state() -> Iterator[str]:
    """What servers have as `--state` in figures that are of something else."""
    if not os.environ.get(KEPT):
        yield NOWHERE
        return
    with disk_folder() as folder:
        yield str(folder / "state")


def sync_milliseconds(folder: Path) -> Sample:
    """How long a sync of a few appended kilobytes takes, again and again."""
    taken = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(os.urandom(_BYTES))
            start = time.perf_counter()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - start) * 1e3)
    return Sample(tuple(taken))


def _file_system(path: Path) -> str:
    if sys.platform != "linux":
        return "unknown"  # macOS has no folder in memory unless somebody makes one
    command = ["stat", "--file-system", "--format=%T", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
