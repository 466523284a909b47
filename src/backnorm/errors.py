"""Every exception and every message of backnorm.

A message says: what must hold and what was got, where the requirement comes from, what to do.
Each is built by a constructor here, so that a ``raise`` line elsewhere holds no string.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "BacknormError",
    "BenchmarkError",
    "ConversionError",
    "DtypeError",
    "FileError",
    "NotInstalledError",
    "RangeError",
    "ShapeError",
    "SubjectError",
    "UnknownNameError",
]


class BacknormError(Exception):
    """Base of all errors that backnorm raises on purpose.

    Attributes
    ----------
    name
        The argument (or file, layer, target) that is at fault.
    requirement
        What it must do or be.
    got
        What was found instead, as text.
    why
        Where the requirement comes from.
    advice
        What to do.
    """

    def __init__(self, name: str, requirement: str, got: str, why: str, advice: str) -> None:
        super().__init__(name, requirement, got, why, advice)
        self.name = name
        self.requirement = requirement
        self.got = got
        self.why = why
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.name} must {self.requirement}, got {self.got}. {self.why} {self.advice}"


class SmallWeightWarning(UserWarning):
    """Weights are too small to work in place."""

    @classmethod
    def not_in_place(cls) -> SmallWeightWarning:
        """The input could not be worked out from the output."""
        return cls(
            "inplace is ignored here: some weights are small beside their biases, so that the "
            "input could not be worked out from the output without losing digits. Other layers "
            "and later calls are not named again."
        )


class ShapeError(BacknormError, ValueError):
    """An array has the wrong number of axes, or the wrong length along one."""

    @classmethod
    def per_channel(cls, name: str, got: Sequence[int], c: int, channel_axis: int) -> ShapeError:
        """A per-channel array is not of shape (C,)."""
        return cls(
            name,
            f"have shape ({c},)",
            _tuple(got),
            f"{c} is x.shape[{channel_axis}], since channel_axis={channel_axis}.",
            "Pass one value per channel, or set channel_axis.",
        )

    @classmethod
    def same_as(cls, name: str, got: Sequence[int], other: str, want: Sequence[int]) -> ShapeError:
        """An array that must have another's shape has not."""
        return cls(
            name,
            f"have the shape of {other}, {_tuple(want)}",
            _tuple(got),
            f"Each element of {name} belongs to one element of {other}.",
            f"Reshape {name}, or pass the {other} it belongs to.",
        )

    @classmethod
    def axes(cls, name: str, got: Sequence[int]) -> ShapeError:
        """x has no channel axis at all."""
        return cls(
            name,
            "have at least 1 axis",
            f"shape {_tuple(got)}",
            "One axis holds the channels; the statistics are taken over the others.",
            "Pass an array such as (N, C) or (N, C, H, W).",
        )

    @classmethod
    def empty(cls, got: Sequence[int], channel_axis: int) -> ShapeError:
        """There is nothing to reduce over: n = 0."""
        return cls(
            "x",
            "have at least one value per channel",
            f"shape {_tuple(got)} with channel_axis={channel_axis}",
            "The mean of no values is undefined.",
            "Skip empty batches, or pass running_mean and running_var.",
        )

    @classmethod
    def features(cls, got: int, features: int, axis: int) -> ShapeError:
        """x has another number of channels than the layer."""
        return cls(
            "x",
            f"have {features} channels",
            str(got),
            f"The layer has num_features={features}, and x.shape[{axis}] holds the channels.",
            "Pass a layer of that size, or say where the channels are.",
        )

    @classmethod
    def stored(cls, dialect: str, name: str, got: Sequence[int], want: Sequence[int]) -> ShapeError:
        """An array of a state has another shape than the dialect gives it."""
        return cls(
            f"state[{name!r}]",
            f"have shape {_tuple(want)}",
            _tuple(got),
            f"That is what {dialect} keeps for this layer.",
            "Check num_features, and which layer the array comes from.",
        )


