"""The columns of the table of dialects: what there is to say about a framework's batch norm.

A dialect is one `Row`: data, each field a `Fact` with its evidence beside it. What a column may
say is in its type; what it means is computed in `semantics`, `settings`, `state_arrays`,
`passes` and `gradients`, which know columns and no dialect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ABOUT",
    "REQUIRED",
    "UNKNOWN",
    "Array",
    "Choice",
    "Fact",
    "Option",
    "OptionValue",
    "Requests",
    "Role",
    "Row",
    "Statistics",
    "Storage",
]

T = TypeVar("T")
OptionValue: TypeAlias = bool | float | str | tuple[float, ...] | None


class Mark(Enum):
    """Marks that stand where a value is missing."""

    UNKNOWN = "UNKNOWN"
    REQUIRED = "required"


UNKNOWN: Final = Mark.UNKNOWN
"""Evidence is missing. What needs the fact refuses."""

REQUIRED: Final = Mark.REQUIRED
"""An option without a default: the framework asks for it."""


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """What a column says, and the evidence for it.

    Attributes
    ----------
    value
        What the framework does, or UNKNOWN.
    evidence
        The framework's file (versions are in `Row.source`) and the golden that proves it; of an
        unknown fact, the evidence that is missing.
    """

    value: T | Literal[Mark.UNKNOWN]
    evidence: str

    @property
    def known(self) -> T:
        """The value of a fact that was seen to be known."""
        assert self.value is not UNKNOWN, self.evidence  # noqa: S101 - settings_of has refused
        return self.value


@dataclass(frozen=True, slots=True)
class Option:
    """An argument of the framework's layer; name None stands for a rule that has no argument."""

    name: str | None
    default: OptionValue | Literal[Mark.REQUIRED]


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """An option with few values, and what each means; without meanings a value means itself."""

    name: str | None
    default: OptionValue
    meaning: Mapping[OptionValue, T] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests that a framework takes for each gradient, in the engine's words."""

    dx: str
    dgamma: str
    dbeta: str


Role: TypeAlias = Literal[
    "gamma",
    "beta",
    "mean",
    "var",
    "average_mean",
    "average_var",
    "divisor",
    "count",
    "finetuned",
    "first",
    "one",
]
"""What an array of a state is for. An update changes `mean` and `var`; eval reads `average_mean`
and `average_var`, where the framework stores them too; `divisor` divides mean and var; `count`
counts updates; `finetuned` counts another kind of call, and is carried along; `first` is true until
the first update; `one` is always 1."""

Storage: TypeAlias = Literal[
    "averages",
    "averages, eps in the variance",
    "sums and their divisor",
    "hidden averages and their count",
]
"""What is stored: averages; averages of mean and of variance + eps; weighted sums that a third
array divides; averages that start at a constant, from which dividing by 1 - keep^count frees them.
"""

Statistics: TypeAlias = Literal["mode", "batch", "frozen", "untracked"]
"""Which statistics normalize: those that train() or eval() choose; always the batch's; always the
running ones; always the batch's, and running statistics do not exist."""


@dataclass(frozen=True, slots=True)
class Array:
    """An array of a state, under the framework's own name.

    Attributes
    ----------
    name
        The framework's name for it.
    role
        What it is for.
    dtype
        Its dtype; None stands for the dtype of the parameters.
    shape
        "C", or the shape in which the framework stores one value: () or (1,).
    optional
        Whether a state without it can be loaded: older versions did not have it.
    """

    name: str
    role: Role
    dtype: str | None = None
    shape: Literal["C"] | tuple[int, ...] = "C"
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One dialect; `ABOUT` tells what each fact is about.

    Attributes
    ----------
    name, title, source
        The name in `dialect=`, the framework's, and what was read: project, version or commit.
    traps
        What a port breaks on, a sentence or two each.
    """

    name: str
    title: str
    source: str
    traps: tuple[str, ...]

    momentum: Fact[Option]
    momentum_weighs: Fact[Literal["old", "new"]]
    momentum_none: Fact[Literal["refused", "cumulative"]]
    momentum_width: Fact[Literal["float32", "float64"]]
    storage: Fact[Storage]
    running_var: Fact[Literal["biased", "unbiased"]]
    variance_from: Fact[Literal["deviations", "inv_std"]]
    initial: Fact[tuple[float, float]]
    copied_updates: Fact[int]
    updates_in: Fact[Literal["forward", "backward", "returned"]]

    statistics: Fact[Choice[Statistics]]
    normalizes_with: Fact[Literal["batch", "blend"]]
    one_value: Fact[Literal["zero variance", "refused", "identity", "nan"]]
    frozen_gradient: Fact[Literal["constants", "batch statistics", "none"]]

    eps: Fact[Option]
    eps_floor: Fact[float]
    eps_below_floor: Fact[Literal["raised", "refused"]]
    eps_width: Fact[Literal["float32", "float64", "input"]]
    zero_root: Fact[Literal["infinite", "zero"]]

    affine_in: Fact[Literal["same layer", "another layer"]]
    gamma_options: Fact[tuple[Option, ...]]
    beta_options: Fact[tuple[Option, ...]]
    gamma_rule: Fact[Literal["stored", "abs(stored) + eps"]]
    fixed_gamma: Fact[Option]

    axis: Fact[Choice[int]]
    in_place: Fact[Option]
    learning_rates: Fact[Option]
    silent_options: Fact[tuple[Option, ...]]
    requests: Fact[Requests]
    extra_outputs: Fact[Literal["none", "mean and inv_std", "mean and variance"]]
    arrays: Fact[tuple[Array, ...]]


ABOUT: Final[dict[str, str]] = {
    "momentum": "the option that weighs old statistics against new ones",
    "momentum_weighs": "what that number is the weight of",
    "momentum_none": "what momentum=None does",
    "momentum_width": "the dtype that the number is rounded to before it is used",
    "storage": "what the arrays of the running statistics hold",
    "running_var": "whether the running variance is divided by n (biased) or n - 1 (unbiased)",
    "variance_from": "whether it is the variance itself, or 1/inv_std^2 - eps",
    "initial": "mean and variance as stored before the first update",
    "copied_updates": "how many first updates replace the old values instead of weighing them",
    "updates_in": "when the statistics change",
    "statistics": "which statistics normalize, and the option that changes it",
    "normalizes_with": "in training: the batch's own statistics, or a blend with the running ones",
    "one_value": "training with one value per channel",
    "frozen_gradient": "the gradient where running statistics normalize",
    "eps": "the option that is added to the variance, inside the root",
    "eps_floor": "the least eps",
    "eps_below_floor": "what happens to a smaller one",
    "eps_width": "the dtype that eps is rounded to; input: with a 16-bit x also var + eps",
    "zero_root": "inv_std in training where var + eps is 0",
    "affine_in": "where gamma and beta live",
    "gamma_options": "the options that must all be true for gamma to exist",
    "beta_options": "the options that must all be true for beta to exist",
    "gamma_rule": "how gamma follows from what is stored",
    "fixed_gamma": "the option that holds gamma at 1",
    "axis": "the channel axis, and the option that sets it",
    "in_place": "the option that stores y in x",
    "learning_rates": "the option that would train the statistics; only 0 is accepted",
    "silent_options": "options that do not change what is computed here",
    "requests": "the requests that each gradient takes",
    "extra_outputs": "what the forward pass returns besides y",
    "arrays": "the state, in the framework's names",
}
"""What each fact of a row is about, in the order of the table."""
