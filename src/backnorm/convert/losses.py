"""What cannot be carried from one dialect to another, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import AnyArray
    from backnorm.convert.canonical import Canonical
    from backnorm.dialects.columns import Row, Statistics
    from backnorm.dialects.settings import Settings

__all__ = ["KINDS", "Carried", "Kind", "Loss", "losses_between", "losses_of"]

LossName: TypeAlias = Literal[
    "estimator",
    "eps in variance",
    "eps floor",
    "running statistics",
    "batch in eval",
    "divisor",
    "unread sums",
    "updates",
    "plain mean",
    "finetuning",
    "unused gamma",
    "sign of gamma",
    "gamma",
    "beta",
    "new gamma",
    "new beta",
]


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that a conversion did not carry.

    Attributes
    ----------
    name
        Which; the key in `KINDS`.
    what
        What it was, in a sentence.
    refused
        Whether the conversion is refused for it, unless allow_loss is given.
    factor
        Of "estimator", where n is known: what the running variance would have to be multiplied by
        to be the target's own estimate.
    """

    name: LossName
    what: str
    refused: bool
    factor: float | None = None


class Carried(NamedTuple):
    """A conversion about to be made: both rows, both layers' settings, what is carried."""

    source: Row
    target: Row
    here: Settings
    there: Settings
    state: Canonical


class Kind(NamedTuple):
    """A kind of loss: between which rows it is possible, and in which conversions it happens."""

    what: str
    refused: bool
    advice: str
    rows: Callable[[Row, Row], bool]
    happens: Callable[[Carried], bool]


def _has(row: Row, role: str) -> bool:
    return any(array.role == role for array in row.arrays.known)


def _always(_: Carried) -> bool:
    return True


def _options(row: Row, name: Literal["gamma", "beta"]) -> bool:
    """Tell whether a layer of the dialect can be without gamma, or beta."""
    options = row.gamma_options.known if name == "gamma" else row.beta_options.known
    return bool(options)


def _statistics(row: Row) -> set[Statistics]:
    """Return what can normalize in a layer of the dialect."""
    return set(row.statistics.known.meaning.values())


def _not_one(values: AnyArray | None) -> bool:
    return values is not None and bool((values != 1.0).any())


def _below_zero(c: Carried) -> bool:
    """Tell whether the target's larger eps asks for a variance below 0, by more than rounding.

    What was moved into the variance for a smaller eps comes back rounded to the state's format.
    """
    grows = c.there.eps - c.state.eps
    rounding = float(np.finfo(c.state.dtype).eps) * c.there.eps
    return grows > 0.0 and bool((c.state.var - grows < -rounding).any())


_ALLOW: Final = "Pass allow_loss=True if that does not matter."

