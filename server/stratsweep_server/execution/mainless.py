"""Start processes that leave the program's main module alone.

multiprocessing has each process that it starts import the file of `__main__` again, in case it is
asked for something that is defined there. A worker is not: what it needs of that file travels by
value (`packed_engine`). So the top level of a script runs once, with a main guard or without.

Worker processes unpickle these classes when they start, so this module imports little.
"""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing import popen_forkserver, popen_spawn_posix, spawn
from multiprocessing.context import ForkServerProcess, SpawnProcess
from multiprocessing.process import BaseProcess
from types import FunctionType, SimpleNamespace
from typing import Any


def _preparation_data(name: str) -> dict[str, Any]:
    data = spawn.get_preparation_data(name)
    return {key: value for key, value in data.items() if not key.startswith("init_main_")}


def _launch_without_main(popen: type) -> FunctionType:
    """Return the class's `_launch`, on a `spawn` that names no main module: there is no switch."""
    launch = vars(popen)["_launch"]  # a private name, the same in CPython 3.11 to 3.13
    quiet = SimpleNamespace(**vars(spawn) | {"get_preparation_data": _preparation_data})
    return FunctionType(launch.__code__, launch.__globals__ | {"spawn": quiet}, launch.__name__)


class _ForkServerPopen(popen_forkserver.Popen):
    _launch = _launch_without_main(popen_forkserver.Popen)


class _SpawnPopen(popen_spawn_posix.Popen):
    _launch = _launch_without_main(popen_spawn_posix.Popen)


class _MainlessForkServerProcess(ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> _ForkServerPopen:  # noqa: N802 - multiprocessing's name
        return _ForkServerPopen(process_obj)


class _MainlessSpawnProcess(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> _SpawnPopen:  # noqa: N802
        return _SpawnPopen(process_obj)


MAINLESS_PROCESSES: Mapping[str, type[BaseProcess]] = {
    "forkserver": _MainlessForkServerProcess,
    "spawn": _MainlessSpawnProcess,
}
"""By start method."""
