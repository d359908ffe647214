"""What every test shares: hypothesis' profile, and the real price files where they are."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Under nohup it is ignored, which programs inherit, and a server then leaves it so.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Machines are noisy: no test asserts a time, and hypothesis' deadline would be one.
settings.register_profile("stratsweep", deadline=None, derandomize=True)
settings.load_profile("stratsweep")

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory of real bars; tests that need it are skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real price files are not beside this checkout")
    return REAL_DATA
