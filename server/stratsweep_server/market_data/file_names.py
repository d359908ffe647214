"""Tell which files of a folder are price files, and of which symbol."""

from __future__ import annotations

TEXT_EXTENSIONS = (".csv", ".txt", ".tsv")
PARQUET_EXTENSION = ".parquet"
COMPRESSIONS = (".gz", ".zst")

_EXTENSIONS = (
    *(text + compression for text in TEXT_EXTENSIONS for compression in ("", *COMPRESSIONS)),
    PARQUET_EXTENSION,
)
# What people keep prices in, and is not read.
_UNREAD_EXTENSIONS = (
    *(".zip", ".bz2", ".xz", ".7z", ".rar", ".tar", ".tgz", ".lz4", ".z", ".br", ".gz", ".zst"),
    *(".xlsx", ".xls", ".ods", ".feather", ".arrow", ".ipc", ".h5", ".hdf5", ".hdf", ".pkl"),
    *(".pickle", ".json", ".jsonl", ".ndjson", ".npy", ".npz", ".db", ".sqlite", ".dbn", ".hst"),
    *(".bi5", ".hcc", ".dat", ".prn", ".orc", ".avro", ".xml", ".parq", ".pq"),
)

_LONGEST_SYMBOL = 64


def is_symbol(text: str) -> bool:
    """Return whether a text can be a symbol: printable, no separators, no hidden file's name."""
    return (
        0 < len(text) <= _LONGEST_SYMBOL
        and text.isprintable()
        and text == text.strip()
        and not text.startswith(".")
        and not any(separator in text for separator in "/\\")
    )


def symbol_of(file_name: str) -> str:
    """Return the symbol of a price file, the name without its extension; empty for another file."""
    folded = file_name.lower()
    extension = next((each for each in _EXTENSIONS if folded.endswith(each)), "")
    return file_name.removesuffix(file_name[len(file_name) - len(extension) :]) if extension else ""


def is_unread_file_of(file_name: str, symbol: str) -> bool:
    """Return whether a file seems to have the prices of a symbol in a format that is not read."""
    folded, start = file_name.lower(), symbol.lower() + "."
    return (
        folded.startswith(start)
        and folded.endswith(_UNREAD_EXTENSIONS)
        and not symbol_of(file_name)
        and folded.count(".", len(start)) <= 1
    )


def is_parquet(file_name: str) -> bool:
    """Return whether a price file is Parquet, by its name; else it is text."""
    return file_name.lower().endswith(PARQUET_EXTENSION)
