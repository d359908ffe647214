"""Describe the columns of an Arrow stream, and write and read the message that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from io import BytesIO

from stratsweep_server.arrow.flat_buffer import REFERENCE, FlatBuffer, Scalar
from stratsweep_server.arrow.messages import (
    END_OF_STREAM,
    MessageKind,
    finish_message,
    message_template,
)

_STRUCT = 13  # in Arrow's union `Type`
_NAMES = {"DOUBLE": "FLOAT64", "STRING": "TEXT"}  # nanoarrow's names where they are others


class ColumnType(Enum):
    """Name the type of a column's values.

    Each has its number in Arrow's union `Type`, and the fields of its table there.
    """

    INT8 = (2, ("i", 8), ("?", True))
    UINT32 = (2, ("i", 32), ("?", False))
    INT64 = (2, ("i", 64), ("?", True))
    FLOAT64 = (3, ("h", 2))
    TEXT = (5,)


@dataclass(frozen=True, slots=True)
class Column:
    """Describe a column of plain values.

    Attributes:
        name: What it is called.
        type: What its values are.
        is_nullable: Whether values may be missing: None in a text, NaN in a FLOAT64.
    """

    name: str
    type: ColumnType
    is_nullable: bool = False


@dataclass(frozen=True, slots=True)
class FigureTable:
    """Describe a column of structures of doubles, each of which may be missing.

    Attributes:
        name: What it is called.
        names: What the doubles are called.
    """

    name: str
    names: tuple[str, ...]


Columns = Sequence[Column | FigureTable]


def schema_message(columns: Columns, metadata: Mapping[str, str]) -> bytes:
    """Return the message that begins a stream.

    Args:
        columns: Its columns.
        metadata: Whatever readers are to know.
    """

    def write(flat: FlatBuffer, reference: int) -> None:
        little_endian = ("h", 0)
        _, fields, pairs = flat.table(reference, little_endian, REFERENCE, REFERENCE)
        _write_fields(flat, fields, columns)
        places = flat.references(pairs, len(metadata))
        for place, (name, value) in zip(places, metadata.items(), strict=True):
            name_place, value_place = flat.table(place, REFERENCE, REFERENCE)
            flat.text(name_place, name)
            flat.text(value_place, value)

    message = bytearray(message_template(MessageKind.SCHEMA, write))
    finish_message(message, (), 0)
    return bytes(message)


def read_schema(message: bytes) -> tuple[Columns, dict[str, str]]:
    """Return the columns, and what readers are to know, of the message that begins a stream.

    Raises:
        ValueError: There is a column of another kind than can be described here.
    """
    # It takes 60 ms to import, and only readers of stored files need it.
    import nanoarrow  # noqa: PLC0415
    from nanoarrow.ipc import InputStream  # noqa: PLC0415

    with InputStream.from_readable(BytesIO(message + END_OF_STREAM)) as stream:
        schema = nanoarrow.schema(nanoarrow.c_array_stream(stream).get_schema())
    metadata = {name.decode(): value.decode() for name, value in (schema.metadata or {}).items()}
    columns: list[Column | FigureTable] = []
    for field in schema.fields:
        kind = _NAMES.get(field.type.name, field.type.name)
        if kind == "STRUCT":
            names = tuple(child.name for child in field.fields)
            columns.append(FigureTable(field.name, names))
        elif kind in ColumnType.__members__:
            columns.append(Column(field.name, ColumnType[kind], field.nullable))
        else:
            raise ValueError(f"the column {field.name!r} has the unknown type {kind}")
    return columns, metadata


def _write_fields(flat: FlatBuffer, reference: int, columns: Columns) -> None:
    places = flat.references(reference, len(columns))
    for place, column in zip(places, columns, strict=True):
        if isinstance(column, FigureTable):
            children = [Column(name, ColumnType.FLOAT64, True) for name in column.names]
            _write_field(flat, place, column.name, False, (_STRUCT,), children)
        else:
            _write_field(flat, place, column.name, column.is_nullable, column.type.value, ())


def _write_field(
    flat: FlatBuffer,
    reference: int,
    name: str,
    is_nullable: bool,
    kind: tuple[int, *tuple[Scalar, ...]],
    children: Columns,
) -> None:
    number, *details = kind
    name_place, _, _, type_place, _, child_place = flat.table(
        reference, REFERENCE, ("?", is_nullable), ("B", number), REFERENCE, None, REFERENCE
    )
    flat.text(name_place, name)
    flat.table(type_place, *details)
    _write_fields(flat, child_place, children)
