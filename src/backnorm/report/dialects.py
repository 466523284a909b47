"""The table of dialects, for a terminal and as the page docs/dialects.md."""

from __future__ import annotations

import textwrap
from dataclasses import fields
from functools import singledispatch
from typing import TYPE_CHECKING, Any, Final

from backnorm.convert import KINDS
from backnorm.dialects import DIALECTS, UNKNOWN, Fact, row_of
from backnorm.dialects.columns import ABOUT, REQUIRED, Array, Choice, Option, Requests
from backnorm.report.formulas import formulas

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from backnorm.convert.losses import LossKind
    from backnorm.dialects import Row

__all__ = ["to_details", "to_page", "to_table"]

HEADS: Final = ("dialect", "momentum", "weighs", "running var", "changes in", "eps", "channels")
INDENT: Final = 22

INTRODUCTION: Final = """\
# Dialects

What each framework means by batch normalization. A dialect is a row of a table; this page is made
from the rows (`{command}`), and so is the layer that computes it:

```python
import numpy as np
import backnorm as bn

x = np.array([[1.0], [2.0], [3.0], [4.0]])
layer = bn.BatchNorm(1, dialect="caffe", moving_average_fraction=0.9, eps=0.001)
y = layer.forward(x)
g = layer.backward(np.ones_like(x))

assert layer.state()["scale_factor"].tolist() == [1.0]
assert abs(g.dx).max() < 1e-15
```

Options and arrays have the names that the framework gives them. States go from one dialect to
another with [`convert_state`](#conversion); [adding a dialect](#adding-one) is one file.

What the frameworks lose in their sums is not imitated: the layer computes with the engine's
accuracy. How far that is from what Caffe and MXNet computed stands in the tests, beside how far
they are from exact: `make test ARGS='tests/dialects/test_goldens.py -s'`. The formats that a
framework keeps its numbers in are part of the dialect.

Not in the table: empty batches, which the layer refuses in training whatever the framework does;
masks; statistics over several devices; renormalization.
"""

CONVERSION: Final = """\
## Conversion

`bn.convert_state(state, source, target)` carries a state over so that the output in eval stays the
same. What cannot be carried is in the result's `losses`. What changes the output in eval is refused
unless you pass `allow_loss=True`.

```python
state = {"gamma": [1.0], "beta": [0.0], "moving_mean": [2.0], "moving_variance": [3.0]}
done = bn.convert_state(state, "keras", "torch", n=64)

assert done.state["running_var"].tolist() == [3.0]
assert done.options["momentum"] == 0.01
assert [loss.name for loss in done.losses] == ["estimator"]
```

Keras keeps the biased variance and PyTorch the unbiased one. The running variance is carried as it
is, so that the output in eval stays the same. `strict=True` refuses this unless n is given.
`preserve="estimator"` multiplies the variance by n/(n - 1) or (n - 1)/n, which changes the output
in eval.

| loss | what is not carried | refused |
|---|---|---|
"""

REFUSED: Final = {"always": "yes", "strict": "with `strict=True`", "never": "no"}

PLACES: Final = {
    "{source.name}": "the source",
    "{target.name}": "the target",
    "{source.running_var.value}": "one estimate",
    "{target.running_var.value}": "as the other",
    ", {state.divisor:g},": "",
    ", {state.updates}": "",
    ", {state.finetuned}": "",
    ", to {target_settings.eps:g}": "",
}
"""What stands in the page where a loss has the numbers of its conversion."""

ADDING: Final = """\
## Adding one

A file with its row in `src/backnorm/dialects/rows/`, its name in `registry.py`, and a golden in
`tests/dialects/goldens/`. CONTRIBUTING.md shows it. If a dialect needs code, the table lacks a
column.
"""


def to_table(names: Sequence[str] = DIALECTS) -> str:
    """Write a line for each dialect.

    Parameters
    ----------
    names
        Of dialects.

    Returns
    -------
    str
        The text.
    """
    rows = [HEADS, *(_cells(row_of(name)) for name in names)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:]]) + "\n"


