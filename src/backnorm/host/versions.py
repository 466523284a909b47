"""The versions of what targets have loaded. Plain: Python 3.6, and nothing of backnorm."""

import platform
import sys

__all__ = ["environment"]


def environment(frameworks):
    """Return the versions of Python, NumPy and those frameworks that targets have loaded."""
    known = {"python": platform.python_version()}
    known["platform"] = "%s %s" % (platform.system(), platform.machine())
    for name, module in sorted(sys.modules.items()):
        if name == "numpy" or name in frameworks:
            version = getattr(module, "__version__", None)
            version = version if isinstance(version, str) else _installed_version(name)
            if version is not None:
                known[name] = version
    return known


def _installed_version(package):
    """Return the version that a package was installed as; None where nothing tells."""
    try:
        from importlib import metadata
    except ImportError:
        # Python 3.6 and 3.7; packages of their time tell their versions themselves.
        return None
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
