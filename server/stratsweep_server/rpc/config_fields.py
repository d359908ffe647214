"""Name the fields of the contract's config that are carried over by their name, as they are."""

from __future__ import annotations

from stratsweep.v1.optimization_config_pb2 import OptimizationConfig

PLAIN_FIELDS = frozenset(
    field.name
    for field in OptimizationConfig.DESCRIPTOR.fields
    # Of a repeated field the default is a list; protobuf 6.30 has no `is_repeated` yet.
    if field.message_type is None and field.enum_type is None and field.default_value != []
)
"""The single numbers and texts. Each is an attribute of the optimizer's `OptimizationConfig`, too;
one that a request does not set takes its default there."""