KINDS: Final[dict[LossName, Kind]] = {
    "estimator": Kind(
        "the running variance is {source.running_var.value}, and {target.name} keeps it "
        "{target.running_var.value}",
        refused=True,
        advice="Pass n, the number of values per channel it was taken over, or allow_loss=True.",
        rows=lambda a, b: a.running_var.known != b.running_var.known,
        happens=_always,
    ),
    "eps in variance": Kind(
        "one of {source.name} and {target.name} keeps eps in the running variance, the other not",
        refused=False,
        advice=_ALLOW,
        rows=lambda a, b: (
            (a.storage.known == "averages, eps in the variance")
            != (b.storage.known == "averages, eps in the variance")
        ),
        happens=_always,
    ),
    "eps floor": Kind(
        "the running variance is smaller than what eps has to grow by, to {there.eps:g}",
        refused=True,
        advice="Pass allow_loss=True to have it end at 0, or another eps in target_options.",
        rows=lambda _a, _b: True,  # target_options may ask for any eps
        happens=_below_zero,
    ),
    "running statistics": Kind(
        "the running statistics: the target layer keeps none, and normalizes by the batch in eval",
        refused=True,
        advice="Give the target layer running statistics in target_options.",
        rows=lambda _, b: "untracked" in _statistics(b),
        happens=lambda c: c.there.statistics == "untracked",
    ),
    "batch in eval": Kind(
        "one of the source and the target layer normalizes by the batch in eval, the other by the "
        "running statistics",
        refused=True,
        advice="Give both the same in source_options and target_options.",
        rows=lambda a, b: "batch" in _statistics(a) | _statistics(b),
        happens=lambda c: (
            c.there.statistics != "untracked"
            and (c.here.statistics == "batch") != (c.there.statistics == "batch")
        ),
    ),
    "divisor": Kind(
        "the divisor of the sums, {state.divisor:g}, by which the next update weighs the old",
        refused=False,
        advice=_ALLOW,
        rows=lambda a, b: _has(a, "divisor") and not _has(b, "divisor"),
        happens=lambda c: c.state.divisor not in {0.0, 1.0},
    ),
    "unread sums": Kind(
        "the divisor is 0, so that {source.name} reads 0 for mean and variance, but there are sums",
        refused=True,
        advice="If the file is NVIDIA's, take caffe-nvidia as source; else pass allow_loss=True.",
        rows=lambda a, _: _has(a, "divisor"),
        happens=lambda c: c.state.divisor == 0.0 and c.state.unread,
    ),
    "updates": Kind(
        "the count of updates, {state.updates}",
        refused=False,
        advice=_ALLOW,
        rows=lambda a, b: _has(a, "count") and not _has(b, "count"),
        happens=lambda c: bool(c.state.updates),
    ),
    "plain mean": Kind(
        "that the statistics are the plain mean of all batches",
        refused=False,
        advice=_ALLOW,
        rows=lambda a, b: (
            (a.momentum_none.known, b.momentum_none.known) == ("cumulative", "refused")
        ),
        happens=lambda c: c.state.keep is None,
    ),
    "finetuning": Kind(
        "the count of finetuning calls, {state.finetuned}",
        refused=False,
        advice=_ALLOW,
        rows=lambda a, b: _has(a, "finetuned") and not _has(b, "finetuned"),
        happens=lambda c: c.state.finetuned != 0,
    ),
    "unused gamma": Kind(
        "a stored gamma that is not 1, which {source.name} does not use; ones are written",
        refused=False,
        advice=_ALLOW,
        rows=lambda a, _: a.fixed_gamma.known.name is not None,
        happens=lambda c: c.here.fixed_gamma and _not_one(c.state.stored_gamma),
    ),
    "sign of gamma": Kind(
        "the sign of the stored gamma, whose size alone {source.name} uses",
        refused=False,
        advice=_ALLOW,
        rows=lambda a, b: a.gamma_rule.known != "stored" and b.gamma_rule.known == "stored",
        happens=lambda c: (
            c.state.stored_gamma is not None and bool((c.state.stored_gamma < 0).any())
        ),
    ),
    "gamma": Kind(
        "gamma is not 1, and the target layer has none or holds it at 1",
        refused=True,
        advice="Give the target layer a gamma of its own in target_options.",
        rows=lambda _, b: _options(b, "gamma") or b.fixed_gamma.known.name is not None,
        happens=lambda c: _not_one(c.state.gamma) and (not c.there.gamma or c.there.fixed_gamma),
    ),
    "beta": Kind(
        "beta is not 0, and the target layer has none",
        refused=True,
        advice="Give the target layer a beta in target_options.",
        rows=lambda _, b: _options(b, "beta"),
        happens=lambda c: (
            not c.there.beta and c.state.beta is not None and bool(c.state.beta.any())
        ),
    ),
    "new gamma": Kind(
        "that there is no gamma to train: ones are written",
        refused=False,
        advice=_ALLOW,
        rows=lambda a, _: _options(a, "gamma") or a.fixed_gamma.known.name is not None,
        happens=lambda c: c.state.gamma is None and c.there.gamma and not c.there.fixed_gamma,
    ),
    "new beta": Kind(
        "that there is no beta to train: zeros are written",
        refused=False,
        advice=_ALLOW,
        rows=lambda a, _: _options(a, "beta"),
        happens=lambda c: c.state.beta is None and c.there.beta,
    ),
}
"""Every kind of loss. Between rows where none is possible, nothing is lost."""


def losses_between(source: Row, target: Row) -> tuple[LossName, ...]:
    """Return what the table says can be lost between two dialects, whatever the state."""
    return tuple(name for name, kind in KINDS.items() if kind.rows(source, target))


def losses_of(carried: Carried, n: int | None) -> tuple[Loss, ...]:
    """Return what this conversion does not carry."""
    lost = []
    for name in losses_between(carried.source, carried.target):
        kind = KINDS[name]
        if not kind.happens(carried):
            continue
        what = kind.what.format(**carried._asdict())
        factor = estimator_factor(carried, n) if name == "estimator" and n else None
        lost.append(Loss(name, what, kind.refused and factor is None, factor))
    return tuple(lost)


def estimator_factor(carried: Carried, n: int) -> float:
    """Return what makes the source's estimate of the variance that of the target."""
    if carried.state.var_is == carried.target.running_var.known:
        return 1.0
    return n / (n - 1) if carried.state.var_is == "biased" else (n - 1) / n
