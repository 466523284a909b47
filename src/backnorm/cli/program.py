"""backnorm program: a helper for a program that the audit is to run."""

from __future__ import annotations

import click

from backnorm.cli._output import show
from backnorm.host.helpers import FILES, text_of

__all__ = ["program"]


@click.command()
@click.argument("language", type=click.Choice(sorted(FILES)))
def program(language: str) -> None:
    """Print a helper with which a program of another language is audited.

    Redirect it to a file, for example `backnorm program cpp > backnorm.hpp`, write the few lines
    that call your layer as its first lines say, and run `backnorm audit --program ./norm`.
    """
    show(text_of(language))
