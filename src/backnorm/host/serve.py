"""A child's side of the pipes, and a child that runs targets under any interpreter.

This file needs Python 3.6 and NumPy, and no backnorm: an interpreter is given its path. The files
beside it are imported as a package by a name of that interpreter, so that they find each other.

Both ways go frames: `MARK`, eight bytes for the length, and that many bytes. In those stand four
bytes for the length of a JSON text, the text, and the bytes of the arrays that the text names, in
order.
Whatever a target prints goes to stderr, whatever it reads is empty, and when the parent goes,
this process goes too, even from within an endless loop.
"""

import importlib
import importlib.util
import json
import os
import queue
import struct
import sys
import threading
import time
import traceback
import types

import numpy as np

__all__ = [
    "MARK",
    "NEXT",
    "begin",
    "main",
    "pack",
    "read_frame",
    "serve",
    "unpack",
]

NEXT = b"\0next\0"
"""Written to stderr before something is begun: what follows are words about that."""

MARK = b"\0backnorm\1"
"""Begins each frame: other bytes come from a target that has written to the pipe."""

GRACE = 1.0
"""Seconds that a child without a parent has to end by itself."""

PACKAGE = "backnorm_host"
"""What the package of this folder is called where backnorm is not."""

ARRAY, TUPLE, OBJECT = "$array", "$tuple", "$object"
"""Keys that stand for an array, for a tuple, and for anything else."""


def pack(message):
    """Return the bytes of a message: dictionaries, lists, tuples, texts, numbers and arrays.

    An array arrives with its order in memory, but without the gaps between its values.
    """
    blobs = []

    def plain(value):
        if isinstance(value, dict):
            return {str(key): plain(one) for key, one in value.items()}
        if isinstance(value, tuple):
            return {TUPLE: [plain(one) for one in value]}
        if isinstance(value, list):
            return [plain(one) for one in value]
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufV":
            array, strides = _compact(np.asarray(value))
            blobs.append(array.ravel(order="K").tobytes())
            return {ARRAY: [array.dtype.name, list(np.shape(value)), strides]}
        return {OBJECT: type(value).__name__}

    text = json.dumps(plain(message)).encode("utf-8")
    body = b"".join([struct.pack(">I", len(text)), text] + blobs)
    return MARK + struct.pack(">Q", len(body)) + body


def _compact(array):
    """Return an array without gaps in its memory, and the strides at which it is to be read.

    Along an axis of stride 0 it repeats itself, so that one of its slices is enough.
    """
    first = tuple(slice(0, 1) if step == 0 else slice(None) for step in array.strides)
    compact = np.array(array[first], order="K")
    steps = zip(array.strides, compact.strides)
    return compact, [own if step else 0 for step, own in steps]


def unpack(body):
    """Return the message in the bytes of a frame, or raise ValueError if they do not hold one."""
    (length,) = struct.unpack_from(">I", body)
    at = [4 + length]

    def whole(value):
        if isinstance(value, list):
            return [whole(one) for one in value]
        if not isinstance(value, dict):
            return value
        if TUPLE in value:
            return tuple(whole(one) for one in value[TUPLE])
        if ARRAY in value:
            name, shape, strides = value[ARRAY]
            dtype = np.dtype(name)
            count = 1
            for extent, step in zip(shape, strides):
                count *= extent if step else min(extent, 1)
            memory = np.frombuffer(body, dtype, count, at[0]).copy()
            at[0] += memory.nbytes
            return np.ndarray(tuple(shape), dtype, memory, 0, tuple(strides))
        if OBJECT in value:
            # Something of the same name: all that is said about it is of what type it was.
            return type(str(value[OBJECT]), (), {})()
        return {key: whole(one) for key, one in value.items()}

    return whole(json.loads(body[4 : 4 + length].decode("utf-8")))


def read_frame(pipe):
    """Return the next message; None when the pipe is closed, also in the midst of one.

    Raises ValueError with the bytes that came if they do not begin a frame.
    """
    start = pipe.read(len(MARK) + 8)
    if not start.startswith(MARK[: len(start)]):
        raise ValueError(start)
    if len(start) < len(MARK) + 8:
        return None
    (length,) = struct.unpack(">Q", start[len(MARK) :])
    body = pipe.read(length)
    return None if len(body) < length else unpack(body)


