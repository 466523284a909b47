"""The shapes that are timed, each with its weight: how often the network normalizes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from backnorm._types import Shape

__all__ = ["SUITES", "BenchCase", "cases"]

BATCH = 32


class BenchCase(NamedTuple):
    """One shape of a suite."""

    suite: str
    shape: Shape
    weight: int


# (channels, side of the plane) -> how many batch normalizations of ResNet-50 at 224x224 see it.
# Source: He et al. 2015, table 1, with the stride in the 3x3 convolution as torchvision has it.
_RESNET50 = {
    (64, 112): 1,
    (64, 56): 6,
    (256, 56): 4,
    (128, 56): 1,
    (128, 28): 7,
    (512, 28): 5,
    (256, 28): 1,
    (256, 14): 11,
    (1024, 14): 7,
    (512, 14): 1,
    (512, 7): 5,
    (2048, 7): 4,
}

# Source: Sandler et al. 2018, table 2: expansion, depthwise and projection of each block.
_MOBILENETV2 = {
    (32, 112): 2,
    (16, 112): 1,
    (96, 112): 1,
    (96, 56): 1,
    (24, 56): 2,
    (144, 56): 3,
    (144, 28): 1,
    (32, 28): 3,
    (192, 28): 5,
    (192, 14): 1,
    (64, 14): 4,
    (384, 14): 8,
    (96, 14): 3,
    (576, 14): 5,
    (576, 7): 1,
    (160, 7): 3,
    (960, 7): 6,
    (320, 7): 1,
    (1280, 7): 1,
}


def _network(name: str, planes: dict[tuple[int, int], int]) -> tuple[BenchCase, ...]:
    return tuple(BenchCase(name, (BATCH, c, s, s), weight) for (c, s), weight in planes.items())


SUITES: dict[str, tuple[BenchCase, ...]] = {
    "resnet50": _network("resnet50", _RESNET50),
    "mobilenetv2": _network("mobilenetv2", _MOBILENETV2),
    "small": tuple(
        BenchCase("small", (n, c, s, s), 1)
        for n in (2, 8, 64)
        for c in (8, 64, 512)
        for s in (1, 7, 14)
    ),
    "dense": tuple(
        BenchCase("dense", s, 1) for s in ((64, 256), (1024, 512), (4096, 1024), (256, 8192))
    ),
}


def cases(suite: str) -> tuple[BenchCase, ...]:
    """Return the cases of one suite, or of all of them for "all"."""
    if suite == "all":
        return tuple(case for members in SUITES.values() for case in members)
    return SUITES[suite]
