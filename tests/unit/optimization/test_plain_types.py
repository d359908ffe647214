"""A config as Python callers write it becomes the one that they mean, or says what it takes."""

from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from stratsweep_server.optimization import DoubleRange, IntegerRange, OptimizationConfig
from stratsweep_server.optimization.config import Parameter
from stratsweep_server.optimization.plain_types import in_plain_types
from stratsweep_server.optimization.validation import InvalidConfigError

PLAIN = OptimizationConfig(
    strategy="cross",
    symbols=("SPY",),
    parameters={"fast": [5, 10], "share": DoubleRange(0.1, 0.5, step=0.1), "kind": range(3)},
    constraints=("fast < 7",),
    start_date=date(2020, 1, 2),
    backtest_timeout=5.0,
    seed=3,
    starting_cash=1_000.0,
)


def test_what_is_plain_stays_as_it_is():
    assert in_plain_types(PLAIN) == PLAIN
    axes = (Parameter("fast", [5]), Parameter("on", [True]))
    assert in_plain_types(OptimizationConfig("cross", parameters=axes)).axes == axes


@pytest.mark.parametrize(
    "changes",
    [
        {"symbols": "SPY"},
        {"symbols": np.array(["SPY"])},
        {"constraints": "fast < 7"},
        {"start_date": np.datetime64("2020-01-02T23:59:59.999999999")},
        {"start_date": pd.Timestamp("2020-01-02 23:59")},
        {"start_date": datetime(2020, 1, 2, 23, 59, tzinfo=UTC)},
        {"start_date": "2020-01-02"},
        {"backtest_timeout": timedelta(seconds=5)},
        {"backtest_timeout": np.timedelta64(5 * 10**9, "ns")},
        {"backtest_timeout": np.int64(5)},
        {"seed": np.uint64(3)},
        {"starting_cash": np.float32(1_000)},
        {"starting_cash": Decimal(1_000)},
    ],
    ids=str,
)
def test_other_kinds_of_the_same_value_are_the_same(changes):
    config = in_plain_types(replace(PLAIN, **changes))
    (name,) = changes
    assert config == PLAIN
    assert type(getattr(config, name)) in {type(getattr(PLAIN, name)), int}


@pytest.mark.parametrize(
    ("values", "plain"),
    [
        (5, [5]),
        ("a", ["a"]),
        (np.float32(0.5), [0.5]),
        (np.arange(3), [0, 1, 2]),
        (pd.Series([0.5, 1.5]), [0.5, 1.5]),
        ([np.int8(3), np.bool_(True)], [3, True]),
        (IntegerRange(np.int64(1), np.int64(5), np.int64(2)), IntegerRange(1, 5, 2)),
        (DoubleRange(0, np.float64(1), point_count=np.int64(3)), DoubleRange(0, 1.0, None, 3)),
    ],
    ids=str,
)
def test_values_of_a_parameter_become_a_range_or_a_list_of_plain_ones(values, plain):
    config = in_plain_types(OptimizationConfig("s", parameters={"x": values}))
    assert config.parameters == {"x": plain}
    kinds = [type(each) for each in (plain if isinstance(plain, list) else [plain.stop])]
    given = config.parameters["x"]
    assert [type(each) for each in (given if isinstance(given, list) else [given.stop])] == kinds


WRONG_TYPES = [
    ("symbols", 5, "symbols", "is 5; give one text or several"),
    ("symbols", ["SPY", None], "symbols", "is None; give one text or several"),
    ("constraints", [lambda row: row], "constraints", "is of type function; give one text"),
    ("parameters", {"fast": None}, "parameters[0]", "is None; give a range, a list of values"),
    ("parameters", {"a": [1], "b": {1, 2}}, "parameters[1]", "is of type set; give a range"),
    ("parameters", np.array("2020", "M8[ns]"), "parameters", "is of type ndarray; give values by"),
    ("parameters", {"x": np.array(["2020"], "M8[ns]")}, "parameters[0]", "is of type ndarray"),
    ("start_date", pd.NaT, "start_date", "is of type NaTType; give a date"),
    ("start_date", np.datetime64("NaT", "D"), "start_date", "is of type datetime64; give a date"),
    ("start_date", np.array(["2020", "2021"], "M8[D]"), "start_date", "is of type ndarray; give a"),
    ("end_date", pd.to_datetime(["2020-01-01"]), "end_date", "is of type DatetimeIndex; give a"),
    ("backtest_timeout", np.array([1, 2], "m8[s]"), "backtest_timeout", "is of type ndarray; give"),
    ("start_date", "2020-02-30", "start_date", "is '2020-02-30'; give a date"),
    ("end_date", 20200102, "end_date", "is 20200102; give a date"),
    ("starting_cash", "1000", "starting_cash", "is '1000'; give a number"),
    ("commission", True, "commission", "is True; give a number"),
    ("slippage", np.timedelta64(5, "ns"), "slippage", "is of type timedelta64; give a number"),
    ("seed", "many", "seed", "is 'many'; give a number"),
    ("direction", "minimize", "direction", "is 'minimize'; give one of OptimizationDirection"),
]


@pytest.mark.parametrize(("name", "value", "field", "reason"), WRONG_TYPES)
def test_a_value_of_a_wrong_type_is_a_violation(name, value, field, reason):
    with pytest.raises(InvalidConfigError) as refused:
        in_plain_types(replace(PLAIN, **{name: value}))
    (violation,) = refused.value.violations
    assert violation.field == field
    assert violation.description.startswith(reason)


def test_every_field_refuses_what_is_of_no_type_that_it_takes():
    names = [each.name for each in fields(OptimizationConfig)]
    with pytest.raises(InvalidConfigError) as refused:
        in_plain_types(OptimizationConfig(**{name: object() for name in names}))
    assert [each.field for each in refused.value.violations] == names
