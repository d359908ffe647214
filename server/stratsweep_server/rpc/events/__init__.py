"""Make the events of an optimization from its log, as the bytes that are sent."""
