"""What stands around every call, each in a module of its own; `server` puts them in order."""
