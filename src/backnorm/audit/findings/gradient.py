"""Codes G01 to G19: the gradient is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.audit.findings.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GRADIENT"]

GRADIENT: Final[Mapping[str, Entry]] = {
    "G01": Entry(
        "The gradient does not go through the mean, which depends on x in the forward pass.",
        "coefficients 1, 1, 1",
        (
            "the mean is detached (detach, stop_gradient, no_grad) before it is subtracted",
            "a backward pass written by hand leaves out -sum(d)/n",
            "the mean is computed outside the graph, in NumPy or in a separate kernel",
        ),
        "Let the mean be a function of x, or subtract the mean of d from dx.",
    ),
    "G02": Entry(
        "The gradient does not go through the variance (the mean square in RMS normalization), "
        "which depends on x in the forward pass.",
        "coefficients 1, 1, 1",
        (
            "the variance or the standard deviation is detached before it divides",
            "a backward pass written by hand leaves out -x_hat*sum(d*x_hat)/n",
            "the variance is computed outside the graph",
        ),
        "Let the variance be a function of x, or add -x_hat*sum(d*x_hat)/n to dx.",
    ),
    "G03": Entry(
        "The gradient treats mean and variance as constants, though both depend on x in the "
        "forward pass.",
        "coefficients 1, 1, 1; where x has a share in moving averages, this share in place of 1",
        (
            "both statistics are detached, or computed under no_grad",
            "the backward pass is that of frozen statistics",
            "the layer updates buffers with the statistics of x, and normalizes with the buffers",
            "it is meant, as in reversible instance normalization of time series",
        ),
        "Let both be functions of x, or use the gradient for training.",
    ),
    "G04": Entry(
        "The gradient goes through statistics that are constants in the forward pass.",
        "coefficients 1, 0, 0: dx = gamma*inv_std*dy",
        (
            "forward pass for evaluation, backward pass for training",
            "the backward pass does not look at the flag that chose the running statistics",
            "training normalizes with running statistics by mistake",
        ),
        "Use one flag for both passes; with constants dx = gamma*inv_std*dy.",
    ),
    "G05": Entry(
        "dx is not the derivative of the forward pass, and is not a combination of the three "
        "paths.",
        "a residual near 0",
        (
            "a term has a wrong factor, sign, or axis",
            "the backward pass belongs to another forward pass",
            "the kind of normalization is not the kind assumed (see --kind)",
        ),
        "Compare each term of the backward pass with docs/mathematics.md.",
    ),
    "G06": Entry(
        "The mean is detached in one half of the variance E[x^2] - E[x]^2: the gradient is wrong "
        "wherever the mean is not 0.",
        "coefficients 1, 1, 1 at any mean",
        (
            "the mean is detached, and E[x]^2 uses the detached mean",
            "a backward pass written by hand treats E[x]^2 as a constant",
            "the running mean is subtracted in one half",
        ),
        "Use sum((x-mean)^2)/n, where a detached mean changes nothing, or do not detach it.",
    ),
    "G07": Entry(
        "The variance is divided by n in one pass and by n - 1 in the other.",
        "the same divisor in both passes",
        (
            "var() of a framework divides by n - 1 unless told not to",
            "the unbiased variance, meant for the running statistics, is used to normalize",
            "the formula of the gradient was copied from code with the other divisor",
        ),
        "Divide by n in both passes (correction=0, unbiased=False, ddof=0).",
    ),
    "G08": Entry(
        "gamma is missing in dx.",
        "d = gamma*inv_std*dy",
        (
            "the backward pass starts from dy in place of gamma*dy",
            "the gradient was tested with gamma = 1 only",
            "gamma belongs to another layer (Scale), which is not part of this gradient",
        ),
        "Multiply dy by gamma first.",
    ),
    "G09": Entry(
        "The gradient has a sum in place of a mean.",
        "-sum(d)/n and -x_hat*sum(d*x_hat)/n",
        (
            "a division by n is missing",
            "n is the number of samples, not the number of samples times positions",
            "mean and sum were confused when axes were merged",
        ),
        "Divide both sums by the number of values that share the statistics.",
    ),
    "G10": Entry(
        "eps is outside the root in the forward pass and inside the root in the backward pass.",
        "the same place in both passes",
        (
            "the forward pass divides by sqrt(var) + eps",
            "the backward pass uses 1/sqrt(var + eps), or a formula that assumes it",
            "the gradient was tested with a variance near 1, where eps is negligible",
        ),
        "Use 1/sqrt(var + eps) in both passes.",
    ),
    "G11": Entry(
        "The forward pass normalizes with other statistics than those of x, and the gradient is "
        "that of the statistics of x.",
        "the derivative of what the forward pass computes",
        (
            "running statistics, already updated, are used in training",
            "the backward pass ignores that the statistics were blended",
            "statistics are clipped or rescaled in the forward pass only",
        ),
        "Normalize with the statistics of x in training, or differentiate the blend.",
    ),
    "G12": Entry(
        "The three coefficients are right, and yet dx is not the derivative of the forward pass.",
        "an error of dx below the limit",
        (
            "eps differs between the passes",
            "the passes compute in different dtypes",
            "a step between x and y, such as a clamp, is left out of the gradient",
        ),
        "Run it with small variances, where eps matters most, and compare both passes.",
    ),
    "G13": Entry(
        "dgamma is not the derivative of the forward pass.",
        "dgamma = sum(dy*x_hat)",
        (
            "x_hat is missing, or x is used in its place",
            "x_hat is that of another eps, or of another place of eps",
            "the sign is wrong",
            "it is a mean and not a sum, or goes over the wrong axes",
        ),
        "Sum dy*x_hat over all values that share one gamma.",
    ),
    "G14": Entry(
        "dbeta is not the derivative of the forward pass.",
        "dbeta = sum(dy)",
        (
            "it is never computed, or written elsewhere",
            "it is a mean and not a sum, or goes over the wrong axes",
            "it is multiplied by gamma",
        ),
        "Sum dy over all values that share one beta.",
    ),
    "G15": Entry(
        "y has kinks nearly everywhere or follows x in steps, or its rounding hides the "
        "derivative: the gradient cannot be compared with a derivative.",
        "a smooth forward pass",
        (
            "the output is rounded, quantized or a sign, with a straight-through gradient",
            "the layer draws random numbers in each call",
            "the layer keeps state that cannot be restored",
        ),
        "Audit the normalization without the rounding or the noise.",
    ),
    "G16": Entry(
        "Two calls from the same state on the same input do not give the same y, or gradient.",
        "the same y and gradients",
        (
            "the layer draws random numbers that cannot be repeated",
            "it keeps state that cannot be restored, such as a global variable",
            "it reads uninitialized memory, or threads race",
        ),
        "Make the layer deterministic, or audit the normalization alone.",
    ),
    "G17": Entry(
        "x is divided by a scale computed from it before it is normalized, and the gradient takes "
        "this scale for a constant.",
        "coefficients 1, 1, 1, and the path through the scale, which eps keeps from vanishing",
        (
            "by design: a 'stable' layer normalization divides by the detached largest value",
            "a scale is computed under no_grad, as for quantization",
        ),
        "Let the scale be a function of x. As it is, dx is off by about eps*scale^2/var of its "
        "size.",
    ),
    "G18": Entry(
        "y hardly depends on x: the layer is dead, and its gradient cannot be judged.",
        "a y that depends on nearly all elements of x",
        (
            "it is multiplied by 0, or gamma is 0 and is not given to it",
            "a clamp or an activation clips nearly all values",
            "y is computed from other values than x",
        ),
        "Look for the step that loses x. If x is clipped, audit the layer without the clamp.",
    ),
    "G19": Entry(
        "The gradient by a parameter beside gamma and beta is not the derivative of the forward "
        "pass.",
        "the derivative by every parameter that trains",
        (
            "the parameter is detached, or statistics of it are, as in weight standardization",
            "a backward pass written by hand forgets the slope of an activation or a weight",
            "by design: spectral normalization takes the vectors of its power iteration constant",
        ),
        "Let the gradient reach the parameter on every way on which y depends on it. A parameter "
        "that is not to train needs no gradient (requires_grad_(False)).",
    ),
}
