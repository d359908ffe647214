"""Define the account that every backtest of an optimization trades with: cash and costs.

A setting is written here, and nowhere else in the server: configs and plans inherit it, requests
and responses carry every field whose name is also one of the contract's, validation asks its rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple


class SettingRule(NamedTuple):
    """Say what a finite value of a setting must fulfil.

    Attributes:
        holds: Whether a value does.
        wanted: The same in words that follow "make it".
    """

    holds: Callable[[float], bool]
    wanted: str


POSITIVE = SettingRule(lambda value: value > 0, "positive")
FRACTION = SettingRule(lambda value: 0 <= value < 1, "a fraction from 0 up to, not including, 1")


def _setting(default: float, rule: SettingRule) -> Any:  # noqa: ANN401 - as dataclasses.field
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestSettings:
    """Hold the account and its costs.

    Attributes:
        starting_cash: The account at the start, positive, in the prices' currency.
        commission: Fraction of each fill's value, per side, in [0, 1).
        slippage: Fraction of the price by which each fill is worse, per side, in [0, 1).
    """

    starting_cash: float = _setting(10_000.0, POSITIVE)
    commission: float = _setting(0.0, FRACTION)
    slippage: float = _setting(0.0, FRACTION)


SETTING_RULES: dict[str, SettingRule] = {
    each.name: each.metadata["rule"] for each in fields(BacktestSettings)
}


def settings_of(settings: BacktestSettings) -> dict[str, Any]:
    """Return the account's settings of a config by name, to make another config with."""
    return {name: getattr(settings, name) for name in SETTING_RULES}
