"""A gallery of right and wrong normalizations, each with the verdict that it must get."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from backnorm.audit.numpy_pair import pair_subject
from backnorm.audit.record import Expected
from backnorm.audit.specimens import cut, harmless, wrong
from backnorm.audit.specimens.other_kinds import Over
from backnorm.audit.specimens.plain import Frozen, Plain

if TYPE_CHECKING:
    from backnorm.audit.subject import Subject

__all__ = ["SPECIMENS", "specimen_subjects"]

SOUND: Final = Expected("batch", "both", sound=True)
WRONG: Final = Expected("batch", "both", sound=False)
UNNAMED: Final = Expected("batch", "unexplained", sound=False)

SPECIMENS: Final[dict[str, tuple[Any, Expected]]] = {
    # Right.
    "plain": (Plain, SOUND),
    "caffe from the output": (harmless.Caffe, SOUND),
    "fused affine": (harmless.FusedAffine, SOUND),
    "all terms": (harmless.AllTerms, SOUND),
    "sum(x - mean) dropped": (harmless.TermDropped, SOUND),
    "mean cut in the variance only": (harmless.MeanCutInVariance, SOUND),
    "unbiased": (harmless.Unbiased, SOUND),
    "eps outside": (harmless.EpsOutside, SOUND),
    "blend": (harmless.Blend, Expected("other", "both", sound=True)),
    "frozen": (Frozen, Expected("frozen", "none", sound=True)),
    "layer": (Over("layer"), SOUND),
    "group": (Over("group", groups=2), SOUND),
    "instance": (Over("instance"), SOUND),
    "rms": (Over("rms"), SOUND),
    # A statistic is cut out.
    "mean cut": (cut.MeanCut, Expected("batch", "variance", sound=False)),
    "variance cut": (cut.VarianceCut, Expected("batch", "mean", sound=False)),
    "both cut": (cut.BothCut, Expected("batch", "none", sound=False)),
    "mean cut in E[x^2] - E[x]^2": (cut.MeanCutInSquare, UNNAMED),
    "E[x]^2 cut": (cut.SquareCutOnly, UNNAMED),
    "layer, mean cut": (Over("layer", mean=False), Expected("batch", "variance", sound=False)),
    "group, variance cut": (
        Over("group", variance=False, groups=2),
        Expected("batch", "mean", sound=False),
    ),
    "instance, both cut": (
        Over("instance", mean=False, variance=False),
        Expected("batch", "none", sound=False),
    ),
    "rms, variance cut": (Over("rms", variance=False), Expected("batch", "none", sound=False)),
    # Something else is wrong.
    "unbiased forward, biased backward": (wrong.UnbiasedThenBiased, UNNAMED),
    "eps outside forward, inside backward": (wrong.EpsOutsideThenInside, WRONG),
    "gamma forgotten": (wrong.GammaForgotten, UNNAMED),
    "layer, gamma forgotten": (Over("layer", gamma_in_dx=False), UNNAMED),
    "variance not divided by n": (wrong.VarianceNotDivided, UNNAMED),
    "mean not divided by n": (wrong.MeanNotDivided, UNNAMED),
    "running values in training": (
        wrong.RunningInTraining,
        Expected("other", "unexplained", sound=False),
    ),
    "eval forward, training backward": (
        wrong.EvalThenTraining,
        Expected("frozen", "both", sound=False),
    ),
    "dgamma with wrong sign": (wrong.GammaSign, WRONG),
    "dgamma without x_hat": (wrong.InputForgotten, WRONG),
    "dbeta forgotten": (wrong.BetaForgotten, WRONG),
}
"""Name, pair and verdict of every specimen."""


def specimen_subjects() -> tuple[Subject, ...]:
    """Return all specimens as subjects."""
    return tuple(
        replace(pair_subject(pair, name=name), expected=expected)
        for name, (pair, expected) in SPECIMENS.items()
    )
