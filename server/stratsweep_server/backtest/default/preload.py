"""Load the kernels into the fork server, which imports this, so that workers start with them."""

import gc


def _preload() -> None:
    from stratsweep_server.backtest.default import (  # noqa: PLC0415 - after gc.disable()
        compilation,
        engine,
    )

    if not compilation.are_kernels_cached():
        # Whoever started the server hears it, the command line too: it waits for the first worker.
        note = "compiling the kernels for this machine, once; it takes 10 to 30 seconds"
        print(f"note: {note}", flush=True)  # noqa: T201
    engine.warm_up()
    compilation.note_kernels_cached()


# What is imported stays: to walk through it again and again takes a tenth of the time, and in
# workers it would copy the memory that they share.
gc.disable()
try:
    _preload()
except Exception as error:
    # The one exception that a fork server survives; each worker meets the cause, and says so.
    raise ImportError(f"the kernels cannot be loaded: {error}") from error
finally:
    gc.freeze()
    gc.enable()
