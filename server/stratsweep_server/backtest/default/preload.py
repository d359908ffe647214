"""Load the kernels into the fork server, which imports this, so that workers start with them."""

import gc


def _preload() -> None:
    from stratsweep_server.backtest.default import (  # noqa: PLC0415 - after gc.disable()
        compilation,
        engine,
    )

    if not compilation.are_kernels_cached():
        # Whoever started the server is told, since it waits for the first worker.
        note = "compiling the kernels for this machine, once; it takes 10 to 30 seconds"
        print(f"note: {note}", flush=True)  # noqa: T201
    engine.warm_up()
    compilation.note_kernels_cached()


# What is imported stays for good: having the garbage collector walk through it takes a tenth of the
# time, and in workers it would copy the memory that they share.
gc.disable()
try:
    _preload()
except Exception as error:
    # A fork server survives an ImportError alone; each worker meets the cause, and reports it.
    raise ImportError(f"the kernels cannot be loaded: {error}") from error
finally:
    gc.freeze()
    gc.enable()
