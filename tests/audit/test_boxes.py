"""The state that a NumPy pair keeps."""

from __future__ import annotations

import numpy as np

from audit.pairs import Law, Running
from backnorm.audit.boxes import DeepBox, StatefulBox, VariedBox, Visit
from backnorm.audit.draws import draw
from backnorm.audit.numpy_pair import pair_subject


def test_a_pair_is_followed_over_calls() -> None:
    """Its running mean halves the way to the batch's in each call; the pair itself stays."""
    subject = pair_subject(Running())
    box, one = subject.box, draw(subject, np.random.default_rng(1), "float64", batch=5)
    assert isinstance(box, StatefulBox)
    visit = Visit(one.x, one.gamma, one.beta, one.dy)
    mean = box.after([visit, visit]).state()["mean"]
    want = 0.75 * one.x.mean((0, 2, 3), keepdims=True)
    assert np.abs(mean - want).max() < 1e-12
    assert box.state() == {"mean": 0.0}
    assert box.attached() == ()


def test_what_a_box_lacks_can_be_asked() -> None:
    """A pair has no framework that could differentiate it, and no variants."""
    box = pair_subject(Law()).box
    assert not isinstance(box, DeepBox)
    assert not isinstance(box, VariedBox)
