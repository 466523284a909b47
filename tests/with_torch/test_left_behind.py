"""Modules that overwrite, seed, or keep what is not theirs; modes; and evaluation by samples."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

import backnorm as bn  # noqa: E402
from backnorm.audit.subjects.registry import subjects_of  # noqa: E402
from backnorm.audit.subjects.request import AuditRequest  # noqa: E402
from backnorm.cli._jobs import AuditJob, audit_jobs  # noqa: E402
from backnorm.host import defaults  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

AXES = (0, 2, 3)
COLUMN = (None, slice(None), None, None)


def codes(candidate: Any, family: str = "SI") -> list[str]:
    """Return the codes of the findings of some families."""
    return [f.code for f in bn.audit(candidate).findings if f.code[0] in family]


class Base(nn.Module):  # type: ignore[misc]
    """Right batch normalization with running statistics, and hooks for faults."""

    def __init__(self, num_features: int = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Any) -> Any:
        """Return y."""
        mean, var = self.statistics(x)
        return (x - mean[COLUMN]) / (var[COLUMN] + 1e-5).sqrt() * self.weight[COLUMN] + self.bias[
            COLUMN
        ]

    def statistics(self, x: Any) -> Any:
        """Return mean and variance."""
        if not self.training:
            return self.running_mean, self.running_var
        return self.updated(x)

    def updated(self, x: Any) -> Any:
        """Return those of the batch, and update."""
        mean, var = x.mean(AXES), x.var(AXES, unbiased=False)
        with torch.no_grad():
            self.running_mean.lerp_(mean, 0.1)
            self.running_var.lerp_(var, 0.1)
        return mean, var


class NoEvaluation(Base):
    """Takes the batch's statistics, and updates, in both modes."""

    def statistics(self, x: Any) -> Any:
        """Return mean and variance."""
        return self.updated(x)


class OfBatch(Base):
    """Takes the batch's statistics in both modes, and updates in training only."""

    def statistics(self, x: Any) -> Any:
        """Return mean and variance."""
        if self.training:
            return self.updated(x)
        return x.mean(AXES), x.var(AXES, unbiased=False)


class NoUpdate(OfBatch):
    """The same, and never updates."""

    def updated(self, x: Any) -> Any:
        """Return those of the batch."""
        return x.mean(AXES), x.var(AXES, unbiased=False)


class LazyEvaluation(Base):
    """Evaluates with the batch's statistics until it has some: modes differ from then on."""

    def statistics(self, x: Any) -> Any:
        """Return mean and variance."""
        if self.training or (self.running_var == self.start()).all():
            return self.updated(x)
        return self.running_mean, self.running_var

    def start(self) -> Any:
        """Return what the audit gives a running variance to start from."""
        return torch.from_numpy(defaults.running("running_var", 4)).to(self.running_var.dtype)


class Blended(Base):
    """Evaluates with running statistics blended with the batch's."""

    def statistics(self, x: Any) -> Any:
        """Return mean and variance."""
        if self.training:
            return self.updated(x)
        mean, var = x.mean(AXES), x.var(AXES, unbiased=False)
        return 0.9 * self.running_mean + 0.1 * mean, 0.9 * self.running_var + 0.1 * var


class SingleSample(Base):
    """Evaluates a single sample in another way than several."""

    def statistics(self, x: Any) -> Any:
        """Return mean and variance."""
        if self.training:
            return self.updated(x)
        return self.running_mean, self.running_var * (2 if len(x) == 1 else 1)


def by_modes(candidate: Any, modes: Any) -> set[str]:
    """Return the codes about state and inputs of all subjects of an object."""
    subjects = subjects_of(candidate, AuditRequest(modes=modes))
    return {code for subject in subjects for code in codes(subject, "S")}


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("candidate", "found"),
    [
        (NoEvaluation, {"S04", "S06"}),
        (OfBatch, {"S06"}),
        (NoUpdate, {"S02"}),
        (LazyEvaluation, {"S06"}),
        (Blended, {"S07"}),
        (SingleSample, {"S07"}),
        (Base, set()),
        (nn.BatchNorm2d, set()),
        (nn.LayerNorm, set()),
    ],
)
def test_both_modes_find_what_each_mode_finds(candidate: Any, found: set[str]) -> None:
    """By default nothing is lost where both modes do the same on a first call."""
    both = by_modes(candidate, "both")
    assert both == found
    assert both >= by_modes(candidate, "train") | by_modes(candidate, "eval")


