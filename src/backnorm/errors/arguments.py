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
    "NotSupportedError",
    "NothingConvertedWarning",
    "RangeError",
    "ShapeError",
    "SmallWeightWarning",
    "StorageError",
    "UnknownNameError",
]


class ShapeError(BacknormError, ValueError):
    """An array has the wrong number of axes, or the wrong length along one."""

    @classmethod
    def per_channel(cls, name: str, got: Sequence[int], c: int, channel_axis: int) -> ShapeError:
        """Return the error of a per-channel array whose shape is not (C,)."""
        return cls(
            name,
            f"have shape ({c},)",
            as_tuple(got),
            f"{c} is x.shape[{channel_axis}], since channel_axis={channel_axis}.",
            "Pass one value per channel, or set channel_axis.",
        )

    @classmethod
    def same_as(cls, name: str, got: Sequence[int], other: str, want: Sequence[int]) -> ShapeError:
        """Return the error of an array that does not have the shape of another array."""
        return cls(
            name,
            f"have the shape of {other}, {as_tuple(want)}",
            as_tuple(got),
            f"Each element of {name} belongs to one element of {other}.",
            f"Reshape {name}, or pass the {other} it belongs to.",
        )

    @classmethod
    def axes(cls, name: str, got: Sequence[int]) -> ShapeError:
        """Return the error of an x without a channel axis."""
        return cls(
            name,
            "have at least 1 axis",
            f"shape {as_tuple(got)}",
            "One axis holds the channels; the statistics are taken over the other axes.",
            "Pass an array such as (N, C) or (N, C, H, W).",
        )

    @classmethod
    def empty(cls, got: Sequence[int], channel_axis: int) -> ShapeError:
        """Return the error of an x with no values to reduce over: n = 0."""
        return cls(
            "x",
            "have at least one value per channel",
            f"shape {as_tuple(got)} with channel_axis={channel_axis}",
            "The mean of no values is undefined.",
            "Skip empty batches, or pass running_mean and running_var.",
        )

    @classmethod
    def features(cls, got: int, features: int, axis: int) -> ShapeError:
        """Return the error of an x that has another number of channels than the layer."""
        return cls(
            "x",
            f"have {features} channels",
            str(got),
            f"The layer has num_features={features}, and x.shape[{axis}] holds the channels.",
            "Build a layer of that size, or name the axis that holds the channels.",
        )

    @classmethod
    def stored(cls, dialect: str, name: str, got: Sequence[int], want: Sequence[int]) -> ShapeError:
        """Return the error of an array of a state that has a wrong shape."""
        return cls(
            f"state[{name!r}]",
            f"have shape {as_tuple(want)}",
            as_tuple(got),
            f"{dialect} keeps an array of that shape for this layer.",
            "Check num_features, and the layer that the array comes from.",
        )


