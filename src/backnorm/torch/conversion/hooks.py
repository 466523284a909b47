"""What else happens when a module is called: hooks, and a forward that was replaced."""

from __future__ import annotations

from typing import Final

from torch import nn
from torch.nn.modules import module as torch_module

__all__ = ["has_hooks", "hears_every_call", "is_bare", "is_identity", "remove_all"]

HOOKS: Final = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def has_hooks(module: nn.Module) -> bool:
    """Whether hooks run when a module is called."""
    return any(vars(module)[kind] for kind in HOOKS)


def is_bare(module: nn.Module) -> bool:
    """Whether a call of a module runs the forward of its class and nothing else."""
    return "forward" not in vars(module) and not has_hooks(module)


def is_identity(module: nn.Module | None) -> bool:
    """Whether a module returns its input, and nothing else happens in its call."""
    return type(module) is nn.Identity and is_bare(module)


def hears_every_call() -> bool:
    """Whether hooks run when any module is called."""
    return torch_module._has_any_global_hook()  # type: ignore[no-any-return,no-untyped-call] # noqa: SLF001 - PyTorch asks it


def remove_all(model: nn.Module) -> None:
    """Remove every hook of a model's modules."""
    for module in model.modules():
        for kind in HOOKS:
            vars(module)[kind].clear()
