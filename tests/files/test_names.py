"""Other names for arrays: by pairs of patterns, and by the order and shapes of another file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files.naming.numbers import natural, whole_number
from backnorm.errors import ArrayNameError
from files import models

C = 3


def norm(name: str, channels: int = C, *, affine: bool = True) -> files.NormLayer:
    """A layer of PyTorch."""
    fields = ["running_mean", "running_var", *(["weight", "bias"] if affine else [])]
    state = {field: np.full(channels, 2, np.float32) for field in fields}
    return files.NormLayer(name, "torch", state, {"affine": affine})


def model(
    *layers: files.NormLayer, ordered: bool = True, **others: tuple[int, ...]
) -> files.ModelFile:
    """A model that will be written: arrays by name and shape, all of different values."""
    arrays = {
        name.replace("__", "."): np.full(shape, index, np.float32)
        for index, (name, shape) in enumerate(others.items())
    }
    return files.ModelFile(Path("m.npz"), "npz", layers, arrays, ordered=ordered)


def test_asterisks_are_carried_over() -> None:
    """The first to the first; the first takes as little as it can."""
    source = model(norm("bn"), a__b__c=(1,), d=(1,))
    renamed = files.with_names(source, [("*.*", "x.*/*"), ("bn.*", "body.1.*")])
    assert list(renamed.others) == ["x.a/b.c", "d"]
    assert renamed.layers[0].name == "body.1"


def test_pairs_see_the_old_names() -> None:
    """So two arrays can exchange their names, and a later pair wins."""
    renamed = files.with_names(model(a=(1,), b=(2,)), [("*", "x.*"), ("a", "b"), ("b", "a")])
    assert {name: array.shape for name, array in renamed.others.items()} == {"b": (1,), "a": (2,)}


def test_an_empty_name_leaves_arrays_out() -> None:
    """Also a whole normalization layer."""
    renamed = files.with_names(model(norm("bn"), a=(1,), b=(1,)), [("a", ""), ("bn.*", "")])
    assert list(renamed.others) == ["b"]
    assert renamed.layers == ()


def test_kernels_follow_their_arrays() -> None:
    """A kernel whose array is left out is gone."""
    kernels = tuple(
        files.LayerKernel(name, "conv", f"{name}.w", "OIS", f"{name}.b") for name in ("c", "d")
    )
    source = replace(model(c__w=(1, 1, 1), c__b=(1,), d__w=(1, 1, 1), d__b=(1,)), kernels=kernels)
    renamed = files.with_names(source, [("c.w", "x"), ("d.*", "")])
    assert [(kernel.weight, kernel.bias) for kernel in renamed.kernels] == [("x", "c.b")]


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("z*", "y"), r"no array whose name matches 'z\*'"),
        (("*", "x"), "x would be the name of both "),
        (("a", "b"), "b would be the name of both a and b"),
        (("a", "*"), r"at most as many '\*'"),
        (("bn.weight", "bn.gamma"), "arrays that are renamed as those of one layer"),
        (("bn.weight", ""), "weight to nothing"),
    ],
)
def test_a_wrong_pair_is_refused(pair: tuple[str, str], message: str) -> None:
    """With the names that it is about."""
    with pytest.raises(ArrayNameError, match=message):
        files.with_names(model(norm("bn"), a=(1,), b=(1,)), [pair])


def test_a_network_keeps_its_names() -> None:
    """An .onnx file that is written over refers to them."""
    models.need("onnx")
    source = models.read("onnx.onnx")
    converted, _ = files.convert_model(source, "o.onnx", "onnx")
    with pytest.raises(ArrayNameError, match="it holds the network too"):
        files.with_names(converted, [("*", "x*")])


def test_lines_of_pairs() -> None:
    """Comments and empty lines are passed over, and what match_names gives is what it takes."""
    assert files.pairs_in("# c\n\n a=b \nx=\n") == [("a", "b"), ("x", "")]
    with pytest.raises(ArrayNameError, match="must be OLD=NEW, got a"):
        files.pairs_in("a")


def test_shapes_tell_which_array_is_which() -> None:
    """Without a note where each shape is there once."""
    source = model(norm("bn"), w=(4, 2), v=(5, 2))
    match = files.match_names(source, model(norm("n.1"), n__2=(5, 2), n__0=(4, 2)))
    assert match.notes == ()
    assert dict(match.pairs) == {
        **{f"bn.{field}": f"n.1.{field}" for field in source.layers[0].state},
        "w": "n.0",
        "v": "n.2",
    }
    assert list(match.model.others) == ["n.0", "n.2"]


def test_order_alone_is_said() -> None:
    """For each shape that is there more than once."""
    match = files.match_names(model(a=(4, 2), b=(4, 2)), model(x=(4, 2), y=(4, 2)))
    assert match.notes == ("2 of one shape are matched by order alone: a to x, b to y",)
    assert match.pairs == (("a", "x"), ("b", "y"))


def test_names_go_before_the_order() -> None:
    """Where the last parts of all names of a shape are the same."""
    other = model(body__conv2=(4, 2), body__conv1=(4, 2))
    match = files.match_names(model(conv1=(4, 2), conv2=(4, 2)), other)
    assert match.notes == ()
    assert match.pairs == (("conv1", "body.conv1"), ("conv2", "body.conv2"))


def test_names_that_contradict_the_order_are_refused() -> None:
    """As with two branches of equal layers, in another order; the pairs that decide are named."""
    here = model(left=(4, 2), right=(4, 2), tail=(4, 2))
    there = model(right=(4, 2), left=(4, 2), other=(4, 2))
    here = files.with_names(here, [("*", "a.*")])
    with pytest.raises(ArrayNameError, match=r"Their names contradict their order\.") as caught:
        files.match_names(here, there)
    assert "--rename 'a.left=" in caught.value.in_command()


def test_a_sorted_file_has_no_order() -> None:
    """Its equal shapes are refused, with the pairs in the order of their numbers."""
    here = model(conv_10=(4, 2), conv_9=(4, 2), ordered=False)
    with pytest.raises(ArrayNameError, match="does not keep the order") as caught:
        files.match_names(here, model(x=(4, 2), y=(4, 2)))
    assert caught.value.in_command().endswith("--rename 'conv_9=x' --rename 'conv_10=y'")


def test_the_pairs_that_are_proposed_name_whole_layers_of_all_shapes() -> None:
    """So that they are accepted as they are, in one go."""
    here = model(norm("bn_10"), norm("bn_9"), ordered=False, c_2=(4, 2), c_1=(4, 2))
    there = model(norm("x"), norm("y"), c__0=(4, 2), c__1=(4, 2))
    with pytest.raises(ArrayNameError, match="does not keep the order") as caught:
        files.match_names(here, there)
    said = "--rename 'bn_9.*=x.*' --rename 'bn_10.*=y.*' --rename 'c_1=c.0' --rename 'c_2=c.1'"
    assert caught.value.in_command().endswith(said)
    pairs = [("bn_9.*", "x.*"), ("bn_10.*", "y.*"), ("c_1", "c.0"), ("c_2", "c.1")]
    named = files.match_names(files.with_names(here, pairs), there).model
    assert {layer.name for layer in named.layers} == {"x", "y"}


def test_the_pairs_of_a_layer_without_one_stem_are_written_out() -> None:
    """Flax keeps the statistics of a layer apart from its parameters."""
    state = dict.fromkeys(("scale", "bias", "mean", "var"), np.ones(C, np.float32))
    here, there = (
        replace(model(*(files.NormLayer(name, "flax", state) for name in names)), ordered=False)
        for names in ("ab", "cd")
    )
    with pytest.raises(ArrayNameError, match="cannot be told") as caught:
        files.match_names(here, there)
    assert "--rename 'batch_stats/a/mean=batch_stats/c/mean'" in caught.value.in_command()


def test_a_layer_that_lacks_gamma_in_one_file_keeps_its_name() -> None:
    """Its first array has another name then."""
    plain = norm("x", affine=False)
    here = model(norm("x"), norm("y"), ordered=False)
    full = [replace(layer, state=with_neutral(layer)) for layer in here.layers]
    there = model(replace(plain, name="y"), plain)
    match = files.match_names(replace(here, layers=tuple(full)), there)
    assert [layer.name for layer in match.model.layers] == ["x", "y"]


def with_neutral(layer: files.NormLayer) -> dict[str, np.ndarray]:
    """The state, with a gamma and a beta that change nothing."""
    neutral = {"weight": np.ones(C, np.float32), "bias": np.zeros(C, np.float32)}
    return {**layer.state, **neutral}


def test_names_given_before_decide() -> None:
    """What has a name of the other file already keeps it, and a kernel's bias goes with it."""
    kernels = tuple(
        files.LayerKernel(name, "conv", f"{name}.w", "OIS", f"{name}.b") for name in ("c", "d")
    )
    arrays = {"c__w": (2, 1, 1), "c__b": (2,), "d__w": (2, 1, 1), "d__b": (2,)}
    source = replace(model(ordered=False, **arrays), kernels=kernels)
    twin = tuple(replace(k, weight=f"n{k.weight}", bias=f"n{k.bias}") for k in kernels)
    other = replace(model(**{f"n{name}": shape for name, shape in arrays.items()}), kernels=twin)
    crossed = files.with_names(source, [("c.w", "nd.w"), ("d.w", "nc.w")])
    match = files.match_names(crossed, other)
    assert dict(match.pairs) == {"c.b": "nd.b", "d.b": "nc.b"}


