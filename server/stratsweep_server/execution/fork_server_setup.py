"""Prepare the fork server, which alone imports this module, to clean up after workers.

It adopts what dead workers left, so that it can be found, and kills all of that when it ends
itself, which it does when its server has ended, however that was.
"""

from __future__ import annotations

import atexit
import os
import sys
import warnings
from pickle import UnpicklingError
from types import TracebackType

from stratsweep_server.execution.descendants import adopt_orphans, end_all_descendants


def _report(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Report what a new process fails with, unless whoever asked for it broke off in between.

    That is what a server does that is stopped while it starts a worker.
    """
    if not issubclass(kind, EOFError | UnpicklingError):
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _report  # until a worker has all that it needs, and puts the ordinary one back
adopt_orphans()
# It waits for all of its children, and warns of adopted ones, which it did not start.
warnings.filterwarnings("ignore", "forkserver: waitpid returned unexpected pid")
# Workers do not come here: multiprocessing ends them by os._exit.
atexit.register(end_all_descendants, os.getpid())
