"""Write Arrow IPC streams from numpy's buffers as they are, and read back what was written so."""
