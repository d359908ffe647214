"""Keep the user's modules as they were loaded, so that all workers run the same sources.

A worker that replaces another imports everything anew, hours later perhaps. Meanwhile a file may
have been edited, or be gone for the moment in which an editor or git writes it. So whoever imports
a module first keeps a copy of its source in a directory, and whoever shares that directory compiles
the copy, whatever has become of the file.

Whether byte code beside a file is of that file's text is told by whole seconds and its size alone:
a module of the user's is compiled each time, for 8 to 20 ms per 1,000 lines.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import IO, cast

from stratsweep_server.backtest.late_imports import imported_names, may_import_late

INSTALLED = ("site-packages", "dist-packages")
"""Folders of which all is installed."""

_PYTHON = f"{Path(os.__file__).parent}{os.sep}"
_SERVER = f"{Path(__file__).parents[1]}{os.sep}"


@dataclass(frozen=True, slots=True)
class ModuleSource:
    """Describe the source that one of the user's modules was loaded from.

    Attributes:
        module: The module's dotted name.
        path: Its file, absolute.
        digest: SHA-256 of the source, in hexadecimal.
        modification_time: Of the file when it was read; nanoseconds since the epoch.
    """

    module: str
    path: str
    digest: str
    modification_time: int

    @property
    def file(self) -> str:
        """Return the file's name below the directory it was found in: `ideas/trend.py`."""
        path = Path(self.path)
        depth = self.module.count(".") + (2 if path.stem == "__init__" else 1)
        return "/".join(path.parts[-depth:])

    def change_time(self) -> int | None:
        """Return when the file was changed into something else than was loaded; None if it was not.

        In nanoseconds since the epoch; 0 for a file that is gone or cannot be read.
        """
        try:
            modification_time = Path(self.path).stat().st_mtime_ns
            if modification_time == self.modification_time:
                return None
            is_same = digest_of_source(Path(self.path).read_bytes()) == self.digest
        except OSError:
            return 0
        return None if is_same else modification_time


@dataclass(frozen=True, slots=True)
class CopyPlace:
    """Name the place of copies of sources that belong together.

    Attributes:
        directory: The open directory: it cannot be exchanged for another one of its name.
        path: That name, for tracebacks.
        prefix: What the names of the copies begin with.
    """

    directory: int
    path: Path
    prefix: str


@dataclass(frozen=True, slots=True)
class _Source:
    """Hold a source to load: its file and that one's time, the text, and the copy's path."""

    original: str
    modification_time: int
    text: bytes
    copy: Path | None = None

    @property
    def is_current(self) -> bool:
        """Return whether the file has this very text now."""
        try:
            return Path(self.original).read_bytes() == self.text
        except OSError:
            return False


