"""Forward: check, lay out, call the kernel, wrap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm import _check, kernels
from backnorm._layout import arrange, layout_of
from backnorm.kernels import activations
from backnorm.kernels._contract import ForwardCall
from backnorm.kernels.memory import empty_like
from backnorm.ops._arrays import Target, wide
from backnorm.ops._masked import gather, masked_forward
from backnorm.ops._usual import usual_forward
from backnorm.ops._weighted import shares_of, weighted_forward, weighted_rows
from backnorm.results import Forward, Saved

if TYPE_CHECKING:
    from typing import SupportsIndex

    import numpy.typing as npt

    from backnorm._types import Activation, AnyArray, Float64Array, SumLaw
    from backnorm.kernels._contract import Kernel

__all__ = ["batch_norm"]


def batch_norm(
    x: AnyArray,
    gamma: npt.ArrayLike | None = None,
    beta: npt.ArrayLike | None = None,
    *,
    channel_axis: SupportsIndex = 1,
    eps: float = 1e-5,
    running_mean: npt.ArrayLike | None = None,
    running_var: npt.ArrayLike | None = None,
    activation: Activation = "identity",
    negative_slope: float = 0.01,
    residual: AnyArray | None = None,
    out: AnyArray | None = None,
    sums: SumLaw = "float64",
    kernel: str = "auto",
    mask: npt.ArrayLike | None = None,
) -> Forward:
    """Normalize each channel of x over all other axes: y = act(gamma*x_hat + beta + residual).

    With x_hat = (x - mean)*inv_std and inv_std = 1/sqrt(var + eps); mean and biased variance are
    those of x unless frozen statistics are given.

    Parameters
    ----------
    x
        Input, any shape with channels along channel_axis, for example (N, C, H, W); float16,
        bfloat16 (of ml_dtypes), float32 or float64; any strides. [x]
    gamma, beta
        Scale and shift, shape (C,), in the dtype of x or a wider one; None stands for 1 and
        for 0. [gamma]
    channel_axis
        The axis that holds the channels: 1 for (N, C, ...), -1 for (N, ..., C).
    eps
        Added to the variance, inside the root. [x]^2
    running_mean, running_var
        Frozen statistics, shape (C,); both or neither. They are constants: no gradient goes
        through them. [x], [x]^2
    activation
        Applied last, for example "relu"; `backnorm.kernels.activations.NAMES` are all of them.
    negative_slope
        Slope of leaky_relu below 0.
    residual
        Added before the activation; shape and dtype of x. [gamma]
    out
        Array for y; shape and dtype of x, any strides with which no two values share memory,
        without memory of x.
    sums
        How sums are taken, here and in the backward pass: "float64" is the fastest way; with
        "exact" the sums of float32, float16 and bfloat16 are exact and rounded once, and no bit of
        any result depends on the layout, the order of samples, the threads or the kernel. For
        float64 the bits do not depend on threads and kernels.
    kernel
        "auto", or one of `backnorm.kernels.available()`.
    mask
        Which positions count, for example in padded sequences: bool, shape of x without its
        channels. Statistics and all derivatives are those of the values that count, bitwise as if
        they were gathered into an array of shape (n, C). y and the gradients are 0 elsewhere,
        whatever x holds there. Or how much they count: weights of 0 or greater, in a float dtype.
        Statistics are weighted, and only the ratios of weights count. A weight of 0 is False, and
        weights that are 0 or equal are that mask, bitwise.

    Returns
    -------
    Forward
        y, and the statistics in float64; with weights the unbiased variance too. It refers to x, y
        and gamma without copying them: do not change them in place before the backward pass.

    Raises
    ------
    ShapeError
        Shapes that do not fit; or channels without values that count, unless statistics are frozen.
    DtypeError
        A dtype that is not supported, or a parameter narrower than x.
    RangeError
        An eps, axis, slope, running variance, weight or buffer out of range; weights that differ
        where sums are exact.
    UnknownNameError
        An unknown activation, law of sums or kernel.

    Notes
    -----
    Source: Ioffe and Szegedy 2015, Algorithm 1; docs/mathematics.md.
    Accuracy: that of float64 arithmetic rounded once, plus 2 units in the last place of the
    channel's largest value, for abs(mean)/std up to 1e6 (tests/kernels/test_accuracy.py).
    Cost: one read of x, one write of y; layouts that are neither outer x C x inner nor channels
    last in memory are copied first. With a mask the values that count are copied, and kept. Weights
    that differ take three passes in float64 more, in NumPy.

    Examples
    --------
    >>> import numpy as np
    >>> import backnorm as bn
    >>> fwd = bn.batch_norm(np.array([[1.0], [3.0]]), eps=0.0)
    >>> fwd.y.ravel().tolist()
    [-1.0, 1.0]
    >>> float(fwd.mean[0]), float(fwd.var[0]), fwd.n
    (2.0, 1.0, 2)
    """
    if mask is None:
        usual: Forward | None = usual_forward(
            x,
            gamma,
            beta,
            channel_axis,
            eps,
            running_mean,
            running_var,
            activation,
            negative_slope,
            residual,
            out,
            sums,
            kernel,
        )
        if usual is not None:
            return usual
    x = _check.array("x", x)
    frozen = running_mean is not None or running_var is not None
    axis = _check.axis(x, channel_axis, allow_empty=frozen)
    eps = _check.eps(eps)
    scale = _check.parameter("gamma", gamma, x, axis)
    shift = _check.parameter("beta", beta, x, axis)
    running = _check.running_statistics(running_mean, running_var, x, axis, eps)
    _check.name_of("activation", activation, activations.NAMES)
    negative_slope = _check.slope(negative_slope)
    _check.name_of("sums", sums, _check.SUMS)
    positions = _check.positions(mask, x, axis, allow_none=frozen)
    if residual is not None:
        residual = _check.like("residual", residual, "x", x)
    if out is not None:
        out = _check.buffer("out", out, "x", x)
        inputs = {"x": x, "residual": residual, "gamma": scale, "beta": shift}
        _check.no_overlap({"out": out}, inputs)
    chosen = kernels.get(kernel)
    rows = frozen_rows(running, eps) if running else None
    has_residual = residual is not None
    laws = (eps, frozen, activation, negative_slope, sums)
    if positions is None:
        given = np.empty((4, x.shape[axis])) if rows is None else rows
        saved = Saved(x, scale, shift, has_residual, given, axis, *laws)
        return _run(saved, residual, out, chosen, given=rows is not None)

    counted, weights = positions
    gathered = gather(x, counted, axis)
    shares = None if weights is None else shares_of(weights, counted)
    if rows is None and shares is not None:
        rows = weighted_rows(gathered, shares, eps, sums)
    given = np.empty((4, x.shape[axis])) if rows is None else rows
    saved = Saved(gathered, scale, shift, has_residual, given, 1, *laws)
    of_residual = None if residual is None else gather(residual, counted, axis)
    of_counted = _run(saved, of_residual, None, chosen, given=rows is not None)
    masked = masked_forward(of_counted, x, counted, axis, out)
    if weights is None or shares is None:
        return masked
    return weighted_forward(masked, weights, shares)


def _run(
    saved: Saved, residual: AnyArray | None, out: AnyArray | None, kernel: Kernel, *, given: bool
) -> Forward:
    """Have the kernel compute y, and the statistics unless they are given."""
    x, layout = saved.x, layout_of(saved.x, saved.channel_axis)
    target = Target(empty_like(x) if out is None else out, layout)
    kernel.forward(
        ForwardCall(
            arrange(x, layout),
            target.view,
            None if residual is None else arrange(residual, layout),
            wide(saved.gamma),
            wide(saved.beta),
            saved.statistics,
            given,
            saved.eps,
            saved.activation,
            saved.negative_slope,
            saved.sums,
        )
    )
    y = target.finish()
    # Users see views of them, and the backward pass reads them.
    saved.statistics.flags.writeable = False
    return Forward(y, layout.n, saved)


def frozen_rows(running: tuple[Float64Array, Float64Array], eps: float) -> Float64Array:
    """Return the statistics array of frozen statistics; inv_std is infinite if var + eps is 0."""
    mean, var = running
    with np.errstate(divide="ignore"):
        return np.stack([mean, np.zeros_like(mean), var, 1.0 / np.sqrt(var + eps)])
