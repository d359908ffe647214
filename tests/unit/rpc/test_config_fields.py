"""A setting is written once: what carries it over finds it by its name."""

from dataclasses import fields

from stratsweep_server.backtest import BacktestConfig, BacktestSettings, BatchConfig
from stratsweep_server.backtest.settings import SETTING_RULES
from stratsweep_server.execution.plan import BacktestPlan
from stratsweep_server.optimization import OptimizationConfig
from stratsweep_server.rpc.config_fields import PLAIN_FIELDS


def names(config: type) -> set[str]:
    return {each.name for each in fields(config)}


def test_each_plain_field_of_the_contract_is_one_of_the_optimizers_config():
    assert names(OptimizationConfig) >= PLAIN_FIELDS


def test_each_setting_of_the_account_is_a_plain_field_and_has_a_rule():
    assert names(BacktestSettings) <= PLAIN_FIELDS
    assert names(BacktestSettings) == set(SETTING_RULES)
    assert all(
        rule.holds(getattr(BacktestSettings(), name)) for name, rule in SETTING_RULES.items()
    )


def test_each_setting_reaches_every_config_of_a_backtest():
    for config in (BacktestConfig, BatchConfig, BacktestPlan, OptimizationConfig):
        assert names(BacktestSettings) <= names(config)
