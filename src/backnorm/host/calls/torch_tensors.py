"""Between arrays and tensors of PyTorch: what a callable returned, and the gradients of it.

Plain: see `backnorm.host.specs`.
"""

import contextlib
import copy
import functools

import numpy as np

from ..runners import first_of

__all__ = [
    "PLAIN",
    "VARIANTS",
    "alike",
    "array_of",
    "carry_hooks",
    "gradients",
    "higher_gradients",
    "hooked",
    "leaf_of",
    "observed",
    "tensor_of",
]

VARIANTS = ("float16", "bfloat16", "threads", "needs_dx")
"""Ways to run anything of PyTorch."""

PLAIN = ("", 1, True, "")
"""The way where nothing else is said: the dtype of the arrays, one thread, x needs a gradient, on
the CPU.

On inputs this small a second thread only waits. With both cores busy it waited ten times as long as
the audit took (36 s for 3 s, PyTorch 2.13).
"""


def gradients(call, leaves, dy, way, later=None):
    """Return y and the gradients by the leaves; y alone without a dy, or without leaves.

    Before the backward pass there is a forward pass on the array ``later``, if there is such.
    """
    import torch

    with alike(way[1], 0, way[3]):
        # With gradients also where only y is wanted: some layers take their absence for evaluation.
        # What works in place must not meet the leaf itself.
        y = first_of(call(leaves["x"].clone()))
        if dy is None or not isinstance(y, torch.Tensor):
            return array_of(y), {}
        if tuple(y.shape) != dy.shape or not y.requires_grad:
            return array_of(y), {}
        wanted = {role: leaf for role, leaf in leaves.items() if leaf.requires_grad}
        upstream = tensor_of(dy).to(y)
        # The values as they are now: a backward pass may work in the memory of y.
        value = array_of(y)
        if later is not None:
            call(leaf_of(later, way[0], True, way[3]).clone())
        end = _paired().apply(y, upstream)
        found = torch.autograd.grad(end, list(wanted.values()), allow_unused=True)
    pairs = [(role, hooked(wanted[role], g)) for role, g in zip(wanted, found) if g is not None]
    reached = {role: array_of(g) for role, g in pairs}
    return value, reached if "x" in wanted else dict(reached, x=np.zeros_like(value))


@functools.lru_cache(maxsize=1)
def _paired():
    """Return the function from y and dy to a number whose gradients by the two are dy and y.

    Given a dy, `grad` loads the rules of symbolic shapes to compare it with y: half a second, which
    is as long as many an audit takes.
    """
    import torch

    class Paired(torch.autograd.Function):
        @staticmethod
        def forward(ctx, y, dy):
            # A backward pass may work in the memory of y, which is kept where it is needed alone.
            ctx.save_for_backward(dy, *[y][: ctx.needs_input_grad[1]])
            return torch.zeros((), device=y.device)

        @staticmethod
        def backward(ctx, _):
            return (*ctx.saved_tensors, None)[:2]

    return Paired


def hooked(leaf, gradient):
    """Return a gradient as those hooks of its leaf leave it that run once it is accumulated.

    `grad` accumulates nothing, and runs only the hooks of ``register_hook``. A hook that takes the
    gradient away, as an optimizer in the backward pass does, has used it as it was.
    """
    import torch

    hooks = getattr(leaf, "_post_accumulate_grad_hooks", None)
    if not hooks:
        return gradient
    leaf.grad = gradient.clone()
    with torch.no_grad():
        for hook in list(hooks.values()):
            hook(leaf)
    left, leaf.grad = leaf.grad, None
    return gradient if left is None else left


def carry_hooks(tensor, twin, memo):
    """Register the hooks of a leaf with its copy, which a deep copy leaves out.

    ``memo`` is that of the copy: a hook that is a method is that of the copied object then.
    """
    for kept, register in (
        ("_backward_hooks", "register_hook"),
        ("_post_accumulate_grad_hooks", "register_post_accumulate_grad_hook"),
    ):
        for hook in (getattr(tensor, kept, None) or {}).values():
            before = twin.requires_grad
            getattr(twin.requires_grad_(), register)(copy.deepcopy(hook, memo))
            twin.requires_grad_(before)


