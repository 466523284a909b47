"""The command line: one file for each command, without arithmetic."""

from __future__ import annotations

import click

from backnorm import __version__
from backnorm.cli.audit import audit
from backnorm.cli.bench import bench
from backnorm.cli.convert import convert
from backnorm.cli.dialects import dialects
from backnorm.cli.env import env
from backnorm.cli.explain import explain
from backnorm.cli.inspect import inspect
from backnorm.cli.lab import lab
from backnorm.cli.moments import moments
from backnorm.cli.program import program

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Batch normalization with its complete gradient, and an audit of normalization layers."""


main.add_command(audit)
main.add_command(bench)
main.add_command(convert)
main.add_command(dialects)
main.add_command(env)
main.add_command(explain)
main.add_command(inspect)
main.add_command(lab)
main.add_command(moments)
main.add_command(program)