@pytest.mark.parametrize(
    ("source", "other", "message"),
    [
        (
            model(a=(2, 2)),
            model(b=(2, 2), c=(2, 2)),
            r"m\.npz has a, and m\.npz has b, c of that shape",
        ),
        (model(a=(2, 2)), model(), r"m\.npz has a, and m\.npz has no array of that shape"),
        (model(a=(2, 2)), model(a=(3, 2)), r"a must have the shape of the converted array"),
        (model(norm("a")), model(norm("b", affine=False)), "must have the arrays running_mean, "),
    ],
)
def test_what_does_not_correspond_is_refused(
    source: files.ModelFile, other: files.ModelFile, message: str
) -> None:
    """Missing, left over, or with other arrays."""
    with pytest.raises(ArrayNameError, match=message):
        files.match_names(source, other)


def test_a_kernel_of_doubtful_kind_that_does_not_correspond_is_named() -> None:
    """A depthwise kernel of PyTorch looks like that of another convolution."""
    kernels = tuple(
        files.LayerKernel(name, "conv", f"{name}.weight", "OIS", told=name == "a") for name in "abc"
    )
    shape = (8, 1, 3, 3)
    here = replace(model(a__weight=shape, b__weight=shape, c__weight=shape), kernels=kernels)
    with pytest.raises(ArrayNameError, match="do not correspond") as caught:
        files.match_names(here, model(x=shape))
    assert "--set 'LAYER.kind=KIND' where LAYER is b or c" in caught.value.in_command()
    assert "('b', 'kind', KIND)" in str(caught.value)


