"""TA-Lib in a strategy of the user's, in a real worker: it takes series as in plain Python."""

from stratsweep_server.optimization import GridSearchOptimizer, OptimizationConfig

from examples.demo import write_synthetic_market

STRATEGIES = """
import pandas as pd
import polars as pl
import talib
from stratsweep_server.backtest import strategy


@strategy
def of_pandas(bars, period: int):
    closes = pd.Series(bars.close)
    return closes > talib.EMA(closes, timeperiod=period)


@strategy
def of_polars(bars, period: int):
    closes = pl.Series(bars.close)
    return (closes > talib.EMA(closes, timeperiod=period)).to_numpy()


@strategy
def of_numpy(bars, period: int):
    return bars.close > talib.EMA(bars.close, timeperiod=period)
"""


async def test_a_strategy_gives_talib_series_of_pandas_and_polars(tmp_path, monkeypatch):
    (tmp_path / "series_strategies.py").write_text(STRATEGIES)
    write_synthetic_market(tmp_path / "SPY.csv")
    monkeypatch.chdir(tmp_path)
    modules = ["series_strategies"]
    results = {}
    async with GridSearchOptimizer(1, data=tmp_path, strategy_modules=modules) as optimizer:
        for name in ("of_pandas", "of_polars", "of_numpy"):
            config = OptimizationConfig(
                strategy=name, symbols=["SPY"], parameters={"period": [5, 50]}
            )
            result = await optimizer.optimize(config)
            assert not result.failures
            results[name] = [row.metrics for row in result.ranked_results]
    assert results["of_pandas"] == results["of_polars"] == results["of_numpy"]
