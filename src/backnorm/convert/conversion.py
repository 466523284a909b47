"""The public conversion: check, read what the state means, list what is lost, write."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from backnorm import _check
from backnorm._display import Displayed
from backnorm.convert.canonical import Canonical, from_canonical, refuse_negative_root, to_canonical
from backnorm.convert.losses import KINDS, Carried, Loss, estimator_factor, losses_of
from backnorm.dialects.registry import row_of
from backnorm.dialects.settings import settings_of
from backnorm.errors import ConversionError, RangeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import SupportsIndex

    import numpy.typing as npt

    from backnorm._types import AnyArray, Float64Array
    from backnorm.dialects.columns import OptionValue, Row

__all__ = ["Conversion", "convert_state"]

PRESERVES: Final = ("output", "estimator")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Conversion(Displayed):
    """What `convert_state` returns.

    Attributes
    ----------
    state
        The arrays of the target, under its framework's names.
    options
        The options of the target layer, under its framework's names: eps, momentum, which of
        gamma and beta exist. The channel axis is not among them: it depends on the model.
    losses
        What the conversion did not carry.
    """

    state: dict[str, AnyArray]
    options: dict[str, OptionValue]
    losses: tuple[Loss, ...]


def convert_state(
    state: Mapping[str, npt.ArrayLike],
    source: str,
    target: str,
    *,
    n: SupportsIndex | None = None,
    allow_loss: bool = False,
    strict: bool = False,
    preserve: Literal["output", "estimator"] = "output",
    source_options: Mapping[str, OptionValue] | None = None,
    target_options: Mapping[str, OptionValue] | None = None,
) -> Conversion:
    """Write the state of one dialect's layer as another dialect's, with the same output in eval.

    With (mean, var, eps, gamma, beta) what eval computes with, y = gamma*(x - mean)/sqrt(var + eps)
    + beta is the same before and after. Where the target cannot have the source's eps, the
    difference goes into the variance: var' + eps' = var + eps. A var' that would be below 0 for a
    larger eps' is refused, or ends at 0 with allow_loss.

    Parameters
    ----------
    state
        Arrays under the names of the source's framework, as `BatchNorm.state` gives them.
    source, target
        Names of dialects.
    n
        The number of values per channel that the running variance was taken over, if known.
    allow_loss
        Whether to go on where something that matters is lost.
    strict
        Whether to refuse also a running variance that the target would estimate in another way, if
        n is not given. The output in eval is the same.
    preserve
        "output" carries the running variance as it is. "estimator" multiplies it by n/(n - 1) or
        (n - 1)/n where the target keeps the other estimate, as if the layer had been trained there:
        the output in eval then moves with it.
    source_options
        Options of the source layer that differ from the defaults.
    target_options
        Options that the target layer must have; all others follow from the source.

    Returns
    -------
    Conversion
        state, options and losses.

    Raises
    ------
    ConversionError
        Something that matters would be lost, and allow_loss does not permit it; the target
        cannot store a value; or the source's var + eps, or its divisor, is negative.
    UnknownNameError, RangeError, ShapeError, DtypeError
        Dialects, options or arrays that do not exist or do not fit.

    Notes
    -----
    Source: the rows in ``backnorm.dialects``, and `backnorm.convert.losses`.
    Accuracy: float64 inside, rounded once to the dtype of the state
    (tests/convert/test_every_pair.py).
    Cost: a few passes over arrays of shape (C,).

    Examples
    --------
    >>> import backnorm as bn
    >>> state = {"mean": [4.0], "variance": [6.0], "scale_factor": [2.0]}
    >>> done = bn.convert_state(state, "caffe", "torch", target_options={"affine": False})
    >>> float(done.state["running_mean"][0]), float(done.state["running_var"][0])
    (2.0, 3.0)
    >>> done.options["momentum"], [loss.name for loss in done.losses]
    (0.001, ['divisor'])
    """
    # 1. Check the arguments, and read what the source's state means.
    source_row, target_row = row_of(source), row_of(target)
    _check.name_of("preserve", preserve, PRESERVES)
    count = _values(n)
    source_settings = settings_of(
        source_row, _given("source_options", source_options), complete=False
    )
    if math.isnan(source_settings.eps):
        raise RangeError.option_missing(str(source_row.eps.known.name), source)
    canonical = to_canonical(source_row, source_settings, state)
    # 2. Choose the target's options; `preserve` decides which variance it gets.
    options = {**_options(target_row, canonical), **_given("target_options", target_options)}
    target_settings = settings_of(target_row, options)
    carried = Carried(source_row, target_row, source_settings, target_settings, canonical)
    if preserve == "estimator":
        carried = carried._replace(state=_restated(carried, count))
    # 3. List what would be lost, and refuse what matters.
    refuse_negative_root(source_row, carried.state)
    losses = losses_of(carried, count, strict=strict)
    for loss in losses:
        if loss.refused and not allow_loss:
            kind = KINDS[loss.name]
            raise ConversionError.loss(source, target, loss.what, kind.advice, kind.command)
    # 4. Move the difference of the two eps into the variance, and write.
    moved = replace(carried.state, var=_with_eps(carried))
    return Conversion(from_canonical(target_row, target_settings, moved), options, losses)


def _given(name: str, options: Mapping[str, OptionValue] | None) -> Mapping[str, OptionValue]:
    return {} if options is None else _check.mapping(name, options)


def _values(n: SupportsIndex | None) -> int | None:
    """Return n; at least 2, since one value has no unbiased variance."""
    return None if n is None else _check.whole_number(n, 2, RangeError.values_per_channel)


def _with_eps(carried: Carried) -> Float64Array:
    """Return the variance that goes with the target's eps: var + eps stays the same.

    A larger eps may ask for a variance below 0. It then ends at 0, which is the loss "eps floor"
    where it is more than rounding. Where eps does not grow, a variance below 0 stays as it is:
    MXNet leaves it behind in a constant channel, and eval uses var + eps alone.
    """
    grows = carried.target_settings.eps - carried.state.eps
    var = carried.state.var - grows
    return np.maximum(var, 0.0) if grows > 0.0 else var


def _restated(carried: Carried, n: int | None) -> Canonical:
    """Return the canonical state with the variance as the target estimates it."""
    state, eps = carried.state, carried.state.eps
    if n is None and state.var_is != carried.target.running_var.known:
        raise RangeError.values_per_channel(n)
    # The factor belongs to the variance alone: an eps inside it is taken out first and put back.
    var = state.var - (eps if state.var_holds_eps else 0.0)
    var = var * (1.0 if n is None else estimator_factor(carried, n))
    holds = carried.target.storage.known == "averages, eps in the variance"
    return replace(state, var=var + (carried.target_settings.eps if holds else 0.0))


def _options(row: Row, canonical: Canonical) -> dict[str, OptionValue]:
    """Return the options of a target layer that follow from the canonical state."""
    options: dict[str, Any] = {
        str(row.eps.known.name): max(canonical.eps, row.eps_floor.known),
        **_momentum(row, canonical.keep),
    }
    has = {"gamma": canonical.gamma is not None, "beta": canonical.beta is not None}
    of_gamma = {option.name for option in row.gamma_options.known}
    of_beta = {option.name for option in row.beta_options.known}
    for name in sorted(str(name) for name in of_gamma | of_beta):
        # An option shared by gamma and beta (PyTorch's affine) is true if either exists; any other
        # option follows its parameter. One that only refines a shared option that is false
        # (PyTorch's bias without affine) keeps its default, true.
        needed_by = [has["gamma"]] * (name in of_gamma) + [has["beta"]] * (name in of_beta)
        refines = name in of_beta - of_gamma and bool(of_gamma & of_beta)
        options[name] = any(needed_by) or (refines and not any(has.values()))
    if row.fixed_gamma.known.name is not None:
        options[row.fixed_gamma.known.name] = not has["gamma"]
    return options


def _momentum(row: Row, keep: float | None) -> dict[str, float | None]:
    """Return the target's momentum; nothing where the target cannot express the source's."""
    name = str(row.momentum.known.name)
    if keep is None:
        return {name: None} if row.momentum_none.known == "cumulative" else {}
    if math.isnan(keep):
        return {}
    weight = keep if row.momentum_weighs.known == "old" else 1.0 - keep
    return {name: float(f"{weight:.12g}")}  # 1 - 0.9 is 0.09999999999999998
