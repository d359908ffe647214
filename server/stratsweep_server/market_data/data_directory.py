"""Look up price files in a folder, one for each symbol, and load the bars of a symbol."""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import BinaryIO, TypeAlias

from stratsweep_server.market_data.bars import UTC, Bars, date_of
from stratsweep_server.market_data.errors import (
    FolderSettingsError,
    InvalidBarsError,
    InvalidSymbolError,
    MarketDataError,
    NoBarsError,
    UnknownSymbolError,
)
from stratsweep_server.market_data.file_names import is_symbol, is_unread_file_of, symbol_of
from stratsweep_server.market_data.folder_settings import (
    MAX_SETTINGS_BYTES,
    SETTINGS_FILE_NAME,
    FolderSettings,
    parse_settings,
)
from stratsweep_server.market_data.price_file import PriceFile, read_price_file
from stratsweep_server.market_data.storage import StorageUnavailableError
from stratsweep_server.market_data.symbol_names import unknown_symbol
from stratsweep_server.market_data.timezones import check_timezone

logger = logging.getLogger(__name__)

# What a file cannot be read for although nothing is wrong with it.
_OF_THE_DISK = {
    errno.EIO,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ETIMEDOUT,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
}

# A file's size, modification time in nanoseconds and inode, equal while its content is, and the
# zone in which its times are read.
_Version: TypeAlias = tuple[int, int, int, str]


@dataclass(frozen=True, slots=True)
class SymbolCoverage:
    """Describe what the data directory has for one symbol.

    Attributes:
        name: The symbol.
        bar_count: The number of its bars; 0 when the file cannot be used.
        first_time: The first bar's, nanoseconds since 1970-01-01 UTC; None without bars.
        last_time: The last bar's.
        error: Why its file cannot be used; empty for a good one.
        notes: What was done to read it that is worth knowing.
        timezone: IANA name of the zone whose days the bars are of, as in `Bars`.
    """

    name: str
    bar_count: int = 0
    first_time: int | None = None
    last_time: int | None = None
    error: str = ""
    notes: tuple[str, ...] = ()
    timezone: str = UTC


def coverage_of(bars: Bars) -> SymbolCoverage:
    """Return how many bars there are, and from when to when.

    Args:
        bars: At least one.
    """
    first, last = int(bars.time[0]), int(bars.time[-1])
    return SymbolCoverage(bars.symbol, len(bars), first, last, timezone=bars.timezone)


