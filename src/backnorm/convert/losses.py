"""A table of what cannot be carried from one dialect to another."""

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

__all__ = ["KINDS", "Carried", "Loss", "LossKind", "losses_between", "losses_of"]

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
    """Something that a conversion did not carry.

    Attributes
    ----------
    name
        The key in `KINDS`.
    what
        What was not carried, in a sentence.
    refused
        Whether the conversion is refused for it, unless allow_loss is given.
    factor
        Of "estimator", where n is known: the factor that turns the running variance into the
        target's estimate.
    """

    name: LossName
    what: str
    refused: bool
    factor: float | None = None


class Carried(NamedTuple):
    """A conversion before it is written: both rows, both layers' settings, the canonical state."""

    source: Row
    target: Row
    source_settings: Settings
    target_settings: Settings
    state: Canonical


class LossKind(NamedTuple):
    """A kind of loss: between which rows it is possible, and in which conversions it happens."""

    what: str
    refused: Literal["never", "strict", "always"]
    """"strict": the output in eval is the same, and training that goes on soon forgets it."""
    advice: str
    command: str
    """The advice with the options of ``backnorm convert``, which has no options of the target."""
    rows: Callable[[Row, Row], bool]
    happens: Callable[[Carried], bool]


def _has(row: Row, role: str) -> bool:
    return any(array.role == role for array in row.arrays.known)


def _always(_: Carried) -> bool:
    return True


def _options(row: Row, name: Literal["gamma", "beta"]) -> bool:
    """Tell whether a layer of the dialect may lack gamma, or beta."""
    options = row.gamma_options.known if name == "gamma" else row.beta_options.known
    return bool(options)


def _statistics(row: Row) -> set[Statistics]:
    """Return the statistics that can normalize in a layer of the dialect."""
    return set(row.statistics.known.meaning.values())


def _not_one(values: AnyArray | None) -> bool:
    return values is not None and bool((values != 1.0).any())


def _below_zero(c: Carried) -> bool:
    """Tell whether the target's larger eps asks for a variance below 0 by more than rounding.

    An earlier conversion to a smaller eps added the difference to the variance and rounded the sum
    to the state's dtype; taking the difference out again may leave that rounding below 0.
    """
    grows = c.target_settings.eps - c.state.eps
    rounding = float(np.finfo(c.state.dtype).eps) * c.target_settings.eps
    return grows > 0.0 and bool((c.state.var - grows < -rounding).any())


_ALLOW: Final = "Pass allow_loss=True if that does not matter."
_ALLOW_COMMAND: Final = "Pass --allow-loss if that does not matter."

