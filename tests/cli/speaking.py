"""A program of the program protocol, written without a helper, with the faults that have a name.

`python speaking.py FAULT` is sound but for the fault; see FAULTY and LOST in test_programs.py.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

FAULT = sys.argv[1] if len(sys.argv) > 1 else ""
IN: BinaryIO = sys.stdin.buffer
OUT: BinaryIO = sys.stdout.buffer
SEEN = {"calls": 0}

FACTS = {
    "no sample": "kind=batch params=3 dtypes=float64",
    "bad kind": "kind=batchnorm sample=3,2 params=3 dtypes=float64",
    "bad sample": "kind=batch sample=3,x params=3 dtypes=float64",
    "huge sample": "kind=batch sample=3,100000 params=3 dtypes=float64",
    "bad params": "kind=batch sample=3,2 params=5 dtypes=float64",
    "bad dtypes": "kind=batch sample=3,2 params=3 dtypes=float128",
    "no dtypes": "kind=batch sample=3,2 params=3",
    "half only": "kind=batch sample=3,2 params=3 dtypes=bfloat16",
    "bad gamma": "kind=batch sample=3,2 params=3 dtypes=float64 gamma=no",
    "bad groups": "kind=group sample=4,2 params=4 dtypes=float64 groups=3",
    "protocol 2": "protocol=2 kind=batch sample=3,2 params=3 dtypes=float64",
    "float32": "kind=batch sample=3,2 params=3 dtypes=float32",
    "half": "kind=batch sample=3,2 params=3 dtypes=float32,bfloat16,float16",
    "extra words": "kind=batch  sample=3,2 params=3 dtypes=float64 color=blue fast",
    "groups": "kind=group sample=4,2 params=4 dtypes=float64 groups=2",
    "no groups": "kind=group sample=4,2 params=4 dtypes=float64",
    "rows": "kind=batch sample=3 params=3 dtypes=float64",
    "last": "kind=batch sample=4,3 params=3 dtypes=float64",
    "two kinds": "kind=layer kind=batch sample=3,2 params=3 dtypes=float64",
    "named": "kind=batch sample=3,2 params=3 dtypes=float64 name=their.norm version=1.2",
}
"""What the faults of hello, and some that are none, answer."""


def array_of(word: str) -> tuple[str, np.ndarray]:
    """Read the bytes of an array that a word names."""
    name, _, place = word.partition("=")
    dtype, _, shape = place[:-1].partition("[")
    lengths = tuple(int(length) for length in shape.split(",") if length)
    read = "uint16" if dtype == "bfloat16" else dtype
    raw = IN.read(int(np.prod(lengths, dtype=int)) * np.dtype(read).itemsize)
    values = np.frombuffer(raw, read).reshape(lengths)
    if dtype == "bfloat16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return name, values.astype(np.float32) if dtype == "float16" else values


def message(line: str, arrays: dict[str, np.ndarray], dtype: str = "") -> bytes:
    """Return the bytes of an answer."""
    blobs = []
    for name, value in arrays.items():
        sent, title = np.ascontiguousarray(value), value.dtype.name
        if dtype == "bfloat16":
            sent = (sent.astype("<f4").view("<u4") + 0x8000 >> 16).astype("<u2")
        elif dtype:
            sent = sent.astype(dtype)
        line += f" {name}={dtype or title}[{','.join(map(str, value.shape))}]"
        blobs.append(sent.tobytes())
    return line.encode() + b"\n" + b"".join(blobs)


def normalize(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return y and the gradients of a batch normalization."""
    if "groups" in FAULT:
        return normalize_groups(given)
    if FAULT in ("rows", "misread"):
        return normalize_rows(given)
    x, dy = given["x"], given.get("dy")
    gamma, beta = given["gamma"][:, None], given["beta"][:, None]
    mean, var = x.mean((0, 2), keepdims=True), x.var((0, 2), keepdims=True)
    r = 1 / np.sqrt(var + x.dtype.type(1e-5))
    h = (x - mean) * r
    found = {"y": gamma * h + beta}
    if dy is not None:
        d = dy - dy.mean((0, 2), keepdims=True)
        d = d if FAULT == "cut variance" else d - h * (dy * h).mean((0, 2), keepdims=True)
        found["dx"], found["dgamma"], found["dbeta"] = (
            gamma * r * d,
            (dy * h).sum((0, 2)),
            dy.sum((0, 2)),
        )
    return found


