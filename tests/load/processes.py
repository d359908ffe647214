"""What Linux says about processes: descendants, memory, descriptors, CPU time."""

from __future__ import annotations

import contextlib
import os
import resource
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_ESTABLISHED = "01"
"""Of a connection in /proc/net/tcp."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and everything below it hold.

    Attributes:
        pids: The descendants, without the process itself.
        zombies: Those of them that nobody has reaped.
        descriptors: Open file descriptors of the process itself, by their kind, such as `socket`.
        threads: Threads of the process itself.
        resident: Bytes of memory of the process itself.
        cpu_seconds: Used by the process and its living descendants.
    """

    pids: frozenset[int]
    zombies: frozenset[int]
    descriptors: Counter[str]
    threads: int
    resident: int
    cpu_seconds: float


def usage(pid: int) -> Usage:
    """Look at a process and its descendants now."""
    pids = descendants(pid)
    stats = {each: stat for each in (pid, *pids) if (stat := _stat(each)) is not None}
    ticks = sum(int(stat[11]) + int(stat[12]) for stat in stats.values())
    return Usage(
        pids=frozenset(pids),
        zombies=frozenset(each for each, stat in stats.items() if stat[0] == "Z"),
        descriptors=_descriptors(pid),
        threads=_count(f"/proc/{pid}/task"),
        resident=resident_bytes(pid),
        cpu_seconds=ticks / _TICKS_PER_SECOND,
    )


def descendants(pid: int) -> set[int]:
    """The children of a process, theirs, and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None:
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        new = children.get(waiting.pop(), [])
        found.update(new)
        waiting += new
    return found


def cpu_seconds(pid: int) -> float:
    """What a process itself has used, in all of its threads; without its children."""
    stat = _stat(pid)
    if stat is None:
        raise RuntimeError(f"process {pid} is gone")
    return (int(stat[11]) + int(stat[12])) / _TICKS_PER_SECOND


def resident_bytes(pid: int) -> int:
    """The resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def anonymous_bytes(pid: int) -> int:
    """The resident memory of a process that is its own: without files mapped into it."""
    return _status_bytes(pid, "RssAnon")


def reset_peak(pid: int) -> None:
    """Let `peak_bytes` count from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pid: int) -> int:
    """The most resident memory that a process had."""
    return _status_bytes(pid, "VmHWM")


def _status_bytes(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"the kernel does not say {name}")


def _descriptors(pid: int) -> Counter[str]:
    """By kind, without connections that are established: their clients hold them."""
    held_by_clients = _established(pid)
    found: Counter[str] = Counter()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            kind, _, inode = str(path.readlink()).partition(":[")
            found[kind] += inode.rstrip("]") not in held_by_clients
    return found


def _established(pid: int) -> set[str]:
    """The inodes of TCP connections that neither side has closed."""
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")]
    rows = [row.split() for table in tables if table.exists() for row in _rows(table)]
    return {fields[9] for fields in rows if fields[3] == _ESTABLISHED}


def _rows(table: Path) -> list[str]:
    return table.read_text().splitlines()[1:]


def _count(folder: str) -> int:
    return sum(1 for _ in Path(folder).iterdir())


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; None when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
