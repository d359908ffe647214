"""Find in a module's source what it imports, when its functions run too, without running it."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from importlib.util import resolve_name

_PERHAPS = re.compile(rb"(?m)^[ \t]+(import|from)\b|[;:][ \t]*(import|from)\b|import_module")


def may_import_late(text: bytes) -> bool:
    """Return whether a source may import anything that its own import does not; in no time."""
    return _PERHAPS.search(text) is not None


def imported_names(text: bytes, package: str) -> set[str]:
    """Return the dotted names of what a source imports anywhere.

    Names that are made while the program runs are not found. Of `from a import b`, both `a` and
    `a.b` are given, since `b` may be a module.

    Args:
        text: The source.
        package: Dotted name of the package that it is in, or is; empty for none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever compiles it is warned
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            return set()
    return {name for node in ast.walk(tree) for name in _names(node, package)}


def _names(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        try:
            base = resolve_name("." * node.level + (node.module or ""), package)
        except ImportError:  # beyond the top of its package
            return
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and _called(node) == "import_module":
        for each in node.args[:1]:
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                yield each.value


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