def normalize_rows(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the same of a right layer of rows (N, C), as which it reads the memory of any x."""
    x, dy = given["x"].reshape(-1, 3), given.get("dy")
    r = 1 / np.sqrt(x.var(0) + 1e-5)
    h = (x - x.mean(0)) * r
    found = {"y": given["gamma"] * h + given["beta"]}
    if dy is not None:
        dy = dy.reshape(-1, 3)
        found["dx"] = given["gamma"] * r * (dy - dy.mean(0) - h * (dy * h).mean(0))
        found |= {"dgamma": (dy * h).sum(0), "dbeta": dy.sum(0)}
    shape = given["x"].shape
    return {name: v.reshape(shape) if name in ("y", "dx") else v for name, v in found.items()}


def moved(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays with the last two axes exchanged, for channels that are the last axis."""
    return {name: np.swapaxes(v, 1, 2) if v.ndim == 3 else v for name, v in arrays.items()}


def normalize_groups(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the same of a normalization of two groups of channels."""
    shape = given["x"].shape
    x, gamma = given["x"].reshape(len(given["x"]), 2, -1), given["gamma"][:, None]
    r = 1 / np.sqrt(x.var(2, keepdims=True) + 1e-5)
    h = (x - x.mean(2, keepdims=True)) * r
    whole = h.reshape(shape)
    found = {"y": gamma * whole + given["beta"][:, None]}
    if "dy" in given:
        d = (gamma * given["dy"]).reshape(x.shape)
        dx = d - d.mean(2, keepdims=True) - h * (d * h).mean(2, keepdims=True)
        found["dx"] = (r * dx).reshape(shape)
        found["dgamma"] = (given["dy"] * whole).sum((0, 2))
        found["dbeta"] = given["dy"].sum((0, 2))
    return found


def changed(found: dict[str, np.ndarray], given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Put a fault into the arrays of an answer."""
    if FAULT == "NaN":
        found["y"] = np.where(np.arange(found["y"].size).reshape(found["y"].shape) == 1, np.nan, 1)
    if FAULT == "wrong shape" and "dx" in found:
        found["dx"] = found["dx"][:, :, :1]
    if FAULT == "flat":
        found["y"] = found["y"].ravel()
    if FAULT in ("no y", "no dx", "no dgamma"):
        found.pop(FAULT[3:], None)
    if FAULT == "integers":
        found["y"] = found["y"].astype(np.int64)
    turned = {
        "half for float32": lambda v: v.astype(np.float16),
        "always float32": lambda v: v.astype(np.float32),
        "big endian": np.ndarray.byteswap,
    }
    if FAULT in turned:
        found = {name: turned[FAULT](value) for name, value in found.items()}
    if FAULT == "fixed n":
        found["y"] = np.resize(found["y"], (5, *found["y"].shape[1:]))
    if FAULT == "more arrays":
        found["mean"] = given["x"].mean((0, 2))
    return found


def spoilt(answer: bytes, given: dict[str, np.ndarray]) -> bytes:
    """Put a fault into the bytes of an answer, or into what this process does."""
    line, _, rest = answer.partition(b"\n")
    calls = SEEN["calls"]
    actions = {
        "short": lambda: answer[:-8],
        "short once": lambda: answer[:-8] if calls == 40 else answer,
        "long": lambda: answer + b"12345678",
        "half a line": lambda: line[: len(line) // 2],
        "crash": os.abort,
        "crash on empty": lambda: answer if given["x"].size else os.abort(),
        "crash on large": lambda: answer if np.abs(given["x"]).max(initial=0) < 1e8 else os.abort(),
        "crash now and then": lambda: os.abort() if calls == 700 else answer,
        "one shot": lambda: sys.exit(3) if calls > 1 else answer,
        "hang": lambda: time.sleep(600) or answer,
        "hang on empty": lambda: answer if given["x"].size else time.sleep(600) or answer,
        "hangs later": lambda: time.sleep(600 if calls == 100 else 0) or answer,
        "closes stdout later": lambda: answer if calls < 100 else os.close(1) or time.sleep(600),
        "closes stdout": lambda: os.close(1) or time.sleep(600) or answer,
        "huge line": lambda: b"ok " + b"y" * 200_000 + b"\n",
        "huge array": lambda: b"ok y=float64[9999999999]\n",
        "unknown dtype": lambda: b"ok y=float99[2]\n" + bytes(16),
        "bad word": lambda: answer.replace(b",3,2]", b",,3,2]"),
        "prints": lambda: b"step 1 of 10\n" + answer,
        "prints binary": lambda: b"\xff\xfe\x00" + answer,
        "error": lambda: b"error no such thing\n",
        "empty error": lambda: b"error\n",
        "words in the answer": lambda: line + b" took=3ms thanks\n" + rest,
        "answers twice": lambda: answer + answer,
        "newline at the end": lambda: answer + b"\n",
        "blank line": lambda: b"\n" + answer,
        "text mode": lambda: line + b"\n" + rest.replace(b"\n", b"\r\n") + b"\r\n",
        "no shape": lambda: answer.replace(b"[5,3,2]", b"").replace(b"[2,3,2]", b""),
        "bytes in another order": lambda: line + b"\n" + swapped_first(rest, given),
        "y twice": lambda: line + line[2:] + b"\n" + rest + rest,
        "hello for ever": lambda: b"ok kind=batch sample=3,2 params=3 dtypes=float64\n",
        "other facts": lambda: answer if given["x"].size else os.abort(),
        "exits after an answer": lambda: after(answer) if calls == 50 else answer,
        "out of order": lambda: held_back(answer),
        "carriage return": lambda: line + b"\r\n" + rest,
    }
    return actions.get(FAULT, lambda: answer)()


def after(answer: bytes) -> bytes:
    """Answer, and exit as a program does that has done its work."""
    OUT.write(answer)
    OUT.flush()
    sys.exit(0)


def swapped_first(rest: bytes, given: dict[str, np.ndarray]) -> bytes:
    """Exchange the first two arrays of an answer with gradients, y and dx."""
    size = given["x"].nbytes if "dy" in given else 0
    return rest[size : 2 * size] + rest[:size] + rest[2 * size :]


HELD: list[bytes] = []


def held_back(answer: bytes) -> bytes:
    """Hold answers back as long as requests come, and return them from the last to the first."""
    HELD.append(answer)
    if IN.peek() if select.select([IN], [], [], 0.02)[0] else b"":  # type: ignore[attr-defined]
        return b""
    answers = b"".join(reversed(HELD))
    HELD.clear()
    return answers


def leave_a_process() -> None:
    """Start a process in a session of its own, and write its number down."""
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(sleep, start_new_session=True)
    Path(os.environ["BACKNORM_TEST_PIDS"]).write_text(f"{os.getpid()} {child.pid}")


def hello() -> bytes:
    """Answer hello, or do what a fault does instead."""
    noise = {
        "indented": b" ok kind=batch sample=3,2 params=3 dtypes=float64\n",
        "noise": b"Loading...\nNo GPU found, ok\n",
        "binary noise": bytes(range(128, 256)) + b"\n",
        "noise without end": b"x" * (1 << 21),
        "lines without end": b"Loading...\n" * 200_000,
    }
    OUT.write(noise.get(FAULT, b""))
    OUT.flush()
    if FAULT == "refuses":
        return b"error no license\n"
    if FAULT == "exits at once":
        sys.exit("cannot open model.bin")
    if FAULT in ("silent", "indented"):
        time.sleep(600)
    if FAULT == "says and exits":
        OUT.write(b"usage: norm FILE\n")
        OUT.flush()
        sys.exit(0)
    if FAULT == "other facts":
        start = f"version={os.getpid()}"
        return message(f"ok kind=batch sample=3,2 params=3 dtypes=float64 {start}", {})
    state = {}
    if FAULT in ("other state", "state"):
        state = {"state.count": np.zeros(3)}
    facts = FACTS.get(FAULT, "kind=batch sample=3,2 params=3 dtypes=float32,float64")
    return message(f"ok {facts}", state)


def main() -> None:
    """Answer requests until the end of the input."""
    for line in iter(IN.readline, b""):
        what, *words = line.decode().split()
        given = dict(array_of(word) for word in words if "=" in word)
        if what == "hello":
            answer = hello()
        else:
            SEEN["calls"] += 1
            if FAULT.startswith("leaves") and SEEN["calls"] == 100:
                leave_a_process()
                time.sleep(600 if FAULT == "leaves and hangs" else 0)
            if given["x"].ndim != (2 if FAULT == "rows" else 3):
                OUT.write(b"error x must have three axes\n")
                OUT.flush()
                continue
            halves = [d for d in ("bfloat16", "float16") if f"={d}[" in line.decode()]
            found = normalize(moved(given)) if FAULT == "last" else normalize(given)
            found = moved(found) if FAULT == "last" else changed(found, given)
            if FAULT == "other state":
                found["state.counts"] = np.zeros(4)
            if FAULT == "state":
                found["state.count"] = given["state.count"] + 1
            answer = spoilt(message("ok", found, halves[0] if halves else ""), given)
        try:
            if FAULT != "not flushed" or what == "hello":
                OUT.write(answer)
                OUT.flush()
        except OSError:
            return


if __name__ == "__main__":
    main()
