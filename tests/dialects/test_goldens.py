"""What Caffe 1.0 and MXNet 1.9.1 computed, every case: ours beside theirs, theirs beside exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import backnorm as bn
from backnorm.testing.budget import assert_like_framework
from dialects.formulas import ExactCaffe, ExactMXNet

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDENS = Path(__file__).parent / "goldens"
HEAD = f"{'step and array':24} {'ours':>9} {'theirs':>9} {'allowed':>9}"

Results = dict[str, Any]


def cases(framework: str) -> list[dict[str, Any]]:
    """Every case of a manifest."""
    found: list[dict[str, Any]] = json.loads((GOLDENS / framework / "manifest.json").read_text())[
        "cases"
    ]
    return found


def golden_of(framework: str, case: dict[str, Any]) -> Results:
    """The arrays of a case."""
    with np.load(GOLDENS / framework / case["file"]) as arrays:
        return dict(arrays)


def name_of(case: dict[str, Any]) -> str:
    """File and options, as the name of a test."""
    return str(case["file"]).removesuffix(".npz")


def compare(case: dict[str, Any], golden: Results, steps: Iterator[tuple[Results, Results]]) -> int:
    """Assert each array of each step, print the table, and return how many there were."""
    lines = []
    for step, (ours, exact) in enumerate(steps):
        for name, value in ours.items():
            lines.append(
                assert_like_framework(
                    np.asarray(value),
                    golden[f"step{step}_{name}"],
                    np.asarray(exact[name]),
                    dtype=case.get("dtype", "float32"),
                    offset=case["offset"] != 0,
                    name=f"{step} {name}",
                )
            )
    print(*[f"{case['file']} {case['shape']}", HEAD, *lines], sep="\n")  # noqa: T201 - the table is what one reads with -s
    return len(lines)


def recorded(golden: Results) -> int:
    """How many arrays were recorded after the first step began, without what went in."""
    inputs = {"x", "dy"}
    return sum(key.startswith("step") and key.split("_", 1)[1] not in inputs for key in golden)


def caffe_steps(case: dict[str, Any], golden: Results) -> Iterator[tuple[Results, Results]]:
    """Run Caffe's case: some steps in its phase, and one in TEST."""
    given = ("use_global_stats", "moving_average_fraction", "eps")
    layer = bn.BatchNorm(
        case["shape"][1],
        dialect="caffe",
        scale=case["scale_layer"],
        in_place=case["inplace"],
        **{name: case[name] for name in given if case[name] is not None},
    )
    names = {"mean": "blob0", "variance": "blob1", "scale_factor": "blob2"}
    if case["scale_layer"]:
        names |= {"gamma": "gamma", "beta": "beta"}
    layer.load_state({name: golden[key] for name, key in names.items()})
    exact = ExactCaffe(case, golden)
    then_test = case["then_test_phase_step"]
    for step in range(case["train_steps"] + (then_test is not None)):
        test = case["phase"] == "TEST" or step == then_test
        layer = layer.eval() if test else layer.train()
        x, dy = golden[f"step{step}_x"], golden[f"step{step}_dy"]
        bottom = x.copy()
        y = layer.forward(bottom)
        assert (y is bottom) == case["inplace"]
        results, wanted = {"y": y.copy()}, {"y": exact.forward(x, test=test)}
        gradients, wanted_gradients = layer.backward(dy), exact.layer.backward(dy)
        kept = ("dx", "dgamma", "dbeta") if case["scale_layer"] else ("dx",)
        results |= {name: getattr(gradients, name) for name in kept}
        wanted |= wanted_gradients
        state = layer.state()
        for k, name in enumerate(("mean", "variance", "scale_factor")):
            results[f"blob{k}"], wanted[f"blob{k}"] = state[name], exact.blobs[k]
        yield results, wanted


def mxnet_steps(case: dict[str, Any], golden: Results) -> Iterator[tuple[Results, Results]]:
    """Run MXNet's case, its gradients into the recorded buffers."""
    shape, axis = case["shape"], case["axis"]
    layer = bn.BatchNorm(shape[axis], dialect="mxnet", axis=axis, **case["params"])
    names = {"moving_mean": "running_mean", "moving_var": "running_var"}
    names |= {"gamma": "gamma", "beta": "beta"}
    layer.load_state({name: golden[key] for name, key in names.items()})
    if case["mode"] != "train":
        layer.eval()
    requests = dict(zip(("dx", "dgamma", "dbeta"), case["grad_req"].values(), strict=True))
    buffers = {
        name: golden[f"grad_buffer_{name}"].copy()
        for name, request in requests.items()
        if request != "null"
    }
    exact = ExactMXNet(case, golden)
    for step in range(case["steps"]):
        x, dy = golden[f"step{step}_x"], golden[f"step{step}_dy"]
        results, wanted = {"y": layer.forward(x)}, {"y": exact.forward(x)}
        if case["params"].get("output_mean_var"):
            results |= {"out_mean": layer.output_mean, "out_var": layer.output_var}
            wanted |= exact.outputs()
        layer.backward(dy, **requests, into=bn.Gradients(**buffers))
        results |= buffers
        wanted |= exact.backward(dy)
        state = layer.state()
        results |= {key: state[name] for name, key in names.items() if name != "beta"}
        wanted |= {"running_mean": exact.mean, "running_var": exact.var}
        wanted["gamma"] = exact.layer.gamma
        yield results, wanted


STEPS = {"caffe": caffe_steps, "mxnet": mxnet_steps}
"""How to run the cases of each manifest: y and its other outputs, the gradients, all arrays."""


@pytest.mark.parametrize(
    ("framework", "case"),
    [(framework, case) for framework in STEPS for case in cases(framework)],
    ids=lambda value: value if isinstance(value, str) else name_of(value),
)
def test_the_framework_computed_this(framework: str, case: dict[str, Any]) -> None:
    """Every array after every step, and no recorded array is left out."""
    golden = golden_of(framework, case)
    assert compare(case, golden, STEPS[framework](case, golden)) == recorded(golden)


def test_no_case_is_left_out() -> None:
    """Every recorded file is in a manifest, and every manifest has a test above."""
    manifests = [path.parent.name for path in sorted(GOLDENS.glob("*/manifest.json"))]
    assert manifests == sorted(STEPS)
    for framework in manifests:
        files = sorted(path.name for path in (GOLDENS / framework).glob("*.npz"))
        assert files == sorted(case["file"] for case in cases(framework))
