"""backnorm dialects: the table of dialects, or a page for each dialect named."""

from __future__ import annotations

import click

from backnorm.cli._output import paper, show

__all__ = ["dialects"]


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME ...]")
def dialects(names: tuple[str, ...]) -> None:
    """Show how each framework defines batch normalization.

    Without NAME: one line for each dialect. With NAME: the dialect's formulas, every column with
    its evidence, and the traps of a port.
    """
    from backnorm.errors import UnknownNameError
    from backnorm.report.dialects import to_details, to_table

    try:
        pages = [to_details(name, width=paper().width) for name in names] or [to_table()]
    except UnknownNameError as error:
        raise click.UsageError(str(error)) from error
    show("\n".join(pages))
