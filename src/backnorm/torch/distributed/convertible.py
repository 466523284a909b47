"""What can become a `SyncBatchNorm`, and in which modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _LazyNormBase
from torch.nn.utils.parametrize import is_parametrized

from backnorm import _check
from backnorm.errors import NotSupportedError, RangeError
from backnorm.torch.engine import modules

if TYPE_CHECKING:
    from backnorm._types import Synchronize

__all__ = ["NORMS", "check_class", "check_mode", "reduces"]

ACTING: Final = (modules.BatchNormAct1d, modules.BatchNormAct2d, modules.BatchNormAct3d)
NORMS: Final = (_BatchNorm, modules._Engine)


def check_mode(synchronize: Synchronize, group_size: int | None, *, reduces: bool) -> int | None:
    """Return the size of groups, None for other modes."""
    _check.name_of("synchronize", synchronize, _check.SYNCHRONIZE)
    if reduces and synchronize != "layer":
        raise RangeError.reduces_in_layers(synchronize)
    if synchronize == "group":
        return _check.whole_number(group_size, 1, RangeError.group_size)
    if group_size is not None:
        raise RangeError.size_without_groups(synchronize, group_size)
    return None


def reduces(layer: nn.Module) -> bool:
    """Whether gradients of parameters are those of all ranks."""
    return bool(getattr(layer, "reduce_parameters", False))


def check_class(layer: nn.Module, own: type) -> None:
    """Raise an error if a layer would compute something else as a SyncBatchNorm."""
    cls = type(layer)
    if isinstance(layer, _LazyNormBase):
        raise NotSupportedError.lazy(cls.__name__)
    if is_parametrized(layer):
        raise NotSupportedError.parametrized(cls.__name__)
    stock = (_BatchNorm.forward, nn.SyncBatchNorm.forward, modules.BatchNorm2d.forward)
    known = cls.forward in stock or cls in ACTING or issubclass(cls, own)
    if not known or "forward" in vars(layer):
        raise NotSupportedError.unknown_forward(cls.__name__)
