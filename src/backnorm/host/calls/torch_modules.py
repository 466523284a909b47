"""How a module of PyTorch is called: a fresh copy for each call, with its state.

Plain: see `backnorm.host.specs`.
"""

import functools

import numpy as np

from .. import defaults
from ..names import mode_arguments, role_of, takes_mask
from ..runners import shaped_like
from ..traces import World
from .torch_copies import deep_copy
from .torch_tensors import (
    PLAIN,
    VARIANTS,
    array_of,
    carry_hooks,
    gradients,
    higher_gradients,
    leaf_of,
    observed,
)

__all__ = [
    "ModuleRunner",
    "holding_graphs",
    "in_mode",
    "parameter_names",
    "parameter_shape",
    "stored_shape",
]


class ModuleRunner:
    """Calls a module in one mode, each time a fresh copy; see `backnorm.host.runners`.

    ``named`` has the names of gamma and beta. ``held`` are names of state that required a gradient
    or held a graph, before it was cut off. ``way`` is what `runners` calls a variant. ``origin`` is
    the module with the statistics that it came with.
    """

    can = ("higher", "state", "traces", "overlapped", "others", *VARIANTS)

    def __init__(self, module, named, held=(), way=PLAIN, origin=None):
        self.module, self.named, self.held, self.way = module, named, held, way
        self.origin = module if origin is None else origin
        if takes_mask(type(module).forward):
            self.can = self.can + ("mask",)

    def forward(self, x, gamma, beta):
        """Return y."""
        return self.run(x, gamma, beta, None)["y"]

    def run(self, x, gamma, beta, dy):
        """Return y and the gradients."""
        return self.overlapped(x, gamma, beta, dy, None)

    def overlapped(self, x, gamma, beta, dy, later):
        """Return y and the gradients of a call that another forward pass comes between."""
        module = self._fresh(x)
        leaves = self._fill(module, x, gamma, beta)
        y, found = gradients(_callable(module), leaves, dy, self.way, later)
        dgamma, dbeta = found.get("gamma"), found.get("beta")
        shaped = {"dgamma": shaped_like(gamma, dgamma), "dbeta": shaped_like(beta, dbeta)}
        return dict(shaped, y=y, dx=found.get("x"))

    def masked(self, x, gamma, beta, dy, mask):
        """Return y and the gradients where a mask says what counts."""
        import torch

        module = self._fresh(x)
        leaves = self._fill(module, x, gamma, beta)
        call = functools.partial(_callable(module), mask=torch.from_numpy(mask))
        y, found = gradients(call, leaves, dy, self.way)
        return {"y": y, "dx": found.get("x")}

    def others(self, x, gamma, beta, dy, moved):
        """Return y, and the values and gradients of the parameters beside gamma and beta."""
        import torch

        module = self._fresh(x)
        leaves = self._fill(module, x, gamma, beta)
        others = _others(module, leaves.values())
        with torch.no_grad():
            for name, by in moved.items():
                others[name].add_(torch.from_numpy(by).to(others[name]))
        # A dot is in no name of a leaf, so that a parameter called x is not taken for x.
        named = {"." + name: value for name, value in others.items()}
        y, found = gradients(_callable(module), dict(named, x=leaves["x"]), dy, self.way)
        return {
            "y": y,
            "values": {name: array_of(value) for name, value in others.items()},
            "gradients": {name: found["." + name] for name in others if "." + name in found},
        }

    def higher(self, x, gamma, beta, dy, along):
        """Return the last of the gradients, by autograd."""
        module = self._fresh(x)
        leaves = self._fill(module, x, gamma, beta)
        found = higher_gradients(_callable(module), leaves, dy, along, self.way[3])
        given = {"gamma": gamma, "beta": beta}
        return {role: shaped_like(given.get(role), gradient) for role, gradient in found.items()}

    def traces(self, x, gamma, beta, dy):
        """Return what a call leaves behind."""
        module = self._fresh(x)
        with World() as world:
            leaves = self._fill(module, x, gamma, beta)
            found = observed(_callable(module), leaves, dy, self.way[3])
        return dict(found, changed=found["changed"] + world.changed)

    def state(self):
        """Return buffers, running statistics that are parameters, and plain attributes."""
        return _arrays_of(self.module)

    def given(self):
        """Return the same of the module as it came."""
        return _arrays_of(self.origin)

    def attached(self):
        """Return the names of what in the state requires a gradient or holds a graph."""
        return list(self.held)

    def after(self, steps):
        """Return a runner of the module as it is after some calls."""
        if not steps:
            return self
        module, held = self._fresh(steps[0][0]), list(self.held)
        # Parts that are set to evaluate within a module that trains stay so; a module that is set
        # to evaluate trains with all its parts.
        modes = [(part, part.training or not module.training) for part in module.modules()]
        before = [(part, part.training) for part in module.modules()]
        for x, gamma, beta, dy, train in steps:
            for part, trains in modes:
                part.training = bool(train and trains)
            gradients(_callable(module), self._fill(module, x, gamma, beta), dy, self.way)
            held += [name for name in _cut_off(module) if name not in held]
        for part, training in before:
            part.training = training
        return ModuleRunner(_copied_off(module), self.named, tuple(held), self.way, self.origin)

    def variant(self, dtype, threads, needs_dx):
        """Return a runner that calls in another way."""
        way = (dtype, threads, needs_dx, self.way[3])
        return ModuleRunner(self.module, self.named, self.held, way, self.origin)

    def on(self, device):
        """Return a runner that calls the module on a device."""
        way = self.way[:3] + (device,)
        return ModuleRunner(self.module.to(device), self.named, self.held, way, self.origin)

    def _fresh(self, x):
        """Copy the module into the dtype of x, or the one that is asked for."""
        return _copied(self.module, {}).to(leaf_of(x[:0], self.way[0]).dtype)

    def _fill(self, module, x, gamma, beta):
        """Give the parameters of a module their values; return them, and x."""
        import torch

        leaves = {"x": leaf_of(x, self.way[0], *self.way[2:])}
        for role, value in (("gamma", gamma), ("beta", beta)):
            if role in self.named and value is not None:
                leaf = _part(module, self.named[role])
                with torch.no_grad():
                    leaf.copy_(torch.from_numpy(value).reshape(leaf.shape))
                leaves[role] = leaf.requires_grad_()
        return leaves


