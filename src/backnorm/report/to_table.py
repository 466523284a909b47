"""The layers of a converted model as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from backnorm.dialects import row_of
from backnorm.errors.base import name_in
from backnorm.errors.printable import printable
from backnorm.report._lines import Column, lines_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm.convert.files import LayerChange, LayerFold

__all__ = ["to_fold_table", "to_table"]


def to_table(changes: Sequence[LayerChange], *, width: int = 100) -> str:
    """Write a table of converted layers.

    Parameters
    ----------
    changes
        One for each layer.
    width
        Columns to fill at most; a name that leaves too little room stands on a line above.

    Returns
    -------
    str
        The text; the last column is the largest difference of the eval output on random inputs,
        relative to the largest output. It is "unknown" where the source's output depends on an
        option that was assumed.
    """
    columns = [
        *(Column("layer"), Column("from"), Column("to"), Column("C", right=True)),
        *(Column(name, wraps=True) for name in ("options", "not carried", "assumed")),
        Column("difference", right=True),
    ]
    rows = [
        [
            Text(name_in(change.name)),
            Text(change.source),
            Text(change.target),
            Text(str(change.channels)),
            Text(printable(_options(change.options))),
            Text(", ".join(loss.name for loss in change.losses)),
            Text(printable(_options(change.assumed))),
            Text(_difference(change)),
        ]
        for change in changes
    ]
    return _written(columns, rows, width)


def to_fold_table(folds: Sequence[LayerFold], *, width: int = 100) -> str:
    """Write a table of the layers that were folded.

    Parameters
    ----------
    folds
        One for each layer; those that are left are no rows of the table.
    width
        Columns to fill at most; a name that leaves too little room stands on a line above.

    Returns
    -------
    str
        The text: the layer, what it was folded into, its channels, and what was assumed.
    """
    columns = [
        *(Column("layer"), Column("folded into"), Column("C", right=True)),
        Column("assumed", wraps=True),
    ]
    rows = [
        [
            Text(name_in(fold.name)),
            Text(name_in(fold.into)),
            Text(str(fold.channels)),
            Text(printable(_options(fold.assumed))),
        ]
        for fold in folds
        if fold.into
    ]
    return _written(columns, rows, width)


def _written(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> str:
    return "".join(f"{line.plain}\n" for line in lines_of(columns, rows, width))


def _options(options: Mapping[str, object]) -> str:
    return " ".join(f"{name}={_short(value)}" for name, value in options.items())


def _difference(change: LayerChange) -> str:
    row = row_of(change.source)
    decisive = {row.eps.known.name, row.fixed_gamma.known.name}
    if not decisive.isdisjoint(change.assumed):
        return "unknown"
    return f"{change.largest:.0e}" if change.largest else "0"


def _short(value: object) -> str:
    """Write a number with the precision of float32."""
    return f"{value:.7g}" if isinstance(value, float) else str(value)
