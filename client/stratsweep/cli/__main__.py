"""`python -m stratsweep.cli`: the command line where the command is not on the path."""

from stratsweep.cli import main

main(prog_name="stratsweep")
