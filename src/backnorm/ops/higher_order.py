"""Forward mode and second derivative: check, lay out, call the kernel, wrap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backnorm import _check, kernels
from backnorm._layout import arrange, layout_of
from backnorm.errors import RangeError
from backnorm.kernels._contract import SecondCall, TangentCall
from backnorm.kernels.memory import empty_like
from backnorm.ops._arrays import Target, activated, reduced, saved_of, wide
from backnorm.ops._masked import gather, gather_like, spread_like
from backnorm.ops._weighted_steps import (
    steps_of,
    weighted_second,
    weighted_tangent,
    weights_step,
)
from backnorm.results import MaskedForward, SecondGradients, WeightedForward

if TYPE_CHECKING:
    import numpy.typing as npt

    from backnorm._types import AnyArray, Through
    from backnorm.results import Forward, Saved

__all__ = ["batch_norm_double_backward", "batch_norm_jvp"]


def batch_norm_jvp(
    x_tangent: AnyArray,
    fwd: Forward,
    *,
    gamma_tangent: npt.ArrayLike | None = None,
    beta_tangent: npt.ArrayLike | None = None,
    residual_tangent: AnyArray | None = None,
    mask_tangent: npt.ArrayLike | None = None,
    through: Through = "both",
    kernel: str = "auto",
) -> AnyArray:
    """Return the tangent of y for tangents of x and the parameters: forward mode.

    It is the adjoint of `batch_norm_backward`.

    Parameters
    ----------
    x_tangent
        Tangent of x, shape and dtype of x. [x]
    fwd
        The result of `batch_norm`.
    gamma_tangent, beta_tangent
        Tangents of the parameters, shape (C,); None stands for 0. [gamma]
    residual_tangent
        Tangent of the residual, shape and dtype of x; None stands for 0. [gamma]
    mask_tangent
        Tangent of the weights, their shape; None stands for 0.
    through
        As in `batch_norm_backward`.
    kernel
        "auto", or one of `backnorm.kernels.available()`.

    Returns
    -------
    numpy.ndarray
        Tangent of y, shape and dtype of x. [gamma]

    Raises
    ------
    ShapeError, DtypeError, RangeError, UnknownNameError
        As `batch_norm_backward`.

    Notes
    -----
    Source: docs/mathematics.md.
    Accuracy: float64 inside, rounded once (tests/ops/test_higher_order.py).
    Cost: NumPy in every kernel, some ten passes over cached tiles.

    Examples
    --------
    >>> import numpy as np
    >>> import backnorm as bn
    >>> fwd = bn.batch_norm(np.array([[-1.0], [1.0]]), eps=0.0)
    >>> bn.batch_norm_jvp(np.array([[5.0], [5.0]]), fwd).ravel().tolist()  # a shift changes nothing
    [0.0, 0.0]
    """
    saved = saved_of(fwd)
    x_tangent = _check.like("x_tangent", x_tangent, "x", saved.x)
    _check.name_of("through", through, _check.THROUGHS)
    gamma_step = per_channel_step("gamma_tangent", gamma_tangent, "gamma", saved.gamma, saved)
    beta_step = per_channel_step("beta_tangent", beta_tangent, "beta", saved.beta, saved)
    residual_step = residual_step_of("residual_tangent", residual_tangent, saved)
    of_weights = weights_step("mask_tangent", mask_tangent, fwd)
    chosen = kernels.get(kernel)
    if isinstance(fwd, WeightedForward) and (of_weights is not None or not fwd.is_mask):
        steps = steps_of(
            fwd,
            x=x_tangent,
            residual=residual_step,
            weights=of_weights,
            gamma=gamma_step,
            beta=beta_step,
        )
        return weighted_tangent(steps, fwd, through)
    if isinstance(fwd, MaskedForward):
        tangent = batch_norm_jvp(
            gather(x_tangent, fwd.mask, saved.channel_axis),
            fwd.gathered,
            gamma_tangent=gamma_step,
            beta_tangent=beta_step,
            residual_tangent=gather_like(residual_step, fwd),
            through=through,
            kernel=kernel,
        )
        return spread_like(tangent, fwd)

    layout = layout_of(saved.x, saved.channel_axis)
    target = Target(empty_like(saved.x), layout)
    chosen.tangent(
        TangentCall(
            arrange(x_tangent, layout),
            arrange(saved.x, layout),
            activated(fwd, layout),
            target.view,
            None if residual_step is None else arrange(residual_step, layout),
            wide(saved.gamma),
            wide(gamma_step),
            wide(beta_step),
            saved.statistics,
            not saved.frozen and through in ("both", "mean"),
            not saved.frozen and through in ("both", "variance"),
            saved.activation,
            saved.negative_slope,
        )
    )
    return target.finish()


def batch_norm_double_backward(
    ddx: AnyArray | None,
    dy: AnyArray,
    fwd: Forward,
    *,
    ddgamma: npt.ArrayLike | None = None,
    ddbeta: npt.ArrayLike | None = None,
    ddresidual: AnyArray | None = None,
    ddmask: npt.ArrayLike | None = None,
    kernel: str = "auto",
) -> SecondGradients:
    """Return the gradient of sum(ddx*dx) + sum(ddgamma*dgamma) + sum(ddbeta*dbeta).

    With weights also of sum(ddmask*dmask).

    dx, dgamma and dbeta are the exact gradients that `batch_norm_backward` computes for dy. The
    gradient is with respect to x, dy and gamma.

    Parameters
    ----------
    ddx
        Gradient with respect to dx, shape and dtype of x; None stands for 0.
    dy
        The dy of `batch_norm_backward`.
    fwd
        The result of `batch_norm`.
    ddgamma, ddbeta
        Gradients with respect to dgamma and dbeta, shape (C,); None stands for 0.
    ddresidual
        Gradient with respect to dresidual, shape and dtype of x; None stands for 0.
    ddmask
        Gradient with respect to dmask, shape of the weights; None stands for 0.
    kernel
        "auto", or one of `backnorm.kernels.available()`.

    Returns
    -------
    SecondGradients
        x, dy, and gamma (None if the forward pass had no gamma). With weights also `mask`.

    Raises
    ------
    ShapeError, DtypeError, RangeError, UnknownNameError
        As `batch_norm_backward`.

    Notes
    -----
    Source: docs/mathematics.md. `through` is not an argument here: at second order the effect of a
    detached statistic depends on where it was detached, so an answer could be wrong.
    Accuracy: float64 inside, rounded once (tests/ops/test_higher_order.py).
    Cost: NumPy in every kernel, some twenty passes over cached tiles.

    Examples
    --------
    >>> import numpy as np
    >>> import backnorm as bn
    >>> x, dy = np.array([[-1.0], [1.0]]), np.array([[1.0], [0.0]])
    >>> fwd = bn.batch_norm(x, running_mean=[0.0], running_var=[0.25], eps=0.0)
    >>> bn.batch_norm_double_backward(np.array([[3.0], [4.0]]), dy, fwd).dy.ravel().tolist()
    [6.0, 8.0]
    """
    saved = saved_of(fwd)
    dy = _check.like("dy", dy, "fwd.y", fwd.y)
    if ddx is not None:
        ddx = _check.like("ddx", ddx, "x", saved.x)
    gamma_step = per_channel_step("ddgamma", ddgamma, "gamma", saved.gamma, saved)
    beta_step = per_channel_step("ddbeta", ddbeta, "beta", saved.beta, saved)
    residual_step = residual_step_of("ddresidual", ddresidual, saved)
    of_weights = weights_step("ddmask", ddmask, fwd)
    chosen = kernels.get(kernel)
    if isinstance(fwd, MaskedForward):
        of_counted = batch_norm_double_backward(
            gather_like(ddx, fwd),
            gather(dy, fwd.mask, saved.channel_axis),
            fwd.gathered,
            ddgamma=gamma_step,
            ddbeta=beta_step,
            ddresidual=gather_like(residual_step, fwd),
            kernel=kernel,
        )
        of_mask = SecondGradients(
            spread_like(of_counted.x, fwd), spread_like(of_counted.dy, fwd), of_counted.gamma
        )
        if not isinstance(fwd, WeightedForward):
            return of_mask
        steps = steps_of(
            fwd, x=ddx, residual=residual_step, weights=of_weights, gamma=gamma_step, beta=beta_step
        )
        return weighted_second(steps, dy, fwd, of_mask)

    layout = layout_of(saved.x, saved.channel_axis)
    for_x = Target(empty_like(saved.x), layout)
    for_dy = Target(empty_like(saved.x), layout)
    for_gamma = np.empty_like(fwd.mean)
    chosen.second(
        SecondCall(
            None if ddx is None else arrange(ddx, layout),
            wide(gamma_step),
            wide(beta_step),
            None if residual_step is None else arrange(residual_step, layout),
            arrange(dy, layout),
            arrange(saved.x, layout),
            activated(fwd, layout),
            for_x.view,
            for_dy.view,
            for_gamma,
            wide(saved.gamma),
            saved.statistics,
            saved.frozen,
            saved.activation,
            saved.negative_slope,
        )
    )
    with np.errstate(over="ignore"):
        gamma = reduced("write", for_gamma, None, saved.gamma)
    return SecondGradients(for_x.finish(), for_dy.finish(), gamma)


def per_channel_step(
    name: str, value: npt.ArrayLike | None, of: str, parameter: AnyArray | None, saved: Saved
) -> AnyArray | None:
    """Return the tangent of a parameter or of its gradient, shape (C,), in any dtype."""
    if value is None:
        return None
    if parameter is None:
        raise RangeError.no_parameter(name, of)
    return _check.per_channel(name, value, saved.x, saved.channel_axis)


def residual_step_of(name: str, value: AnyArray | None, saved: Saved) -> AnyArray | None:
    """Return the tangent of the residual or of its gradient."""
    if value is None:
        return None
    if not saved.has_residual:
        raise RangeError.no_parameter(name, "residual")
    return _check.like(name, value, "x", saved.x)
