"""Serve over gRPC; no other floor knows it: service, conversions, event streams, status mapping."""
