"""Tell how much memory this machine or container has, and have freed memory returned to it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_OWN_CGROUPS = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_FREE_BYTES = 32 * 1024 * 1024


def memory_bytes(own_cgroups: Path = _OWN_CGROUPS, cgroups: Path = _CGROUPS) -> int:
    """Return the memory for this process and its workers: the machine's, or what a cgroup allows.

    Args:
        own_cgroups: The file that names this process's cgroups, of version 2 or 1; absent where
            there are none.
        cgroups: Where they are mounted.
    """
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_cgroup_limits(own_cgroups, cgroups)])


def return_large_arrays(smallest_bytes: int) -> None:
    """Return large arrays to the system as soon as they are freed (glibc; elsewhere does nothing).

    The C library (glibc) raises the size from which they do, up to 32 MB, whenever one is freed,
    and cuts others from a heap that seldom shrinks: a gigabyte stayed after eight optimizations of
    a million combinations.

    Args:
        smallest_bytes: Below it, memory is faster to have again.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, smallest_bytes)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE_BYTES)


def _cgroup_limits(own_cgroups: Path, cgroups: Path) -> Iterator[int]:
    """Yield the limits of this process's cgroups and of those around them, in bytes."""
    lines = own_cgroups.read_text().splitlines() if own_cgroups.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _limits_up_from(cgroups, path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits_up_from(cgroups / "memory", path, "memory.limit_in_bytes")


def _limits_up_from(root: Path, path: str, file_name: str) -> Iterator[int]:
    # In a container the path may be the host's, of which only the root is visible inside.
    group = root / path.lstrip("/")
    for place in (group, *group.parents):
        if place.is_relative_to(root):
            with contextlib.suppress(OSError, ValueError):  # not there; "max"
                yield int((place / file_name).read_text())
