"""Layers on the device that was asked for, or why they cannot be there.

Plain: Python 3.6, and nothing of backnorm.
"""

from .calls import FRAMEWORKS
from .no_subject import NoSubject
from .versions import environment

__all__ = ["on_device", "only_here"]


def on_device(calls, base, spec, device):
    """Return a spec whose runner makes its arrays on a device; the same spec where none is named.

    ``calls`` is the framework of the layer, and ``base`` the one that differentiates.
    """
    if not device:
        return spec
    # A framework that chooses its backend chooses the device too.
    if not hasattr(base, "dtypes_on") or hasattr(calls, "BACKENDS"):
        raise NoSubject.no_devices(calls.__name__.rpartition(".")[2], device)
    name = base.__name__.rpartition(".")[2]
    try:
        takes = base.dtypes_on(device)
    except Exception as error:
        version = environment(FRAMEWORKS).get(name, "")
        raise NoSubject.no_device(error, device, ("%s %s" % (name, version)).strip()) from error
    dtypes = [dtype for dtype in spec["dtypes"] if dtype in takes]
    return dict(spec, runner=spec["runner"].on(device), dtypes=dtypes, device=device)


def only_here(what, asked):
    """Raise NoSubject if a device is asked for, and the target is called with NumPy's arrays."""
    if asked.get("device"):
        raise NoSubject.no_devices(what, asked["device"])
