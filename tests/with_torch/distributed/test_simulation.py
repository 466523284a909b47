"""Many ranks in one process: the tool that adds their messages over random, unreliable trees."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import simulation
from backnorm.kernels import exact_windows
from backnorm.torch.distributed import exchange
from with_torch.engine.tensors import needs_engine

WILD = simulation.Faults(twice=0.2, lost=0.2, late=0.5)


@needs_engine
@pytest.mark.parametrize("ranks", [1, 2, 3, 64, 1000])
def test_bits_are_those_of_one_process(ranks: int) -> None:
    """Over whatever tree, with messages that are late, doubled or lost."""
    found = simulation.simulated(ranks, 2, offset=1e3, faults=WILD)
    assert found.same_bits
    assert ranks < 64 or found.ignored > 0


@needs_engine
def test_a_rank_sends_what_the_model_says() -> None:
    """1,000 ranks send within 1 % of it, and without faults exactly that."""
    plain = simulation.simulated(1000, 2, faults=simulation.NONE)
    assert plain.sent == plain.model == simulation.model(1000, simulation.CHANNELS)
    usual = simulation.simulated(1000, 2)
    assert abs(usual.sent / usual.model - 1) < 0.01


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 64, 65, 1000])
def test_no_way_is_longer_than_that_of_a_balanced_tree(ranks: int) -> None:
    """Every rank but one has a parent, by which the root is reached in ceil(log2(W)) hops."""
    tree = simulation.random_tree(ranks, np.random.default_rng(0))
    assert tree.parent.count(-1) == 1
    assert sum(tree.children) == ranks - 1
    for rank in range(ranks):
        hops, at = 0, rank
        while tree.parent[at] >= 0:
            hops, at = hops + 1, tree.parent[at]
        assert hops <= tree.depth <= (ranks - 1).bit_length()


def test_without_the_number_of_the_step_the_sum_is_wrong() -> None:
    """It is what tells a message that comes twice, or from the step before."""
    rng = np.random.default_rng(0)
    own = np.ones((100, 1), np.int64)
    network = simulation.Network(rng, WILD)
    wrong = []
    for step in range(5):
        tree = simulation.random_tree(100, rng)
        adding = simulation.Adding(tree, own, step, network, told_apart=False)
        wrong.append(adding.total()[0] != 100)
    assert any(wrong)


def test_the_model_counts_the_message_of_a_forward_pass() -> None:
    """32 bytes and 48 a channel, as `exchange` sends them."""
    limbs = exchange.HEAD + 3 * exact_windows.size_of(exact_windows.MOMENTS)
    assert simulation.model(1 << 40, 3) == pytest.approx(2 * 8 * limbs)


@needs_engine
def test_exact_sums_are_the_rounded_fractions() -> None:
    """Errors are those of one rounding; float32 loses digits where the mean is large."""
    found = simulation.errors(64, 4, 1e3)
    assert max(found["exact sums"]) < 1e-12 < min(found["torch, float32"])
