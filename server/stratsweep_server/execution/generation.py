"""Keep generations apart: engine and strategies as they were loaded at one time.

An optimization belongs to the generation in which it begins: none but workers of that generation
run its backtests. All workers of a generation load the same sources (`backtest/sources.py`), so
that each can be replaced at any time.

Choosing a slot's generation is pure: no clock, no process, no event loop.
"""

from __future__ import annotations

import itertools
import logging
import os
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from stratsweep_server.backtest import EngineDescription
from stratsweep_server.backtest.sources import CopyPlace, ModuleSource
from stratsweep_server.execution.messages import Loaded
from stratsweep_server.texts import counted

logger = logging.getLogger(__name__)

_DIGEST_DIGITS_SHOWN = 12
_LOGGED_MODULES = 20


@dataclass(slots=True, eq=False)
class Generation:
    """Hold what the workers of a generation were loaded from, and what their engine declares.

    Attributes:
        number: Larger for later ones; unique in a pool.
        copies: Where its workers keep the sources; that of the first that has loaded them.
        description: What the engine declares; None until a worker has loaded it.
        sources: The user's modules that were loaded, by name.
        inputs: What outcomes depend on beside the config and the bars: short texts by readable
            names. Until a worker has loaded it, only what is known of the engine before.
        load_time: When the first worker had loaded them; nanoseconds since the epoch.
        told_changes: The changed files that the log has told of, and when they changed.
    """

    number: int
    copies: CopyPlace
    description: EngineDescription | None = None
    sources: tuple[ModuleSource, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    load_time: int = 0
    told_changes: dict[ModuleSource, int] = field(default_factory=dict)

    def admit(self, loaded: Loaded, copies: CopyPlace) -> str:
        """Check a worker that has loaded its engine; the first one defines the generation.

        Returns:
            Why it cannot be one of the generation; empty where it can.
        """
        if self.description is None:
            self.description, self.sources = loaded.description, loaded.sources
            self.inputs = {**loaded.inputs, **self.inputs}
            self.copies, self.load_time = copies, time.time_ns()
            return ""
        digests = {each.module: each.digest for each in self.sources}
        for source in loaded.sources:
            if digests.get(source.module, source.digest) != source.digest:
                return (
                    f"{source.path} has changed since it was loaded, and there is no copy of it in "
                    f"{self.copies.path}; SIGHUP or a restart loads it as it is now"
                )
        return ""

    def tell_of_changes(self, changes: Mapping[ModuleSource, int]) -> None:
        """Log which files have changed on disk, once for each change."""
        for source in [each for each in changes if self.told_changes.get(each) != changes[each]]:
            logger.warning(
                "%s has changed since it was loaded as %s; SIGHUP or a restart loads it as it is "
                "now",
                source.path,
                source.module,
            )
        self.told_changes = dict(changes)

    def start_over(self) -> None:
        """Have the next worker read the files anew, unless some worker has loaded them already."""
        if self.description is None:
            number, _, attempt = self.copies.prefix.partition(".")
            self.copies = replace(self.copies, prefix=f"{number}.{int(attempt or 0) + 1}")


@dataclass(frozen=True, slots=True)
class LoadedSource:
    """Describe one of the user's modules as new optimizations run it.

    Attributes:
        source: What was loaded.
        load_time: When; nanoseconds since the epoch.
        is_stale: Whether the file has changed since.
    """

    source: ModuleSource
    load_time: int
    is_stale: bool


class Generations:
    """Keep the current generation, and the earlier ones on which optimizations still run.

    Args:
        parent: A directory in which one for the copies of sources is made.
        inputs: What is known of the engine before it is loaded, see `Generation.inputs`.

    Attributes:
        current: What new optimizations run on.
    """

    def __init__(self, parent: Path, inputs: Mapping[str, str] = MappingProxyType({})) -> None:
        self._numbers = itertools.count(1)
        self._inputs = inputs
        self._directories: list[tuple[int, Path]] = []
        self.current = self.new(parent)
        self._kept = {self.current.number: self.current}

    @property
    def is_single(self) -> bool:
        """Return whether nothing runs on an earlier generation than the current one."""
        return len(self._kept) == 1

    def new(self, parent: Path) -> Generation:
        """Make a generation that no worker has loaded yet.

        Raises:
            OSError: There is no directory for copies any more, and none can be made.
        """
        if not self._directories or not _is_there(*self._directories[-1]):
            path = Path(tempfile.mkdtemp(prefix="sources-", dir=parent))
            self._directories.append((os.open(path, os.O_RDONLY | os.O_DIRECTORY), path))
        number = next(self._numbers)
        return Generation(
            number, CopyPlace(*self._directories[-1], str(number)), inputs=self._inputs
        )

    def close(self) -> None:
        """Close the directories of the copies. No worker may start afterwards."""
        for descriptor, _ in self._directories:
            os.close(descriptor)

    def adopt(self, generation: Generation) -> None:
        """Make a generation the current one, on which new optimizations run."""
        self.current = generation
        self.keep(generation)

    def keep(self, generation: Generation) -> None:
        """Go on serving a generation, since something runs on it."""
        self._kept[generation.number] = generation

    def retire(self, used: Collection[int]) -> bool:
        """Forget those neither current nor used, by number; return whether there were any."""
        kept = {self.current.number, *used}
        retired = self._kept.keys() - kept
        for number in retired:
            del self._kept[number]
        return bool(retired)

    def choose(self, own: int, others: Sequence[int], weights: Mapping[int, float]) -> Generation:
        """Return the generation that a slot should serve next; see `choose_generation`."""
        return self._kept[choose_generation(own, others, weights, self.current.number)]


def _is_there(descriptor: int, path: Path) -> bool:
    """Return whether an open directory still has its name: it may have been removed."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def choose_generation(
    own: int, others: Sequence[int], weights: Mapping[int, float], current: int
) -> int:
    """Return the number of the generation that a slot should serve next.

    Generations share the slots by weight; each gets one before any gets a second, the older first.

    Args:
        own: The generation that it serves now; it stays with that unless another one lacks slots.
        others: The generations of all other slots.
        weights: Of the generations that have work; positive.
        current: What to serve when there is no work.
    """
    shares = dict.fromkeys(sorted(weights), 0)
    for _ in range(len(others) + 1 if weights else 0):
        shares[min(shares, key=lambda number: shares[number] / weights[number])] += 1
    lacks = {number: share - others.count(number) for number, share in shares.items()}
    if lacks.get(own, 0) > 0 or not lacks:
        return own if lacks else current
    return max(lacks, key=lacks.__getitem__)


def find_changes(sources: Iterable[ModuleSource]) -> dict[ModuleSource, int]:
    """Look on the disk for modules that changed since they were loaded; return when each did."""
    times = {source: source.change_time() for source in sources}
    return {source: time for source, time in times.items() if time is not None}


def log_changes(before: Iterable[ModuleSource], after: Iterable[ModuleSource]) -> bool:
    """Log how the modules loaded now differ from those before; return whether they do."""
    old = {each.module: each for each in before}
    lines = []
    for source in after:
        known = old.pop(source.module, None)
        if known is None or known.digest != source.digest:
            lines.append(f"{'loaded' if known is None else 'changed:'} {_in_words(source)}")
    lines += [f"not imported any more: {source.module} ({source.path})" for source in old.values()]
    for line in lines[:_LOGGED_MODULES]:
        logger.info("%s", line)
    if len(lines) > _LOGGED_MODULES:
        logger.info("and %s", counted(len(lines) - _LOGGED_MODULES, "more module"))
    return bool(lines)


def _in_words(source: ModuleSource) -> str:
    modified = datetime.fromtimestamp(source.modification_time // 10**9, UTC)
    return (
        f"{source.module} from {source.path} (sha256 {source.digest[:_DIGEST_DIGITS_SHOWN]}, "
        f"modified {modified:%Y-%m-%d %H:%M:%S} UTC)"
    )
