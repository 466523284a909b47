"""Wrong arguments raise the right error, with the right message, before anything is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import backnorm as bn
from backnorm._check import DTYPES, REQUESTS, THROUGHS
from backnorm.errors import DtypeError, RangeError, ShapeError, UnknownNameError
from backnorm.testing.cases import ACTIVATIONS, KERNELS, make

if TYPE_CHECKING:
    from collections.abc import Callable

    from backnorm._types import AnyArray
    from backnorm.errors import BacknormError

BATCH = make((4, 3, 5))
SHAPE = BATCH.x.shape
FWD = bn.batch_norm(BATCH.x, BATCH.gamma, BATCH.beta, residual=BATCH.residual)
BARE = bn.batch_norm(BATCH.x)
INTO = bn.Gradients(dx=np.full_like(BATCH.x, 7), dgamma=np.full_like(BATCH.gamma, 7))

FLAT = np.zeros((4, 3), "f4")
WIDE = np.zeros(SHAPE)
SWAPPED = BATCH.x.astype(">f4")
OVERLAPPING = np.lib.stride_tricks.as_strided(np.zeros((3, 5), "f4"), SHAPE, (0, 20, 4))
NAMES = ("auto", "native", *KERNELS)

unsupported = DtypeError.unsupported
choice = UnknownNameError.choice


def read_only() -> AnyArray:
    """A buffer of the shape of x that cannot be written to."""
    buffer = np.zeros_like(BATCH.x)
    buffer.flags.writeable = False
    return buffer


def into(**buffers: Any) -> dict[str, Any]:
    """The argument `into` with these buffers."""
    return {"into": bn.Gradients(**buffers)}


FORWARD: dict[str, tuple[dict[str, Any], BacknormError]] = {
    "x a list": ({"x": [[1.0]]}, DtypeError.not_an_array("x", [[1.0]])),
    "x masked": (
        {"x": np.ma.masked_array([[1.0]])},
        DtypeError.not_an_array("x", np.ma.masked_array([])),
    ),
    "x of integers": ({"x": np.zeros(SHAPE, "i8")}, unsupported("x", "int64", DTYPES)),
    "x of objects": ({"x": np.zeros(SHAPE, object)}, unsupported("x", "object", DTYPES)),
    "x complex": ({"x": np.zeros(SHAPE, "c8")}, unsupported("x", "complex64", DTYPES)),
    "x long double": (
        {"x": np.zeros(SHAPE, np.longdouble)},
        unsupported("x", np.dtype(np.longdouble), DTYPES),
    ),
    "x in another byte order": ({"x": SWAPPED}, unsupported("x", SWAPPED.dtype, DTYPES)),
    "x without axes": ({"x": np.array(1.0)}, ShapeError.axes("x", ())),
    "x empty": ({"x": np.zeros((0, 3))}, ShapeError.empty((0, 3), 1)),
    "axis too large": ({"channel_axis": 3}, RangeError.channel_axis(3, 3)),
    "axis too small": ({"channel_axis": -4}, RangeError.channel_axis(-4, 3)),
    "axis a fraction": ({"channel_axis": 1.0}, RangeError.channel_axis(1.0, 3)),
    "eps negative": ({"eps": -1e-5}, RangeError.eps(-1e-5)),
    "eps infinite": ({"eps": np.inf}, RangeError.eps(np.inf)),
    "eps that no float holds": ({"eps": 10**400}, RangeError.eps(10**400)),
    "eps of many digits": ({"eps": 10**5000}, RangeError.eps(10**5000)),
    "axis of many digits": (
        {"channel_axis": 10**5000},
        RangeError.channel_axis(10**5000, 3),
    ),
    "slope of many digits": (
        {"negative_slope": 10**5000},
        RangeError.negative_slope(10**5000),
    ),
    "eps NaN": ({"eps": np.nan}, RangeError.eps(np.nan)),
    "eps a word": ({"eps": "small"}, RangeError.eps("small")),
    "eps None": ({"eps": None}, RangeError.eps(None)),
    "gamma too short": (
        {"gamma": np.zeros(2, "f4")},
        ShapeError.per_channel("gamma", (2,), 3, 1),
    ),
    "gamma for another axis": (
        {"gamma": BATCH.gamma, "channel_axis": -1},
        ShapeError.per_channel("gamma", (3,), 5, 2),
    ),
    "gamma one number": ({"gamma": 1.0}, ShapeError.per_channel("gamma", (), 3, 1)),
    "beta with two axes": (
        {"beta": np.zeros((3, 1), "f4")},
        ShapeError.per_channel("beta", (3, 1), 3, 1),
    ),
    "gamma narrower": (
        {"gamma": np.zeros(3, "f2")},
        DtypeError.narrower("gamma", "float16", "x", "float32"),
    ),
    "beta of integers": ({"beta": [1, 2, 3]}, unsupported("beta", "int64", DTYPES)),
    "only running_mean": (
        {"running_mean": np.zeros(3)},
        RangeError.running_pair("running_var", "running_mean"),
    ),
    "only running_var": (
        {"running_var": np.zeros(3)},
        RangeError.running_pair("running_mean", "running_var"),
    ),
    "running_var negative": (
        {"running_mean": np.zeros(3), "running_var": [1.0, -0.5, -2.0]},
        RangeError.negative_variance(-0.5, 1),
    ),
    "running_mean too long": (
        {"running_mean": np.zeros(4), "running_var": np.ones(3)},
        ShapeError.per_channel("running_mean", (4,), 3, 1),
    ),
    "activation misspelt": (
        {"activation": "leaky_rellu"},
        choice("activation", "leaky_rellu", ACTIVATIONS),
    ),
    "slope 0": ({"negative_slope": 0.0}, RangeError.negative_slope(0.0)),
    "slope negative": ({"negative_slope": -1}, RangeError.negative_slope(-1)),
    "residual of another shape": (
        {"residual": FLAT},
        ShapeError.same_as("residual", (4, 3), "x", SHAPE),
    ),
    "residual in another format": (
        {"residual": WIDE},
        DtypeError.same_as("residual", "float64", "x", "float32"),
    ),
    "out of another shape": ({"out": FLAT}, ShapeError.same_as("out", (4, 3), "x", SHAPE)),
    "out in another format": (
        {"out": WIDE},
        DtypeError.same_as("out", "float64", "x", "float32"),
    ),
    "out read-only": ({"out": read_only()}, RangeError.read_only("out")),
    "out of one sample": (
        {"out": OVERLAPPING},
        RangeError.overlap_with_itself("out", (0, 20, 4)),
    ),
    "out in place": ({"out": BATCH.x}, RangeError.overlap("out", "x")),
    "out x backwards": ({"out": BATCH.x[::-1]}, RangeError.overlap("out", "x")),
    "out over the residual": (
        {"out": BATCH.residual, "residual": BATCH.residual},
        RangeError.overlap("out", "residual"),
    ),
    "out over gamma": (
        {"out": INTO.dx, "gamma": INTO.dx[0, :, 0]},
        RangeError.overlap("out", "gamma"),
    ),
    "kernel unknown": ({"kernel": "fastest"}, choice("kernel", "fastest", NAMES)),
    "kernel None": ({"kernel": None}, choice("kernel", None, NAMES)),
}

BACKWARD: dict[str, tuple[dict[str, Any], BacknormError]] = {
    "fwd an array": ({"fwd": BATCH.x}, RangeError.stale_forward(BATCH.x)),
    "fwd None": ({"fwd": None}, RangeError.stale_forward(None)),
    "dy of another shape": ({"dy": FLAT}, ShapeError.same_as("dy", (4, 3), "fwd.y", SHAPE)),
    "dy in another format": (
        {"dy": WIDE},
        DtypeError.same_as("dy", "float64", "fwd.y", "float32"),
    ),
    "dy a list": ({"dy": [1.0]}, DtypeError.not_an_array("dy", [1.0])),
    "through misspelt": ({"through": "var"}, choice("through", "var", THROUGHS)),
    "request misspelt": ({"dx": "wrote"}, choice("dx", "wrote", REQUESTS)),
    "request None": ({"dbeta": None}, choice("dbeta", None, REQUESTS)),
    "add without a buffer": ({"dbeta": "add"}, RangeError.missing_buffer("dbeta")),
    "add without any buffer": ({"dx": "add", "into": None}, RangeError.missing_buffer("dx")),
    "a buffer for null": (
        {"dx": "null", **into(dx=INTO.dx)},
        RangeError.useless_buffer("dx", "dx='null'"),
    ),
    "a buffer for no gamma": (
        {"fwd": BARE, **into(dgamma=INTO.dgamma)},
        RangeError.useless_buffer("dgamma", "the forward pass had no gamma"),
    ),
    "a buffer for no residual": (
        {"fwd": BARE, **into(dresidual=INTO.dx)},
        RangeError.useless_buffer("dresidual", "the forward pass had no residual"),
    ),
    "a buffer of another shape": (
        into(dgamma=np.zeros(4, "f4")),
        ShapeError.same_as("into.dgamma", (4,), "gamma", (3,)),
    ),
    "a buffer in another format": (
        into(dx=WIDE),
        DtypeError.same_as("into.dx", "float64", "x", "float32"),
    ),
    "a buffer that is a list": (
        into(dbeta=[0.0, 0.0, 0.0]),
        DtypeError.not_an_array("into.dbeta", []),
    ),
    "a read-only buffer": (into(dx=read_only()), RangeError.read_only("into.dx")),
    "a buffer of one sample": (
        into(dx=OVERLAPPING),
        RangeError.overlap_with_itself("into.dx", (0, 20, 4)),
    ),
    "dx over dy": (into(dx=BATCH.dy), RangeError.overlap("into.dx", "dy")),
    "dx over x": (into(dx=BATCH.x), RangeError.overlap("into.dx", "x")),
    "dx over y": (into(dx=FWD.y), RangeError.overlap("into.dx", "fwd.y")),
    "dgamma over gamma": (
        into(dgamma=BATCH.gamma),
        RangeError.overlap("into.dgamma", "gamma"),
    ),
    "one buffer twice": (
        into(dgamma=INTO.dgamma, dbeta=INTO.dgamma),
        RangeError.overlap("into.dbeta", "into.dgamma"),
    ),
    "into a dict": ({"into": {"dx": INTO.dx}}, RangeError.no_gradients({})),
    "kernel unknown": ({"kernel": "nunpy"}, choice("kernel", "nunpy", NAMES)),
}

OTHERS: dict[str, tuple[Callable[[], object], BacknormError]] = {
    "tangent of another shape": (
        lambda: bn.batch_norm_jvp(FLAT, FWD),
        ShapeError.same_as("x_tangent", (4, 3), "x", SHAPE),
    ),
    "tangent without fwd": (
        lambda: bn.batch_norm_jvp(BATCH.x, None),
        RangeError.stale_forward(None),
    ),
    "tangent of no gamma": (
        lambda: bn.batch_norm_jvp(BATCH.x, BARE, gamma_tangent=[1.0, 1.0, 1.0]),
        RangeError.no_parameter("gamma_tangent", "gamma"),
    ),
    "tangent of no residual": (
        lambda: bn.batch_norm_jvp(BATCH.x, BARE, residual_tangent=BATCH.x),
        RangeError.no_parameter("residual_tangent", "residual"),
    ),
    "tangent of beta too long": (
        lambda: bn.batch_norm_jvp(BATCH.x, FWD, beta_tangent=np.zeros(4)),
        ShapeError.per_channel("beta_tangent", (4,), 3, 1),
    ),
    "tangent through nothing known": (
        lambda: bn.batch_norm_jvp(BATCH.x, FWD, through="all"),
        choice("through", "all", THROUGHS),
    ),
    "ddx in another format": (
        lambda: bn.batch_norm_double_backward(WIDE, BATCH.dy, FWD),
        DtypeError.same_as("ddx", "float64", "x", "float32"),
    ),
    "ddbeta of no beta": (
        lambda: bn.batch_norm_double_backward(None, BATCH.dy, BARE, ddbeta=[1.0, 1.0, 1.0]),
        RangeError.no_parameter("ddbeta", "beta"),
    ),
    "ddresidual of another shape": (
        lambda: bn.batch_norm_double_backward(None, BATCH.dy, FWD, ddresidual=FLAT),
        ShapeError.same_as("ddresidual", (4, 3), "x", SHAPE),
    ),
    "no threads": (lambda: bn.set_num_threads(0), RangeError.threads(0)),
    "more threads than 32 bits count": (
        lambda: bn.set_num_threads(2**31),
        RangeError.count_too_large("n", 2**31, 2**31 - 1),
    ),
    "threads of many digits": (
        lambda: bn.set_num_threads(10**5000),
        RangeError.count_too_large("n", 10**5000, 2**31 - 1),
    ),
    "threads of many digits below 0": (
        lambda: bn.set_num_threads(-(10**5000)),
        RangeError.threads(-(10**5000)),
    ),
    "a limit that 64 bits do not hold": (
        lambda: bn.set_cache_limit(2**63),
        RangeError.count_too_large("limit", 2**63, 2**63 - 1),
    ),
    "half a thread": (lambda: bn.set_num_threads(0.5), RangeError.threads(0.5)),
    "a negative limit": (lambda: bn.set_cache_limit(-1), RangeError.cache_limit(-1)),
    "a limit in words": (lambda: bn.set_cache_limit("1 GiB"), RangeError.cache_limit("1 GiB")),
}


def contents() -> list[bytes]:
    """Every array that a wrong call is given, and could write to."""
    given = [*vars(BATCH).values(), FWD.y, FWD.saved.statistics, INTO.dx, INTO.dgamma, FLAT, WIDE]
    return [array.tobytes() for array in given]


def assert_refused(call: Callable[[], object], error: BacknormError) -> None:
    """Assert that the call raises this very error, and writes nothing."""
    before = contents()
    with pytest.raises(type(error), match=f"^{re.escape(str(error))}$"):
        call()
    assert contents() == before


@pytest.mark.parametrize("what", FORWARD)
def test_forward_refuses(what: str) -> None:
    """The right message for each wrong argument, and out as it was."""
    wrong, error = FORWARD[what]
    arguments: dict[str, Any] = {"x": BATCH.x, "out": INTO.dx} | wrong
    assert_refused(lambda: bn.batch_norm(arguments.pop("x"), **arguments), error)


@pytest.mark.parametrize("what", BACKWARD)
def test_backward_refuses(what: str) -> None:
    """The right message for each wrong argument, and every buffer as it was."""
    wrong, error = BACKWARD[what]
    arguments: dict[str, Any] = {"dy": BATCH.dy, "fwd": FWD, "into": INTO} | wrong
    dy, fwd = arguments.pop("dy"), arguments.pop("fwd")
    assert_refused(lambda: bn.batch_norm_backward(dy, fwd, **arguments), error)


@pytest.mark.parametrize("what", OTHERS)
def test_the_others_refuse(what: str) -> None:
    """Forward mode, the second derivative, threads and memory."""
    assert_refused(*OTHERS[what])
