"""Normalizations in ONNX files: what is found, its law, and the faults that may be planted."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backnorm.audit.conduct import conduct_by_probes
from backnorm.audit.subjects.registry import subjects_of
from backnorm.audit.subjects.request import AuditRequest
from backnorm.errors import SubjectError
from backnorm.host.find import find

onnx = pytest.importorskip("onnx", reason="onnx is not installed; make test has it")

from onnx_models import chain_of, constants, group_chain, node, save_model  # noqa: E402 - it needs onnx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from backnorm._types import AnyArray
    from backnorm.audit.record import Record

RNG = np.random.default_rng(7)

CHANNELS: Mapping[str, AnyArray] = {
    "gamma": np.linspace(0.5, 1.5, 4, dtype=np.float32),
    "beta": np.linspace(-1, 1, 4, dtype=np.float32),
    "mean": np.linspace(-0.5, 0.7, 4, dtype=np.float32),
    "var": np.linspace(0.5, 2.0, 4, dtype=np.float32),
}


def audited(target: str) -> list[Record]:
    """Return the record of each normalization in a file."""
    subjects = subjects_of(find(target), AuditRequest(name=target))
    return [
        deque(conduct_by_probes(one, quick=False, at_work=lambda _: None), maxlen=1)[0]
        for one in subjects
    ]


def codes(record: Record) -> list[str]:
    """Return the codes of the findings about the law and about constants.

    What is lost at large means is the runtime's own, and differs from version to version.
    """
    return [found.code for found in record.findings if found.code[0] in "LMS"]


def batch_norm(**attributes: Any) -> list[Any]:
    """Return the node of a batch normalization that evaluates."""
    return [node("BatchNormalization", "x gamma beta mean var", "y", **attributes)]


OPERATORS: Sequence[tuple[str, list[Any], tuple[object, ...], int, str, str]] = (
    ("batch, frozen", batch_norm(epsilon=1e-3), ("N", 4, 5, 5), 18, "batch", "constant statistics"),
    (
        "batch, training",
        [
            node(
                "BatchNormalization",
                "x gamma beta mean var",
                "y next_mean next_var",
                epsilon=1e-3,
                momentum=0.8,
                training_mode=1,
            )
        ],
        ("N", 4, 5, 5),
        18,
        "batch",
        "biased variance, eps 0.001 inside the root",
    ),
    (
        "layer",
        [node("LayerNormalization", "x gamma beta", "y", epsilon=1e-3, axis=-1)],
        ("N", 3, 4),
        18,
        "layer",
        "biased variance, eps 0.001 inside the root",
    ),
    (
        "instance",
        [node("InstanceNormalization", "x gamma beta", "y", epsilon=1e-3)],
        ("N", 4, 5, 5),
        18,
        "instance",
        "biased variance, eps 0.001 inside the root",
    ),
    (
        "group",
        [node("GroupNormalization", "x gamma beta", "y", epsilon=1e-3, num_groups=2)],
        ("N", 4, 5, 5),
        21,
        "group",
        "biased variance, eps 0.001 inside the root",
    ),
    (
        "rms",
        [node("RMSNormalization", "x gamma", "y", epsilon=1e-3, axis=-1)],
        ("N", 3, 4),
        23,
        "rms",
        "mean square, eps 0.001 inside the root",
    ),
)


@pytest.mark.parametrize(
    ("nodes", "shape", "opset", "kind", "law"),
    [row[1:] for row in OPERATORS],
    ids=[row[0] for row in OPERATORS],
)
def test_each_operator_is_audited_with_its_own_attributes(  # noqa: PLR0917
    tmp_path: Path, nodes: list[Any], shape: tuple[object, ...], opset: int, kind: str, law: str
) -> None:
    """The kind and the law with the node's eps are told; there is no gradient, and no finding."""
    (record,) = audited(save_model(tmp_path / "m.onnx", nodes, CHANNELS, shape=shape, opset=opset))
    assert (record.kind, record.law, codes(record)) == (kind, law, [])
    assert record.forward_only
    assert record.sound is None


def test_a_training_node_tells_how_its_statistics_move(tmp_path: Path) -> None:
    """Momentum is the weight of the old value, and the variance is that divided by n."""
    path = save_model(tmp_path / "m.onnx", OPERATORS[1][1], CHANNELS, shape=("N", 4, 5, 5))
    (record,) = audited(path)
    assert "running_mean = 0.8*running_mean + 0.2*mean" in record.state
    assert "running_var = 0.8*running_var + 0.2*biased variance" in record.state
    result = {probe.code: probe.result for probe in record.probes}
    assert result["P20"] == "pass"


