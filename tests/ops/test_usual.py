"""The usual calls in C++ give what Python's way gives, and leave all other calls to it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import backnorm as bn
from backnorm.errors import NotInstalledError
from backnorm.kernels import activations, native_kernel
from backnorm.kernels.memory import LARGE
from backnorm.ops import _usual
from backnorm.ops._usual import usual_backward, usual_forward
from backnorm.results import Forward, Gradients, Saved

if TYPE_CHECKING:
    from backnorm._types import AnyArray

pytestmark = pytest.mark.skipif(not native_kernel.levels(), reason="the C++ part is not built")

FORWARD: dict[str, Any] = {
    "x": None,
    "gamma": None,
    "beta": None,
    "channel_axis": 1,
    "eps": 1e-5,
    "running_mean": None,
    "running_var": None,
    "activation": "identity",
    "negative_slope": 0.01,
    "residual": None,
    "out": None,
    "sums": "float64",
    "kernel": "auto",
}
BACKWARD: dict[str, Any] = {
    "dy": None,
    "fwd": None,
    "through": "both",
    "dx": "write",
    "dgamma": "write",
    "dbeta": "write",
    "dresidual": "write",
    "into": None,
    "kernel": "auto",
}


def forward(**given: Any) -> Forward | None:
    """Call the C++ function by names."""
    return usual_forward(*{**FORWARD, **given}.values())  # type: ignore[no-any-return]


def backward(**given: Any) -> Gradients | None:
    """Call the C++ function by names."""
    return usual_backward(*{**BACKWARD, **given}.values())  # type: ignore[no-any-return]


def normal(*shape: int, dtype: str = "f4") -> AnyArray:
    """Return random values around 3."""
    return (np.random.default_rng(0).standard_normal(shape) + 3).astype(dtype)


def same(a: object, b: object) -> None:
    """Compare two results: classes, and every field down to the bits and the flags of arrays."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert isinstance(b, np.ndarray)
        assert (a.dtype, a.shape, a.strides) == (b.dtype, b.shape, b.strides)
        assert a.flags.writeable == b.flags.writeable
        assert a.tobytes() == b.tobytes()
    elif isinstance(a, Saved):
        for one, other in zip(a, b, strict=True):  # type: ignore[call-overload]
            same(one, other)
    elif isinstance(a, (Forward, Gradients)):
        for name in a.__dataclass_fields__:
            same(getattr(a, name), getattr(b, name))
    else:
        assert a == b


SHAPES = [
    ((2, 8), 1),
    ((2, 8), -1),
    ((5,), 0),
    ((1, 1), 1),
    ((6, 9, 60, 41), 1),
    ((4, 200, 7, 7), 1),
    ((3, 5, 7, 64), -1),
    ((3, 1, 50), 1),
    ((1, 7, 1, 1), 1),
    ((300, 129), 0),
    ((2, 3, 200, 300), 1),
]


@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("activation", activations.NAMES)
def test_a_usual_call_gives_what_python_gives(
    shape: tuple[int, ...], axis: int, dtype: str, activation: str
) -> None:
    """Bitwise, in objects of the same classes, with the same arrays in them."""
    x, dy = normal(*shape, dtype=dtype), normal(*shape, dtype=dtype)[::-1].copy()
    gamma = normal(shape[axis], dtype=dtype) - 3
    beta = normal(shape[axis], dtype="f8")
    options: dict[str, Any] = {"channel_axis": axis, "activation": activation}
    fast = forward(x=x, gamma=gamma, beta=beta, **options)
    slow = bn.batch_norm(x, gamma, beta, kernel="native", **options)
    assert fast is not None
    same(fast, slow)
    assert fast.saved.x is x
    assert fast.saved.gamma is gamma
    gradients = backward(dy=dy, fwd=fast)
    assert gradients is not None
    same(gradients, bn.batch_norm_backward(dy, slow, kernel="native"))


