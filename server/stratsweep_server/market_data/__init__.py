"""Price files to bars, and bars to shared, memory-mapped, read-only arrays."""
