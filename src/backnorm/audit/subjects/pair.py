"""NumPy pairs: a forward and a backward function, audited as a subject.

A pair is an object, a class or a module with two functions::

    class MyNorm:
        @staticmethod
        def forward(x, gamma, beta):
            ...
            return y, cache

        @staticmethod
        def backward(dy, cache):
            ...
            return dx, dgamma, dbeta

and, where the defaults do not suit, with any of the attributes ``kind``, ``sample_shape``,
``parameter_shape``, ``has_gamma``, ``has_beta``, ``groups``, ``dtypes`` of `Subject`.

A pair that can differentiate its own gradient has a method ``higher(x, gamma, beta, dy, along)``,
which is `backnorm.audit.boxes.DeepBox.higher`.

Numbers and arrays that an object keeps in attributes are its state. If it has an attribute
``training``, that says whether it is audited in training or in evaluation, and is set before each
call. An attribute ``half_formats`` names formats, such as float16, that it takes as well, and is to
be looked at in.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import numpy as np

from backnorm.audit.boxes import PLAIN, Variant
from backnorm.audit.subject import Run, Subject
from backnorm.audit.subjects.fitting import fitted
from backnorm.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backnorm._types import AnyArray, Shape
    from backnorm.audit.boxes import Visit
    from backnorm.audit.kinds import Kind
    from backnorm.audit.subject import Box, Call

__all__ = ["is_pair", "pair_subject"]

CHANNELS: Final[Mapping[Kind, int]] = {"batch": 3, "layer": 6, "group": 4, "instance": 3, "rms": 6}
"""Channels of a pair that does not tell its shapes: few, so that the audit is quick."""


class Pair(Protocol):
    """Two functions."""

    def forward(
        self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None
    ) -> tuple[AnyArray, Any]:
        """Return y and whatever the backward pass needs."""
        ...

    def backward(
        self, dy: AnyArray, cache: Any
    ) -> tuple[AnyArray, AnyArray | None, AnyArray | None]:
        """Return dx, dgamma, dbeta."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PairBox:
    """A pair as a black box: a fresh copy for each call, so that state starts from the same."""

    name: str
    pair: Any

    def _fresh(self) -> Pair:
        if isinstance(self.pair, ModuleType):
            return cast("Pair", self.pair)
        return cast(
            "Pair", self.pair() if isinstance(self.pair, type) else copy.deepcopy(self.pair)
        )

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y."""
        y, _ = self._split(self._fresh().forward(*_copies(x, gamma, beta)), "(y, cache)", 2)
        return cast("AnyArray", y)

    def run(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray) -> Run:
        """Return y and the gradients."""
        pair = self._fresh()
        y, cache = self._split(pair.forward(*_copies(x, gamma, beta)), "(y, cache)", 2)
        y = copy.copy(y)
        gradients = pair.backward(dy.copy(order="K"), cache)
        dx, dgamma, dbeta = self._split(gradients, "(dx, dgamma, dbeta)", 3)
        return Run(y, dx, dgamma, dbeta)

    def state(self) -> dict[str, AnyArray]:
        """Return the numbers and arrays that the pair keeps."""
        attributes = getattr(self._fresh(), "__dict__", {})
        return {name: np.array(v) for name, v in attributes.items() if _is_number(v)}

    def attached(self) -> tuple[str, ...]:
        """NumPy has no graph."""
        return ()

    def after(self, visits: Sequence[Visit]) -> PairBox:
        """Return the pair as it is after some calls."""
        pair: Any = self._fresh()
        mode = getattr(pair, "training", None)
        for visit in visits:
            _set_mode(pair, train=visit.train)
            given = _copies(visit.x, visit.gamma, visit.beta)
            _, cache = self._split(pair.forward(*given), "(y, cache)", 2)
            if visit.dy is not None:
                pair.backward(visit.dy.copy(order="K"), cache)
        if mode is not None:
            pair.training = mode
        return replace(self, pair=pair)

    def variant(self, variant: Variant) -> Box | None:
        """Return the pair in a half format that it says it takes."""
        if variant == PLAIN:
            return self
        formats = getattr(self.pair, "half_formats", ())
        return HalfBox(self, variant.dtype) if variant in map(Variant, formats) else None

    def _split(self, value: object, what: str, count: int) -> tuple[Any, ...]:
        if value is None:
            raise SubjectError.returned_none(self.name, what)
        if not isinstance(value, tuple | list) or len(value) != count:
            raise SubjectError.no_tuple(self.name, what, value)
        return tuple(value)


@dataclass(frozen=True, slots=True, eq=False)
class DeepPairBox(PairBox):
    """A pair that can differentiate its own gradient."""

    def higher(
        self,
        x: AnyArray,
        gamma: AnyArray | None,
        beta: AnyArray | None,
        dy: AnyArray,
        along: Sequence[AnyArray],
    ) -> Mapping[str, AnyArray]:
        """Differentiate the gradient, by the pair's own means; see `DeepBox`."""
        pair: Any = self._fresh()
        found = pair.higher(*_copies(x, gamma, beta, dy), list(_copies(*along)))
        return cast("Mapping[str, AnyArray]", found)


