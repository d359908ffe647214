"""A strategy of the default engine that hangs at its first combination."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from stratsweep_server.backtest.registry import Parameter, strategy
from stratsweep_server.market_data.bars import Bars

from tests.benchmarks.engines import leave_note

NOTES_VARIABLE = "STRATSWEEP_BENCHMARK_NOTES"


@strategy
def hang_at_zero(
    bars: Bars, x: Annotated[int, Parameter("0 hangs.", minimum=0, maximum=9)] = 1
) -> NDArray[np.float64]:
    """Hold all the time, or hang."""
    start = time.monotonic()
    if x == 0:
        leave_note(Path(os.environ[NOTES_VARIABLE]), start)
        while True:
            pass
    return np.ones(len(bars.close))
