"""Fuses in the forward of a module of any class: normalization, sum and activation become one call.

The forward becomes a graph (`tracing`), the graph is rewritten here, and the module gets a
generated subclass of its class. The subclass's forward runs the generated code as long as the
attributes that were read while tracing have the same values. Otherwise it runs the original
forward, which is still right: the children of the module stay what they are, also for whoever
calls them one by one, and only the generated call asks for an activation (`calls.run`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from backnorm.torch.conversion import activations, calls, layers, matching, overwriting, plans
from backnorm.torch.conversion.layers import FusionResult
from backnorm.torch.conversion.tracing import trace

if TYPE_CHECKING:
    from collections.abc import Container

    from torch import fx, nn

    from backnorm.torch.conversion.matching import Match

__all__ = ["fuse"]


def fuse(
    module: nn.Module, shared: Container[nn.Module], *, acts: bool, inplace: bool
) -> dict[nn.Module, FusionResult]:
    """Fuse normalizations in the forward of a module.

    Parameters
    ----------
    module
        Any module.
    shared
        Modules that are used in several places.
    acts
        Whether to fuse activations, and sums before them.
    inplace
        Whether y takes the memory of x where that is safe.

    Returns
    -------
    dict
        The result for each converted normalization among the children of the module.
    """
    norms = [child for child in module.children() if layers.is_fusible(child)]
    if not norms:
        return {}
    traced = trace(module)
    if isinstance(traced, str):
        return {norm: FusionResult(why=f"{type(module).__name__}: {traced}") for norm in norms}
    nodes = [(matching.called(module, node), node) for node in traced.graph.nodes]
    norm_calls = [(norm, node) for norm, node in nodes if norm in norms]
    uses = Counter(norm for norm, _ in norm_calls)
    results: dict[nn.Module, FusionResult] = {}
    for norm, node in norm_calls:
        # A normalization that is called twice may be fused: each call gets its own activation, and
        # the layer itself does not change. It may not work in place: see `overwriting`.
        several = uses[norm] > 1 or norm in shared
        match = matching.match(module, node, acts=acts)
        around = _around(module, match, several=several) if inplace else ""
        results[norm] = _result(match, around, acts=acts)
        if match.act is not None or isinstance(around, tuple):
            _replace(traced.graph, match, around if isinstance(around, tuple) else ())
    if any(result.fused or result.in_place for result in results.values()):
        plans.install(module, traced)
    return results


def _around(module: nn.Module, match: Match, *, several: bool) -> tuple[str, ...] | str:
    """Return the modules that decide whether y may take the memory of x, or why it may not."""
    norm, last = match.nodes[0], match.nodes[-1]
    if match.residual is not None:
        return overwriting.RESIDUAL
    if several:
        return "not in place: it is used in several places"
    return matching.odd_call(module, norm) or overwriting.around(module, norm, match.act, last)


def _result(match: Match, around: tuple[str, ...] | str, *, acts: bool) -> FusionResult:
    fused = "" if match.act is None else "add + " * (match.residual is not None) + match.act.name
    in_place = isinstance(around, tuple)
    reasons = [match.why] if acts and not in_place else []
    reasons += [] if isinstance(around, tuple) else [around]
    return FusionResult(fused, in_place, "; ".join(dict.fromkeys(filter(None, reasons))))


def _replace(graph: fx.Graph, match: Match, around: tuple[str, ...]) -> None:
    """Replace the matched nodes by one call.

    The call reads the modules anew each time: a hook added later, or a module that was replaced, is
    then noticed by `calls.run`.
    """
    norm, last = match.nodes[0], match.nodes[-1]
    act = match.act or activations.IDENTITY
    with graph.inserting_before(last):
        layer = graph.create_node("get_attr", str(norm.target))
        is_module = match.act is not None and last.op == "call_module"
        act_module = graph.create_node("get_attr", str(last.target)) if is_module else None
        others, *between = (
            tuple(graph.create_node("get_attr", name) for name in names)
            for names in (around, *match.between)
        )
        arguments = (
            layer, norm.args[0], match.residual, act_module, act.name, act.slope, others, *between
        )  # fmt: skip
        keywords: dict[str, Any] = {"sum_in_place": True} if match.sum_in_place else {}
        fused = graph.call_function(calls.run, arguments, keywords)
    last.replace_all_uses_with(fused)
    for node in reversed(match.nodes):
        graph.erase_node(node)