def to_details(name: str, *, width: int = 100) -> str:
    """Write all there is to say about a dialect.

    Parameters
    ----------
    name
        Of a dialect.
    width
        Columns to fill at most.

    Returns
    -------
    str
        The text.
    """
    row = row_of(name)
    lines = [f"{row.name}: {row.title}", f"  {row.source}", "", "Formulas"]
    for about, formula in formulas(row):
        lines += _item(about, formula, width)
    lines += ["", "Columns"]
    for column, fact in _facts(row):
        lines += _item(column, f"{_value(fact.value)}  [{fact.evidence}]", width)
    lines += ["", "Traps"]
    for trap in row.traps:
        lines += textwrap.wrap(trap, width, initial_indent="  - ", subsequent_indent="    ")
    return "\n".join(lines) + "\n"


def to_page() -> str:
    """Write the page of the documentation.

    Returns
    -------
    str
        Markdown.
    """
    head = INTRODUCTION.format(command="backnorm dialects")
    table = [HEADS, *(_cells(row_of(name)) for name in DIALECTS)]
    links = [(f"[{cells[0]}](#{cells[0]})", *cells[1:]) for cells in table[1:]]
    parts = [
        head,
        _markdown(HEADS, links),
        CONVERSION + "\n".join(_loss_line(name, kind) for name, kind in KINDS.items()) + "\n",
        ADDING,
        *(_section(row_of(name)) for name in DIALECTS),
    ]
    return "\n".join(parts)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        _option(row.momentum.known),
        row.momentum_weighs.known,
        _variance(row),
        row.updates_in.known,
        _option(row.eps.known),
        _axis(row),
    )


def _variance(row: Row) -> str:
    held = row.storage.known == "averages, eps in the variance"
    return row.running_var.known + (" + eps" if held else "")


def _axis(row: Row) -> str:
    choice = row.axis.known
    return str(choice.meaning.get(choice.default, choice.default))


def _facts(row: Row) -> list[tuple[str, Fact[Any]]]:
    values = [(field.name, getattr(row, field.name)) for field in fields(row)]
    return [(name, value) for name, value in values if isinstance(value, Fact)]


def _option(option: Option | Choice[Any]) -> str:
    default: Any = option.default
    if default is REQUIRED:
        default = "required"
    elif isinstance(default, float):
        default = f"{default:.7g}"  # MXNet's eps is 0.001 as float32 has it
    return "no option" if option.name is None else f"{option.name}={default}"


@singledispatch
def _value(value: object) -> str:
    """Return a fact as text."""
    return "UNKNOWN" if value is UNKNOWN else str(value)


@_value.register
def _(value: Requests) -> str:
    return f"dx: {value.dx}; dgamma: {value.dgamma}; dbeta: {value.dbeta}"


@_value.register
def _(value: Option) -> str:
    return _option(value)


@_value.register
def _(value: Choice) -> str:  # type: ignore[type-arg] # singledispatch goes by the class alone
    if value.name is None:
        return str(next(iter(value.meaning.values()), value.default))
    return ", ".join([_option(value), *(f"{key!r}: {word}" for key, word in value.meaning.items())])


@_value.register
def _(value: Array) -> str:
    return f"{value.name} ({value.role})"


@_value.register
def _(value: tuple) -> str:  # type: ignore[type-arg]
    return ", ".join(map(_value, value)) or "none"


def _item(about: str, text: str, width: int) -> list[str]:
    indent = " " * INDENT
    first = f"  {about}".ljust(INDENT - 1) + " "
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=indent)


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(_escaped, cells))} |" for cells in lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("_", "\\_")


def _loss_line(name: str, kind: LossKind) -> str:
    what = kind.what
    for place, words in PLACES.items():
        what = what.replace(place, words)
    return f"| {name} | {what} | {REFUSED[kind.refused]} |"


def _section(row: Row) -> str:
    lines = [f"## {row.name}", "", f"{row.title}. {row.source}.", "", "```text"]
    known = list(formulas(row))
    width = max(len(about) for about, _ in known) + 2
    lines += [f"{about:<{width}}{formula}" for about, formula in known]
    lines += ["```", "", *(f"- {trap}" for trap in row.traps), ""]
    rows = [(ABOUT[name], _value(fact.value), fact.evidence) for name, fact in _facts(row)]
    return "\n".join(lines) + "\n" + _markdown(("about", "value", "evidence"), rows)
