"""What PyTorch's tools that rewrite models need from the layers: torch.fx and quantization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch
from torch import fx, nn
from torch.ao.quantization import fuser_method_mappings
from torch.ao.quantization.fx.tracer import QuantizationTracer
from torch.fx.experimental import proxy_tensor
from torch.nn.utils.parametrize import is_parametrized

from backnorm.errors import NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "MARK",
    "call_function_in_graph",
    "call_in_graph",
    "constant_result",
    "is_exported",
    "is_program_made",
    "is_traced",
    "let_fuse",
    "name_as_stock",
    "to_stock",
]


MARK: Final = "_backnorm_converted"
"""Attribute of a layer that was converted: what is fused with it where it is called."""

IS_EXPORTING: Final[Callable[[], bool]] = getattr(torch.compiler, "is_exporting", lambda: False)
"""Of PyTorch 2.7. Every call of a layer asks: to look it up each time takes as long again."""

Marked = TypeVar("Marked", bound="Callable[..., Any]")


def constant_result(function: Marked) -> Marked:
    """Mark a function as `torch.compiler.assume_constant_result` does.

    That one imports the compiler, which takes a second, with the module that it decorates.
    """
    vars(function)["_dynamo_marked_constant"] = True
    return function


def is_traced(x: object) -> bool:
    """Whether a tracer of torch.fx passes this in place of a tensor."""
    return isinstance(x, fx.Proxy)


def call_in_graph(module: nn.Module, x: Any, residual: Any = None, mask: Any = None) -> Any:
    """Record one call of a module in the graph that torch.fx makes of a model.

    torch.fx does the same for the modules of torch.nn. A graph of a layer's parts would hold the
    mode in which it was traced, and quantization would not find the layer. Quantization looks for
    the exact classes of torch.nn and replaces what it finds, so a layer becomes stock for it.

    Parameters
    ----------
    module
        A layer of the engine.
    x, residual, mask
        What it is called with, a torch.fx.Proxy; None without a residual or without a mask.

    Returns
    -------
    torch.fx.Proxy
        The result of the call.

    Raises
    ------
    NotSupportedError
        If the module is the traced model itself: its call has no name.
    """
    tracer = x.tracer
    name = tracer.path_of_module(module)
    if not name:
        raise NotSupportedError.trace(type(module).__name__)
    if isinstance(tracer, QuantizationTracer):
        to_stock(module)
    given = (x,) if residual is None else (x, residual)
    keywords = {} if mask is None else {"mask": mask}
    return tracer.create_proxy("call_module", name, given, keywords)


def call_function_in_graph(
    function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    """Record one call of a function, whose first argument is a torch.fx.Proxy."""
    return arguments[0].tracer.create_proxy("call_function", function, arguments, keywords)


def to_stock(module: nn.Module) -> bool:
    """Turn a layer into its class in torch.nn if that computes the same; return whether it did."""
    stock = getattr(type(module), "stock", None)
    if stock is None or getattr(module, "through", "both") != "both":
        return False
    if getattr(module, "sums", "float64") != "float64":
        return False
    for name in ("through", "sums", MARK):
        vars(module).pop(name, None)
    cls = type(module)
    if is_parametrized(module):
        # PyTorch has given it a subclass with a property for each parametrized tensor.
        members = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
        module.__class__ = type(cls.__name__, (stock,), members)
    else:
        module.__class__ = stock
    return True


def let_fuse(classes: Iterable[Any]) -> None:
    """Have torch.ao.quantization.fuse_modules take layers of these classes for their stock ones."""
    known = fuser_method_mappings._DEFAULT_OP_LIST_TO_FUSER_METHOD
    ours = {cls.stock: cls for cls in classes}
    for types, fuser in list(known.items()):
        if any(cls in ours for cls in types):
            known[tuple(ours.get(cls, cls) for cls in types)] = _of_stock(fuser)


def _of_stock(fuser: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def fuse(is_qat: bool, *layers: nn.Module) -> nn.Module:
        for layer in layers:
            to_stock(layer)
        return fuser(is_qat, *layers)

    return fuse


def is_program_made() -> bool:
    """Whether torch.export makes a program of this call."""
    return IS_EXPORTING()


def name_as_stock(module: nn.Module) -> None:
    """Have the program that torch.export makes name a layer's class in torch.nn.

    A program remembers for each operator the modules that were called, with their classes. torchao
    looks for convolutions and normalizations by these names.
    """
    if torch.compiler.is_dynamo_compiling():
        return  # the names are Dynamo's, and torchao finds the functions
    mode = proxy_tensor.get_proxy_mode()
    stack = getattr(getattr(mode, "tracer", None), "module_stack", None)
    stock = getattr(type(module), "stock", None)
    if stack and stock is not None:
        called = next(reversed(stack))
        path, cls = stack[called]
        if cls is type(module):
            stack[called] = (path, stock)


def is_exported() -> bool:
    """Whether PyTorch makes a program of this call, which must run without backnorm."""
    if is_program_made():
        return True
    # The older exporter to ONNX traces. The first use of torch.onnx imports it.
    tracing = not torch.compiler.is_compiling() and torch._C._get_tracing_state() is not None
    return tracing and torch.onnx.is_in_onnx_export()
