"""The program protocol on the side of the audit: a message is a line, and the bytes of its arrays.

A line is words divided by one space; an array is a word ``name=dtype[4,3]``, and its bytes follow
the line, in C order and little endian; see docs/programs.md.

Plain: Python 3.6 and NumPy, and nothing of backnorm.
"""

import re

import numpy as np

__all__ = ["LineWire", "OutOfStep", "header_of", "pack_line", "swapped"]

LONGEST_LINE = 1 << 16
"""Bytes of a line: a header names a few arrays."""

MOST_NOISE = 1 << 20
"""Bytes that a program may write before it answers hello: what libraries print while they load."""

LARGEST = 1 << 30
"""Bytes of the arrays of an answer: the audit's own arrays are far smaller."""

SHOWN = 60
"""Characters of a line that a message shows."""

CHUNK = 1 << 16

TELLING = 4
"""Values that tell the order of their bytes: fewer may make sense in both by chance."""

ARRAYS = re.compile(r"y|dx|dgamma|dbeta|state\..*")
"""Names of arrays in an answer, and of nothing else."""

PLACE = re.compile(r"(\w+)\[((?:\d+(?:,\d+)*)?)\]")

DTYPES = {
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
    "bfloat16": "<u2",
    "int64": "<i8",
    "bool": "|b1",
}


class OutOfStep(ValueError):
    """A program wrote what is not an answer; ``args[0]`` says what."""

    @classmethod
    def no_answer(cls, line):
        """Return the error of a line that is not an answer."""
        what = quoted(line) if line else "an empty line"
        return cls("%s, where an answer begins with ok or error," % what)

    @classmethod
    def noise(cls, line):
        """Return the error of a program that writes too much before its first answer."""
        return cls("more than 1 MiB before its first answer, at the end %s," % quoted(line))

    @classmethod
    def long_line(cls, start, limit):
        """Return the error of a line without an end."""
        return cls("%s, a line of more than %d bytes," % (quoted(start), limit))

    @classmethod
    def dtype(cls, name, dtype):
        """Return the error of an array of a dtype that the protocol does not have."""
        return cls("%s of the unknown dtype %s" % (name, dtype))

    @classmethod
    def word(cls, word):
        """Return the error of a word that looks like an array and is none."""
        return cls("%s, which is not an array such as y=float64[4,3]," % quoted(word))

    @classmethod
    def twice(cls, name):
        """Return the error of a line that has a name twice."""
        return cls("%s twice in one answer" % name)

    @classmethod
    def size(cls, line):
        """Return the error of an answer that announces too many bytes."""
        return cls("%s, which announces more than 1 GiB," % quoted(line))


def pack_line(line, arrays):
    """Return the bytes of a message.

    ``arrays`` has values by name; a pair (array, "bfloat16") is sent in that dtype.
    """
    blobs = [_bytes_of(*_typed(value)) for value in arrays.values()]
    return b"".join([header_of(line, arrays).encode("ascii"), b"\n"] + blobs)


def header_of(line, arrays):
    """Return the line of a message, with the words of its arrays."""
    words = [line]
    for name, value in arrays.items():
        array, dtype = _typed(value)
        words.append("%s=%s[%s]" % (name, dtype, ",".join(map(str, array.shape))))
    return " ".join(words)


def _typed(value):
    if isinstance(value, tuple):
        return np.asarray(value[0]), value[1]
    return np.asarray(value), np.asarray(value).dtype.name


def _bytes_of(array, dtype):
    raw = _bfloat16(array) if dtype == "bfloat16" else array.astype(DTYPES[dtype])
    return raw.tobytes()