class DtypeError(BacknormError, TypeError):
    """An array has a format that cannot be used here."""

    @classmethod
    def unsupported(cls, name: str, got: object, supported: Iterable[str]) -> DtypeError:
        """The format is none of those the engine computes in."""
        return cls(
            name,
            f"have one of the formats {', '.join(supported)}",
            str(got),
            "Normalization needs fractions, and the kernels are written for these formats.",
            f"Convert it, for example {name}.astype(numpy.float32).",
        )

    @classmethod
    def same_as(cls, name: str, got: object, other: str, want: object) -> DtypeError:
        """An array that must have another's format has not."""
        return cls(
            name,
            f"have the format of {other}, {want}",
            str(got),
            "Mixed formats would hide a rounding.",
            f"Convert {name} to {want}.",
        )

    @classmethod
    def narrower(cls, name: str, got: object, other: str, want: object) -> DtypeError:
        """A parameter's format cannot hold every value of x's format."""
        return cls(
            name,
            f"have the format of {other}, {want}, or a wider one",
            str(got),
            f"A narrower format would limit the accuracy of the result below that of {other}.",
            f"Convert it with {name}.astype({other}.dtype).",
        )

    @classmethod
    def not_an_array(cls, name: str, got: object) -> DtypeError:
        """The argument is no NumPy array."""
        return cls(
            name,
            "be a numpy.ndarray",
            type(got).__name__,
            "The functions of backnorm work on NumPy arrays; backnorm.torch works on tensors.",
            f"Convert it with numpy.asarray({name}).",
        )

    @classmethod
    def not_a_mapping(cls, name: str, got: object) -> DtypeError:
        """A state, or a layer's options, are not given by name."""
        return cls(
            name,
            "be a mapping from names to values",
            type(got).__name__,
            "Each value goes by the framework's own name for it.",
            "Pass for example a dict.",
        )

    @classmethod
    def not_numbers(cls, name: str, got: object) -> DtypeError:
        """NumPy makes no array of numbers of a value."""
        return cls(
            name,
            "be an array of numbers, or what NumPy makes one of",
            type(got).__name__,
            "A layer's state is made of such arrays.",
            "Check that its rows are of one length, and that nothing in it is text or None.",
        )


