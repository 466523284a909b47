"""How modules and functions of PyTorch are called where backnorm is not.

Plain: see `backnorm.host.specs`.
"""

import contextlib
import copy

import numpy as np

__all__ = [
    "FRAMEWORK",
    "LAYERS",
    "base",
    "differentiate",
    "higher",
    "layer",
    "layer_classes",
    "layers",
    "visit",
]

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
    module = copy.deepcopy(candidate).train(train)
    kept = {name: _array(buffer) for name, buffer in module.named_buffers()}
    for name, buffer in module.named_buffers():
        role = tools.role_of(name)
        if role.startswith("running_"):
            kept[name] = tools.running(role, buffer.numel()).reshape(tuple(buffer.shape))
    named = {}
    for name, _ in module.named_parameters():
        named.setdefault(tools.role_of(name), name)
    named = {role: named[role] for role in ("gamma", "beta") if role in named}

    def filled(arrays, training):
        fresh = copy.deepcopy(module).to(arrays["x"].dtype).train(training)
        for name, buffer in fresh.named_buffers():
            buffer.copy_(arrays[name])
        for role, name in named.items():
            if role in arrays:
                owner, _, last = name.rpartition(".")
                part = fresh
                for step in filter(None, owner.split(".")):
                    part = getattr(part, step)
                shape = getattr(part, last).shape
                del part._parameters[last]
                setattr(part, last, arrays[role].reshape(shape))
        return fresh

    def after(state, leaves, dy, training):
        made = []

        def run(arrays):
            made.append(filled(arrays, training))
            return made[0](arrays["x"])

        differentiate(run, leaves, state, dy)
        return {name: _array(buffer) for name, buffer in made[0].named_buffers()}

    shapes = [tuple(p.shape) for n, p in module.named_parameters() if n in named.values()]
    shapes += [(value,) for key, value in vars(module).items() if tools.role_of(key) == "channels"]
    shape = tuple(n for n in (shapes or [(tools.CHANNELS[kind],)])[0] if n != 1) or (1,)
    return {
        "call": lambda arrays: filled(arrays, train)(arrays["x"]),
        "state": kept,
        "visit": after,
        "shape": shape if kind in ("layer", "rms") else (int(np.prod(shape)),),
        "gamma": "gamma" in named,
        "beta": "beta" in named,
        "groups": getattr(module, "num_groups", 0),
    }


def differentiate(call, leaves, constants, dy):
    """Return y and the gradients of sum(y*dy)."""
    import torch

    given = _leaves(leaves)
    with _alike():
        y = _called(call, given, constants)
        if dy is None:
            return _array(y), {}
        upstream = torch.from_numpy(dy).to(y.dtype)
        found = torch.autograd.grad(y, list(given.values()), upstream, allow_unused=True)
    return _array(y), {role: _array(g) for role, g in zip(given, found) if g is not None}


def higher(call, leaves, constants, dy, along):
    """Return the last of the gradients of the gradient."""
    import torch

    given = _leaves(dict(leaves, dy=dy))
    upstream = given["dy"]
    with _alike():
        y = _called(call, {role: given[role] for role in leaves}, constants)
        total = (y * upstream.to(y.dtype)).sum()
        for direction in along:
            (slope,) = torch.autograd.grad(total, given["x"], create_graph=True, allow_unused=True)
            if slope is None or not slope.requires_grad:
                return {}
            total = (slope * torch.from_numpy(direction)).sum()
        # Not `grad`, which goes only where it must: what refuses to be differentiated twice lies
        # elsewhere, and would not be heard.
        total.backward()
    return {role: _array(one.grad) for role, one in given.items() if one.grad is not None}


def visit(step, constants, leaves, dy, train):
    """Return the state after a call of a function that returns it."""
    import torch

    arrays = {name: torch.from_numpy(value.copy()) for name, value in constants.items()}
    with _alike():
        found = step(dict(arrays, **_leaves(leaves)), train)
    return {name: _array(value) for name, value in found.items()}


def _leaves(arrays):
    import torch

    return {role: torch.from_numpy(v.copy()).requires_grad_() for role, v in arrays.items()}


def _called(call, given, constants):
    """Return y. What works in place must not meet the leaf itself."""
    import torch

    fixed = {role: torch.from_numpy(value.copy()) for role, value in constants.items()}
    y = call(dict(fixed, **dict(given, x=given["x"].clone())))
    return y[0] if isinstance(y, (tuple, list)) else y


@contextlib.contextmanager
def _alike():
    """Draw the same numbers every time, on one thread: on inputs this small others only wait."""
    import torch

    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)


def _array(tensor):
    import torch

    tensor = tensor.detach().cpu()
    # NumPy has no bfloat16; float32 holds all of its values.
    half = tensor.is_floating_point() and tensor.dtype != torch.float64
    return (tensor.float() if half else tensor).numpy().copy()
