"""Decode the content of a text file to UTF-8, or say what else the file is."""

from __future__ import annotations

import codecs

from stratsweep_server.market_data.errors import InvalidBarsError

_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
# The first bytes of files that are something else, and what they are.
_OTHER_KINDS = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"\x1f\x8b", "compressed with gzip: name it .csv.gz, or unpack it and"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard: name it .csv.zst, or unpack it and"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\x00", "compressed with xz"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"PAR1", "Parquet: name it .parquet, or"),
    (b"ARROW1", "Arrow"),
    (b"FEA1", "Feather"),
    (b"\x89HDF", "HDF5"),
    (b"SQLite format", "a database"),
    (b"%PDF", "a PDF document"),
    (b"<!doctype", "a web page: download the file itself, or"),
    (b"<html", "a web page: download the file itself, or"),
    (b"<?xml", "XML"),
    (b"{", "JSON"),
    (b"[", "JSON"),
)
_SAMPLE = 4096


def text_of(file_name: str, content: bytes) -> bytes:
    """Return a text file's content as UTF-8 without a mark.

    UTF-16 and UTF-32 are known by their mark. Whether all the rest is UTF-8 is not looked at.

    Raises:
        InvalidBarsError: It is not text, or UTF-16 without a mark or with an error in it.
    """
    if content.startswith(codecs.BOM_UTF8):
        return content.removeprefix(codecs.BOM_UTF8)
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _decoded(file_name, content, encoding).encode()
    head = content[:_SAMPLE].lstrip().lower()
    for start, kind in _OTHER_KINDS:
        if head.startswith(start.lower()):
            end = kind if kind.endswith((" or", " and")) else f"{kind};"
            raise InvalidBarsError(file_name, None, f"the file is {end} save it as CSV")
    if b"\0" in content[:_SAMPLE]:
        raise _not_text(file_name, content[:_SAMPLE])
    return content


def not_utf_8(content: bytes, position: int) -> str:
    """Say that a text is not UTF-8 from a place on, and what it may be."""
    part = content[position : position + _SAMPLE]
    try:
        part.decode("cp1252")
    except UnicodeDecodeError:
        return "the text is not UTF-8; save the file as UTF-8"
    return "the text is not UTF-8, perhaps Windows-1252; save the file as UTF-8"


def _decoded(file_name: str, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        reason = f"the text is {encoding} with an error in it; save the file as UTF-8"
        raise InvalidBarsError(file_name, None, reason) from error


def _not_text(file_name: str, sample: bytes) -> InvalidBarsError:
    """Tell UTF-16 without a mark, whose every other byte is 0 in prices, from what is no text."""
    halves = sample[::2], sample[1::2]
    fewest, most = sorted(half.count(0) for half in halves)
    if not fewest and 2 * most > len(halves[1]):
        reason = "the text seems to be UTF-16 without a mark that says so; save the file as UTF-8"
    else:
        reason = "the file is binary, not text; save it as CSV"
    return InvalidBarsError(file_name, None, reason)