@pytest.mark.parametrize(
    "shape", [(6, 5, 4, 3), (2, 64, 7, 7), (3, 8, 50), (1, 8, 1, 5), (4, 1, 3, 1)], ids=str
)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("activation", activations.NAMES)
def test_channels_last_is_usual(shape: tuple[int, ...], dtype: str, activation: str) -> None:
    """(N, C, H, W) whose channels lie last in memory: as in Python, and results lie alike."""
    last = (shape[0], *shape[2:], shape[1])
    x = np.moveaxis(normal(*last, dtype=dtype), -1, 1)
    dy = np.moveaxis(normal(*last, dtype=dtype)[::-1].copy(), -1, 1)
    gamma = normal(shape[1], dtype=dtype)
    fast = forward(x=x, gamma=gamma, activation=activation)
    slow = bn.batch_norm(x, gamma, activation=activation, kernel="native")
    assert fast is not None
    same(fast, slow)
    gradients = backward(dy=dy, fwd=fast)
    assert gradients is not None
    same(gradients, bn.batch_norm_backward(dy, slow, kernel="native"))


@pytest.mark.parametrize("given", ["", "gamma", "beta"])
def test_parameters_may_be_absent(given: str) -> None:
    """None stands for 1 and for 0, and its gradient is None."""
    x = normal(4, 3, 5)
    parameters = {given: normal(3)} if given else {}
    fast = forward(x=x, **parameters)
    slow = bn.batch_norm(x, **parameters, kernel="native")
    assert fast is not None
    same(fast, slow)
    same(backward(dy=x, fwd=fast), bn.batch_norm_backward(x, slow, kernel="native"))


def test_the_public_functions_take_the_usual_way() -> None:
    """With the arguments that users leave out: the defaults are the usual values."""
    x, gamma = normal(4, 3), normal(3)
    assert set(FORWARD) == set(bn.batch_norm.__code__.co_varnames[:13])
    same(bn.batch_norm(x, gamma, gamma), forward(x=x, gamma=gamma, beta=gamma))
    defaults = dict(bn.batch_norm.__kwdefaults__)
    assert defaults.pop("mask") is None  # with a mask no call is usual
    assert {name: FORWARD[name] for name in defaults} == defaults
    defaults = bn.batch_norm_backward.__kwdefaults__
    assert {name: BACKWARD[name] for name in defaults} == defaults


class Own(np.ndarray):  # type: ignore[type-arg]
    """An array of a subclass."""


