"""A subject: a normalization as a black box that always starts from the same state."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from backnorm.audit.kinds import Geometry, geometry
from backnorm.audit.subjects.runner import Run
from backnorm.errors import SubjectError
from backnorm.host.pairs import NotReturned
from backnorm.host.serve import words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm._types import AnyArray, Shape
    from backnorm.audit.kinds import Kind
    from backnorm.audit.record import Expected
    from backnorm.audit.subjects.runner import Runner

__all__ = ["Subject", "TrainMode", "named_error", "told"]

TrainMode: TypeAlias = Literal["train", "eval", "both"]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """Something to audit.

    Attributes
    ----------
    name
        What the report calls it.
    kind
        Which values share their statistics.
    runner
        What calls it.
    sample_shape
        Shape of one sample, ``x.shape[1:]``.
    parameter_shape
        Shape of gamma and beta; for layer and rms the shape that is normalized over.
    has_gamma, has_beta
        Whether there is such a parameter.
    dtypes
        Formats to audit it in; the report shows the coefficients of the first.
    call
        Whether it was asked to train or to evaluate; "both" if it has two modes that do the same,
        and None if it has no modes.
    groups
        Number of groups of channels; 0 when that is to be found out.
    notes
        What was found out about it before it was measured.
    optional
        Whether it takes None in place of gamma and beta.
    version
        What version it is of, in its own words; empty where it does not say.
    expected
        For specimens: the verdict they must get. Carried into the record, never looked at.
    """

    name: str
    kind: Kind
    runner: Runner
    sample_shape: Shape
    parameter_shape: Shape
    has_gamma: bool = True
    has_beta: bool = True
    dtypes: tuple[str, ...] = ("float32", "float64")
    call: TrainMode | None = None
    groups: int = 0
    notes: tuple[str, ...] = ()
    optional: bool = False
    version: str = ""
    expected: Expected | None = None

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y, or raise SubjectError if it is not a finite array of x's shape."""
        with told(self.name):
            y = self.runner.forward(x, gamma, beta)
        return _sane(self.name, "y", y, x.shape)

    def run(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray) -> Run:
        """Return y and the gradients, or raise SubjectError if one is not a finite array."""
        with told(self.name):
            run = self.runner.run(x, gamma, beta, dy)
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


@contextlib.contextmanager
def told(name: str) -> Iterator[None]:
    """Turn what a subject's own code raises into a SubjectError, which says what went wrong."""
    try:
        yield
    except SubjectError:
        raise
    except NotReturned as error:
        if error.value is None:
            raise SubjectError.returned_none(name, error.what) from error
        raise SubjectError.no_tuple(name, error.what, error.value) from error
    except Exception as error:
        said = named_error(type(error).__name__, words_of(error))
        raise SubjectError.raised(name, said) from error


def named_error(name: str, words: str) -> Exception:
    """Return an error of this name and these words: all that is known of one raised elsewhere."""
    error: Exception = type(name, (Exception,), {})(words)
    return error


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
