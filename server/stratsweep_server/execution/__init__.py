"""Backtests in worker processes: the pool, its slots, the scheduler, and the child's side."""
