"""What is loaded in a process that outcomes depend on."""

from __future__ import annotations

import hashlib
import importlib
import platform
import sys
import zipfile
from importlib.metadata import version
from importlib.util import spec_from_file_location
from types import ModuleType

import numpy as np
import pytest
from stratsweep_server.backtest import inputs as inputs_module
from stratsweep_server.backtest.inputs import instruction_set, loaded_inputs
from stratsweep_server.backtest.sources import ModuleSource


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_python_the_processor_and_what_is_installed_and_loaded_are_inputs():
    inputs = loaded_inputs([])
    assert inputs["python"] == platform.python_version().partition("+")[0]
    assert inputs["numpy"] == version("numpy")
    assert inputs["pytest"] == version("pytest")
    assert inputs["instruction set"].startswith(platform.machine())


def test_the_processors_instructions_are_those_that_numpy_uses():
    found = instruction_set().split()[1:]
    features = np._core._multiarray_umath.__cpu_features__
    assert found == sorted(name for name, is_there in features.items() if is_there)


def test_parts_of_python_and_of_the_server_are_told_by_their_versions_alone():
    modules = [name.removeprefix("module ") for name in loaded_inputs([])]
    assert "json" not in modules
    assert not any(name.startswith("stratsweep_server") for name in modules)


def test_the_users_modules_are_inputs_by_the_digests_of_what_was_loaded():
    kept = ModuleSource("ideas.trend", "/desk/ideas/trend.py", "ab" * 32, 10**18)
    assert loaded_inputs([kept])["module ideas.trend"] == "ab" * 32


def test_a_module_of_the_users_in_machine_code_is_an_input_by_its_file(tmp_path, monkeypatch):
    file = tmp_path / "fast.cpython-311-x86_64-linux-gnu.so"
    file.write_bytes(b"machine code")
    module = ModuleType("fast")
    module.__spec__ = spec_from_file_location("fast", file)
    monkeypatch.setitem(sys.modules, "fast", module)
    assert loaded_inputs([])["module fast"] == digest(b"machine code")
    file.unlink()
    assert loaded_inputs([])["module fast"] == "unknown"


def test_a_module_that_was_put_beside_installed_ones_is_an_input_by_its_file(tmp_path, monkeypatch):
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "dropped_in.py").write_bytes(b"level = 1")
    monkeypatch.syspath_prepend(site)
    importlib.import_module("dropped_in")
    assert loaded_inputs([])["module dropped_in"] == digest(b"level = 1")
    monkeypatch.delitem(sys.modules, "dropped_in")


def test_looking_loads_no_module_that_waits_to_be_used(monkeypatch):
    class Waiting(ModuleType):
        def __getattribute__(self, name):
            raise AssertionError(f"it was asked for {name}")

    monkeypatch.setitem(sys.modules, "waiting_module", Waiting("waiting_module"))
    monkeypatch.setitem(sys.modules, "no_module", object())
    assert "python" in loaded_inputs([])


def test_a_module_in_an_archive_is_an_input_by_its_archive(tmp_path, monkeypatch):
    archive = tmp_path / "ideas.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped_idea.py", "level = 1")
    monkeypatch.syspath_prepend(archive)
    importlib.import_module("zipped_idea")
    assert loaded_inputs([])["module zipped_idea"] == digest(archive.read_bytes())
    monkeypatch.delitem(sys.modules, "zipped_idea")


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_what_will_be_imported_later_counts(folder, tmp_path):
    site = tmp_path / folder
    for name in ("later", "space/within"):
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text("")
    for name, file in (("later-3.1", "later/__init__.py"), ("spaced-2.0", "space/within/x.py")):
        (site / f"{name}.dist-info").mkdir()
        (site / f"{name}.dist-info" / "RECORD").write_text(f"{file},,\n")
    (tmp_path / "fast.so").write_bytes(b"machine code")
    later = {
        "later": f"{site}/later/__init__.py",
        "space.within": f"{site}/space/within/__init__.py",
        "fast": f"{tmp_path}/fast.so",
    }
    inputs = loaded_inputs([], later)
    assert inputs["module fast"] == digest(b"machine code")
    assert (inputs["later"], inputs["spaced"]) == ("3.1", "2.0")


def test_what_was_remembered_is_not_looked_at_again_and_what_came_after_is(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs_module, "_remembered", inputs_module._Remembered())
    before = loaded_inputs([])
    inputs_module.remember_loaded()
    looked_up = []
    monkeypatch.setattr(
        inputs_module, "distributions_of", lambda *names: looked_up.append(names) or {}
    )
    assert loaded_inputs([]) == before
    assert looked_up == []
    (tmp_path / "came_later.py").write_bytes(b"level = 1")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("came_later")
    assert loaded_inputs([]) == before | {"module came_later": digest(b"level = 1")}
    monkeypatch.delitem(sys.modules, "came_later")
