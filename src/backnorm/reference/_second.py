"""The second derivative: the gradient of the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm.reference._backward import backward
from backnorm.reference._channels import spread, total, widen
from backnorm.reference._forward import forward
from backnorm.reference._forward_mode import jvp
from backnorm.results import SecondGradients

if TYPE_CHECKING:
    from backnorm._types import AnyArray

__all__ = ["double_backward"]


def double_backward(
    ddx: AnyArray | None,
    dy: AnyArray,
    x: AnyArray,
    gamma: AnyArray | None = None,
    *,
    ddgamma: AnyArray | None = None,
    ddbeta: AnyArray | None = None,
    channel_axis: int = 1,
    eps: float = 1e-5,
    running_mean: AnyArray | None = None,
    running_var: AnyArray | None = None,
) -> SecondGradients:
    """Gradient of sum(ddx*dx) + sum(ddgamma*dgamma) + sum(ddbeta*dbeta), for x, dy and gamma.

    Eq. (24), (25) and (26) of docs/mathematics.md; with frozen statistics Eq. (27).

    Parameters
    ----------
    ddx
        Weight of dx; shape of x, any float or complex dtype; None stands for 0.
    dy
        Gradient of the loss with respect to y, as in `backward`; shape of x, any float or complex
        dtype. [loss]/[y]
    x
        Input of the forward pass; any number of axes, any float or complex dtype. [x]
    gamma
        Scale; shape (C,); None stands for 1. [y]
    ddgamma
        Weight of dgamma; shape (C,); None stands for 0.
    ddbeta
        Weight of dbeta; shape (C,); None stands for 0.
    channel_axis
        The axis of x that holds the channels.
    eps
        Added to the variance. [x]^2
    running_mean
        Frozen mean; shape (C,); given together with `running_var`. [x]
    running_var
        Frozen variance; shape (C,). [x]^2

    Returns
    -------
    SecondGradients
        With respect to x and dy (shape of x), and gamma (shape (C,); None without gamma).

    Raises
    ------
    IndexError
        If x has no axis `channel_axis`; nothing else is checked.

    Notes
    -----
    Source: docs/mathematics.md. dx, dgamma and dbeta are the exact gradients, through both
    statistics.

    Accuracy: as `forward`, twice over (`tests/test_reference_second.py`).

    Cost: two backward passes, one forward-mode pass, a forward pass.

    Examples
    --------
    dgamma = sum(dy*x_hat), so its derivative with respect to dy is x_hat:

    >>> import numpy as np
    >>> from backnorm import reference
    >>> x = np.array([[0.0], [0.0], [4.0], [4.0]])
    >>> dy = np.array([[1.0], [0.0], [0.0], [3.0]])
    >>> one = np.array([1.0])
    >>> second = reference.double_backward(None, dy, x, ddgamma=one, eps=0.0)
    >>> second.dy[:, 0].tolist()
    [-1.0, -1.0, 1.0, 1.0]
    """
    x, dy = widen(x), widen(dy)
    frozen = running_mean is not None
    statistics: dict[str, Any] = {"running_mean": running_mean, "running_var": running_var}
    fwd = forward(x, channel_axis=channel_axis, eps=eps, **statistics)
    ddx = np.zeros_like(x) if ddx is None else widen(ddx)
    ddgamma = np.zeros_like(fwd.inv_std) if ddgamma is None else widen(ddgamma)
    scale = fwd.inv_std if gamma is None else widen(gamma) * fwd.inv_std

    def each(per_channel: AnyArray) -> AnyArray:
        return spread(per_channel, x.ndim, channel_axis)

    def dx_of(x_hat_weight: AnyArray) -> AnyArray:
        """Gradient of sum(x_hat_weight*x_hat) with respect to x."""
        gradients = backward(x_hat_weight, x, channel_axis=channel_axis, eps=eps, **statistics)
        return np.asarray(gradients.dx)

    by_gamma = total(ddx * dx_of(dy), channel_axis)
    by_x_hat = each(ddgamma) * dy
    by_inv_std = np.zeros_like(x)
    if not frozen:
        dy_sum, ddx_sum = total(dy * fwd.x_hat, channel_axis), total(ddx * fwd.x_hat, channel_axis)
        by_x_hat = by_x_hat - (ddx * each(dy_sum) + dy * each(ddx_sum)) * each(scale / fwd.n)
        by_inv_std = -fwd.x_hat * each(scale * by_gamma / fwd.n)
    by_dy = jvp(
        ddx,
        x,
        gamma,
        gamma_tangent=ddgamma,
        beta_tangent=ddbeta,
        channel_axis=channel_axis,
        eps=eps,
        **statistics,
    )
    return SecondGradients(
        x=dx_of(by_x_hat) + by_inv_std, dy=by_dy, gamma=None if gamma is None else by_gamma
    )
