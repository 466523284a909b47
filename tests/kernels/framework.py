"""A framework in small, whose tensors the C++ kernels take: python framework.py CHECK.

The environment of the sanitizers has no PyTorch. Here are tensors with storage that can be freed
and at any address, handed out by DLPack's exchange as PyTorch does. The kernels hold one exchange
in a process, so test_framework.py runs this in a separate process.
"""

# ruff: noqa: T201 - a child answers on standard output
from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from backnorm.errors import StorageError
from backnorm.kernels import native_kernel
from backnorm.testing.cases import DTYPES, dtype_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backnorm._types import AnyArray

SHAPE = (4, 6, 5, 3)
"""24 values for each of 6 channels."""

NATIVE: Any = native_kernel.tensor_calls()


class DLTensor(ctypes.Structure):
    """The struct of dlpack.hpp."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("axes", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class Tensor:
    """An array whose memory can be freed, or may begin at an odd address."""

    def __init__(self, values: AnyArray, *, odd: bool = False, last: bool = False) -> None:
        ordered = np.moveaxis(values, 1, -1) if last else values
        offset = int(odd)
        self.storage: AnyArray = np.zeros(values.nbytes + offset, np.uint8)
        self.storage[offset:] = np.frombuffer(ordered.tobytes(), np.uint8)
        self.offset, self.shape, self.dtype = offset, ordered.shape, values.dtype
        strides = np.empty(ordered.shape).strides
        places = (ordered.shape, [stride // 8 for stride in strides])
        back = [(p[0], p[-1], *p[1:-1]) if last else tuple(p) for p in places]
        self.lengths, self.strides = ((ctypes.c_int64 * values.ndim)(*p) for p in back)
        self.last = last

    def free(self, part: float) -> None:
        """Keep a part of the storage."""
        self.storage = self.storage[: int(self.storage.size * part)].copy()

    def values(self) -> AnyArray:
        """Return a copy of the values."""
        ordered = np.frombuffer(self.storage[self.offset :].tobytes(), self.dtype)
        ordered = ordered.reshape(self.shape)
        return np.moveaxis(ordered, -1, 1) if self.last else ordered

    def fill(self, out: DLTensor) -> None:
        """Describe the tensor."""
        out.data = address(self.storage) + self.offset if self.storage.size else None
        out.device[:] = 1, 0
        out.axes, out.lanes, out.byte_offset = len(self.lengths), 1, 0
        out.code = 4 if self.dtype.name == "bfloat16" else 2
        out.bits = 8 * self.dtype.itemsize
        out.shape, out.strides = self.lengths, self.strides


def address(storage: AnyArray) -> int:
    """Return where a storage begins."""
    return int(storage.ctypes.data)


@ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(DLTensor))
def _tensor_from_object(tensor: Any, out: Any) -> int:
    tensor.fill(out.contents)
    return 0


EXCHANGE = (ctypes.c_void_p * 8)()
"""Version 1.3, no previous one, and of the functions only that which the kernels call."""


def connect() -> None:
    """Let the kernels take these tensors."""
    ctypes.cast(EXCHANGE, ctypes.POINTER(ctypes.c_uint32))[0] = 1
    EXCHANGE[5] = ctypes.cast(_tensor_from_object, ctypes.c_void_p).value
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )
    assert NATIVE.use_exchange(new(ctypes.addressof(EXCHANGE), b"dlpack_exchange_api", None))
    NATIVE.use_storage(lambda tensor: tensor.storage, address, StorageError.too_small)


NAMES = ("input", "residual", "weight", "bias", "running_mean", "running_var", "dy", "output")
CALLS: dict[str, tuple[str, ...]] = {
    "forward": NAMES[:6],
    "backward": ("dy", "input", "output", "weight"),
    "backward from the output": ("dy", "output", "weight", "bias"),
    "in place": ("weight", "bias"),
}
"""The tensors that each call reads."""


def tensors(dtype: str, *, odd: bool = False, last: bool = False) -> dict[str, Tensor]:
    """Return the tensors of a call by their names."""
    rng = np.random.default_rng(0)
    shapes = dict.fromkeys(NAMES[2:6], SHAPE[1:2])
    return {
        name: Tensor(
            (rng.random(shapes.get(name, SHAPE)) + 0.5).astype(dtype_of(dtype)),
            odd=odd and name in shapes,
            last=last and name not in shapes,
        )
        for name in NAMES
    }


def run(call: str, t: dict[str, Tensor], level: int = 0) -> list[Tensor]:
    """Run one of CALLS in training, and return what it wrote."""
    x, weight, bias = t["input"], t["weight"], t["bias"]
    if call == "in place":
        NATIVE.can_invert(x, weight, bias, 0.01)
        return []
    dx, dresidual = (Tensor(np.zeros(SHAPE, x.dtype), last=x.last) for _ in range(2))
    running = t["running_mean"], t["running_var"]
    training, relu, leaky_relu = True, (1, 0.01, 2), (3, 0.01, 2)
    if call == "forward":
        assert NATIVE.forward_tensors(
            *(
                level,
                x,
                dx,
                t["residual"],
                weight,
                bias,
                *running,
                training,
                0.1,
                1e-5,
                *relu,
                False,
            )
        )
        return [dx, *running]
    dweight, dbias = (Tensor(np.zeros(SHAPE[1:2], x.dtype), odd=bool(weight.offset)) for _ in "12")
    statistics = np.ones((4, SHAPE[1])).tobytes()
    from_output = call == "backward from the output"
    outcome = NATIVE.backward_tensors(
        *(level, t["dy"], t["output"] if from_output else x, t["output"]),
        *(dx, dresidual, weight, bias, dweight, dbias, statistics),
        *(training, True, True, not from_output, from_output),
        *(leaky_relu if from_output else relu),
        False,  # noqa: FBT003
    )
    assert outcome == native_kernel.DONE
    return [dx, dresidual, dweight, dbias]


def cases() -> Iterator[tuple[str, bool, int]]:
    """Yield each dtype, layout and instruction-set level."""
    for dtype in DTYPES:
        for last in (False, True):
            for level in range(len(native_kernel.levels())):
                yield dtype, last, level


def freed() -> None:
    """Print which tensor was named, for each that was freed or cut in half."""
    for call, names in CALLS.items():
        for name in names:
            for part in (0.0, 0.5):
                named = {refusal(call, name, part, case) for case in cases()}
                print(call, name, *named)


def refusal(call: str, name: str, part: float, case: tuple[str, bool, int]) -> str:
    """Return the tensor that the error of a call names, or nothing."""
    dtype, last, level = case
    given = tensors(dtype, last=last)
    given[name].free(part)
    try:
        run(call, given, level)
    except StorageError as error:
        return error.name
    return "nothing"


def odd() -> None:
    """Print how many results of parameters at odd addresses differ from those at even ones."""
    different = 0
    for call in ("forward", "backward", "backward from the output"):
        for dtype, last, level in cases():
            want = run(call, tensors(dtype, last=last), level)
            got = run(call, tensors(dtype, odd=True, last=last), level)
            different += sum(
                a.values().tobytes() != b.values().tobytes() for a, b in zip(got, want, strict=True)
            )
    print(different)


CHECKS: dict[str, Callable[[], None]] = {"freed": freed, "odd": odd}

if __name__ == "__main__":
    connect()
    CHECKS[sys.argv[1]]()