class RangeError(BacknormError, ValueError):
    """A value, or a combination of arguments, is outside what is defined."""

    @classmethod
    def eps(cls, got: object) -> RangeError:
        """eps is negative, infinite, or no number."""
        return cls(
            "eps",
            "be a finite number, 0 or greater",
            _shown(got),
            "It is added to the variance, and has its unit.",
            "Pass for example eps=1e-5.",
        )

    @classmethod
    def negative_slope(cls, got: object) -> RangeError:
        """The slope of leaky_relu is not positive."""
        return cls(
            "negative_slope",
            "be a finite number greater than 0",
            repr(got),
            "The backward pass reads the activation's branch from the sign of y.",
            "Pass for example negative_slope=0.01, or activation='relu' for slope 0.",
        )

    @classmethod
    def channel_axis(cls, got: object, ndim: int) -> RangeError:
        """The axis does not exist."""
        return cls(
            "channel_axis",
            f"be an integer from {-ndim} to {ndim - 1}",
            repr(got),
            f"x has {ndim} axes.",
            "Use 1 for (N, C, ...) and -1 for (N, ..., C).",
        )

    @classmethod
    def threads(cls, got: object) -> RangeError:
        """The number of threads is no whole number of at least 1."""
        return cls(
            "n",
            "be a whole number, 1 or greater",
            repr(got),
            "It is the number of threads that share one call.",
            "Pass for example os.cpu_count().",
        )

    @classmethod
    def cache_limit(cls, got: object) -> RangeError:
        """The limit of idle memory is no whole number of at least 0."""
        return cls(
            "limit",
            "be a whole number of bytes, 0 or greater",
            repr(got),
            "It bounds the output memory that lies idle.",
            "Pass for example 1 << 30, or 0 to recycle nothing.",
        )

    @classmethod
    def running_pair(cls, missing: str, given: str) -> RangeError:
        """One of running_mean and running_var is missing."""
        return cls(
            missing,
            f"be given together with {given}",
            "None",
            "Frozen statistics are a mean and a variance.",
            f"Pass {missing}, or leave {given} out to use the statistics of the batch.",
        )

    @classmethod
    def negative_variance(cls, got: float, channel: int) -> RangeError:
        """running_var + eps is negative somewhere."""
        return cls(
            "running_var",
            "be such that running_var + eps is not negative",
            f"{got!r} in channel {channel}",
            "Its square root is taken.",
            "Check where the running variance comes from.",
        )

    @classmethod
    def missing_buffer(cls, name: str) -> RangeError:
        """A gradient is to be added, and there is nothing to add it to."""
        return cls(
            f"into.{name}",
            f"be an array when {name}='add'",
            "None",
            "'add' adds the gradient to what the buffer holds.",
            f"Pass into=Gradients({name}=...), or {name}='write'.",
        )

    @classmethod
    def useless_buffer(cls, name: str, reason: str) -> RangeError:
        """A buffer is given for a gradient that there is not."""
        return cls(
            f"into.{name}",
            f"be None when {reason}",
            "an array",
            "There is no such gradient, so nothing would be written to it.",
            f"Leave {name} out of into.",
        )

    @classmethod
    def no_gradients(cls, got: object) -> RangeError:
        """The buffers are not given as a `Gradients`."""
        return cls(
            "into",
            "be a Gradients, or None",
            type(got).__name__,
            "Each buffer goes by the name of its gradient.",
            "Pass for example into=Gradients(dx=...).",
        )

    @classmethod
    def read_only(cls, name: str) -> RangeError:
        """An output buffer cannot be written to."""
        return cls(
            name,
            "be writeable",
            "a read-only array",
            "The result is stored in it.",
            f"Pass a copy, {name}.copy().",
        )

    @classmethod
    def overlap(cls, name: str, other: str) -> RangeError:
        """An output shares memory with something that is still needed."""
        return cls(
            name,
            f"not share memory with {other}",
            "overlapping arrays",
            f"{other} is read while {name} is written, and again by the backward pass.",
            f"Pass a buffer of its own as {name}.",
        )

    @classmethod
    def stale_forward(cls, got: object) -> RangeError:
        """The second argument of a backward function is no result of batch_norm."""
        return cls(
            "fwd",
            "be what batch_norm returned",
            type(got).__name__,
            "The backward pass needs the input and the statistics of the forward pass.",
            "Call fwd = batch_norm(x, ...) first.",
        )

    @classmethod
    def no_further_derivative(cls, through: str) -> RangeError:
        """The derivative of a gradient that leaves a path out is asked for."""
        return cls(
            "through",
            "be 'both' where the gradient is differentiated again",
            repr(through),
            "What a detached statistic means at second order depends on where it was detached.",
            "Leave through out, or ask for first derivatives only.",
        )

    @classmethod
    def no_derivative_in_place(cls) -> RangeError:
        """The derivative of a gradient is asked for, and x is not there any more."""
        return cls(
            "inplace",
            "be False where the gradient is differentiated again",
            "True",
            "The output has taken the memory of the input, whose derivatives would be needed.",
            "Leave inplace out, or ask for first derivatives only.",
        )

    @classmethod
    def not_in_place(cls, activation: str, *, has_residual: bool) -> RangeError:
        """The input cannot be worked out from such an output."""
        got = f"activation={activation!r}" + (" and a residual" if has_residual else "")
        return cls(
            "inplace",
            "go with activation 'identity' or 'leaky_relu' and without a residual",
            got,
            "The backward pass works the input out from the output that took its memory.",
            "Leave inplace out, or choose another activation.",
        )

    @classmethod
    def no_parameter(cls, name: str, parameter: str) -> RangeError:
        """A tangent or cotangent is given for a parameter that the forward pass had not."""
        return cls(
            name,
            f"be None when batch_norm was called without {parameter}",
            "an array",
            f"There is no {parameter} that it could belong to.",
            f"Leave {name} out, or pass {parameter} to batch_norm.",
        )

    @classmethod
    def features(cls, got: object) -> RangeError:
        """The number of channels is no whole number of at least 1."""
        return cls(
            "num_features",
            "be a whole number, 1 or greater",
            repr(got),
            "It is the number of channels.",
            "Pass for example num_features=64.",
        )

    @classmethod
    def option(cls, name: str, requirement: str, got: object, dialect: str) -> RangeError:
        """An option of a dialect has a value that it cannot have."""
        return cls(
            name,
            requirement,
            _shown(got),
            f"It is an option of {dialect}.",
            f"See what it means: backnorm dialects {dialect}",
        )

    @classmethod
    def option_missing(cls, name: str, dialect: str) -> RangeError:
        """An option has no default in the framework, and was not given."""
        return cls(
            name,
            "be given",
            "nothing",
            f"{dialect} has no default for it.",
            f"Pass {name}=...; see backnorm dialects {dialect}",
        )

    @classmethod
    def learning_rate(cls, name: str, got: object, dialect: str) -> RangeError:
        """The running statistics were to be trained."""
        return cls(
            name,
            "be 0 for each of the blobs",
            repr(got),
            f"The blobs of {dialect} are statistics, and a solver that moves them spoils them.",
            "Leave it out, or pass zeros.",
        )

    @classmethod
    def one_value(cls, dialect: str, shape: Sequence[int]) -> RangeError:
        """There is one value per channel, and the framework refuses that in training."""
        return cls(
            "x",
            "have more than one value per channel in training",
            f"shape {_tuple(shape)}",
            f"{dialect} raises here: one value has no unbiased variance.",
            "Pass a larger batch, or call eval() first.",
        )

    @classmethod
    def no_forward(cls) -> RangeError:
        """There is nothing to go back through."""
        return cls(
            "backward",
            "follow a forward pass",
            "a layer without one",
            "It needs the input and the statistics of that pass.",
            "Call y = layer.forward(x) first.",
        )

    @classmethod
    def no_frozen_gradient(cls, dialect: str) -> RangeError:
        """The framework has no gradient for running statistics."""
        return cls(
            "backward",
            "follow a forward pass in training",
            "one with running statistics",
            f"{dialect} has no gradient for those: it reads what an earlier pass left behind.",
            "Call train() first, or take another dialect.",
        )

    @classmethod
    def stored_missing(cls, name: str, dialect: str) -> RangeError:
        """A state lacks an array."""
        return cls(
            f"state[{name!r}]",
            "be given",
            "nothing",
            f"{dialect} keeps it for a layer with these options.",
            "Pass it, or set the options of the layer that it comes from.",
        )

    @classmethod
    def values_per_channel(cls, got: object) -> RangeError:
        """The number of values per channel is no whole number above 1."""
        return cls(
            "n",
            "be a whole number, 2 or greater",
            repr(got),
            "It is the number of values per channel that a variance was taken over.",
            "Pass for example n=32*56*56, or leave it out.",
        )

    @classmethod
    def unknown_fact(cls, dialect: str, column: str, evidence: str) -> RangeError:
        """Something that is needed is not known of a dialect."""
        return cls(
            f"{column} of {dialect}",
            "be known for this",
            "UNKNOWN",
            f"There is no evidence: {evidence}.",
            "Take another dialect, or add the evidence to its row.",
        )


