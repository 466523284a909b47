"""What else happens when a module is called: hooks, and a forward that was replaced."""

from __future__ import annotations

from typing import Any, Final

from torch import nn
from torch.nn.modules import module as torch_module

__all__ = ["has_hooks", "hears_every_call", "is_bare", "is_identity", "remove_all"]

HOOKS: Final = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

# As they are when backnorm is imported: a profiler, say, may replace them later.
CALL: Final[Any] = nn.Module.__call__
CALL_IMPL: Final[Any] = nn.Module._call_impl  # noqa: SLF001 - what __call__ runs
IDENTITY: Final[Any] = nn.Identity.forward


def has_hooks(module: nn.Module) -> bool:
    """Whether hooks run when a module is called."""
    return any(vars(module)[kind] for kind in HOOKS)


def is_bare(module: nn.Module) -> bool:
    """Whether a call of a module runs the forward of its class and nothing else."""
    called = type(module).__call__ is CALL and type(module)._call_impl is CALL_IMPL  # noqa: SLF001
    return called and "forward" not in vars(module) and not has_hooks(module)


def is_identity(module: Any) -> bool:
    """Whether a module returns its input, and nothing else happens in its call."""
    identity = type(module) is nn.Identity and nn.Identity.forward is IDENTITY
    return identity and is_bare(module)


def hears_every_call() -> bool:
    """Whether hooks, or something in place of PyTorch's code, run when any module is called."""
    if nn.Module.__call__ is not CALL or nn.Module._call_impl is not CALL_IMPL:  # noqa: SLF001
        return True
    return torch_module._has_any_global_hook()  # type: ignore[no-any-return,no-untyped-call] # noqa: SLF001 - PyTorch asks it


def remove_all(model: nn.Module) -> None:
    """Remove every hook of a model's modules."""
    for module in model.modules():
        for kind in HOOKS:
            vars(module)[kind].clear()