def test_an_array_whose_kind_is_not_told_is_named(tmp_path: Path) -> None:
    """A matrix without a bias may be an embedding."""
    here = replace(model(norm("n"), fc__weight=(3, 2)), format="npz")
    converted, _ = files.convert_model(here, tmp_path / "o.npz", "keras", n=9)
    like = files.NormLayer("n", "keras", converted.layers[0].state)
    with pytest.raises(ArrayNameError, match="do not correspond") as caught:
        files.match_names(converted, model(like, x=(2, 3)))
    assert "where LAYER is fc," in caught.value.in_command()


def test_a_file_of_another_framework_is_refused() -> None:
    """Its names are not those of the target."""
    other = files.NormLayer("bn", "keras", {"moving_variance": np.ones(C, np.float32)})
    with pytest.raises(ArrayNameError, match=r"must have layers of torch, got keras"):
        files.match_names(model(norm("bn")), model(other))


def test_what_changes_no_output_is_filled_in() -> None:
    """gamma 1 and beta 0 for a layer that lacks them."""
    match = files.match_names(model(norm("a", affine=False)), model(norm("b")))
    state = match.model.layers[0].state
    assert list(state) == ["running_mean", "running_var", "weight", "bias"]
    assert (state["weight"].tolist(), state["bias"].tolist()) == ([1.0] * C, [0.0] * C)
    assert match.notes == ("b: weight is filled with 1", "b: bias is filled with 0")


@pytest.mark.parametrize("digits", ["\N{SUPERSCRIPT TWO}", "9" * 5000])
def test_what_is_not_a_number_sorts_as_text(digits: str) -> None:
    """Behind the numbers: `int` raises at a digit that is not decimal, and at 4300 of them."""
    assert whole_number(digits) is None
    assert sorted([f"conv{digits}", "conv10", "conv2"], key=natural) == [
        "conv2",
        "conv10",
        f"conv{digits}",
    ]