class UnknownNameError(BacknormError, ValueError):
    """A name stands for nothing that is known here."""

    @classmethod
    def choice(cls, name: str, got: object, known: Sequence[str]) -> UnknownNameError:
        """The value is none of a fixed set of names."""
        near = difflib.get_close_matches(str(got), known, n=1)
        advice = f"Did you mean {near[0]!r}?" if near else f"Pass for example {known[0]!r}."
        return cls(
            name,
            f"be one of {', '.join(map(repr, known))}",
            repr(got),
            "These are all there are.",
            advice,
        )

    @classmethod
    def option(cls, got: str, dialect: str, known: Sequence[str]) -> UnknownNameError:
        """A dialect has no option of that name."""
        near = difflib.get_close_matches(got, known, n=1)
        return cls(
            f"the option {got}",
            f"be one of {', '.join(known)}",
            repr(got),
            f"These are the options of {dialect}.",
            f"Did you mean {near[0]}?" if near else "Options carry the framework's own names.",
        )

    @classmethod
    def stored(cls, got: str, dialect: str, known: Sequence[str]) -> UnknownNameError:
        """A state has an array that the dialect does not keep."""
        near = difflib.get_close_matches(got, known, n=1)
        return cls(
            f"the array {got}",
            f"be one of {', '.join(known)}",
            repr(got),
            f"These are what {dialect} keeps for a layer with these options.",
            f"Did you mean {near[0]}?" if near else "Leave it out, or set the layer's options.",
        )


class NotInstalledError(BacknormError, ImportError):  # type: ignore[misc] # both have a name
    """A package that this function needs is not there."""

    @classmethod
    def package(cls, package: str, extra: str, used_for: str) -> NotInstalledError:
        """An optional package is missing."""
        return cls(
            package,
            "be installed",
            "no such package in this environment",
            f"{used_for} needs it.",
            f"Install it with: pip install 'backnorm[{extra}]'",
        )

    @classmethod
    def framework(cls, name: str) -> NotInstalledError:
        """A framework whose layers are to be audited is missing."""
        return cls(
            name,
            "be installed",
            "no such package in this environment",
            "Its layers are called through it.",
            "Install it, or pass --python and an interpreter that has it.",
        )

    @classmethod
    def native_kernel(cls) -> NotInstalledError:
        """The C++ part was not built."""
        return cls(
            "the native kernel",
            "be built",
            "an installation without it",
            "No C++ compiler was at hand when backnorm was installed, or the build failed.",
            "Install a compiler and reinstall backnorm, or use kernel='numpy'.",
        )


