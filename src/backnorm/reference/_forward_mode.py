"""Forward mode: the tangent of y for tangents of x, gamma and beta."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.reference._channels import spread, total, widen
from backnorm.reference._forward import forward

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Through

__all__ = ["jvp"]


def jvp(
    x_tangent: AnyArray,
    x: AnyArray,
    gamma: AnyArray | None = None,
    *,
    gamma_tangent: AnyArray | None = None,
    beta_tangent: AnyArray | None = None,
    channel_axis: int = 1,
    eps: float = 1e-5,
    through: Through = "both",
    running_mean: AnyArray | None = None,
    running_var: AnyArray | None = None,
) -> AnyArray:
    """Tangent of y: the chain rule from mean' and var' to inv_std', x_hat' and y'.

    Eq. (20) and (21) of docs/mathematics.md.

    Parameters
    ----------
    x_tangent
        Tangent of x; shape of x, any float or complex dtype. [x]
    x
        Input of the forward pass; any number of axes, any float or complex dtype. [x]
    gamma
        Scale; shape (C,); None stands for 1. [y]
    gamma_tangent
        Tangent of gamma; shape (C,); None stands for 0. [y]
    beta_tangent
        Tangent of beta; shape (C,); None stands for 0. [y]
    channel_axis
        The axis of x that holds the channels.
    eps
        Added to the variance. [x]^2
    through
        Which statistics depend on x; the others are constants, as in `backward`.
    running_mean
        Frozen mean; shape (C,); given together with `running_var`; both are constants. [x]
    running_var
        Frozen variance; shape (C,). [x]^2

    Returns
    -------
    numpy.ndarray
        Tangent of y; shape of x. [y]

    Raises
    ------
    IndexError
        If x has no axis `channel_axis`; nothing else is checked.

    Notes
    -----
    Source: docs/mathematics.md.

    Accuracy: as `forward`, relative to the largest gamma*inv_std*x_tangent of a channel
    (`tests/test_reference_forward_mode.py`).

    Cost: a forward pass and three more.

    Examples
    --------
    A step of x along its own deviation from the mean scales x. y does not change, unless the
    variance is a constant.

    >>> import numpy as np
    >>> from backnorm import reference
    >>> x = np.array([[0.0], [0.0], [4.0], [4.0]])
    >>> reference.jvp(x - 2.0, x, eps=0.0)[:, 0].tolist()
    [0.0, 0.0, 0.0, 0.0]
    >>> reference.jvp(x - 2.0, x, eps=0.0, through="mean")[:, 0].tolist()
    [-1.0, -1.0, 1.0, 1.0]
    """
    fwd = forward(
        x, channel_axis=channel_axis, eps=eps, running_mean=running_mean, running_var=running_var
    )
    moving = through if running_mean is None else "none"
    x_tangent = widen(x_tangent)
    ndim = x_tangent.ndim
    centred = widen(x) - spread(fwd.mean, ndim, channel_axis)
    centred_tangent = x_tangent
    if moving in ("both", "mean"):
        mean_tangent = total(x_tangent, channel_axis) / fwd.n
        centred_tangent = centred_tangent - spread(mean_tangent, ndim, channel_axis)
    x_hat_tangent = centred_tangent * spread(fwd.inv_std, ndim, channel_axis)
    if moving in ("both", "variance"):
        var_tangent = 2 * total(centred * x_tangent, channel_axis) / fwd.n
        inv_std_tangent = -(fwd.inv_std**3) * var_tangent / 2
        x_hat_tangent = x_hat_tangent + centred * spread(inv_std_tangent, ndim, channel_axis)
    y_tangent = x_hat_tangent
    if gamma is not None:
        y_tangent = y_tangent * spread(widen(gamma), ndim, channel_axis)
    if gamma_tangent is not None:
        y_tangent = y_tangent + fwd.x_hat * spread(widen(gamma_tangent), ndim, channel_axis)
    if beta_tangent is not None:
        y_tangent = y_tangent + spread(widen(beta_tangent), ndim, channel_axis)
    return y_tangent
