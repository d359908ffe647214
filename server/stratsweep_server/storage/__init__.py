"""Keep optimizations and their outcomes on the disk: the state directory of a server."""
