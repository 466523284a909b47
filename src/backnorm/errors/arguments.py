"""Errors about arguments: shapes, dtypes, ranges, names, and what is not installed."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from backnorm.errors.base import BacknormError, as_tuple, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "DtypeError",
    "NotInstalledError",
    "RangeError",
    "ShapeError",
    "SmallWeightWarning",
    "UnknownNameError",
]


class ShapeError(BacknormError, ValueError):
    """An array has the wrong number of axes, or the wrong length along one."""

    @classmethod
    def per_channel(cls, name: str, got: Sequence[int], c: int, channel_axis: int) -> ShapeError:
        """A per-channel array is not of shape (C,)."""
        return cls(
            name,
            f"have shape ({c},)",
            as_tuple(got),
            f"{c} is x.shape[{channel_axis}], since channel_axis={channel_axis}.",
            "Pass one value per channel, or set channel_axis.",
        )

    @classmethod
    def same_as(cls, name: str, got: Sequence[int], other: str, want: Sequence[int]) -> ShapeError:
        """An array that must have another's shape has not."""
        return cls(
            name,
            f"have the shape of {other}, {as_tuple(want)}",
            as_tuple(got),
            f"Each element of {name} belongs to one element of {other}.",
            f"Reshape {name}, or pass the {other} it belongs to.",
        )

    @classmethod
    def axes(cls, name: str, got: Sequence[int]) -> ShapeError:
        """x has no channel axis at all."""
        return cls(
            name,
            "have at least 1 axis",
            f"shape {as_tuple(got)}",
            "One axis holds the channels; the statistics are taken over the others.",
            "Pass an array such as (N, C) or (N, C, H, W).",
        )

    @classmethod
    def empty(cls, got: Sequence[int], channel_axis: int) -> ShapeError:
        """There is nothing to reduce over: n = 0."""
        return cls(
            "x",
            "have at least one value per channel",
            f"shape {as_tuple(got)} with channel_axis={channel_axis}",
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
            f"have shape {as_tuple(want)}",
            as_tuple(got),
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
            shown(got),
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
    def not_in_place(
        cls, activation: str, invertible: tuple[str, ...], *, has_residual: bool
    ) -> RangeError:
        """The input cannot be worked out from such an output."""
        got = f"activation={activation!r}" + (" and a residual" if has_residual else "")
        return cls(
            "inplace",
            f"go with activation {' or '.join(map(repr, invertible))} and without a residual",
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
            shown(got),
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
            f"shape {as_tuple(shape)}",
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
