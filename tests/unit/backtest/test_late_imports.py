"""What a source imports when its functions run, found without running them."""

from __future__ import annotations

import warnings

import pytest
from stratsweep_server.backtest.late_imports import imported_names, may_import_late


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("def f():\n    import helper", {"helper"}),
        ("def f():\n\timport a.b as c, d", {"a.b", "d"}),
        ("def f():\n    from helper import level", {"helper", "helper.level"}),
        ("def f():\n    from . import level", {"ideas", "ideas.level"}),
        ("def f():\n    from .deep.down import x", {"ideas.deep.down", "ideas.deep.down.x"}),
        ("def f():\n    from ... import level", set()),
        ("def f(): import helper", {"helper"}),
        ("x = 1; import helper", {"helper"}),
        ("class A:\n  def f(self):\n    if 1:\n      import helper", {"helper"}),
        ("import importlib\nimportlib.import_module('helper')", {"importlib", "helper"}),
        ("import_module('a.b', __name__)", {"a.b"}),
        ("import importlib\nimportlib.import_module(name)", {"importlib"}),
        ("import helper", {"helper"}),
        ("def f():\n    return 'from here'", set()),
        ("def f(:\n    import helper", set()),
        ("def f():\n    '''\n    from here on\n    '''", set()),
    ],
)
def test_imports_anywhere_are_found_by_name(text, names):
    assert imported_names(text.encode(), "ideas") == names


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("import a\nfrom b import c\ndef f():\n    return a\n", False),
        ("import a\ndef f():\n    import b\n", True),
        ("def f(): import b", True),
        ("x = 1; from b import c", True),
        ("import_module(x)", True),
    ],
)
def test_most_sources_are_seen_to_import_nothing_late(text, may):
    assert may_import_late(text.encode()) is may


def test_looking_warns_of_nothing_and_takes_any_bytes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert imported_names(b"def f():\n    import a\n    return '\\d'", "") == {"a"}
        assert imported_names(b"\xff\x00\n import a", "") == set()
