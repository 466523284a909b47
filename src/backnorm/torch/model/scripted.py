"""Parts of a model that TorchScript compiled: it calls their layers itself, not in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from backnorm.host.names import kind_in, names_a_norm, role_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from backnorm.audit.kinds import Kind

__all__ = ["SCRIPTED", "is_scripted", "scripted_layers"]

SCRIPTED: Final = "it is compiled by TorchScript, so that the audit cannot record its calls"
"""Why a layer was not judged."""


def is_scripted(module: nn.Module) -> bool:
    """Whether TorchScript compiled a module, by a script or by a trace."""
    return isinstance(module, torch.jit.ScriptModule)


def scripted_layers(model: nn.Module) -> Iterator[tuple[str, Kind]]:
    """Yield the name and the kind of each normalization layer in the compiled parts of a model.

    A compiled module keeps the name of its class, its parameters and its buffers.
    """
    for name, module in model.named_modules():
        if not is_scripted(module):
            continue
        original = str(getattr(module, "original_name", ""))
        buffers = (role_of(key) for key, _ in module.named_buffers(recurse=False))
        parameters = {role_of(key) for key, _ in module.named_parameters(recurse=False)}
        has_statistics = any(role.startswith("running_") for role in buffers)
        is_affine = {"gamma", "beta"} <= parameters and _has_vectors_only(module)
        if names_a_norm(original) == "ends" or has_statistics or is_affine:
            yield name, kind_in(original) or "batch"


def _has_vectors_only(module: nn.Module) -> bool:
    return all(p.numel() == max(p.shape, default=1) for p in module.parameters())
