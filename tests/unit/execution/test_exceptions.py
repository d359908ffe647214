"""Exceptions become plain text, whatever they are."""

from __future__ import annotations

import sys

import pytest
from stratsweep_server.backtest.importing import EngineLoadError, import_named
from stratsweep_server.execution.exceptions import (
    describe_exception,
    format_loading_failure,
    format_traceback,
)


def raised(raise_it) -> BaseException:
    """The exception with its traceback, as the worker's loop catches it."""
    try:
        raise_it()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def raise_(error: BaseException) -> None:
    raise error


class KeywordOnlyError(Exception):
    def __init__(self, *, bar: int) -> None:
        super().__init__(f"no price at bar {bar}")


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class ExitsWhenReadError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class NumberAsTextError(Exception):
    def __str__(self) -> str:
        return 7  # noqa: PLE0307 - hostile


class UnpicklableError(Exception):
    def __init__(self) -> None:
        super().__init__("has a lambda")
        self.callback = lambda: None

    def __reduce__(self):
        raise RuntimeError("no pickle")


class HidingMeta(type):
    def __getattribute__(cls, name: str) -> object:
        raise RuntimeError("no name")


class NamelessError(Exception, metaclass=HidingMeta):
    pass


class HostileText(str):
    __slots__ = ()

    def split(self, *arguments):
        raise RuntimeError("no words")


class HostileTextError(Exception):
    def __str__(self) -> str:
        return HostileText("text")


def endless_recursion(depth: int = 0) -> int:
    return endless_recursion(depth + 1)


def local_class() -> None:
    class LocalError(Exception):
        pass

    raise LocalError("here only")


NO_TEXT = "<its text could not be made"


@pytest.mark.parametrize(
    ("raise_it", "message"),
    [
        (lambda: raise_(ValueError("no luck")), "ValueError: no luck"),
        (lambda: raise_(ValueError()), "ValueError"),
        (lambda: raise_(ValueError("two\n  lines\t!")), "ValueError: two lines !"),
        (lambda: raise_(KeyError("SPY")), "KeyError: 'SPY'"),
        (lambda: raise_(SystemExit(3)), "SystemExit: 3"),
        (lambda: raise_(KeyboardInterrupt()), "KeyboardInterrupt"),
        (lambda: raise_(KeywordOnlyError(bar=3)), "KeywordOnlyError: no price at bar 3"),
        (lambda: raise_(UnpicklableError()), "UnpicklableError: has a lambda"),
        (lambda: raise_(UnreadableError()), f"UnreadableError: {NO_TEXT}"),
        (lambda: raise_(ExitsWhenReadError()), f"ExitsWhenReadError: {NO_TEXT}"),
        (lambda: raise_(NumberAsTextError()), f"NumberAsTextError: {NO_TEXT}"),
        (lambda: raise_(HostileTextError()), f"HostileTextError: {NO_TEXT}"),
        (lambda: raise_(NamelessError("still here")), "NamelessError: still here"),
        (local_class, "local_class.<locals>.LocalError: here only"),
        (endless_recursion, "RecursionError: maximum recursion depth exceeded"),
        (lambda: raise_(ExceptionGroup("two", [ValueError(), OSError()])), "ExceptionGroup: two"),
    ],
)
def test_an_exception_is_described_in_one_line_whatever_it_is(raise_it, message):
    error = raised(raise_it)
    description = describe_exception(error)
    assert description.startswith(message)
    assert "\n" not in description
    assert isinstance(format_traceback(error), str)


def test_a_description_is_cut():
    assert len(describe_exception(ValueError("x" * 10**6))) == 2_000


def test_a_traceback_says_where():
    text = format_traceback(raised(lambda: raise_(ValueError("no luck"))))
    assert text.startswith("Traceback (most recent call last):")
    assert "in raise_\n    raise error" in text
    assert text.endswith("ValueError: no luck\n")


