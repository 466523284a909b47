"""The state that a NumPy pair keeps."""

from __future__ import annotations

import numpy as np

from audit.pairs import Law, Running
from backnorm.audit.boxes import DeepBox, StatefulBox, Variant, VariedBox, Visit
from backnorm.audit.measure.inputs import draw_inputs
from backnorm.audit.specimens.digits import AllInHalf
from backnorm.audit.subjects.pair import pair_subject


def test_a_pair_is_followed_over_calls() -> None:
    """Its running mean halves the way to the batch's in each call; the pair itself stays."""
    subject = pair_subject(Running())
    box, one = subject.box, draw_inputs(subject, np.random.default_rng(1), "float64", batch=5)
    assert isinstance(box, StatefulBox)
    visit = Visit(one.x, one.gamma, one.beta, one.dy)
    mean = box.after([visit, visit]).state()["mean"]
    want = 0.75 * one.x.mean((0, 2, 3), keepdims=True)
    assert np.abs(mean - want).max() < 1e-12
    assert box.state() == {"mean": 0.0}
    assert box.attached() == ()


def test_what_a_box_lacks_can_be_asked() -> None:
    """A pair has no framework that could differentiate it, and no variants but those it names."""
    box = pair_subject(Law()).box
    assert not isinstance(box, DeepBox)
    assert isinstance(box, VariedBox)
    assert box.variant(Variant(threads=2)) is None
    assert box.variant(Variant(dtype="float16")) is None


def test_a_pair_is_run_in_the_half_formats_that_it_names() -> None:
    """Its own arrays are float16; those that come and go are float32."""
    box = pair_subject(AllInHalf).box
    assert isinstance(box, VariedBox)
    half = box.variant(Variant(dtype="float16"))
    assert half is not None
    assert box.variant(Variant(dtype="bfloat16")) is None
    x = np.array([[1.0], [3.0]], np.float32).reshape(2, 1, 1, 1)
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    run = half.run(x, one / 3, zero, x)
    third = np.float32(np.float16(1 / 3))
    assert run.y.dtype == run.dx.dtype == np.float32
    assert run.y.ravel().tolist() == [-third, third]
    assert half.forward(x, one / 3, zero).dtype == np.float32
