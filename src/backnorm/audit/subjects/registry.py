"""How objects become subjects: `backnorm.host.specs` knows how they are called."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import TYPE_CHECKING, Any

from backnorm.audit.kinds import KINDS
from backnorm.audit.subject import Subject
from backnorm.audit.subjects.axes import read_axes
from backnorm.audit.subjects.from_specs import subjects_from
from backnorm.audit.subjects.no_subject import no_subject
from backnorm.audit.subjects.request import AuditRequest
from backnorm.errors import NotInstalledError, UnknownNameError
from backnorm.host import specs
from backnorm.host.calls import calls_of
from backnorm.host.find import find
from backnorm.host.no_subject import NoSubject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backnorm.audit.kinds import Kind
    from backnorm.audit.subjects.request import Modes

__all__ = ["as_subject", "layers_of", "names_of_layers", "subjects_of"]


def as_subject(
    candidate: object,
    kind: Kind | None = None,
    name: str = "",
    axes: str = "",
    device: str = "",
) -> Subject:
    """Make one subject of an object, as it is set: a module in eval mode is audited in eval mode.

    Parameters
    ----------
    candidate
        A `Subject`, a NumPy pair, or a layer or function of a framework; or a text that names one
        of these, as on the command line.
    kind
        The kind of normalization; None for what the object says itself, or batch.
    name
        What the report calls it; empty for the object's own name.
    axes
        The order of the axes of x, such as NHWC; empty for what the object says itself.
    device
        Where its arrays are made, such as cuda; empty for where its framework makes them.

    Returns
    -------
    Subject
        The black box.

    Raises
    ------
    SubjectError
        If nothing here knows what the object is, or what a text names is not there.
    UnknownNameError
        If the kind is unknown.
    RangeError
        If the axes cannot be read.
    """
    found = _named(candidate) if isinstance(candidate, str) else candidate
    named = name or (candidate if isinstance(candidate, str) else "")
    return subjects_of(found, AuditRequest(kind=kind, axes=axes, name=named, device=device))[0]


def _named(target: str) -> object:
    """Import what a text names, or raise SubjectError."""
    try:
        return find(target)
    except NoSubject as error:
        raise no_subject(target, error.why, error.told) from error


def subjects_of(
    candidate: object, request: AuditRequest, at_work: Callable[[str], object] = lambda _: None
) -> tuple[Subject, ...]:
    """Make all subjects of an object that a request asks for; `at_work` as for `layers_of`."""
    if request.kind is not None and request.kind not in KINDS:
        raise UnknownNameError.choice("kind", request.kind, KINDS)
    if request.axes:
        read_axes(request.axes)
    if isinstance(candidate, Subject):
        return (candidate,)
    name = request.name or repr(candidate)
    return _made(name, partial(specs.of_object, candidate, request.to_dict()), at_work)


def layers_of(
    framework: str,
    modes: Modes,
    at_work: Callable[[str], object] = lambda _: None,
    *,
    place: int | None = None,
    device: str = "",
) -> tuple[Subject, ...]:
    """Make subjects of the normalization layers of a framework.

    Parameters
    ----------
    framework
        Its import name, one of `backnorm.host.calls.FRAMEWORKS`.
    modes
        In which modes.
    at_work
        Called with the name of each before it is tried.
    place
        Which one of the framework's list; None for all.
    device
        Where their arrays are made; empty for where the framework makes them.

    Returns
    -------
    tuple of Subject
        In the order of the framework's list.

    Raises
    ------
    NotInstalledError
        If it is not there.
    """
    if importlib.util.find_spec(framework) is None:
        raise NotInstalledError.framework(framework)
    request = AuditRequest(modes=modes, place=place, device=device)
    make = partial(specs.of_framework, calls_of(framework), request.to_dict())
    return _made(framework, make, at_work)


def names_of_layers(framework: str) -> list[str]:
    """Return the names in a framework's list; the framework must be installed."""
    return list(specs.names_of_layers(calls_of(framework)))


def _made(
    name: str, make: Callable[[], Sequence[Any]], at_work: Callable[[str], object]
) -> tuple[Subject, ...]:
    try:
        return subjects_from(make(), at_work)
    except NoSubject as error:
        raise no_subject(name, error.why, error.told) from error
