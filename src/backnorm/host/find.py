"""From the text of a target to an object. Plain: Python 3.6, and nothing of backnorm."""

import difflib
import importlib
import importlib.util
import os
import pkgutil
import sys
import traceback
import types

from .calls import FRAMEWORKS, calls_of
from .model_file import file_in
from .no_subject import NoSubject

__all__ = ["failed", "find", "names_in", "nearest"]

LIBRARIES = (".so", ".dylib", ".dll")
"""How the names of shared libraries end."""

LISTED = 6
"""How many names of a module a message lists."""


def find(target, near=()):
    """Import what a target names: package.module:Name, package.module.Name, or path/file.py:Name.

    An ONNX file, or a node of one, file.onnx:node, is an `OnnxFile`.

    ``near`` are words that are targets too, for the advice where the module does not exist.
    """
    file = file_in(target)
    if file is not None:
        return file
    if "::" in target:
        raise NoSubject.colons(target.replace("::", ":"))
    place, colon, name = target.rpartition(":")
    if not colon:
        place, name = target, ""
    if place.endswith(".py"):
        found = _from_file(place)
    else:
        found, left = _longest_module(place, near)
        name = ".".join(filter(None, [left, name]))
    for part in filter(None, name.split(".")):
        found = _attribute(found, part)
    return found


def nearest(name, known):
    """Return the names that come nearest, whatever their case."""
    by_lower = {one.lower(): one for one in known}
    return [by_lower[m] for m in difflib.get_close_matches(name.lower(), by_lower, n=3)]


def _refuse_other_file(place):
    """Raise NoSubject if this is a file, which is not Python."""
    if os.path.isfile(place):
        sort = "program" if os.access(place, os.X_OK) else "other"
        raise NoSubject.other_file(place, "library" if place.endswith(LIBRARIES) else sort)


def _no_file(place):
    """Return why there is no such file."""
    directory, file = os.path.split(os.path.realpath(place))
    beside = os.listdir(directory) if os.path.isdir(directory) else []
    python_files = [one for one in beside if one.endswith(".py")]
    return NoSubject.no_file(place, nearest(file, python_files), os.getcwd())


def _from_file(place):
    if not os.path.isfile(place):
        raise _no_file(place)
    directory, file = os.path.split(os.path.realpath(place))
    stem = file[: -len(".py")]
    known = sys.modules.get(stem)
    path = os.path.join(directory, file)
    if known is not None and getattr(known, "__file__", None) == path:
        return known
    # The name that an import from the same directory would give it, unless that is taken.
    name = stem if stem not in sys.modules else "target_" + stem
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # Last: a file beside the target must not hide a module that others import.
    sys.path.append(directory)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        # An import that failed leaves its name free, as Python's own does.
        del sys.modules[name]
        raise failed(error, path) from error
    return module


def failed(error, file=""):
    """Return why an import failed; ``file`` is that of the target, if known."""
    if isinstance(error, SystemExit):
        return NoSubject.import_ended(error, file)
    if isinstance(error, ImportError) and "relative import" in str(error) and file:
        return NoSubject.relative_import(error, *_as_module(file))
    framework = _without_backend(error)
    if framework is not None:
        calls = calls_of(framework)
        there = [one for one in calls.BACKENDS if importlib.util.find_spec(one)]
        return NoSubject.no_backend(error, framework, calls.VARIABLE, there)
    return NoSubject.import_failed(error, file)


def _as_module(file):
    """Return the dotted name of a file in its package, and the folder that holds the package.

    Its own folder is taken for a package, whether it has an __init__.py or not. The current folder
    is "".
    """
    folder, name = os.path.split(file[: -len(".py")])
    parts = [os.path.basename(folder), name]
    folder = os.path.dirname(folder)
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        parts.insert(0, os.path.basename(folder))
        folder = os.path.dirname(folder)
    return ".".join(parts), "" if folder == os.getcwd() else folder


def _without_backend(error):
    """Return the framework that was imported without the package that it runs on, if any."""
    missing = getattr(error, "name", None)
    frames = traceback.walk_tb(error.__traceback__)
    passed = {frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in frames}
    for framework in passed.intersection(FRAMEWORKS):
        calls = calls_of(framework)
        if missing in getattr(calls, "BACKENDS", ()) and calls.VARIABLE not in os.environ:
            return framework
    return None


def _longest_module(dotted, near):
    """Import as much of a dotted name as is a module; return it and what is left."""
    parts = dotted.split(".")
    if os.path.dirname(dotted):
        _refuse_other_file(dotted)
        raise _no_file(dotted)
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count])
        try:
            return importlib.import_module(name), ".".join(parts[count:])
        except (Exception, SystemExit) as error:
            if not _is_missing(name, error):
                raise failed(error, _file_of(name, error)) from error
    _refuse_other_file(dotted)
    known = list(near) + [one.name for one in pkgutil.iter_modules()]
    raise NoSubject.no_module(parts[0], nearest(parts[0], known), os.getcwd())


def _is_missing(name, error):
    """Whether it is the module itself or a package above it that is not there.

    Otherwise the module is there, and its own code raised.
    """
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    return bool(missing) and (name + ".").startswith(missing + ".")


def _file_of(name, error):
    """Return the file of a module whose import raised; "" if none of its code ran."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__") == name:
            return frame.f_globals.get("__file__") or ""
    return ""


def _attribute(owner, name):
    try:
        return getattr(owner, name)
    except AttributeError as error:
        title = getattr(owner, "__name__", type(owner).__name__)
        public = [known for known in dir(owner) if not known.startswith("_")]
        near = nearest(name, public)
        raise NoSubject.no_name(name, title, near, names_in(owner)) from error


def names_in(module):
    """Return the first classes and functions that a module defines."""
    if not isinstance(module, types.ModuleType):
        return []
    own = [
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    public = [name for name in own if not name.startswith("_")]
    return public[:LISTED] + ["..."] * (len(public) > LISTED)
