"""Modules of torch.nn that normalize by the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from backnorm import _check
from backnorm.errors import NotSupportedError, RangeError
from backnorm.kernels import activations
from backnorm.torch.engine import tools, usual
from backnorm.torch.engine.functional import batch_norm

if TYPE_CHECKING:
    from backnorm._types import Activation, SumLaw, Through

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "BatchNormAct1d",
    "BatchNormAct2d",
    "BatchNormAct3d",
    "FrozenBatchNorm2d",
]


_is_compiling = torch.compiler.is_compiling


class _Engine(_NormBase):
    """The common forward pass: what the base in torch.nn computes, by the engine."""

    through: Through = "both"
    """Which statistics the gradient goes through; of the class for layers that were converted."""

    sums: SumLaw = "float64"
    """How sums are taken."""

    def __init__(
        self,
        num_features: int,
        *arguments: Any,
        through: Through = "both",
        sums: SumLaw = "float64",
        **others: Any,
    ) -> None:
        super().__init__(num_features, *arguments, **others)
        _check.name_of("sums", sums, _check.SUMS)
        if sums != "float64":
            self.sums = sums
        _check.name_of("through", through, _check.THROUGHS)
        if through != "both":
            self.through = through

    def _normalize(self, x: torch.Tensor, **extras: Any) -> torch.Tensor:
        if tools.is_traced(x):
            return tools.call_in_graph(  # type: ignore[no-any-return]
                self, x, extras.get("residual"), extras.get("mask")
            )
        if tools.is_program_made():
            tools.name_as_stock(self)
        self._check_input_dim(x)
        weight, bias = _held(self, "_parameters", "weight"), _held(self, "_parameters", "bias")
        running_mean = _held(self, "_buffers", "running_mean")
        running_var = _held(self, "_buffers", "running_var")
        training, momentum = self.training, self.momentum
        if training and self.track_running_stats:
            momentum = self._count(momentum)
        elif training:
            running_mean = running_var = None
        return batch_norm(
            x,
            running_mean,
            running_var,
            weight,
            bias,
            training or (running_mean is None and running_var is None),
            0.0 if momentum is None else momentum,
            self.eps,
            through=self.through,
            sums=self.sums,
            **extras,
        )

    def __prepare_scriptable__(self) -> nn.Module:
        """Refuse torch.jit.script, which asks for a module that it can compile."""
        raise NotSupportedError.script(type(self).__name__)

    def _count(self, momentum: float | None) -> float | None:
        """Count a batch, and return its weight in the running statistics."""
        batches = self.num_batches_tracked
        if batches is None:
            return momentum
        batches.add_(1)
        return 1.0 / float(batches) if momentum is None else momentum


def _held(module: nn.Module, where: str, name: str) -> Any:
    """Return getattr(module, name) without its search, which takes half a microsecond."""
    held = module.__dict__[where]
    return held[name] if name in held else getattr(module, name)


class _Plain(_Engine):
    """Without an activation."""

    def forward(
        self,
        input: torch.Tensor,  # noqa: A002 - the name in torch.nn
        residual: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return y of what counts, with the residual added."""
        if residual is not None or mask is not None:
            return self._normalize(input, residual=residual, mask=mask)
        if not _is_compiling():
            y: torch.Tensor | None = usual.layer(self, input)
            if y is not None:
                return y
        return self._normalize(input)

    def extra_repr(self) -> str:
        """Return the arguments of the constructor."""
        return f"{super().extra_repr()}{_laws(self)}"


