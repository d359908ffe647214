"""Keeping the sources of the user's modules: all who share a directory load the same."""

from __future__ import annotations

import hashlib
import importlib
import importlib.resources
import json
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from stratsweep_server.backtest.importing import import_named
from stratsweep_server.backtest.sources import CopyPlace, ModuleSource, SourceKeeper


@dataclass
class Desk:
    """A directory with modules on the search path, and directories for copies beside it."""

    path: Path
    directories: list[int] = field(default_factory=list)

    def write(self, file: str, text: str) -> None:
        """Write a file as if it had been within the same moment as all others."""
        path = self.path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        os.utime(path, ns=(10**18, 10**18))

    def copies(self, name: str) -> Path:
        """A directory for copies."""
        return self.path.with_name(name)

    def keeper(self, name: str) -> SourceKeeper:
        """A keeper as a new process would make it, by the copies of that name."""
        self.copies(name).mkdir(exist_ok=True)
        self.directories.append(os.open(self.copies(name), os.O_RDONLY))
        return SourceKeeper(CopyPlace(self.directories[-1], self.copies(name), "1"))

    def load(self, module: str, copies: str = "copies") -> tuple[object, SourceKeeper]:
        """Import a module as a new worker would."""
        self.forget()
        keeper = self.keeper(copies)
        keeper.install()
        return importlib.import_module(module), keeper

    def forget(self) -> None:
        """Forget what was imported, and that anybody kept it."""
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(self.path)):
                del sys.modules[name]
        importlib.invalidate_caches()
        sys.meta_path[:] = [each for each in sys.meta_path if not isinstance(each, SourceKeeper)]


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Iterator[Desk]:
    path = tmp_path / "desk"
    path.mkdir()
    monkeypatch.setattr(sys, "path", [str(path), *sys.path])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    desk = Desk(path)
    yield desk
    desk.forget()
    for directory in desk.directories:
        os.close(directory)


def test_a_module_is_loaded_as_it_was_first_whatever_has_become_of_its_file(desk):
    desk.write("idea.py", "level = 1")
    module, keeper = desk.load("idea")
    assert module.level == 1
    desk.write("idea.py", "level = 2")
    assert desk.load("idea")[0].level == 1
    desk.write("idea.py", "level = (")
    assert desk.load("idea")[0].level == 1
    (desk.path / "idea.py").unlink()
    module, later = desk.load("idea")
    assert module.level == 1
    assert module.__file__ == str(desk.path / "idea.py")
    assert later.sources() == keeper.sources()


