"""Compressed price files: what they unpack to, and that this is bounded."""

from __future__ import annotations

import contextlib
import gzip
import io
import zipfile
from itertools import product

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stratsweep_server.market_data.errors import InvalidBarsError
from stratsweep_server.market_data.price_file import read_price_file
from stratsweep_server.market_data.unpacking import unpacked
from stratsweep_server.market_data.zstd_size import DamagedZstdError, zstd_size_limit

TEXT = b"Date,Open,High,Low,Close\n2024-01-02,1,2,1,2\n2024-01-03,2,3,2,3\n"


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


PACKERS = {".gz": gzip.compress, ".zst": zstd}


@pytest.mark.parametrize("compression", PACKERS)
@pytest.mark.parametrize("extension", [".csv", ".txt", ".TSV"])
def test_a_compressed_file_is_the_same_bars(compression, extension):
    for name in (f"X{extension}{compression}", f"X{extension}{compression.upper()}"):
        assert read_price_file("X", name, PACKERS[compression](TEXT)).bars.close.tolist() == [2, 3]


@pytest.mark.parametrize("compression", PACKERS)
def test_a_file_of_several_parts_is_read_as_one(compression):
    pack = PACKERS[compression]
    parts = pack(TEXT) + pack(b"2024-01-04,2,3,2,3\n")
    assert read_price_file("X", f"X.csv{compression}", parts).bars.close.tolist() == [2, 3, 3]


@pytest.mark.parametrize("compression", PACKERS)
def test_the_line_of_a_bad_row_is_that_of_what_was_packed(compression):
    content = PACKERS[compression](b"\n\n" + TEXT + b"\r\n\n2024-01-04,2,3,,3")
    with pytest.raises(InvalidBarsError) as caught:
        read_price_file("X", f"X.csv{compression}", content)
    assert caught.value.row == 8


@given(st.text(st.characters(exclude_characters="\x01\r", exclude_categories=["Cs"])))
def test_text_comes_out_of_zstandard_as_it_was(text):
    if not text:
        return
    content = unpacked("X.csv.zst", zstd(text.encode()))
    assert content.removesuffix(b"\n") == text.removeprefix("\ufeff").encode().removesuffix(b"\n")


@pytest.mark.parametrize(
    ("file_name", "content"),
    [
        ("X.csv.gz", TEXT),
        ("X.csv.gz", gzip.compress(TEXT)[:-9]),
        ("X.csv.gz", gzip.compress(TEXT) + b"junk"),
        ("X.csv.gz", zstd(TEXT)),
        ("X.csv.zst", TEXT),
        ("X.csv.zst", zstd(TEXT)[:-3]),
        ("X.csv.zst", zstd(TEXT) + b"junk"),
        ("X.csv.zst", gzip.compress(TEXT)),
        ("X.csv.zst", zstd(b"\xff\xff\n")),
        ("X.csv.zst", zstd(b"a\x01b\n")),
    ],
)
def test_what_cannot_be_unpacked_is_refused(file_name, content):
    with pytest.raises(InvalidBarsError, match="the file is damaged or is not"):
        read_price_file("X", file_name, content)


@pytest.mark.parametrize("compression", PACKERS)
def test_an_empty_compressed_file_is_refused(compression):
    for content in (b"", PACKERS[compression](b"")):
        with pytest.raises(InvalidBarsError):
            read_price_file("X", f"X.csv{compression}", content)


@pytest.mark.parametrize("compression", PACKERS)
def test_what_would_unpack_to_very_much_is_refused(compression):
    bomb = PACKERS[compression](b"\0" * (65 * 2**20))
    with pytest.raises(InvalidBarsError, match="unpacks to more than 64 MB; unpack it"):
        read_price_file("X", f"X.csv{compression}", bomb)


@pytest.mark.parametrize("count", [0, 1, 1000, 200_000, 5_000_000])
def test_the_size_of_zstandard_is_bounded_without_unpacking(count):
    content = b"".join(b"%d\n" % number for number in range(count // 7)) + b"a" * (count % 7)
    limit = zstd_size_limit(zstd(content))
    assert len(content) <= limit <= 2 * len(content) + 2**17


@given(st.binary(max_size=60), st.integers(0, 40))
def test_whatever_looks_like_zstandard_has_a_size_or_none(tail, length):
    with contextlib.suppress(DamagedZstdError):
        assert zstd_size_limit(zstd(TEXT)[:length] + tail) >= 0


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


@pytest.mark.parametrize(
    "beside", [{}, {"report.txt": b"gaps"}, {"__MACOSX/._X.csv": b"?"}, {"folder/": b""}]
)
def test_an_archive_gives_its_only_csv_file(beside):
    assert unpacked("X.zip", zipped(beside | {"data/X.CSV": TEXT})) == TEXT


def test_an_archive_without_csv_gives_its_only_text():
    assert unpacked("X.ZIP", zipped({"X.txt": TEXT})) == TEXT


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"A.csv": TEXT, "B.csv": TEXT}, "2 files of text, A.csv, B.csv"),
        ({"A.bin": TEXT}, "no file of text"),
    ],
)
def test_an_archive_that_does_not_tell_its_price_file_is_refused(files, found):
    with pytest.raises(InvalidBarsError, match=f"the archive has {found}; unpack it"):
        unpacked("X.zip", zipped(files))


@pytest.mark.parametrize("content", [b"", b"PK", TEXT, zipped({"X.csv": TEXT})[:60]])
def test_a_damaged_archive_is_refused(content):
    with pytest.raises(InvalidBarsError, match="damaged or is not ZIP"):
        unpacked("X.zip", content)


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_damage_anywhere_in_an_archive_is_refused(compression):
    content = zipped({"X.csv": TEXT}, compression)
    for place, byte in product(range(len(content)), (0, 0x41, 0xFF)):
        damaged = content[:place] + bytes([byte]) + content[place + 1 :]
        with contextlib.suppress(InvalidBarsError):
            assert len(unpacked("X.zip", damaged)) == len(TEXT)


def test_an_archive_that_unpacks_to_too_much_is_refused():
    content = zipped({"X.csv": bytes(65 * 2**20)})
    with pytest.raises(InvalidBarsError, match="unpacks to more than 64 MB"):
        unpacked("X.zip", content)


def test_an_archive_with_a_password_is_refused():
    content = bytearray(zipped({"X.csv": TEXT}, zipfile.ZIP_STORED))
    for place in (6, content.index(b"PK\x01\x02") + 8):
        content[place] |= 1  # says that it is encrypted
    with pytest.raises(InvalidBarsError, match="has a password"):
        unpacked("X.zip", bytes(content))