def _bfloat16(array):
    """Round float32 to its upper half, to even."""
    bits = np.ascontiguousarray(array, "<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def _values(dtype, raw, shape):
    array = np.frombuffer(raw, DTYPES[dtype]).reshape(shape)
    if dtype == "bfloat16":
        return (array.astype("<u4") << 16).view("<f4").copy()
    return array.astype(array.dtype.newbyteorder("=")) if array.dtype.kind != "b" else array.copy()


class LineWire:
    """The wire to one program: what is sent, what came, and what has come of an answer so far.

    ``noise`` has what came before the first answer; ``partial`` says what is there of an answer
    that has not come in full, and is empty between answers.
    """

    def __init__(self):
        self.held = bytearray()
        self.noise = []
        self.skipped = 0
        self.greeted = False
        self.after = ()

    def pack(self, message):
        """Return the bytes of a request: its "line" and "arrays"."""
        return pack_line(message["line"], message["arrays"])

    def read(self, pipe):
        """Return the next answer: "words" and "arrays", or "error"; None at the end of the pipe."""
        line = self._line(pipe)
        while line is not None and not self.greeted and not _answers(line):
            self._skip(line)
            line = self._line(pipe)
        if line is None:
            return None
        self.greeted = True
        what, _, rest = line.partition(" ")
        if what == "error":
            self.after = ()
            return {"error": rest.strip() or "no words"}
        if what != "ok":
            raise OutOfStep.no_answer(line)
        return self._arrays(pipe, line, rest.split())

    @property
    def partial(self):
        """What is there of an answer that has not come in full."""
        if self.after:
            line, there, wanted = self.after
            return "%d of the %d bytes after its line %s" % (there, wanted, quoted(line))
        if self.held:
            return "%s, without the end of the line" % quoted(bytes(self.held).decode("latin-1"))
        if self.noise and not self.greeted:
            lines = "%d line%s" % (len(self.noise), "s" * (len(self.noise) > 1))
            return "%s that cannot be an answer, at the end %s" % (lines, quoted(self.noise[-1]))
        return ""

    @property
    def beyond(self):
        """What has come after the last answer that was read."""
        return quoted(bytes(self.held[: 2 * SHOWN]).decode("latin-1")) if self.held else ""

    def _skip(self, line):
        self.noise.append(line)
        self.skipped += len(line) + 1
        if self.skipped > MOST_NOISE:
            raise OutOfStep.noise(line)

    def _line(self, pipe):
        limit = LONGEST_LINE if self.greeted else MOST_NOISE
        at = self.held.find(b"\n")
        while at < 0:
            if len(self.held) > limit:
                start = bytes(self.held[: 2 * SHOWN]).decode("latin-1")
                raise OutOfStep.long_line(start, limit)
            seen = len(self.held)
            if not self._more(pipe):
                return None
            at = self.held.find(b"\n", seen)
        line = bytes(self.held[:at]).decode("latin-1")
        del self.held[: at + 1]
        return line.rstrip("\r")

    def _more(self, pipe):
        chunk = pipe.read1(CHUNK)
        self.held += chunk
        return bool(chunk)

    def _arrays(self, pipe, line, words):
        plain, places = {}, []
        for word in words:
            name, equals, value = word.partition("=")
            found = PLACE.fullmatch(value)
            if found is None and ("[" in value or ARRAYS.fullmatch(name)):
                raise OutOfStep.word(word)
            if name in plain or name in (known for known, _, _ in places):
                raise OutOfStep.twice(name)
            if found is None:
                plain[name] = value if equals else None
            elif found.group(1) not in DTYPES:
                raise OutOfStep.dtype(name, found.group(1))
            else:
                shape = tuple(int(n) for n in found.group(2).split(",") if n)
                places.append((name, found.group(1), shape))
        sizes = [_size(dtype, shape) for _, dtype, shape in places]
        if sum(sizes) > LARGEST:
            raise OutOfStep.size(line)
        if not self._wait(pipe, line, sum(sizes)):
            return None
        arrays = {}
        for (name, dtype, shape), size in zip(places, sizes):
            arrays[name] = _values(dtype, bytes(self.held[:size]), shape)
            del self.held[:size]
        self.after = ()
        return {"words": plain, "arrays": arrays}

    def _wait(self, pipe, line, wanted):
        while len(self.held) < wanted:
            self.after = (line, len(self.held), wanted)
            if not self._more(pipe):
                return False
        return True


def swapped(array):
    """Whether floats make sense with their bytes in the opposite order, and only then."""
    if array.dtype.itemsize < 4 or array.size < TELLING:
        return False
    with np.errstate(all="ignore"):
        there, other = (_sensible(one) for one in (array, array.byteswap()))
    return other and not there


def _sensible(array):
    """Whether all values are 0, or finite and of a size that values of a layer have."""
    size = np.abs(array)
    return bool(((size == 0) | ((size > 1e-12) & (size < 1e12))).all())


def quoted(line):
    """Return the start of a line between backquotes, with what cannot be printed as dots."""
    shown = "".join(c if " " <= c <= "~" else "." for c in line)
    return "`%s`" % (shown if len(shown) <= SHOWN else shown[: SHOWN - 3] + "...")


def _answers(line):
    return line in ("ok", "error") or line.startswith(("ok ", "error "))


def _size(dtype, shape):
    size = np.dtype(DTYPES[dtype]).itemsize
    for extent in shape:
        size *= extent
    return size
