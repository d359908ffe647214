"""First lines of docstrings: each says what the thing does, so it begins with a verb.

A fragment such as "The names, sorted." is understood only by whoever has just written the code.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SERVER = REPOSITORY / "server" / "stratsweep_server"
CLIENT = REPOSITORY / "client" / "stratsweep"
LEFT_OUT = {CLIENT / "v1", CLIENT / "cli"}
"""Generated code; and the command line, where docstrings of commands are their help texts."""

IMPERATIVES = """
Add Admit Allow Answer Append Apply Ask Assign Attach Await Begin Book Bring Build Call Cancel Check
Choose Close Collect Combine Compare Compile Compute Configure Connect Control Convert Copy Count
Create Cut Decide Declare Decode Define Delete Derive Describe Detach Divide Draw Drop Encode End
Ensure Escape Estimate Evaluate Expand Explain Export Extend Fill Find Fit Follow Forget Format
Gather Give Go Group Hand Handle Have Hear Hold Implement Import Iterate Join Keep Kill Learn Let
Limit List Load Locate Log Look Make Map Mark Match Measure Merge Move Name Note Number Open
Optimize Own Pack Parse Pass Prepare Print Probe Put Queue Quote Raise Rank Read Receive Record
Refuse Register Release Remember Remove Rename Render Repeat Replace Report Request Resolve Restore
Return Round Run Save Say Scale Search See Select Send Separate Serve Set Share Shorten Show
Simulate Skip Sort Split Stand Start Stop Store Stream Summarize Sync Take Tell Track Trade
Translate Trim Try Turn Understand Unmap Unpack Update Use Validate View Wait Walk Warn Watch Wire
Wrap Write Yield
"""
"""Add a verb that is missing. "Whether", "The" and "How" are none: "Return whether" is."""


def public_docstrings(package: Path) -> Iterator[tuple[str, str]]:
    """Place and docstring of every public class, function, method and property."""
    for path in sorted(package.rglob("*.py")):
        is_private = path.name.startswith("_") and not path.name.startswith("__")
        if not is_private and LEFT_OUT.isdisjoint(path.parents):
            yield from _docstrings(ast.parse(path.read_text()), str(path.relative_to(REPOSITORY)))


def _docstrings(tree: ast.Module | ast.ClassDef, where: str) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_") or is_described_to_users(node):
            continue
        text = ast.get_docstring(node)
        if text:
            yield f"{where}:{node.lineno} {node.name}", text
        if isinstance(node, ast.ClassDef):
            yield from _docstrings(node, where)


def is_described_to_users(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """A strategy's first line is the description that users read: "Long while …"."""
    return any(isinstance(each, ast.Name) and each.id == "strategy" for each in node.decorator_list)


def first_word(text: str) -> str:
    return text.split(maxsplit=1)[0].rstrip(",;:.")


@pytest.mark.parametrize("package", [SERVER, CLIENT], ids=lambda package: package.name)
def test_public_docstrings_begin_with_a_verb(package):
    found = list(public_docstrings(package))
    verbs = set(IMPERATIVES.split())
    assert len(found) > 50
    fragments = [
        f"{where}: {text.splitlines()[0]}" for where, text in found if first_word(text) not in verbs
    ]
    assert not fragments, "begin with a verb, as in 'Return the …':\n" + "\n".join(fragments)
