"""The contract as users of other languages get it: it only grows, and plain protoc can use it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from stratsweep.v1 import (
    error_reason_pb2,
    optimization_config_pb2,
    optimization_event_pb2,
    optimization_service_pb2,
    outcome_pb2,
    parameter_pb2,
    strategy_pb2,
)

ROOT = Path(__file__).parents[2]
MODULES = [
    error_reason_pb2,
    optimization_config_pb2,
    optimization_event_pb2,
    optimization_service_pb2,
    outcome_pb2,
    parameter_pb2,
    strategy_pb2,
]
BUF = Path(sys.executable).with_name("buf")
needs_buf = pytest.mark.skipif(not BUF.exists(), reason="buf is not installed")
FIELD = "double commission = 10;"


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """A copy of the contract, with the image that `make lint` compares it with."""
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    return tmp_path


def breaks(contract: Path, *, before: str, after: str) -> str:
    """What buf says of the contract with one line changed; empty where nobody is hurt."""
    path = contract / "protos/stratsweep/v1/optimization_config.proto"
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, after))
    command = [BUF, "breaking", "--against", "protos/contract.yaml"]
    return subprocess.run(command, cwd=contract, capture_output=True, text=True, check=False).stdout


@needs_buf
@pytest.mark.parametrize(
    "after",
    [f"{FIELD} double spread = 999;", f"{FIELD} // of each fill"],
    ids=["a field", "a comment"],
)
def test_the_contract_may_gain(contract, after):
    assert breaks(contract, before=FIELD, after=after) == ""


@needs_buf
@pytest.mark.parametrize(
    "after",
    ["", "double commission = 999;", "float commission = 10;", "double fee = 10;"],
    ids=["removed", "renumbered", "retyped", "renamed"],
)
def test_what_users_rely_on_stays(contract, after):
    assert "OptimizationConfig" in breaks(contract, before=FIELD, after=after)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.DESCRIPTOR.name)
def test_every_file_says_where_generated_code_goes(module):
    options = module.DESCRIPTOR.GetOptions()
    assert options.go_package == "stratsweep/v1;stratsweepv1"
    assert options.java_package == "com.stratsweep.v1"
    assert options.java_multiple_files
    assert options.csharp_namespace == "Stratsweep.V1"


def test_the_protos_come_with_the_package():
    folder = files("stratsweep") / "protos"
    for module in MODULES:
        name = module.DESCRIPTOR.name
        assert (folder / name).read_bytes() == (ROOT / "protos" / name).read_bytes()


def test_the_lower_bounds_are_what_the_generated_code_runs_with():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    generated = ROOT / "client/stratsweep/v1"
    version_check = (generated / "strategy_pb2.py").read_text()
    stub = (generated / "optimization_service_pb2_grpc.py").read_text()
    protobuf = ".".join(re.findall(r"^    (\d+),$", version_check, re.MULTILINE))
    (grpc,) = re.findall(r"^GRPC_GENERATED_VERSION = '(.+)'$", stub, re.MULTILINE)
    bounds = [f"grpcio>={grpc}", f"grpcio-status>={grpc}", f"protobuf>={protobuf}"]
    assert [each for each in bounds if each not in project["dependencies"]] == []
