"""The only floor that knows gRPC: service, conversions, event streams, status mapping."""
