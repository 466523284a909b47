"""From the text of a target to an object. Plain: Python 3.6, and nothing of backnorm."""

import difflib
import importlib
import importlib.util
import os
import pkgutil
import sys

__all__ = ["NotFound", "find", "nearest"]


class NotFound(Exception):
    """What a target names is not there, or does not import.

    ``got`` says what was found instead, ``near`` which names are like it.
    """

    def __init__(self, got, near=()):
        super().__init__(got)
        self.got = got
        self.near = tuple(near)


def find(target, near=()):
    """Import what a target names: package.module:Name, package.module.Name, or path/file.py:Name.

    ``near`` are words that are targets too, for the advice where the module does not exist.
    """
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


def _from_file(place):
    directory, file = os.path.split(os.path.realpath(place))
    if not os.path.isfile(place):
        beside = os.listdir(directory) if os.path.isdir(directory) else []
        python_files = [one for one in beside if one.endswith(".py")]
        raise NotFound("no file " + place, nearest(file, python_files))
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
        raise NotFound(_words(error)) from error
    return module


def _longest_module(dotted, near):
    """Import as much of a dotted name as is a module; return it and what is left."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count])
        try:
            return importlib.import_module(name), ".".join(parts[count:])
        except ImportError as error:
            # Only the name itself or a package above it: else the module is there and is broken.
            missing = getattr(error, "name", None)
            if not isinstance(error, ModuleNotFoundError) or not missing:
                raise NotFound(_words(error)) from error
            if not (name + ".").startswith(missing + "."):
                raise NotFound(_words(error)) from error
        except (Exception, SystemExit) as error:
            raise NotFound(_words(error)) from error
    known = list(near) + [one.name for one in pkgutil.iter_modules()]
    raise NotFound("no module " + parts[0], nearest(parts[0], known))


def _attribute(owner, name):
    try:
        return getattr(owner, name)
    except AttributeError as error:
        title = getattr(owner, "__name__", type(owner).__name__)
        public = [known for known in dir(owner) if not known.startswith("_")]
        raise NotFound("no %s in %s" % (name, title), nearest(name, public)) from error


def _words(error):
    return "%s: %s" % (type(error).__name__, error)
