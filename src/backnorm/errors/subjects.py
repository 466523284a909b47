"""Errors about subjects of the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.errors.base import BacknormError, as_tuple, short

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SubjectError"]


class SubjectError(BacknormError, RuntimeError):
    """Something that was to be audited cannot be audited.

    Attributes
    ----------
    code
        The finding that says so; see docs/findings.md.
    """

    code: str = "G20"

    @classmethod
    def raised(cls, name: str, error: BaseException) -> SubjectError:
        """The subject's own code raised."""
        return cls._coded(
            "G20",
            name,
            "run without an error",
            f"{type(error).__name__}: {short(str(error))}",
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
            f"give {what} of shape {as_tuple(want)}",
            as_tuple(got),
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
            how + (f", last words: {short(last_words)}" if last_words else ""),
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
            f"{type(error).__name__}: {short(str(error))}",
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
            f"{type(error).__name__}: {short(str(error))}",
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
            short(got),
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
