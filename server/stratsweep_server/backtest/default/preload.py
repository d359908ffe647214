"""Imported by the fork server, so that its workers start with compiled kernels."""

from stratsweep_server.backtest.default.compilation import are_kernels_cached
from stratsweep_server.backtest.default.engine import warm_up

if not are_kernels_cached():
    # Whoever started the server hears it, the command line too: it waits for the first worker.
    print("note: compiling the kernels for this machine, once; it takes some seconds", flush=True)  # noqa: T201
try:
    warm_up()
except Exception as error:
    # The one exception that a fork server survives; each worker then meets the cause, and says so.
    raise ImportError(f"the kernels cannot be warmed up: {error}") from error
