"""Errors about subjects of the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from backnorm.errors.base import BacknormError, as_tuple, short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["REMEDIES", "SubjectError"]

REMEDIES: Final[Mapping[str, str]] = {
    "G20": "Call it by hand on such an input first; if it needs other arguments, pass --args.",
    "G21": "Look for a loop that does not end or a lock that is not released, or raise --limit.",
    "G22": "Return it, and check that y is not detached from x.",
    "G23": "Check the axes of its sums; if it normalizes over other axes, pass --kind.",
    "G24": "Look for uninitialized memory, a division by 0, and the root of a negative number.",
    "G25": "Run it alone under python -X faulthandler.",
    "C03": "Report it with the target and the output of backnorm env.",
}
"""What to do about each finding that has one remedy, whatever the error says."""


class SubjectError(BacknormError, RuntimeError):
    """Something that was to be audited cannot be audited.

    Attributes
    ----------
    code
        The finding that says so; see docs/findings.md.
    """

    def __init__(
        self,
        name: str,
        requirement: str,
        got: str,
        why: str,
        advice: str,
        *,
        problem: str = "",
        code: str = "G20",
    ) -> None:
        super().__init__(name, requirement, got, why, advice, problem=problem)
        self.code = code

    @classmethod
    def raised(cls, name: str, error: BaseException) -> SubjectError:
        """Return the error of a subject whose code raised."""
        got = f"{type(error).__name__}: {short(str(error))}"
        return cls(
            name,
            "a run without an error",
            got,
            "It was called with x, gamma, beta and dy of the shapes that it asks for.",
            REMEDIES["G20"],
            problem=f"{name} raised {got}.",
        )

    @classmethod
    def hung(cls, name: str, seconds: float, others: int = 0) -> SubjectError:
        """Return the error of a subject that did not finish in time.

        `others` is how many processes that it had started were ended with it.
        """
        return cls(
            name,
            f"an answer within {seconds:g} s",
            "no answer",
            f"It was stopped; the other targets are audited.{_ended_too(others)}",
            REMEDIES["G21"],
            problem=f"{name} did not finish within {seconds:g} s.",
            code="G21",
        )

    @classmethod
    def returned_none(cls, name: str, what: str) -> SubjectError:
        """Return the error of a subject that returned None, or no gradient at all."""
        return cls(
            name,
            what,
            "None",
            f"Without {what} the gradient cannot be judged.",
            REMEDIES["G22"],
            problem=f"{name} returned None in place of {what}.",
            code="G22",
        )

    @classmethod
    def wrong_shape(
        cls, name: str, what: str, got: Sequence[int], want: Sequence[int]
    ) -> SubjectError:
        """Return the error of an array that has a wrong shape."""
        return cls(
            name,
            f"{what} of shape {as_tuple(want)}",
            as_tuple(got),
            "y and dx have the shape of x; a parameter's gradient has the shape of the parameter.",
            REMEDIES["G23"],
            problem=f"{name} returned {what} of shape {as_tuple(got)}, not {as_tuple(want)}.",
            code="G23",
        )

    @classmethod
    def no_array(cls, name: str, what: str, got: object) -> SubjectError:
        """Return the error of a result that is not an array."""
        return cls(
            name,
            f"{what} as an array",
            type(got).__name__,
            "Values are compared element by element.",
            f"Return {what} as a numpy.ndarray.",
            problem=f"{name} returned {what} as {type(got).__name__}, not as an array.",
            code="G23",
        )

    @classmethod
    def no_tuple(cls, name: str, what: str, got: object) -> SubjectError:
        """Return the error of a pair whose function returns something else than it must."""
        kind = type(got).__name__
        found = f"a {kind} of {len(got)}" if isinstance(got, tuple | list) else kind
        return cls(
            name,
            what,
            found,
            "A pair has forward(x, gamma, beta) and backward(dy, cache).",
            "See docs/audit.md for a pair in ten lines.",
            problem=f"{name} returned {found} in place of {what}.",
            code="G23",
        )

    @classmethod
    def not_finite(cls, name: str, what: str, count: int) -> SubjectError:
        """Return the error of a result that has NaN or infinity in it."""
        got = f"{count} value{'s' * (count != 1)}"
        return cls(
            name,
            f"finite values of {what}",
            f"{got} that {'is' if count == 1 else 'are'} NaN or infinite",
            "Its input was finite and its variance was not 0.",
            REMEDIES["G24"],
            problem=f"{name} returned NaN or infinity in {got} of {what}.",
            code="G24",
        )

    @classmethod
    def died(cls, name: str, how: str, last_words: str, others: int = 0) -> SubjectError:
        """Return the error of a subject whose process has ended; `others` as for `hung`."""
        got = how + (f", last output: {short(last_words)}" if last_words else "")
        return cls(
            name,
            "a process that goes on",
            got,
            f"The other targets are audited, in a new process.{_ended_too(others)}",
            REMEDIES["G25"],
            problem=f"The process that ran {name} ended with {got}.",
            code="G25",
        )

    @classmethod
    def garbled(cls, name: str, others: int = 0) -> SubjectError:
        """Return the error of a subject that wrote to the pipe of the audit; `others` as above."""
        return cls(
            name,
            "messages of the audit on its pipe",
            "bytes that are not a message",
            f"It was ended; the other targets are audited, in a new process.{_ended_too(others)}",
            "Write to the files that it has opened itself, or to stdout and stderr.",
            problem=f"The process that ran {name} wrote to a pipe of the audit.",
            code="G25",
        )

    @classmethod
    def audit_raised(cls, name: str, error: BaseException, place: str) -> SubjectError:
        """Return the error of an audit that raised in code of its own."""
        got = f"{type(error).__name__}: {short(str(error))} ({place})"
        return cls(
            name,
            "an audit without an error",
            got,
            "The subject is not at fault.",
            REMEDIES["C03"],
            problem=f"The audit of {name} raised {got}.",
            code="C03",
        )

    @classmethod
    def cannot_build(cls, name: str, arguments: str, error: BaseException) -> SubjectError:
        """Return the error of a class or function that does not accept its arguments."""
        got = f"{type(error).__name__}: {short(str(error))}"
        return cls(
            name,
            f"a class or function that accepts the arguments {arguments}",
            got,
            "A class is constructed before it is audited.",
            "Pass its arguments, for example --args '{\"num_features\": 4}' or --args '[4]'.",
            problem=f"{name} does not accept the arguments {arguments}: {got}.",
            code="G26",
        )

    @classmethod
    def unknown_object(cls, name: str, got: object) -> SubjectError:
        """Return the error of an object that nothing here can run."""
        return cls(
            name,
            "a pair of forward and backward, or a layer or function of a known framework",
            type(got).__name__,
            "A pair of forward and backward can be audited, and so can a layer or function of a "
            "known framework.",
            "See docs/audit.md for a pair in ten lines.",
            problem=f"{name} cannot be audited: its type is {type(got).__name__}.",
            code="G26",
        )

    @classmethod
    def axes(cls, name: str, error: BacknormError) -> SubjectError:
        """Return the error of an object whose attribute ``axes`` cannot be read."""
        parts = (error.requirement, error.got, error.why, error.advice)
        return cls(f"{name}.axes", *parts, code="G26")

    @classmethod
    def model_raised(cls, name: str, inputs: str, error: BaseException) -> SubjectError:
        """Return the error of a model that raised in its forward or backward pass."""
        got = f"{type(error).__name__}: {short(str(error))}"
        return cls(
            name,
            f"a run forward and backward on {inputs}",
            got,
            "Each layer is audited on the input that it receives in this run.",
            "Pass an input that the model accepts, for example --input 8,3,64,64.",
            problem=f"{name}, run forward and backward on {inputs}, raised {got}.",
        )

    @classmethod
    def no_model(cls, name: str, got: object) -> SubjectError:
        """Return the error of a target of --model that is not a model and does not build one."""
        return cls(
            name,
            "a torch.nn.Module, or a callable that returns a module or a pair (module, inputs)",
            type(got).__name__,
            "--model audits the layers of a torch.nn.Module, or of the module that a callable "
            "returns, alone or with its inputs.",
            "Leave --model out to audit a layer or function by itself.",
            problem=f"{name} gave an object of type {type(got).__name__}, not a model.",
            code="G26",
        )

    @classmethod
    def no_layers(cls, name: str, got: str) -> SubjectError:
        """Return the error of a model that calls no normalization layer."""
        return cls(
            name,
            "a normalization layer that the forward pass calls",
            got,
            "A layer is recognized by the name of its class.",
            "Name its class after its kind, such as MyBatchNorm, and call it as a module.",
            problem=f"{name} calls no normalization layer in its forward pass ({got}).",
            code="G26",
        )

    @classmethod
    def no_input(cls, name: str, got: str) -> SubjectError:
        """Return the error of a model whose input cannot be guessed."""
        return cls(
            name,
            "a convolution, a linear, an embedding or a normalization layer at the beginning",
            got,
            "The input is guessed for models that begin with a convolution, a linear, an embedding "
            "or a normalization layer.",
            "Pass its shape, for example --input 8,3,64,64, or --input 8,16:1000 for integers "
            "below 1000.",
            problem=f"Cannot guess the input of {name}, which begins with {got}.",
            code="G26",
        )

    @classmethod
    def not_importable(cls, name: str, got: str, near: Sequence[str]) -> SubjectError:
        """Return the error of a target that does not exist, or whose import fails."""
        spelling = "Check the spelling; install it, or pass --python."
        return cls(
            name,
            "package.module:Name, package.module.Name, path/file.py:Name, or a framework",
            short(got),
            "",
            f"Did you mean {' or '.join(near)}?" if near else spelling,
            problem=f"Cannot import {name}: {short(got)}.",
            code="G27",
        )

    @classmethod
    def not_installed(cls, name: str, error: BacknormError) -> SubjectError:
        """Return the error of a target whose framework is not installed."""
        parts = (error.requirement, error.got, error.why, error.advice)
        return cls(name, *parts, problem=error.problem, code="G27")


def _ended_too(others: int) -> str:
    """Say how many processes were ended with a subject, in a sentence that follows another."""
    if not others:
        return ""
    what = "A process" if others == 1 else f"{others} processes"
    return f" {what} that it had started {'was' if others == 1 else 'were'} ended too."
