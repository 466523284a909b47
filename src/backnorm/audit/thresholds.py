"""Every number that the audit decides by, each with its reason.

"Rounding" below is the largest error of right float32 layers when x has a mean of 3 to 6 standard
deviations: measured on the layers of PyTorch 2.13 and on the sound specimens, over 20 seeds.
docs/audit-method.md lists all thresholds; `make pages` writes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = [
    "CENTRE_LIMIT",
    "COARSE_STEP",
    "COEFFICIENT_LIMIT",
    "EPS_ALLOWANCE",
    "FEW_VALUES",
    "FINE_RESOLUTION",
    "FINE_STEP",
    "FROZEN_LIMIT",
    "GAP_LIMIT",
    "GAP_NOISE",
    "GRADIENT_LIMIT",
    "HANG_SECONDS",
    "HUNG_PROBES",
    "LARGEST_BLUR",
    "LARGEST_EPS",
    "LAYOUT_LIMIT",
    "LOST_DIGITS",
    "MEAN_ALLOWANCE",
    "PREFERENCE",
    "RANKS_LIMIT",
    "RANKS_PATIENCE",
    "REPEAT_LIMIT",
    "RESIDUAL_LIMIT",
    "ROUGH_LIMIT",
    "ROUNDING_ALLOWANCE",
    "ROW_FIT_LIMIT",
    "RUNNING_LIMIT",
    "RUNNING_ROUNDING",
    "SCALED_EPS",
    "SCALE_FREE_LIMIT",
    "SMALL_VARIANCE_SHARE",
    "SMOOTH_LIMIT",
    "STALE_LIMIT",
    "STATED_LIMIT",
    "STRAIGHT_THROUGH_LIMIT",
    "VARIANCE_RULE_LIMIT",
    "VISIBLE_PATH",
    "WEIGHT_LIMIT",
    "WHOLE_Y",
    "Threshold",
]


class Threshold(float):
    """A number that decides, with its reason.

    It is a float, so that code compares with it as with any other number.

    Attributes
    ----------
    why
        What the number allows, and what was measured on either side of it.

    Examples
    --------
    >>> limit = Threshold(1e-3, "Rounding stays below 1e-6.")
    >>> 2e-3 > limit, limit.why
    (True, 'Rounding stays below 1e-6.')
    """

    why: str

    def __new__(cls, value: float, why: str) -> Self:
        """Make the number."""
        threshold = super().__new__(cls, value)
        threshold.why = why
        return threshold

    def __getnewargs__(self) -> tuple[float, str]:  # type: ignore[override]
        """Return what a copy is made from."""
        return float(self), self.why


ROW_FIT_LIMIT: Final = Threshold(
    1e-3,
    "y is a straight line in x within a row. Rounding stays 100 times below; a clamp or an "
    "activation bends the line by 1e-1.",
)

CENTRE_LIMIT: Final = Threshold(
    1e-3,
    "The centre is the batch's mean, in standard deviations. Rounding makes 1e-6; running means "
    "that are blended with the batch's mean are off by 1e-1 and more, since the inputs of an audit "
    "keep the two apart.",
)

FROZEN_LIMIT: Final = Threshold(
    1e-3,
    "Slope and intercept do not change with x; the intercept is relative to itself or x_hat. The "
    "inputs change the standard deviation by factors of 16, so that statistics of the batch miss "
    "this limit by far.",
)

VARIANCE_RULE_LIMIT: Final = Threshold(
    1e-3,
    "inv_std follows the variance rule. Biased and unbiased differ by 1/(2n), 1e-2 at the largest "
    "n that is tried.",
)

PREFERENCE: Final = Threshold(
    0.5,
    "A less usual variance rule must reduce the error of a more usual one to this part. With eps "
    "far below the smallest variance that is tried (4e-6), both places of eps fit, and rounding "
    "alone would choose.",
)

EPS_ALLOWANCE: Final = Threshold(
    2.0,
    "An eps is told from 0 if it is larger than this many times the largest difference that "
    "rounding makes between rows. In float32 these are 1e-12 to 4e-11; an eps of 1e-9 is seen.",
)

LARGEST_BLUR: Final = Threshold(
    3e-5,
    "Lost digits are judged at scales of x at which inv_std is known to this part: a tenth of what "
    "a loss of half of the digits makes in float32. At smaller scales an eps that could not be "
    "told from 0 decides.",
)

COEFFICIENT_LIMIT: Final = Threshold(
    5e-3,
    "A coefficient is 0 or 1. Rounding makes 3e-7; the smallest fault of this sort, n-1 for n at "
    "the largest n, is off by 1e-2.",
)

RESIDUAL_LIMIT: Final = Threshold(
    1e-3, "The three paths explain dx. Rounding leaves 5e-7; faults leave 1e-2 and more."
)

GRADIENT_LIMIT: Final[Mapping[str, Threshold]] = {
    "fine": Threshold(
        1e-6,
        "dx, dgamma and dbeta are the derivative of the forward pass, relative to the size of the "
        "gradient, in a subject that computes in float64. The numerical derivative is good to "
        "1e-9; the smallest known fault, an eps of 1e-8 at the wrong place, makes 2e-6. Right "
        "gradients on unusual inputs are off by 5e-10. Right derivatives of order 2 and 3, along "
        "random directions, are off by 8e-12, wrong ones by 1e-1 and more.",
    ),
    "coarse": Threshold(
        5e-3,
        "The same in float32, or where a subject takes float64 and computes in float32. Rounding "
        "of y makes 3e-4 at most; a cut, or n-1 for n, makes 2e-2. Also for large values in any "
        "dtype, where right gradients are off by 8e-5.",
    ),
}

FINE_STEP: Final = Threshold(
    2.0**-10,
    "Step of the numerical derivative in float64, in standard deviations. The sixth-order formula "
    "then errs by 1e-17, and rounding by 1e-12. A power of two, so that x + step is exact.",
)

COARSE_STEP: Final = Threshold(
    2.0**-4, "The same step in float32: 1e-7 from the formula, 3e-4 from rounding."
)

FINE_RESOLUTION: Final = Threshold(
    1e-9,
    "y responds to changes of x of this relative size: the subject computes in float64. A layer "
    "that takes float64 and computes in float32 responds with noise of 1e-7.",
)

REPEAT_LIMIT: Final = Threshold(
    1e-5,
    "y is the same in two calls, relative to its largest value. In most layers the calls are "
    "bitwise identical; the order of a sum over threads may change the last bits.",
)

SMOOTH_LIMIT: Final = Threshold(
    0.2,
    "Where y is smooth, formulas of fourth and sixth order agree to this part of "
    "`GRADIENT_LIMIT`. Across a kink, as of a relu behind the normalization, they differ by a "
    "third of their error or more, so that an error beyond the limit is not blamed on the "
    "gradient.",
)

ROUGH_LIMIT: Final = Threshold(
    0.9,
    "Kinks at more than this share of the elements leave too little to compare. A relu in float32 "
    "makes 0.7, since each x moves all values of its row; rounded outputs make 1.",
)

ROUNDING_ALLOWANCE: Final = Threshold(
    5.0,
    "A bend of y that is no larger than so many standard deviations of its rounding is not called "
    "a kink: the derivative is hidden there. The largest of 80 elements reaches 3.",
)

STRAIGHT_THROUGH_LIMIT: Final = Threshold(
    5e-2,
    "A gradient that ignores the rounding of y is a sum of the paths up to this part, which the "
    "note on it allows: a y in steps of 1/16 leaves 4e-3. No verdict depends on it.",
)

SCALE_FREE_LIMIT: Final = Threshold(
    1e-8,
    "y does not change with the scale of x, and yet more than this part is added to the variance: "
    "eps grows with x. A factor of 2^-6 changes such a y by 0, and with an eps of 1e-5 by 2e-2.",
)

SCALED_EPS: Final = Threshold(
    2e-4,
    "Where eps grows with x and adds this part to the variance, no variance rule is taken. An eps "
    "of 1e-5 beside x over its largest value adds 3e-4 to 2e-3; a layer without eps shows 1e-6, "
    "and with E[x^2] - E[x]^2 in float32 4e-5.",
)

HANG_SECONDS: Final = Threshold(
    120.0,
    "A gradient, or a probe, that takes longer is given up. A full audit takes 1 to 20 s.",
)

RANKS_LIMIT: Final = Threshold(
    1e-3,
    "y, dx and running statistics of several ranks are those of one process, relative to the "
    "largest value; and y is a straight line in x. Right layers show 1e-5 at most. The parts of "
    "the batch differ by 3 standard deviations, so that other statistics make 1e-1 and more.",
)

RANKS_PATIENCE: Final = Threshold(
    15.0,
    "A rank that has not answered so many seconds after all others have answered waits for ever. "
    "Ranks that wait for each other answer within milliseconds.",
)

HUNG_PROBES: Final = Threshold(
    2,
    "After so many probes of a subject that did not finish in time, the others are skipped: each "
    "would take the time of --limit.",
)

VISIBLE_PATH: Final = Threshold(
    1e-4,
    "A path has a share if it is larger than this part of the direct path. In a model dy may have "
    "hardly any mean; in float32, 1e-7 of rounding then leaves three digits of the share.",
)

FEW_VALUES: Final = Threshold(
    2,
    "A channel with so many values, or fewer, says nothing: one value becomes 0, two values "
    "become -1 and 1.",
)

SMALL_VARIANCE_SHARE: Final = Threshold(
    0.1,
    "Share of the channels whose variance may be below eps. A dead or constant channel is usual "
    "in a trained network; where one channel in ten is so, eps decides the scale of the output.",
)

GAP_LIMIT: Final = Threshold(
    1.0,
    "Running means may be so many standard deviations from the batch's means, and the logarithm "
    "of the ratio of standard deviations may be so large. Beyond, most values leave the range that "
    "training saw.",
)

GAP_NOISE: Final = Threshold(
    4.0,
    "What is allowed on top, over the root of the batch size. Values of one sample are correlated, "
    "so that a mean is as uncertain as the mean of N values, and the worst of 1000 channels is 3.3 "
    "times as far off.",
)

RUNNING_LIMIT: Final = Threshold(
    1e-3,
    "A law explains the steps of a running statistic, relative to them. In 669 fits the right law "
    "left 5e-5 at most; another statistic, such as n for n - 1, left 2e-2 and more, and where no "
    "law is right the best left 4e-1.",
)

RUNNING_ROUNDING: Final = Threshold(
    1e-7,
    "Below this residual two laws fit equally well, and the usual law is taken. Instance "
    "normalization has the same n in all batches, so that n - 1 and a larger weight are the same.",
)

WEIGHT_LIMIT: Final = Threshold(
    1e-5,
    "Weights of running statistics are the same. Sums of fitted weights were 1 to 5e-7; 1 - "
    "0.999^2 and 0.001, the closest weights to be told apart, differ by 1e-3.",
)

STALE_LIMIT: Final = Threshold(
    1e-2,
    "What evaluation uses is a statistic of some step, relative to how far the last step moved it. "
    "The line through y gave it to 5e-15 in float64; the statistic of another step was off by 2e-1 "
    "and more.",
)

STATED_LIMIT: Final = Threshold(
    1e-2,
    "What a normalization computes may differ so much from what its file says: y, or eps relative "
    "to itself. An eps that is rounded to float16 is off by 5e-4, one that is changed by a factor "
    "of 2 or more.",
)

LARGEST_EPS: Final = Threshold(
    1e-2,
    "What may lie between the variance that evaluation uses and a running variance. Layers have an "
    "eps of 1e-12 to 1e-3. [x]^2",
)

LAYOUT_LIMIT: Final[Mapping[str, Threshold]] = {
    "fine": Threshold(
        1e-9,
        "The gradient is the same for another order of the same values in memory, and where x "
        "needs no gradient, relative to the largest value. In float64 another order of summing "
        "makes 1e-15; values that are read at the wrong position make 1e-1 and more. Also y of a "
        "sample that is evaluated with fewer others: constants make 0, n/(n - 1) 1e-2 and more.",
    ),
    "coarse": Threshold(1e-3, "The same in float32: another order of summing makes 1e-6."),
}

LOST_DIGITS: Final = Threshold(
    0.5,
    "Digits that may be lost, as a share of the dtype's digits: errors up to its eps to this "
    "power, 3e-4 in float32, relative to the largest value of the channel. At scales whose squares "
    "float32 holds, right layers show 5e-6 at most; layers whose inv_std^3 underflows have lost "
    "all digits.",
)

MEAN_ALLOWANCE: Final = Threshold(
    20.0,
    "What is allowed at a large mean: so many eps times the mean in standard deviations. A mean "
    "that is rounded to the dtype, and sums in the dtype, make it 6 at most, in rows of 6 values; "
    "E[x^2] - E[x]^2 is off by the square of the mean: 1000 and more where the mean is 1000.",
)

WHOLE_Y: Final = Threshold(
    1.1,
    "An error of y of this part of its size is a finding, where it also exceeds `MEAN_ALLOWANCE`. "
    "A y of 0, as where x is clipped, has an error of 1. E[x^2] - E[x]^2 in float32 makes 0.7 at a "
    "mean of 1e3 standard deviations and 480 at 1e4, right layers 0.7 at most at 1e6.",
)
