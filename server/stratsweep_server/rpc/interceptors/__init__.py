"""Wrap every call in layers, each in a module of its own; `rpc.server` puts them in order."""
