"""What the options of a layer mean: the framework's words in, backnorm's words out."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backnorm.dialects.columns import REQUIRED, UNKNOWN, Choice, Fact, Option
from backnorm.errors import RangeError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backnorm.dialects.columns import OptionValue, Row, Statistics

__all__ = ["Settings", "options_of", "require", "settings_of"]


@dataclass(frozen=True, slots=True)
class Settings:
    """A layer's options in backnorm's words.

    Attributes
    ----------
    options
        All options under the framework's names, defaults filled in.
    eps
        As given, or raised to the floor. [x]^2
    keep
        The weight of the old statistics; None for the plain mean of all batches; NaN where the
        framework has no default and the option is missing.
    channel_axis, statistics, in_place
        The axis of the channels; which statistics normalize; whether y is stored in x.
    gamma, beta, fixed_gamma
        Whether the layer has it; whether gamma is held at 1.
    """

    options: dict[str, OptionValue]
    eps: float
    keep: float | None
    channel_axis: int
    statistics: Statistics
    in_place: bool
    gamma: bool
    beta: bool
    fixed_gamma: bool


NEEDED: Final = ("momentum_weighs", "storage", "running_var", "eps_floor", "arrays", "statistics")
"""The facts without which a dialect cannot be used; others are required where they matter."""


def require(row: Row, *names: str) -> None:
    """Raise where a fact that is needed is UNKNOWN."""
    for name in names:
        fact: Fact[Any] = getattr(row, name)
        if fact.value is UNKNOWN:
            raise RangeError.unknown_fact(row.name, name, fact.evidence)


def options_of(row: Row) -> dict[str, Option | Choice[Any]]:
    """Return every option of a row by its name, in the order of the columns."""
    options: dict[str, Option | Choice[Any]] = {}
    for field in fields(row):
        fact = getattr(row, field.name)
        value = fact.value if isinstance(fact, Fact) else None
        for option in value if isinstance(value, tuple) else (value,):
            if isinstance(option, (Option, Choice)) and option.name is not None:
                options[option.name] = option
    return options


def settings_of(row: Row, options: Mapping[str, OptionValue], *, complete: bool = True) -> Settings:
    """Check the options of a layer against its row, and return what they mean.

    Parameters
    ----------
    row
        The dialect.
    options
        Under the framework's own names.
    complete
        Whether an option without a default must be given. A stored state can be read without it.

    Raises
    ------
    UnknownNameError, RangeError
        An option that the framework lacks, or a value that the option cannot have.
    """
    require(row, *NEEDED)
    known = options_of(row)
    for name in options:
        if name not in known:
            raise UnknownNameError.option(str(name), row.name, tuple(known))
    filled = {name: options.get(name, option.default) for name, option in known.items()}
    for name, value in filled.items():
        if value is REQUIRED and complete:
            raise RangeError.option_missing(name, row.name)

    def truth(option: Option) -> bool:
        value = option.default if option.name is None else filled[option.name]
        if value is REQUIRED:
            return True
        if not isinstance(value, (bool, np.bool_)):
            raise RangeError.option(str(option.name), "be True or False", value, row.name)
        return bool(value)

    _refuse_learning_rates(row, filled)
    return Settings(
        options={name: value for name, value in filled.items() if value is not REQUIRED},
        eps=_eps(row, filled),
        keep=_keep(row, filled),
        channel_axis=_axis(row, filled),
        statistics=_meaning(row, row.statistics.known, filled),
        in_place=truth(row.in_place.known),
        gamma=all(truth(option) for option in row.gamma_options.known),
        beta=all(truth(option) for option in row.beta_options.known),
        fixed_gamma=truth(row.fixed_gamma.known),
    )


def _number(value: Any) -> float:
    """Return a real number, or NaN for anything else and for what a float cannot hold."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    try:
        return float(value) if real else math.nan
    except OverflowError:
        return math.nan


def _eps(row: Row, filled: Mapping[str, Any]) -> float:
    name = str(row.eps.known.name)
    if filled[name] is REQUIRED:
        return math.nan
    eps, floor = _number(filled[name]), row.eps_floor.known
    if not 0.0 <= eps < math.inf:
        raise RangeError.option(name, "be a finite number, 0 or greater", filled[name], row.name)
    if eps < floor and row.eps_below_floor.known == "refused":
        raise RangeError.option(name, f"be {floor:g} or greater", filled[name], row.name)
    return max(eps, floor)


def _keep(row: Row, filled: Mapping[str, Any]) -> float | None:
    name = str(row.momentum.known.name)
    if filled[name] is REQUIRED:
        return math.nan
    if filled[name] is None and row.momentum_none.known == "cumulative":
        return None
    weight = _number(filled[name])
    if not 0.0 <= weight <= 1.0:
        raise RangeError.option(name, "be a number from 0 to 1", filled[name], row.name)
    if row.momentum_width.known == "float32":
        weight = float(np.float32(weight))
    return weight if row.momentum_weighs.known == "old" else 1.0 - weight


def _axis(row: Row, filled: Mapping[str, Any]) -> int:
    choice = row.axis.known
    if choice.meaning:
        meant: int = _meaning(row, choice, filled)
        return meant
    value: Any = choice.default if choice.name is None else filled[choice.name]
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise RangeError.option(str(choice.name), "be a whole number", value, row.name)
    return int(value)


def _meaning(row: Row, choice: Choice[Any], filled: Mapping[str, Any]) -> Any:
    """Return what the value of a choice means."""
    value = choice.default if choice.name is None else filled[choice.name]
    # 1 == True in Python, but a framework that asks for True does not ask for 1.
    if isinstance(value, (bool, str, type(None))) and value in choice.meaning:
        return choice.meaning[value]
    words = " or ".join(map(repr, choice.meaning))
    raise RangeError.option(str(choice.name), f"be {words}", value, row.name)


def _refuse_learning_rates(row: Row, filled: Mapping[str, Any]) -> None:
    option = row.learning_rates.known
    if option.name is None:
        return
    given = filled[option.name]
    if any(
        _number(rate) != 0.0 for rate in (given if isinstance(given, tuple | list) else (given,))
    ):
        raise RangeError.learning_rate(option.name, given, row.name)
