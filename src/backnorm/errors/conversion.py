"""Errors about states that one dialect cannot take from another."""

from __future__ import annotations

from backnorm.errors.base import BacknormError, place_in

__all__ = ["ConversionError"]


class ConversionError(BacknormError, ValueError):
    """A state cannot be carried from one dialect to another."""

    @classmethod
    def loss(
        cls, source: str, target: str, what: str, advice: str, command: str = ""
    ) -> ConversionError:
        """Return the error of a conversion that would lose something without permission."""
        return cls(
            f"{source}'s state",
            f"a conversion to {target} without loss",
            what,
            "",
            advice,
            problem=f"{source}'s state cannot be converted to {target} without loss: {what}.",
            command=command,
        )

    @classmethod
    def no_statistics(cls, dialect: str) -> ConversionError:
        """Return the error of a layer that keeps no running statistics."""
        return cls(
            f"{dialect}'s state",
            "a running mean and a running variance",
            "a layer that keeps no running statistics",
            "In eval the layer normalizes by the batch, which a state cannot express.",
            "Build the target layer by hand, from gamma and beta.",
            problem=f"{dialect}'s state has no running mean and no running variance.",
        )

    @classmethod
    def not_finite(cls, dialect: str, name: str, channel: int) -> ConversionError:
        """Return the error of an array of the source that has NaN or infinity in it."""
        return cls(
            f"{name} of {dialect}",
            "be finite",
            f"NaN or infinity in channel {channel}",
            "After the conversion nobody could tell where it came from.",
            "Look for the layer's last good state.",
        )

    @classmethod
    def negative_variance(
        cls, dialect: str, name: str, got: float, channel: int
    ) -> ConversionError:
        """Return the error of a source whose var + eps is negative somewhere."""
        return cls(
            f"{name} of {dialect}",
            "give a variance of at least -eps",
            f"{got!r} in channel {channel}",
            "The square root of var + eps is taken.",
            "Look for the layer's last good state, and check its eps.",
        )

    @classmethod
    def negative_divisor(cls, dialect: str, name: str, got: float) -> ConversionError:
        """Return the error of a divisor of the sums that is negative."""
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
        """Return the error of a value that the target cannot represent."""
        return cls(
            f"{name} for {target}",
            requirement,
            f"{got!r} in channel {channel}",
            f"{target} cannot represent other values.",
            "Choose another target, or other options for it.",
        )

    @classmethod
    def synchronized_in_keras(cls, layer: str) -> ConversionError:
        """Return the error of a layer that synchronizes and is to become one of Keras."""
        return cls(
            layer,
            "statistics of one process",
            "statistics of several",
            "The layer of Keras takes the statistics of one process.",
            "Set its synchronized to False and its axis_name to None first.",
            problem=f"{layer} cannot become a layer of Keras: it synchronizes.",
        )

    @classmethod
    def of_layer(cls, file: str, layer: str, error: BacknormError) -> ConversionError:
        """Return the error of one layer of a file."""
        place = place_in(file, f"layer {layer}")
        return cls(
            f"{place}, {error.name}",
            error.requirement,
            error.got,
            error.why,
            error.advice,
            problem=f"{place}, {error.problem}",
            command=error.command,
        )
