"""How objects become subjects: adapters register here, one for each framework.

The adapter of framework F is the module ``backnorm.F``. It is imported when an object of that
framework turns up, so this module needs to know no framework.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from backnorm.audit.kinds import KINDS
from backnorm.audit.numpy_pair import is_pair, pair_subject
from backnorm.audit.subject import Subject
from backnorm.errors import SubjectError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from backnorm.audit.kinds import Kind

__all__ = ["Adapter", "Arguments", "Calls", "Request", "as_subject", "register", "subjects_of"]

Arguments: TypeAlias = "dict[str, Any] | list[Any] | None"
Calls: TypeAlias = Literal["train", "eval", "both", "as it is"]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of an adapter.

    Attributes
    ----------
    kind
        The kind of normalization; None for what the object says itself.
    arguments
        What to construct a class with, or to call a function with.
    calls
        Whether to audit training, evaluation, both, or whichever the object is set to.
    name
        What the report calls it; empty for the object's own name.
    """

    kind: Kind | None = None
    arguments: Arguments = None
    calls: Calls = "as it is"
    name: str = ""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What a framework's adapter supplies.

    Attributes
    ----------
    framework
        Its import name.
    recognises
        Whether an object belongs to it.
    subjects
        Subjects made of such an object.
    layers
        Subjects for all normalization layers of the framework.
    """

    framework: str
    recognises: Callable[[object], bool]
    subjects: Callable[[Any, Request], tuple[Subject, ...]]
    layers: Callable[[Calls], tuple[Subject, ...]]


@dataclass(frozen=True, slots=True)
class _Registry:
    adapters: dict[str, Adapter] = field(default_factory=dict)


_REGISTRY = _Registry()


def register(adapter: Adapter) -> None:
    """Make an adapter known; done by the adapter's own module when it is imported."""
    _REGISTRY.adapters[adapter.framework] = adapter


def adapter_of(framework: str) -> Adapter:
    """Return the adapter of a framework, importing it if need be."""
    importlib.import_module(f"backnorm.{framework}")
    return _REGISTRY.adapters[framework]


def as_subject(candidate: object, kind: Kind | None = None) -> Subject:
    """Make one subject of an object, as it is set: a module in eval mode is audited in eval mode.

    Parameters
    ----------
    candidate
        A `Subject`, a NumPy pair, or something that an adapter recognises.
    kind
        The kind of normalization; None for what the object says itself, or batch.

    Returns
    -------
    Subject
        The black box.

    Raises
    ------
    SubjectError
        If nothing here knows what the object is.
    UnknownNameError
        If there is no such kind.
    """
    return subjects_of(candidate, Request(kind=kind))[0]


def subjects_of(candidate: object, request: Request) -> tuple[Subject, ...]:
    """Make all subjects of an object that a request asks for."""
    if request.kind is not None and request.kind not in KINDS:
        raise UnknownNameError.choice("kind", request.kind, KINDS)
    if isinstance(candidate, Subject):
        return (candidate,)
    if hasattr(candidate, "box") and hasattr(candidate, "sample_shape"):
        # Imported here, since it knows this module.
        from backnorm.audit.hosted import hosted_subjects  # noqa: PLC0415
        from backnorm.host import specs  # noqa: PLC0415

        return hosted_subjects(specs.of_object(candidate, lambda _: None, {}))
    for adapter in _adapters_for(candidate):
        if adapter.recognises(candidate):
            return adapter.subjects(candidate, request)
    if is_pair(candidate):
        return (pair_subject(candidate, request.kind, request.name),)
    raise SubjectError.unknown_object(request.name or repr(candidate), candidate)


def _adapters_for(candidate: object) -> Iterator[Adapter]:
    for root in _roots(candidate):
        if root not in _REGISTRY.adapters and importlib.util.find_spec(f"backnorm.{root}"):
            importlib.import_module(f"backnorm.{root}")
        if root in _REGISTRY.adapters:
            yield _REGISTRY.adapters[root]


def _roots(candidate: object) -> Sequence[str]:
    """Top packages that an object comes from: its classes', and those its function uses."""
    names = [cls.__module__ for cls in _classes(candidate)]
    names.append(getattr(candidate, "__module__", None) or "")
    used = getattr(candidate, "__globals__", {}).values()
    names += [value.__name__ for value in used if isinstance(value, ModuleType)]
    roots = dict.fromkeys(name.partition(".")[0] for name in names)
    return [root for root in roots if root.isidentifier() and root != "backnorm"]


def _classes(candidate: object) -> Sequence[type]:
    return (candidate if isinstance(candidate, type) else type(candidate)).__mro__