class DtypeError(BacknormError, TypeError):
    """An array has a dtype that cannot be used here."""

    @classmethod
    def unsupported(cls, name: str, got: object, supported: Iterable[str]) -> DtypeError:
        """Return the error of a dtype that the engine does not compute in."""
        return cls(
            name,
            f"have one of the dtypes {', '.join(supported)}",
            str(got),
            "Normalization needs fractions, and the kernels are written for these dtypes.",
            f"Convert it, for example {name}.astype(numpy.float32).",
        )

    @classmethod
    def same_as(cls, name: str, got: object, other: str, want: object) -> DtypeError:
        """Return the error of an array that does not have the dtype of another array."""
        return cls(
            name,
            f"have the dtype of {other}, {want}",
            str(got),
            "A mix of dtypes would hide a rounding.",
            f"Convert {name} to {want}.",
        )

    @classmethod
    def narrower(cls, name: str, got: object, other: str, want: object) -> DtypeError:
        """Return the error of a parameter whose dtype cannot hold every value of x's dtype."""
        return cls(
            name,
            f"have the dtype of {other}, {want}, or a wider dtype",
            str(got),
            f"A narrower dtype would limit the accuracy of the result below that of {other}.",
            f"Convert it with {name}.astype({other}.dtype).",
        )

    @classmethod
    def not_an_array(cls, name: str, got: object) -> DtypeError:
        """Return the error of an argument that is not a NumPy array."""
        return cls(
            name,
            "be a numpy.ndarray",
            type(got).__name__,
            "The functions of backnorm work on NumPy arrays; backnorm.torch works on tensors.",
            f"Convert it with numpy.asarray({name}).",
        )

    @classmethod
    def not_a_model(cls, got: object) -> DtypeError:
        """Return the error of a model that is not a module of PyTorch."""
        found, advice = type(got).__name__, "Pass the model."
        if isinstance(got, type):
            found, advice = f"the class {got.__name__}", f"Pass an instance, {got.__name__}(...)."
        elif isinstance(got, dict):
            advice = "Load a state_dict into a model, and pass the model."
        return cls(
            "model", "be a torch.nn.Module", found, "Its layers are modules of PyTorch.", advice
        )

    @classmethod
    def script(cls, got: object) -> DtypeError:
        """Return the error of a model that TorchScript has compiled."""
        return cls(
            "model",
            "consist of Python modules",
            f"the TorchScript module {type(got).__name__}",
            "Its layers are compiled and have no class that could change.",
            "Convert the model that it was made of.",
        )

    @classmethod
    def not_a_tensor(cls, name: str, got: object) -> DtypeError:
        """Return the error of an argument that is not a tensor of PyTorch."""
        return cls(
            name,
            "be a torch.Tensor",
            type(got).__name__,
            "It is added to the normalized input.",
            "Pass a tensor with the shape and dtype of input.",
        )

    @classmethod
    def not_of_classes(cls, name: str, got: object, classes: Sequence[str]) -> DtypeError:
        """Return the error of a layer of a class that a function does not take."""
        return cls(
            name,
            f"be a {' or '.join(classes)}",
            type(got).__name__,
            "Those layers compute an activation too.",
            "Use other layers as they are.",
        )

    @classmethod
    def not_a_mapping(cls, name: str, got: object) -> DtypeError:
        """Return the error of a state, or of options, that are not given by name."""
        return cls(
            name,
            "be a mapping from names to values",
            type(got).__name__,
            "Each value has the framework's name for it.",
            "Pass for example a dict.",
        )

    @classmethod
    def not_numbers(cls, name: str, got: object) -> DtypeError:
        """Return the error of a value that NumPy cannot make an array of numbers of."""
        return cls(
            name,
            "be an array of numbers, or a value that NumPy makes an array of",
            type(got).__name__,
            "A layer's state consists of such arrays.",
            "Check that its rows have the same length, and that it holds no text and no None.",
        )


