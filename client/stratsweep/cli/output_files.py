"""`--output`: files whose suffix says the format, checked before anything runs."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stratsweep.cli.documents import result_csv, result_json
from stratsweep.results import OptimizationResult

if TYPE_CHECKING:
    from stratsweep.repeats import RepeatCheck

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


def write_results(
    result: OptimizationResult, paths: Sequence[Path], repeats: RepeatCheck | None = None
) -> bool:
    """Write a result to files, each in the format that its suffix names.

    Args:
        result: What is written.
        paths: The files.
        repeats: What came of running some combinations again; JSON has it, too.

    Returns:
        Whether all were written; what went wrong with the others is on standard error.
    """
    is_written = True
    for path in paths:
        try:
            _write(result, path, repeats)
        except OSError as error:
            is_written = False
            click.echo(f"error: {path} was not written: {error.strerror or error}", err=True)
    return is_written


def _write(result: OptimizationResult, path: Path, repeats: RepeatCheck | None) -> None:
    match path.suffix.lower():
        case ".json":
            path.write_text(result_json(result, repeats) + "\n", encoding="utf-8")
        case ".csv":
            with path.open("w", encoding="utf-8") as file:
                file.writelines(result_csv(result))
        case _:
            _write_parquet(result, path)


def _problem(path: Path) -> str:
    if path.suffix.lower() not in _SUFFIXES:
        return f"unknown format; end the name with {', '.join(_SUFFIXES)}"
    if path.is_dir():
        return "is a directory"
    if not path.parent.is_dir():
        return f"there is no directory {path.parent}"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return "not writable"
    if path.suffix.lower() == ".parquet" and not (_installed("polars") or _installed("pyarrow")):
        return "Parquet needs polars or pyarrow: pip install polars"
    return ""


def _write_parquet(result: OptimizationResult, path: Path) -> None:
    if _installed("polars"):
        result.to_polars().write_parquet(path)
    else:
        parquet = importlib.import_module("pyarrow.parquet")
        parquet.write_table(importlib.import_module("pyarrow").table(result), path)


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