@dataclass(frozen=True, slots=True, eq=False)
class HalfBox:
    """A pair in a half format: arrays come as float32, and go as float32."""

    box: PairBox
    dtype: str

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y."""
        return np.asarray(self.box.forward(*self._halves(x, gamma, beta)), np.float32)

    def run(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray) -> Run:
        """Return y and the gradients."""
        run = self.box.run(*self._halves(x, gamma, beta, dy))
        y, dx = (np.asarray(array, np.float32) for array in (run.y, run.dx))
        return Run(y, dx, run.dgamma, run.dbeta)

    def _halves(self, *arrays: AnyArray | None) -> tuple[Any, ...]:
        return tuple(None if array is None else array.astype(self.dtype) for array in arrays)


def _copies(*arrays: AnyArray | None) -> tuple[Any, ...]:
    """Copy arrays, each with the order of its axes in memory."""
    return tuple(None if array is None else array.copy(order="K") for array in arrays)


def _is_number(value: object) -> bool:
    """Whether an attribute is a number or an array of numbers, and no flag."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fiu"
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _set_mode(pair: Any, *, train: bool) -> None:
    if hasattr(pair, "training"):
        pair.training = train


def is_pair(candidate: object) -> bool:
    """Whether an object follows the protocol."""
    return all(callable(getattr(candidate, name, None)) for name in ("forward", "backward"))


def pair_subject(pair: Any, kind: Kind | None = None, name: str = "") -> Subject:
    """Make a subject of a pair.

    Parameters
    ----------
    pair
        An object, a class without arguments, or a module.
    kind
        The kind of normalization; None for the pair's own ``kind``, or batch.
    name
        What the report calls it.

    Returns
    -------
    Subject
        The black box.
    """
    own = _kind_of(pair) if kind is None else kind
    title = name or getattr(pair, "__name__", type(pair).__name__)
    sample: Shape = tuple(getattr(pair, "sample_shape", (CHANNELS[own],)))
    default = sample if own in ("layer", "rms") else sample[:1]
    subject = Subject(
        name=title,
        kind=own,
        box=(DeepPairBox if callable(getattr(pair, "higher", None)) else PairBox)(title, pair),
        sample_shape=sample,
        parameter_shape=tuple(getattr(pair, "parameter_shape", default)),
        has_gamma=getattr(pair, "has_gamma", True),
        has_beta=getattr(pair, "has_beta", own != "rms"),
        dtypes=tuple(getattr(pair, "dtypes", ("float32", "float64"))),
        groups=getattr(pair, "groups", 0),
        call=_call_of(pair),
    )
    return subject if hasattr(pair, "sample_shape") else fitted(subject)


def _call_of(pair: Any) -> Call | None:
    """Whether a pair trains or evaluates as it is; None where it has no such attribute."""
    training = getattr(pair, "training", None)
    if training is None:
        return None
    return "train" if training else "eval"


def _kind_of(pair: Any) -> Kind:
    kind: Kind = getattr(pair, "kind", "batch")
    return kind
