"""Several files of one symbol to one clean file, with a report on it: `stratsweep import`."""
