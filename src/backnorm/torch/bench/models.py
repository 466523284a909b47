"""Networks to train: ResNet-18, ResNet-50 and MobileNetV2, with a choice of normalization.

`parts` makes the layers that normalize and activate. Everything else is the same for each choice,
the names in state_dict too, so the weights of one network load into another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from torch import Tensor, nn

from backnorm import _check
from backnorm.kernels.activations import INVERTIBLE
from backnorm.torch.conversion.activations import SPELLINGS
from backnorm.torch.engine.modules import BatchNorm2d, BatchNormAct2d

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import Activation

__all__ = ["ACTIVATION", "MODELS", "NORMS", "NetworkParts", "build", "parts"]

Norm = Literal["stock", "fused", "none"]

NORMS: Final = ("stock", "fused", "none")

ACTIVATION: Final[dict[str, Activation]] = {
    "resnet18": "relu",
    "resnet50": "relu",
    "mobilenetv2": "relu6",
}
"""The activation that each network was published with."""


@dataclass(frozen=True)
class NetworkParts:
    """Constructors of the layers of a network other than convolutions.

    Attributes
    ----------
    norm
        Takes the number of channels: a normalization without an activation after it.
    norm_before_act
        Takes the number of channels: a normalization with an activation after it.
    act
        The activation after it; an identity if `norm_before_act` computes the activation.
    adds
        Whether `norm_before_act` takes a residual as its second argument.
    """

    norm: Callable[[int], nn.Module]
    norm_before_act: Callable[[int], nn.Module]
    act: Callable[[], nn.Module]
    adds: bool = False


def parts(norm: Norm, activation: Activation, *, inplace: bool = False) -> NetworkParts:
    """Return stock layers, backnorm's with the activation in the same pass, or no normalization.

    Parameters
    ----------
    norm
        "stock": torch.nn. "fused": backnorm.torch. "none": no normalization, activations stay.
    activation
        "relu", "relu6" or "leaky_relu".
    inplace
        Whether stock activations overwrite their input; with "fused" normalizations do, if the
        activation has an inverse.

    Returns
    -------
    NetworkParts
        The constructors.

    Examples
    --------
    >>> from backnorm.torch.bench.models import parts
    >>> parts("fused", "relu").act(), parts("fused", "relu").adds
    (Identity(), True)
    """
    _check.name_of("norm", norm, NORMS)
    _check.name_of("activation", activation, tuple(SPELLINGS))
    act = partial(SPELLINGS[activation].module, inplace=inplace)
    if norm == "stock":
        return NetworkParts(nn.BatchNorm2d, nn.BatchNorm2d, act)
    if norm == "none":
        return NetworkParts(nn.Identity, nn.Identity, act)
    overwrites = inplace and activation in INVERTIBLE
    fused = partial(BatchNormAct2d, activation=activation, inplace=overwrites)
    plain = partial(BatchNormAct2d, activation="identity", inplace=True)
    return NetworkParts(plain if overwrites else BatchNorm2d, fused, nn.Identity, adds=True)


def _conv(c_in: int, c_out: int, side: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, side, stride, side // 2, groups=groups, bias=False)


class _Block(nn.Module):
    """A residual block: convolutions, each normalized, and the activation after the sum."""

    def __init__(self, of: NetworkParts, widths: list[int], sides: list[int], stride: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        # The stride is in the first 3x3 convolution, as in torchvision; in the paper in the 1x1.
        strided = sides.index(3)
        for i, side in enumerate(sides[:-1]):
            conv = _conv(widths[i], widths[i + 1], side, stride if i == strided else 1)
            steps += [conv, of.norm_before_act(widths[i + 1]), of.act()]
        self.inner = nn.Sequential(*steps, _conv(widths[-2], widths[-1], sides[-1]))
        self.norm = of.norm_before_act(widths[-1])
        self.act = of.act()
        self.adds = of.adds
        changes = stride > 1 or widths[0] != widths[-1]
        projection = [_conv(widths[0], widths[-1], 1, stride), of.norm(widths[-1])]
        self.shortcut = nn.Sequential(*projection) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return act(norm(inner(x)) + shortcut(x))."""
        y = self.inner(x)
        if self.adds:
            return self.act(self.norm(y, self.shortcut(x)))  # type: ignore[no-any-return]
        y = self.norm(y)
        y += self.shortcut(x)
        return self.act(y)  # type: ignore[no-any-return]


