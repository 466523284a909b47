"""Every number that the audit decides by, each with its reason.

"Rounding" below is the most that right float32 layers show when x has a mean of 3 to 6 standard
deviations: measured on the layers of PyTorch 2.13 and on the sound specimens, over 20 seeds.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "CENTRE_LIMIT",
    "COARSE_STEP",
    "COEFFICIENT_LIMIT",
    "FEW_VALUES",
    "FINE_RESOLUTION",
    "FINE_STEP",
    "FROZEN_LIMIT",
    "GAP_LIMIT",
    "GAP_NOISE",
    "GRADIENT_LIMIT",
    "HANG_SECONDS",
    "LARGEST_EPS",
    "LAW_LIMIT",
    "LAYOUT_LIMIT",
    "LINE_LIMIT",
    "LOST_DIGITS",
    "MEAN_ALLOWANCE",
    "PREFERENCE",
    "REPEAT_LIMIT",
    "REST_LIMIT",
    "ROUGH_LIMIT",
    "RUNNING_LIMIT",
    "RUNNING_ROUNDING",
    "SMALL_VARIANCE_SHARE",
    "SMOOTH_LIMIT",
    "STALE_LIMIT",
    "VISIBLE_PATH",
    "WEIGHT_LIMIT",
]

LINE_LIMIT: Final = 1e-3
"""y is a straight line in x within a row. Rounding stays 100 times below; a clamp or an
activation bends the line by 1e-1."""

CENTRE_LIMIT: Final = 1e-3
"""The centre is the batch's mean, in standard deviations. Rounding 1e-6; running means that are
blended with the batch's are off by 1e-1 and more, as the probes keep them apart."""

FROZEN_LIMIT: Final = 1e-3
"""Slope and intercept do not change with x, the intercept relative to itself or x_hat. The probes
change the standard deviation by factors of 16, so statistics of the batch miss this by far."""

LAW_LIMIT: Final = 1e-3
"""inv_std follows the law. Biased and unbiased differ by 1/(2n), 1e-2 at the largest n probed."""

PREFERENCE: Final = 0.5
"""A less usual law must fit this much better than a more usual one. With eps far below the
smallest variance probed (4e-6) both places of eps fit, and only rounding would choose."""

COEFFICIENT_LIMIT: Final = 5e-3
"""A coefficient is 0 or 1. Rounding 3e-7; the smallest fault of this sort, n-1 for n at the
largest n, is off by 1e-2."""

REST_LIMIT: Final = 1e-3
"""The three paths explain dx. Rounding 5e-7; faults leave 1e-2 and more."""

GRADIENT_LIMIT: Final = {"fine": 1e-6, "coarse": 5e-3}
"""dx, dgamma, dbeta are the derivative of the forward pass, relative to the size of the gradient.
Fine (float64): the numerical derivative is good to 1e-9, the smallest fault to be seen, eps of
1e-8 at the wrong place, makes 2e-6. Coarse (float32): rounding of y makes 3e-4 at most, a cut or
n-1 for n makes 2e-2. Also for derivatives of order 2 and 3 along random directions: right ones
err by 8e-12, wrong ones by 1e-1 and more; and for unusual inputs: 5e-10 in float64; with the
coarse limit, where values are large, 8e-5."""

FINE_STEP: Final = 2.0**-10
"""Step of the numerical derivative, in standard deviations. The sixth-order formula then errs by
1e-17 and rounding of float64 by 1e-12. A power of two, so that x + step is exact."""

COARSE_STEP: Final = 2.0**-4
"""The same for float32: 1e-7 from the formula, 3e-4 from rounding."""

FINE_RESOLUTION: Final = 1e-9
"""y answers to changes of x of this relative size: float64 inside. A layer that takes float64 and
computes in float32 answers with noise of 1e-7."""

REPEAT_LIMIT: Final = 1e-5
"""y is the same in two calls, relative to its largest value. Most layers repeat every bit; the
order of a sum over threads may change the last ones."""

SMOOTH_LIMIT: Final = 0.2
"""Where y is smooth, formulas of fourth and sixth order agree to this part of `GRADIENT_LIMIT`.
Across a kink, as of a relu behind the normalization, they differ by a third of their error or more,
so that an error beyond the limit is not blamed on the gradient."""

ROUGH_LIMIT: Final = 0.9
"""Kinks at more than this share of the elements leave too little to compare. A relu in float32 gets
to 0.7, since each x moves all values of its row; rounded outputs get to 1."""

HANG_SECONDS: Final = 120.0
"""A target that takes longer is given up. A full audit takes 1 to 20 s."""

VISIBLE_PATH: Final = 1e-4
"""A path has a share if it is larger than this part of the direct one. In a model dy may well have
hardly any mean; in float32, 1e-7 of rounding then leaves three digits of the share."""

FEW_VALUES: Final = 2
"""So many values per channel, or fewer, say nothing: one comes to 0, two come to -1 and 1."""

SMALL_VARIANCE_SHARE: Final = 0.1
"""Share of the channels whose variance may be below eps. A channel that is dead or constant is
usual in
a trained network; where one in ten is, eps rules the scale of what comes out."""

GAP_LIMIT: Final = 1.0
"""Running means may be so many standard deviations from the batch's, and the logarithm of the
ratio of standard deviations may be so large: beyond, most values leave the range that training
saw."""

GAP_NOISE: Final = 4.0
"""What is allowed on top, over the root of the batch size: values of one sample go together, so
that a mean is as uncertain as one of N values, and the worst of 1000 channels is 3.3 times as far
off."""

RUNNING_LIMIT: Final = 1e-3
"""A law explains the steps of a running statistic, relative to them. Of 669 fits the right law left
5e-5 at most; another statistic, such as n for n - 1, left 2e-2 and more, and where no law is right
the best left 4e-1."""

RUNNING_ROUNDING: Final = 1e-7
"""Below this two laws fit equally well, and the usual one is taken: instance normalization has the
same n in all batches, so that n - 1 and a larger weight are the same."""

WEIGHT_LIMIT: Final = 1e-5
"""Weights of running statistics are the same. Sums of fitted weights were 1 to 5e-7; 1 - 0.999^2
and 0.001, the closest to be told apart, differ by 1e-3."""

STALE_LIMIT: Final = 1e-2
"""What evaluation uses is a statistic of some step, relative to how far the last step moved it. The
line through y gave it to 5e-15 in float64; another step's was off by 2e-1 and more."""

LARGEST_EPS: Final = 1e-2
"""What may lie between the variance that evaluation uses and a running variance. Layers have an eps
of 1e-12 to 1e-3. [x]^2"""
LAYOUT_LIMIT: Final = {"fine": 1e-9, "coarse": 1e-3}
"""The gradient is the same for another order of the same values in memory, and where x needs no
gradient, relative to the largest value. Another order of summing makes 1e-15 in float64 and 1e-6 in
float32; values that are taken for others make 1e-1 and more."""

LOST_DIGITS: Final = 0.5
"""Digits that may be lost, as a share of those of the format: errors up to its eps to this power,
3e-4 in float32, relative to the largest value of the channel. At scales whose squares float32 holds
right layers show 5e-6 at most; those whose inv_std^3 underflows have lost all."""

MEAN_ALLOWANCE: Final = 20.0
"""What is allowed at a large mean: so many eps times the mean in standard deviations. A mean that
is rounded to the format, and sums in the format, make it 6 at most, in rows of 6 values; E[x^2] -
E[x]^2 is off by the square of the mean: 1000 and more where the mean is 1000."""
