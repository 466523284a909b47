"""backnorm dialects: the table of dialects, or all about some of them."""

from __future__ import annotations

import click

__all__ = ["dialects"]


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME ...]")
def dialects(names: tuple[str, ...]) -> None:
    """Show what each framework means by batch normalization.

    Without a NAME: one line for each dialect. With some: their formulas, every column with its
    evidence, and what a port breaks on.
    """
    from rich.console import Console

    from backnorm.errors import UnknownNameError
    from backnorm.report.dialects import to_details, to_table

    terminal = Console()
    width = terminal.width if terminal.is_terminal else 100
    try:
        pages = [to_details(name, width=width) for name in names] or [to_table()]
    except UnknownNameError as error:
        raise click.UsageError(str(error)) from error
    click.echo("\n".join(pages), nl=False)
