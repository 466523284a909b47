"""Records as an audit makes them, and one whose words would break a page, a document or a log."""

from __future__ import annotations

import math

import numpy as np

from backnorm import batch_norm, batch_norm_backward
from backnorm.audit.findings import fault, finding
from backnorm.audit.record import (
    ChannelParts,
    Coefficients,
    Errors,
    PrecisionPoint,
    ProbeResult,
    Record,
)
from backnorm.errors import SubjectError

__all__ = ["CUT", "HOSTILE", "LOST", "OPEN", "RMS", "SOUND", "WARNED", "parts"]


def parts(*, mean_cut: bool) -> ChannelParts:
    """One channel of 24 values by the reference, and a dx that may leave out the mean."""
    rng = np.random.default_rng(3)
    x = rng.normal(4, 1.5, (24, 1))
    dy = rng.normal(0.8, 1, (24, 1)) + 0.6 * x
    fwd = batch_norm(x)
    paths = {
        name: batch_norm_backward(dy, fwd, through=name).dx for name in ("none", "mean", "both")
    }
    pieces = (paths["none"], paths["mean"] - paths["none"], paths["both"] - paths["mean"])
    dx = paths["both"] - pieces[1] if mean_cut else paths["both"]
    return ChannelParts(*(tuple(map(float, one[:, 0])) for one in (x, dx, *pieces)))


def precision(*, good: bool) -> tuple[PrecisionPoint, ...]:
    """Both sweeps in float32: errors that grow with the offset unless the layer is good."""
    made = []
    for offset in (0.0, 1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6):
        error = 1e-7 if good else min(1e-7 * max(offset, 1.0) ** 1.4, 6.0)
        dx = None if not good and offset > 1e5 else 2 * error
        point = PrecisionPoint("offset", offset, "float32", error, dx, 6e-8, 9e-8)
        made.append(point)
    for power in range(-20, 21, 4):
        error = 2e-7 if good or abs(power) < 18 else None
        made.append(PrecisionPoint("scale", 10.0**power, "float32", error, error, 6e-8, 9e-8))
    return tuple(made)


SOUND = Record(
    "torch.nn.BatchNorm2d",
    "batch",
    "batch",
    "both",
    Coefficients(1.0, 1.0, 1.0),
    2e-7,
    sound=True,
    errors=Errors(1e-7, 3e-9, 2e-9, 1e-10),
    law="biased variance, eps 1e-05 inside the root",
    state="Running statistics keep 0.9 of the old value, as the dialect torch does.",
    probes=(
        ProbeResult("G01", "paths of the gradient", "pass", "direct 1, mean 1, variance 1", 0.5),
        ProbeResult("G15", "kinks", "skipped", "y has none", 0.01),
    ),
    precision=precision(good=True),
    parts=parts(mean_cut=False),
)
RMS = Record(
    "E[x]^2 [red]rms",
    "rms",
    "batch",
    "both",
    Coefficients(1.0, None, 1.0),
    2e-7,
    sound=True,
    notes=("This kind has no mean.",),
)
CUT = Record(
    "mine.py:Cut",
    "batch",
    "batch",
    "variance",
    Coefficients(1.0, -1e-9, 1.0),
    3e-8,
    sound=False,
    findings=(finding("G01", "mean 0.0"), finding("G14", "an error of 1")),
    errors=Errors(1e-7, 0.4, 2e-9, 1.0),
    law="biased variance, eps 1e-05 inside the root",
    probes=(ProbeResult("G01", "paths of the gradient", "fail", "mean 0", 0.5),),
    precision=precision(good=False),
    parts=parts(mean_cut=True),
)
LOST = Record(
    "mine.py:Lost",
    "batch",
    findings=(fault(SubjectError.returned_none("mine.py:Lost", "y")),),
    audited=False,
)
OPEN = Record(
    "mine.py:Open",
    "batch",
    not_judged="y is not a linear function of x in each row",
)
WARNED = Record(
    "torch.nn.GroupNorm",
    "group",
    "batch",
    "both",
    Coefficients(1.0, 1.0, 1.0),
    1e-7,
    sound=True,
    findings=(finding("N01", "half of the digits are lost at an offset of 1000"),),
)

WORDS = (
    "<script>alert(1)</script> & \"quotes' </table> ::stop-commands::x, 100% a:b,c"
    "\n::error::second line\r\x00\x1b[31m\x07\ud800\ufffe\u202e]]>"
)
"""Markup, commands, control characters, half a pair, no character, and a turn of direction."""

HOSTILE = Record(
    WORDS,
    "batch",
    "other",
    "unexplained",
    Coefficients(math.pi, None, -7.0),
    1e300,
    sound=False,
    findings=(finding("G05", WORDS),),
    law=WORDS,
    notes=(WORDS,),
    state=WORDS,
    probes=(ProbeResult("G05", WORDS, "fail", WORDS, 1.0),),
    parts=ChannelParts((1.0,), (0.0,), (0.0,), (0.0,), (0.0,)),
)
