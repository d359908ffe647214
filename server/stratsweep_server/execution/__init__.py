"""Run backtests in worker processes: the pool, its slots, the scheduler, and the worker's side."""
