"""Look at what is loaded, once for all processes that are forked from this one.

It is the last module that a fork server imports: to look again takes each worker 10 ms.
"""

from stratsweep_server.backtest.inputs import remember_loaded

remember_loaded()