class RangeError(BacknormError, ValueError):
    """A value, or a combination of arguments, is outside what is defined."""

    @classmethod
    def eps(cls, got: object) -> RangeError:
        """Return the error of an eps that is negative, infinite, or not a number."""
        return cls(
            "eps",
            "be a finite number, 0 or greater",
            shown(got),
            "It is added to the variance, and has its unit.",
            "Pass for example eps=1e-5.",
        )

    @classmethod
    def negative_slope(cls, got: object) -> RangeError:
        """Return the error of a slope of leaky_relu that is not positive."""
        return cls(
            "negative_slope",
            "be a finite number greater than 0",
            shown(got),
            "The backward pass reads the activation's branch from the sign of y.",
            "Pass for example negative_slope=0.01, or activation='relu' for slope 0.",
        )

    @classmethod
    def channel_axis(cls, got: object, ndim: int) -> RangeError:
        """Return the error of an axis that x does not have."""
        return cls(
            "channel_axis",
            f"be an integer from {-ndim} to {ndim - 1}",
            shown(got),
            f"x has {ndim} axes.",
            "Use 1 for (N, C, ...) and -1 for (N, ..., C).",
        )

    @classmethod
    def axes(cls, got: object) -> RangeError:
        """Return the error of an order of axes that cannot be read."""
        return cls(
            "axes",
            "name each axis by another letter, N or B first and C for the channels",
            shown(got),
            "",
            "Pass for example NHWC, NTC or N...C.",
        )

    @classmethod
    def threads(cls, got: object) -> RangeError:
        """Return the error of a number of threads that is not a positive integer."""
        return cls(
            "n",
            "be a whole number, 1 or greater",
            shown(got),
            "It is the number of threads that share a call.",
            "Pass for example os.cpu_count().",
        )

    @classmethod
    def cache_limit(cls, got: object) -> RangeError:
        """Return the error of a limit that is not a whole number of at least 0."""
        return cls(
            "limit",
            "be a whole number of bytes, 0 or greater",
            shown(got),
            "It limits the unused output memory that is kept for later calls.",
            "Pass for example 1 << 30, or 0 to keep no memory.",
        )

    @classmethod
    def running_pair(cls, missing: str, given: str) -> RangeError:
        """Return the error of a call that passes one of running_mean and running_var."""
        return cls(
            missing,
            f"be given together with {given}",
            "None",
            "Frozen statistics are a mean and a variance.",
            f"Pass {missing}, or leave {given} out to use the statistics of the batch.",
        )

    @classmethod
    def negative_variance(cls, got: float, channel: int) -> RangeError:
        """Return the error of a running_var for which running_var + eps is negative."""
        return cls(
            "running_var",
            "be at least -eps",
            f"{got!r} in channel {channel}",
            "The square root of running_var + eps is taken.",
            "Check the source of the running variance.",
        )

    @classmethod
    def missing_buffer(cls, name: str) -> RangeError:
        """Return the error of a gradient that is to be added to a missing buffer."""
        return cls(
            f"into.{name}",
            f"be an array when {name}='add'",
            "None",
            "'add' adds the gradient to the values in the buffer.",
            f"Pass into=Gradients({name}=...), or {name}='write'.",
        )

    @classmethod
    def useless_buffer(cls, name: str, reason: str) -> RangeError:
        """Return the error of a buffer for a gradient that is not computed."""
        return cls(
            f"into.{name}",
            f"be None when {reason}",
            "an array",
            "That gradient is not computed, so nothing would be written to the buffer.",
            f"Leave {name} out of into.",
        )

    @classmethod
    def no_gradients(cls, got: object) -> RangeError:
        """Return the error of buffers that are not given as `Gradients`."""
        return cls(
            "into",
            "be a Gradients, or None",
            type(got).__name__,
            "Each buffer has the name of its gradient.",
            "Pass for example into=Gradients(dx=...).",
        )

    @classmethod
    def read_only(cls, name: str) -> RangeError:
        """Return the error of an output buffer that cannot be written to."""
        return cls(
            name,
            "be writeable",
            "a read-only array",
            "The result is stored in it.",
            f"Pass a copy, {name}.copy().",
        )

    @classmethod
    def overlap(cls, name: str, other: str) -> RangeError:
        """Return the error of an output that shares memory with an array that is still read."""
        return cls(
            name,
            f"not share memory with {other}",
            "overlapping arrays",
            f"{other} is read while {name} is written, and again by the backward pass.",
            f"Pass a separate buffer as {name}.",
        )

    @classmethod
    def stale_forward(cls, got: object) -> RangeError:
        """Return the error of a backward call without the result of batch_norm."""
        return cls(
            "fwd",
            "be the result of batch_norm",
            type(got).__name__,
            "The backward pass needs the input and the statistics of the forward pass.",
            "Call fwd = batch_norm(x, ...) first.",
        )

    @classmethod
    def no_further_derivative(cls, through: str) -> RangeError:
        """Return the error of differentiating a gradient that leaves a path out."""
        return cls(
            "through",
            "be 'both' where the gradient is differentiated again",
            repr(through),
            "The second derivative would depend on the place where the statistic was detached.",
            "Leave through out, or ask for first derivatives only.",
        )

    @classmethod
    def no_derivative_in_place(cls) -> RangeError:
        """Return the error of differentiating a gradient after x was overwritten."""
        return cls(
            "inplace",
            "be False where the gradient is differentiated again",
            "True",
            "The output has overwritten the input, which the second derivative needs.",
            "Leave inplace out, or ask for first derivatives only.",
        )

    @classmethod
    def not_in_place(
        cls, activation: str, invertible: tuple[str, ...], *, has_residual: bool
    ) -> RangeError:
        """Return the error of an output from which the input cannot be recomputed."""
        got = f"activation={activation!r}" + (" and a residual" if has_residual else "")
        return cls(
            "inplace",
            f"be used with activation {' or '.join(map(repr, invertible))} and without a residual",
            got,
            "The backward pass recomputes the input from the output that has overwritten it.",
            "Leave inplace out, or choose another activation.",
        )

    @classmethod
    def no_parameter(cls, name: str, parameter: str) -> RangeError:
        """Return the error of a tangent for a parameter that the forward pass did not have."""
        return cls(
            name,
            f"be None when batch_norm was called without {parameter}",
            "an array",
            f"The call had no {parameter} that it could belong to.",
            f"Leave {name} out, or pass {parameter} to batch_norm.",
        )

    @classmethod
    def features(cls, got: object) -> RangeError:
        """Return the error of a number of channels that is not a positive integer."""
        return cls(
            "num_features",
            "be a whole number, 1 or greater",
            shown(got),
            "It is the number of channels.",
            "Pass for example num_features=64.",
        )

    @classmethod
    def option(cls, name: str, requirement: str, got: object, dialect: str) -> RangeError:
        """Return the error of a value that an option of a dialect cannot have."""
        return cls(
            name,
            requirement,
            shown(got),
            f"It is an option of {dialect}.",
            f"Its meaning is shown by: backnorm dialects {dialect}",
        )

    @classmethod
    def option_missing(cls, name: str, dialect: str) -> RangeError:
        """Return the error of an option without a default that was not given."""
        return cls(
            name,
            "a value",
            "nothing",
            f"{dialect} has no default for it.",
            f"Pass {name}=...; see backnorm dialects {dialect}",
            problem=f"{name} is missing.",
        )

    @classmethod
    def learning_rate(cls, name: str, got: object, dialect: str) -> RangeError:
        """Return the error of a learning rate for running statistics."""
        return cls(
            name,
            "be 0 for each of the blobs",
            shown(got),
            f"The blobs of {dialect} are statistics, which a solver must not change.",
            "Leave it out, or pass zeros.",
        )

    @classmethod
    def one_value(cls, dialect: str, shape: Sequence[int]) -> RangeError:
        """Return the error of one value per channel, which the framework refuses in training."""
        return cls(
            "x",
            "have more than one value per channel in training",
            f"shape {as_tuple(shape)}",
            f"{dialect} raises in this case: one value has no unbiased variance.",
            "Pass a larger batch, or call eval() first.",
        )

    @classmethod
    def no_forward(cls) -> RangeError:
        """Return the error of a backward pass without a forward pass."""
        return cls(
            "backward",
            "a forward pass before it",
            "a layer without a forward pass",
            "It needs the input and the statistics of that pass.",
            "Call y = layer.forward(x) first.",
            problem="backward was called before forward.",
        )

    @classmethod
    def no_frozen_gradient(cls, dialect: str) -> RangeError:
        """Return the error of a framework that has no gradient for running statistics."""
        return cls(
            "backward",
            "a forward pass in training",
            "a forward pass with running statistics",
            f"{dialect} has no gradient in eval: its backward reads the statistics of an earlier "
            "pass.",
            "Call train() first, or choose another dialect.",
            problem="backward was called after a forward pass with running statistics.",
        )

    @classmethod
    def stored_missing(cls, name: str, dialect: str) -> RangeError:
        """Return the error of a state that lacks an array."""
        return cls(
            f"state[{name!r}]",
            "an array",
            "nothing",
            f"{dialect} keeps it for a layer with these options.",
            "Pass it, or set the options of the layer that the state comes from.",
            problem=f"state[{name!r}] is missing.",
        )

    @classmethod
    def values_per_channel(cls, got: object) -> RangeError:
        """Return the error of a number of values per channel that is not an integer above 1."""
        return cls(
            "n",
            "be a whole number, 2 or greater",
            shown(got),
            "It is the number of values per channel from which a variance was computed.",
            "Pass for example n=32*56*56, or leave it out.",
        )

    @classmethod
    def unknown_fact(cls, dialect: str, column: str, evidence: str) -> RangeError:
        """Return the error of a fact about a dialect that is needed and not known."""
        return cls(
            f"{column} of {dialect}",
            "a known fact",
            "UNKNOWN",
            f"Evidence is missing: {evidence}.",
            "Choose another dialect, or add the evidence to its row.",
            problem=f"{column} of {dialect} is unknown.",
        )

    @classmethod
    def count_too_large(cls, name: str, got: object, most: int) -> RangeError:
        """Return the error of a count that the C++ part cannot hold."""
        return cls(
            name,
            f"be at most {most}",
            shown(got),
            "The C++ part holds it in a variable of fixed size.",
            "Pass a smaller number.",
        )

    @classmethod
    def overlap_with_itself(cls, name: str, strides: Sequence[int]) -> RangeError:
        """Return the error of an output in which several values share memory."""
        return cls(
            name,
            "hold each value in separate memory",
            f"strides {as_tuple(strides)}, with which values overlap",
            "The last value that is written would replace the others.",
            f"Pass an array that was allocated in full as {name}, not a broadcast or a window.",
        )


