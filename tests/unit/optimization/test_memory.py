"""What optimizations may hold together: counted until they end, refused where there is no room."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from stratsweep_server.execution.grid import ParameterAxis
from stratsweep_server.execution.outcomes import BacktestFailure, FailureKind
from stratsweep_server.optimization.memory import (
    MemoryBudget,
    MemoryExhaustedError,
    failure_bytes,
    optimization_bytes,
    preparation_bytes,
    unlimited_memory,
)

MEGABYTE = 1_000_000
PAIR = (ParameterAxis("fast", range(1_000)), ParameterAxis("slow", range(1_000)))


def test_what_all_hold_together_stays_within_the_limit():
    budget = MemoryBudget(100 * MEGABYTE)
    with budget.account() as first, budget.account() as second:
        first.resize(60 * MEGABYTE)
        with pytest.raises(
            MemoryExhaustedError, match=r"about 50 MB .* has 100 MB .* try again"
        ) as caught:
            second.resize(50 * MEGABYTE)
        assert caught.value.can_fit
        assert (caught.value.needed_bytes, caught.value.limit_bytes) == (
            50 * MEGABYTE,
            100 * MEGABYTE,
        )
        second.resize(40 * MEGABYTE)
        assert budget.used_bytes == 100 * MEGABYTE


def test_what_is_given_back_is_there_for_others():
    budget = MemoryBudget(100 * MEGABYTE)
    with budget.account() as first, budget.account() as second:
        first.resize(90 * MEGABYTE)
        first.resize(10 * MEGABYTE)
        second.resize(90 * MEGABYTE)
    with budget.account() as third:
        third.resize(100 * MEGABYTE)
    assert budget.used_bytes == 0


def test_a_refused_growth_leaves_what_was_held():
    budget = MemoryBudget(100 * MEGABYTE)
    with budget.account() as account:
        account.resize(70 * MEGABYTE)
        with pytest.raises(MemoryExhaustedError):
            account.resize(200 * MEGABYTE)
        assert (account.byte_count, budget.used_bytes) == (70 * MEGABYTE, 70 * MEGABYTE)


def test_one_that_can_never_fit_is_told_what_to_do_instead():
    with MemoryBudget(100 * MEGABYTE).account() as account:
        with pytest.raises(MemoryExhaustedError, match="take fewer combinations") as caught:
            account.resize(101 * MEGABYTE)
        assert not caught.value.can_fit


def test_an_account_holds_nothing_after_its_end_though_somebody_still_works_for_it():
    budget = MemoryBudget(100 * MEGABYTE)
    with budget.account() as account:
        account.resize(60 * MEGABYTE)
    account.resize(50 * MEGABYTE)
    assert (account.byte_count, budget.used_bytes) == (0, 0)


def test_accounts_may_grow_and_shrink_in_several_threads():
    budget = MemoryBudget()

    def work(number: int) -> None:
        with budget.account() as account:
            for byte_count in range(200):
                account.resize(byte_count * number)

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(work, range(1, 9)))
    assert budget.used_bytes == 0


def test_without_a_limit_everything_fits():
    unlimited_memory().resize(10**18)


def test_a_million_combinations_of_sixteen_metrics_take_a_quarter_of_a_gigabyte():
    # Measured: 240 MB at the peak, 200 MB each where eight run at a time.
    taken = optimization_bytes(PAIR, 1_000_000, 16, 5_849)
    assert 200 * MEGABYTE < taken < 260 * MEGABYTE


@pytest.mark.parametrize(
    "more",
    [
        optimization_bytes(PAIR, 1_000_001, 16, 5_849),
        optimization_bytes(PAIR, 1_000_000, 17, 5_849),
        optimization_bytes(PAIR, 1_000_000, 16, 5_850),
        optimization_bytes((*PAIR, ParameterAxis("mode", ["a"])), 1_000_000, 16, 5_849),
    ],
    ids=["combinations", "metrics", "bars", "values"],
)
def test_it_grows_with(more):
    assert more > optimization_bytes(PAIR, 1_000_000, 16, 5_849)


def test_a_value_counts_with_its_text():
    short, long = (ParameterAxis("mode", ["a" * length]) for length in (1, 10_000))
    growth = optimization_bytes((long,), 1, 1, 0) - optimization_bytes((short,), 1, 1, 0)
    assert growth >= 9_999


def test_to_select_combinations_takes_less_than_to_run_all_of_them():
    assert preparation_bytes(PAIR) < optimization_bytes(PAIR, 1_000_000, 1, 0)


def test_a_failure_counts_with_its_texts():
    short = BacktestFailure(1, FailureKind.ERROR, "no")
    long = BacktestFailure(1, FailureKind.ERROR, "no" * 500, "Traceback" * 100)
    assert failure_bytes(long) - failure_bytes(short) >= 998 + 900
