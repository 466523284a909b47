"""Networks to train as timm publishes them."""

from __future__ import annotations

from typing import Final

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from backnorm.errors import NotInstalledError

__all__ = ["ACTIVATION", "MODELS", "build", "without_normalization"]

MODELS: Final = ("efficientnet_b0", "convnext_atto")
"""ConvNeXt has batch normalization in place of its layer normalization, but none in its head."""

ACTIVATION: Final = {
    "efficientnet_b0": "silu",
    "convnext_atto": "identity",
}
"""The activation after the normalizations; in ConvNeXt a convolution follows them."""


def build(model: str) -> nn.Module:
    """Return a network for images (N, 3, H, W) and 1000 classes, with random weights.

    Parameters
    ----------
    model
        A name in `MODELS`.

    Returns
    -------
    torch.nn.Module
        In training mode, without dropout, whose random numbers would make two runs differ.

    Raises
    ------
    NotInstalledError
        Without timm.
    """
    try:
        import timm  # noqa: PLC0415 - no other network needs it
    except ImportError:
        raise NotInstalledError.package("timm", "architectures", f"--model {model}") from None
    if model == "convnext_atto":
        convnext: nn.Module = timm.create_model(model, norm_layer=nn.BatchNorm2d, conv_mlp=True)
        # Behind the pooling a channel of one image has one value, which has no variance.
        convnext.get_submodule("head").add_module("norm", nn.Identity())
        return convnext
    network: nn.Module = timm.create_model(model)
    return network


def without_normalization(network: nn.Module) -> nn.Module:
    """Return the network with its normalizations taken out; their activations stay."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(module, name, getattr(child, "act", nn.Identity()))
    return network
