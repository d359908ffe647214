"""Files in memory that forget at a crash what was not synced: bytes, names, renames, removals.

What a real file system may do to what was not synced is all allowed, so a crash says how: nothing
of it is there, all of it is, or whatever chance gives, with zeros in the place of bytes, too.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


class _File:
    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)
        self.synced = content


class _Folder:
    def __init__(self) -> None:
        self.entries: dict[str, _File | _Folder] = {}
        self.synced: dict[str, _File | _Folder] = {}


@dataclass(frozen=True)
class Survival:
    """What a crash leaves of what was not synced.

    Attributes:
        keeps_change: Whether a change of names is there, of whether it took a name away.
        share: How much of the bytes after the synced ones is there.
        has_zeros: Whether zeros stand in the place of the others.
    """

    keeps_change: Callable[[bool], bool]
    share: Callable[[], float]
    has_zeros: Callable[[], bool]

    @staticmethod
    def by_chance(seed: int) -> Survival:
        chance = random.Random(seed).random
        return Survival(lambda is_removal: chance() < 0.5, chance, lambda: chance() < 0.5)


NOTHING = Survival(lambda is_removal: False, lambda: 0, lambda: False)
EVERYTHING = Survival(lambda is_removal: True, lambda: 1, lambda: False)
REMOVALS = Survival(lambda is_removal: is_removal, lambda: 0, lambda: True)
ADDITIONS = Survival(lambda is_removal: not is_removal, lambda: 0, lambda: False)


class ForgetfulFiles:
    """Implements `FileLayer`, below a root that is there; paths are relative to it.

    Args:
        power: How many changes there is power for; everything fails from then on.
    """

    def __init__(self, power: int | None = None) -> None:
        self.change_count = 0
        self.sync_count = 0
        self._power = power
        self._root = _Folder()

    def crash(self, survival: Survival) -> ForgetfulFiles:
        """What is there when the machine is on again."""
        after = ForgetfulFiles()
        after._root = _surviving_folder(self._root, survival)
        return after

    def restart(self) -> ForgetfulFiles:
        """What another process finds while the machine stays on: all of it, synced or not."""
        after = ForgetfulFiles()
        after._root = self._root
        return after

    def create(self, path: Path) -> _Appended:
        self._change()
        folder = self._folder(path.parent)
        if path.name in folder.entries:
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        file = folder.entries[path.name] = _File()
        return _Appended(self, file)

    def map(self, path: Path) -> memoryview:
        self._require_power()
        return memoryview(bytes(self._file(path).content))

    def names(self, folder: Path) -> list[str]:
        self._require_power()
        return list(self._folder(folder).entries)

    def make_folder(self, folder: Path) -> None:
        self._change()
        self._folder(folder.parent).entries.setdefault(folder.name, _Folder())

    def rename(self, source: Path, target: Path) -> None:
        self._change()
        file = self._file(source)
        entries = self._folder(source.parent).entries
        del entries[source.name]
        entries[target.name] = file

    def remove(self, path: Path) -> None:
        self._change()
        self._file(path)
        del self._folder(path.parent).entries[path.name]

    def sync(self, path: Path) -> None:
        _Appended(self, self._file(path)).sync()

    def sync_folder(self, folder: Path) -> None:
        self._change()
        self.sync_count += 1
        found = self._folder(folder)
        found.synced = dict(found.entries)

    def _file(self, path: Path) -> _File:
        found = self._folder(path.parent).entries.get(path.name)
        if not isinstance(found, _File):
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        return found

    def _folder(self, path: Path) -> _Folder:
        folder = self._root
        for name in path.parts:
            found = folder.entries.get(name)
            if not isinstance(found, _Folder):
                raise FileNotFoundError(errno.ENOENT, "No such folder", str(path))
            folder = found
        return folder

    def _change(self) -> None:
        self._require_power()
        self.change_count += 1

    def _require_power(self) -> None:
        if self._power is not None and self.change_count >= self._power:
            raise OSError(errno.EIO, "the power is gone")


class _Appended:
    """Implements `AppendedFile`."""

    def __init__(self, files: ForgetfulFiles, file: _File) -> None:
        self._files = files
        self._file = file

    def append(self, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        content = b"".join(pieces)
        middle = len(content) // 2
        for part in (content[:middle], content[middle:]):  # the power may go between them
            self._files._change()
            self._file.content += part

    def sync(self) -> None:
        self._files._change()
        self._files.sync_count += 1
        self._file.synced = bytes(self._file.content)

    def close(self) -> None:
        pass


def _surviving_folder(folder: _Folder, survival: Survival) -> _Folder:
    after = _Folder()
    for name in sorted({*folder.entries, *folder.synced}):
        found, before = folder.entries.get(name), folder.synced.get(name)
        if found is not before and not survival.keeps_change(found is None):
            found = before
        if isinstance(found, _Folder):
            after.entries[name] = _surviving_folder(found, survival)
        elif found is not None:
            after.entries[name] = _File(_surviving_bytes(found, survival))
    after.synced = dict(after.entries)
    return after


def _surviving_bytes(file: _File, survival: Survival) -> bytes:
    rest = bytes(file.content[len(file.synced) :])
    kept = rest[: round(survival.share() * len(rest))]
    zeros = bytes(len(rest) - len(kept)) if survival.has_zeros() else b""
    return file.synced + kept + zeros
