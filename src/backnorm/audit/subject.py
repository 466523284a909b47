"""A subject: a normalization as a black box that always starts from the same state."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from backnorm.audit.kinds import Geometry, geometry
from backnorm.audit.subjects.refusals import ABOUT_SHAPES
from backnorm.audit.subjects.runner import Run
from backnorm.errors import SubjectError
from backnorm.errors.causes import FailedCall
from backnorm.host.pairs import NotReturned
from backnorm.host.raised import place_of, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from backnorm._types import AnyArray, Shape
    from backnorm.audit.kinds import Kind
    from backnorm.audit.record import Expected
    from backnorm.audit.subjects.runner import GivenArrays, Runner

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
    misfit
        Why it is not what the user said that it is, if a kind or an order of axes was given and
        does not fit; empty otherwise.
    optional
        Whether it takes None in place of gamma and beta.
    version
        What version it is of, in its own words; empty where it does not say.
    parts
        Of how many layers with parameters it is made; 0 where nothing tells.
    forward_only
        Why it has no gradient, so that its forward pass alone is judged; empty for others.
    declared
        What a model file says of it: eps, momentum, running_mean and running_var, as far as it
        does, and usual_eps, the eps of all others of its kind in the file, if that is another.
    stated_in
        Where it states its kind and shapes itself, as programs do; empty for others.
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
    misfit: str = ""
    optional: bool = False
    version: str = ""
    parts: int = 0
    forward_only: str = ""
    declared: Mapping[str, Any] = field(default_factory=dict)
    stated_in: str = ""
    expected: Expected | None = None

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y, or raise SubjectError if it is not a finite array of x's shape."""
        given = {"x": x, "gamma": gamma, "beta": beta}
        with told(self.name, lambda: self._called("forward", given)):
            y = self.runner.forward(x, gamma, beta)
        return _sane(self.name, "y", y, x.shape)

    def forwards(self, calls: Sequence[GivenArrays]) -> Iterator[AnyArray]:
        """Yield y of each of some calls, or raise as `forward` does.

        They do not depend on each other, so that they go together to a program far away.
        """
        outputs = self.runner.forwards(calls)
        for x, gamma, beta in calls:
            given = {"x": x, "gamma": gamma, "beta": beta}
            with told(self.name, partial(self._called, "forward", given)):
                y = next(outputs)
            yield _sane(self.name, "y", y, x.shape)

    def run(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray) -> Run:
        """Return y and the gradients, or raise SubjectError if one is not a finite array."""
        given = {"x": x, "gamma": gamma, "beta": beta, "dy": dy}
        with told(self.name, lambda: self._called(self._stage(x, gamma, beta), given)):
            run = self.runner.run(x, gamma, beta, dy)
        return Run(
            y=_sane(self.name, "y", run.y, x.shape),
            dx=_sane(self.name, "dx", run.dx, x.shape),
            dgamma=_sane_or_none(self.name, "dgamma", run.dgamma, gamma),
            dbeta=_sane_or_none(self.name, "dbeta", run.dbeta, beta),
        )

    def _stage(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> str:
        """Return the pass that raises where both were run: frameworks do not tell them apart."""
        try:
            self.runner.forward(x, gamma, beta)
        except Exception:  # noqa: BLE001 - what it raises is known already
            return "forward"
        return "backward"

    def _called(self, stage: str, given: Mapping[str, AnyArray | None]) -> FailedCall:
        """Return what is known of a call that raised."""
        arrays = {name: array for name, array in given.items() if array is not None}
        shapes = {name: self.runner.shape_there(name, array) for name, array in arrays.items()}
        modes = {"train": "training", "eval": "evaluation"}
        return FailedCall(
            stage, mode=modes.get(self.call or "", ""), shapes=shapes, parts=self.parts
        )

    def geometry(self, batch: int, groups: int | None = None) -> Geometry:
        """How x with this many samples falls apart into rows."""
        shape = (batch, *self.sample_shape)
        count = self.groups if groups is None else groups
        return geometry(self.kind, shape, self.parameter_shape, max(count, 1))


@contextlib.contextmanager
def told(name: str, called: Callable[[], FailedCall] = FailedCall) -> Iterator[None]:
    """Turn what a subject's own code raises into a SubjectError, which says what went wrong.

    `called` tells what is known of the call, where that is asked for.
    """
    try:
        yield
    except SubjectError:
        raise
    except NotReturned as error:
        if error.sort == "none":
            raise SubjectError.returned_none(name, error.what) from error
        raise SubjectError.no_tuple(name, error.what, error.got, error.sort) from error
    except Exception as error:
        said = named_error(type(error).__name__, words_of(error), place_of(error))
        refused = ABOUT_SHAPES.search(f"{type(error).__name__}: {said}") is not None
        answered = getattr(error, "answered", False)
        call = called()._replace(place=place_of(error), refused=refused, answered=answered)
        raise SubjectError.raised(name, said, call) from error


def named_error(name: str, words: str, place: str, *, answered: bool = False) -> Exception:
    """Return an error of this name, these words and this place, as of one raised elsewhere.

    `answered` says that it was not raised: a program answered so.
    """
    error: Exception = type(name, (Exception,), {"place": place, "answered": answered})(words)
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