def test_other_copies_are_of_what_the_file_has_though_its_time_is_the_same(desk, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    desk.write("idea.py", "level = 1")
    assert desk.load("idea", "first")[0].level == 1
    desk.forget()
    importlib.import_module("idea")  # as any Python would, which leaves byte code
    desk.write("idea.py", "level = 2")
    assert desk.load("idea", "second")[0].level == 2


def test_what_a_module_imports_is_kept_too_packages_and_late_imports_included(desk):
    desk.write("ideas/__init__.py", "")
    desk.write("ideas/trend.py", "from helper import level\ndef late():\n import rare\n")
    desk.write("helper.py", "level = 1")
    desk.write("rare.py", "")
    module, keeper = desk.load("ideas.trend")
    assert [(each.module, each.file) for each in keeper.sources()] == [
        ("helper", "helper.py"),
        ("ideas", "ideas/__init__.py"),
        ("ideas.trend", "ideas/trend.py"),
    ]
    module.late()
    assert "rare" in [each.module for each in keeper.sources()]
    for name in ("helper", "rare"):
        desk.write(f"{name}.py", "level = 2")
    module, _ = desk.load("ideas.trend")
    module.late()
    assert module.level == 1
    assert not hasattr(sys.modules["rare"], "level")


def test_what_functions_import_is_kept_before_they_run_without_being_run(desk):
    desk.write("ideas/__init__.py", "")
    desk.write(
        "ideas/trend.py", "def late():\n from . import rare\n import deep.down\n return rare\n"
    )
    desk.write("ideas/rare.py", "level = 1\ndef later():\n import rarer")
    desk.write("rarer.py", "import rarest\nlevel = 1")
    desk.write("rarest.py", "")
    desk.write("deep/__init__.py", "")
    desk.write(
        "deep/down.py", "def f():\n import json.nothing, ideas.trend, pytest, missing, zipimport"
    )
    module, keeper = desk.load("ideas.trend")
    others = keeper.keep_late_imports()
    kept = ["deep", "deep.down", "ideas", "ideas.rare", "ideas.trend", "rarer", "rarest"]
    assert [each.module for each in keeper.sources()] == kept
    assert {"deep", "ideas.rare", "rarer", "rarest"}.isdisjoint(sys.modules)
    assert others == {}
    desk.write("ideas/rare.py", "level = 2")
    assert module.late().level == 1, "as it was when the module was loaded"


def test_the_files_of_others_that_functions_will_import_are_told(desk, monkeypatch):
    desk.write("idea.py", "def f():\n import lib.parts\n")
    desk.write("site-packages/lib.py", "")
    monkeypatch.syspath_prepend(desk.path / "site-packages")
    _, keeper = desk.load("idea")
    assert keeper.keep_late_imports() == {"lib": str(desk.path / "site-packages" / "lib.py")}
    assert [each.module for each in keeper.sources()] == ["idea"]


def test_files_beside_a_module_are_found_whether_it_is_loaded_from_its_file_or_the_copy(desk):
    desk.write("ideas/__init__.py", "is_first = True")
    desk.write("ideas/levels.json", "[1, 2]")
    for _ in range(2):
        package, _ = desk.load("ideas")
        assert package.is_first
        assert Path(package.__file__).with_name("levels.json").exists()
        resource = importlib.resources.files("ideas") / "levels.json"
        assert json.loads(resource.read_text()) == [1, 2]
        desk.write("ideas/__init__.py", "is_first = False")


def test_a_module_that_is_named_by_its_path_is_kept_as_any_other(desk):
    desk.write("own ideas/my-trend.py", "from helper import level")
    desk.write("own ideas/helper.py", "level = 1")
    path = str(desk.path / "own ideas/my-trend.py")
    for _ in range(2):
        desk.forget()
        keeper = desk.keeper("copies")
        keeper.install()
        assert import_named(path).level == 1
        assert [(each.module, each.file, each.path) for each in keeper.sources()] == [
            ("helper", "helper.py", str(desk.path / "own ideas/helper.py")),
            ("my-trend", "my-trend.py", path),
        ]
        Path(path).unlink(missing_ok=True)
        desk.write("own ideas/helper.py", "level = 2")


def test_a_traceback_shows_the_lines_that_ran(desk):
    desk.write("idea.py", "def fail():\n    return 1 / 0\n")
    module, _ = desk.load("idea")
    assert failure_of(module.fail) == (str(desk.path / "idea.py"), "return 1 / 0")
    desk.write("idea.py", "# mended\ndef fail():\n    return 1\n")
    module, _ = desk.load("idea")
    assert failure_of(module.fail) == (str(desk.copies("copies") / "1-idea.py"), "return 1 / 0")


def failure_of(function) -> tuple[str, str]:
    with pytest.raises(ZeroDivisionError) as caught:
        function()
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    return frame.filename, frame.line


def test_modules_of_python_of_packages_and_of_the_server_are_not_the_users(desk):
    desk.write("site-packages/bought.py", "")
    sys.path.insert(0, str(desk.path / "site-packages"))
    desk.write("idea.py", "import bought, colorsys, stratsweep_server.logs")
    for name in ("colorsys", "stratsweep_server.logs"):
        sys.modules.pop(name, None)
    _, keeper = desk.load("idea")
    assert {"bought", "colorsys", "stratsweep_server.logs"} <= sys.modules.keys()
    assert [each.module for each in keeper.sources()] == ["idea"]


def test_a_source_is_known_by_its_text_and_changed_when_the_text_is(desk):
    path = desk.path / "idea.py"
    desk.write("idea.py", "level = 1")
    _, keeper = desk.load("idea")
    (source,) = keeper.sources()
    digest = hashlib.sha256(b"level = 1").hexdigest()
    assert source == ModuleSource("idea", str(path), digest, 10**18)
    assert source.change_time() is None
    os.utime(path, ns=(2 * 10**18, 2 * 10**18))
    assert source.change_time() is None, "touched, and the same"
    path.write_text("level = 2")
    os.utime(path, ns=(3 * 10**18, 3 * 10**18))
    assert source.change_time() == 3 * 10**18
    path.unlink()
    assert source.change_time() == 0


def test_whoever_comes_second_takes_the_copy_of_the_first(desk):
    first, second = desk.keeper("copies"), desk.keeper("copies")
    desk.write("idea.py", "level = 1")
    kept = first._keep("idea", str(desk.path / "idea.py"))
    desk.write("idea.py", "level = 2")
    assert second._keep("idea", str(desk.path / "idea.py")) == kept
    names = {path.name for path in desk.copies("copies").iterdir()}
    assert names == {"1-idea.py", "1-idea.py.from"}


def test_where_no_copy_can_be_made_a_module_is_loaded_from_its_file(desk):
    desk.write("idea.py", "level = 1")
    desk.forget()
    keeper = desk.keeper("copies")
    desk.copies("copies").rmdir()
    desk.copies("copies").mkdir()  # by somebody else: nothing there is trusted
    (desk.copies("copies") / "1-idea.py").write_text("level = 2")
    (desk.copies("copies") / "1-idea.py.from").symlink_to(desk.path / "idea.py")
    keeper.install()
    assert importlib.import_module("idea").level == 1
    assert [each.module for each in keeper.sources()] == ["idea"]
