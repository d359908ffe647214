"""Stratsweep's server: finds the best parameters of a trading strategy.

Nothing is imported here: worker processes import parts of this package and must start fast.
`GridSearchOptimizer` is in `stratsweep_server.optimization`, engines' types in
`stratsweep_server.backtest`.
"""
