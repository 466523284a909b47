"""A torch function as a black box: which of its arguments is what, and how to call it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import torch

from backnorm.audit.boxes import PLAIN
from backnorm.errors import SubjectError
from backnorm.torch._roles import role_of
from backnorm.torch._tensors import (
    alike,
    array_of,
    gradients,
    higher_gradients,
    leaf_of,
    running_statistics,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from backnorm._types import AnyArray, Shape
    from backnorm.audit.boxes import Variant
    from backnorm.audit.subject import Run

__all__ = ["FunctionBox", "has_running_statistics", "plan_call"]

BY_PLACE: Final = ("x", "gamma", "beta")
"""What the first arguments are where their names say nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to call a function: for each argument its name, its role, and its value where fixed."""

    positional: tuple[tuple[str, Any], ...]
    keywords: Mapping[str, tuple[str, Any]]

    @property
    def roles(self) -> frozenset[str]:
        """All roles that arguments play."""
        return frozenset(role for role, _ in (*self.positional, *self.keywords.values()))


@dataclass(frozen=True, slots=True, eq=False)
class FunctionBox:
    """A function as a black box.

    Attributes
    ----------
    name
        What messages call it.
    function
        The function.
    plan
        Which argument is what.
    train
        What to answer an argument that asks whether to train.
    parameter_shape
        Shape of gamma, of beta and of running statistics.
    groups
        What to answer an argument that asks for the number of groups.
    way
        How it is run.
    """

    name: str
    function: Callable[..., Any]
    plan: Plan
    train: bool
    parameter_shape: Shape
    groups: int
    way: Variant = PLAIN

    def forward(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None) -> AnyArray:
        """Return y."""
        leaves = {"x": leaf_of(x, self.way), **self._leaves(gamma, beta)}
        with torch.enable_grad(), alike(self.way.threads):
            return array_of(self.name, self._call(leaves["x"].clone(), leaves))

    def run(self, x: AnyArray, gamma: AnyArray | None, beta: AnyArray | None, dy: AnyArray) -> Run:
        """Return y and the gradients."""
        leaves = {"x": leaf_of(x, self.way), **self._leaves(gamma, beta)}
        with torch.enable_grad(), alike(self.way.threads):
            return gradients(self.name, self._call(leaves["x"].clone(), leaves), dy, leaves)

    def higher(
        self,
        x: AnyArray,
        gamma: AnyArray | None,
        beta: AnyArray | None,
        dy: AnyArray,
        along: Sequence[AnyArray],
    ) -> dict[str, AnyArray]:
        """Differentiate the gradient, by autograd; see `DeepBox`."""
        leaves = {"x": leaf_of(x, self.way), **self._leaves(gamma, beta)}
        with torch.enable_grad(), alike(self.way.threads):
            y = self._call(leaves["x"].clone(), leaves)
            return higher_gradients(self.name, y, dy, leaves, along)

    def variant(self, variant: Variant) -> FunctionBox:
        """Return the function run in another way."""
        return replace(self, way=variant)

    def _leaves(self, gamma: AnyArray | None, beta: AnyArray | None) -> dict[str, torch.Tensor]:
        values = {"gamma": gamma, "beta": beta}
        way = replace(self.way, needs_dx=True)
        return {role: leaf_of(v, way) for role, v in values.items() if v is not None}

    def _call(self, x: torch.Tensor, leaves: Mapping[str, torch.Tensor]) -> Any:
        def value(role: str, fixed: Any) -> Any:
            if role.startswith("running_"):
                return running_statistics(role, self.parameter_shape).to(x.dtype)
            known = {
                "training": self.train,
                "channels": self.parameter_shape,
                "groups": self.groups,
            }
            return x if role == "x" else leaves.get(role, known.get(role, fixed))

        positional = [value(role, fixed) for role, fixed in self.plan.positional]
        keywords = {name: value(*entry) for name, entry in self.plan.keywords.items()}
        return self.function(*positional, **keywords)


def plan_call(
    name: str, function: Callable[..., Any], given: Mapping[str, Any] | Sequence[Any] | None
) -> Plan:
    """Work out how to call a function.

    Parameters
    ----------
    name
        What messages call it.
    function
        The function; its signature is read.
    given
        Arguments that the caller fixes: by name, or as a list of those after x, gamma and beta.

    Returns
    -------
    Plan
        What to pass where.

    Raises
    ------
    SubjectError
        If an argument is required and it is not clear what it is.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise SubjectError.cannot_build(name, "x, gamma, beta", error) from error
    fixed = _by_name(parameters, given)
    positional, keywords = [], {}
    for place, parameter in enumerate(parameters):
        entry = _entry(name, place, parameter, fixed)
        if parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = entry
        elif parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            positional.append(entry)
    return Plan(tuple(positional), keywords)


def has_running_statistics(plan: Plan) -> bool:
    """Whether the function does another thing in evaluation."""
    return "training" in plan.roles


def _entry(
    name: str, place: int, parameter: inspect.Parameter, fixed: Mapping[str, Any]
) -> tuple[str, Any]:
    if parameter.name in fixed:
        return "fixed", fixed[parameter.name]
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    role = "x" if place == 0 else role_of(parameter.name)
    if role and (role != "x" or place == 0):
        return role, None if parameter.default is parameter.empty else parameter.default
    if parameter.default is not parameter.empty or variadic:
        return "fixed", parameter.default
    if place < len(BY_PLACE):
        return BY_PLACE[place], None
    missing = TypeError(f"{parameter.name} has no default")
    raise SubjectError.cannot_build(name, "x, gamma, beta", missing)


def _by_name(
    parameters: Sequence[inspect.Parameter], given: Mapping[str, Any] | Sequence[Any] | None
) -> Mapping[str, Any]:
    if given is None or isinstance(given, dict):
        return given or {}
    after = [p.name for p in parameters[1:] if role_of(p.name) not in BY_PLACE]
    return dict(zip(after, given, strict=False))
