"""Imported by the fork server, so that its workers start with compiled kernels."""

from stratsweep_server.backtest.default.engine import warm_up

try:
    warm_up()
except Exception as error:
    # The one exception that a fork server survives; each worker then meets the cause, and says so.
    raise ImportError(f"the kernels cannot be warmed up: {error}") from error