class SourceKeeper(MetaPathFinder):
    """Find the user's modules by the copies of their sources, and make copies that are missing.

    A module is the user's when its source is a file that belongs neither to Python, nor to an
    installed package, nor to this server. Several processes may use the place at once. Where no
    copy can be made, a module is loaded from its file.
    """

    def __init__(self, place: CopyPlace) -> None:
        self._place = place
        self._found: dict[str, ModuleSource] = {}

    def install(self) -> None:
        """Handle all imports of this process from now on."""
        sys.meta_path.insert(0, self)

    def sources(self) -> tuple[ModuleSource, ...]:
        """Return the modules that were found so far, by name."""
        return tuple(self._found[module] for module in sorted(self._found))

    def keep_late_imports(self) -> dict[str, str]:
        """Keep what the user's modules will import when their functions run, as it is now.

        Returns:
            The files of the other modules that they will import, by name.
        """
        pending, looked_up, others = [*self._found], set(self._found), {}
        while pending:
            for name in self._imported_names(pending.pop()):
                if name in looked_up or name in sys.modules:
                    continue
                looked_up.add(name)
                spec = self._locate(name)
                if name in self._found:
                    pending.append(name)
                elif spec is not None and spec.has_location:
                    others[name] = str(spec.origin)
        return others

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a module; see `importlib.abc.MetaPathFinder.find_spec`."""
        source = self._find_copy(fullname)
        if source is None:
            spec = self._ask_others(fullname, path, target)
            if spec is None or spec.origin is None or not _is_users(spec, spec.origin):
                return spec
            source = self._keep(fullname, spec.origin)
        self._found[fullname] = ModuleSource(
            fullname, source.original, digest_of_source(source.text), source.modification_time
        )
        loader = _KeptModule(fullname, source)
        return spec_from_file_location(fullname, source.original, loader=loader)

    def _imported_names(self, module: str) -> list[str]:
        """Return what a module imports that may not be loaded, packages before what is in them."""
        source = self._find_copy(module)
        if source is None or (module in sys.modules and not may_import_late(source.text)):
            return []
        is_package = Path(source.original).stem == "__init__"
        package = module if is_package else module.rpartition(".")[0]
        names = set()
        for name in imported_names(source.text, package):
            parts = name.split(".")
            names |= {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        return sorted(names)

    def _locate(self, name: str) -> ModuleSpec | None:
        """Find a module without importing it or the packages that it is in."""
        package, _, _ = name.rpartition(".")
        path = None
        if package:
            loaded = sys.modules.get(package)
            spec = getattr(loaded, "__spec__", None) if loaded else self._locate(package)
            path = getattr(spec, "submodule_search_locations", None)
            if path is None:
                return None
        try:
            return self.find_spec(name, path)
        except Exception:  # whatever a finder fails with, it will when the module is imported
            return None

    def _ask_others(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is not self:
                spec = finder.find_spec(fullname, path, target)
                if spec is not None:
                    return spec
        return None

    def _find_copy(self, module: str) -> _Source | None:
        copy, directory = self._name_of(module), self._place.directory
        try:
            original = os.readlink(f"{copy}.from", dir_fd=directory)
            time = os.stat(copy, dir_fd=directory).st_mtime_ns
            with self._open(copy, "rb") as file:
                return _Source(original, time, file.read(), self._place.path / copy)
        except OSError:
            return None

    def _keep(self, module: str, original: str) -> _Source:
        """Copy a source, unless another process was faster."""
        # The time first: of an edit in between, the copy has the text and an older time.
        time = Path(original).stat().st_mtime_ns
        source = _Source(original, time, Path(original).read_bytes())
        with contextlib.suppress(OSError):
            self._write_copy(self._name_of(module), source)
        return self._find_copy(module) or source

    def _write_copy(self, copy: str, source: _Source) -> None:
        """Write the copy whole, after the symbolic link that says where it is from."""
        directory, part = self._place.directory, f"{copy}-{os.getpid()}"
        try:
            with self._open(part, "wb") as file:
                file.write(source.text)
            os.utime(part, ns=(source.modification_time,) * 2, dir_fd=directory)
            with contextlib.suppress(FileExistsError):
                os.symlink(source.original, f"{copy}.from", dir_fd=directory)
            os.link(part, copy, src_dir_fd=directory, dst_dir_fd=directory)
        finally:
            os.unlink(part, dir_fd=directory)

    def _open(self, name: str, mode: str) -> IO[bytes]:
        return cast(IO[bytes], open(name, mode, opener=self._open_descriptor))

    def _open_descriptor(self, name: str, flags: int) -> int:
        return os.open(name, flags, 0o600, dir_fd=self._place.directory)

    def _name_of(self, module: str) -> str:
        return f"{self._place.prefix}-{module}.py"


class _KeptModule(SourceFileLoader):
    """Load a module from a source.

    Where the file has another text by now, tracebacks show the lines of the copy, and numba, which
    takes a file's time for the state of a function, keeps what it compiles with the copy.
    """

    def __init__(self, fullname: str, source: _Source) -> None:
        super().__init__(fullname, source.original)
        self._source = source

    def get_code(self, fullname: str) -> CodeType | None:  # noqa: ARG002 - importlib's signature
        source = self._source
        is_shown = source.copy is None or source.is_current
        code: CodeType = self.source_to_code(
            source.text, source.original if is_shown else str(source.copy)
        )
        return code


def is_of_the_program(file: str) -> bool:
    """Return whether a module's file belongs to Python or to this server."""
    if file.startswith(_PYTHON):
        return not any(f"{os.sep}{folder}{os.sep}" in file for folder in INSTALLED)
    return file.startswith(_SERVER)


def _is_users(spec: ModuleSpec, origin: str) -> bool:
    return (
        type(spec.loader) is SourceFileLoader
        and not is_of_the_program(origin)
        and set(INSTALLED).isdisjoint(Path(origin).parts)
        and os.sep not in spec.name
    )


def digest_of_source(source: bytes) -> str:
    """Return the SHA-256 of a module's source, in hexadecimal."""
    return hashlib.sha256(source).hexdigest()
