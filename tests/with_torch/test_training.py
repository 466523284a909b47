"""Networks and their training steps: what is built, what is counted, what the command shows."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import backnorm.torch  # noqa: E402
from backnorm.bench.suites import cases  # noqa: E402
from backnorm.bench.training import WARM_UP, Setup, loss_difference, run, total  # noqa: E402
from backnorm.cli import main  # noqa: E402
from backnorm.errors import UnknownNameError  # noqa: E402
from backnorm.torch.bench import events, published, training  # noqa: E402
from backnorm.torch.bench.events import COUNTED  # noqa: E402
from backnorm.torch.bench.models import MODELS, NORMS, build  # noqa: E402
from backnorm.torch.bench.training import Images, forms, trainee  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

PARAMETERS = {"resnet18": 11_689_512, "resnet50": 25_557_032, "mobilenetv2": 3_504_872}
"""As published with the weights that are trained for them."""

HELD = (*forms("resnet18"), "stock, kept")

LARGER = 2.0**-52 * 1e5
"""Of float64: 50 layers of some thousand products each, and as much again backward."""


@pytest.mark.parametrize("norm", ["stock", "fused"])
@pytest.mark.parametrize("model", MODELS)
def test_networks_have_their_number_of_parameters(model: str, norm: str) -> None:
    """With either kind of layer, under the same names."""
    network = build(model, norm)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[model]
    assert network.state_dict().keys() == build(model).state_dict().keys()


@pytest.mark.parametrize("model", ["resnet50", "mobilenetv2"])
def test_networks_normalize_the_shapes_of_the_suite(model: str) -> None:
    """Each batch normalization sees a shape that the suite of that name times as often."""
    seen: dict[tuple[int, ...], int] = {}

    def count(_: object, __: object, y: torch.Tensor) -> None:
        seen[tuple(y.shape[1:])] = seen.get(tuple(y.shape[1:]), 0) + 1

    network = build(model)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, 224, 224))
    assert seen == {case.shape[1:]: case.weight for case in cases(model)}


@pytest.mark.parametrize(("activation", "inplace"), [("relu", False), ("leaky_relu", True)])
@pytest.mark.parametrize("model", MODELS)
def test_fused_networks_have_the_gradients_of_stock_ones(
    model: str, activation: str, *, inplace: bool
) -> None:
    """In float64, where all that is left is rounding."""
    torch.manual_seed(0)
    stock = build(model, activation=activation).double()
    fused = build(model, "fused", activation=activation, inplace=inplace).double()
    fused.load_state_dict(stock.state_dict())
    x, target = torch.randn(4, 3, 64, 64).double(), torch.arange(4)
    losses = [torch.nn.functional.cross_entropy(network(x), target) for network in (stock, fused)]
    assert abs(losses[0] - losses[1]) <= LARGER * abs(losses[0])
    for loss in losses:
        loss.backward()
    # To the largest: a bias with a normalization behind it has no gradient but rounding.
    largest = max(parameter.grad.norm() for parameter in stock.parameters())
    for (name, a), b in zip(stock.named_parameters(), fused.parameters(), strict=True):
        assert (a.grad - b.grad).norm() <= LARGER * largest, name


def test_network_without_normalization_has_none() -> None:
    """The activations stay."""
    kinds = {type(module).__name__ for module in build("resnet18", "none").modules()}
    assert "ReLU" in kinds
    assert not any("Norm" in kind for kind in kinds)


def test_unknown_words_are_refused() -> None:
    """Network, normalization and activation, each by its name."""
    with pytest.raises(UnknownNameError, match=r"^model must be one of"):
        build("vgg")
    with pytest.raises(UnknownNameError, match=r"^norm must be one of"):
        build("resnet18", "group")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match=r"^activation must be one of"):
        build("resnet18", activation="tanh")  # type: ignore[arg-type]
    assert NORMS == ("stock", "fused", "none")


def profiled(name: str, *, inplace: bool = False) -> dict[str, int]:
    """How often each counted event comes in a step of resnet18."""
    network = trainee(name, "resnet18", "nchw", inplace=inplace, seed=0)
    images = Images(2, 32, "nchw", 0)
    with torch.profiler.profile(record_shapes=True) as record:
        network.step(*images.draw())
    counted = [e for e in record.events() if events._outermost(e) == "normalization"]
    names = [event.name for event in counted]
    return {name: names.count(name) for name in names}


def test_time_in_stock_layers_is_all_of_theirs() -> None:
    """20 normalizations, 17 activations, 8 residual sums; no sum of the optimizer."""
    assert profiled("stock") == {
        "aten::native_batch_norm": 20,
        "aten::relu_": 17,
        "aten::add_": 8,
        "aten::threshold_backward": 17,
        "aten::native_batch_norm_backward": 20,
    }


def test_time_in_ours_is_forward_and_backward() -> None:
    """Nothing is left beside them; in place, what takes a residual is not."""
    assert profiled("fused") == {"_OutOfPlace": 20, "_OutOfPlaceBackward": 20}
    names = ("_InPlace", "_OutOfPlace", "_OutOfPlaceBackward", "_InPlaceBackward")
    assert profiled("fused", inplace=True) == dict(zip(names, (12, 8, 8, 12), strict=True))
    assert COUNTED.issuperset(names)


def test_time_in_a_converted_network_is_of_ours_and_of_what_it_left() -> None:
    """All normalizations are ours, and each sum or activation that is not fused counts."""
    found = profiled("converted")
    assert (found["_OutOfPlace"], found["_OutOfPlaceBackward"]) == (20, 20)
    assert found.get("aten::relu_", 0) == found.get("aten::threshold_backward", 0) <= 8
    assert profiled("converted", inplace=True)["_InPlace"] >= 9


def event(name: str, microseconds: float, parent: object = None) -> SimpleNamespace:
    """An event of the profiler, of made-up time."""
    shapes = [[2, 3, 8, 8]]
    return SimpleNamespace(
        name=name, cpu_time_total=microseconds, cpu_parent=parent, input_shapes=shapes
    )


def test_time_of_a_part_is_that_of_its_outermost_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up times, so that no clock decides: in seconds, what lies in another event once."""
    forward = event(events.FORWARD, 1000)
    ours = event("_OutOfPlace", 100, forward)
    convolution = event("aten::convolution", 500, forward)
    found = [
        forward,
        ours,
        event("aten::native_batch_norm", 70, ours),
        event("aten::relu_", 20, forward),
        event("aten::add_", 3, forward),
        convolution,
        event("aten::add_", 7, convolution),
        event("aten::convolution_backward", 900),
        event("aten::add_", 90),  # of the optimizer
    ]
    record = SimpleNamespace(events=lambda: found)
    monkeypatch.setattr(training, "profile", lambda **_: nullcontext(record))
    network = trainee("stock", "resnet18", "nchw", inplace=False, seed=0)
    parts = network.parts(*Images(2, 32, "nchw", 0).draw())
    assert parts.pop("rest") != 0
    assert parts == pytest.approx({"normalization": 123e-6, "convolution": 1400e-6}, rel=1e-12)


