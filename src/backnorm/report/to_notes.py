"""What a command lost, left, or assumed because the file does not tell it: a sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.convert.files.record import ESTIMATOR
from backnorm.errors.base import counted, name_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm.convert.files import LayerChange, LayerFold

__all__ = ["to_fold_notes", "to_notes"]

MOST_NAMES: Final = 3
"""Of layers, in a sentence."""


def to_notes(file: str, changes: Sequence[LayerChange]) -> list[str]:
    """Say what was assumed and lost, once for all layers that are alike, and how to set it.

    Parameters
    ----------
    file
        The name of the file that was read.
    changes
        One for each layer.

    Returns
    -------
    list of str
        Sentences with the options of ``backnorm convert``.
    """
    lost: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        for loss in change.losses:
            lost.setdefault((loss.name, loss.what), []).append(change.name)
    return _assumptions(file, changes) + [_lost(*what, names) for what, names in lost.items()]


def _lost(loss: str, what: str, names: Sequence[str]) -> str:
    unchanged = "; the output in eval is the same" if loss == "estimator" else ""
    return f"not carried ({loss}) of {_few(names)}: {what}{unchanged}"


def to_fold_notes(file: str, folds: Sequence[LayerFold]) -> list[str]:
    """Say what was assumed, and why layers were not folded.

    Parameters
    ----------
    file
        The name of the file that was read.
    folds
        One for each layer.

    Returns
    -------
    list of str
        Sentences; a reason that layers share is there once.
    """
    left: dict[str, list[str]] = {}
    for fold in folds:
        if not fold.into:
            left.setdefault(fold.why_left, []).append(fold.name)
    reasons = [f"{_few(names)}: not folded, since {why}" for why, names in left.items()]
    return [*_assumptions(file, folds), *reasons]


def _few(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    listed = ", ".join(map(name_in, names[:MOST_NAMES]))
    return listed + (f" and {counted(more, 'more layer')}" if more > 0 else "")


def _assumptions(file: str, changes: Sequence[LayerChange | LayerFold]) -> list[str]:
    assumed: dict[tuple[str, str, object], list[str]] = {}
    for change in changes:
        for option, value in change.assumed.items():
            assumed.setdefault((change.source, option, value), []).append(change.name)
    return [_assumed(file, *what, names) for what, names in assumed.items()]


def _assumed(file: str, dialect: str, option: str, value: object, names: Sequence[str]) -> str:
    untold = f"{name_in(file)} does not tell {option} of {_few(names)}"
    if option == ESTIMATOR:
        taken = f"the running variance is taken as {value}, as {dialect} keeps it"
        return f"{untold}: {taken}; --from DIALECT says whose layers they are"
    return f"{untold}: {value} is assumed; --set '*.{option}=VALUE' sets it"
