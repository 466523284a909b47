"""A layer that computes an activation as a layer and an activation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from torch import nn

from backnorm.errors import DtypeError
from backnorm.kernels.activations import ACTIVATIONS
from backnorm.torch.conversion.activations import SPELLINGS
from backnorm.torch.engine import modules

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["unfused"]

PLAIN: Final[Mapping[type[nn.Module], type[nn.Module]]] = {
    modules.BatchNormAct1d: modules.BatchNorm1d,
    modules.BatchNormAct2d: modules.BatchNorm2d,
    modules.BatchNormAct3d: modules.BatchNorm3d,
}

SETTINGS: Final = ("eps", "momentum", "affine", "track_running_stats")


def unfused(layer: Any) -> nn.Sequential:
    """Return a normalization and an activation that compute together what a layer computes.

    Tools that replace or fold batch normalizations know such layers, and not the ones that compute
    an activation too.

    Parameters
    ----------
    layer
        A `BatchNormAct1d`, `BatchNormAct2d` or `BatchNormAct3d`; it does not change.

    Returns
    -------
    torch.nn.Sequential
        A `BatchNorm1d`, `BatchNorm2d` or `BatchNorm3d` with the parameters and buffers of the
        layer, without its hooks, and PyTorch's activation. It takes no residual.

    Raises
    ------
    DtypeError
        If layer is of another class.

    Examples
    --------
    >>> from torch import nn
    >>> from backnorm.torch import BatchNormAct2d, unfused
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), BatchNormAct2d(8))
    >>> model[1] = nn.SyncBatchNorm.convert_sync_batchnorm(unfused(model[1]))
    >>> [type(part).__name__ for part in model[1]]
    ['SyncBatchNorm', 'ReLU']
    """
    cls: Any = PLAIN.get(type(layer))
    if cls is None:
        raise DtypeError.not_of_classes("layer", layer, [c.__name__ for c in PLAIN])
    norm: Any = cls(layer.num_features, device="meta", through=layer.through, sums=layer.sums)
    for name in SETTINGS:
        setattr(norm, name, getattr(layer, name))
    # The same tensors in other dictionaries: what is registered in one layer is not in the other.
    vars(norm).update({name: dict(vars(layer)[name]) for name in ("_parameters", "_buffers")})
    parts, act = [norm], layer.activation
    if act != "identity":
        slope = (layer.negative_slope,) if ACTIVATIONS[act].has_slope else ()
        parts.append(SPELLINGS[act].module(*slope))
    return nn.Sequential(*parts).train(layer.training)