def test_bytes_held_count_each_storage_once() -> None:
    """Of conv(1x1, 3 -> 3), norm, activation: x, two more planes when kept, else one."""
    x, target = Images(2, 8, "nchw", 0).draw()

    def held(*layers: torch.nn.Module) -> int:
        tail = [torch.nn.Flatten(), torch.nn.Linear(3 * 64, 1000)]
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), *layers, *tail)
        return training.Trainee(network, None, "relu").held_bytes(x, target)  # type: ignore[arg-type]

    plane, relu = x.nbytes, torch.nn.LeakyReLU
    kept = held(torch.nn.BatchNorm2d(3), relu())
    assert kept - held(torch.nn.BatchNorm2d(3), relu(inplace=True)) == plane
    ours = backnorm.torch.BatchNormAct2d(3, activation="leaky_relu", inplace=True)
    least = held(ours)
    assert 2 * plane <= kept - least < 2.1 * plane
    assert 2 * plane < least < 3 * plane + 2 * 1000 * 4 + target.nbytes


def test_networks_of_a_run_begin_with_the_same_weights() -> None:
    """Whatever they are named."""
    first, *others = (trainee(name, "resnet18", "nhwc", inplace=True, seed=3) for name in HELD)
    own = dict(first.network.named_parameters())
    for other in others:
        for name, parameter in other.network.named_parameters():
            assert torch.equal(parameter, own[name]), name


def test_the_nudged_network_is_a_rounding_off() -> None:
    """Each weight of the first layer, and no other."""
    stock, nudged = (
        trainee(name, "resnet18", "nchw", inplace=False, seed=3)
        for name in ("stock", "stock, nudged")
    )
    (a, b), *others = zip(stock.network.parameters(), nudged.network.parameters(), strict=True)
    assert bool((b > a).all())
    assert float(((b - a) / a).detach().abs().max()) <= 2.0**-23
    assert all(torch.equal(p, q) for p, q in others)


