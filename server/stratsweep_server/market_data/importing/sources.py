"""All files to import: read one after the other, and all that are refused told at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stratsweep_server.market_data.bars import UTC
from stratsweep_server.market_data.errors import InvalidBarsError, MarketDataError
from stratsweep_server.market_data.file_layout import FileLayout
from stratsweep_server.market_data.folder_settings import (
    MAX_SETTINGS_BYTES,
    SETTINGS_FILE_NAME,
    parse_settings,
)
from stratsweep_server.market_data.importing.source_file import SourceFile, read_source_file

_MOST_REFUSALS = 5


class RefusedFilesError(MarketDataError):
    """Report files that cannot be used: a line for each of the first few, and advice."""


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """Hold how files are read.

    Attributes:
        layout: What is known of their columns.
        timezone: IANA name of the zone of times without one; empty for what `stratsweep.toml` in
            a file's folder says, else UTC.
        skips_bad_rows: As in `read_source_file`.
    """

    layout: FileLayout
    timezone: str = ""
    skips_bad_rows: bool = False


def read_sources(symbol: str, paths: Sequence[Path], options: ReadingOptions) -> list[SourceFile]:
    """Read all files, in their order.

    Args:
        symbol: The symbol's name.
        paths: Of the files, at least one.
        options: How they are read.

    Raises:
        RefusedFilesError: Some cannot be used.
        FolderSettingsError: The settings beside a file cannot be used.
        OSError: One cannot be read.
    """
    count_of_name = Counter(path.name for path in paths)
    sources, refusals, has_bad_rows = [], [], False
    for path in paths:
        name = path.name if count_of_name[path.name] == 1 else str(path)
        try:
            sources.append(
                read_source_file(
                    symbol,
                    name,
                    path.read_bytes(),
                    layout=options.layout,
                    timezone=options.timezone or _folder_timezone(path.parent),
                    skips_bad_rows=options.skips_bad_rows,
                )
            )
        except InvalidBarsError as error:
            refusals.append(str(error))
            has_bad_rows |= error.bad_row_count > 0
    if refusals:
        shown = refusals[:_MOST_REFUSALS]
        if (more := len(refusals) - len(shown)) > 0:
            shown.append(f"{more:,} more of the {len(paths):,} files cannot be used")
        if has_bad_rows:
            shown.append("correct them, or leave out bad rows, counted and told: --skip-bad-rows")
        raise RefusedFilesError("\n".join(shown))
    return sources


def _folder_timezone(folder: Path) -> str:
    try:
        with (folder / SETTINGS_FILE_NAME).open("rb") as file:
            return parse_settings(file.read(MAX_SETTINGS_BYTES + 1)).timezone or UTC
    except FileNotFoundError:
        return UTC
