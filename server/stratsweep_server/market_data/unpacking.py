"""Unpack the content of a price file by its name: gzip, Zstandard or ZIP.

What it unpacks to is bounded: a file that was made to unpack to very much is refused.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable
from functools import partial

import polars as pl

from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.file_names import TEXT_EXTENSIONS
from stratsweep_server.market_data.zstd_size import DamagedZstdError, zstd_size_limit
from stratsweep_server.texts import listed

_SMALLEST_LIMIT, _LARGEST_LIMIT = 64 * 2**20, 2 * 2**30
# Prices as text take 3 to 30 times the room of what they are packed to.
_LARGEST_RATIO = 200
_CHUNK = 2**20
# No text has it: each line is one field.
_NO_SEPARATOR = "\x01"


def unpacked(file_name: str, content: bytes) -> bytes:
    """Return a price file's content as it is without compression.

    Args:
        file_name: Ends with `.gz`, `.zst` or `.zip`, in any case, where it is compressed.
        content: The whole file.

    Raises:
        InvalidBarsError: It cannot be unpacked, would be too large, or is not one file of text.
    """
    folded = file_name.lower()
    if folded.endswith(".gz"):
        return _from_gzip(file_name, content)
    if folded.endswith(".zst"):
        return _from_zstd(file_name, content)
    if folded.endswith(".zip"):
        return _from_zip(file_name, content)
    return content


def _limit(content: bytes) -> int:
    return min(max(_SMALLEST_LIMIT, _LARGEST_RATIO * len(content)), _LARGEST_LIMIT)


def _from_gzip(file_name: str, content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            return _read_bounded(file_name, content, file.read)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(file_name, "gzip") from error


def _from_zip(file_name: str, content: bytes) -> bytes:
    """Unpack the only price file of an archive; what it states of its size may be a lie."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            name = _only_text(file_name, archive.namelist())
            with archive.open(name) as file:
                return _read_bounded(file_name, content, file.read)
    except InvalidBarsError:
        raise
    except (RuntimeError, NotImplementedError) as error:  # encrypted; packed in a rare way
        reason = "the archive has a password or is packed in a way that is not read; unpack it"
        raise InvalidBarsError(file_name, None, reason) from error
    except Exception as error:  # zipfile and what unpacks for it name a dozen for damage
        raise _damaged(file_name, "ZIP") from error


def _only_text(file_name: str, names: list[str]) -> str:
    """Return the name of an archive's only CSV file, or only text, beside what tells of it."""
    visible = [each for each in names if not each.startswith("__MACOSX/")]
    texts = [each for each in visible if each.lower().endswith(TEXT_EXTENSIONS)]
    tables = [each for each in texts if each.lower().endswith(TEXT_EXTENSIONS[0])] or texts
    if len(tables) != 1:
        found = f"{len(tables)} files of text, {listed(tables, 3)}" if tables else "no file of text"
        reason = f"the archive has {found}; unpack it and name the file with the prices"
        raise InvalidBarsError(file_name, None, reason)
    return tables[0]


def _read_bounded(file_name: str, content: bytes, read: Callable[[int], bytes]) -> bytes:
    """Read what a content unpacks to, up to its limit."""
    chunks, left = [], _limit(content)
    for chunk in iter(partial(read, _CHUNK), b""):
        chunks.append(chunk)
        left -= len(chunk)
        if left < 0:
            raise _too_large(file_name, content)
    return b"".join(chunks)


def _from_zstd(file_name: str, content: bytes) -> bytes:
    """Have polars unpack it, as a table of lines: Python 3.11 cannot."""
    try:
        if zstd_size_limit(content) > _limit(content):
            raise _too_large(file_name, content)
        lines = pl.read_csv(
            content,
            has_header=False,
            separator=_NO_SEPARATOR,
            quote_char=None,
            infer_schema=False,
            new_columns=["line"],
        )
    except pl.exceptions.NoDataError:
        return b""
    except (DamagedZstdError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _damaged(file_name, "Zstandard with UTF-8 text in it") from error
    except OSError as error:
        raise _damaged(file_name, "Zstandard") from error
    joined = lines["line"].fill_null("").str.join("\n")
    text: str = joined.item()
    return text.encode() + b"\n"


def _too_large(file_name: str, content: bytes) -> InvalidBarsError:
    limit = _limit(content) // 2**20
    reason = f"the file unpacks to more than {limit:,} MB; unpack it and keep it as it is"
    return InvalidBarsError(file_name, None, reason)


def _damaged(file_name: str, kind: str) -> InvalidBarsError:
    return InvalidBarsError(file_name, None, f"the file is damaged or is not {kind}; pack it again")
