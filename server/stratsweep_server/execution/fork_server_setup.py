"""What the fork server is beside a fork server: imported by it alone, it makes it so.

It adopts what dead workers left, so that it can be found, and takes all of it along when it ends,
which it does when its server has ended, however that was.
"""

from __future__ import annotations

import atexit
import os
import warnings

from stratsweep_server.execution.descendants import adopt_orphans, end_all_descendants

adopt_orphans()
# It waits for all children that end, and wonders about those that it did not start.
warnings.filterwarnings("ignore", "forkserver: waitpid returned unexpected pid")
# Workers do not come here: multiprocessing ends them by os._exit.
atexit.register(end_all_descendants, os.getpid())
