"""Subjects from specs: what `backnorm.host` makes, here or in another process, for the audit."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

from backnorm.audit.subject import Run, Subject
from backnorm.audit.subjects.adapter import Adapter, Request
from backnorm.audit.subjects.fitting import distinct, fitted
from backnorm.errors import NotInstalledError, SubjectError
from backnorm.host import specs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from backnorm._types import AnyArray
    from backnorm.audit.boxes import Visit
    from backnorm.audit.subjects.adapter import Calls

__all__ = ["hosted_adapter", "hosted_subjects"]


@dataclass(frozen=True, slots=True, eq=False)
class HostedBox:
    """A box of `backnorm.host`, which speaks in dictionaries.

    Attributes
    ----------
    box
        The box, here or in another process.
    kept
        The state that calls start from, where it is not the first; see `HostedState`.
    """

    box: Any
    kept: Mapping[str, AnyArray] | None = None

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y."""
        return cast("AnyArray", self.box.forward(x, gamma, beta, *self._from()))

    def run(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray) -> Run:
        """Return y and the gradients."""
        found = self.box.run(x, gamma, beta, dy, *self._from())
        return Run(found["y"], found["dx"], found.get("dgamma"), found.get("dbeta"))

    def _from(self) -> tuple[Mapping[str, AnyArray], ...]:
        """Return what to add to the arguments of a call."""
        return () if self.kept is None else (self.kept,)


class HostedHigher(HostedBox):
    """A box that can differentiate its gradient; see `backnorm.audit.boxes.DeepBox`."""

    __slots__ = ()

    def higher(
        self,
        x: AnyArray,
        gamma: AnyArray | None,
        beta: AnyArray | None,
        dy: AnyArray,
        along: Sequence[AnyArray],
    ) -> Mapping[str, AnyArray]:
        """Return the last of the gradients."""
        found = self.box.higher(x, gamma, beta, dy, along, *self._from())
        return cast("Mapping[str, AnyArray]", found)


class HostedState(HostedBox):
    """A box that can be followed over calls; see `backnorm.audit.boxes.StatefulBox`."""

    __slots__ = ()

    def state(self) -> Mapping[str, AnyArray]:
        """Return the state that calls start from."""
        found = self.box.state() if self.kept is None else self.kept
        return cast("Mapping[str, AnyArray]", found)

    def attached(self) -> Sequence[str]:
        """Return nothing: what a layer keeps comes as NumPy's arrays."""
        return ()

    def after(self, visits: Sequence[Visit]) -> HostedState:
        """Return the box after some calls."""
        calls = [(one.x, one.gamma, one.beta, one.dy, one.train) for one in visits]
        return replace(self, kept=self.box.after(calls, *self._from()))


class HostedHigherState(HostedHigher, HostedState):
    """A box that can do both."""

    __slots__ = ()


BOXES: Final[Mapping[frozenset[str], type[HostedBox]]] = {
    frozenset(): HostedBox,
    frozenset({"higher"}): HostedHigher,
    frozenset({"state"}): HostedState,
    frozenset({"higher", "state"}): HostedHigherState,
}
"""By what a spec says that its box can."""


def hosted_subjects(
    made: Iterable[Mapping[str, Any]], at_work: Callable[[str], object] = lambda _: None
) -> tuple[Subject, ...]:
    """Make subjects of specs, and find out what is not known of them by trying.

    Parameters
    ----------
    made
        What `backnorm.host.specs` made; specs of one name are one object in several modes.
    at_work
        Called with the name of what is tried.

    Returns
    -------
    tuple of Subject
        In the same order; one only where the modes of an object do the same.
    """
    subjects: list[Subject] = []
    for name, group in itertools.groupby(made, lambda spec: str(spec["name"])):
        at_work(name)
        subjects += distinct([_subject_of(spec) for spec in group])
    return tuple(subjects)


def hosted_adapter(calls: Any) -> Adapter:
    """Make the adapter of a framework of the module that says how it is called.

    Parameters
    ----------
    calls
        Its file in `backnorm.host.calls`; see `backnorm.host.specs`.

    Returns
    -------
    Adapter
        To be registered.
    """

    def made(
        make: Callable[..., Sequence[Any]], name: str, request: Request
    ) -> tuple[Subject, ...]:
        _require(calls.FRAMEWORK)
        asked = {
            "kind": request.kind,
            "arguments": request.arguments,
            "calls": request.calls,
            "name": request.name,
        }
        try:
            return hosted_subjects(make(_calls_of, asked))
        except specs.CannotBuild as error:
            raise SubjectError.cannot_build(name, error.arguments, error.cause) from error

    def subjects(candidate: Any, request: Request) -> tuple[Subject, ...]:
        name = request.name or specs.name_of(candidate)
        return made(functools.partial(_of_calls, calls, candidate), name, request)

    def layers(wanted: Calls) -> tuple[Subject, ...]:
        make = functools.partial(specs.of_framework, calls)
        return made(make, calls.FRAMEWORK, Request(calls=wanted))

    recognises = functools.partial(specs.recognises, calls)
    return Adapter(calls.FRAMEWORK, recognises, subjects, layers)


def _of_calls(calls: Any, candidate: Any, calls_of: Any, asked: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", specs.of_calls(calls, calls_of, candidate, asked))


def _calls_of(framework: str) -> Any:
    """Return the calls of a framework."""
    return importlib.import_module(f"backnorm.host.calls.{framework}")


def _require(framework: str) -> None:
    if importlib.util.find_spec(framework) is None:
        raise NotInstalledError.framework(framework)


def _subject_of(spec: Mapping[str, Any]) -> Subject:
    shape = tuple(spec["parameter_shape"])
    sample = spec["sample_shape"]
    subject = Subject(
        name=spec["name"],
        kind=spec["kind"],
        box=BOXES[frozenset(spec["can"])](spec["box"]),
        sample_shape=shape if sample is None else tuple(sample),
        parameter_shape=shape,
        has_gamma=spec["has_gamma"],
        has_beta=spec["has_beta"],
        dtypes=tuple(spec["dtypes"]),
        call=spec["call"],
        groups=spec["groups"],
    )
    return fitted(subject) if sample is None else subject
