"""Makes PyTorch known to the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from backnorm.audit.subjects.adapter import Adapter, Request
from backnorm.audit.subjects.registry import register
from backnorm.torch._layers import torch_layers
from backnorm.torch._subjects import make_subjects

if TYPE_CHECKING:
    from backnorm.audit.subject import Subject
    from backnorm.audit.subjects.adapter import Calls

__all__ = ["ADAPTER"]


def recognises(candidate: object) -> bool:
    """Whether an object is a module, a class of modules, or a function."""
    if isinstance(candidate, type):
        return issubclass(candidate, nn.Module | torch.autograd.Function)
    return isinstance(candidate, nn.Module) or hasattr(candidate, "__name__")


def layers(calls: Calls) -> tuple[Subject, ...]:
    """Make subjects of all normalization layers of torch."""
    return tuple(
        subject
        for name, module in torch_layers()
        for subject in make_subjects(module, Request(calls=calls, name=name))
    )


ADAPTER = Adapter("torch", recognises, make_subjects, layers)

register(ADAPTER)
