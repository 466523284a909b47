"""The form of a layer: what y is of x_hat, whatever x is normalized with.

y = f(gamma*x_hat + beta) has an activation f; a layer may also multiply by a constant that it
keeps beside gamma, and add another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from backnorm.audit.measure.lines import lines_through
from backnorm.audit.measure.row_fit import GAMMA_LAWS, RowFit, fit_between

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Float64Array
    from backnorm.audit.measure.activations import ElementFunction
    from backnorm.audit.measure.inputs import Inputs

__all__ = ["PLAIN", "LayerConstants", "LayerForm", "fit_form"]


@dataclass(frozen=True, slots=True, eq=False)
class LayerConstants:
    """A factor and an addend of a layer, which are neither gamma nor beta.

    Attributes
    ----------
    factor, addend
        One value for each parameter, in the shape of gamma. 1, [y]
    whole
        Whether beta is multiplied by the factor too, as by a scale behind a layer.
    """

    factor: AnyArray
    addend: AnyArray
    whole: bool


@dataclass(frozen=True, slots=True, eq=False)
class LayerForm:
    """How y follows from x_hat.

    Attributes
    ----------
    gamma_law
        What x_hat is multiplied by: a name of `GAMMA_LAWS`.
    activation
        f; None if there is no such function.
    constants
        What is multiplied and added beside gamma and beta; None if nothing is.
    """

    gamma_law: str = "gamma"
    activation: ElementFunction | None = None
    constants: LayerConstants | None = None

    def gamma(self, inputs: Inputs) -> Float64Array:
        """Return what x_hat is multiplied by, as rows."""
        gamma = GAMMA_LAWS[self.gamma_law](inputs.geometry.spread(inputs.gamma, 1.0))
        if self.constants is None:
            return gamma
        return np.asarray(gamma * inputs.geometry.spread(self.constants.factor, 1.0))

    def beta(self, inputs: Inputs) -> Float64Array:
        """Return what is added to it, as rows."""
        beta, own = inputs.geometry.spread(inputs.beta, 0.0), self.constants
        if own is None:
            return beta
        factor = inputs.geometry.spread(own.factor, 1.0) if own.whole else 1.0
        return np.asarray(beta * factor + inputs.geometry.spread(own.addend, 0.0))

    def output(self, u: Float64Array) -> Float64Array:
        """Return y of u = gamma*x_hat + beta."""
        return u if self.activation is None else self.activation(u)

    def slope(self, u: Float64Array) -> Float64Array:
        """Return dy/du."""
        return np.ones_like(u) if self.activation is None else self.activation.slope(u)


PLAIN: Final = LayerForm()


def fit_form(inputs: Inputs, y: AnyArray, form: LayerForm = PLAIN) -> RowFit:
    """Fit a straight line to each row, before the activation if there is such a function."""
    gamma, beta = form.gamma(inputs), form.beta(inputs)
    x, y_rows = inputs.geometry.rows(inputs.x), inputs.geometry.rows(y)
    if form.activation is None:
        return fit_between(x, y_rows, gamma, beta)
    return lines_through(form.activation, x, y_rows, gamma, beta)
