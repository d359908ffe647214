"""Find the best parameters of trading strategies: the server's package.

Nothing is imported here: worker processes import parts of this package and must start fast.
`GridSearchOptimizer` is in `stratsweep_server.optimization`, engines' types in
`stratsweep_server.backtest`.
"""
