"""Backward: check, lay out, call the kernel, wrap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm import _check, kernels
from backnorm._layout import arrange, layout_of
from backnorm.kernels._contract import BackwardCall
from backnorm.kernels.memory import empty_like
from backnorm.kernels.weighted import gradients
from backnorm.ops._arrays import Target, activated, reduced, saved_of, wide
from backnorm.ops._masked import gather, gather_like, spread_like
from backnorm.ops._requests import NOTHING, buffers
from backnorm.ops._usual import usual_backward
from backnorm.ops._weighted import batch_of, by_weights
from backnorm.results import Gradients, MaskedForward, WeightedForward, WeightedGradients

if TYPE_CHECKING:
    from backnorm._layout import Layout
    from backnorm._types import AnyArray, Float64Array, Request, Through
    from backnorm.results import Forward

__all__ = ["batch_norm_backward"]


def batch_norm_backward(
    dy: AnyArray,
    fwd: Forward,
    *,
    through: Through = "both",
    dx: Request = "write",
    dgamma: Request = "write",
    dbeta: Request = "write",
    dresidual: Request = "write",
    into: Gradients | None = None,
    kernel: str = "auto",
) -> Gradients:
    """Return the gradients of a loss whose gradient with respect to y is dy: dx = D + M + V.

    With d = gamma*inv_std*dz, dz = dy times the activation's derivative: D = d directly,
    M = -sum(d)/n through the mean, V = -x_hat*sum(d*x_hat)/n through the variance;
    dgamma = sum(dz*x_hat), dbeta = sum(dz), dresidual = dz.

    Parameters
    ----------
    dy
        Gradient with respect to y, shape and dtype of y, any strides. [loss]/[gamma]
    fwd
        The result of `batch_norm`. Its x and y must not have changed since.
    through
        Which statistics the gradient goes through: with "both" dx is exact, with "mean" it lacks V,
        with "variance" it lacks M, with "none" it is D. Frozen statistics are constants always.
    dx, dgamma, dbeta, dresidual
        "write" computes the gradient (in a new array, or in the buffer in into), "add" adds it to
        the buffer, "null" does not compute it.
    into
        Buffers for the gradients.
    kernel
        "auto", or one of `backnorm.kernels.available()`.

    Returns
    -------
    Gradients
        The arrays written or added to; None for "null", and for a gamma, beta or residual that the
        forward pass did not have. With weights also `dmask`, the gradient by them.

    Raises
    ------
    ShapeError, DtypeError
        dy or a buffer does not fit.
    RangeError
        A buffer is missing, superfluous, read-only, or overlaps an input; fwd is not a `Forward`.
    UnknownNameError
        An unknown value of through, request or kernel.

    Notes
    -----
    Source: docs/mathematics.md, Eq. (12), all three paths.
    Accuracy: as `batch_norm`, relative to the largest value of the channel.
    Cost: two reads of x and dy (the second from cache where a channel fits), one write of dx;
    one more read of y with an activation.

    Examples
    --------
    >>> import numpy as np
    >>> import backnorm as bn
    >>> x = np.array([[-1.0], [0.0], [1.0]])
    >>> fwd = bn.batch_norm(x, np.array([1.0]), np.array([0.0]), eps=0.0)
    >>> g = bn.batch_norm_backward(np.array([[1.0], [0.0], [0.0]]), fwd)
    >>> (g.dx.ravel() * 6 * (2 / 3) ** 0.5).round(12).tolist()
    [1.0, -2.0, 1.0]
    >>> g.dbeta.tolist()
    [1.0]
    """
    usual: Gradients | None = usual_backward(
        dy, fwd, through, dx, dgamma, dbeta, dresidual, into, kernel
    )
    if usual is not None:
        return usual
    saved = saved_of(fwd)
    dy = _check.like("dy", dy, "fwd.y", fwd.y)
    _check.name_of("through", through, _check.THROUGHS)
    requests = {"dx": dx, "dgamma": dgamma, "dbeta": dbeta, "dresidual": dresidual}
    into = buffers(NOTHING if into is None else into, requests, fwd, dy)
    chosen = kernels.get(kernel)
    if isinstance(fwd, WeightedForward):
        return of_weighted(dy, fwd, requests, into, through=through, kernel=kernel)
    if isinstance(fwd, MaskedForward):
        return of_masked(dy, fwd, requests, into, through=through, kernel=kernel)

    layout = layout_of(saved.x, saved.channel_axis)
    dx_target = requested(dx, into.dx, saved.x, layout)
    wanted = dresidual if saved.has_residual else "null"
    dresidual_target = requested(wanted, into.dresidual, saved.x, layout)
    sums = np.empty((2, saved.x.shape[saved.channel_axis]))
    chosen.backward(
        BackwardCall(
            arrange(dy, layout),
            arrange(saved.x, layout),
            activated(fwd, layout),
            dx_target.view if dx_target else None,
            dresidual_target.view if dresidual_target else None,
            sums,
            wide(saved.gamma),
            saved.statistics,
            saved.frozen,
            not saved.frozen and through in ("both", "mean"),
            not saved.frozen and through in ("both", "variance"),
            dx == "add",
            dresidual == "add",
            saved.activation,
            saved.negative_slope,
            saved.sums,
        )
    )
    with np.errstate(over="ignore"):  # a value too large for the dtype becomes infinite, as in dx
        return Gradients(
            dx_target.finish() if dx_target else None,
            reduced(dgamma, sums[0], into.dgamma, saved.gamma),
            reduced(dbeta, sums[1], into.dbeta, saved.beta),
            dresidual_target.finish() if dresidual_target else None,
        )


def of_masked(
    dy: AnyArray,
    fwd: MaskedForward,
    requests: dict[str, Request],
    into: Gradients,
    *,
    through: Through,
    kernel: str,
) -> Gradients:
    """Return the gradients of what counts, and 0 elsewhere; "add" leaves the buffer there."""
    adds = {name: request == "add" for name, request in requests.items()}
    of_counted = batch_norm_backward(
        gather(dy, fwd.mask, fwd.saved.channel_axis),
        fwd.gathered,
        through=through,
        dx=requests["dx"],
        dgamma=requests["dgamma"],
        dbeta=requests["dbeta"],
        dresidual=requests["dresidual"],
        into=Gradients(
            gather_like(into.dx, fwd) if adds["dx"] else None,
            into.dgamma,
            into.dbeta,
            gather_like(into.dresidual, fwd) if adds["dresidual"] else None,
        ),
        kernel=kernel,
    )
    spreads = {
        name: None if found is None else spread_like(found, fwd, buffer, add=adds[name])
        for name, found, buffer in (
            ("dx", of_counted.dx, into.dx),
            ("dresidual", of_counted.dresidual, into.dresidual),
        )
    }
    return Gradients(spreads["dx"], of_counted.dgamma, of_counted.dbeta, spreads["dresidual"])


def of_weighted(
    dy: AnyArray,
    fwd: WeightedForward,
    requests: dict[str, Request],
    into: Gradients,
    *,
    through: Through,
    kernel: str,
) -> WeightedGradients:
    """Return the gradients of what counts and by the weights, and 0 elsewhere."""
    moves = {"mean": through in ("both", "mean"), "var": through in ("both", "variance")}
    of_x, of_residual, sums, of_weights = gradients(
        gather(dy, fwd.mask, fwd.saved.channel_axis),
        batch_of(fwd),
        through_mean=moves["mean"] and not fwd.saved.frozen,
        through_variance=moves["var"] and not fwd.saved.frozen,
    )
    dmask = by_weights(of_weights, fwd)
    if fwd.is_mask:
        masked = of_masked(dy, fwd, requests, into, through=through, kernel=kernel)
        return WeightedGradients(
            masked.dx, masked.dgamma, masked.dbeta, masked.dresidual, dmask=dmask
        )
    wanted = {**requests, "dresidual": requests["dresidual"] if fwd.saved.has_residual else "null"}
    with np.errstate(over="ignore"):
        return WeightedGradients(
            _placed(of_x, fwd, wanted["dx"], into.dx),
            reduced(requests["dgamma"], sums[0], into.dgamma, fwd.saved.gamma),
            reduced(requests["dbeta"], sums[1], into.dbeta, fwd.saved.beta),
            _placed(of_residual, fwd, wanted["dresidual"], into.dresidual),
            dmask=dmask,
        )


def _placed(
    values: Float64Array, fwd: MaskedForward, request: Request, buffer: AnyArray | None
) -> AnyArray | None:
    """Return values of shape (count, C) in the shape of x, once rounded; None for "null"."""
    if request == "null":
        return None
    adds = request == "add"
    before = gather_like(buffer, fwd) if adds else None
    total = values if before is None else values + before
    return spread_like(total.astype(fwd.saved.x.dtype), fwd, buffer, add=adds)


def requested(
    request: Request, buffer: AnyArray | None, x: AnyArray, layout: Layout
) -> Target | None:
    """Return the target of a gradient with the shape of x; None for "null"."""
    if request == "null":
        return None
    return Target(empty_like(x) if buffer is None else buffer, layout, load=request == "add")
