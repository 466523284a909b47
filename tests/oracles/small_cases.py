"""The table of small arrays that the tests of the reference run through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

AnyArray: TypeAlias = npt.NDArray[Any]

THROUGH = ("both", "mean", "variance", "none")


@dataclass(frozen=True)
class Case:
    """One input with everything that may be asked about it; all values are float64."""

    name: str
    shape: tuple[int, ...]
    channel_axis: int = 1
    eps: float = 1e-5
    offset: float = 0.5
    affine: bool = True
    frozen: bool = False
    constant: bool = False
    x: AnyArray = field(init=False, repr=False)
    dy: AnyArray = field(init=False, repr=False)
    ddx: AnyArray = field(init=False, repr=False)
    vectors: AnyArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(20150211)
        c = self.shape[self.channel_axis]
        arrays = rng.standard_normal((3, *self.shape))
        arrays[0] += self.offset
        if self.constant:
            np.moveaxis(arrays[0], self.channel_axis, 0)[0] = 1.0
        values = {
            "x": arrays[0],
            "dy": arrays[1],
            "ddx": arrays[2],
            "vectors": rng.standard_normal((6, c)),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def gamma(self) -> AnyArray | None:
        """Scale, or None without affine part."""
        return self.vectors[0] if self.affine else None

    @property
    def beta(self) -> AnyArray | None:
        """Shift, or None without affine part."""
        return self.vectors[1] if self.affine else None

    @property
    def ddgamma(self) -> AnyArray:
        """Weight of dgamma, or direction of gamma."""
        return self.vectors[2]

    @property
    def ddbeta(self) -> AnyArray:
        """Weight of dbeta, or direction of beta."""
        return self.vectors[3]

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments that every function takes."""
        frozen = self.frozen
        return {
            "channel_axis": self.channel_axis,
            "eps": self.eps,
            "running_mean": self.vectors[4] + self.offset if frozen else None,
            "running_var": self.vectors[5] ** 2 + 0.25 if frozen else None,
        }

    @property
    def condition(self) -> float:
        """How much a rounding of the mean grows in x_hat: sqrt(1 + mean^2/(var + eps))."""
        rows = np.moveaxis(self.x, self.channel_axis, 0).reshape(self.shape[self.channel_axis], -1)
        mean, var = rows.mean(axis=1), rows.var(axis=1)
        if self.frozen:
            mean, var = self.options["running_mean"], self.options["running_var"]
        return float(np.sqrt(1 + mean**2 / (var + self.eps)).max())


CASES = (
    Case("two axes", (5, 3)),
    Case("images", (2, 3, 2, 2)),
    Case("images, channels last", (2, 2, 2, 3), channel_axis=-1),
    Case("channels first", (3, 6), channel_axis=0),
    Case("channels in the middle", (2, 2, 3, 2), channel_axis=2),
    Case("no affine part", (5, 3), affine=False),
    Case("eps as large as the variance", (5, 3), eps=0.5),
    Case("two values", (2, 3)),
    Case("one value", (1, 3)),
    Case("one axis", (3,), channel_axis=0),
    Case("a constant channel", (5, 3), constant=True),
    Case("mean a thousand times std", (6, 2), offset=1e3),
    Case("frozen", (5, 3), frozen=True),
    Case("frozen, no affine part", (5, 3), frozen=True, affine=False),
    Case("frozen, channels last", (2, 2, 2, 3), channel_axis=-1, frozen=True),
    Case("frozen, one value", (1, 3), frozen=True),
)

BATCH_CASES = tuple(case for case in CASES if not case.frozen)
