"""How a process ended, in words."""

from __future__ import annotations

import pytest
from stratsweep_server.execution.process import describe_exit


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (0, "exited with code 0"),
        (3, "exited with code 3"),
        (-11, "was killed by SIGSEGV (signal 11)"),
        (-6, "was killed by SIGABRT (signal 6)"),
        (-9, "was killed by SIGKILL (signal 9) — out of memory?"),
        (-63, "was killed by a signal (signal 63)"),
        (None, "ended"),
    ],
)
def test_an_exit_is_said_in_words(exit_code, words):
    assert describe_exit(exit_code) == words
