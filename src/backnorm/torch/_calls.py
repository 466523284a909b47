"""How modules and functions of PyTorch are called where backnorm is not.

Plain: see `backnorm.host.specs`.
"""

import copy

import numpy as np

FRAMEWORK = "torch"


def base():
    """PyTorch differentiates."""
    return "torch"


def layer_classes():
    """Return the classes of layers."""
    import torch

    return (torch.nn.Module,)


LAYERS = (
    ("BatchNorm1d", "batch", {"num_features": 4}),
    ("BatchNorm2d", "batch", {"num_features": 4}),
    ("BatchNorm3d", "batch", {"num_features": 4}),
    ("LayerNorm", "layer", {"normalized_shape": 6}),
    ("GroupNorm", "group", {"num_groups": 2, "num_channels": 4}),
    (
        "InstanceNorm1d",
        "instance",
        {"num_features": 4, "affine": True, "track_running_stats": True},
    ),
    (
        "InstanceNorm2d",
        "instance",
        {"num_features": 4, "affine": True, "track_running_stats": True},
    ),
    (
        "InstanceNorm3d",
        "instance",
        {"num_features": 4, "affine": True, "track_running_stats": True},
    ),
    ("RMSNorm", "rms", {"normalized_shape": 6}),
)
"""Names, kinds and arguments."""


def layers(tools):
    """Return all normalization layers."""
    from torch import nn

    known = ((name, kind, getattr(nn, name, None), given) for name, kind, given in LAYERS)
    return [("torch.nn." + n, kind, cls, given) for n, kind, cls, given in known if cls is not None]


def layer(candidate, kind, train, tools):
    """Return the facts of a module in one mode."""
    import torch

    module = copy.deepcopy(candidate).train(train)
    for name, buffer in module.named_buffers():
        role = tools.role_of(name)
        if role.startswith("running_"):
            values = tools.running(role, buffer.numel()).reshape(tuple(buffer.shape))
            buffer.copy_(torch.from_numpy(values))
    named = {}
    for name, _ in module.named_parameters():
        named.setdefault(tools.role_of(name), name)
    named = {role: named[role] for role in ("gamma", "beta") if role in named}

    def call(arrays):
        fresh = copy.deepcopy(module).to(arrays["x"].dtype)
        for role, name in named.items():
            if role in arrays:
                owner, _, last = name.rpartition(".")
                part = fresh
                for step in filter(None, owner.split(".")):
                    part = getattr(part, step)
                shape = getattr(part, last).shape
                del part._parameters[last]
                setattr(part, last, arrays[role].reshape(shape))
        return fresh(arrays["x"])

    shapes = [tuple(p.shape) for n, p in module.named_parameters() if n in named.values()]
    shapes += [(value,) for key, value in vars(module).items() if tools.role_of(key) == "channels"]
    shape = tuple(n for n in (shapes or [(tools.CHANNELS[kind],)])[0] if n != 1) or (1,)
    return {
        "call": call,
        "shape": shape if kind in ("layer", "rms") else (int(np.prod(shape)),),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": getattr(module, "num_groups", 0),
    }


def differentiate(call, leaves, constants, dy):
    """Return y and the gradients of sum(y*dy)."""
    import torch

    given = {
        role: torch.from_numpy(value.copy()).requires_grad_() for role, value in leaves.items()
    }
    fixed = {role: torch.from_numpy(value.copy()) for role, value in constants.items()}
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    # On inputs this small a second thread only waits, and the same numbers are drawn every time.
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        with torch.enable_grad():
            # What works in place must not meet the leaf itself.
            y = call(dict(fixed, **dict(given, x=given["x"].clone())))
            y = y[0] if isinstance(y, (tuple, list)) else y
            if dy is None:
                return _array(y), {}
            upstream = torch.from_numpy(dy).to(y.dtype)
            found = torch.autograd.grad(y, list(given.values()), upstream, allow_unused=True)
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
    return _array(y), {role: _array(g) for role, g in zip(given, found) if g is not None}


def _array(tensor):
    import torch

    tensor = tensor.detach().cpu()
    return (tensor if tensor.dtype == torch.float64 else tensor.float()).numpy().copy()