class UnknownNameError(BacknormError, ValueError):
    """A name is not known here."""

    @classmethod
    def choice(cls, name: str, got: object, known: Sequence[str]) -> UnknownNameError:
        """Return the error of a value that is not in a fixed set of names."""
        near = difflib.get_close_matches(str(got).lower(), known, n=1)
        advice = f"Did you mean {near[0]!r}?" if near else f"Pass for example {known[0]!r}."
        return cls(
            name,
            f"be one of {', '.join(map(repr, known))}",
            shown(got),
            "",
            advice,
        )

    @classmethod
    def option(cls, got: str, dialect: str, known: Sequence[str]) -> UnknownNameError:
        """Return the error of an option that a dialect does not have."""
        near = difflib.get_close_matches(got, known, n=1)
        return cls(
            f"the option {got}",
            f"one of {', '.join(known)}",
            shown(got),
            f"Its options are {', '.join(known)}.",
            f"Did you mean {near[0]}?" if near else "Options have the framework's names.",
            problem=f"{dialect} does not have the option {got}.",
        )

    @classmethod
    def stored(cls, got: str, dialect: str, known: Sequence[str]) -> UnknownNameError:
        """Return the error of an array in a state that the dialect does not keep."""
        near = difflib.get_close_matches(got, known, n=1)
        return cls(
            f"the array {got}",
            f"one of {', '.join(known)}",
            shown(got),
            f"With these options it keeps {', '.join(known)}.",
            f"Did you mean {near[0]}?" if near else "Leave it out, or set the layer's options.",
            problem=f"{dialect} does not keep the array {got}.",
        )