def test_arrays_of_the_training_are_left_out() -> None:
    """On both sides, with their number; and no note speaks of them after that."""
    names = ("optimizer/vars/1", "optimizer_weights/adam/w", "d/seed_generator/state", "optim.s.0")
    arrays = {name: np.ones((2, 2), np.float32) for name in names}
    source = replace(model(norm("bn"), w=(2, 2)), about=(("optim.s.0", "no"), ("w", "yes")))
    source = replace(source, others={**source.others, **arrays}, notes=("optim.s.0: no", "w: yes"))
    other = replace(model(norm("bn"), v=(2, 2)), path=Path("t.npz"))
    other = replace(other, others={**other.others, names[0]: arrays[names[0]]})
    match = files.match_names(source, other)
    assert list(match.model.others) == ["v"]
    assert match.model.notes == ("v: yes",)
    words = "left out, of an optimizer or a random generator"
    assert match.notes == (
        f"4 arrays are {words}: {', '.join(names[:3])} and 1 more",
        f"t.npz: 1 array is {words}: optimizer/vars/1",
    )


def test_whole_numbers_that_the_other_file_lacks_are_left_out() -> None:
    """The axes and shapes that nodes of an ONNX graph read; weights of whole numbers stay."""
    axes = {"axes": np.array([2, 3]), "one": np.array(1), "codes": np.ones(2, np.int8)}
    here = model(w=(4, 2))
    here = replace(here, others={**here.others, **axes})
    there = model(w=(4, 2))
    with pytest.raises(ArrayNameError, match=r"m\.npz has codes, and"):
        files.match_names(here, there)
    numbers = replace(here, others={k: v for k, v in here.others.items() if k != "codes"})
    match = files.match_names(numbers, there)
    assert list(match.model.others) == ["w"]
    (note,) = match.notes
    assert note.startswith("axes, one: left out, since they are whole numbers of 64 bits, such as ")
    same = replace(there, others={**there.others, "numbers": np.array([0, 0])})
    kept = replace(here, others={"w": here.others["w"], "axes": axes["axes"]})
    assert files.match_names(kept, same).pairs == (("axes", "numbers"),)


def test_notes_are_about_arrays_that_are_written() -> None:
    """Not about those that are left out."""
    source = replace(model(a=(1,), b=(1,)), about=(("a", "x"), ("b", "x")), notes=("a, b: x", "y"))
    assert files.with_names(source, [("a", "")]).notes == ("b: x", "y")


def test_neutral_arrays_that_the_other_file_lacks_are_left_out() -> None:
    """gamma 1 and beta 0; any other gamma is refused."""
    plain = model(norm("b", affine=False))
    state = {**plain.layers[0].state, "weight": np.ones(C, np.float32)}
    state |= {"bias": np.zeros(C, np.float32)}
    ours = model(files.NormLayer("a", "torch", state))
    match = files.match_names(ours, plain)
    assert list(match.model.layers[0].state) == ["running_mean", "running_var"]
    assert match.notes[0] == "a: weight is left out, since all its values are 1"
    state["weight"][1] = 2
    with pytest.raises(ArrayNameError, match="must have the arrays running_mean, "):
        files.match_names(ours, plain)


def test_a_bias_that_one_side_alone_knows_is_no_other_shape() -> None:
    """A graph may not tell that it belongs to the kernel."""
    source, twin = model(fc__w=(4, 3), fc__b=(4,)), model(fc__w=(4, 3), fc__b=(4,))
    kernel = files.LayerKernel("fc", "dense", "fc.w", "O(IS)", "fc.b")
    for first, second in (((kernel,), ()), ((), (kernel,))):
        match = files.match_names(replace(source, kernels=first), replace(twin, kernels=second))
        assert match.pairs == ()


def test_a_new_file_has_the_order_of_the_other(tmp_path: Path) -> None:
    """Which folding by order needs."""
    order = ("b", "n.running_mean", "n.running_var", "n.weight", "n.bias", "a")
    twin = replace(model(norm("n"), b=(4,), a=(5,)), order=order)
    match = files.match_names(model(norm("n"), a=(5,), b=(4,)), twin)
    files.write(tmp_path / "o.npz", match.model)
    with np.load(tmp_path / "o.npz") as written:
        assert written.files == list(order)