def _resnet(of: NetworkParts, blocks: list[int], sides: list[int], growth: int) -> nn.Sequential:
    """Source: He et al. 2015, table 1; `growth` is a block's output width over its inner width."""
    stem = [_conv(3, 64, 7, 2), of.norm_before_act(64), of.act(), nn.MaxPool2d(3, 2, 1)]
    layers: list[nn.Module] = [*stem]
    c = 64
    for stage, count in enumerate(blocks):
        inner = 64 * 2**stage
        widths = [inner] * (len(sides) - 1) + [inner * growth]
        for i in range(count):
            layers.append(_Block(of, [c, *widths], sides, 2 if stage and not i else 1))
            c = widths[-1]
    return _classifier(layers, c)


def _classifier(layers: list[nn.Module], c: int, classes: int = 1000) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, classes))


class _Inverted(nn.Module):
    """MobileNetV2's block: widen, filter each channel, narrow, add; no activation after the sum."""

    def __init__(self, of: NetworkParts, c_in: int, c_out: int, stride: int, widening: int) -> None:
        super().__init__()
        c = c_in * widening
        steps: list[nn.Module] = []
        if widening > 1:
            steps += [_conv(c_in, c, 1), of.norm_before_act(c), of.act()]
        steps += [_conv(c, c, 3, stride, c), of.norm_before_act(c), of.act()]
        self.inner = nn.Sequential(*steps, _conv(c, c_out, 1), of.norm(c_out))
        self.adds = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """Return inner(x), plus x where their shapes agree."""
        y: Tensor = self.inner(x)
        return x + y if self.adds else y


# Expansion, channels, blocks, stride of the first. Source: Sandler et al. 2018, table 2.
_BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _mobilenetv2(of: NetworkParts) -> nn.Sequential:
    """Build it without dropout, whose random numbers would make two runs differ."""
    layers: list[nn.Module] = [_conv(3, 32, 3, 2), of.norm_before_act(32), of.act()]
    c = 32
    for widening, c_out, count, stride in _BOTTLENECKS:
        for i in range(count):
            layers.append(_Inverted(of, c, c_out, 1 if i else stride, widening))
            c = c_out
    return _classifier([*layers, _conv(c, 1280, 1), of.norm_before_act(1280), of.act()], 1280)


MODELS: Final[dict[str, Callable[[NetworkParts], nn.Sequential]]] = {
    "resnet18": partial(_resnet, blocks=[2, 2, 2, 2], sides=[3, 3], growth=1),
    "resnet50": partial(_resnet, blocks=[3, 4, 6, 3], sides=[1, 3, 1], growth=4),
    "mobilenetv2": _mobilenetv2,
}


def build(
    model: str,
    norm: Norm = "stock",
    *,
    activation: Activation | None = None,
    inplace: bool = False,
) -> nn.Sequential:
    """Return a network for images (N, 3, H, W) and 1000 classes, with random weights.

    Parameters
    ----------
    model
        "resnet18", "resnet50" or "mobilenetv2".
    norm, inplace
        As in `parts`.
    activation
        None for the activation that the network was published with.

    Returns
    -------
    torch.nn.Sequential
        In training mode.

    Notes
    -----
    Source: He et al. 2015, "Deep Residual Learning for Image Recognition", table 1; Sandler et al.
    2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2. Convolutions are drawn
    as by He et al. 2015, "Delving Deep into Rectifiers".

    Examples
    --------
    >>> from backnorm.torch.bench.models import build
    >>> sum(parameter.numel() for parameter in build("resnet18").parameters())
    11689512
    """
    _check.name_of("model", model, tuple(MODELS))
    network = MODELS[model](parts(norm, activation or ACTIVATION[model], inplace=inplace))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return network