def imported(tmp_path, monkeypatch, source: str) -> EngineLoadError:
    """The error of importing a module of the user's by our code."""
    (tmp_path / "users_own.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineLoadError) as caught:
        import_named("users_own")
    sys.modules.pop("users_own", None)
    return caught.value


def test_a_traceback_begins_with_the_users_code(tmp_path, monkeypatch):
    error = imported(tmp_path, monkeypatch, "def load():\n    return 1 / 0\n\nload()\n")
    first, second = [
        line for line in format_traceback(error.__cause__).splitlines() if "File" in line
    ]
    assert first.endswith('users_own.py", line 4, in <module>')
    assert second.endswith('users_own.py", line 2, in load')


def test_a_traceback_of_our_own_code_alone_is_whole(tmp_path, monkeypatch):
    error = imported(tmp_path, monkeypatch, "def load(:\n")
    assert 'importing.py", line' in format_traceback(error)


def test_a_module_that_is_no_python_fails_with_file_line_and_caret_alone(tmp_path, monkeypatch):
    error = imported(tmp_path, monkeypatch, "import math\ndef load(:\n")
    assert str(error).endswith("SyntaxError: invalid syntax (users_own.py, line 2)")
    place, line, caret, what = format_loading_failure(error.__cause__).splitlines()
    assert place == f'  File "{tmp_path / "users_own.py"}", line 2'
    assert line.strip() == "def load(:"
    assert line[caret.index("^")] == ":"
    assert what == "SyntaxError: invalid syntax"


def test_a_declaration_that_is_refused_fails_at_its_strategy(tmp_path, monkeypatch):
    source = "from stratsweep_server.backtest import strategy\n\n"
    source += "@strategy\ndef mine(bars, days: list = 3):\n    return bars.close\n"
    error = imported(tmp_path, monkeypatch, source)
    refusal = "strategy 'mine', parameter 'days' cannot have the type list; use int, float, str,"
    assert f"module 'users_own' cannot be imported: {refusal}" in str(error)
    text = format_loading_failure(error.__cause__)
    assert [line for line in text.splitlines() if "File" in line] == [
        f'  File "{tmp_path / "users_own.py"}", line 3, in <module>'
    ]
    assert refusal in text.splitlines()[-1]


def test_a_module_that_fails_in_the_middle_of_a_chain_names_the_users_frames_of_all(
    tmp_path, monkeypatch
):
    source = "try:\n    import not_there\nexcept ImportError as error:\n"
    source += "    import importlib\n    importlib.import_module('json.nothing')\n"
    text = format_loading_failure(imported(tmp_path, monkeypatch, source).__cause__)
    frames = [line.strip() for line in text.splitlines() if line.strip().startswith("File")]
    file = tmp_path / "users_own.py"
    assert frames == [f'File "{file}", line {number}, in <module>' for number in (2, 5)]
    assert "During handling of the above exception" in text


def test_a_module_that_exits_fails_where_it_does(tmp_path, monkeypatch):
    error = imported(tmp_path, monkeypatch, "import sys\nsys.exit('no licence')\n")
    assert str(error) == "module 'users_own' cannot be imported: SystemExit: no licence"
    assert 'users_own.py", line 2' in format_loading_failure(error.__cause__)


@pytest.mark.parametrize("error", [UnreadableError(), ExitsWhenReadError(), NamelessError()])
def test_a_failure_of_loading_is_text_whatever_was_raised(error):
    assert isinstance(format_loading_failure(raised(lambda: raise_(error))), str)


def test_a_traceback_names_the_cause():
    def chain() -> None:
        try:
            raise_(OSError("no file"))
        except OSError as error:
            raise ValueError("no prices") from error

    text = format_traceback(raised(chain))
    assert text.index("OSError: no file") < text.index("direct cause") < text.index("no prices")


def test_a_long_traceback_keeps_its_end():
    text = format_traceback(raised(lambda: raise_(ValueError("x" * 10**6 + " the end"))))
    assert len(text) == 32_000
    assert text.endswith("the end\n")


def test_a_deep_traceback_is_short():
    def ping() -> None:
        pong()

    def pong() -> None:
        ping()

    text = format_traceback(raised(ping))
    assert "RecursionError" in text
    assert text.count("File ") == 50


@pytest.mark.parametrize("error", [UnreadableError(), ExitsWhenReadError(), NamelessError()])
def test_a_traceback_of_a_hostile_exception_is_text(error):
    assert isinstance(format_traceback(raised(lambda: raise_(error))), str)


def test_a_ring_of_causes_comes_to_an_end():
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert "second" in format_traceback(first)
