"""`--output`: files whose suffix says the format, checked before anything runs."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import click

_SUFFIXES = (".json", ".csv", ".parquet")


class OutputFileType(click.ParamType[Path]):
    """A path that a result can be written to."""

    name = "file"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        """Check that the file can be written, without touching it.

        Raises:
            click.BadParameter: The suffix is unknown, the path cannot be written, or there is no
                library for Parquet.
        """
        path = Path(str(value))
        problem = _problem(path)
        if problem:
            self.fail(f"{path}: {problem}", param, ctx)
        return path


class Document(Protocol):
    """What a file can be made of."""

    def json(self) -> str:
        """Return it as one line of JSON."""
        ...

    def csv(self) -> Iterator[str]:
        """Return it as CSV, some thousand lines at a time."""
        ...

    def table(self) -> object:
        """Return it as something that gives an Arrow stream."""
        ...


def keep_existing(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse files that are there already; on a terminal ask first.

    Raises:
        click.UsageError: There are some, and nobody wants them replaced.
    """
    existing = [str(path) for path in dict.fromkeys(paths) if path.exists()]
    if overwrite or not existing:
        return
    names = " and ".join(existing)
    exist, replaces = ("exists", "it") if len(existing) == 1 else ("exist", "them")
    if sys.stdin.isatty() and sys.stderr.isatty():
        try:
            if click.confirm(f"{names} {exist}. Replace {replaces}?", err=True):
                return
        except click.Abort:
            raise KeyboardInterrupt from None
    raise click.UsageError(f"--output: {names} {exist}; --overwrite replaces {replaces}")


def write_files(document: Document, paths: Sequence[Path]) -> list[Path]:
    """Write a document to files, each in the format that its suffix names.

    A file is there either as it was or whole: it is written beside and renamed.

    Returns:
        Those that were written; what went wrong with the others is on standard error.
    """
    written = []
    for path in paths:
        try:
            with _replaced(path) as temporary:
                _write(document, temporary)
        except OSError as error:
            click.echo(f"error: {path} was not written: {error.strerror or error}", err=True)
        else:
            written.append(path)
    return written


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """Give a file to write to that takes the place of another once the block has ended well."""
    path = path.resolve()  # a link stays one
    descriptor, name = tempfile.mkstemp(
        prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
    )
    os.close(descriptor)
    temporary = Path(name)
    try:
        temporary.chmod(_mode(path))
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _mode(path: Path) -> int:
    """Return the permissions of a file, or those that a new one gets."""
    if path.exists():
        return path.stat().st_mode & 0o7777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _write(document: Document, path: Path) -> None:
    match path.suffix.lower():
        case ".json":
            path.write_text(document.json() + "\n", encoding="utf-8")
        case ".csv":
            with path.open("w", encoding="utf-8") as file:
                file.writelines(document.csv())
        case _:
            _write_parquet(document.table(), path)


def _problem(path: Path) -> str:
    if path.suffix.lower() not in _SUFFIXES:
        return f"unknown format; end the name with {', '.join(_SUFFIXES)}"
    if path.exists() and not path.is_file():
        return "is a directory" if path.is_dir() else "is no file that could be replaced"
    if not path.parent.is_dir():
        return f"there is no directory {path.parent}"
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        return "not writable"
    if path.suffix.lower() == ".parquet" and not (_installed("polars") or _installed("pyarrow")):
        return "Parquet needs polars or pyarrow: pip install polars"
    return ""


def _write_parquet(table: object, path: Path) -> None:
    if _installed("polars"):
        importlib.import_module("polars").DataFrame(table).write_parquet(path)
    else:
        parquet = importlib.import_module("pyarrow.parquet")
        parquet.write_table(importlib.import_module("pyarrow").table(table), path)


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
