"""The formulas of a dialect, composed from its row: what is stored, updated and read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.dialects.columns import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backnorm.dialects.columns import Role, Row

__all__ = ["formulas"]

FROZEN: Final = {
    "constants": "dx = d",
    "batch statistics": "dx as in training, with the statistics of the batch computed again",
    "none": "no gradient",
}

ONE_VALUE: Final = {
    "zero variance": "v = 0, y = beta, dx = 0",
    "refused": "refused",
    "identity": "y = x, dx = dy, no update",
    "nan": "y = beta, and the running variance becomes NaN",
}


def formulas(row: Row) -> Iterator[tuple[str, str]]:
    """Give what a formula is about, and the formula, in the framework's own names.

    m and v are what normalizes, n the number of values per channel, x_hat = (x - m)/sqrt(v + eps).

    Parameters
    ----------
    row
        The dialect.

    Yields
    ------
    tuple[str, str]
        A few words, and a line of text.
    """
    gamma, beta = _name(row, "gamma"), _name(row, "beta")
    eps = str(row.eps.known.name)
    if row.gamma_rule.known != "stored":
        gamma = f"(abs({gamma}) + {eps})"
    yield "output", f"y = {gamma}*(x - m)/sqrt(v + {eps}) + {beta}"
    yield from _training(row)
    mean, var = _read(row)
    yield "in eval", f"m = {mean}, v = {var}"
    d = f"d = {gamma}*dy/sqrt(v + {eps})"
    yield "gradient", f"{d}; {_gradient(row)}"
    yield "gradient in eval", FROZEN[row.frozen_gradient.known]
    answer = row.one_value.value
    yield "one value a channel", "not known" if answer is UNKNOWN else ONE_VALUE[answer]


def _name(row: Row, role: Role) -> str:
    return next(array.name for array in row.arrays.known if array.role == role)


def _training(row: Row) -> Iterator[tuple[str, str]]:
    mean, var = _name(row, "mean"), _name(row, "var")
    m, v = "m", "v"
    if row.normalizes_with.known == "blend":
        m, v = "m_batch", "v_batch"
        yield "in training", f"m = {mean}, v = {var}, after their update with this batch"
    yield "batch", f"{m} = sum(x)/n, {v} = sum((x - {m})^2)/n"
    old, new = _weights(row)
    when = {"forward": "forward", "backward": "backward", "returned": "forward (returned)"}
    label = f"update in {when[row.updates_in.known]}"
    yield label, f"{mean} <- {old}*{mean} + {new}{m}"
    yield label, f"{var} <- {old}*{var} + {new}{_estimate(row, v)}"
    for role, formula in (("divisor", f"{old}*{{0}} + 1"), ("count", "{0} + 1")):
        names = [array.name for array in row.arrays.known if array.role == role]
        for name in names:
            yield label, f"{name} <- {formula.format(name)}"
    copies = row.copied_updates.known
    if copies:
        which = "the first update copies" if copies == 1 else f"the first {copies} updates copy"
        yield label, f"{which}: 0 for the old, 1 for the new"


def _weights(row: Row) -> tuple[str, str]:
    """Return the factors of the old and of the new statistics."""
    weight = str(row.momentum.known.name)
    old, new = weight, f"(1 - {weight})*"
    if row.momentum_weighs.known == "new":
        old, new = f"(1 - {weight})", f"{weight}*"
    return (old, "") if row.storage.known == "sums and their divisor" else (old, new)


def _estimate(row: Row, var: str) -> str:
    estimate = f"{var}*n/(n - 1)" if row.running_var.known == "unbiased" else var
    if row.variance_from.known == "inv_std":
        estimate = f"(1/inv_std^2 - {row.eps.known.name})"
    if row.storage.known == "averages, eps in the variance":
        estimate = f"({estimate} + {row.eps.known.name})"
    return estimate


def _read(row: Row) -> tuple[str, str]:
    """Return mean and variance as eval has them."""
    mean, var = _name(row, "mean"), _name(row, "var")
    if row.storage.known == "sums and their divisor":
        divisor = _name(row, "divisor")
        return f"{mean}/{divisor}", f"{var}/{divisor} (0 where {divisor} is 0)"
    if row.storage.known == "hidden averages and their count":
        scale = f"(1 - {row.momentum.known.name}^{_name(row, 'count')})"
        return (
            f"{_kept(row, 'average_mean')}{mean}/{scale}",
            f"{_kept(row, 'average_var')}{var}/{scale}",
        )
    return mean, var


def _kept(row: Row, role: Role) -> str:
    """Return the array that holds what is read, where there is one beside what is updated."""
    names = [array.name for array in row.arrays.known if array.role == role]
    return f"{names[0]} = " if names else ""


def _gradient(row: Row) -> str:
    if row.normalizes_with.known == "blend":
        share = f"(1 - {row.momentum.known.name})"
        return (
            f"dx = d - {share}*(sum(d)/n + (x - m_batch)*inv_std*sum(d*x_hat)/n), "
            "with 1 for that share in the first update"
        )
    return "dx = d - sum(d)/n - x_hat*sum(d*x_hat)/n"
