"""Which modules of a model are normalization layers: by names, by running statistics, by values.

A module is taken for a normalization layer

- by its *name*: the name of its class or of a base begins or ends as a normalization
  (`backnorm.host.names.names_a_norm`), such as MyNorm, BN2d or RevIN. A name that only
  begins so does not count where the module has a linear layer or a convolution inside;
- by its *statistics*: it holds a running mean or a running variance;
- by its *values*: neither a layer of torch.nn nor a module with a matrix among its parameters, it
  returns an array of the shape of x. It has a record if y follows the statistics of x, or if it
  looks as if it might (`backnorm.torch.model.judge`).

A module that holds another such layer, and neither a parameter nor running statistics itself, is a
container: the layer inside is audited, and not the container. A container that is named as a
normalization is audited where it never calls a layer inside: then it normalizes itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from backnorm.host.calls.torch_modules import parameter_names
from backnorm.host.names import kind_in, names_a_norm, role_of
from backnorm.torch.model.inputs import CONVOLUTIONS
from backnorm.torch.model.scripted import is_scripted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backnorm.audit.kinds import Kind

__all__ = ["Layer", "find_layers"]

Sign: TypeAlias = Literal["name", "statistics", "values", "contents"]

STOCK = "torch.nn."
"""Where PyTorch's own layers are: what they compute is known."""

MIXING = (nn.Linear, nn.Bilinear, nn.Embedding, *CONVOLUTIONS)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A normalization layer in its place, or what may be one.

    Attributes
    ----------
    name
        Its name in the model.
    module
        The module whose calls are recorded: the layer, or a module around it that adds no
        parameters.
    inner
        The layer itself.
    kind
        Its kind, by the name of its class; batch where the name says none.
    sign
        By what it was taken for a normalization; "contents" for a container.
    """

    name: str
    module: nn.Module
    inner: nn.Module
    kind: Kind
    sign: Sign = "name"

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Those of gamma and beta that it has."""
        names = parameter_names(self.inner)
        return {role: self.inner.get_parameter(name) for role, name in names.items()}

    @property
    def is_stock(self) -> bool:
        """Whether it is a layer of PyTorch, which normalizes over what its kind says."""
        return self.module is self.inner and _is_stock(self.inner)


def find_layers(model: nn.Module) -> tuple[Layer, ...]:
    """Return the normalization layers of a model, and modules around one that add no parameters.

    The modules around layers come after them: a fault that shows only there is not the layer's.
    The containers come last: they count only where no layer inside is called.
    """
    modules = [
        (n, m)
        for n, m in model.named_modules()
        if not (_is_of_a_parameter(model, n) or is_scripted(m))
    ]
    told = {id(module) for _, module in modules if _sign_of(module) is not None}
    layers = [
        Layer(name, module, module, _kind_of(module) or "batch", sign)
        for name, module in modules
        if (sign := _sign_of(module)) is not None and not _is_container(module, told)
    ]
    own = {id(layer.module) for layer in layers}
    around = [
        Layer(name, module, inside[0].module, inside[0].kind)
        for name, module in modules
        if id(module) not in own
        and len(inside := _inside(module, layers)) == 1
        and {id(p) for p in module.parameters()} == {id(p) for p in inside[0].module.parameters()}
    ]
    unknown = [
        Layer(name, module, module, "batch", "values")
        for name, module in modules
        if _may_normalize(module) and not _inside(module, layers)
    ]
    taken = own | {id(layer.module) for layer in around}
    containers = [
        Layer(name, module, module, _kind_of(module) or "batch", "contents")
        for name, module in modules
        if id(module) in told and id(module) not in taken
    ]
    return (*layers, *unknown, *around, *containers)


def _is_of_a_parameter(model: nn.Module, name: str) -> bool:
    """Whether a module computes a parameter, as weight normalization does."""
    parts = name.split(".")
    above = (".".join(parts[:end]) for end in range(len(parts)))
    return any(isinstance(model.get_submodule(path), ParametrizationList) for path in above)


def _sign_of(module: nn.Module) -> Sign | None:
    if _kind_of(module) is not None or _is_named(module):
        return "name"
    statistics = (role_of(name).startswith("running_") for name in dict(_own_buffers(module)))
    return "statistics" if any(statistics) else None


def _own_buffers(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    return module.named_buffers(recurse=False)


def _kind_of(module: nn.Module) -> Kind | None:
    """Return the kind by the name of a class or of its bases; None if no name tells it."""
    kinds = (kind_in(cls.__name__) for cls in type(module).__mro__)
    return next(filter(None, kinds), None)


def _is_named(module: nn.Module) -> bool:
    """Whether a class, or a base of it, is named as a normalization."""
    told = {names_a_norm(cls.__name__) for cls in type(module).__mro__}
    mixes = any(isinstance(part, MIXING) for part in module.modules())
    return "ends" in told or ("has" in told and not mixes)


def _is_container(module: nn.Module, told: set[int]) -> bool:
    """Whether a layer is inside, and the module itself has nothing to normalize with."""
    if not any(id(part) in told for part in module.modules() if part is not module):
        return False
    statistics = (role_of(name).startswith("running_") for name in dict(_own_buffers(module)))
    return next(module.parameters(recurse=False), None) is None and not any(statistics)


def _inside(module: nn.Module, layers: Sequence[Layer]) -> list[Layer]:
    parts = {id(part) for part in module.modules()}
    return [layer for layer in layers if id(layer.module) in parts]


def _is_stock(module: nn.Module) -> bool:
    return type(module).__module__.startswith(STOCK)


def _may_normalize(module: nn.Module) -> bool:
    """Whether a module that no name tells has the parts of a normalization, and no others."""
    if _is_stock(module) or any(isinstance(part, MIXING) for part in module.modules()):
        return False
    lengths = [[length for length in p.shape if length > 1] for p in module.parameters()]
    if any(len(several) > 1 for several in lengths):
        return False
    own = next(module.parameters(recurse=False), None)
    return own is not None or next(module.children(), None) is None
