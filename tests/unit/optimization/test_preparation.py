"""Preparation: from a config and a folder of price files to what can run."""

import asyncio
import tracemalloc
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from stratsweep_server.backtest import (
    BacktestConfig,
    EngineDescription,
    ParameterType,
    Strategy,
    StrategyConfig,
    StrategyParameter,
)
from stratsweep_server.backtest.default.engine import DefaultEngine
from stratsweep_server.execution.grid import GridColumns
from stratsweep_server.market_data.bars import map_bars
from stratsweep_server.market_data.data_directory import DataDirectory
from stratsweep_server.optimization import (
    GridSearchOptimizer,
    IntegerRange,
    InvalidConfigError,
    OptimizationConfig,
    OptimizationState,
    Violation,
    background,
    constraints,
)
from stratsweep_server.optimization.constraints import accepted_indices
from stratsweep_server.optimization.memory import MemoryBudget, MemoryExhaustedError
from stratsweep_server.optimization.preparation import prepare
from stratsweep_server.optimization.validation import ViolationKind, expand_axes

from tests.inline_pool import InlinePool
from tests.waiting import until

ON_BARS = EngineDescription(uses_market_data=True)


def write_prices(folder, symbol, *days):
    rows = [f"{day},10,20,9,{10 + number},100" for number, day in enumerate(days)]
    text = "\n".join(["Date,Open,High,Low,Close,Volume", *rows, ""])
    (folder / f"{symbol}.csv").write_text(text)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "prices"
    folder.mkdir()
    write_prices(folder, "AAA", "2020-01-02", "2020-01-03", "2020-01-06", "2020-02-03")
    write_prices(folder, "BBB", "2020-01-03", "2020-01-07")
    write_prices(folder, "ONE", "2020-01-02")
    (folder / "BAD.csv").write_text("Date,Open,High,Low,Close\n2020-01-02,10,9,8,9\n")
    return DataDirectory(folder)


def config(**changes):
    defaults = {"strategy": "any", "symbols": ["AAA"], "parameters": {"x": IntegerRange(1, 4)}}
    return OptimizationConfig(**defaults | changes)


async def prepared(data, engine=ON_BARS, known_violations=(), memory=None, **changes):
    return await prepare(
        config(**changes),
        engine,
        data,
        max_combinations=1_000_000,
        known_violations=known_violations,
        memory=memory,
    )


async def refusal(data, **changes):
    with pytest.raises(InvalidConfigError) as caught:
        await prepared(data, **changes)
    return caught.value.violations


async def test_open_dates_become_those_of_the_bars(data):
    result = await prepared(data, symbols=["AAA", "BBB"])
    dates = date(2020, 1, 2), date(2020, 2, 3)
    assert (result.config.start_date, result.config.end_date) == dates
    assert (result.plan.start_date, result.plan.end_date) == dates


async def test_given_dates_stay_and_limit_the_bars(data):
    result = await prepared(data, start_date=date(2020, 1, 3), end_date=date(2020, 1, 31))
    assert (result.config.start_date, result.config.end_date) == (
        date(2020, 1, 3),
        date(2020, 1, 31),
    )
    assert [len(bars) for bars in result.bars] == [2]


@pytest.fixture
def hourly(data, tmp_path):
    """The same folder with a symbol H of three times on each of three days, without a zone."""
    days = ("2024-07-01", "2024-07-02", "2024-07-03")
    times = [f"{day} {hour}:30" for day in days for hour in ("00", "09", "23")]
    write_prices(tmp_path / "prices", "H", *times)
    return tmp_path / "prices"


@pytest.mark.parametrize(
    ("asked", "of_folder", "expected"),
    [
        ("", "", "UTC"),
        ("", "Asia/Tokyo", "Asia/Tokyo"),
        ("America/New_York", "Asia/Tokyo", "America/New_York"),
        ("UTC", "Asia/Tokyo", "UTC"),
    ],
)
async def test_the_zone_is_the_requests_else_the_folders(hourly, asked, of_folder, expected):
    if of_folder:
        (hourly / "stratsweep.toml").write_text(f'timezone = "{of_folder}"')
    result = await prepared(DataDirectory(hourly), symbols=["H"], timezone=asked)
    assert result.config.timezone == result.plan.timezone == result.summary.timezone == expected
    dates = date(2024, 7, 1), date(2024, 7, 3)
    assert (result.config.start_date, result.config.end_date) == dates


