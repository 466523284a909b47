"""A gallery of right and wrong normalizations, each with the verdict that it must get."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from backnorm.audit.record import Expected
from backnorm.audit.specimens import cut, digits, harmless, inputs, orders, wrong
from backnorm.audit.specimens.left_behind import (
    BatchKept,
    Centring,
    DyScaled,
    ErrorsIgnored,
    Keeping,
    Sampling,
)
from backnorm.audit.specimens.moving import Averaging, Renorm
from backnorm.audit.specimens.other_kinds import Over
from backnorm.audit.specimens.own_scale import LargestFirst
from backnorm.audit.specimens.plain import Frozen, Plain
from backnorm.audit.specimens.running import RunningStatistics, Sums
from backnorm.audit.subjects.registry import subjects_of
from backnorm.audit.subjects.request import AuditRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backnorm.audit.record import Mode, Path
    from backnorm.audit.subject import Subject

__all__ = ["PAIRS", "SPECIMENS", "as_specimens", "specimen_subjects"]


def _sound(*codes: str) -> Expected:
    """Return the verdict of batch normalization with the whole gradient, and other findings."""
    return Expected("batch", "both", sound=True, codes=codes)


def _wrong(through: Path, *codes: str, mode: Mode = "batch") -> Expected:
    return Expected(mode, through, sound=False, codes=codes)


SPECIMENS: Final[dict[str, tuple[Any, Expected]]] = {
    # Right.
    "plain": (Plain, _sound()),
    "caffe from the output": (harmless.Caffe, _sound("I03")),
    "fused affine": (harmless.FusedAffine, _sound("N02")),
    "all terms": (harmless.AllTerms, _sound("N02")),
    "sum(x - mean) dropped": (harmless.TermDropped, _sound()),
    "mean cut in the variance only": (harmless.MeanCutInVariance, _sound("N02")),
    "y that is nearly beta": (harmless.SmallGamma, _sound()),
    "unbiased": (harmless.Unbiased, _sound()),
    "eps outside": (harmless.EpsOutside, _sound("I02", "N03")),
    "blend": (harmless.Blend, Expected("other", "both", sound=True)),
    "frozen": (Frozen, Expected("frozen", "none", sound=True)),
    "layer": (Over("layer"), _sound()),
    "group": (Over("group", groups=2), _sound()),
    "instance": (Over("instance"), _sound()),
    "rms": (Over("rms"), _sound()),
    "layer, divided by its largest": (LargestFirst(constant=False, factor=2.0**-20), _sound()),
    # Running statistics that are in order.
    "running": (RunningStatistics(), _sound()),
    "running, in evaluation": (
        RunningStatistics(training=False),
        Expected("frozen", "none", sound=True),
    ),
    "running, nothing to update": (
        RunningStatistics(frozen=True),
        Expected("frozen", "none", sound=True),
    ),
    "running, with a weight of 0.19": (RunningStatistics(momentum=0.19), _sound()),
    "running sums": (Sums(), _sound()),
    "running sums, in evaluation": (
        Sums(training=False),
        Expected("frozen", "none", sound=True),
    ),
    "x centred in a copy": (Centring(from_copy=True), _sound()),
    "dy scaled in a copy": (DyScaled(from_copy=True), _sound()),
    "its own generator": (Sampling(own_generator=True), _sound()),
    "errors ignored for a while": (ErrorsIgnored(restored=True), _sound()),
    "its cache kept and returned": (Keeping(returned=True), _sound()),
    "the mean of the batch before kept": (BatchKept(each_sample=False), _sound()),
    "averaging, its share": (Averaging(), _sound()),
    "renorm, r and d differentiated": (Renorm(constant=False), _sound("N03")),
    # Right at the first order, and differentiated further.
    "three orders": (orders.ThreeOrders, _sound()),
    "two orders, then a refusal": (orders.TwoOrders, _sound()),
    "frozen, three orders": (orders.FrozenOrders, Expected("frozen", "none", sound=True)),
    "second order, saved values constant": (orders.SavedConstants, _sound("D02")),
    "second order, a term left out": (orders.TermLeftOut, _sound("D02")),
    "second order, mean in the variance constant": (orders.InnerMeanConstant, _sound("D02")),
    "third order, saved values constant": (orders.SavedInSecond, _sound("D03")),
    # Right on usual inputs; on some unusual inputs right or wrong.
    "caffe, with x_hat where gamma is 0": (inputs.CaffeWithZero, _sound()),
    "eps outside, 0 at variance 0": (inputs.EpsOutsideWithZero, _sound()),
    "dy read as it lies in memory": (inputs.MemoryTrusted, _sound("I01", "N01", "N02")),
    "dy put in order before it is read": (inputs.MemoryAsked, _sound()),
    "any number of axes": (inputs.AnyAxes, _sound()),
    "values counted over two axes": (inputs.TwoAxesCounted, _sound("I04")),
    "x clipped in both passes": (inputs.Clipped, _sound("N01", "N02")),
    "x clipped in the forward pass": (inputs.ClippedForward, _sound("I05", "N01", "N02")),
    # Right; digits are lost, or only seem to be.
    "E[x^2] - E[x]^2": (digits.OnePass, _sound("N01", "I07", "N03")),
    "E[x^2] - E[x]^2 in float64": (digits.OnePassWide, _sound()),
    "E[x^2] - E[x]^2 around x[0]": (digits.Shifted, _sound("N03")),
    "divided by its largest value": (digits.Scaled, _sound()),
    "float16 all through": (digits.AllInHalf, _sound("N04")),
    "float16 with float32 inside": (digits.WideInHalf, _sound()),
    # A statistic is cut out.
    "mean cut": (cut.MeanCut, _wrong("variance", "G01")),
    "variance cut": (cut.VarianceCut, _wrong("mean", "G02")),
    "both cut": (cut.BothCut, _wrong("none", "G03")),
    "mean cut in E[x^2] - E[x]^2": (
        cut.MeanCutInSquare,
        _wrong("unexplained", "G06", "N01", "I07", "N03"),
    ),
    "E[x]^2 cut": (cut.SquareCutOnly, _wrong("unexplained", "G06", "N01", "I07", "N03")),
    "layer, mean cut": (Over("layer", mean=False), _wrong("variance", "G01")),
    "group, variance cut": (
        Over("group", variance=False, groups=2),
        _wrong("mean", "G02"),
    ),
    "instance, both cut": (
        Over("instance", mean=False, variance=False),
        _wrong("none", "G03"),
    ),
    "rms, variance cut": (Over("rms", variance=False), _wrong("none", "G02")),
    # Something else is wrong.
    "unbiased forward, biased backward": (wrong.UnbiasedThenBiased, _wrong("unexplained", "G07")),
    "eps outside forward, inside backward": (wrong.EpsOutsideThenInside, _wrong("both", "G10")),
    "gamma forgotten": (wrong.GammaForgotten, _wrong("unexplained", "G08")),
    "layer, gamma forgotten": (Over("layer", gamma_in_dx=False), _wrong("unexplained", "G08")),
    "variance not divided by n": (wrong.VarianceNotDivided, _wrong("unexplained", "G09")),
    "mean not divided by n": (wrong.MeanNotDivided, _wrong("unexplained", "G09")),
    "layer, divided by its largest, constant": (
        LargestFirst(constant=True),
        _wrong("both", "G17", mode="other"),
    ),
    "running values in training": (
        wrong.RunningInTraining,
        _wrong("unexplained", "G11", mode="other"),
    ),
    "eval forward, training backward": (
        wrong.EvalThenTraining,
        _wrong("both", "G04", mode="frozen"),
    ),
    "dgamma with wrong sign": (wrong.GammaSign, _wrong("both", "G13")),
    "dgamma without x_hat": (wrong.InputForgotten, _wrong("both", "G13")),
    "dbeta forgotten": (wrong.BetaForgotten, _wrong("both", "G14")),
    "y that is beta": (wrong.Dead, Expected("other", "unexplained", sound=None, codes=("G18",))),
    # Right in a first call, wrong in a later call.
    "averaging, all of it": (
        Averaging(passes=1.0),
        replace(_wrong("both", "G11", mode="other"), later=True),
    ),
    "renorm, r and d constant": (
        Renorm(constant=True),
        replace(_wrong("unexplained", "G11", "N03", mode="other"), later=True),
    ),
    # The gradient is right, the state is wrong.
    "running, not updated": (RunningStatistics(update=()), _sound("S02")),
    "running, updated twice": (RunningStatistics(times=2), _sound("S03")),
    "running, updated in both passes": (
        RunningStatistics(update=("forward", "backward")),
        _sound("S03"),
    ),
    "running, updated in evaluation": (
        RunningStatistics(update=("forward", "evaluation")),
        _sound("S04"),
    ),
    "running, updated in the backward pass": (
        RunningStatistics(update=("backward",)),
        _sound("S05"),
    ),
    "running, a copy in evaluation": (
        RunningStatistics(training=False, evaluates_with="copy"),
        Expected("frozen", "none", sound=True, codes=("S06",)),
    ),
    "running, corrected by n in evaluation": (
        RunningStatistics(training=False, evaluates_with="corrected"),
        Expected("frozen", "none", sound=True, codes=("S07",)),
    ),
    "running, with a weight of 1.9": (RunningStatistics(momentum=1.9), _sound("S08")),
    "x centred in place": (Centring(from_copy=False), _sound("S09")),
    "dy scaled in place": (DyScaled(from_copy=False), _sound("S09")),
    "seeds everyone": (Sampling(own_generator=False), _sound("S10")),
    "errors ignored for good": (ErrorsIgnored(restored=False), _sound("S10")),
    "its cache kept, not returned": (Keeping(returned=False), _sound("S11")),
    "the batch before kept": (BatchKept(each_sample=True), _sound("S12")),
    "running, the batch's in evaluation": (
        RunningStatistics(training=False, evaluates_with="batch"),
        _sound("S06"),
    ),
}
"""Name, pair and verdict of every specimen."""

PAIRS: Final = {name: pair for name, (pair, _) in SPECIMENS.items()}
"""Names and pairs: the target of the command."""


def specimen_subjects() -> tuple[Subject, ...]:
    """Return all specimens as subjects."""
    return as_specimens(subjects_of(PAIRS, AuditRequest()))


def as_specimens(subjects: Iterable[Subject]) -> tuple[Subject, ...]:
    """Give subjects that were made of `PAIRS`, wherever, the verdicts that they must get."""
    return tuple(replace(subject, expected=SPECIMENS[subject.name][1]) for subject in subjects)
