"""An engine whose strategies are faults: the named one happens where the parameter x is guilty."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
from stratsweep_server.backtest import (
    BacktestConfig,
    BacktestResult,
    BatchConfig,
    BatchResult,
    EngineDescription,
)

GUILTY = 0
"""The value of x at which the fault happens; the neighbours' x is positive."""


class FaultyEngine:
    """Runs `config.strategy.name` as a method at x = GUILTY; every other x scores itself."""

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        x = config.strategy.parameters["x"]
        if x == GUILTY:
            result = getattr(self, config.strategy.name)(config)
            if result is not None:
                return result
        elif config.strategy.name == "leaves_a_thread_that_kills":
            time.sleep(0.002)
        return BacktestResult({"score": float(x), "pid": float(os.getpid())})

    # Exceptions.

    def raises(self, config):
        raise ValueError("plain")

    def raises_unpicklable(self, config):
        error = ValueError("holds a lock")
        error.lock = threading.Lock()
        raise error

    def raises_keyword_only(self, config):
        class KeywordOnlyError(Exception):
            def __init__(self, *, code):
                super().__init__(f"code {code}")

        raise KeywordOnlyError(code=7)

    def raises_system_exit(self, config):
        sys.exit(3)

    def raises_keyboard_interrupt(self, config):
        raise KeyboardInterrupt

    def raises_recursion_error(self, config):
        return self.raises_recursion_error(config)

    def raises_memory_error(self, config):
        raise MemoryError("no room")

    def raises_hostile_text(self, config):
        class HostileError(Exception):
            def __str__(self):
                raise RuntimeError("no text for you")

        raise HostileError

    # Results.

    def returns_nothing_known(self, config):
        return "not a result"

    def returns_unpicklable_metric(self, config):
        return BacktestResult({"score": threading.Lock()})

    def returns_huge_metric(self, config):
        return BacktestResult({"score": "x" * 300_000_000})

    def returns_too_many_metrics(self, config):
        return BacktestResult({str(number): 1.0 for number in range(1_000_000)})

    def returns_hostile_pickle(self, config):
        class Hostile(BacktestResult):
            def __reduce__(self):
                os._exit(9)

        return Hostile({"score": 0.0})

    def metric_hangs(self, config):
        class Hanging:
            def __float__(self):
                while True:
                    pass

        return BacktestResult({"score": Hanging()})

    def metric_exits(self, config):
        class Exiting:
            def __float__(self):
                os._exit(4)

        return BacktestResult({"score": Exiting()})

    # Deaths.

    def segfaults(self, config):
        ctypes.string_at(0)

    def aborts(self, config):
        os.abort()

    def exits_with_zero(self, config):
        os._exit(0)

    def exits_with_three(self, config):
        os._exit(3)

    def kills_itself(self, config):
        os.kill(os.getpid(), signal.SIGKILL)

    # Hangs.

    def loops_for_ever(self, config):
        note_pid(config)
        while True:
            pass

    def holds_the_interpreter_lock(self, config):
        note_pid(config)
        ctypes.PyDLL(None).sleep(1_000)

    def ignores_sigterm(self, config):
        note_pid(config)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1_000)

    def swallows_every_exception(self, config):
        note_pid(config)
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(1_000)

    def stops_itself(self, config):
        note_pid(config)
        os.kill(os.getpid(), signal.SIGSTOP)

    # Descriptors.

    def floods_its_output(self, config):
        line = "flood " * 100
        for _ in range(20_000):
            print(line)
            sys.stderr.write(line + "\n")

    def closes_every_descriptor(self, config):
        os.closerange(0, 1_024)

    def writes_garbage_everywhere(self, config):
        for descriptor in range(3, 256):
            with contextlib.suppress(OSError):
                os.write(descriptor, b"garbage " * 100)

    # What stays behind.

    def leaves_a_child(self, config):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        Path(config.symbols[0], "child.pid").write_text(str(child.pid))

    def leaves_a_thread_that_kills(self, config):
        def kill_later():
            time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=kill_later, daemon=True).start()


class FaultyBatchEngine(FaultyEngine):
    """Runs the fault of a strategy such as `segfaults/named` in whole batches.

    A named one says which backtest it is on. `count` is the size of the batch.
    """

    def run_batch(self, config: BatchConfig) -> BatchResult:
        fault, _, how = config.strategy.partition("/")
        for position, x in enumerate(config.parameters["x"].tolist()):
            if how == "named":
                config.begin(position)
            if x == GUILTY:
                answer = getattr(self, fault)(config)
                if answer is not None:
                    return answer
        scores = config.parameters["x"].astype(float)
        return BatchResult({"score": scores, "count": np.full(config.count, float(config.count))})

    def returns_too_short_a_column(self, config):
        return BatchResult({"score": np.zeros(config.count - 1)})

    def returns_text(self, config):
        return BatchResult({"score": np.full(config.count, "high")})


def note_pid(config: BacktestConfig) -> None:
    """Tell the test which process hangs."""
    Path(config.symbols[0], "guilty.pid").write_text(str(os.getpid()))


class FailsToStartWhile:
    """A factory of engines that cannot be built while a file is there."""

    def __init__(self, flag: Path) -> None:
        self._flag = flag

    def __call__(self) -> QuickEngine:
        if self._flag.exists():
            if self._flag.read_text() == "exit":
                os._exit(5)
            raise RuntimeError("the licence server is down")
        return QuickEngine()


class MemoryHog:
    """Takes a gigabyte at x = 7 of `hog`; keeps two megabytes of each backtest of `leak`."""

    def __init__(self) -> None:
        self._kept: list[bytearray] = []

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        x = config.strategy.parameters["x"]
        if config.strategy.name == "leak":
            self._kept.append(bytearray(os.urandom(2_000_000)))
        elif x == 7:
            self._kept.append(bytearray(1_000_000_000))
        return BacktestResult({"score": float(x), "pid": float(os.getpid())})


class QuickEngine:
    """Scores x."""

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        return BacktestResult({"score": float(config.strategy.parameters["x"])})


class ReadsBars:
    """Has the server load its bars, and takes its time over them."""

    def describe(self) -> EngineDescription:
        return EngineDescription(uses_market_data=True)

    def run_sync(self, config: BacktestConfig) -> BacktestResult:
        time.sleep(0.01)
        (bars,) = config.bars.values()
        return BacktestResult({"last_close": float(bars.close[-1])})