def higher_gradients(call, leaves, dy, along, device=""):
    """Return the last of the gradients by the leaves and dy; empty without a graph."""
    import torch

    with alike(1, 0, device):
        y, x = first_of(call(leaves["x"].clone())), leaves["x"]
        upstream = tensor_of(dy).to(y).requires_grad_()
        slope, weights = y, upstream
        for direction in along:
            end = _paired().apply(slope, weights)
            (slope,) = torch.autograd.grad(end, x, create_graph=True, allow_unused=True)
            if slope is None or not slope.requires_grad:
                return {}
            weights = tensor_of(direction).to(slope)
        wanted = dict(leaves, dy=upstream)
        for leaf in wanted.values():
            leaf.grad = None
        # `grad` goes only where it must to reach the leaves: a function that refuses to be
        # differentiated twice lies elsewhere, and would not be heard.
        torch.autograd.backward(_paired().apply(slope, weights))
    return {role: array_of(leaf.grad) for role, leaf in wanted.items() if leaf.grad is not None}


def observed(call, leaves, dy, device=""):
    """Return what a call leaves behind: arrays that it overwrites, and whether it seeds numbers.

    "random" says whether the call draws random numbers, which `alike` holds fixed.

    A layer that works in place by design tells autograd so, and returns y in the memory of x: that
    x is overwritten is then agreed.
    """
    import torch

    states, names, random = [], [], False
    for seed in (1, 2):
        with alike(1, seed, device):
            begin = _random_state(device)
            x = leaves["x"].clone()
            y = first_of(call(x))
            names = [] if _in_place(x, y) else _overwritten({"x": (x, leaves["x"])})
            if isinstance(y, torch.Tensor) and y.requires_grad and tuple(y.shape) == dy.shape:
                upstream = tensor_of(dy).to(y).contiguous()
                wanted = [leaf for leaf in leaves.values() if leaf.requires_grad]
                end = _paired().apply(y, upstream)
                torch.autograd.grad(end, wanted, allow_unused=True)
                names += _overwritten({"dy": (upstream, tensor_of(dy).to(y))})
            states.append(_random_state(device))
            random = random or not torch.equal(begin, states[-1])
    seeds = torch.equal(*states)
    changed = ["the random state of PyTorch"] if seeds else []
    return {"overwritten": names, "changed": changed, "random": random}


def _in_place(x, y):
    """Whether y lies in the memory of x, and autograd knows that x was changed."""
    import torch

    return isinstance(y, torch.Tensor) and y.data_ptr() == x.data_ptr() and x._version > 0


def _overwritten(pairs):
    """Return the names of tensors that differ from what they were."""
    unlike = {name: (now != before) & ~before.isnan() for name, (now, before) in pairs.items()}
    return [name for name, where in unlike.items() if bool(where.any())]


def tensor_of(array):
    """Return a tensor with the array's order in memory, which shares no memory with it.

    An axis along which the array repeats itself (of stride 0) is one of the tensor, too.
    """
    import torch

    first = tuple(slice(0, 1) if step == 0 else slice(None) for step in array.strides)
    return torch.from_numpy(np.array(array[first], order="K")).expand(array.shape)


def leaf_of(array, dtype="", needs_gradient=True, device=""):
    """Return a tensor that floats, and whose gradient may be asked for, in the dtype that is."""
    import torch

    tensor = tensor_of(array)
    tensor = tensor.to(device) if device else tensor
    if not tensor.is_floating_point():
        return tensor
    return tensor.to(getattr(torch, dtype) if dtype else tensor.dtype).requires_grad_(
        needs_gradient
    )


@contextlib.contextmanager
def alike(threads, seed=0, device=""):
    """Let calls be alike: the same random numbers, and so many threads; then restore both."""
    import torch

    generator, owner = torch.default_generator, _owner_of_numbers(device)
    state, before = generator.get_state(), torch.get_num_threads()
    there = owner.get_rng_state(device) if owner else None
    generator.manual_seed(seed)
    if owner:
        owner.manual_seed(seed)
    torch.set_num_threads(threads)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(before)
        generator.set_state(state)
        if owner:
            owner.set_rng_state(there, device)


def _random_state(device):
    """Return the states of the generators of random numbers, of the CPU and of a device."""
    import torch

    owner, state = _owner_of_numbers(device), torch.default_generator.get_state()
    return torch.cat([state, owner.get_rng_state(device)]) if owner else state


def _owner_of_numbers(device):
    """Return the module of PyTorch that has the random numbers of a device; None for the CPU's."""
    import torch

    kind = device.partition(":")[0]
    return None if kind in ("", "cpu") else getattr(torch, kind)


def array_of(tensor):
    """Return an array; an object that is not a tensor is returned unchanged."""
    import torch

    if not isinstance(tensor, torch.Tensor):
        return tensor
    tensor = tensor.detach().cpu()
    # NumPy has no bfloat16; float32 holds all of its values.
    half = tensor.is_floating_point() and tensor.dtype != torch.float64
    return (tensor.float() if half else tensor).numpy().copy()
