"""The gradient of a small batch on one screen: 80 columns, 24 to 40 lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.lab.arithmetic import STEP, forms, held, slope, wrong_by

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backnorm._types import Float64Array
    from backnorm.lab.arithmetic import FrameworkForms, SmallBatch

__all__ = ["MOST_VALUES", "screen"]

MOST_VALUES: Final = 8
"""With more the result would not fit on a screen of 40 lines."""

WIDTH: Final = 11
DIGITS: Final = 4
ROUNDING: Final = 1e-9
"""Below this share of the largest number of a table, a number is rounding error, and shown as 0."""

QUESTION: Final = """\
In batch normalization, are the mean and the variance of the batch constants, or
do they take part in the gradient? They take part: dx = D + M + V.
"""

READ_ON: Final = """\
Read on: docs/mathematics.md derives D, M and V. docs/lab.md shows what training
does without them; `backnorm lab experiment` measures it. `backnorm lab --html
lab.html` writes a page to touch. `backnorm audit` measures any layer.
"""


def screen(batch: SmallBatch) -> str:
    """Return the text of `backnorm lab` for a batch.

    Examples
    --------
    >>> from backnorm.lab.arithmetic import terms
    >>> text = screen(terms([1.0, 2.0, 4.0, 8.0], [1.0, 0.0, 0.0, 0.0]))
    >>> print(text.splitlines()[7])
          1.000      1.000     0.3730   -0.09325   -0.09812     0.1816     0.1816
    """
    return "\n".join([QUESTION, _statistics(batch) + _terms(batch), _others(batch), READ_ON])


def _statistics(batch: SmallBatch) -> str:
    mean, var, eps = (f"{value:.5g}" for value in (batch.mean, batch.var, batch.eps))
    return f"y = (x - mean)/sqrt(var + eps)   mean {mean}, var {var}, eps {eps}\n\n"


def _terms(batch: SmallBatch) -> str:
    columns = (batch.direct, batch.through_mean, batch.through_variance, batch.dx, slope(batch))
    heads = ("x", "dy", "D", "M", "V", "dx", "measured")
    below = ("", "", "direct", "via mean", "via var", "D + M + V", "slope")
    totals = _without_rounding([np.array([column.sum()]) for column in columns], _scale(columns))
    sums = ["sum", _number(batch.dy.sum()), *(_number(total[0]) for total in totals)]
    h = f"{STEP / batch.inv_std:.2g}"
    slopes = f"slope of sum(dy*y); x moves by h and 2h to each side, h = {h}"
    cells = [
        _apart(batch.x),
        *map(_numbers, [batch.dy, *_without_rounding(columns, _scale(columns))]),
    ]
    table = _table(cells, heads, below)
    return f"{table}{_line(sums)}\nmeasured: {slopes}\n"


def _others(batch: SmallBatch) -> str:
    wrong, spelled = held(batch), forms(batch)
    columns = (batch.dx, *wrong.values(), spelled.caffe, spelled.mxnet)
    dx, *cleaned = _without_rounding(columns, _scale(columns))
    heads = ("x", "y", "D + V", "D + M", "D", "Caffe", "MXNet")
    below = ("", "", "mean held", "var held", "both held", "from y", "from x")
    shares = [_share(wrong_by(column, dx)) for column in cleaned]
    cells = [_apart(batch.x), *map(_numbers, [batch.y, *cleaned])]
    table = _table(cells, heads, below)
    return f"""{table}{_line(["", "wrong by", *shares])}\
{"(largest error / largest |dx|)":>{5 * WIDTH}}

{_requests(batch, spelled)}"""


def _scale(columns: Iterable[Float64Array]) -> float:
    return max(float(np.abs(column).max()) for column in columns)


def _without_rounding(columns: Iterable[Float64Array], scale: float) -> list[Float64Array]:
    """Return the columns with 0 for what is rounding error beside the scale."""
    return [np.where(np.abs(column) <= ROUNDING * scale, 0.0, column) for column in columns]


def _requests(batch: SmallBatch, spelled: FrameworkForms) -> str:
    scale = float(np.abs(batch.direct).max())
    added = _equal(spelled.mxnet_added, 1 + batch.dx, max(scale, 1.0))
    constant = _equal(spelled.mxnet_global, batch.direct, scale)
    null = "leaves dx out" if spelled.null_leaves_out else "does not leave dx out"
    return f"""\
In MXNet the caller chooses what happens to dx: "write" stores it, "add" adds it
to what is stored: 1 becomes 1 + dx ({added}), and "null" {null}.
In evaluation mean and var are stored constants, so dx = D ({constant}).
"""


def _equal(ours: Float64Array, theirs: Float64Array, scale: float) -> str:
    """Say whether two results are equal up to rounding, or how much they differ."""
    difference = float(np.abs(ours - theirs).max())
    return "equal" if difference <= ROUNDING * scale else f"differs by {difference:.2g}"


def _table(columns: Iterable[list[str]], *heads: tuple[str, ...]) -> str:
    return "".join(map(_line, [*heads, *zip(*columns, strict=True)]))


def _line(words: Iterable[str]) -> str:
    return "".join(f"{word:>{WIDTH}}" for word in words) + "\n"


def _number(value: float, digits: int = DIGITS) -> str:
    """Write significant digits, fewer if a column has no room for them; zero is written as 0."""
    written = f"{value:#.{digits}g}".rstrip(".") if value else "0"
    return written if len(written) < WIDTH or digits == 1 else _number(value, digits - 1)


def _numbers(column: Float64Array) -> list[str]:
    return [_number(value) for value in column]


def _apart(column: Float64Array) -> list[str]:
    """Write the values with the digits that tell them apart, if a column has room for them."""
    different = len(set(column.tolist()))
    for digits in range(DIGITS, WIDTH):
        written = [_number(value, digits) for value in column]
        if len(set(written)) == different:
            return written
    return _numbers(column)


def _share(ratio: float) -> str:
    """Write an error relative to dx."""
    if ratio <= ROUNDING:
        return "0"
    if not np.isfinite(ratio):
        return "dx is 0"
    return f"{ratio:.1%}" if ratio < 10 else f"{ratio:.2g} x"  # noqa: PLR2004 - 1000 %
