"""From the text of a target to subjects. Runs in the child: it imports foreign code."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backnorm.audit.registry import adapter_of, subjects_of
from backnorm.errors import NotInstalledError, SubjectError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from backnorm.audit.registry import Request
    from backnorm.audit.subject import Subject

__all__ = ["FRAMEWORKS", "find_subjects", "is_installed"]

FRAMEWORKS: Final = ("torch",)
"""Frameworks that have an adapter, backnorm.<name>."""

OWN: Final = ("engine", "specimens")
"""Targets that come with this package."""


def is_installed(package: str) -> bool:
    """Whether a package is there, without importing it."""
    return importlib.util.find_spec(package) is not None


def find_subjects(target: str, request: Request) -> tuple[Subject, ...]:
    """Make subjects of a target.

    Parameters
    ----------
    target
        engine, specimens, a framework, package.module:Name, package.module.Name, or
        path/to/file.py:Name.
    request
        What is asked for.

    Returns
    -------
    tuple of Subject
        At least one.

    Raises
    ------
    SubjectError
        If the target does not import, or is nothing that can be audited.
    """
    if target == "engine":
        from backnorm.audit.engine import engine_subjects

        return engine_subjects(request.calls)
    if target == "specimens":
        from backnorm.audit.specimens import specimen_subjects

        return specimen_subjects()
    if target in FRAMEWORKS:
        return _layers(target, request)
    return subjects_of(_import(target), replace(request, name=target))


def _layers(framework: str, request: Request) -> tuple[Subject, ...]:
    try:
        return adapter_of(framework).layers(request.calls)
    except NotInstalledError as error:
        raise SubjectError.not_importable(framework, str(error), ()) from error


def _import(target: str) -> Any:
    """Import what a target names, or say why not, with the nearest names."""
    place, colon, name = target.rpartition(":")
    if not colon:
        place, name = target, ""
    if place.endswith(".py"):
        found: Any = _from_file(target, Path(place))
    elif colon:
        found, name = _from_module(target, place, name)
    else:
        found, name = _longest_module(target)
    for part in filter(None, name.split(".")):
        found = _attribute(target, found, part)
    return found


def _from_file(target: str, path: Path) -> ModuleType:
    if not path.is_file():
        near = _nearest(path.name, (p.name for p in path.parent.glob("*.py")))
        raise SubjectError.not_importable(target, f"no file {path}", near)
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path.resolve()):
        return known
    # The name that an import from the same directory would give it, unless that is taken.
    name = path.stem if path.stem not in sys.modules else f"target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise SubjectError.not_importable(target, "a file that Python cannot load", ())
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SubjectError.not_importable(target, _words(error), ()) from error
    return module


def _from_module(target: str, place: str, name: str) -> tuple[ModuleType, str]:
    """Import the module of package.module:Name."""
    module, left = _longest_module(place, target)
    return module, f"{left}.{name}" if left else name


def _longest_module(dotted: str, target: str = "") -> tuple[ModuleType, str]:
    """Import as much of a dotted name as is a module; return it and what is left."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count])
        try:
            return importlib.import_module(name), ".".join(parts[count:])
        except ModuleNotFoundError as error:
            # Only the name itself or a package above it: else the module is there and is broken.
            if not error.name or not f"{name}.".startswith(f"{error.name}."):
                raise SubjectError.not_importable(target or dotted, _words(error), ()) from error
        except (Exception, SystemExit) as error:
            raise SubjectError.not_importable(target or dotted, _words(error), ()) from error
    near = _nearest(parts[0], (*OWN, *FRAMEWORKS, *(m.name for m in pkgutil.iter_modules())))
    raise SubjectError.not_importable(target or dotted, f"no module {parts[0]}", near)


def _attribute(target: str, owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError as error:
        title = getattr(owner, "__name__", type(owner).__name__)
        public = [known for known in dir(owner) if not known.startswith("_")]
        near = _nearest(name, public)
        raise SubjectError.not_importable(target, f"no {name} in {title}", near) from error


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the names that come nearest, whatever their case."""
    by_lower = {one.lower(): one for one in known}
    return [by_lower[m] for m in difflib.get_close_matches(name.lower(), by_lower, n=3)]


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
