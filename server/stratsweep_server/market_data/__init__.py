"""Turn price files into bars, and bars into shared, memory-mapped, read-only arrays."""