def test_what_cannot_train_is_one_subject() -> None:
    """A layer whose modes do the same is audited once."""
    assert [s.call for s in subjects_of(OfBatch, AuditRequest(modes="both"))] == ["both"]
    assert [s.call for s in subjects_of(Base, AuditRequest(modes="both"))] == ["train", "eval"]


class Folded(nn.Module):  # type: ignore[misc]
    """Uses a factor in place of gamma and beta; or gamma, in a graph of x's alone."""

    detached = False

    def __init__(self, num_features: int = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.register_buffer("factor", torch.full((num_features,), 2.0))

    def forward(self, x: Any) -> Any:
        """Return y."""
        return x * self.factor.view(1, -1, *[1] * (x.ndim - 2))


class GraphOfX(Folded):
    """dgamma is there only if x needs a gradient."""

    def forward(self, x: Any) -> Any:
        """Return y."""
        with torch.set_grad_enabled(x.requires_grad):
            return x * self.weight.view(1, -1, *[1] * (x.ndim - 2))


def test_where_no_parameter_enters_none_is_missed() -> None:
    """dgamma is 0 with and without a gradient of x; where it is not, its loss is found."""
    assert codes(Folded) == []
    assert codes(GraphOfX) == ["I06"]


class Plain(nn.Module):  # type: ignore[misc]
    """Right batch normalization without parameters."""

    def forward(self, x: Any) -> Any:
        """Return y."""
        return self.normalized(x)

    def normalized(self, x: Any) -> Any:
        """Return x_hat."""
        axes = (0, *range(2, x.ndim))
        centred = x - x.mean(axes, keepdim=True)
        return centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + 1e-5)


class InPlace(Plain):
    """Subtracts the mean from x itself."""

    def forward(self, x: Any) -> Any:
        """Return y."""
        axes = (0, *range(2, x.ndim))
        x -= x.mean(axes, keepdim=True)
        return x * torch.rsqrt(x.square().mean(axes, keepdim=True) + 1e-5)


class Agreed(Plain):
    """Returns y in the memory of x, as autograd knows."""

    def forward(self, x: Any) -> Any:
        """Return y."""
        axes = (0, *range(2, x.ndim))
        mean, var = x.mean(axes, keepdim=True), x.var(axes, keepdim=True, unbiased=False)
        return x.sub_(mean).mul_(torch.rsqrt(var + 1e-5))


class Seeding(Plain):
    """Seeds everyone."""

    def forward(self, x: Any) -> Any:
        """Return y."""
        torch.manual_seed(0)
        return self.normalized(x)


class Dropping(Plain):
    """Draws random numbers, as dropout does."""

    def forward(self, x: Any) -> Any:
        """Return y."""
        return self.normalized(x) + 0 * torch.rand(1)


class SeedingNumpy(Plain):
    """Seeds NumPy."""

    def forward(self, x: Any) -> Any:
        """Return y."""
        np.random.seed(0)  # noqa: NPY002
        return self.normalized(x)


class SettingDtype(Plain):
    """Sets the default dtype."""

    def forward(self, x: Any) -> Any:
        """Return y."""
        torch.set_default_dtype(torch.float64)
        return self.normalized(x)


class Function(torch.autograd.Function):  # type: ignore[misc]
    """Keeps what its backward pass needs on the class."""

    kept: Any = None

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:  # noqa: ARG004
        """Return y."""
        axes = (0, *range(2, x.ndim))
        inv_std = torch.rsqrt(x.var(axes, keepdim=True, unbiased=False) + 1e-5)
        x_hat = (x - x.mean(axes, keepdim=True)) * inv_std
        Function.kept = x_hat, inv_std, axes
        return x_hat.clone()

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        """Return dx."""
        x_hat, inv_std, axes = Function.saved(ctx)
        centred = dy - dy.mean(axes, keepdim=True)
        return inv_std * (centred - x_hat * (dy * x_hat).mean(axes, keepdim=True))

    @staticmethod
    def saved(ctx: Any) -> Any:  # noqa: ARG004
        """Return what was kept last."""
        return Function.kept