def serve(answer, at_end=lambda: None):
    """Answer messages until the parent closes the pipe.

    ``answer(message, say)`` is called for each; ``say(message)`` sends one back. ``at_end`` is
    called when the parent is gone, in another thread if something is still at work.
    """
    questions, answers = _take_pipes()

    def say(message):
        answers.write(pack(message))
        answers.flush()

    waiting = queue.Queue()
    arguments = (questions, waiting, at_end)
    threading.Thread(target=_listen, args=arguments, daemon=True).start()
    while True:
        message = waiting.get()
        if message is None:
            return
        try:
            answer(message, say)
        except BaseException as error:
            _exit(error, at_end)


def _exit(error, at_end):
    """End this process by what a target raised, at once: threads that it has left do not count."""
    try:
        at_end()
        if not isinstance(error, SystemExit):
            traceback.print_exception(type(error), error, error.__traceback__)
        elif not isinstance(error.code, (int, type(None))):
            sys.stderr.write("%s\n" % error.code)
        sys.stderr.flush()
    finally:
        code = error.code if isinstance(error, SystemExit) else 1
        os._exit((code & 0xFF) if isinstance(code, int) else int(code is not None))


def _take_pipes():
    """Keep the two pipes, and leave foreign code others."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return questions, answers


def _listen(pipe, waiting, at_end):
    """Pass messages on; when the parent is gone, end, by force if a target is at work."""
    try:
        message = read_frame(pipe)
        while message is not None:
            waiting.put(message)
            message = read_frame(pipe)
    finally:
        # Also where bytes came that are no message: nobody could ask anything more.
        try:
            at_end()
        finally:
            waiting.put(None)
            time.sleep(GRACE)
            os._exit(0)


def begin():
    """Mark on stderr where the words about something new begin.

    There, since answers take another pipe: the parent would not know which came first.
    """
    sys.stderr.flush()
    os.write(2, NEXT)


class _Host:
    """The target of one child: found once, then called by the numbers of its runners."""

    def __init__(self):
        package = types.ModuleType(PACKAGE)
        package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
        sys.modules[PACKAGE] = package
        names = ("calls", "find", "no_subject", "pairs", "raised", "specs", "versions", "watch")
        for name in names:
            setattr(self, name, importlib.import_module(PACKAGE + "." + name))
        self.runners = []

    def answer(self, message, say):
        """Answer one message; what a target raises is an answer too."""
        try:
            begin()
            say({"value": getattr(self, "on_" + message["do"])(message)})
        except self.no_subject.NoSubject as error:
            say({"no_subject": [error.why, error.told]})
        except self.pairs.NotReturned as error:
            say({"not_returned": [error.what, error.got, error.sort]})
        except Exception as error:
            sys.stderr.write(traceback.format_exc())
            words, place = self.raised.words_of(error), self.raised.place_of(error)
            say({"raised": [type(error).__name__, words, place]})

    def on_find(self, message):
        """Make specs of a target, and tell where they were made."""
        target, asked = message["target"], message["asked"]
        calls = self.calls.calls_of(target)
        if calls is not None:
            try:
                made = self.specs.of_framework(calls, asked)
            except ImportError as error:
                raise self.find.failed(error) from error
        else:
            candidate = self.find.find(target, message["near"])
            made = self.specs.of_object(candidate, asked)
        self.runners = [spec.pop("runner") for spec in made]
        return {"specs": made, "environment": self.versions.environment(self.calls.FRAMEWORKS)}

    def on_call(self, message):
        """Call an operation of a runner; another runner that comes of it gets a number."""
        operation = message["operation"]
        found = getattr(self.runners[message["runner"]], operation)(*message["arguments"])
        if operation in ("after", "variant"):
            self.runners.append(found)
            return len(self.runners) - 1
        return found

    def on_meet(self, message):
        """Become one rank of a group of processes of PyTorch, where PyTorch is installed."""
        if importlib.util.find_spec("torch") is None:
            return
        place = (message["rank"], message["ranks"], message["place"], message["seconds"])
        self.calls.calls_of("torch").meet(*place)

    def on_running(self, message):
        """Tell which processes and threads are at work here."""
        return sorted(self.watch.running())

    def on_installed(self, message):
        """Tell which packages are there, without importing them."""
        return [name for name in message["names"] if importlib.util.find_spec(name)]


def main():
    """Run targets for whoever started this process."""
    # Python has put the directory of this file first. The current one is where targets may be, and
    # goes last: its files must not hide modules that an interpreter has.
    sys.path.append("")
    del sys.path[0]
    host = _Host()
    host.watch.supervise()
    serve(host.answer)


if __name__ == "__main__":
    main()