def with_divisor() -> list[Any]:
    """Return a chain whose variance is a sum that is divided by 5, for 6 values."""
    nodes = chain_of(("ReduceSum", "square axes", "var"))
    at = next(place for place, one in enumerate(nodes) if one.output[0] == "var")
    nodes[at] = node("ReduceSum", "square axes", "sum")
    return [*nodes[: at + 1], node("Div", "sum five", "var"), *nodes[at + 1 :]]


def test_another_momentum_than_that_of_the_file_is_found(tmp_path: Path) -> None:
    """The node says 0.8; were 0.5 meant, the statistics would move by another weight."""
    path = save_model(tmp_path / "m.onnx", OPERATORS[1][1], CHANNELS, shape=("N", 4, 5, 5))
    (subject,) = subjects_of(find(path), AuditRequest(name=path))
    other = replace(subject, declared={**subject.declared, "momentum": 0.5})
    records = conduct_by_probes(other, quick=False, at_work=lambda _: None)
    assert codes(deque(records, maxlen=1)[0]) == ["L06"]


PLANTED: Mapping[str, tuple[list[Any], Mapping[str, AnyArray], list[str]]] = {
    "none": (chain_of(), constants(), []),
    "n - 1": (with_divisor(), constants(five=5.0), ["L02"]),
    "no eps": (chain_of(), constants(eps=0.0), ["L04"]),
    "a large eps": (chain_of(), constants(eps=0.1), ["L05"]),
    "x in place of x - mean": (chain_of(("Div", "x root", "x_hat")), constants(), ["L01"]),
    "a sum in place of a mean": (
        chain_of(("ReduceSum", "square axes", "var")),
        constants(),
        ["L03"],
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_fault_in_a_chain_is_found(tmp_path: Path, fault: str) -> None:
    """Each has the finding that names it, and the right chain has none."""
    nodes, held, expected = PLANTED[fault]
    (record,) = audited(save_model(tmp_path / "m.onnx", nodes, held))
    assert codes(record) == expected


FOLDED = (
    ("Sqrt", "raised", "root"),
    ("Reciprocal", "root", "inv_std"),
    ("Mul", "inv_std gamma", "factor"),
    ("Mul", "x factor", "scaled"),
    ("Mul", "mean factor", "shift"),
    ("Sub", "beta shift", "offset"),
    ("Add", "scaled offset", "y"),
)
"""How TensorFlow's graphs end: one factor and one term for each row."""


def test_a_chain_with_a_folded_factor_is_whole(tmp_path: Path) -> None:
    """gamma and beta are found where they enter the factor and the term."""
    nodes = [*chain_of()[:5], *(node(*line) for line in FOLDED)]
    (record,) = audited(save_model(tmp_path / "m.onnx", nodes, constants(eps=1e-3)))
    assert (record.kind, record.law) == ("layer", "biased variance, eps 0.001 inside the root")
    assert codes(record) == []


def test_statistics_in_float16_are_found(tmp_path: Path) -> None:
    """Casts around mean and variance round them: y follows the law of no statistics."""
    nodes = [node("Cast", "x", "half", to=10), node("ReduceMean", "half axes", "half_mean")]
    nodes += [node("Cast", "half_mean", "mean", to=1), *chain_of()[1:]]
    (record,) = audited(save_model(tmp_path / "m.onnx", nodes, constants()))
    assert codes(record) == ["L01"]


def test_a_chain_in_float16_has_lost_digits(tmp_path: Path) -> None:
    """Its law is that of the same nodes in float32; its own dtype loses digits, which is a note."""
    path = save_model(tmp_path / "m.onnx", chain_of(), constants(dtype=np.float16), dtype=10)
    (record,) = audited(path)
    assert record.law == "biased variance, eps 1e-05 inside the root"
    assert "N04" in [found.code for found in record.findings]
    assert record.clean


def test_a_node_in_float16_with_sums_in_float32_is_sound_in_digits(tmp_path: Path) -> None:
    """LayerNormalization keeps its statistics in float32, whatever the dtype of x."""
    held = {name: value.astype(np.float16) for name, value in CHANNELS.items()}
    nodes = [node("LayerNormalization", "x gamma beta", "y", epsilon=1e-3, axis=-1)]
    (record,) = audited(save_model(tmp_path / "m.onnx", nodes, held, shape=("N", 3, 4), dtype=10))
    assert "N04" not in [found.code for found in record.findings]
    assert {p.dtype for p in record.precision} == {"float32", "float16"}


def test_the_mean_of_squares_minus_the_square_of_the_mean_loses_digits(tmp_path: Path) -> None:
    """At a mean of 1e4 standard deviations nothing is left of y: that counts."""
    nodes = [
        node("ReduceMean", "x axes", "mean"),
        node("Mul", "x x", "square"),
        node("ReduceMean", "square axes", "square_mean"),
        node("Mul", "mean mean", "mean_square"),
        node("Sub", "square_mean mean_square", "var"),
        *chain_of()[4:6],
        node("Sub", "x mean", "d"),
        *chain_of()[6:],
    ]
    (record,) = audited(save_model(tmp_path / "m.onnx", nodes, constants(eps=1e-3)))
    assert (record.kind, record.law) == ("layer", "biased variance, eps 0.001 inside the root")
    assert [found.code for found in record.findings] == ["N01", "I07", "N03"]


def stack(epsilons: Sequence[float], **others: Any) -> tuple[list[Any], dict[str, AnyArray]]:
    """Return batch normalizations one behind another."""
    ends = ["x", *(f"h{at}" for at in range(len(epsilons) - 1)), "y"]
    nodes = [
        node("BatchNormalization", f"{a} gamma beta mean var", b, epsilon=eps)
        for a, b, eps in zip(ends, ends[1:], epsilons, strict=False)
    ]
    return nodes, {**CHANNELS, **others}


def test_an_eps_that_is_not_that_of_the_others_is_found(tmp_path: Path) -> None:
    """One of four has another eps; where two have it, both may be meant."""
    nodes, held = stack([1e-3, 1e-3, 1e-5, 1e-3])
    records = audited(save_model(tmp_path / "m.onnx", nodes, held, shape=("N", 4, 5, 5)))
    assert [codes(record) for record in records] == [[], [], ["L05"], []]
    nodes, held = stack([1e-3, 1e-5, 1e-5, 1e-3])
    records = audited(save_model(tmp_path / "m.onnx", nodes, held, shape=("N", 4, 5, 5)))
    assert [codes(record) for record in records] == [[]] * 4


CONSTANTS: Mapping[str, tuple[str, AnyArray, str]] = {
    "NaN": ("mean", np.array([0, np.nan, 0, 0], np.float32), "M10"),
    "negative": ("var", np.array([1, -1, 1, 1], np.float32), "M10"),
    "small": ("var", np.full(4, 1e-9, np.float32), "M07"),
}


@pytest.mark.parametrize("fault", CONSTANTS)
def test_constants_that_no_batch_has_are_found(tmp_path: Path, fault: str) -> None:
    """The finding is that of a layer in a model, and the law is still told."""
    name, value, code = CONSTANTS[fault]
    nodes, held = stack([1e-5], **{name: value})
    (record,) = audited(save_model(tmp_path / "m.onnx", nodes, held, shape=("N", 4, 5, 5)))
    assert (codes(record), record.law) == ([code], "constant statistics")


def test_statistics_of_a_new_layer_are_found(tmp_path: Path) -> None:
    """Means of 0 and variances of 1 were never updated."""
    new = {"mean": np.zeros(4, np.float32), "var": np.ones(4, np.float32)}
    nodes, held = stack([1e-5], **new)
    (record,) = audited(save_model(tmp_path / "m.onnx", nodes, held, shape=("N", 4, 5, 5)))
    assert codes(record) == ["M11"]


def test_axes_are_those_of_the_graph(tmp_path: Path) -> None:
    """A layer normalization over axis 1 of an image, and a batch normalization of NHWC."""
    held = constants()
    first = {**held, "axes": np.array([1]), "gamma": held["gamma"].reshape(6, 1, 1)}
    first["beta"] = held["beta"].reshape(6, 1, 1)
    (record,) = audited(save_model(tmp_path / "a.onnx", chain_of(), first, shape=("N", 6, 3, 3)))
    assert (record.kind, codes(record)) == ("layer", [])
    last = {**held, "axes": np.array([0, 1, 2])}
    (record,) = audited(save_model(tmp_path / "b.onnx", chain_of(), last, shape=("N", 3, 3, 6)))
    assert (record.kind, record.mode, codes(record)) == ("batch", "batch", [])


def test_shapes_that_the_file_fixes_take_other_samples(tmp_path: Path) -> None:
    """A reshape to the sizes of one sample is read as one for any number of samples."""
    nodes = [
        *chain_of()[:2],
        node("Mul", "d d", "square"),
        node("ReduceMean", "square axes", "flat", keepdims=0),
        node("Reshape", "flat back", "var"),
        *chain_of()[4:],
    ]
    held = {**constants(), "back": np.array([2, 5, 1])}
    (record,) = audited(save_model(tmp_path / "m.onnx", nodes, held, shape=(2, 5, 6)))
    assert (record.kind, codes(record)) == ("layer", [])


@pytest.mark.parametrize("inside", [False, True], ids=["behind", "inside"])
@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("groups", [1, 3, 6])
def test_a_chain_on_split_channels_is_a_group_normalization(
    tmp_path: Path, *, last: bool, inside: bool, groups: int
) -> None:
    """Whose target of the reshape is computed from the lengths of x, and whose y has these."""
    shape = ("N", 8, 8, 6) if last else ("N", 6, 8, 8)
    nodes, held = group_chain(last=last, inside=inside, groups=groups)
    (record,) = audited(save_model(tmp_path / "m.onnx", nodes, held, shape=shape))
    assert (record.kind, record.mode, codes(record)) == ("group", "batch", [])
    assert record.law == "biased variance, eps 0.001 inside the root"


def test_a_global_pool_is_a_mean(tmp_path: Path) -> None:
    """As tf2onnx writes a mean over the last axis of three, and over all axes behind the groups."""
    pools = (("GlobalAveragePool", "x", "mean"), ("GlobalAveragePool", "square", "var"))
    path = save_model(tmp_path / "a.onnx", chain_of(*pools), constants())
    (record,) = audited(path)
    assert (record.kind, record.mode, codes(record)) == ("layer", "batch", [])
    nodes, held = group_chain(last=False, inside=True)
    pooled = {"mean": node("GlobalAveragePool", "r", "mean")}
    pooled["var"] = node("GlobalAveragePool", "square", "var")
    nodes = [pooled.get(one.output[0], one) for one in nodes]
    del held["axes"]
    (record,) = audited(save_model(tmp_path / "b.onnx", nodes, held, shape=("N", 6, 8, 8)))
    assert (record.kind, record.mode, codes(record)) == ("group", "batch", [])


def test_a_group_normalization_of_rows_has_several_values_in_a_group(tmp_path: Path) -> None:
    """PyTorch's exporters write it for (N, C) too; two values would always become 1 and -1."""
    nodes = [
        node("Reshape", "x split", "r"),
        node("InstanceNormalization", "r ones zeros", "x_hat", epsilon=1e-3),
        node("Reshape", "x_hat back", "whole"),
        node("Mul", "whole gamma", "scaled"),
        node("Add", "scaled beta", "y"),
    ]
    held = {**constants(8), "split": np.array([0, 2, -1]), "back": np.array([-1, 8])}
    held |= {"ones": np.ones(2, np.float32), "zeros": np.zeros(2, np.float32)}
    (record,) = audited(save_model(tmp_path / "m.onnx", nodes, held, shape=("N", 8)))
    assert (record.kind, record.mode, codes(record)) == ("group", "batch", [])


def test_one_group_of_a_sequence_is_a_group_normalization(tmp_path: Path) -> None:
    """(N, 7, 6) becomes (N, 7, 1, 6), which may also be read as a split of the 7."""
    nodes, held = group_chain(last=True, inside=False, groups=1)
    held |= {"others": np.array([7, 1, 6]), "axes": np.array([1, 3])}
    path = save_model(tmp_path / "m.onnx", nodes, held, shape=("N", 7, 6))
    (record,) = audited(path)
    assert (record.kind, record.mode, codes(record)) == ("group", "batch", [])


def test_the_target_of_a_reshape_is_computed_from_the_lengths_of_x(tmp_path: Path) -> None:
    """As Keras exports it: the channels divided by the groups, and -1 for the samples."""
    nodes, held = group_chain(last=True, inside=True)
    lengths = [
        node("Gather", "shape three", "channels"),
        node("Div", "channels groups", "each"),
        node("Cast", "each", "whole", to=7),
        node("Unsqueeze", "whole first", "last"),
        node("Concat", "minus others last", "target", axis=0),
        node("Concat", "ones last", "row", axis=0),
        node("Reshape", "flat row", "gamma"),
    ]
    nodes = [nodes[0], *lengths, *nodes[4:]]
    held |= {"three": np.array(3), "groups": np.array(3), "minus": np.array([-1])}
    held |= {"others": np.array([8, 8, 3]), "ones": np.array([1, 1, 1, 3])}
    held["flat"] = held.pop("gamma").ravel()
    (record,) = audited(save_model(tmp_path / "m.onnx", nodes, held, shape=("N", 8, 8, 6)))
    assert (record.kind, record.mode, codes(record)) == ("group", "batch", [])


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_a_fault_in_a_chain_on_split_channels_is_found(tmp_path: Path, *, last: bool) -> None:
    """Without an eps a group of equal values is NaN."""
    shape = ("N", 8, 8, 6) if last else ("N", 6, 8, 8)
    nodes, held = group_chain(last=last, inside=False, eps=0.0)
    (record,) = audited(save_model(tmp_path / "m.onnx", nodes, held, shape=shape))
    assert (record.kind, codes(record)) == ("group", ["L04"])


def test_a_root_that_is_not_a_normalization_is_left(tmp_path: Path) -> None:
    """The length of a vector is a root of squares too; nothing of x's size is scaled by it."""
    nodes = [
        node("Mul", "x x", "square"),
        node("ReduceSum", "square axes", "sum"),
        node("Sqrt", "sum", "y"),
    ]
    path = save_model(tmp_path / "m.onnx", nodes, {"axes": np.array([-1])}, shape=("N", 5, 1))
    with pytest.raises(SubjectError, match="has no normalization"):
        audited(path)


UNIT = {
    "reciprocal": [("Mul", "z z", "s"), ("ReduceSum", "s axes", "q"), ("Sqrt", "q", "r"),
                   ("Reciprocal", "r", "i"), ("Min", "i large", "m"), ("Mul", "z m", "unit")],
    "bounded": [("Mul", "z z", "s"), ("ReduceSum", "s axes", "q"), ("Max", "q eps", "m"),
                ("Sqrt", "m", "r"), ("Div", "z r", "unit")],
    "norm": [("ReduceL2", "z axes", "q"), ("Clip", "q eps", "m"), ("Div", "z m", "unit")],
}  # fmt: skip
"""The unit normalization of Keras, one written by hand, and that of PyTorch."""


@pytest.mark.parametrize("form", UNIT)
def test_a_unit_normalization_is_told_and_not_audited(tmp_path: Path, form: str) -> None:
    """It divides by the root of a sum: a finding about the law of RMS would be wrong."""
    shifted = node("Add", "scaled beta", "z")
    nodes = [*chain_of()[:-1], shifted, *(node(*line) for line in UNIT[form])]
    held = {**constants(), "large": np.float32(1e12)}
    (record,) = audited(
        save_model(tmp_path / "m.onnx", [*nodes, node("Identity", "unit", "y")], held)
    )
    assert (record.kind, codes(record)) == ("layer", [])
    (note,) = [note for note in record.notes if note.startswith("Not audited in ")]
    assert ": /unit, where x is divided by the root of the sum of its squares" in note


def test_one_node_of_a_file_is_named(tmp_path: Path) -> None:
    """file.onnx:node is that node alone, and a name that is not there is told."""
    nodes, held = stack([1e-3, 1e-3])
    path = save_model(tmp_path / "m.onnx", nodes, held, shape=("N", 4, 5, 5))
    (record,) = audited(f"{path}:/y")
    assert record.target == f"{path}:/y"
    with pytest.raises(SubjectError, match="no normalization of the file has the name /z"):
        audited(f"{path}:/z")


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    """Bytes that are not a model are no reason for a traceback."""
    (tmp_path / "m.onnx").write_bytes(b"\x08\xff\xff")
    with pytest.raises(SubjectError, match=r"m\.onnx cannot be read"):
        audited(str(tmp_path / "m.onnx"))
    with pytest.raises(SubjectError, match=r"no file .*n\.onnx"):
        audited(str(tmp_path / "n.onnx"))
