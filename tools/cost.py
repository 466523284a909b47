"""Print what synchronized normalization costs by the model of docs/distributed.md.

    python tools/cost.py

The first table has the bytes that a rank sends in a training step of ResNet-50, beside those of
its gradients; the second the seconds that a step waits, on three networks; the third the seconds of
each mode on the slowest of them.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["GROUP", "NETWORKS", "RANKS", "Link", "bytes_of", "hops", "merged", "seconds"]

RANKS = (2, 8, 64, 1000, 10000, 100000)
LAYERS, CHANNELS, PARAMETERS = 53, 26560, 25.6e6
"""Of ResNet-50: normalizations, their channels, and all parameters."""

HEAD, FORWARD, BACKWARD = 32, 48, 64
"""Bytes of a message, and for each channel in it."""
MERGE_HEAD, MERGE_LAYER = 24, 8
"""Bytes of the message of merge_statistics, and for each layer in it; a channel takes FORWARD."""
GROUP = 8
"""Ranks of a group."""


class Link(NamedTuple):
    """A network: seconds of a hop, and bytes a second."""

    name: str
    hop: float
    speed: float


NETWORKS = (
    Link("5 us, 25 GB/s", 5e-6, 25e9),
    Link("30 us, 1.25 GB/s", 30e-6, 1.25e9),
    Link("50 ms, 12.5 MB/s", 50e-3, 12.5e6),
)


def hops(ranks: int) -> int:
    """Return how many messages follow each other in an all_reduce: up a tree and down."""
    return 2 * (ranks - 1).bit_length()


def bytes_of(ranks: int) -> float:
    """Return the bytes that a rank sends in the forward and the backward passes of a step."""
    step = 2 * LAYERS * HEAD + CHANNELS * (FORWARD + BACKWARD)
    return 2 * (ranks - 1) / ranks * step


def seconds(ranks: int, link: Link) -> tuple[float, float]:
    """Return how long a step waits for hops, and how long it sends."""
    return 2 * LAYERS * hops(ranks) * link.hop, bytes_of(ranks) / link.speed


def merged(ranks: int, link: Link) -> tuple[float, float]:
    """Return how long merge_statistics waits for hops, and how long it sends."""
    size = MERGE_HEAD + MERGE_LAYER * LAYERS + FORWARD * CHANNELS
    return hops(ranks) * link.hop, 2 * (ranks - 1) / ranks * size / link.speed


def modes(ranks: int, link: Link) -> list[tuple[float, float]]:
    """Return what a step waits and sends with synchronize="layer", "group" and "step".

    A group is close together: its hops and its speed are those of the first network.
    """
    step = merged(ranks, link)
    group = seconds(min(ranks, GROUP), NETWORKS[0])
    return [seconds(ranks, link), (group[0] + step[0], group[1] + step[1]), step]


def main() -> None:
    """Print the tables."""
    print("| ranks | MB a rank | of gradients, MB | hops of a collective |")
    print("| --- | --- | --- | --- |")
    for ranks in RANKS:
        gradients = 2 * (ranks - 1) / ranks * 4 * PARAMETERS
        sizes = f"{bytes_of(ranks) / 1e6:.2f} | {gradients / 1e6:.0f}"
        print(f"| {ranks:,} | {sizes} | {hops(ranks)} |")
    print()
    print(f"| ranks | {' | '.join(link.name for link in NETWORKS)} |")
    print(f"| --- {'| --- ' * len(NETWORKS)}|")
    for ranks in RANKS:
        each = [seconds(ranks, link) for link in NETWORKS]
        times = " | ".join(f"{wait:.3g} + {volume:.3g} s" for wait, volume in each)
        print(f"| {ranks:,} | {times} |")
    print()
    print('| ranks | network | "layer" | "group" of 8 | "step" |')
    print("| --- | --- | --- | --- | --- |")
    for ranks in (64, 10000):
        for link in NETWORKS[1:]:
            times = " | ".join(f"{wait + sent:.3g} s" for wait, sent in modes(ranks, link))
            print(f"| {ranks:,} | {link.name} | {times} |")


if __name__ == "__main__":
    main()
