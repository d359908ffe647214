from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing import forkserver

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