class DataDirectory:
    """Read a folder of price files, named by their symbols. Safe to use from several threads.

    The folder is looked at anew on each call, so files may come, change and go while the server
    runs; what was read is kept until its file changes. A symbol never becomes part of a path: it is
    looked up among the names that the folder lists.

    Times without a zone are local times of the zone that the caller names, else of the one in the
    folder's `stratsweep.toml`, else of the directory's default: whoever asks knows best what for,
    and the folder knows its files better than the server does.
    """

    def __init__(
        self, path: Path, cache_byte_limit: int = 256 * 2**20, *, timezone: str = UTC
    ) -> None:
        """Use a folder; it is not read yet.

        Args:
            path: The folder.
            cache_byte_limit: How many bytes of bars are kept, least recently used go first.
            timezone: IANA name of the default zone.

        Raises:
            UnknownTimezoneError: There is no such zone.
        """
        check_timezone(timezone)
        self._path = path
        self._timezone = timezone
        self._settings: tuple[_Version, FolderSettings] | None = None
        self._bars = _BarsCache(cache_byte_limit)
        self._coverage: dict[str, tuple[_Version, SymbolCoverage]] = {}
        self._noted: dict[str, _Version] = {}

    def timezone(self) -> str:
        """Return the zone of times that name none, where the caller names none either.

        Raises:
            FolderSettingsError: The folder's settings cannot be used.
            StorageUnavailableError: The disk cannot be read.
        """
        return self._read_settings().timezone or self._timezone

    def symbols(self) -> list[str]:
        """Return the names of all symbols, sorted, those of unusable files included.

        Raises:
            StorageUnavailableError: The folder cannot be read.
        """
        return sorted(self._file_names())

    def load(
        self,
        symbol: str,
        start_date: date | None = None,
        end_date: date | None = None,
        warm_up_bar_count: int = 0,
        timezone: str = "",
    ) -> Bars:
        """Return the bars of a symbol within whole days of their zone, both ends included.

        Args:
            symbol: A name of `symbols()`, in its case.
            start_date: First day; None for no limit.
            end_date: Last day; None for no limit.
            warm_up_bar_count: Bars before the first day to add, as far as there are so many.
            timezone: IANA name of the zone of times without one, and of the days, where bars are
                not of whole days; empty for `timezone()`.

        Returns:
            At least one bar within the days: read-only views of the arrays that are kept.

        Raises:
            InvalidSymbolError: The text is no name.
            UnknownSymbolError: No file has that name.
            FolderSettingsError: The folder's settings cannot be used.
            InvalidBarsError: The file cannot be used.
            NoBarsError: The file has no bar within the dates.
            StorageUnavailableError: The folder or the disk cannot be read.
        """
        if not is_symbol(symbol):
            raise InvalidSymbolError(symbol)
        file_names = self._file_names()
        if symbol not in file_names:
            raise self._unknown(symbol, file_names)
        file_name = _only(file_names[symbol])
        timezone = timezone or self.timezone()
        with self._opened(symbol, file_name) as file:
            version = _version(file, timezone)
            bars = self._bars.get(file_name, version)
            if bars is None:
                bars = self._read(symbol, file_name, file, version).bars
                self._bars.put(file_name, version, bars)
        if not len(bars.between(start_date, end_date)):
            covered = (date_of(bars.time[end], bars.timezone) for end in (0, -1))
            raise NoBarsError(symbol, start_date, end_date, *covered)
        return bars.between(start_date, end_date, warm_up_bar_count)

    def coverage(self) -> list[SymbolCoverage]:
        """Return what there is for each symbol, sorted by name.

        Each file is read once and again when it has changed: the first call on a large folder takes
        as long as reading it.

        Raises:
            StorageUnavailableError: The folder or the disk cannot be read.
        """
        files = sorted(self._file_names().items())
        try:
            timezone = self.timezone()
        except MarketDataError as error:
            return [SymbolCoverage(symbol, error=str(error)) for symbol, _ in files]
        found = (self._coverage_of(*each, timezone) for each in files)
        return [coverage for coverage in found if coverage is not None]

    def _coverage_of(
        self, symbol: str, file_names: list[str], timezone: str
    ) -> SymbolCoverage | None:
        """Return what there is for a symbol; None when its file has just vanished."""
        try:
            file_name = _only(file_names)
            with self._opened(symbol, file_name) as file:
                version = _version(file, timezone)
                known_version, coverage = self._coverage.get(file_name, (None, None))
                if coverage is None or known_version != version:
                    coverage = self._read_coverage(symbol, file_name, file, version)
                    self._coverage[file_name] = version, coverage
                return coverage
        except UnknownSymbolError:
            return None
        except MarketDataError as error:
            return SymbolCoverage(symbol, error=str(error))

    def _read_coverage(
        self, symbol: str, file_name: str, file: BinaryIO, version: _Version
    ) -> SymbolCoverage:
        try:
            price_file = self._read(symbol, file_name, file, version)
        except InvalidBarsError as error:
            return SymbolCoverage(symbol, error=str(error))
        return replace(coverage_of(price_file.bars), notes=price_file.notes)

    def _read(self, symbol: str, file_name: str, file: BinaryIO, version: _Version) -> PriceFile:
        """Read an open file, and log once what is worth knowing of it."""
        *_, timezone = version
        price_file = read_price_file(symbol, file_name, file.read(), timezone)
        if price_file.notes and self._noted.get(file_name) != version:
            self._noted[file_name] = version
            logger.info("%s: %s", file_name, "; ".join(price_file.notes))
        return price_file

    def _file_names(self) -> dict[str, list[str]]:
        """List the price files of each symbol; more than one is an error of that symbol."""
        found: dict[str, list[str]] = {}
        for path in sorted(self._list()):
            if is_symbol(symbol := symbol_of(path.name)):
                found.setdefault(symbol, []).append(path.name)
        return found

    def _list(self) -> list[Path]:
        try:
            return list(self._path.iterdir())
        except OSError as error:
            raise self._unavailable(error) from error

    @contextmanager
    def _opened(self, symbol: str, file_name: str) -> Iterator[BinaryIO]:
        """Open a symbol's file to read it; raises an error that says whose fault a failure is."""
        try:
            with _open(self._path, file_name) as file:
                yield file
        except OSError as error:
            if error.errno in _OF_THE_DISK:
                raise self._unavailable(error) from error
            names = self._file_names()  # or the folder is gone by now
            if symbol not in names:
                raise self._unknown(symbol, names) from error
            reason = f"the file cannot be read: {error.strerror}"
            raise InvalidBarsError(file_name, None, reason) from error

    def _unknown(self, symbol: str, names: Collection[str]) -> UnknownSymbolError:
        others = (path.name for path in self._list() if is_unread_file_of(path.name, symbol))
        return unknown_symbol(symbol, names, tuple(sorted(others)))

    def _read_settings(self) -> FolderSettings:
        try:
            with _open(self._path, SETTINGS_FILE_NAME) as file:
                version = _version(file, "")
                if self._settings is None or self._settings[0] != version:
                    self._settings = version, parse_settings(file.read(MAX_SETTINGS_BYTES + 1))
                return self._settings[1]
        except FileNotFoundError:
            return FolderSettings()
        except OSError as error:
            if error.errno in _OF_THE_DISK:
                raise self._unavailable(error) from error
            self._list()  # or the folder is none by now
            reason = f"the file cannot be read: {error.strerror}"
            raise FolderSettingsError(SETTINGS_FILE_NAME, reason) from error

    def _unavailable(self, error: OSError) -> StorageUnavailableError:
        return StorageUnavailableError("data directory", self._path, error, self._list)