def _others(module, leaves):
    """Return the parameters that train and are not among the leaves, by their names."""
    taken = {id(leaf) for leaf in leaves}
    return {
        name: value
        for name, value in module.named_parameters()
        if value.requires_grad and value.is_floating_point() and id(value) not in taken
    }


def _callable(module):
    """Return a function of x alone."""
    modes = _modes(type(module), module.training)
    return functools.partial(module, **modes) if modes else module


@functools.lru_cache(maxsize=64)
@functools.lru_cache(maxsize=64)
def _modes(cls, train):
    """Return the mode arguments of a class: reading a signature took a tenth of a call's time."""
    return mode_arguments(cls.forward, train)


def in_mode(module, train):
    """Copy a module into a mode, with running statistics that no batch has."""
    import torch

    copied = _copied_off(module).train(train)
    for name, buffer in copied.named_buffers():
        role = role_of(name)
        if role.startswith("running_") and buffer.is_floating_point():
            values = defaults.running(role, buffer.numel()).reshape(tuple(buffer.shape))
            with torch.no_grad():
                buffer.copy_(torch.from_numpy(values))
    return copied


def _copied_off(module):
    """Copy a module that was called; what holds a graph is cut off it, or no copy can be made."""
    import torch

    memo = {}

    def note(value):
        if isinstance(value, torch.Tensor) and value.grad_fn is not None:
            memo[id(value)] = value.detach().clone()
        elif isinstance(value, dict):
            for one in value.values():
                note(one)
        elif isinstance(value, (list, tuple)):
            for one in value:
                note(one)

    for part in module.modules():
        note(vars(part))
    return _copied(module, memo)


