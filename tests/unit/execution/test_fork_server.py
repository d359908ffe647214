from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path

import pytest
from stratsweep_server.execution.fork_server import default_start_method, one_thread_each

THREADS = "OMP_NUM_THREADS"

START_TWICE = """
import os, sys
from multiprocessing import forkserver
from stratsweep_server.execution.fork_server import start_fork_server

def start():
    start_fork_server(is_default_engine=False)
    return forkserver._forkserver._forkserver_pid

first = start()
del os.putenv, os.unsetenv  # another thread may be reading the environment, or starting a program
assert start() == first != os.getpid()
print(*sys.modules)
"""


@pytest.mark.skipif(default_start_method() != "forkserver", reason="there is no fork server here")
def test_a_fork_server_is_started_once_and_by_a_process_that_has_imported_nothing_heavy():
    process = subprocess.run(
        [sys.executable, "-c", START_TWICE], capture_output=True, text=True, check=True
    )
    assert not set(process.stdout.split()) & {"numpy", "numba", "polars", "grpc", "asyncio"}
    assert forkserver.__name__ in process.stdout.split()


BREAKS_OFF_STARTS = """
import os
from multiprocessing import forkserver
from stratsweep_server.execution.fork_server import start_fork_server

start_fork_server(is_default_engine=False)
for beginning in (b"", b"\\x80\\x05X\\xff\\x00\\x00\\x00half a "):
    sentinel, pipe = forkserver.connect_to_new_process([])
    os.write(pipe, beginning)
    os.close(pipe)  # as a server does that ends while it starts a worker
    os.read(sentinel, 1)  # until that process has ended
"""


@pytest.mark.skipif(default_start_method() != "forkserver", reason="there is no fork server here")
def test_a_process_whose_server_ends_while_it_is_started_says_nothing():
    process = subprocess.run(
        [sys.executable, "-c", BREAKS_OFF_STARTS], capture_output=True, text=True, check=True
    )
    assert process.stderr == ""


def test_processes_get_one_thread_for_each_numeric_library_unless_the_user_says_otherwise(
    monkeypatch,
):
    monkeypatch.delenv(THREADS, raising=False)
    with one_thread_each():
        assert os.environ[THREADS] == "1"
    assert THREADS not in os.environ

    monkeypatch.setenv(THREADS, "3")
    with one_thread_each():
        assert os.environ[THREADS] == "3"
    assert os.environ[THREADS] == "3"


STARTS_AND_WAITS = """
import sys
from multiprocessing import forkserver
from stratsweep_server.execution.fork_server import start_fork_server

start_fork_server(is_default_engine=False)
print(forkserver._forkserver._forkserver_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def owner_of_a_fork_server(temporary: Path):
    """A process with a fork server, and the directory of its socket."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
        text=True,
    ) as process:
        try:
            yield process, Path(process.stdout.readline().strip()).parent
        finally:
            process.kill()


@pytest.fixture
def temporary():
    """A directory for temporary files with a short name, since sockets are in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.skipif(default_start_method() != "forkserver", reason="there is no fork server here")
def test_the_directory_of_the_socket_goes_with_its_owner_or_is_swept_by_the_next(temporary):
    (temporary / "pymp-of-another").mkdir()
    with owner_of_a_fork_server(temporary) as (alive, its_directory):
        with owner_of_a_fork_server(temporary) as (killed, left):
            killed.kill()
            killed.wait()
            assert left.is_dir()
        with owner_of_a_fork_server(temporary) as (ends, third):
            assert not left.exists()
            assert its_directory.is_dir()
            ends.communicate()
            assert not third.exists()
        alive.communicate()
    assert [path.name for path in temporary.iterdir()] == ["pymp-of-another"]