def test_images_are_the_same_for_the_same_seed() -> None:
    """In the layout asked for, and new ones with each draw."""
    images, again = Images(2, 8, "nhwc", 1), Images(2, 8, "nchw", 1)
    x, target = images.draw()
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(a, b) for a, b in zip((x, target), again.draw(), strict=True))
    assert not torch.equal(x, images.draw()[0])


@pytest.mark.parametrize("model", published.MODELS)
def test_networks_of_timm_are_trained_in_three_forms(model: str) -> None:
    """As published, converted, and without a normalization; the activations stay."""
    pytest.importorskip("timm", reason="timm is not installed")
    assert forms(model) == ("stock", "converted", "none")
    x, target = Images(1, 64, "nchw", 0).draw()
    scores = {}
    for name in forms(model):
        network = trainee(name, model, "nchw", inplace=False, seed=0).network
        assert network.training
        with torch.profiler.profile() as record:
            scores[name] = network(x)
        torch.nn.functional.cross_entropy(scores[name], target).backward()
        ran = {event.name for event in record.events()} & COUNTED
        layers = {"stock": "aten::native_batch_norm", "converted": "_OutOfPlace"}
        assert ran.intersection(layers.values()) == {
            layers[name] for name in layers.keys() & {name}
        }
    assert torch.allclose(scores["stock"], scores["converted"], rtol=1e-3, atol=1e-4)
    acts = {type(m).__name__ for m in network.modules()}
    assert acts & {"SiLU", "GELU"}


def test_loss_difference_is_the_largest() -> None:
    """Relative to the stock run's."""
    assert loss_difference([4.0, 2.0, 1.0], [4.0, 1.0, 1.25]) == 0.5


def test_a_run_has_the_same_losses_and_every_part() -> None:
    """A few small steps: two networks of the same weights keep to each other."""
    steps: list[None] = []
    setup = Setup("resnet18", "nchw", 4, 64, 2, inplace=False)
    row = run(setup, lambda: steps.append(None))
    assert len(steps) == total(setup)
    assert len(row["losses"]["stock"]) == WARM_UP + 2
    assert total(setup) == WARM_UP + 2 + 2 + len(HELD)
    assert row["losses"]["stock"][0] != row["losses"]["stock"][1]
    assert max(row["loss_difference"].values()) < 1e-3
    assert row["loss_difference"]["stock, nudged"] > 0
    names = forms("resnet18")
    assert all(row[part][name] > 0 for part in ("normalization", "step") for name in names)
    assert all(row[part][name] > 0 for part in ("convolution", "rest") for name in names)
    assert row["to_stock"]["held_bytes"]["fused"] < 1


def test_command_trains_and_writes(tmp_path: Path) -> None:
    """A table for each layout, and the same as JSON."""
    file = tmp_path / "training.json"
    words = "bench --model resnet18 --size 32 --batch 2 --batch 3 --steps 2 --inplace --json"
    result = CliRunner().invoke(main, [*words.split(), str(file)])
    assert result.exit_code == 0, result.output
    assert "resnet18, leaky_relu, nhwc, 2x3x32x32" in result.output
    assert "convolution, ms" in result.output
    written = json.loads(file.read_text())
    assert written["schema"] == 1
    setups = [(row["layout"], row["batch"]) for row in written["training"]]
    assert setups == [("nchw", 2), ("nchw", 3), ("nhwc", 2), ("nhwc", 3)]
    held = written["training"][0]["held_bytes"]
    assert held["fused"] < held["stock"] < held["stock, kept"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "3"], "--steps needs --model"),
        (["--model", "resnet18", "--suite", "small"], "--suite cannot be used with --model"),
        (["--op", "autograd", "--peers", "torch"], "--peers cannot be used with --op autograd"),
        (["--model", "vgg"], "Invalid value for '--model'"),
        (["--model", "efficientnet_b0", "--inplace"], "--inplace cannot be used with --model eff"),
    ],
)
def test_options_without_effect_are_refused(arguments: list[str], words: str) -> None:
    """Before anything is trained."""
    result = CliRunner().invoke(main, ["bench", *arguments])
    assert result.exit_code == 2
    assert words in result.output
