"""Find, make and lock the directory in which a server keeps what outlives it.

It belongs to one machine: whether a process lives is known by locks that its kernel keeps, and
network file systems keep neither those nor SQLite's shared memory.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

from stratsweep_server.optimization.store import StoreUnavailableError

LOCK_SECONDS = 5.0
"""How long to wait for other processes before a migration is given up."""
_LOCK_POLL_SECONDS = 0.02
_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = {"9p", "afs", "beegfs", "ceph", "cifs", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs"}
_NETWORK |= {"nfs", "nfs4", "orangefs", "smb3", "smbfs"}
_FUSE = {"ceph", "davfs2", "gcsfuse", "glusterfs", "gvfsd-fuse", "mfs", "rclone", "s3fs", "sshfs"}
_NETWORK_TYPES = _NETWORK | {f"fuse.{name}" for name in _FUSE}


def default_state_directory() -> Path:
    """Return where state is kept unless something else is asked for.

    `$XDG_STATE_HOME/stratsweep`, else `~/.local/state/stratsweep`.

    Raises:
        StoreUnavailableError: There is no home directory.
    """
    home = os.environ.get("XDG_STATE_HOME", "")
    if Path(home).is_absolute():
        return Path(home) / "stratsweep"
    try:
        return Path.home() / ".local" / "state" / "stratsweep"
    except RuntimeError as error:
        raise StoreUnavailableError(
            "there is no home directory to keep state in; choose a directory with --state"
        ) from error


class StateDirectory:
    """Own a place in a state directory: made where it is missing, and locked against migrations.

    Args:
        path: Where it is.

    Attributes:
        path: Where it is, absolute.

    Raises:
        StoreUnavailableError: It cannot be made or written, others may write it, or it is on a
            network file system.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self._make()
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StoreUnavailableError(
                f"the state directory {self.path} cannot be used: {reason};"
                " choose another with --state, or --state none to keep nothing"
            ) from error

    def share(self, is_current: Callable[[], bool], migrate: Callable[[], object]) -> None:
        """Take the shared lock, once what is there is of the format of this version.

        Args:
            is_current: Says whether it is; called with the shared lock, and before.
            migrate: Makes it so; called with the exclusive lock.

        Raises:
            StoreUnavailableError: Other processes use the directory in an older format.
        """
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            if is_current():
                if self._try(fcntl.LOCK_SH) and is_current():
                    return
            elif self._try(fcntl.LOCK_EX):
                if not is_current():
                    migrate()
                continue  # the shared lock takes the place of the exclusive one
            if time.monotonic() > deadline:
                raise StoreUnavailableError(
                    "the state directory has to be brought into this version's format while another"
                    " version of stratsweep uses it; stop that one first"
                )
            time.sleep(_LOCK_POLL_SECONDS)

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self._lock)

    def _make(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        status = self.path.stat()
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        owner, me = status.st_uid, os.geteuid()
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or (me and owner not in {me, 0}):
            raise StoreUnavailableError(
                f"others may write the state directory {self.path}; take that right from them"
                f" (chmod go-w {self.path}), or choose another with --state"
            )
        if kind := network_file_system(self.path):
            raise StoreUnavailableError(
                f"the state directory {self.path} is on a network file system ({kind}), where locks"
                " do not tell which server lives; choose one on a disk of this machine with"
                " --state, or --state none to keep nothing"
            )

    def _try(self, operation: int) -> bool:
        try:
            fcntl.flock(self._lock, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def network_file_system(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """Return the type of the network file system that a directory is on; None for another one.

    Args:
        path: An existing directory.
        mounts: The kernel's list of mounts; where there is none, as on macOS, nothing is noticed.
    """
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = path.resolve()
    place, kind = Path("/"), ""
    for line in lines:
        fields, _, file_system = line.partition(" - ")
        mounted = Path(_unescaped(fields.split(" ")[4]))
        if real.is_relative_to(mounted) and len(mounted.parts) >= len(place.parts):
            place, kind = mounted, file_system.split(" ")[0]
    return kind if kind in _NETWORK_TYPES else None


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
