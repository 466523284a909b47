"""How objects become subjects: an adapter for each framework, made when it is first needed.

An adapter is made of the framework's file in `backnorm.host.calls`, or by the package
``backnorm.F`` where framework F has such a package.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING

from backnorm.audit.kinds import KINDS
from backnorm.audit.subject import Subject
from backnorm.audit.subjects.adapter import Adapter, Request
from backnorm.audit.subjects.hosted import hosted_adapter, hosted_subjects
from backnorm.audit.subjects.pair import is_pair, pair_subject
from backnorm.errors import SubjectError, UnknownNameError
from backnorm.host import specs
from backnorm.host.calls import FRAMEWORKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backnorm.audit.kinds import Kind

__all__ = ["adapter_of", "as_subject", "register", "subjects_of"]


@dataclass(frozen=True, slots=True)
class _Registry:
    adapters: dict[str, Adapter] = field(default_factory=dict)


_REGISTRY = _Registry()


def register(adapter: Adapter) -> None:
    """Make an adapter known; done by the adapter's own module when it is imported."""
    _REGISTRY.adapters[adapter.framework] = adapter


def adapter_of(framework: str) -> Adapter:
    """Return the adapter of a framework, importing it if need be."""
    if framework not in _REGISTRY.adapters:
        if importlib.util.find_spec(f"backnorm.{framework}"):
            importlib.import_module(f"backnorm.{framework}")
        else:
            register(hosted_adapter(importlib.import_module(f"backnorm.host.calls.{framework}")))
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
        return hosted_subjects(specs.of_object(candidate, lambda _: None, {}))
    for adapter in _adapters_for(candidate):
        if adapter.recognises(candidate):
            return adapter.subjects(candidate, request)
    if is_pair(candidate):
        return (pair_subject(candidate, request.kind, request.name),)
    raise SubjectError.unknown_object(request.name or repr(candidate), candidate)


def _adapters_for(candidate: object) -> Iterator[Adapter]:
    for root in _roots(candidate):
        if root in _REGISTRY.adapters or root in FRAMEWORKS:
            yield adapter_of(root)


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