async def test_dates_are_days_of_the_zone_and_dates_of_daily_bars(hourly):
    write_prices(hourly, "D", "2024-07-01", "2024-07-02", "2024-07-03")
    zone, day = "America/New_York", date(2024, 7, 2)
    folder = DataDirectory(hourly)
    options = {"start_date": day, "warm_up_bar_count": 1, "timezone": zone}
    result = await prepared(folder, symbols=["H", "D"], **options)
    intraday, daily = result.bars
    assert [(len(each), each.warm_up_count) for each in result.bars] == [(7, 1), (3, 1)]
    assert (intraday.timezone, daily.timezone) == (zone, "UTC")
    assert result.summary.timezone == zone
    assert daily.time[1] == np.datetime64(day, "ns").astype(int)
    (violation,) = await refusal(folder, symbols=["H"], start_date=date(2024, 7, 4), timezone=zone)
    assert "within 2024-07-01 to 2024-07-03" in violation.description
    alone = await prepared(folder, symbols=["D"], timezone=zone)
    assert (alone.config.timezone, alone.summary.timezone) == (zone, "UTC")


async def test_an_unknown_zone_is_refused_with_everything_else(data):
    violations = await refusal(data, symbols=["AAA", "NONE"], timezone="America/New_Yrok")
    assert [each.field for each in violations] == ["timezone", "symbols[1]"]
    assert "the nearest: America/New_York" in violations[0].description


async def test_settings_of_the_folder_that_cannot_be_used_are_said_once(hourly):
    (hourly / "stratsweep.toml").write_text("timezone = 5")
    for zone in ("", "UTC"):
        folder = DataDirectory(hourly)
        (violation,) = await refusal(folder, symbols=["H", "AAA"], timezone=zone)
        assert violation.field == "symbols"
        assert violation.description.startswith("stratsweep.toml: timezone is no text")


async def test_an_engine_that_loads_its_own_data_is_told_the_zone(data):
    result = await prepared(data, EngineDescription(), timezone="Asia/Tokyo")
    assert result.config.timezone == result.plan.timezone == "Asia/Tokyo"
    assert (await prepared(data, EngineDescription())).config.timezone == ""


async def test_bars_for_warm_up_are_loaded_and_not_counted(data):
    result = await prepared(data, start_date=date(2020, 1, 6), warm_up_bar_count=1)
    assert [len(bars) for bars in result.bars] == [3]
    assert result.summary.bar_count == 2
    assert result.summary.first_time == np.datetime64("2020-01-06", "ns").astype(int)
    assert result.plan.start_date == date(2020, 1, 6)


async def test_the_plan_names_the_seed_and_the_defaults_that_seeds_follow_from(data):
    parameters = tuple(
        StrategyParameter(name, ParameterType.DOUBLE, default=default)
        for name, default in (("x", 1.0), ("y", 2.0), ("z", None))
    )
    engine = EngineDescription(strategies=(Strategy("any", "", parameters),))
    axes = {"x": [1, 2], "z": [3]}
    plan = (await prepared(data, engine, parameters=axes, seed=2**64 - 1)).plan
    assert (plan.seed, plan.defaults) == (2**64 - 1, {"y": 2.0})
    plan = (await prepared(data, EngineDescription(), parameters=axes)).plan
    assert (plan.seed, plan.defaults) == (0, {})


async def test_bars_for_warm_up_do_not_make_a_single_bar_two(data):
    (violation,) = await refusal(data, start_date=date(2020, 2, 1), warm_up_bar_count=3)
    assert "has a single bar" in violation.description


async def test_the_summary_counts_the_distinct_times_of_all_symbols(data):
    summary = (await prepared(data, symbols=["AAA", "BBB"])).summary
    first, last = (np.datetime64(day, "ns").astype(int) for day in ("2020-01-02", "2020-02-03"))
    assert (summary.bar_count, summary.first_time, summary.last_time) == (5, first, last)
    assert summary.periods_per_year == pytest.approx(4 * 365.25 / 32)


async def test_the_summary_has_the_bars_of_each_symbol_without_those_for_warm_up(data):
    changes = {"start_date": date(2020, 1, 3), "warm_up_bar_count": 1}
    result = await prepared(data, symbols=["BBB", "AAA"], **changes)
    assert [each.name for each in result.summary.symbols] == ["BBB", "AAA"]
    for loaded, each in zip(result.bars, result.summary.symbols, strict=True):
        traded = loaded.between(date(2020, 1, 3), None)
        assert 0 < each.bar_count == len(traded)
        assert (each.first_time, each.last_time) == (traded.time[0], traded.time[-1])
    assert sum(map(len, result.bars)) > sum(each.bar_count for each in result.summary.symbols)