class BenchmarkError(BacknormError, RuntimeError):
    """Something cannot be timed, or is not worth timing."""

    @classmethod
    def wrong_result(
        cls, op: str, shape: Sequence[int], difference: float, allowed: float
    ) -> BenchmarkError:
        """The engine's result is not the reference's: there is nothing to time."""
        return cls(
            f"{op} of {_tuple(shape)}",
            f"differ from the reference by at most {allowed:.1e} of the largest value",
            f"{difference:.1e}",
            "Only a right result is timed.",
            "Run the tests, and report this with what `backnorm env` prints.",
        )

    @classmethod
    def peer_failed(cls, peer: str, interpreter: str, words: str) -> BenchmarkError:
        """A framework under another interpreter could not be timed."""
        return cls(
            f"the peer {peer}",
            f"run under {interpreter}",
            _short(words.strip()),
            "It is timed by a child process that needs that framework and nothing else.",
            f"Check with: {interpreter} -c 'import {peer}'",
        )


class ConversionError(BacknormError, ValueError):
    """A state cannot be carried from one dialect to another."""

    @classmethod
    def loss(cls, source: str, target: str, what: str, advice: str) -> ConversionError:
        """Something would be lost, and nobody said that it may be."""
        return cls(
            f"the state of {source}",
            f"be carried to {target} without loss",
            what,
            "A loss that nobody asked for would be found much later.",
            advice,
        )

    @classmethod
    def no_statistics(cls, dialect: str) -> ConversionError:
        """The layer keeps no running statistics."""
        return cls(
            f"the state of {dialect}",
            "hold a running mean and a running variance",
            "a layer that keeps none",
            "Its eval normalizes by the batch, which no state can say.",
            "Build the target layer by hand, from gamma and beta.",
        )

    @classmethod
    def not_finite(cls, dialect: str, name: str, channel: int) -> ConversionError:
        """An array of the source is NaN or infinite somewhere."""
        return cls(
            f"{name} of {dialect}",
            "be finite",
            f"NaN or infinity in channel {channel}",
            "Nothing could tell afterwards where it came from.",
            "Look for the layer's last good state.",
        )

    @classmethod
    def negative_variance(
        cls, dialect: str, name: str, got: float, channel: int
    ) -> ConversionError:
        """The source's var + eps is negative somewhere."""
        return cls(
            f"{name} of {dialect}",
            "be such that the variance + eps is not negative",
            f"a variance of {got!r} in channel {channel}",
            "Its square root is taken.",
            "Look for the layer's last good state, and check its eps.",
        )

    @classmethod
    def negative_divisor(cls, dialect: str, name: str, got: float) -> ConversionError:
        """What divides the sums is negative."""
        return cls(
            f"{name} of {dialect}",
            "be 0 or greater",
            repr(got),
            "It is a sum of weights, and divides mean and variance.",
            "Look for the layer's last good state.",
        )

    @classmethod
    def cannot_hold(
        cls, target: str, name: str, requirement: str, got: float, channel: int
    ) -> ConversionError:
        """The target has no way to write a value."""
        return cls(
            f"{name} for {target}",
            requirement,
            f"{got!r} in channel {channel}",
            f"{target} has no other way to write it.",
            "Take another target, or other options for it.",
        )

    @classmethod
    def of_layer(cls, file: str, layer: str, error: BacknormError) -> ConversionError:
        """What is wrong with one layer of a file."""
        name = f"{file}, layer {layer}, {error.name}"
        return cls(name, error.requirement, error.got, error.why, error.advice)