def _copied(module, memo):
    """Copy a module that holds no graph, except in what ``memo`` has the copies of."""
    copied = deep_copy(module, memo)
    for parameter, twin in zip(module.parameters(), copied.parameters()):
        carry_hooks(parameter, twin, memo)
    return copied


def holding_graphs(module):
    """Return the names of the state of a module that holds a graph."""
    return tuple(name for name, value in _state_of(module).items() if _holds_graph(value))


def _holds_graph(value):
    return getattr(value, "grad_fn", None) is not None


def _arrays_of(module):
    import torch

    return {
        name: torch.as_tensor(value).detach().cpu().double().numpy().copy()
        for name, value in _state_of(module).items()
    }


def _state_of(module):
    """Return what a module keeps beside its parameters, under dotted names."""
    import torch

    found = dict(module.named_buffers())
    trained = module.named_parameters()
    found.update((n, value) for n, value in trained if role_of(n).startswith("running_"))
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if isinstance(value, (torch.Tensor, int, float)) and not isinstance(value, bool):
                found[prefix + "." + name if prefix else name] = value
    return found


def _cut_off(module):
    """Cut the state off any graph, without which no copy can be made; return what had one."""
    import torch

    held = []
    for name, value in _state_of(module).items():
        if isinstance(value, torch.Tensor) and value.requires_grad:
            held.append(name)
            if not isinstance(value, torch.nn.Parameter):
                prefix, _, last = name.rpartition(".")
                setattr(_part(module, prefix), last, value.detach().clone())
    return held


def _part(module, name):
    """Return what stands in a module under a dotted name."""
    return functools.reduce(getattr, filter(None, name.split(".")), module)


def parameter_names(module):
    """Return the names of gamma and beta; where names say nothing, ones and zeros do.

    In a module that holds others, as a convolution and a normalization, the latter's are meant. A
    name says more than zeros do; a value that does not train may be a statistic. Of several in a
    module, the largest is meant: the others are not one value for each channel.
    """
    found = {"gamma": [], "beta": []}
    for name, value in module.named_parameters():
        if value.dim() and not _mixes(_owner(module, name)):
            named = role_of(name)
            if not named and not value.requires_grad:
                continue
            rank = (_in_norm(module, name), bool(named), value.numel())
            found.setdefault(named or _role_by_value(value), []).append((rank, name))
    by_name = sorted(("gamma", "beta"), key=lambda role: not any(r[1] for r, _ in found[role]))
    best, size = {}, None
    for role in by_name:
        # What zeros or ones tell has as many values as the other, or it is a third parameter.
        fits = [one for one in found[role] if size is None or one[0][1] or one[0][2] == size]
        if fits:
            (_, _, size), best[role] = max(fits, key=lambda one: one[0])
    return {role: best[role] for role in ("gamma", "beta") if role in best}


def _owner(module, name):
    return _part(module, name.rpartition(".")[0])


def _mixes(owner):
    """Whether a module's weights mix channels, or stand for words."""
    from torch import nn

    return isinstance(owner, (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.Embedding))


def _in_norm(module, name):
    return "norm" in type(_owner(module, name)).__name__.lower()


def _role_by_value(value):
    if value.numel() and bool((value == 1).all()):
        return "gamma"
    return "beta" if bool((value == 0).all()) else ""


def stored_shape(module):
    """Return the shape that a module says its parameters have; empty where it says nothing."""
    for name in parameter_names(module).values():
        return tuple(_part(module, name).shape)
    for name, buffer in module.named_buffers():
        if role_of(name).startswith("running_"):
            return tuple(buffer.shape)
    for name, value in vars(module).items():
        if role_of(name) == "channels" and isinstance(value, (int, tuple)):
            return (value,) if isinstance(value, int) else tuple(value)
    return ()


def parameter_shape(kind, stored):
    """Return the shape of gamma without axes of length 1, as in (1, C, 1, 1)."""
    if not stored:
        return (defaults.CHANNELS[kind],)
    if kind in ("layer", "rms"):
        return tuple(length for length in stored if length != 1) or (1,)
    return (int(np.prod(stored)),)
