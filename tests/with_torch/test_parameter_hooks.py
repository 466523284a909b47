"""Hooks of parameters, which a deep copy of a module leaves out: the audit carries them over."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

import backnorm as bn  # noqa: E402

CODES = {"weight": ["G13"], "bias": ["G14"]}


def scaled_before(parameter: Any, factor: float) -> None:
    """Scale the gradient before it is accumulated."""
    parameter.register_hook(lambda gradient: gradient * factor)


def scaled_after(parameter: Any, factor: float) -> None:
    """Scale the gradient once it is accumulated."""
    parameter.register_post_accumulate_grad_hook(lambda leaf: leaf.grad.mul_(factor))


def taken(parameter: Any, factor: float) -> None:
    """Take the gradient away, as an optimizer within the backward pass does."""

    def hook(leaf: Any) -> None:
        leaf.data.sub_(leaf.grad, alpha=1e-9 * factor)
        leaf.grad = None

    parameter.register_post_accumulate_grad_hook(hook)


class Halving(nn.LayerNorm):  # type: ignore[misc]
    """Its hook is a method, which counts its calls on the layer."""

    def __init__(self) -> None:
        super().__init__(6)
        self.hooked: list[int] = []
        self.weight.register_hook(self.halved)

    def halved(self, gradient: Any) -> Any:
        """Return half of a gradient."""
        self.hooked.append(1)
        return gradient / 2


def codes_of(layer: Any) -> list[str]:
    """Return the codes of findings of the gradient."""
    return [f.code for f in bn.audit(layer, quick=True).findings]


@pytest.mark.parametrize("hook", [scaled_before, scaled_after])
@pytest.mark.parametrize("name", CODES)
def test_a_hook_of_a_parameter_takes_part_in_its_gradient(hook: Any, name: str) -> None:
    """A hook that scales is found, of either kind and parameter; one that does nothing is not."""
    for factor, found in ((0.5, CODES[name]), (1.0, [])):
        layer = nn.LayerNorm(6)
        hook(getattr(layer, name), factor)
        assert codes_of(layer) == found


def test_a_hook_of_a_frozen_parameter_takes_part_too() -> None:
    """The parameter that is frozen after its hook was registered keeps it in the copy."""
    layer = nn.LayerNorm(6)
    scaled_before(layer.weight, 0.5)
    layer.weight.requires_grad_(requires_grad=False)
    assert codes_of(layer) == ["G13"]


def test_a_hook_that_takes_the_gradient_away_has_used_it() -> None:
    """The gradient is the one that the hook was given."""
    layer = nn.LayerNorm(6)
    taken(layer.weight, 1.0)
    assert codes_of(layer) == []


def test_a_hook_that_is_a_method_belongs_to_the_copy() -> None:
    """The module that is audited is not touched."""
    layer = Halving()
    assert codes_of(layer) == ["G13"]
    assert layer.hooked == []


def test_a_table_that_lacks_the_copy_is_named_as_the_cause() -> None:
    """A hook that looks its parameter up in a table outside of the layer."""
    layer = nn.LayerNorm(6)
    factors = dict.fromkeys(layer.parameters(), 1.0)

    def scaled(parameter: Any) -> None:
        parameter.grad.mul_(factors[parameter])

    layer.weight.register_post_accumulate_grad_hook(scaled)
    (found,) = bn.audit(layer, quick=True).findings
    assert found.code == "G20"
    assert found.causes == (
        "a hook or the layer looks up a parameter in a table, and the audit calls a copy",
    )
    assert "--model" in found.remedy
