"""Whatever was reported to be kept is there after a crash at any step, once, in its order."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from stratsweep_server.optimization.store import Run, StoreUnavailableError
from stratsweep_server.storage.journals import OutcomeJournals
from stratsweep_server.storage.rewriting import conclude_log, settle_log
from stratsweep_server.storage.stored_log import StoredLog

from tests.forgetful_files import (
    ADDITIONS,
    EVERYTHING,
    NOTHING,
    REMOVALS,
    ForgetfulFiles,
    Survival,
)
from tests.outcome_batches import Timed, described, kept, succeeded, with_failures

FOLDER = Path("7")
BATCHES: list[Timed] = [
    (succeeded([4, 2]), 0.5),
    (succeeded([0]), 0.75),
    (succeeded([9, 8], ["sharpe", "calmar"]), 1.0),
    (with_failures([3, 5, 1], [5, 1]), 1.5),
    (succeeded([7]), 2.0),
]
EXPECTED = described(BATCHES)
SURVIVALS = {
    "nothing": NOTHING,
    "everything": EVERYTHING,
    "removals": REMOVALS,
    "additions": ADDITIONS,
    "chance 1": Survival.by_chance(1),
    "chance 2": Survival.by_chance(2),
}


async def keep(files: ForgetfulFiles, first_row: int = 0, *, is_hasty: bool = False) -> int:
    """Append what is not there yet; returns how many outcomes were reported to be kept."""
    reported = [first_row]
    journals = OutcomeJournals(files)
    run = Run(first_row, first_row * 1_000, EXPECTED[first_row - 1][1] if first_row else 0.0)
    journal = journals.begin(FOLDER, run, reported.append, lambda failure: None)
    seen = 0
    with contextlib.suppress(StoreUnavailableError):
        for batch, elapsed in BATCHES:
            if seen >= first_row:
                journal.append(batch, elapsed)
                if not is_hasty:
                    await journal.flush()
            seen += len(batch)
        await journal.flush()
    journals.close()
    await asyncio.sleep(0)  # what the writing thread has left for the loop
    return reported[-1]


def keep_and_conclude(files: ForgetfulFiles, *, is_hasty: bool = False) -> int:
    reported = asyncio.run(keep(files, is_hasty=is_hasty))
    if reported == len(EXPECTED):
        with contextlib.suppress(StoreUnavailableError):
            conclude_log(files, FOLDER)
    return reported


def read(files: ForgetfulFiles) -> StoredLog:
    return StoredLog(files, FOLDER, len(EXPECTED))


def undisturbed() -> ForgetfulFiles:
    files = ForgetfulFiles()
    assert keep_and_conclude(files) == len(EXPECTED)
    return files


STEPS = undisturbed().change_count


def test_undisturbed_all_of_it_is_there_and_in_one_file():
    files = undisturbed()
    assert kept(read(files)) == EXPECTED
    assert files.names(FOLDER) == ["outcomes-1-to-3.arrow"]
    assert kept(read(files.crash(NOTHING))) == EXPECTED


@pytest.mark.parametrize("is_hasty", [False, True])
def test_nothing_that_was_reported_is_missing_after_a_crash_at_any_step(is_hasty):
    for step in range(STEPS):
        files = ForgetfulFiles(power=step)
        reported = keep_and_conclude(files, is_hasty=is_hasty)
        for survives, survival in SURVIVALS.items():
            found = kept(read(files.crash(survival)))
            assert found == EXPECTED[: len(found)], (step, survives)
            assert len(found) >= reported, (step, survives)


@pytest.mark.parametrize("survives", ["nothing", "everything", "removals", "chance 1"])
def test_after_a_crash_at_any_step_the_rest_is_kept_and_each_outcome_once(survives):
    for step in range(STEPS):
        dying = ForgetfulFiles(power=step)
        keep_and_conclude(dying)
        files = dying.crash(SURVIVALS[survives])
        settle_log(files, FOLDER)
        asyncio.run(keep(files, read(files).count))
        conclude_log(files, FOLDER)
        assert kept(read(files)) == EXPECTED, step
        assert kept(read(files.crash(NOTHING))) == EXPECTED, step
        assert len(files.names(FOLDER)) == 1, step


def test_what_a_killed_process_left_is_settled_before_anybody_hears_of_it():
    for step in range(STEPS):
        killed = ForgetfulFiles(power=step)
        keep_and_conclude(killed)
        files = killed.restart()
        settle_log(files, FOLDER)
        found = kept(read(files))
        assert kept(read(files.crash(NOTHING))) == found, step
