"""Versions of installed distributions, by the modules that are loaded of them."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from stratsweep_server.backtest.distributions import distributions_of


def install(site: Path, name: str, files: str = "", top_level: str = "") -> None:
    folder = site / f"{name}.dist-info"
    folder.mkdir()
    if files:
        (folder / "RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in files.split()))
    if top_level:
        (folder / "top_level.txt").write_text(top_level)


@pytest.fixture
def site(tmp_path) -> Path:
    install(tmp_path, "numpy-2.2.1", "numpy/__init__.py")
    install(tmp_path, "TA_Lib-0.6.0", "talib/__init__.py")
    install(tmp_path, "PyYAML-6.0", "yaml/__init__.py _yaml/__init__.py")
    install(tmp_path, "scikit_learn-1.5.2", "sklearn/__init__.py")
    install(tmp_path, "six-1.16.0", "six.py")
    install(tmp_path, "protobuf-6.1", "google/protobuf/__init__.py")
    install(tmp_path, "google_auth-2.0", "google/auth/__init__.py")
    install(tmp_path, "speedy-1.0", "fastpart.cpython-311-x86_64-linux-gnu.so")
    install(tmp_path, "old-0.1", top_level="ancient\n")
    (tmp_path / "numpy").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("module", "found"),
    [
        ("numpy", {"numpy": "2.2.1"}),
        ("talib", {"TA_Lib": "0.6.0"}),
        ("yaml", {"PyYAML": "6.0"}),
        ("sklearn", {"scikit_learn": "1.5.2"}),
        ("six", {"six": "1.16.0"}),
        ("google/protobuf", {"protobuf": "6.1"}),
        ("google/auth", {"google_auth": "2.0"}),
        ("fastpart", {"speedy": "1.0"}),
        ("ancient", {"old": "0.1"}),
        ("nobodys", {}),
    ],
)
def test_a_module_is_found_in_its_distribution_whatever_that_is_called(site, module, found):
    assert dict(distributions_of(site, [module]).values()) == found


def test_a_folder_that_is_gone_has_no_distributions(tmp_path):
    assert distributions_of(tmp_path / "gone", ["numpy"]) == {}


def test_a_real_installation_has_the_versions_that_the_standard_library_finds():
    site = Path(np.__file__).parents[1]
    found = distributions_of(site, ["numpy", "grpc"])
    assert found == {"numpy": ("numpy", version("numpy")), "grpc": ("grpcio", version("grpcio"))}