class _Act(_Engine):
    """With an activation, and with a residual if forward is given one.

    It is not a subclass of torch.nn.BatchNorm2d: tools that put another class in the place of that
    one, such as convert_sync_batchnorm, would lose the activation.
    """

    def __init__(
        self,
        num_features: int,
        *arguments: Any,
        activation: Activation = "relu",
        negative_slope: float = 0.01,
        inplace: bool = False,
        **others: Any,
    ) -> None:
        super().__init__(num_features, *arguments, **others)
        _check.name_of("activation", activation, activations.NAMES)
        if inplace and activation not in activations.INVERTIBLE:
            raise RangeError.not_in_place(activation, activations.INVERTIBLE, has_residual=False)
        self.activation: Activation = activation
        self.negative_slope = _check.slope(negative_slope)
        self.inplace = inplace

    def forward(
        self,
        input: torch.Tensor,  # noqa: A002 - the name in torch.nn
        residual: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return y of what counts, with the residual added before the activation."""
        return self._normalize(
            input,
            activation=self.activation,
            negative_slope=self.negative_slope,
            residual=residual,
            inplace=self.inplace and residual is None,
            mask=mask,
        )

    def extra_repr(self) -> str:
        """Return the arguments of the constructor."""
        has_slope = activations.ACTIVATIONS[self.activation].has_slope
        slope = f", negative_slope={self.negative_slope}" * has_slope
        inplace = ", inplace=True" * self.inplace
        return f"{super().extra_repr()}, activation={self.activation}{slope}{inplace}{_laws(self)}"


def _laws(layer: _Engine) -> str:
    through = "" if layer.through == "both" else f", through={layer.through}"
    return through + ("" if layer.sums == "float64" else f", sums={layer.sums}")


class BatchNorm1d(_Plain, nn.BatchNorm1d):
    """torch.nn.BatchNorm1d by the engine: (N, C) or (N, C, L); same arguments, state and errors.

    `through` and `sums` are two more arguments, see `BatchNormAct2d`.
    """

    stock = nn.BatchNorm1d


class BatchNorm2d(_Plain, nn.BatchNorm2d):
    """torch.nn.BatchNorm2d by the engine: (N, C, H, W); same arguments, state and errors.

    `through` and `sums` are two more arguments, see `BatchNormAct2d`.
    """

    stock = nn.BatchNorm2d


class BatchNorm3d(_Plain, nn.BatchNorm3d):
    """torch.nn.BatchNorm3d by the engine: (N, C, D, H, W); same arguments, state and errors.

    `through` and `sums` are two more arguments, see `BatchNormAct2d`.
    """

    stock = nn.BatchNorm3d


class BatchNormAct1d(_Act):
    """`BatchNorm1d` with an activation in the same pass; see `BatchNormAct2d`."""

    _check_input_dim = nn.BatchNorm1d._check_input_dim


class BatchNormAct2d(_Act):
    """`BatchNorm2d` with an activation in the same pass, and a residual added before it.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype
        As in torch.nn.BatchNorm2d.
    activation
        One of `backnorm.kernels.activations.NAMES`.
    negative_slope
        Slope of leaky_relu below 0.
    inplace
        Whether y takes the memory of the input; see `batch_norm`.
    through
        Which statistics the gradient goes through in training: "both"; or "mean", "variance" or
        "none" for the gradient of an implementation that treats the others as constants.
    sums
        How sums are taken, see `batch_norm`.

    Notes
    -----
    It is not a subclass of torch.nn.BatchNorm2d; `unfused` makes a Sequential of such a layer and
    an activation from it.

    Examples
    --------
    >>> import torch
    >>> from backnorm.torch import BatchNormAct2d
    >>> layer = BatchNormAct2d(1)
    >>> x = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1)
    >>> layer(x, residual=torch.ones_like(x)).round(decimals=3).flatten().tolist()
    [0.0, 2.0]
    """

    _check_input_dim = nn.BatchNorm2d._check_input_dim


class BatchNormAct3d(_Act):
    """`BatchNorm3d` with an activation in the same pass; see `BatchNormAct2d`."""

    _check_input_dim = nn.BatchNorm3d._check_input_dim


tools.let_fuse((BatchNorm1d, BatchNorm2d, BatchNorm3d))


class FrozenBatchNorm2d(nn.Module):
    """Batch normalization by constants: weight, bias and statistics are buffers that never change.

    Parameters
    ----------
    num_features
        Number of channels.
    eps
        Added to the variance. [x]^2

    Notes
    -----
    State: weight, bias, running_mean and running_var; a checkpoint of a BatchNorm2d also loads.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            self.register_buffer(name, torch.full((num_features,), float(value)))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any) -> None:
        state_dict.pop(prefix + "num_batches_tracked", None)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name in torch.nn
        """Return y."""
        if tools.is_traced(input):
            return tools.call_in_graph(self, input)  # type: ignore[no-any-return]
        return batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def __prepare_scriptable__(self) -> nn.Module:
        """Refuse torch.jit.script, which asks for a module that it can compile."""
        raise NotSupportedError.script(type(self).__name__)

    def extra_repr(self) -> str:
        """Return the arguments of the constructor."""
        return f"{self.num_features}, eps={self.eps}"


LAYERS: Final = (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    BatchNormAct1d,
    BatchNormAct2d,
    BatchNormAct3d,
    FrozenBatchNorm2d,
)
"""All layers of the engine."""