async def test_the_grid_is_counted_before_anything_runs(data):
    result = await prepared(data, constraints=["x > 1", "x < 4"])
    assert result.indices.tolist() == [1, 2]
    assert result.indices.dtype == np.int64
    assert (result.total_count, result.rejected_count) == (2, 2)


async def test_an_engine_with_data_of_its_own_is_given_no_bars(data):
    result = await prepared(data, engine=EngineDescription(), symbols=["anything"])
    assert (result.bars, result.summary) == ((), None)
    assert (result.config.start_date, result.config.end_date) == (None, None)
    without_data = await prepared(None, engine=EngineDescription(), symbols=["anything"])
    assert without_data.total_count == 4


async def test_dates_the_wrong_way_round_are_one_violation(data):
    [violation] = await refusal(data, start_date=date(2024, 1, 3), end_date=date(2024, 1, 2))
    assert violation.field == "date_range"


async def test_an_unknown_symbol_names_the_nearest(data):
    [violation] = await refusal(data, symbols=["AAA", "BBC"])
    assert violation.field == "symbols[1]"
    assert violation.kind is ViolationKind.UNKNOWN_SYMBOL
    assert "BBB" in violation.description


@pytest.mark.parametrize("symbol", ["../AAA", "/etc/passwd", ".hidden"])
async def test_a_symbol_is_never_a_path(data, symbol):
    [violation] = await refusal(data, symbols=[symbol])
    assert violation.field == "symbols[0]"
    assert "never a path" in violation.description


async def test_a_price_file_that_cannot_be_used_is_the_symbols_violation(data):
    [violation] = await refusal(data, symbols=["BAD"])
    assert violation.field == "symbols[0]"
    assert "BAD.csv, line 2" in violation.description
    assert violation.kind is ViolationKind.INVALID


async def test_dates_without_bars_say_what_there_is(data):
    [violation] = await refusal(data, start_date=date(2021, 1, 1))
    assert violation.field == "symbols[0]"
    assert "2020-01-02 to 2020-02-03" in violation.description


async def test_a_single_bar_is_no_backtest(data):
    expected = Violation("date_range", "has a single bar; a backtest needs two")
    assert await refusal(data, end_date=date(2020, 1, 2)) == (expected,)


async def test_a_symbol_of_a_single_bar_is_named_and_not_the_dates(data):
    reason = "ONE has a single bar, of 2020-01-02; a backtest needs two"
    for dates in ({}, {"end_date": date(2030, 1, 1)}):
        assert await refusal(data, symbols=["ONE"], **dates) == (Violation("symbols[0]", reason),)
    assert (await prepared(data, symbols=["ONE", "BBB"])).summary.bar_count == 3


async def test_an_engine_on_bars_needs_a_data_directory():
    assert [each.field for each in await refusal(None, symbols=["AAA", "BBB"])] == [
        "symbols[0]",
        "symbols[1]",
    ]


async def test_constraints_that_reject_everything_are_refused(data):
    [violation] = await refusal(data, constraints=["x > 9"])
    assert violation == Violation("constraints", "reject all 4 combinations; loosen one of them")
    [violation] = await refusal(data, parameters={"x": [1]}, constraints=["x > 9"])
    assert violation.description == "reject the only combination; loosen one of them"


async def test_a_constraint_that_is_undefined_for_some_value_rejects_that_one(data):
    result = await prepared(data, parameters={"x": [1.0, 0.0]}, constraints=["1 // x > 0"])
    assert result.indices.tolist() == [0]


async def test_violations_of_the_config_the_data_and_the_reader_come_together(data):
    known = Violation("direction", "7 is no direction")
    found = await refusal(
        data,
        known_violations=[known],
        symbols=["AAA", "NONE", ""],
        starting_cash=0,
        constraints=["y > 1"],
    )
    assert found[0] is known
    assert {each.field for each in found} == {
        "direction",
        "symbols[1]",
        "symbols[2]",
        "constraints[0]",
        "starting_cash",
    }


async def test_a_huge_grid_is_refused_before_it_is_built(data):
    [violation] = await refusal(data, parameters={"x": IntegerRange(1, 10**18)})
    assert violation.field == "parameters"


async def test_an_optimization_shares_its_bars_while_it_runs_and_no_longer(data, tmp_path):
    seen = []

    def look(x):
        [workload] = pool.workloads
        mapped = map_bars(workload.bars.fileno(), workload.plan.bar_headers)
        seen.append({symbol: bars.close.tolist() for symbol, bars in mapped.items()})
        return {"sharpe_ratio": x}

    pool = InlinePool(look, tmp_path, description=ON_BARS)
    symbols = ["BBB", "AAA"]
    result = await GridSearchOptimizer(pool=pool, data=data).optimize(config(symbols=symbols))
    assert result.state is OptimizationState.SUCCEEDED
    assert seen == [{"BBB": [10, 11], "AAA": [10, 11, 12, 13]}] * 4
    with pytest.raises(ValueError, match="closed"):
        pool.workloads[0].bars.fileno()
    assert [path.name for path in tmp_path.iterdir()] == ["prices"], "it needs no name"


