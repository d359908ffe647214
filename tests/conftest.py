"""What every test shares: hypothesis' profile, and the real price files where they are."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Ignored under nohup and in the background of a shell, which programs inherit and leave so.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines are noisy: no test asserts a time, and hypothesis' deadline would be one.
settings.register_profile("stratsweep", deadline=None, derandomize=True)
settings.load_profile("stratsweep")

HOME_STATE = Path.home() / ".local" / "state" / "stratsweep"


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where servers of the tests keep what outlives them; HOME stays as it was."""
    before = _contents(HOME_STATE)
    home = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home))
        yield home
    assert _contents(HOME_STATE) == before, f"the tests have changed {HOME_STATE}"


def _contents(directory: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in directory.rglob("*"))


REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory of real bars; tests that need it are skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real price files are not beside this checkout")
    return REAL_DATA
