"""Starting and stopping a server program: real child processes with a stand-in for the server."""

import importlib.util
import os
import queue
import subprocess
import sys

import pytest
from stratsweep import ServerProcess, ServerStartError

SERVES = """
import sys
print("listening on", sys.argv[sys.argv.index("--listen") + 1], flush=True)
print("arguments:", *sys.argv[1:], file=sys.stderr, flush=True)
sys.stdin.read()
"""
IGNORES_SIGTERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + SERVES
TALKS_MUCH = SERVES.replace("sys.stdin", "print('x' * 1_000_000, flush=True); sys.stdin")
FAILS = "import sys; print('no such folder: prices', file=sys.stderr); sys.exit(3)"
NOTES = "print('note: compiling, once', flush=True)" + SERVES
HANGS = "import sys; print('loading', file=sys.stderr, flush=True); sys.stdin.read()"
MUMBLES = "print('hello', flush=True); import sys; sys.stdin.read()"

HOLDS_A_PIPE = "import os; pipe = open(os.environ['ALIVE'], 'w')" + SERVES

STARTS_AND_SLEEPS = """
import time, stratsweep
server = stratsweep.ServerProcess()
server.start()
time.sleep(600)
"""


def is_alive(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_backtests_print_is_handed_over_whenever_it_comes(stand_in):
    stand_in(
        "import sys\nprint('note: compiling')\nprint('output: loaded')\n"
        "print('listening on', *sys.argv[3:5])\nprint('output:   x=1 | hello ')\n"
        "print('listening on nothing', flush=True)\nsys.stdin.read()"
    )
    lines, notes = queue.SimpleQueue(), []
    with ServerProcess(on_output=lines.put, on_note=notes.append) as server:
        assert server.address == "--worker-output stdout"
        assert [lines.get(timeout=20), lines.get(timeout=20)] == ["loaded", "  x=1 | hello"]
    assert notes == ["compiling"]


def test_the_address_is_what_the_server_says(stand_in):
    stand_in(SERVES)
    with ServerProcess(["--data", "prices"], listen="unix:/tmp/some.sock") as server:
        assert server.address == "unix:/tmp/some.sock"
        process_id = server.process_id
        assert is_alive(process_id)
    assert not is_alive(process_id)


def test_the_log_can_be_read_while_the_server_runs(stand_in):
    stand_in(FAILS.replace("sys.exit(3)", "") + SERVES)
    with ServerProcess(["--workers", "2"]) as server:
        assert "no such folder: prices" in server.log_tail()


def test_a_start_that_fails_shows_exit_code_and_log(stand_in):
    stand_in(FAILS)
    with pytest.raises(ServerStartError, match="ended with exit code 3\nno such folder") as caught:
        ServerProcess().start()
    assert caught.value.exit_code == 3
    assert caught.value.log == "no such folder: prices"


def test_a_server_that_does_not_serve_in_time_is_killed(stand_in):
    stand_in(HANGS)
    with pytest.raises(ServerStartError, match=r"did not serve within 0.5 s") as caught:
        ServerProcess(start_timeout=0.5).start()
    assert caught.value.exit_code is None


def test_a_program_that_says_something_else_is_no_server(stand_in):
    stand_in(MUMBLES)
    with pytest.raises(ServerStartError, match="answered 'hello' instead of its address"):
        ServerProcess().start()


def test_what_the_server_wants_people_to_know_meanwhile_is_passed_on(stand_in):
    stand_in(NOTES)
    notes = []
    with ServerProcess(listen="unix:/tmp/some.sock", on_note=notes.append) as server:
        assert server.address == "unix:/tmp/some.sock"
        assert notes == ["compiling, once"]
    with ServerProcess():  # where nobody listens
        pass


def test_a_server_that_ignores_sigterm_is_killed(stand_in, monkeypatch):
    monkeypatch.setattr("stratsweep.server_process._STOP_TIMEOUT_SECONDS", 0.2)
    stand_in(IGNORES_SIGTERM)
    with ServerProcess() as server:
        process_id = server.process_id
    assert not is_alive(process_id)


def test_a_server_that_talks_on_standard_output_does_not_block(stand_in):
    stand_in(TALKS_MUCH)
    with ServerProcess():
        pass


def test_the_server_does_not_outlive_a_parent_that_is_killed(stand_in, tmp_path, monkeypatch):
    stand_in(HOLDS_A_PIPE)
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    monkeypatch.setenv("ALIVE", str(pipe))
    with (
        subprocess.Popen([sys.executable, "-c", STARTS_AND_SLEEPS]) as parent,
        pipe.open() as held_by_server,
    ):
        parent.kill()
        assert held_by_server.read() == ""


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(stand_in):
    stand_in(SERVES)
    with ServerProcess() as server:
        assert os.getpgid(server.process_id) != os.getpgid(0)


@pytest.mark.parametrize("missing", ["stratsweep_server", "numba"])
def test_a_missing_server_is_named_with_its_pip_command(monkeypatch, missing):
    """With the client alone the server's code is there, and what it imports is not."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else name)
    with pytest.raises(ServerStartError, match=r"pip install 'stratsweep\[server\]'"):
        ServerProcess().start()
