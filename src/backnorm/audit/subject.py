"""A subject: a normalization as a black box that always starts from the same state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np

from backnorm.audit.kinds import Geometry, geometry
from backnorm.errors import BacknormError, SubjectError

if TYPE_CHECKING:
    from backnorm._types import AnyArray, Shape
    from backnorm.audit.kinds import Kind
    from backnorm.audit.record import Expected

__all__ = ["Box", "Call", "Run", "Subject"]

Call: TypeAlias = Literal["train", "eval"]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What one forward and backward pass gave.

    Attributes
    ----------
    y
        The output; shape of x. [gamma]
    dx
        Gradient with respect to x; shape of x.
    dgamma, dbeta
        Gradients with respect to gamma and beta; None counts as zero.
    """

    y: AnyArray
    dx: AnyArray
    dgamma: AnyArray | None = None
    dbeta: AnyArray | None = None


class Box(Protocol):
    """What an adapter supplies: two operations on NumPy arrays that leave no trace.

    Both start from the same state every time, whatever was run before.
    """

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y."""
        ...

    def run(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray) -> Run:
        """Return y and the gradients of sum(y*dy)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """Something to audit.

    Attributes
    ----------
    name
        What the report calls it.
    kind
        Which values share their statistics.
    box
        The black box itself.
    sample_shape
        Shape of one sample, ``x.shape[1:]``.
    parameter_shape
        Shape of gamma and beta; for layer and rms the shape that is normalized over.
    has_gamma, has_beta
        Whether there is such a parameter.
    dtypes
        Formats to audit it in; the report shows the coefficients of the first.
    call
        Whether it was asked to train or to evaluate; None where there is no such choice.
    groups
        Number of groups of channels; 0 when that is to be found out.
    expected
        For specimens: the verdict they must get. Carried into the record, never looked at.
    """

    name: str
    kind: Kind
    box: Box
    sample_shape: Shape
    parameter_shape: Shape
    has_gamma: bool = True
    has_beta: bool = True
    dtypes: tuple[str, ...] = ("float32", "float64")
    call: Call | None = None
    groups: int = 0
    expected: Expected | None = None

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y, or raise SubjectError if it is no finite array of x's shape."""
        try:
            y = self.box.forward(x, gamma, beta)
        except BacknormError:
            raise
        except Exception as error:
            raise SubjectError.raised(self.name, error) from error
        return _sane(self.name, "y", y, x.shape)

    def run(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray) -> Run:
        """Return y and the gradients, or raise SubjectError if one is no finite array."""
        try:
            run = self.box.run(x, gamma, beta, dy)
        except BacknormError:
            raise
        except Exception as error:
            raise SubjectError.raised(self.name, error) from error
        return Run(
            y=_sane(self.name, "y", run.y, x.shape),
            dx=_sane(self.name, "dx", run.dx, x.shape),
            dgamma=_sane_or_none(self.name, "dgamma", run.dgamma, gamma),
            dbeta=_sane_or_none(self.name, "dbeta", run.dbeta, beta),
        )

    def geometry(self, batch: int, groups: int | None = None) -> Geometry:
        """How x with this many samples falls apart into rows."""
        shape = (batch, *self.sample_shape)
        count = self.groups if groups is None else groups
        return geometry(self.kind, shape, self.parameter_shape, max(count, 1))


def _sane_or_none(
    name: str, what: str, value: AnyArray | None, parameter: AnyArray | None
) -> AnyArray | None:
    if value is None or parameter is None:
        return None
    return _sane(name, what, value, parameter.shape)


def _sane(name: str, what: str, value: object, shape: Shape) -> AnyArray:
    if value is None:
        raise SubjectError.returned_none(name, what)
    if not isinstance(value, np.ndarray | np.generic | float):
        raise SubjectError.no_array(name, what, value)
    array = np.asarray(value)
    if array.shape != shape:
        raise SubjectError.wrong_shape(name, what, array.shape, shape)
    if not np.isfinite(array).all():
        raise SubjectError.not_finite(name, what, int(np.sum(~np.isfinite(array))))
    return array