KINDS: Final[dict[LossName, LossKind]] = {
    "estimator": LossKind(
        "the running variance is {source.running_var.value}, and {target.name} keeps it "
        "{target.running_var.value}",
        refused="strict",
        advice="Pass n, the number of values per channel it was taken over, or leave strict out.",
        command="Pass --n, the values per channel it was taken over (batch x height x width at "
        "that layer), or leave --strict out.",
        rows=lambda a, b: a.running_var.known != b.running_var.known,
        happens=_always,
    ),
    "eps in variance": LossKind(
        "{source.name} and {target.name} differ in whether the running variance contains eps",
        refused="never",
        advice=_ALLOW,
        command=_ALLOW_COMMAND,
        rows=lambda a, b: (
            (a.storage.known == "averages, eps in the variance")
            != (b.storage.known == "averages, eps in the variance")
        ),
        happens=_always,
    ),
    "eps floor": LossKind(
        "the running variance is smaller than the amount by which eps must grow, "
        "to {target_settings.eps:g}",
        refused="always",
        advice="Pass allow_loss=True to end at a variance of 0, or another eps in target_options.",
        command="Pass --allow-loss to end at a variance of 0.",
        rows=lambda _a, _b: True,  # target_options may ask for any eps
        happens=_below_zero,
    ),
    "running statistics": LossKind(
        "the running statistics: the target layer does not keep any and uses the batch's in eval",
        refused="always",
        advice="Give the target layer running statistics in target_options.",
        command=_ALLOW_COMMAND,
        rows=lambda _, b: "untracked" in _statistics(b),
        happens=lambda c: c.target_settings.statistics == "untracked",
    ),
    "batch in eval": LossKind(
        "one of the two layers normalizes by the batch in eval, the other by running statistics",
        refused="always",
        advice="Give both the same in source_options and target_options.",
        command=_ALLOW_COMMAND,
        rows=lambda a, b: "batch" in _statistics(a) | _statistics(b),
        happens=lambda c: (
            c.target_settings.statistics != "untracked"
            and (c.source_settings.statistics == "batch")
            != (c.target_settings.statistics == "batch")
        ),
    ),
    "divisor": LossKind(
        "the divisor of the sums, {state.divisor:g}, by which the next update weighs the old",
        refused="never",
        advice=_ALLOW,
        command=_ALLOW_COMMAND,
        rows=lambda a, b: _has(a, "divisor") and not _has(b, "divisor"),
        happens=lambda c: c.state.divisor not in {0.0, 1.0},
    ),
    "unread sums": LossKind(
        "the sums, which {source.name} reads as 0 because their divisor is 0",
        refused="always",
        advice="If the file is NVIDIA's, take caffe-nvidia as source; else pass allow_loss=True.",
        command="If the file is NVIDIA's, pass --from caffe-nvidia; else pass --allow-loss.",
        rows=lambda a, _: _has(a, "divisor"),
        happens=lambda c: c.state.divisor == 0.0 and c.state.unread,
    ),
    "updates": LossKind(
        "the count of updates, {state.updates}",
        refused="never",
        advice=_ALLOW,
        command=_ALLOW_COMMAND,
        rows=lambda a, b: _has(a, "count") and not _has(b, "count"),
        happens=lambda c: bool(c.state.updates),
    ),
    "plain mean": LossKind(
        "the rule that the statistics are the plain mean of all batches",
        refused="never",
        advice=_ALLOW,
        command=_ALLOW_COMMAND,
        rows=lambda a, b: (
            (a.momentum_none.known, b.momentum_none.known) == ("cumulative", "refused")
        ),
        happens=lambda c: c.state.keep is None,
    ),
    "finetuning": LossKind(
        "the count of finetuning calls, {state.finetuned}",
        refused="never",
        advice=_ALLOW,
        command=_ALLOW_COMMAND,
        rows=lambda a, b: _has(a, "finetuned") and not _has(b, "finetuned"),
        happens=lambda c: c.state.finetuned != 0,
    ),
    "unused gamma": LossKind(
        "a stored gamma other than 1 that {source.name} does not use; ones are written",
        refused="never",
        advice=_ALLOW,
        command=_ALLOW_COMMAND,
        rows=lambda a, _: a.fixed_gamma.known.name is not None,
        happens=lambda c: c.source_settings.fixed_gamma and _not_one(c.state.stored_gamma),
    ),
    "sign of gamma": LossKind(
        "the sign of the stored gamma, of which {source.name} uses the absolute value",
        refused="never",
        advice=_ALLOW,
        command=_ALLOW_COMMAND,
        rows=lambda a, b: a.gamma_rule.known != "stored" and b.gamma_rule.known == "stored",
        happens=lambda c: (
            c.state.stored_gamma is not None and bool((c.state.stored_gamma < 0).any())
        ),
    ),
    "gamma": LossKind(
        "gamma differs from 1, and the target layer lacks gamma or holds it at 1",
        refused="always",
        advice="Give the target layer a gamma to train in target_options.",
        command=_ALLOW_COMMAND,
        rows=lambda _, b: _options(b, "gamma") or b.fixed_gamma.known.name is not None,
        happens=lambda c: (
            _not_one(c.state.gamma)
            and (not c.target_settings.gamma or c.target_settings.fixed_gamma)
        ),
    ),
    "beta": LossKind(
        "beta differs from 0, and the target layer lacks beta",
        refused="always",
        advice="Give the target layer a beta in target_options.",
        command=_ALLOW_COMMAND,
        rows=lambda _, b: _options(b, "beta"),
        happens=lambda c: (
            not c.target_settings.beta and c.state.beta is not None and bool(c.state.beta.any())
        ),
    ),
    "new gamma": LossKind(
        "the absence of gamma: the target layer has gamma, and ones are written",
        refused="never",
        advice=_ALLOW,
        command=_ALLOW_COMMAND,
        rows=lambda a, _: _options(a, "gamma") or a.fixed_gamma.known.name is not None,
        happens=lambda c: (
            c.state.gamma is None and c.target_settings.gamma and not c.target_settings.fixed_gamma
        ),
    ),
    "new beta": LossKind(
        "the absence of beta: the target layer has beta, and zeros are written",
        refused="never",
        advice=_ALLOW,
        command=_ALLOW_COMMAND,
        rows=lambda a, _: _options(a, "beta"),
        happens=lambda c: c.state.beta is None and c.target_settings.beta,
    ),
}
"""Every kind of loss. Two rows between which the table has no loss convert without any."""


def losses_between(source: Row, target: Row) -> tuple[LossName, ...]:
    """Return what the table says can be lost between two dialects, whatever the state."""
    return tuple(name for name, kind in KINDS.items() if kind.rows(source, target))


def losses_of(carried: Carried, n: int | None, *, strict: bool = False) -> tuple[Loss, ...]:
    """Return what this conversion does not carry."""
    refusals = {"always", "strict"} if strict else {"always"}
    losses = []
    for name in losses_between(carried.source, carried.target):
        kind = KINDS[name]
        if not kind.happens(carried):
            continue
        what = kind.what.format(**carried._asdict())
        factor = estimator_factor(carried, n) if name == "estimator" and n else None
        losses.append(Loss(name, what, kind.refused in refusals and factor is None, factor))
    return tuple(losses)


def estimator_factor(carried: Carried, n: int) -> float:
    """Return the factor between the source's estimate of the variance and the target's."""
    if carried.state.var_is == carried.target.running_var.known:
        return 1.0
    return n / (n - 1) if carried.state.var_is == "biased" else (n - 1) / n
