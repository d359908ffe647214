"""Find modules that are named by the path of their file, and the names to import them by."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

_SUFFIX = ".py"


@dataclass(frozen=True, slots=True)
class ModuleFile:
    """Locate a Python file that is to be imported; it may be gone where a copy of it is kept.

    Attributes:
        path: Its absolute path.
    """

    path: Path

    @staticmethod
    def named_by(text: str) -> ModuleFile | None:
        """Return the file that a path names; None for the dotted name of a module."""
        if text.endswith(_SUFFIX) or "/" in text:
            return ModuleFile(Path(os.path.abspath(text)))  # noqa: PTH100 - links keep their names
        return None

    @property
    def directory(self) -> Path:
        """Return where the search for the module begins: above the packages that the file is in."""
        directory = self.path.parent
        while (directory / "__init__.py").is_file():
            directory = directory.parent
        return directory

    @property
    def module(self) -> str:
        """Return the name to import it by."""
        parts = self.path.relative_to(self.directory).with_suffix("").parts
        return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)

    def obstacle(self) -> str:
        """Say why it cannot be a module, whatever it holds; empty where it can."""
        if self.path.is_dir():
            return "it is a directory; give a file in it"
        if self.path.suffix != _SUFFIX:
            is_there = self.path.exists()
            return "its name does not end with .py" if is_there else "there is no such file"
        if "." in self.path.stem:
            return "there is a dot in its name, which no module can have; rename it"
        return ""

    def nearest(self) -> str:
        """Name files there that may have been meant, for the end of a message."""
        names = [each.name for each in self.path.parent.glob(f"*{_SUFFIX}")]
        near = difflib.get_close_matches(self.path.name, names)
        return f"; the nearest there: {', '.join(near)}" if near else ""

    def is_source_of(self, module: ModuleType) -> bool:
        """Return whether an imported module is from this file, and not another one of its name."""
        source = getattr(module, "__file__", None)
        return source is not None and Path(source).resolve() == self.path.resolve()

    @contextmanager
    def searched_first(self) -> Iterator[None]:
        """Search its directory first within the block, as a script's is, and last afterwards.

        So what it imports later is found, too, and hides nothing of what others import.
        """
        directory = str(self.directory)
        was_searched = directory in sys.path
        sys.path.insert(0, directory)
        try:
            yield
        finally:
            sys.path.remove(directory)
            if not was_searched:
                sys.path.append(directory)