async def test_a_cancelled_optimization_lets_go_of_its_bars(data, tmp_path):
    pool = InlinePool(lambda x: {}, tmp_path, description=ON_BARS, stall_after=1)
    grid_search = GridSearchOptimizer(pool=pool, data=data)
    async with grid_search.start(await grid_search.prepare(config())) as optimization:
        await optimization.log.wait_beyond(0)
        [workload] = pool.workloads
        assert workload.bars.fileno() > 0
    with pytest.raises(ValueError, match="closed"):
        workload.bars.fileno()


async def test_a_folder_may_be_given_instead_of_a_data_directory(data, tmp_path):
    pool = InlinePool(lambda x: {"sharpe_ratio": x}, tmp_path, description=ON_BARS)
    for folder in (tmp_path / "prices", str(tmp_path / "prices")):
        result = await GridSearchOptimizer(pool=pool, data=folder).optimize(config())
        assert result.best.parameters == {"x": 4}


async def test_constraints_that_reject_everything_are_reported_beside_other_violations(tmp_path):
    config = OptimizationConfig(
        "any", ["A"], {"x": [1, 2]}, constraints=["x > 5"], starting_cash=-1.0
    )
    with pytest.raises(InvalidConfigError) as refused:
        await prepare(config, EngineDescription(), None, max_combinations=10)
    assert {each.field for each in refused.value.violations} == {"constraints", "starting_cash"}


async def test_a_list_that_is_a_text_and_a_lone_number_are_refused():
    config = OptimizationConfig("any", ["A"], {"kind": "ema", "x": 5})
    with pytest.raises(InvalidConfigError) as refused:
        await prepare(config, EngineDescription(), None, max_combinations=10)
    assert [each.field for each in refused.value.violations] == ["parameters[0]", "parameters[1]"]


LARGE = {"x": IntegerRange(1, 1_000_000)}


async def test_what_it_takes_is_held_when_it_is_prepared(data):
    with MemoryBudget(300_000_000).account() as memory:
        result = await prepared(data, parameters=LARGE, memory=memory)
        assert memory.byte_count == result.memory_bytes > 200_000_000


async def test_combinations_that_constraints_reject_take_nothing(data):
    with MemoryBudget(50_000_000).account() as memory:
        await prepared(data, parameters=LARGE, constraints=["x < 10"], memory=memory)
        assert memory.byte_count < 20_000_000


async def test_one_that_has_no_room_now_is_refused(data):
    budget = MemoryBudget(300_000_000)
    with budget.account() as other, budget.account() as memory:
        other.resize(100_000_000)
        with pytest.raises(MemoryExhaustedError):
            await prepared(data, parameters=LARGE, memory=memory)


@pytest.mark.parametrize("limit_bytes", [10_000_000, 100_000_000], ids=["selected", "run"])
async def test_one_that_could_never_fit_is_an_invalid_config(data, limit_bytes):
    with MemoryBudget(limit_bytes).account() as memory:
        (violation,) = await refusal(data, parameters=LARGE, memory=memory)
    assert violation.field == "parameters"
    assert "take fewer combinations" in violation.description


async def test_the_memory_that_is_missing_is_reported_with_everything_else(data):
    with MemoryBudget(10_000_000).account() as memory:
        first, second = await refusal(data, symbols=["BAD"], parameters=LARGE, memory=memory)
    assert (first.field, second.field) == ("symbols[0]", "parameters")


HOSTILE = [f"a*b//c-{number}<{'a*b//c+' * 65}1" for number in range(100)]
"""On the grid below they take about a minute."""
MILLION = {name: IntegerRange(1, 100) for name in "abc"}


def prepare_hostile():
    config = OptimizationConfig("any", ["A"], MILLION, constraints=HOSTILE)
    work = prepare(config, EngineDescription(), None, max_combinations=10**6)
    return asyncio.create_task(work)


def has_free_turns():
    return background._threads._turns._free_count == 2


