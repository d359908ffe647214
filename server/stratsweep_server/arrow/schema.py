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

    BOOL = (6,)
    INT8 = (2, ("i", 8), ("?", True))
    UINT32 = (2, ("i", 32), ("?", False))
    INT64 = (2, ("i", 64), ("?", True))
    FLOAT64 = (3, ("h", 2))
    MICROSECONDS = (18, ("h", 2))
    TEXT = (5,)
    LONG_TEXT = (20,)


@dataclass(frozen=True, slots=True)
class Column:
    """Describe a column of plain values.

    Attributes:
        name: What it is called.
        type: What its values are.
        is_nullable: Whether values may be missing: one that is not there in a TEXT, NaN in a
            FLOAT64; no value of another type is.
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
        is_nullable: Whether readers are told that a structure may be missing; none ever is.
    """

    name: str
    names: tuple[str, ...]
    is_nullable: bool = False


@dataclass(frozen=True, slots=True)
class Structure:
    """Describe a column of structures.

    Attributes:
        name: What it is called.
        columns: What is in each.
        is_nullable: As in a `FigureTable`.
    """

    name: str
    columns: tuple[Column, ...]
    is_nullable: bool = False


AnyColumn = Column | FigureTable | Structure
Columns = Sequence[AnyColumn]


def schema_message(
    columns: Columns, metadata: Mapping[str, str], *, has_checksum: bool = True
) -> bytes:
    """Return the message that begins a stream.

    Args:
        columns: Its columns.
        metadata: Whatever readers are to know.
        has_checksum: Whether it has one.
    """

    def write(flat: FlatBuffer, reference: int) -> None:
        little_endian = ("h", 0)
        described = REFERENCE if metadata else None
        _, fields, pairs = flat.table(reference, little_endian, REFERENCE, described)
        _write_fields(flat, fields, columns)
        places = flat.references(pairs, len(metadata)) if metadata else ()
        for place, (name, value) in zip(places, metadata.items(), strict=True):
            name_place, value_place = flat.table(place, REFERENCE, REFERENCE)
            flat.text(name_place, name)
            flat.text(value_place, value)

    message = bytearray(message_template(MessageKind.SCHEMA, write, has_checksum=has_checksum))
    finish_message(message, (), 0, has_checksum=has_checksum)
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
            _write_field(flat, place, column, (_STRUCT,), children)
        elif isinstance(column, Structure):
            _write_field(flat, place, column, (_STRUCT,), column.columns)
        else:
            _write_field(flat, place, column, column.type.value, ())


def _write_field(
    flat: FlatBuffer,
    reference: int,
    column: AnyColumn,
    kind: tuple[int, *tuple[Scalar, ...]],
    children: Columns,
) -> None:
    number, *details = kind
    name_place, _, _, type_place, _, child_place = flat.table(
        reference, REFERENCE, ("?", column.is_nullable), ("B", number), REFERENCE, None, REFERENCE
    )
    flat.text(name_place, column.name)
    flat.table(type_place, *details)
    _write_fields(flat, child_place, children)
