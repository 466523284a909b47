"""What the lab trains: parts of the gradient by the engine, and a run that can be interrupted."""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("sklearn", reason="scikit-learn, which has the images, is not installed")

from torch import nn  # noqa: E402

from backnorm.errors import BenchmarkError, NotInstalledError  # noqa: E402
from backnorm.lab import experiment  # noqa: E402
from backnorm.lab.grid import NETWORKS, TEST_IMAGES, Grid, Training  # noqa: E402
from backnorm.lab.recording import Recording  # noqa: E402
from backnorm.testing.budget import EPS  # noqa: E402
from backnorm.torch import convert  # noqa: E402
from backnorm.torch.lab import networks  # noqa: E402
from backnorm.torch.lab.images import digits  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backnorm.lab.recording import TrainingOutcome

GRID = Grid(networks=("mlp",), rates=(0.2,), seeds=(0,), epochs=1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As the processes of the experiment: two threads would wait for each other in small layers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def gradient(network: str, through: str) -> torch.Tensor:
    """The gradient of the first weight in the first step, in float64."""
    torch.manual_seed(0)
    model = convert(networks.NETWORKS[network]().double(), through=through)
    images, _ = digits()
    x, digit = images.x[:64].double(), images.digit[:64]
    nn.functional.cross_entropy(model(x), digit).backward()
    return next(model.parameters()).grad.flatten(1)


def test_the_networks_are_those_of_the_grid() -> None:
    """The command offers the names without importing PyTorch."""
    assert tuple(networks.NETWORKS) == NETWORKS
    assert len(digits()[1].x) == TEST_IMAGES


@pytest.mark.parametrize("network", NETWORKS)
def test_the_first_weights_do_not_grow_along_the_whole_gradient(network: str) -> None:
    """It is orthogonal to the weights of each channel, except for eps, and without V it is not."""
    torch.manual_seed(0)
    weight = next(networks.NETWORKS[network]().parameters()).detach().flatten(1).double()

    def along(through: str) -> float:
        dw = gradient(network, through)
        return float(((dw * weight).sum(1).abs() / (dw.norm(dim=1) * weight.norm(dim=1))).max())

    assert along("both") < 1e-3
    assert along("mean") > 0.1


def first_step(through: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first weight of the MLP and its gradient; only one normalization has `through`.

    What arrives at this normalization is then the same for each `through`.
    """
    images, _ = digits()
    torch.manual_seed(0)
    model = networks.mlp().double()
    convert(model[2:3], through=through)
    nn.functional.cross_entropy(model(images.x[:64].double()), images.digit[:64]).backward()
    return model[1].weight.detach(), model[1].weight.grad


def share_beside(error: torch.Tensor, directions: torch.Tensor) -> float:
    """The share of the error of each unit that is not along its direction; the largest."""
    along = (error * directions).sum(1, keepdim=True) / directions.square().sum(1, keepdim=True)
    return float(((error - along * directions).norm(dim=1) / error.norm(dim=1)).max())


def sizes(whole: torch.Tensor, error: torch.Tensor) -> tuple[float, float]:
    """The error in parts of the gradient, and the cosine between the gradient with and without."""
    wrong = whole + error
    cosine = (wrong * whole).sum() / (wrong.norm() * whole.norm())
    return round(float(error.norm() / whole.norm()), 2), round(float(cosine), 2)


def test_without_the_mean_the_error_is_along_the_mean_input() -> None:
    """Of each unit; the pixels are not negative, so the error is larger than the gradient."""
    images, _ = digits()
    mean = images.x[:64].double().flatten(1).mean(0)
    weight, whole = first_step("both")
    error = first_step("variance")[1] - whole
    assert share_beside(error, mean.expand_as(weight)) <= 1e4 * EPS["float64"]
    assert sizes(whole, error) == (1.16, 0.66)


def test_without_the_variance_the_error_is_along_covariance_times_weight() -> None:
    """Of each unit; the wrong gradient points in nearly the right direction."""
    images, _ = digits()
    weight, whole = first_step("both")
    error = first_step("mean")[1] - whole
    covariance = images.x[:64].double().flatten(1).T.cov()
    assert share_beside(error, weight @ covariance) <= 1e4 * EPS["float64"]
    assert sizes(whole, error) == (0.28, 0.96)


def test_a_run_that_was_interrupted_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had ended is kept and not trained again."""
    file = tmp_path / "run.json"
    trained: list[Training] = []

    def here(
        missing: list[Training], epochs: int, _: int
    ) -> Iterator[tuple[Training, TrainingOutcome]]:
        for training in missing:
            trained.append(training)
            yield training, experiment._outcome(training, epochs)

    def interrupt(count: int) -> None:
        if count:
            raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "_outcomes", here)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(GRID, file, 1, interrupt)
    kept = Recording.from_json(file.read_text()).outcomes
    assert list(kept) == trained == GRID.trainings()[:1]
    advanced: list[int] = []
    whole = experiment.run(GRID, file, 1, advanced.append)
    assert advanced == [1, 1, 1, 1]
    assert trained == GRID.trainings()
    assert Recording.from_json(file.read_text()) == whole


def test_processes_train_what_this_process_would(tmp_path: Path) -> None:
    """Bitwise: each process has one thread, as the tests here have."""
    here = {t: experiment._outcome(t, GRID.epochs) for t in GRID.trainings()}
    assert experiment.run(GRID, tmp_path / "run.json", 1, lambda _: None).outcomes == here
    assert len({outcome["loss"][0] for outcome in here.values()}) == len(GRID.through)


def test_a_whole_file_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor must it come from this environment."""
    outcomes = {key: {"loss": [1.0], "right": 3} for key in GRID.trainings()}
    old = Recording(GRID, {"torch": "0.1"}, outcomes)
    old.write(tmp_path / "run.json")
    monkeypatch.delattr(experiment, "_outcomes")
    assert experiment.run(GRID, tmp_path / "run.json", 1, lambda _: None) == old


def test_a_process_that_dies_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says that finished trainings are kept."""
    monkeypatch.setattr(experiment, "compute_alone", functools.partial(os._exit, 3))
    with pytest.raises(BenchmarkError, match="A process ended during its training"):
        experiment.run(GRID, tmp_path / "run.json", 1, lambda _: None)
    assert Recording.from_json((tmp_path / "run.json").read_text()).outcomes == {}


def test_missing_images_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings them."""
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(NotInstalledError, match=r"scikit-learn is not .* 'backnorm\[lab\]'"):
        digits()