class Saving(Function):
    """Keeps it where autograd finds it again."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        """Return y."""
        y = Function.forward(ctx, x)
        ctx.kept = Function.kept
        return y

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        """Return dx."""
        Function.kept = ctx.kept
        return Function.backward(ctx, dy)


class DyScaled(Function):
    """Works in the memory of dy."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        """Return y."""
        return Saving.forward(ctx, x)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        """Return dx."""
        x_hat, inv_std, axes = ctx.kept
        along = (dy * x_hat).mean(axes, keepdim=True)
        dy -= dy.mean(axes, keepdim=True)
        return inv_std * (dy - x_hat * along)


class Kept(Plain):
    """A module around a function with state of its class."""

    def forward(self, x: Any) -> Any:
        """Return y."""
        return Function.apply(x)


@pytest.mark.parametrize(
    ("candidate", "found"),
    [
        (InPlace, ["S09"]),
        (DyScaled, ["S09"]),
        (Seeding, ["S10"]),
        (SeedingNumpy, ["S10"]),
        (SettingDtype, ["S10"]),
        (Function, ["S11"]),
        (Kept, ["S11"]),
        (Plain, []),
        (Agreed, []),
        (Dropping, []),
        (Saving, []),
    ],
)
def test_what_a_call_leaves_behind_is_found(candidate: Any, found: list[str]) -> None:
    """Each fault gets its finding, and its harmless twin none; nothing global stays changed."""
    before = torch.get_default_dtype()
    try:
        assert codes(candidate) == found
    finally:
        torch.set_default_dtype(before)


def test_spoilt_statistics_that_a_module_came_with_are_found() -> None:
    """The audit starts from statistics of its own, and looks at those that were given too."""
    for name, value, word in (
        ("running_var", float("nan"), "NaN or infinite"),
        ("running_mean", float("inf"), "NaN or infinite"),
        ("running_var", -1.0, "negative"),
    ):
        for train in (True, False):
            module = nn.BatchNorm2d(4).train(train)
            getattr(module, name)[0] = value
            record = bn.audit(module)
            assert [f.got for f in record.findings if f.code == "S08"] == [
                f"{name} is {word} as it was given"
            ]
            assert record.sound


def test_the_same_is_found_in_another_process(tmp_path: Path) -> None:
    """What a child finds travels: the same codes under --python with this interpreter."""
    file = tmp_path / "case.py"
    file.write_text(
        "import numpy as np\n"
        "class Changes:\n"
        "    def forward(self, x, gamma, beta):\n"
        "        m, v = x.mean(0), x.var(0); x -= m; np.random.seed(1)\n"
        "        self.k = x / np.sqrt(v + 1e-5), gamma / np.sqrt(v + 1e-5)\n"
        "        return gamma * self.k[0] + beta, None\n"
        "    def backward(self, dy, c):\n"
        "        xh, k = self.k\n"
        "        dx = k * (dy - dy.mean(0) - xh * (dy * xh).mean(0))\n"
        "        return dx, (dy * xh).sum(0), dy.sum(0)\n"
    )
    for python in ("", sys.executable):
        (record,) = audit_jobs([AuditJob(f"{file}:Changes", python=python)])
        assert [f.code for f in record.findings if f.code[0] == "S"] == ["S09", "S10", "S11"]


class Limited(Plain):
    """Takes two calls, or as many as one likes."""

    def __init__(self, limit: float = 2) -> None:
        super().__init__()
        self.limit, self.calls = limit, 0

    def forward(self, x: Any) -> Any:
        """Return y."""
        self.calls += 1
        if self.calls > self.limit:
            raise RuntimeError(str(self.limit))
        return super().forward(x)


class Holding(Plain):
    """Holds x_hat and its graph in a list, as for a picture of it."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Any] = []

    def forward(self, x: Any) -> Any:
        """Return y."""
        y = super().forward(x)
        self.shown = [y]
        return y


def test_an_error_of_a_later_call_is_a_finding() -> None:
    """It says which call, the error and its place, once; the probes that met it say so too."""
    record = bn.audit(Limited)
    (found,) = [f for f in record.findings if f.code[0] == "S"]
    assert (found.code, record.sound, record.clean) == ("S12", True, False)
    assert found.got.startswith("call 3 raised (")
    assert found.got.endswith("RuntimeError: 2")
    probes = {p.name: p for p in record.probes}
    for name in ("later calls", "running law", "state"):
        assert probes[name].result == "fail"
        assert "fails in a later call: call 3" in probes[name].what
    assert codes(Limited(limit=float("inf"))) == []


def test_a_graph_that_is_held_does_not_end_the_calls() -> None:
    """The audit cuts it off before it copies the layer: the layer is not at fault."""
    assert codes(Holding) == []
