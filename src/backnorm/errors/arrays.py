"""Errors about arrays: shapes, dtypes, and the memory behind a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.errors.base import BacknormError, as_tuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["DtypeError", "ShapeError", "StorageError"]


class ShapeError(BacknormError, ValueError):
    """An array has the wrong number of axes, or the wrong length along one."""

    @classmethod
    def per_channel(
        cls,
        name: str,
        got: Sequence[int],
        c: int,
        channel_axis: int,
        *,
        argument: str = "channel_axis",
    ) -> ShapeError:
        """Return the error of a per-channel array whose shape is not (C,)."""
        return cls(
            name,
            f"have shape ({c},)",
            as_tuple(got),
            f"{c} is x.shape[{channel_axis}], since {argument}={channel_axis}.",
            f"Pass one value per channel, or set {argument}.",
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
    def empty(
        cls,
        got: Sequence[int],
        channel_axis: int,
        *,
        argument: str = "channel_axis",
        frozen: str = "running_mean and running_var",
    ) -> ShapeError:
        """Return the error of an x with no values to reduce over: n = 0."""
        return cls(
            "x",
            "have at least one value per channel",
            f"shape {as_tuple(got)} with {argument}={channel_axis}",
            "The mean of no values is undefined.",
            f"Skip empty batches, or pass {frozen}.",
        )

    @classmethod
    def axes_of_batch(cls, got: Sequence[int], most: int) -> ShapeError:
        """Return the error of a tensor that has too few axes, or too many."""
        return cls(
            "input",
            f"have 2 to {most} axes",
            f"shape {as_tuple(got)}",
            "It is a batch (N, C, ...).",
            "Reshape it.",
        )

    @classmethod
    def nothing_counts(cls, x: Sequence[int]) -> ShapeError:
        """Return the error of a mask that is False or 0 everywhere: n = 0."""
        return cls(
            "mask",
            "let at least one position count",
            f"False or 0 everywhere, for an x of shape {as_tuple(x)}",
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
    def channels(cls, got: int, before: int) -> ShapeError:
        """Return the error of values with another number of channels than those before."""
        return cls(
            "x",
            f"have {before} channels",
            str(got),
            "Moments are those of the same channels in every part.",
            "Name the axis that holds the channels, or use a second Moments().",
        )

    @classmethod
    def mask(cls, got: Sequence[int], want: Sequence[int], x: Sequence[int]) -> ShapeError:
        """Return the error of a mask that does not fit x."""
        return cls(
            "mask",
            f"have shape {as_tuple(want)}, that of x without its channels",
            as_tuple(got),
            f"x has shape {as_tuple(x)}; a position counts in every channel, or in none.",
            "Leave out the axis of the channels.",
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
    def not_synchronized(cls, got: str, supported: Iterable[str]) -> DtypeError:
        """Return the error of a dtype of which no exact sums are taken over several ranks."""
        return cls(
            "input",
            f"have one of the dtypes {', '.join(supported)} on several ranks",
            got,
            "Their exact sums are integers, which do not depend on the order of ranks.",
            "Convert it, for example input.float().",
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
    def not_a_mask(cls, got: object) -> DtypeError:
        """Return the error of a mask that is not bool."""
        return cls(
            "mask",
            "have dtype bool",
            str(got),
            "It tells which positions count; weights are not supported here.",
            "Pass a comparison, for example mask > 0.",
        )

    @classmethod
    def no_weights(cls, got: object) -> DtypeError:
        """Return the error of a mask that is neither bool nor weights."""
        return cls(
            "mask",
            "have dtype bool, or a float dtype for weights",
            str(got),
            "It tells which positions count, or how much.",
            "Pass a comparison, for example mask > 0.",
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
    def not_a_jax_model(cls, got: object) -> DtypeError:
        """Return the error of a model of JAX that is neither of flax.nnx nor of Equinox."""
        found, advice = type(got).__name__, "Pass the model."
        if isinstance(got, type):
            found, advice = f"the class {got.__name__}", f"Pass an instance, {got.__name__}(...)."
        return cls(
            "model",
            "be an nnx.Module, or a tree with modules of Equinox",
            found,
            "Its layers are objects of these frameworks.",
            advice,
        )

    @classmethod
    def not_of_keras(cls, got: object) -> DtypeError:
        """Return the error of a model that is not a layer of Keras."""
        found = f"the class {got.__name__}" if isinstance(got, type) else type(got).__name__
        return cls(
            "model", "be a keras.Model or a keras.layers.Layer", found, "", "Pass the model."
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