async def cancel(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_a_cancelled_preparation_ends_in_its_thread_too():
    await until(has_free_turns, "nothing else is prepared")
    preparing = prepare_hostile()
    await until(lambda: not has_free_turns(), "it has begun")
    await cancel([preparing])
    assert preparing.cancelled()
    await until(has_free_turns, "its thread does something else")


async def test_a_good_request_is_prepared_while_hostile_ones_are(data):
    hostile = [prepare_hostile() for _ in range(5)]
    await until(lambda: not has_free_turns(), "they have begun")
    assert (await prepared(data)).total_count == 4
    assert not any(task.done() for task in hostile)
    await cancel(hostile)
    await until(has_free_turns, "they have ended")


async def test_constraints_that_take_too_long_are_refused(data, monkeypatch):
    monkeypatch.setattr(constraints, "MAX_CONSTRAINT_SECONDS", -1.0)
    [violation] = await refusal(data, constraints=["x > 1"])
    assert violation.field == "constraints"
    assert "take more than -1 s to evaluate on this grid; write fewer" in violation.description


@pytest.mark.parametrize(
    ("parameters", "texts"),
    [
        (MILLION, ["a*b+c>7 AND a<avg(a*b*c)", "a BETWEEN b AND c OR (a+b+c) IN (1,2,3)"]),
        (
            {
                "kind": [*(f"kind {number}" for number in range(999)), "x" * 1_000],
                "n": IntegerRange(1, 1_000),
            },
            ["kind LIKE 'kind%' AND kind <> 'kind 7' AND n > 3", "kind < 'y'"],
        ),
    ],
)
def test_memory_is_bounded_by_the_size_of_the_grid(parameters, texts):
    axes = expand_axes(OptimizationConfig("any", ["A"], parameters))
    tracemalloc.start()
    try:
        indices = accepted_indices(axes, texts)
        rows = GridColumns(axes, object).at(indices)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(rows[next(iter(parameters))]) == len(indices) > 100_000
    assert peak < 64 * 10**6


async def test_symbols_without_bars_are_looked_for_up_to_a_hundred_violations(data):
    found = await refusal(data, symbols=[f"NONE{number}" for number in range(1_000)])
    assert len(found) == 100


@pytest.mark.parametrize(
    ("first", "last"), [(date.min, date.max), (date.min, None), (None, date.max)]
)
async def test_the_ends_of_the_calendar_are_dates_too(data, first, last):
    result = await prepared(data, start_date=first, end_date=last, warm_up_bar_count=2**32 - 1)
    assert [len(bars) for bars in result.bars] == [4]


STAMPS = {
    "A": [f"2024-01-{day:02}" for day in range(1, 31)],
    "B": [f"2024-01-{day:02} 05:00:00+00:00" for day in range(1, 31)],
    "C": [f"2024-01-{day:02} 16:00" for day in range(1, 31)],
}


def write_market(folder, symbol, times):
    closes = 100 * np.cumprod(1 + np.random.default_rng(7).normal(0, 0.01, len(times)))
    rows = [f"{time},{p},{p},{p},{p}" for time, p in zip(times, closes, strict=True)]
    (folder / f"{symbol}.csv").write_text("\n".join(["Date,Open,High,Low,Close", *rows]))


async def figures(folder, *symbols, **changes):
    changes = {"strategy": "buy_and_hold", "parameters": {}, **changes}
    result = await prepared(DataDirectory(folder), symbols=symbols, **changes)
    given = BacktestConfig(
        StrategyConfig("buy_and_hold", {}),
        symbols,
        bars={each.symbol: each for each in result.bars},
    )
    spans = tuple(replace(each, name="") for each in result.summary.symbols)
    return replace(result.summary, symbols=spans), DefaultEngine().run_sync(given).metrics


@pytest.mark.parametrize("timezone", ["", "America/New_York"])
async def test_days_that_files_stamp_at_different_hours_are_days_of_one_portfolio(
    tmp_path, timezone
):
    for symbol, times in STAMPS.items():
        write_market(tmp_path, symbol, times)
        write_market(tmp_path, f"{symbol}{symbol}", STAMPS["A"])
    summary, expected = await figures(tmp_path, "AA", "BB", "CC", timezone=timezone)
    assert await figures(tmp_path, "A", "B", "C", timezone=timezone) == (summary, expected)
    assert summary.bar_count == 30
    _, alone = await figures(tmp_path, "A", timezone=timezone)
    assert expected["annualized_volatility"] == pytest.approx(alone["annualized_volatility"])


async def test_one_symbol_alone_keeps_the_times_of_its_file(tmp_path):
    write_market(tmp_path, "C", STAMPS["C"])
    result = await prepared(DataDirectory(tmp_path), symbols=["C"])
    assert result.summary.first_time == np.datetime64("2024-01-01T16:00", "ns").astype(int)