ODD_X = {
    "a list": [[1.0, 2.0]],
    "None": None,
    "a subclass": normal(4, 3).view(Own),
    "masked": np.ma.masked_array(normal(4, 3)),
    "transposed": normal(3, 4).T,
    "channels last with gaps": np.moveaxis(normal(4, 6, 5, 3)[:, ::2], -1, 1),
    "channels last, rows in another order": np.moveaxis(normal(4, 6, 5, 3), (1, 2, 3), (3, 2, 1)),
    "channels last, backwards": np.moveaxis(normal(4, 6, 5, 3), -1, 1)[::-1],
    "every second": normal(4, 6)[:, ::2],
    "float16": normal(4, 3, dtype="f2"),
    "integers": np.ones((4, 3), int),
    "swapped bytes": normal(4, 3).astype(">f4"),
    "unaligned": np.frombuffer(bytes(49), np.uint8)[1:].view("f4").reshape(4, 3),
    "empty": normal(0, 3),
    "no channels": normal(4, 0),
    "no axes": np.float32(1.0) * np.ones((), "f4"),
    "large": np.zeros((LARGE // 32, 8), "f4"),
}


@pytest.mark.parametrize("x", ODD_X.values(), ids=ODD_X)
def test_an_unusual_x_is_left_to_python(x: object) -> None:
    """Also one that Python refuses, and one whose output comes from recycled memory."""
    assert forward(x=x) is None


ODD = {
    "gamma of another length": {"gamma": normal(4)},
    "gamma with strides": {"gamma": normal(6)[::2]},
    "narrow gamma": {"x": normal(4, 3, dtype="f8"), "gamma": normal(3)},
    "gamma as a list": {"gamma": [1.0, 1.0, 1.0]},
    "beta of two axes": {"beta": normal(3, 1)},
    "axis 2": {"channel_axis": 2},
    "axis -3": {"channel_axis": -3},
    "a huge axis": {"channel_axis": 2**70},
    "axis True": {"channel_axis": True},
    "axis 1.0": {"channel_axis": 1.0},
    "negative eps": {"eps": -1.0},
    "infinite eps": {"eps": float("inf")},
    "eps that is no number": {"eps": float("nan")},
    "eps as an integer": {"eps": 1},
    "slope 0": {"negative_slope": 0.0},
    "frozen": {"running_mean": normal(3), "running_var": normal(3)},
    "an unknown activation": {"activation": "tanh"},
    "a residual": {"residual": normal(4, 3)},
    "out": {"out": normal(4, 3)},
    "a kernel": {"kernel": "numpy"},
}


@pytest.mark.parametrize("given", ODD.values(), ids=ODD)
def test_an_unusual_forward_call_is_left_to_python(given: dict[str, Any]) -> None:
    """Nothing is written."""
    before = given["out"].copy() if "out" in given else None
    assert forward(**{"x": normal(4, 3), **given}) is None
    if before is not None:
        assert (given["out"] == before).all()


X = normal(4, 3)
FROZEN = bn.batch_norm(X, running_mean=normal(3), running_var=normal(3))
WITH_RESIDUAL = bn.batch_norm(X, residual=X)
FWD = bn.batch_norm(X)
ODD_BACKWARD: dict[str, dict[str, Any]] = {
    "another shape": {"dy": normal(3, 4)},
    "another dtype": {"dy": normal(4, 3, dtype="f8")},
    "strides": {"dy": normal(3, 4).T},
    "another order": {
        "fwd": bn.batch_norm(np.moveaxis(normal(4, 5, 3), -1, 1)),
        "dy": normal(4, 3, 5),
    },
    "no Forward": {"fwd": X},
    "no Saved": {"fwd": Forward(X, 4, tuple(FWD.saved))},  # type: ignore[arg-type]
    "an odd y": {"fwd": Forward(X.astype("f8"), 4, FWD.saved)},
    "odd statistics": {"fwd": Forward(X, 4, FWD.saved._replace(statistics=FWD.mean))},
    "an odd axis": {"fwd": Forward(X, 4, FWD.saved._replace(channel_axis=7))},
    "an odd gamma": {"fwd": Forward(X, 4, FWD.saved._replace(gamma=normal(2)))},
    "frozen": {"fwd": FROZEN},
    "a residual": {"fwd": WITH_RESIDUAL},
    "through the mean": {"through": "mean"},
    "an unknown path": {"through": "neither"},
    "no dx": {"dx": "null"},
    "add": {"dbeta": "add"},
    "buffers": {"into": Gradients()},
    "a kernel": {"kernel": "numpy"},
}


@pytest.mark.parametrize("given", ODD_BACKWARD.values(), ids=ODD_BACKWARD)
def test_an_unusual_backward_call_is_left_to_python(given: dict[str, Any]) -> None:
    """Also a result that somebody put together by hand."""
    assert backward(dy=X, fwd=FWD) is not None
    assert backward(**{"dy": X, "fwd": FWD, **given}) is None


def test_no_reference_is_lost_or_kept() -> None:
    """After many calls whose results are dropped, every object is referred to as before."""
    x, gamma, beta = normal(4, 300), normal(300), normal(300)
    held = (x, gamma, beta, None, True, False, "identity", FORWARD["eps"])

    def calls(count: int) -> None:
        for _ in range(count):
            fwd = forward(x=x, gamma=gamma, beta=beta)
            assert backward(dy=x, fwd=fwd) is not None
            assert forward(x=x, gamma=gamma, beta=x) is None

    calls(2)
    before = [sys.getrefcount(each) for each in held]
    calls(1000)
    after = [sys.getrefcount(each) for each in held]
    assert max(abs(a - b) for a, b in zip(after, before, strict=True)) < 100


@pytest.mark.parametrize("function", [usual_forward, usual_backward])
def test_the_functions_take_all_arguments(function: Any) -> None:
    """They have no names for them: a missing one would shift the others."""
    with pytest.raises(TypeError, match=r"^a usual call takes all arguments$"):
        function(X)


def test_lists_of_fields_that_differ_are_an_error() -> None:
    """A field that Python has and the C++ part has not, or in another place."""
    fields = (*Saved._fields, "another")
    with pytest.raises(NotInstalledError, match=r"^The C\+\+ extension was built from other"):
        _usual.compare({"Saved": fields})
    with pytest.raises(NotInstalledError, match=r"^The C\+\+ extension was built from other"):
        _usual.compare({"Saved": Saved._fields[::-1]})


@pytest.mark.parametrize("classes", [(int, Saved, Gradients), (Forward, dict, Gradients)], ids=str)
def test_classes_without_slots_are_refused(classes: tuple[type, ...]) -> None:
    """Their objects could not be filled; the right classes stay in use."""
    with pytest.raises((TypeError, AttributeError)):
        native_kernel.usual_calls(*classes, LARGE)  # type: ignore[arg-type]
    assert forward(x=X) is not None