class FileError(BacknormError, ValueError):
    """A model file cannot be read, or cannot be written."""

    @classmethod
    def unreadable(cls, file: str, error: BaseException) -> FileError:
        """The operating system does not give the file."""
        return cls(
            file,
            "be a file that can be read",
            f"{type(error).__name__}: {_short(str(error))}",
            "Its normalization layers are to be read.",
            "Check the path and the permissions.",
        )

    @classmethod
    def unwritable(cls, file: str, error: BaseException) -> FileError:
        """The operating system does not take the file."""
        return cls(
            file,
            "be a place that can be written to",
            f"{type(error).__name__}: {_short(str(error))}",
            "A temporary file is written beside it and renamed; nothing has been changed.",
            "Check that the folder is there, the permissions, and the room on the disk.",
        )

    @classmethod
    def not_regular(cls, file: str, got: str) -> FileError:
        """Something else than a file is where one is to be written."""
        return cls(
            file,
            "be a regular file, or not be there yet",
            got,
            "The new file is renamed to that name, and what was there would be gone.",
            "Name another file.",
        )

    @classmethod
    def no_layers(cls, file: str, others: int) -> FileError:
        """Nothing in the file is a normalization layer."""
        return cls(
            file,
            "have a normalization layer",
            f"none, and {others} other arrays",
            "Layers are told by the names and shapes of their arrays, or by the network.",
            "Check the format, and the network where there is one of its own.",
        )

    @classmethod
    def malformed(cls, file: str, place: str, requirement: str, got: str) -> FileError:
        """Something in the file is not as its format says."""
        return cls(
            _place(file, place),
            requirement,
            got,
            "The file's format says so; it may be damaged, or of another format.",
            "Fetch or save it again, or name its format.",
        )

    @classmethod
    def library(cls, file: str, library: str, error: BaseException) -> FileError:
        """The library of the format refuses the file."""
        return cls(
            file,
            f"be a file that {library} can read",
            f"{type(error).__name__}: {_short(str(error))}",
            f"{library} is the library of its format; the file may be damaged, or of another one.",
            "Fetch or save it again, or name its format.",
        )

    @classmethod
    def died(cls, file: str, library: str, how: str) -> FileError:
        """The library of the format has ended its process."""
        return cls(
            file,
            f"be a file that {library} can read",
            f"a process that ended with {how}",
            f"{library} reads it in a process of its own, so that no damaged file ends yours.",
            "Fetch or save it again.",
        )

    @classmethod
    def truncated(cls, file: str, place: str, wanted: int, left: int) -> FileError:
        """The file, or a part of it, ends too soon."""
        return cls(
            _place(file, place),
            f"have {wanted} more bytes",
            f"{left}",
            "Its header says so; the file may have been cut off.",
            "Fetch or save it again.",
        )

    @classmethod
    def too_large(cls, file: str, place: str, claimed: int, there: int) -> FileError:
        """A header claims more than can be there."""
        return cls(
            _place(file, place),
            f"hold no more than the {there} bytes that are there for it",
            f"a header that claims {claimed}",
            "Nothing is reserved on the word of a header.",
            "The file is damaged, or was made to do harm: fetch or save it again.",
        )

    @classmethod
    def unknown_dtype(cls, file: str, place: str, got: object, known: Iterable[str]) -> FileError:
        """An array is of a type that is not known."""
        return cls(
            _place(file, place),
            f"be of one of the types {', '.join(known)}",
            str(got),
            "Only those can be read here.",
            "Save it as float32.",
        )

    @classmethod
    def wrong_length(cls, file: str, place: str, got: Sequence[int], c: int) -> FileError:
        """An array of a layer has not one value for each channel."""
        return cls(
            _place(file, place),
            f"have shape ({c},)",
            _tuple(got),
            f"The layer's other arrays have {c} channels.",
            "Check what wrote the file.",
        )

    @classmethod
    def negative_variance(cls, file: str, place: str, got: float, channel: int) -> FileError:
        """A stored variance is negative, or no number."""
        return cls(
            _place(file, place),
            "not be negative",
            f"{got!r} in channel {channel}",
            "It is a variance: its square root is taken.",
            "Check what wrote the file; training that diverged leaves such values behind.",
        )

    @classmethod
    def missing_array(cls, file: str, place: str, there: Sequence[str]) -> FileError:
        """An array that the layer needs is not in the file."""
        return cls(
            _place(file, place),
            "be in the file",
            f"only {', '.join(there) or 'nothing'}",
            "The normalization cannot be computed without it.",
            "Save the whole model, with its running statistics.",
        )

    @classmethod
    def outside(cls, file: str, place: str, got: str) -> FileError:
        """A name in the file leads out of its folder, or to another file."""
        return cls(
            _place(file, place),
            "stay within the file's own folder",
            repr(got),
            "A model file has no business elsewhere on the machine.",
            "Do not use it unless you know who made it; save the model into one file.",
        )

    @classmethod
    def runs_code(cls, file: str, place: str, got: str) -> FileError:
        """Reading the file would run code that it brings along."""
        return cls(
            _place(file, place),
            "be data and nothing else",
            _short(got),
            "Reading such a file would run code that came with it.",
            "Save the arrays alone: a state_dict of tensors, or .safetensors.",
        )

    @classmethod
    def no_format(cls, file: str, suffixes: Iterable[str]) -> FileError:
        """The file's name does not tell the format."""
        return cls(
            file,
            f"end in one of {', '.join(suffixes)}",
            "another ending",
            "The ending tells the format.",
            "Rename it, or name its format.",
        )

    @classmethod
    def wrong_dialect(cls, file: str, format_: str, got: str, dialects: Sequence[str]) -> FileError:
        """The target's format has no place for a dialect's layers."""
        return cls(
            file,
            f"hold layers of {' or '.join(dialects)}",
            got,
            f"Those are what {format_} files hold.",
            f"Pass dialect {dialects[0]!r}, or write another format.",
        )

    @classmethod
    def needs_architecture(cls, file: str, format_: str, instead: str) -> FileError:
        """The format holds an architecture, which arrays do not tell."""
        return cls(
            file,
            f"be made from another {format_} file",
            "arrays of another format",
            f"{format_} holds the network's code, and arrays do not tell it.",
            f"Write {instead}, and load it into the network.",
        )

    @classmethod
    def neighbours(cls, file: str, place: str, source: str) -> FileError:
        """A file would leave behind what belongs to it."""
        return cls(
            _place(file, place),
            f"stay in the folder of {source}",
            "another folder",
            "Its values are in a file beside, which is named and not copied.",
            "Write to the same folder, or save the model into one file first.",
        )

    @classmethod
    def no_room(cls, file: str, place: str, got: str) -> FileError:
        """An array does not fit where the file has its predecessor."""
        return cls(
            _place(file, place),
            "fit in the place of the array that was read",
            got,
            "All else in the file is carried over as it is.",
            "Give the array the shape of the one that was read.",
        )

    @classmethod
    def twice(cls, file: str, name: str) -> FileError:
        """Two arrays would go by one name."""
        return cls(
            _place(file, name),
            "be one array",
            "two of that name",
            "Layers get the names of the target's dialect, and other arrays keep theirs.",
            "Rename the one that is no layer's, or leave it out, in the file that was read.",
        )

    @classmethod
    def unknown_layer(cls, file: str, pattern: str, layers: Sequence[str]) -> FileError:
        """A pattern for layers fits none."""
        near = difflib.get_close_matches(pattern, layers, n=1)
        return cls(
            file,
            f"have a normalization layer that {pattern!r} fits",
            f"{', '.join(layers) or 'none'}",
            "An option is set for the layers that its pattern fits.",
            f"Did you mean {near[0]!r}?" if near else "Check the spelling; '*' fits all of them.",
        )


