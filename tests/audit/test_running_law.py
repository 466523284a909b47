"""The law of running statistics is inferred, and named by the dialects that have it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audit.running_pairs import (
    Hidden,
    Keeping,
    debiased,
    deviation,
    eps_inside,
    in_float32,
    keras_like,
    last_batch,
    small_weight,
    without_law,
)
from backnorm.audit.forward_only import laws_of
from backnorm.audit.measure.gradient import measure
from backnorm.audit.measure.running_law import fit_running_law
from backnorm.audit.probes.examination import Examination
from backnorm.audit.probes.running import running_law
from backnorm.audit.specimens.moving import Averaging
from backnorm.audit.specimens.running import Sums
from backnorm.audit.subjects.registry import as_subject
from backnorm.audit.verdict import judge
from dialects.layers import same_law

UNBIASED, BIASED = same_law("torch"), same_law("keras")

STATES = {
    "averages, biased": (
        Keeping(keras_like),
        (
            "running_mean = 0.99*running_mean + 0.01*mean; "
            "running_var = 0.99*running_var + 0.01*biased variance. "
            f"Dialects with this law: {BIASED}."
        ),
    ),
    "averages, unbiased": (
        Keeping(small_weight),
        (
            "running_mean = 0.999*running_mean + 0.001*mean; "
            "running_var = 0.999*running_var + 0.001*unbiased variance. "
            f"Dialects with this law: {UNBIASED}."
        ),
    ),
    "rounded to float32": (
        Keeping(in_float32),
        (
            "running_mean = 0.999*running_mean + 0.001*mean; "
            "running_var = 0.999*running_var + 0.001*unbiased variance. "
            f"Dialects with this law: {UNBIASED}."
        ),
    ),
    "eps in the variance": (
        Keeping(eps_inside),
        (
            "running_mean = 0.9*running_mean + 0.1*mean; "
            "running_var = 0.9*running_var + 0.1*(biased variance + 0.001). "
            "No known dialect has this law."
        ),
    ),
    "debiased": (
        Hidden(debiased),
        (
            "running_mean = 0.9*running_mean + 0.1*mean, divided by 1 - 0.9^k; "
            "running_var = 0.9*running_var + 0.1*biased variance, divided by 1 - 0.9^k; "
            "hidden_mean = 0.9*hidden_mean + 0.1*mean; "
            "hidden_var = 0.9*hidden_var + 0.1*biased variance; count grows by 1. "
            f"Dialects with this law: {same_law('haiku')}."
        ),
    ),
    "sums": (
        Sums(),
        (
            "mean = 0.999*mean + mean; variance = 0.999*variance + unbiased variance; "
            f"scale_factor = 0.999*scale_factor + 1. Dialects with this law: {same_law('caffe')}."
        ),
    ),
    "blend": (
        Averaging(),
        (
            "running_mean = 0.9*running_mean + 0.1*mean; the first batch is copied; "
            "running_var = 0.9*running_var + 0.1*biased variance; the first batch is copied; "
            f"updates grows by 1. Dialects with this law: {same_law('equinox-ema')}."
        ),
    ),
    "deviation": (
        Keeping(deviation),
        (
            "running_mean = 0.9*running_mean + 0.1*mean; "
            "running_var = 0.9*running_var + 0.1*biased deviation. "
            "No known dialect has this law."
        ),
    ),
    "the last batch alone": (
        Keeping(last_batch),
        (
            "running_mean = mean; running_var = unbiased variance. "
            f"Dialects with this law: {UNBIASED}."
        ),
    ),
    "no law": (
        Keeping(without_law),
        ("running_mean changes by an unknown law; running_var changes by an unknown law"),
    ),
}


def examination_of(pair: Any, seed: int) -> Examination:
    """Judge the gradient of a pair."""
    subject = as_subject(pair)
    measurements = measure(subject, seed)
    laws = laws_of(subject, measurements, seed)
    return Examination(subject, measurements, judge(subject, measurements), seed, laws)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", STATES)
def test_the_running_law_is_told_in_words(name: str, seed: int) -> None:
    """Weights, estimator, first updates, and which dialects do the same."""
    pair, words = STATES[name]
    outcome = running_law(examination_of(pair, seed))
    assert (outcome.result, outcome.state) == ("pass", words)


def test_a_law_of_another_batch_does_not_fit() -> None:
    """Statistics that the array does not follow are not fitted to it."""
    rng = np.random.default_rng(7)
    path = rng.standard_normal((7, 3))
    statistics = [{"mean": rng.standard_normal(3)} for _ in range(6)]
    assert fit_running_law(path, statistics, 0) is None


@pytest.mark.parametrize("count", [0, 1, 2])
def test_an_average_without_its_bias_is_told_at_its_start(count: int) -> None:
    """Also after one update that a counter tells of; after two it is not looked for."""
    rng = np.random.default_rng(9)
    drawn = rng.standard_normal((count + 6, 3))
    hidden, path = np.zeros(3), [np.zeros(3)]
    for k, mean in enumerate(drawn, 1):
        hidden = 0.9 * hidden + 0.1 * mean
        path.append(hidden / (1 - 0.9**k))
    statistics = [{"mean": mean} for mean in drawn[count:]]
    law = fit_running_law(np.stack(path[count:]), statistics, count)
    assert (law is None) == (count == 2)
    if law is not None:
        assert (law.form, law.old) == ("debiased", pytest.approx(0.9))


def test_a_warm_cumulative_average_is_told_by_its_count() -> None:
    """After 4 updates the next batch weighs a fifth."""
    rng = np.random.default_rng(8)
    statistics = [{"mean": rng.standard_normal(3)} for _ in range(6)]
    path = [rng.standard_normal(3)]
    for k, one in enumerate(statistics, 5):
        path.append(path[-1] * (1 - 1 / k) + one["mean"] / k)
    law = fit_running_law(np.stack(path), statistics, 4)
    assert law is not None
    assert law.form == "cumulative"