class _BarsCache:
    """Keep the bars of the files used last, up to a number of bytes."""

    def __init__(self, byte_limit: int) -> None:
        self._byte_limit = byte_limit
        self._byte_count = 0
        self._entries: OrderedDict[str, tuple[_Version, Bars]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, file_name: str, version: _Version) -> Bars | None:
        with self._lock:
            known_version, bars = self._entries.get(file_name, (None, None))
            if known_version != version:
                return None
            self._entries.move_to_end(file_name)
            return bars

    def put(self, file_name: str, version: _Version, bars: Bars) -> None:
        with self._lock:
            _, replaced = self._entries.pop(file_name, (None, None))
            self._byte_count += bars.byte_count - (replaced.byte_count if replaced else 0)
            self._entries[file_name] = version, bars
            while self._byte_count > self._byte_limit:
                _, (_, evicted) = self._entries.popitem(last=False)
                self._byte_count -= evicted.byte_count


def _only(file_names: list[str]) -> str:
    first, *others = file_names
    if others:
        also = " and ".join(others)
        raise InvalidBarsError(first, None, f"there is {also} too; keep one file for each symbol")
    return first


def _open(directory: Path, file_name: str) -> BinaryIO:
    """Open a price file, if it is a regular file that really is in the directory.

    Raises:
        InvalidBarsError: It is not.
        OSError: It cannot be opened.
    """
    try:
        root = directory.resolve()
        target = (root / file_name).resolve()
        if not target.is_relative_to(root):
            reason = "the file is a link out of the data directory; put the file itself there"
            raise InvalidBarsError(file_name, None, reason)
        # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever. O_NOFOLLOW: the
        # target may have become a link since it was checked.
        descriptor = os.open(target, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except RuntimeError as error:  # Python < 3.13
        raise OSError(errno.ELOOP, "a loop of links") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidBarsError(file_name, None, "this is not a regular file; remove it")
    return os.fdopen(descriptor, "rb")


def _version(file: BinaryIO, timezone: str) -> _Version:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns, status.st_ino, timezone
