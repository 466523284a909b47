"""How modules and functions of PyTorch are called and differentiated.

Plain: see `backnorm.host.specs`.
"""

import functools

from ..names import name_of as full_name_of
from . import listed, own
from .torch_modules import (
    ModuleRunner,
    holding_graphs,
    in_mode,
    parameter_names,
    parameter_shape,
    stored_shape,
)
from .torch_tensors import (
    PLAIN,
    VARIANTS,
    alike,
    array_of,
    gradients,
    higher_gradients,
    leaf_of,
)
from .torch_tensors import observed as observed_call

__all__ = [
    "LAYERS",
    "OWN",
    "OWN_LAYERS",
    "VARIANTS",
    "build",
    "differentiate",
    "dtypes_on",
    "function",
    "higher",
    "layer",
    "layer_classes",
    "layers",
    "meet",
    "name_of",
    "observed",
    "overlapped",
    "take_step",
]

TRACKED = {"num_features": 4, "affine": True, "track_running_stats": True}

LAYERS = (
    ("BatchNorm1d", "batch", {"num_features": 4}),
    ("BatchNorm2d", "batch", {"num_features": 4}),
    ("BatchNorm3d", "batch", {"num_features": 4}),
    ("LayerNorm", "layer", {"normalized_shape": 6}),
    ("GroupNorm", "group", {"num_groups": 2, "num_channels": 4}),
    ("InstanceNorm1d", "instance", TRACKED),
    ("InstanceNorm2d", "instance", TRACKED),
    ("InstanceNorm3d", "instance", TRACKED),
    ("RMSNorm", "rms", {"normalized_shape": 6}),
)
"""Names, kinds and arguments. SyncBatchNorm runs on several GPUs only, and the local response
normalizations divide by sums over neighbours: they do not belong to the five kinds."""

OWN = ("backnorm.torch", "torch.engine.layers")
"""Layers that come with the audit: what reports call the package, and where they are in it."""

OWN_LAYERS = (
    ("BatchNorm1d", "batch", {"num_features": 4}),
    ("BatchNorm2d", "batch", {"num_features": 4}),
    ("BatchNorm3d", "batch", {"num_features": 4}),
    ("BatchNormAct2d", "batch", {"num_features": 4, "activation": "identity", "inplace": True}),
    ("FrozenBatchNorm2d", "batch", {"num_features": 4}),
    ("GhostBatchNorm2d", "batch", {"num_features": 4, "virtual_batch_size": 1 << 20}),
    ("BatchRenorm2d", "batch", {"num_features": 4}),
)
"""Names in backnorm.torch, and arguments: only layers that normalize and nothing else."""


def layer_classes():
    """Return the classes of layers."""
    import torch

    return (torch.nn.Module,)


def layers():
    """Return all normalization layers."""
    from torch import nn

    name, place = OWN
    return listed("torch.nn", nn, LAYERS) + listed(name, own(place), OWN_LAYERS)


def build(cls, arguments):
    """Construct a layer, always with the same random numbers."""
    with alike(1):
        return cls(**arguments) if isinstance(arguments, dict) else cls(*arguments)


def name_of(candidate):
    """Return a name: torch.nn.modules.batchnorm.BatchNorm2d is known as torch.nn.BatchNorm2d."""
    module, _, last = full_name_of(candidate).rpartition(".")
    return ("torch.nn" if module.startswith("torch.nn.modules") else module) + "." + last


def meet(rank, ranks, place, seconds):
    """Make a process group of gloo with other processes, which meet in a file."""
    from datetime import timedelta

    from torch import distributed

    wait = timedelta(seconds=seconds)
    where = "file://" + place
    distributed.init_process_group(
        "gloo", init_method=where, rank=rank, world_size=ranks, timeout=wait
    )


def dtypes_on(device):
    """Return the dtypes that tensors on a device have; raises what PyTorch says of another one."""
    import torch

    torch.ones(1, device=device).cpu()
    try:
        torch.ones(1, dtype=torch.float64, device=device).cpu()
    except (RuntimeError, TypeError):  # Metal has no float64
        return ("float32",)
    return ("float32", "float64")


def function(candidate):
    """Return what to call, and what its arguments are read from; None for a class of other things.

    Of an autograd.Function that is ``forward``, in the old style without its context.
    """
    import torch

    if not isinstance(candidate, type):
        return candidate, candidate
    if not issubclass(candidate, torch.autograd.Function):
        return None
    inherited = getattr(torch.autograd.Function, "setup_context", None)
    old_style = getattr(candidate, "setup_context", None) is inherited
    forward = candidate.forward
    return candidate.apply, functools.partial(forward, None) if old_style else forward


def layer(candidate, kind, train):
    """Return the layer spec of a module in one mode."""
    module = in_mode(candidate, train)
    named, stored = parameter_names(module), stored_shape(module)
    groups = getattr(module, "num_groups", getattr(module, "groups", 0))
    return {
        "runner": ModuleRunner(module, named, holding_graphs(candidate), origin=candidate),
        "shape": parameter_shape(kind, stored),
        "stored": parameter_shape("layer" if stored else kind, stored),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": groups if isinstance(groups, int) else 0,
        "parts": sum(1 for part in module.modules() if list(part.parameters(recurse=False))),
    }


def differentiate(call, leaves, constants, dy, dtype="", threads=1, needs_dx=True, device=""):
    """Return y and the gradients of sum(y*dy)."""
    given = _leaves(leaves, dtype, device)
    given["x"] = leaf_of(leaves["x"], dtype, needs_dx, device)
    way = (dtype, threads, needs_dx, device)
    return gradients(_bound(call, given, constants, way), given, dy, way)


def overlapped(call, leaves, constants, dy, later, device=""):
    """Return y and the gradients of a call that another forward pass comes between."""
    given, way = _leaves(leaves, "", device), PLAIN[:3] + (device,)
    return gradients(_bound(call, given, constants, way), given, dy, way, later)


def observed(call, leaves, constants, dy, device=""):
    """Return what a call leaves behind."""
    given, way = _leaves(leaves, "", device), PLAIN[:3] + (device,)
    return observed_call(_bound(call, given, constants, way), given, dy, device)


def higher(call, leaves, constants, dy, along, device=""):
    """Return the last of the gradients of the gradient."""
    given, way = _leaves(leaves, "", device), PLAIN[:3] + (device,)
    return higher_gradients(_bound(call, given, constants, way), given, dy, along, device)


def take_step(step, constants, leaves, dy, train, device=""):
    """Return the state after a call of a function that returns it."""
    arrays = {name: leaf_of(value, "", False, device) for name, value in constants.items()}
    arrays.update(_leaves(leaves, "", device))
    with alike(1, 0, device):
        found = step(arrays, train)
    return {name: array_of(value) for name, value in found.items()}


def _leaves(arrays, dtype, device):
    return {role: leaf_of(value, dtype, True, device) for role, value in arrays.items()}


def _bound(call, given, constants, way):
    """Return a function of x alone."""
    fixed = {role: leaf_of(v, way[0], False, way[3]) for role, v in constants.items()}
    return lambda x: call(dict(fixed, **dict(given, x=x)))
