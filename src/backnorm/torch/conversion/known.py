"""Relatives of PyTorch's batch normalizations, in PyTorch and elsewhere, whose forward is known.

A class is known by its name and by the code of its forward: another version of a library may
compute something else. When a layer is converted, it also has to compute the same as before on a
sample, in training and in evaluation.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import textwrap
import tokenize
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import distributed, nn

from backnorm.torch.conversion import activations, generated, hooks
from backnorm.torch.engine import modules
from backnorm.torch.engine.functional import batch_norm
from backnorm.torch.engine.tools import call_in_graph, is_traced

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backnorm.torch.conversion.activations import Act

__all__ = ["fused_in", "is_known", "why_left_alone"]


class KnownClass(NamedTuple):
    """How a class normalizes.

    Attributes
    ----------
    normalize
        The engine's part of its forward, of x and the arguments of `batch_norm` from activation on.
    takes
        Whether the engine computes the call with x; otherwise the class itself does.
    mixins
        Classes that `normalize` needs.
    forwards
        Digests of the forwards that were read, see `_digest`; None for PyTorch's own class.
    """

    normalize: Callable[..., torch.Tensor]
    takes: Callable[[Any, torch.Tensor], bool]
    mixins: tuple[type, ...] = ()
    forwards: tuple[str, ...] | None = None


def _by_batch(layer: Any, x: torch.Tensor, **extras: Any) -> torch.Tensor:
    return layer._normalize(x, **extras)  # type: ignore[no-any-return] # noqa: SLF001


def _by_constants(layer: Any, x: torch.Tensor, **extras: Any) -> torch.Tensor:
    statistics = layer.running_mean, layer.running_var
    return batch_norm(x, *statistics, layer.weight, layer.bias, eps=layer.eps, **extras)


def _is_image(_: Any, x: torch.Tensor) -> bool:
    return x.dim() == 4  # noqa: PLR2004 - the class says what it does with others


def _is_image_of_its_dtype(layer: Any, x: torch.Tensor) -> bool:
    return x.dim() == 4 and x.dtype == layer.weight.dtype  # noqa: PLR2004 - as above


def _is_alone(layer: Any, _: torch.Tensor) -> bool:
    """Whether a layer that normalizes across processes has none to ask."""
    several = distributed.is_available() and distributed.is_initialized()
    return not (several and layer.training)


_ENGINE: Final = (modules._Engine,)  # noqa: SLF001 - of the same engine

KNOWN: Final[Mapping[str, KnownClass]] = {
    "torch.nn.modules.batchnorm.SyncBatchNorm": KnownClass(_by_batch, _is_alone, _ENGINE),
    "timm.layers.norm_act.BatchNormAct2d": KnownClass(
        _by_batch, _is_image, _ENGINE, ("7030f4079b7f4fe6",)
    ),
    "timm.layers.norm_act.FrozenBatchNormAct2d": KnownClass(
        _by_constants, _is_image_of_its_dtype, (), ("4e5b9236f2098dd7",)
    ),
    "torchvision.ops.misc.FrozenBatchNorm2d": KnownClass(
        _by_constants, _is_image_of_its_dtype, (), ("5710f9cd5d9a5e6b",)
    ),
    "detectron2.layers.batch_norm.FrozenBatchNorm2d": KnownClass(
        _by_constants, _is_image_of_its_dtype, (), ("cc117ffa989b6e27", "210b66425d1ae401")
    ),
}
"""By module and name. The libraries are not imported: a model brings them."""


def _of(module: nn.Module) -> KnownClass | None:
    cls = generated.original(type(module))
    return KNOWN.get(f"{cls.__module__}.{cls.__qualname__}")


def is_known(module: nn.Module) -> bool:
    """Whether the class of a module has the name of a known one."""
    return _of(module) is not None


def why_left_alone(module: nn.Module) -> str:
    """Return why a module of a known class cannot be converted; "" if it can."""
    known = _of(module)
    if known is None:
        return "its class is not known"
    cls: Any = type(module)
    if known.forwards is not None and _digest(cls) not in known.forwards:
        return "this version of its class may compute something else"
    if not known.takes(module, torch.empty(0, 0, 0, 0, dtype=_dtype(module))):
        return "it normalizes across processes"
    if any(value.is_meta for value in (*module.parameters(), *module.buffers())):
        return "it has no values yet, so that it cannot be compared with the engine"
    return "" if _computes_the_same(module) else "it does not compute what its class does"


def fused_in(module: nn.Module) -> str:
    """Return the activation that a converted layer of a known class computes in its pass."""
    act = _act(module) if generated.kind_of(type(module)) else None
    return "" if act is None else act.name


def _act(module: nn.Module) -> Act | None:
    drop, act = (vars(module)["_modules"].get(name) for name in ("drop", "act"))
    return activations.of_module(act) if drop is None or hooks.is_identity(drop) else None


@generated.recipe("known")
def _members(base: Any) -> dict[str, Any]:
    known = KNOWN[f"{base.__module__}.{base.__qualname__}"]

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        if is_traced(x):
            return call_in_graph(self, x)  # type: ignore[no-any-return]
        if not known.takes(self, x):
            return base.forward(self, x)  # type: ignore[no-any-return]
        act = None if hooks.hears_every_call() else _act(self)
        if act is not None:
            return known.normalize(self, x, activation=act.name, negative_slope=act.slope)
        y = known.normalize(self, x)
        for name in ("drop", "act"):
            part = vars(self)["_modules"].get(name)
            y = y if part is None else part(y)
        return y

    return {"forward": forward, "stock": base, "mixins": known.mixins}


# --- whether a class is the one that was read ---------------------------------------------------

LAYOUT: Final = (
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
    tokenize.ENDMARKER,
)  # fmt: skip


@cache
def _digest(cls: Any) -> str:
    """Return a digest of a forward's tokens, comments and layout left out; "" without a source."""
    try:
        source = textwrap.dedent(inspect.getsource(cls.forward))
    except (OSError, TypeError):
        return ""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    words = " ".join(token.string for token in tokens if token.type not in LAYOUT)
    return hashlib.sha256(words.encode()).hexdigest()[:16]


