"""The machine's memory: no more than a container may have, and what is freed goes back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from stratsweep_server.execution.machine_memory import memory_bytes

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def cgroups(tmp_path):
    """Make a file for each path that is named, and the one that names this process's cgroups."""

    def make(own: str, **files: str):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "fs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return memory_bytes(tmp_path / "own", tmp_path / "fs")

    return make


def test_without_cgroups_it_is_the_machines(tmp_path):
    assert memory_bytes(tmp_path / "none", tmp_path) == MACHINE


def test_a_limit_of_its_own_cgroup_holds(cgroups):
    assert cgroups("0::/box\n", **{"box/memory.max": "50000000\n"}) == 50_000_000


def test_the_least_of_the_cgroups_around_it_holds(cgroups):
    files = {"a/b/memory.max": "90000000\n", "a/memory.max": "40000000\n", "memory.max": "max\n"}
    assert cgroups("0::/a/b\n", **files) == 40_000_000


def test_in_a_container_that_sees_only_its_own_root_that_one_holds(cgroups):
    assert cgroups("0::/of/the/host\n", **{"memory.max": "60000000\n"}) == 60_000_000


def test_a_limit_of_the_first_version_holds(cgroups):
    own = "9:name=systemd:/\n4:cpu,memory:/box\n0::/\n"
    files = {"memory/box/memory.limit_in_bytes": "30000000\n"}
    assert cgroups(own, **files) == 30_000_000


def test_no_limit_is_the_machines(cgroups):
    own = "4:memory:/\n0::/\n"
    files = {"memory.max": "max\n", "memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}
    assert cgroups(own, **files) == MACHINE


FREES_ARRAYS = """
import resource
from pathlib import Path
import numpy as np
from stratsweep_server.execution.machine_memory import return_large_arrays

def resident_megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

return_large_arrays(2_000_000)
np.ones(1_500_000)  # by itself, the C library would keep smaller ones from then on
before = resident_megabytes()
arrays = [np.ones(size) for _ in range(10) for size in (1_000_000, 100_000)]
between = arrays[1::2]
del arrays
print(resident_megabytes() - before - 8)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the heap is another one elsewhere")
def test_large_arrays_that_are_freed_go_back_to_the_system():
    process = subprocess.run(
        [sys.executable, "-c", FREES_ARRAYS], capture_output=True, text=True, check=True
    )
    assert float(process.stdout) < 20, "of 80 megabytes"
