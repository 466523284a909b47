"""backnorm explain: what the code of a finding or of a probe means."""

from __future__ import annotations

import click

from backnorm.cli._output import paper, show

__all__ = ["explain"]


@click.command()
@click.argument("codes", nargs=-1, metavar="[CODE]...")
def explain(codes: tuple[str, ...]) -> None:
    """Explain findings of the audit: what was found, likely causes, and what to do.

    CODE is that of a finding, such as G01, or of a probe, such as P01. Without CODE: every finding
    in a line.

    Exit status: 0, or 2 for a code that is not known.
    """
    from backnorm.errors import UnknownNameError
    from backnorm.report.findings import to_explanation, to_list

    width = min(paper().width, 92)
    try:
        pages = [to_explanation(code, width=width) for code in codes] or [to_list(width=width)]
    except UnknownNameError as error:
        raise click.UsageError(str(error)) from error
    show("\n".join(pages))