# --- whether it computes the same ---------------------------------------------------------------

TOLERANCE: Final = 1e-9
"""Of the comparison on a sample, in float64 and relative to the largest value."""


def _computes_the_same(module: nn.Module) -> bool:
    """Compare a layer and its converted copy on a sample, in training and in evaluation."""
    return all(
        _close(*(_results(module, training=mode, converted=how) for how in (False, True)))
        for mode in (True, False)
    )


def _results(module: nn.Module, *, training: bool, converted: bool) -> list[torch.Tensor]:
    """Return y, the gradients and the buffers after a call of a copy, in float64."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        layer: Any = deepcopy(module).to("cpu").double().train(training)
        hooks.remove_all(layer)
        if converted:
            layer.__class__ = generated.subclass("known", type(layer))
        x = torch.randn(4, len(layer.running_mean), 3, 3, dtype=torch.float64)
        x = (2 * x + 1).requires_grad_()
        y = layer(x)
        leaves = [x, *(p for p in layer.parameters() if p.requires_grad)]
        gradients = torch.autograd.grad((y * torch.randn_like(y)).sum(), leaves, allow_unused=True)
    found: list[torch.Tensor | None] = [y, *gradients, *layer.buffers()]
    return [value.detach().double() for value in found if value is not None]


def _close(want: list[torch.Tensor], got: list[torch.Tensor]) -> bool:
    if len(want) != len(got):
        return False
    return all(
        float((a - b).abs().max()) <= TOLERANCE * max(1.0, float(a.abs().max()))
        for a, b in zip(want, got, strict=True)
        if a.numel()
    )


def _dtype(module: Any) -> torch.dtype:
    weight = getattr(module, "weight", None)
    return torch.float32 if weight is None else weight.dtype
