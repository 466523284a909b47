"""Errors about values: ranges, choices that exclude each other, and calls in a wrong order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.errors.base import BacknormError, as_tuple, name_in, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RangeError"]


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
    def integer_size(cls, name: str, got: int) -> RangeError:
        """Return the error of an integer that float64 does not hold."""
        return cls(
            name,
            "hold integers of at most 53 bits",
            f"one as large as {got}",
            "float64 holds no larger integer exactly.",
            f"Divide them, or round them yourself with {name}.astype(numpy.float64).",
        )

    @classmethod
    def moments(cls, reason: str) -> RangeError:
        """Return the error of bytes that are not those of moments."""
        return cls(
            "data",
            "be the bytes that Moments.to_bytes returned, all of them",
            f"bytes that {reason}",
            "Other bytes would give a wrong mean without notice.",
            "Write them again, as binary, with to_bytes() of this version of backnorm.",
        )

    @classmethod
    def weight(cls, got: float) -> RangeError:
        """Return the error of a weight that is negative or NaN, or of an infinite sum."""
        return cls(
            "mask",
            "hold weights of 0 or greater with a finite sum",
            shown(got),
            "They are shares of the mean and of the variance.",
            "Clip them, and replace NaN by 0, which leaves a position out.",
        )

    @classmethod
    def exact_weights(cls) -> RangeError:
        """Return the error of weights where sums are exact."""
        return cls(
            "mask",
            "hold weights that are 0 or equal with sums='exact'",
            "weights that differ",
            "Products of weights and values are not among the exact sums.",
            "Pass sums='float64'.",
        )

    @classmethod
    def no_batch(cls) -> RangeError:
        """Return the error of a loader that yields nothing, on any rank."""
        return cls(
            "loader",
            "yield at least one batch",
            "none",
            "The statistics are those of its batches.",
            "Pass a list or a DataLoader; a generator that was read before yields nothing more.",
        )

    @classmethod
    def read_once(cls, layers: int) -> RangeError:
        """Return the error of an iterator where each layer needs another pass."""
        return cls(
            "loader",
            "be read as often as there are layers",
            f"an iterator, which is read once, for {layers} layers",
            "Each layer is measured when those before it have their statistics.",
            "Pass a DataLoader or list(loader), or variance='within', which takes one pass.",
        )

    @classmethod
    def no_variance(cls, layer: str, n: int, batches: int) -> RangeError:
        """Return the error of statistics of too few values."""
        return cls(
            "loader",
            "have more values in each channel than batches, and two or more",
            f"{n} in {batches} for {name_in(layer)}",
            "One value has no variance.",
            "Pass more data, or larger batches.",
        )

    @classmethod
    def micro_batches(cls, got: object) -> RangeError:
        """Return the error of a number of micro-batches that is not a positive integer."""
        return cls(
            "k",
            "be a whole number, 1 or greater, or None",
            shown(got),
            "After so many forward passes of the model its running statistics are updated.",
            "Pass the number of micro-batches in an optimizer step.",
        )

    @classmethod
    def virtual_batch_size(cls, got: object) -> RangeError:
        """Return the error of a size of groups that is not a positive integer."""
        return cls(
            "virtual_batch_size",
            "be a whole number, 1 or greater",
            shown(got),
            "It is the number of samples that share statistics.",
            "Pass for example 32.",
        )

    @classmethod
    def group_size(cls, got: object) -> RangeError:
        """Return the error of a size of groups of ranks that is not a positive integer."""
        return cls(
            "group_size",
            "be a whole number, 1 or greater, with synchronize='group'",
            shown(got),
            "So many ranks normalize together.",
            "Pass for example group_size=8.",
        )

    @classmethod
    def size_without_groups(cls, synchronize: str, got: object) -> RangeError:
        """Return the error of a group_size that does not fit synchronize."""
        return cls(
            "group_size",
            f"be None with synchronize={synchronize!r}",
            shown(got),
            "Only groups have a size.",
            "Pass synchronize='group', or leave out group_size.",
        )

    @classmethod
    def reduces_in_layers(cls, synchronize: str) -> RangeError:
        """Return the error of gradients of all ranks where a pass does not ask all ranks."""
        return cls(
            "reduce_parameters",
            f"be False with synchronize={synchronize!r}",
            "True",
            "Gradients of weight and bias are those of all ranks only if each pass asks them.",
            "Let DistributedDataParallel average them, or pass synchronize='layer'.",
        )

    @classmethod
    def renorm_bound(cls, name: str, least: float, got: object) -> RangeError:
        """Return the error of a bound of a correction that the warm-up cannot grow to."""
        return cls(
            name,
            f"be a finite number, {least:g} or greater",
            shown(got),
            f"The warm-up begins with {name}={least:g}, which is batch normalization.",
            f"Pass {name}={least:g} for no correction.",
        )

    @classmethod
    def renorm_steps(cls, name: str, least: int, got: object) -> RangeError:
        """Return the error of an end of the warm-up that is before its begin."""
        return cls(
            name,
            f"be a whole number, {least} or greater",
            shown(got),
            "It is a number of batches; no bound is reached before warmup_steps.",
            f"Pass {least} for a bound that holds from there.",
        )

    @classmethod
    def renorm_without_statistics(cls) -> RangeError:
        """Return the error of a batch renormalization without running statistics."""
        return cls(
            "track_running_stats",
            "be True",
            "False",
            "Batch renormalization corrects by running statistics.",
            "Leave it out, or build a BatchNorm layer.",
        )

    @classmethod
    def equal_values(cls, n: int) -> RangeError:
        """Return the error of a channel whose inv_std would be infinite."""
        return cls(
            "x",
            "have two different values if eps is 0",
            "one value" if n == 1 else f"{n} equal values",
            "inv_std = 1/sqrt(var + eps) would be infinite.",
            "Pass different values, or an eps greater than 0.",
            command="Pass different values, or --eps greater than 0.",
        )

    @classmethod
    def underflow(cls) -> RangeError:
        """Return the error of different values whose variance float64 cannot hold."""
        return cls(
            "x",
            "have a variance, with eps, of at least 2.3e-308",
            "different values with a smaller variance",
            "The square of a deviation underflows in float64.",
            "Multiply the values, or pass an eps greater than 0.",
            command="Multiply the values, or pass --eps greater than 0.",
        )

    @classmethod
    def not_finite(cls, name: str, got: float) -> RangeError:
        """Return the error of a value that is NaN or infinite."""
        return cls(
            name,
            "hold finite numbers",
            f"{float(got):g}",
            "One value that is not finite makes the mean and every output so.",
            "Pass other numbers.",
        )

    @classmethod
    def not_below(cls, name: str, largest: float, got: float) -> RangeError:
        """Return the error of a value that is too large to be squared and summed."""
        return cls(
            name,
            f"hold numbers between -{largest:g} and {largest:g}",
            f"{float(got):g}",
            "The variance is a sum of squares, which must be finite.",
            "Pass smaller numbers.",
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
    def channel_axis(cls, got: object, ndim: int, *, argument: str = "channel_axis") -> RangeError:
        """Return the error of an axis that x does not have."""
        return cls(
            argument,
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
            "have a letter for each axis and none twice, with N or B first and C for the channels",
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
    def exact_in_parts(cls, because: str = "an array that is not on one CPU") -> RangeError:
        """Return the error of exact sums that backnorm.jax does not take."""
        return cls(
            "sums",
            f'be "float64" with {because}',
            "'exact'",
            "Exact sums are those of an array on one CPU, or of parts within jax.shard_map.",
            'Pass sums="float64", or leave it out.',
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
    def one_value_on_all_ranks(cls, n: int) -> RangeError:
        """Return the error of a batch that has fewer than two values a channel on all ranks."""
        return cls(
            "input",
            "have two values a channel or more, on all ranks together",
            str(n),
            "The unbiased variance of the running statistics divides by n - 1.",
            "Use a larger batch; one rank may have an empty one.",
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
            command=f"Pass --set '*.{name}=VALUE'; see backnorm dialects {dialect}",
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
