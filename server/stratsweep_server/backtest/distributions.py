"""Find the versions of the installed distributions that some modules belong to, in a few ms.

`importlib.metadata.packages_distributions` reads what all distributions have installed, which takes
a second where there are a hundred of them. Here names tell most of it, and those lists are read for
the rest alone.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path

_SUFFIXES = (".dist-info", ".egg-info")
_WITHOUT_SEPARATORS = str.maketrans("", "", "-_.")


def distributions_of(directory: Path, names: Collection[str]) -> dict[str, tuple[str, str]]:
    """Find the distributions of modules.

    Args:
        directory: Where they are installed: a `site-packages`.
        names: Of modules and packages in it, such as `numpy`, or in a namespace of it, such as
            `google/protobuf`.

    Returns:
        By module, the name and the version; without what belongs to no distribution.
    """
    distributions = {each.plain_name: each for each in _distributions(directory)}
    found = {}
    for name in names:
        plain = _plain(name)
        owner = distributions.get(plain)
        if owner is None:
            # Most are called alike, such as `yaml` of PyYAML.
            likely = sorted(distributions, key=lambda each: plain not in each)
            owners = (distributions[each] for each in likely if distributions[each].has(name))
            owner = next(owners, None)
        if owner is not None:
            found[name] = owner.name, owner.version
    return found


class _Distribution:
    """Know a distribution by the folder that says what it has installed."""

    def __init__(self, directory: Path, folder: str) -> None:
        self._folder = directory / folder
        self.name, _, self.version = folder.rpartition(".")[0].partition("-")
        self.plain_name = _plain(self.name)

    def has(self, name: str) -> bool:
        """Return whether it has installed a module or package."""
        return any(f"\n{name}{end}".encode() in self._files for end in "/.,\n\r")

    @cached_property
    def _files(self) -> bytes:
        return b"\n" + b"\n".join(self._lists())

    def _lists(self) -> Iterator[bytes]:
        for file in ("RECORD", "top_level.txt"):
            try:
                yield (self._folder / file).read_bytes()
            except OSError:
                continue


def _distributions(directory: Path) -> Iterator[_Distribution]:
    try:
        folders = sorted(os.listdir(directory))  # noqa: PTH208 - a path for each takes 5 ms
    except OSError:
        return
    for folder in folders:
        if folder.endswith(_SUFFIXES) and "-" in folder:
            yield _Distribution(directory, folder)


def _plain(name: str) -> str:
    return name.translate(_WITHOUT_SEPARATORS).lower()