class SubjectError(BacknormError, RuntimeError):
    """Something that was to be audited cannot be audited.

    Attributes
    ----------
    code
        The finding that says so; see docs/audit.md.
    """

    code: str = "G20"

    @classmethod
    def raised(cls, name: str, error: BaseException) -> SubjectError:
        """The subject's own code raised."""
        return cls._coded(
            "G20",
            name,
            "run without an error",
            f"{type(error).__name__}: {_short(str(error))}",
            "It was given x, gamma, beta and dy of the shapes it asks for.",
            "Run it on an input of its own first; if it needs other arguments, pass --args.",
        )

    @classmethod
    def hung(cls, name: str, seconds: float) -> SubjectError:
        """The subject did not come back."""
        return cls._coded(
            "G21",
            name,
            f"be done within {seconds:g} s",
            "no answer",
            "The others have to be audited too.",
            "Look for a loop without an end, or a lock that is never given back.",
        )

    @classmethod
    def returned_none(cls, name: str, what: str) -> SubjectError:
        """The subject returned None, or no gradient at all."""
        return cls._coded(
            "G22",
            name,
            f"give {what}",
            "None",
            f"There is nothing to judge without {what}.",
            "Return it; if y is detached from x, let the graph reach x.",
        )

    @classmethod
    def wrong_shape(
        cls, name: str, what: str, got: Sequence[int], want: Sequence[int]
    ) -> SubjectError:
        """An array that the subject returned has a wrong shape."""
        return cls._coded(
            "G23",
            name,
            f"give {what} of shape {_tuple(want)}",
            _tuple(got),
            "Each array has the shape of what it belongs to.",
            "Check the axes of its sums; if it is of another kind, pass --kind.",
        )

    @classmethod
    def no_array(cls, name: str, what: str, got: object) -> SubjectError:
        """What the subject returned is no array."""
        return cls._coded(
            "G23",
            name,
            f"give {what} as an array",
            type(got).__name__,
            "Values are compared element by element.",
            f"Return {what} as a numpy.ndarray.",
        )

    @classmethod
    def no_tuple(cls, name: str, what: str, got: object) -> SubjectError:
        """A pair's function does not return what the protocol says."""
        length = f" of {len(got)}" if isinstance(got, tuple | list) else ""
        return cls._coded(
            "G23",
            name,
            f"return {what}",
            type(got).__name__ + length,
            "A pair has forward(x, gamma, beta) and backward(dy, cache).",
            "See docs/audit.md for a pair in ten lines.",
        )

    @classmethod
    def not_finite(cls, name: str, what: str, count: int) -> SubjectError:
        """The subject returned NaN or infinity."""
        return cls._coded(
            "G24",
            name,
            f"give a finite {what}",
            f"{count} values that are NaN or infinite",
            "Its input was finite and its variance was not 0.",
            "Look for uninitialized memory, and for a root of something negative.",
        )

    @classmethod
    def died(cls, name: str, how: str, last_words: str) -> SubjectError:
        """The process in which the subject ran has ended."""
        return cls._coded(
            "G25",
            name,
            "leave its process alive",
            how + (f", last words: {_short(last_words)}" if last_words else ""),
            "It runs in a process of its own, so that the others are audited all the same.",
            "Run it alone under python -X faulthandler.",
        )

    @classmethod
    def cannot_build(cls, name: str, arguments: str, error: BaseException) -> SubjectError:
        """A class cannot be constructed, or a function cannot be called."""
        return cls._coded(
            "G26",
            name,
            f"accept the arguments {arguments}",
            f"{type(error).__name__}: {_short(str(error))}",
            "A class is constructed before it is audited.",
            "Pass its arguments, for example --args '{\"num_features\": 4}' or --args '[4]'.",
        )

    @classmethod
    def unknown_object(cls, name: str, got: object) -> SubjectError:
        """Nothing here knows how to run the object."""
        return cls._coded(
            "G26",
            name,
            "be a pair of forward and backward, or a layer or function of a known framework",
            type(got).__name__,
            "Only those can be given an x and asked for a gradient.",
            "See docs/audit.md for a pair in ten lines.",
        )

    @classmethod
    def model_raised(cls, name: str, inputs: str, error: BaseException) -> SubjectError:
        """A model raised in its forward or backward pass."""
        return cls._coded(
            "G20",
            name,
            f"run forward and backward on {inputs}",
            f"{type(error).__name__}: {_short(str(error))}",
            "Each layer is audited on what it receives in that pass.",
            "Pass an input that the model takes, for example --input 8,3,64,64.",
        )

    @classmethod
    def no_model(cls, name: str, got: object) -> SubjectError:
        """What should be a model is none, and builds none."""
        return cls._coded(
            "G26",
            name,
            "be a torch.nn.Module, or a callable that returns one or a pair of one and its inputs",
            type(got).__name__,
            "--model audits the layers of a model in their places.",
            "Leave --model out to audit a layer or function by itself.",
        )

    @classmethod
    def no_layers(cls, name: str, got: str) -> SubjectError:
        """A model calls no normalization layer."""
        return cls._coded(
            "G26",
            name,
            "call a normalization layer in its forward pass",
            got,
            "A layer is known by the name of its class.",
            "Let the name of its class say its kind, such as MyBatchNorm, and call it as a module.",
        )

    @classmethod
    def no_input(cls, name: str, got: str) -> SubjectError:
        """Nothing tells what a model takes."""
        return cls._coded(
            "G26",
            name,
            "begin with a convolution, a linear, embedding or normalization layer",
            got,
            "The input is guessed from that layer where it is not given.",
            "Pass its shape, for example --input 8,3,64,64, or --input 8,16:1000 for integers "
            "below 1000.",
        )

    @classmethod
    def not_importable(cls, name: str, got: str, near: Sequence[str]) -> SubjectError:
        """A target does not exist, or its import fails."""
        advice = f"Did you mean {' or '.join(near)}?" if near else "Check its spelling."
        return cls._coded(
            "G27",
            name,
            "be importable",
            _short(got),
            "A target is package.module:Name, package.module.Name, path/file.py:Name, or a "
            "framework.",
            advice,
        )

    @classmethod
    def _coded(  # noqa: PLR0917 - the five parts of a message and its code
        cls, code: str, name: str, requirement: str, got: str, why: str, advice: str
    ) -> SubjectError:
        error = cls(name, requirement, got, why, advice)
        error.code = code
        return error


def _short(text: str, limit: int = 300) -> str:
    """Fit foreign text on a line or two: of a long one the end, where the reason stands."""
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= limit else "..." + line[-limit:]


def _shown(got: object) -> str:
    try:
        return repr(got)
    except ValueError:  # Python writes out no whole number of some thousand digits
        return "a number too long to write out"


def _place(file: str, place: str) -> str:
    return f"{file}, {place}" if place else file


def _tuple(shape: Sequence[Any]) -> str:
    return str(tuple(int(length) for length in shape))
