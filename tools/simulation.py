"""Add the exact sums of many ranks in one process, over random trees of unreliable messages.

    python tools/simulation.py [--ranks 1000 --ranks 10000 --ranks 100000] [--values 4]

Each rank has a few values of each channel, and makes of them the message of SyncBatchNorm's forward
pass. The ranks are the nodes of a random tree: each waits for its children, adds what they sent,
sends the sum to its parent, and later hands the total down. Messages come late, twice, or not at
all, in which case they are sent again; messages of a step may come in the next one. A message has
the number of its step (its epoch) and its sender, so that a rank takes each of them once.

The first table says whether mean and variance have the bits of one process, how many hops the
longest way up and down has, and how many bytes a rank sends beside the model of
docs/distributed.md. The second has the errors of other laws on the same values: that of
torch.nn.SyncBatchNorm in float32, one rank after the other, and Chan's in float64.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from _simulated_laws import by_chan, by_torch, errors_of, exact
from _simulated_messages import NONE, USUAL, Adding, Faults, Network, random_tree
from backnorm._meter import metered
from backnorm.kernels import exact_limbs, exact_windows
from backnorm.torch.distributed import exchange, parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHANNELS = 4
STEPS = 3
EPS = 1e-5


def limbs_of(x: np.ndarray) -> np.ndarray:
    """Return the limbs of each rank's values; x has shape (ranks, values, C)."""
    made = [exact_limbs.for_moments(x.shape[2]) for _ in x]
    for each, limbs in zip(torch.from_numpy(x), made, strict=True):
        parts.write_moments(each, limbs)
    return np.stack(made)


def messages_of(limbs: np.ndarray, n: int, window: exact_windows.Window | None) -> np.ndarray:
    """Return the message of each rank: that of `exchange`, or the whole limbs."""
    if window is None:
        return limbs.reshape(len(limbs), -1)
    size = exact_windows.size_of(exact_windows.MOMENTS)
    made = np.zeros((len(limbs), exchange.HEAD + size * limbs.shape[1]), np.int64)
    for message, rows in zip(made, limbs, strict=True):
        message[0], message[2], message[3] = n, window.digest, window.digest**2
        narrow = exact_windows.narrowed(rows, window)
        assert narrow is not None  # noqa: S101 - the values of all steps are alike
        message[exchange.HEAD :] = narrow.ravel()
    return made


class Simulated(NamedTuple):
    """What the ranks have found.

    Attributes
    ----------
    same_bits
        Whether mean and variance of each step are those of one process.
    hops
        Up and down, of the longest of all ways.
    sent, model
        Bytes that a rank has sent on average in a step with windows, and those of the model.
    ignored
        Messages that came twice or too late.
    """

    same_bits: bool
    hops: int
    sent: float
    model: float
    ignored: int


def batches(ranks: int, values: int, offset: float) -> Iterator[np.ndarray]:
    """Yield what the ranks have in each step."""
    rng = np.random.default_rng([ranks, values, int(offset)])
    for _ in range(STEPS):
        yield (rng.standard_normal((ranks, values, CHANNELS)) + offset).astype(np.float32)


def simulated(ranks: int, values: int, offset: float = 0.0, faults: Faults = USUAL) -> Simulated:
    """Let so many ranks add up what they have, over another tree in each step."""
    rng = np.random.default_rng(ranks)
    network = Network(rng, faults)
    window: exact_windows.Window | None = None
    same, hops, sent = True, 0, 0.0
    for step, x in enumerate(batches(ranks, values, offset)):
        limbs, n = limbs_of(x), ranks * values
        tree = random_tree(ranks, rng)
        hops = max(hops, 2 * tree.depth)
        before = network.traffic.messages
        messages = messages_of(limbs, values, window)
        added = Adding(tree, messages, step, network).total()
        total = (
            added.reshape(limbs[0].shape) if window is None else widened(added, window, limbs[0])
        )
        found = exact_limbs.statistics_of(total, n, EPS)
        one = exact_limbs.statistics_of(limbs_of(x.reshape(1, -1, CHANNELS))[0], n, EPS)
        same &= found.tobytes() == one.tobytes()
        if window is not None:
            sent = (network.traffic.messages - before) * messages[0].nbytes / ranks
        window = exact_windows.for_moments(one, n)
    return Simulated(same, hops, sent, model(ranks, CHANNELS, faults), network.traffic.ignored)


def widened(added: np.ndarray, window: exact_windows.Window, like: np.ndarray) -> np.ndarray:
    """Return the total of messages as limbs."""
    narrow = added[exchange.HEAD :].reshape(len(like), -1)
    return exact_windows.widened(narrow, window, like)


def model(ranks: int, channels: int, faults: Faults = NONE) -> float:
    """Return how many bytes a rank sends in a forward pass, on average."""
    again = 1 / (1 - faults.lost) + faults.twice
    return 2 * (ranks - 1) / ranks * (32 + 48 * channels) * again


def by_limbs(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance by exact sums."""
    rows = exact_limbs.statistics_of(limbs_of(x).sum(0), x.shape[0] * x.shape[1], EPS)
    return rows[0], rows[2]


LAWS = {"torch, float32": by_torch, "Chan, float64": by_chan, "exact sums": by_limbs}


def errors(ranks: int, values: int, offset: float) -> dict[str, tuple[float, float]]:
    """Return the errors of each law on what the ranks have in the first step."""
    x = next(batches(ranks, values, offset))
    right = exact(x)
    return {name: errors_of(law, x, right) for name, law in LAWS.items()}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Simulate each number of ranks, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, action="append")
    parser.add_argument("--values", type=int, default=4)
    options = parser.parse_args()
    numbers, offsets = options.ranks or [1000, 10000, 100000], (0.0, 1e3, 1e5)
    simulations, laws = [], []
    with metered("simulation") as meter:
        total = len(numbers) * (1 + len(offsets))
        for done, ranks in enumerate(numbers):
            meter.at(f"{ranks} ranks", done * (1 + len(offsets)), total)
            found = simulated(ranks, options.values)
            most = 2 * max(ranks - 1, 0).bit_length()
            simulations.append(
                [
                    f"{ranks:,}",
                    "yes" if found.same_bits else "NO",
                    f"{found.hops} of {most}",
                    f"{found.sent:.1f}",
                    f"{found.model:.1f}",
                    f"{found.sent / found.model - 1:+.2%}",
                    str(found.ignored),
                ]
            )
            for place, offset in enumerate(offsets):
                meter.at(f"{ranks} ranks, laws", done * (1 + len(offsets)) + 1 + place, total)
                for name, (mean, var) in errors(ranks, options.values, offset).items():
                    laws.append([f"{ranks:,}", f"{offset:g}", name, f"{mean:.1e}", f"{var:.1e}"])
    head = ["ranks", "bits of one process", "hops", "bytes a rank", "model", "difference"]
    print(table([*head, "ignored messages"], simulations))
    print()
    print(
        table(["ranks", "mean/std", "law", "error of the mean, over std", "of the variance"], laws)
    )


if __name__ == "__main__":
    main()