class NotInstalledError(BacknormError, ImportError):  # type: ignore[misc] # both have a name
    """A package that this function needs is not installed."""

    @classmethod
    def package(cls, package: str, extra: str, used_for: str) -> NotInstalledError:
        """Return the error of an optional package that is not installed."""
        return cls(
            package,
            "an installed package",
            "no such package in this environment",
            f"{used_for} needs it.",
            f"Install it with: pip install 'backnorm[{extra}]'",
            problem=f"{package} is not installed.",
        )

    @classmethod
    def framework(cls, name: str) -> NotInstalledError:
        """Return the error of a framework that is not installed and is to be audited."""
        return cls(
            name,
            "an installed package",
            "no such package in this environment",
            "",
            "Install it, or pass --python and an interpreter that has it.",
            problem=f"{name} is not installed.",
        )

    @classmethod
    def native_kernel(cls) -> NotInstalledError:
        """Return the error of an installation without the C++ extension."""
        return cls(
            "The C++ extension",
            "an installation with it",
            "an installation without it",
            "No compiler was found when backnorm was installed, or the build failed.",
            "Install a compiler and reinstall backnorm, or use kernel='numpy'.",
            problem="The C++ extension is not installed, so kernel='native' is not available.",
        )


class NotSupportedError(BacknormError, RuntimeError):
    """A tool of a framework cannot be used on a layer of the engine."""

    @classmethod
    def script(cls, name: str) -> NotSupportedError:
        """Return the error of torch.jit.script on a layer of the engine."""
        return cls(
            name,
            "a model of PyTorch's own layers",
            "a layer of backnorm.torch",
            "The compiler of TorchScript does not read calls of the engine.",
            "Call backnorm.torch.revert(model) first, and for layers built by hand "
            "backnorm.torch.unfused(layer), or use torch.export or torch.jit.trace.",
            problem=f"torch.jit.script cannot compile {name} of backnorm.torch.",
        )

    @classmethod
    def trace(cls, name: str) -> NotSupportedError:
        """Return the error of torch.fx on a layer of the engine that is not part of a model."""
        return cls(
            name,
            "a model with the layer in it",
            "the layer alone",
            "A graph calls the layers of a model by their names.",
            "Trace the model, or torch.nn.Sequential(layer).",
            problem=f"torch.fx cannot trace {name} of backnorm.torch by itself.",
        )


class NothingConvertedWarning(UserWarning):
    """A model has no batch normalization."""

    @classmethod
    def of(cls, model: str) -> NothingConvertedWarning:
        """Return the warning that nothing in a model was converted."""
        return cls(
            f"{model} has no batch normalization, so nothing was converted. LayerNorm, GroupNorm "
            "and other kinds are left as they are."
        )


class SmallWeightWarning(UserWarning):
    """Weights are too small to work in place."""

    @classmethod
    def not_in_place(cls) -> SmallWeightWarning:
        """Return the warning that the input could not be recomputed from the output."""
        return cls(
            "inplace is ignored in this call: some weights are so small beside their biases that "
            "the input could not be recomputed from the output without loss of precision. Other "
            "layers and later calls do not repeat this warning."
        )


class StorageError(BacknormError, RuntimeError):
    """The memory behind a tensor was freed."""

    @classmethod
    def too_small(cls, name: str, needed: int, held: int) -> StorageError:
        """Return the error of a tensor whose storage ends before the last value of the tensor."""
        return cls(
            name,
            f"have its values in memory, {needed} bytes",
            f"a storage of {held} bytes",
            "The storage was freed or made smaller, as offloading and sharding do between two "
            "uses (untyped_storage().resize_).",
            f"Bring the values of {name} back before this call.",
        )
