"""The command line: `stratsweep`."""

from __future__ import annotations

import click

from stratsweep._version import __version__
from stratsweep.cli.cancel import cancel, delete
from stratsweep.cli.exit_codes import EXIT_CODES_HELP, ExitCodeGroup
from stratsweep.cli.import_files import import_files
from stratsweep.cli.list_optimizations import list_optimizations
from stratsweep.cli.new import new
from stratsweep.cli.optimize import optimize
from stratsweep.cli.resume import resume
from stratsweep.cli.serve import serve
from stratsweep.cli.show import show
from stratsweep.cli.strategies import strategies
from stratsweep.cli.watch import watch


@click.group(cls=ExitCodeGroup, epilog=EXIT_CODES_HELP)
@click.version_option(__version__, prog_name="stratsweep")
def main() -> None:
    """Find the best parameters of a trading strategy."""


main.add_command(serve)
main.add_command(optimize)
main.add_command(list_optimizations)
main.add_command(show)
main.add_command(watch)
main.add_command(cancel)
main.add_command(resume)
main.add_command(delete)
main.add_command(strategies)
main.add_command(new)
main.add_command(import_files)
