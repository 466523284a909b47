"""Errors about programs that the audit runs by the program protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from backnorm.errors.base import short
from backnorm.errors.causes import last_line
from backnorm.errors.subjects import SubjectError, ended_too

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FailedRequest", "ProgramError"]

PROTOCOL: Final = "See docs/programs.md, or take a helper from backnorm program."


class FailedRequest(NamedTuple):
    """A request that a program did not answer.

    Attributes
    ----------
    line
        Its line.
    partial
        What came of its answer; empty for nothing.
    others
        How many processes that the program had started were ended with it.
    answered
        How many requests before it were answered in the same time.
    """

    line: str
    partial: str = ""
    others: int = 0
    answered: int = 0


class ProgramError(SubjectError):
    """A program that was to be audited did not answer as the program protocol says.

    Attributes
    ----------
    answers_one
        Whether it is the answer to one request, and the next one may be answered.
    """

    answers_one = False

    @classmethod
    def not_found(cls, command: str) -> ProgramError:
        """Return the error of a command that is not there, or that cannot be run."""
        return cls(
            command,
            "a program that can be started",
            "no such program",
            "A command is split as a shell splits it, and is run without a shell.",
            "Check the path; a program in the current folder needs ./ before its name, and a "
            "script an interpreter before it, such as 'node norm.mjs'.",
            problem=f"Cannot start {command}: there is no such program, or it cannot be executed.",
            code="G27",
        )

    @classmethod
    def not_started(cls, name: str, why: str) -> ProgramError:
        """Return the error of a program that the system refuses to run, for this reason."""
        return cls(
            name,
            "a program that can be started",
            why,
            "It is run without a shell.",
            "Name the interpreter before it, such as 'sh norm.sh', or build it for this machine.",
            problem=f"{name} cannot be started: {why}.",
            code="G27",
        )

    @classmethod
    def not_split(cls, command: str, error: ValueError) -> ProgramError:
        """Return the error of a command that cannot be split into words."""
        got = str(error) if command.strip() else "nothing"
        return cls(
            command or "''",
            "a command as a shell takes it",
            got,
            "It is split as a shell splits it, and is run without a shell.",
            "Quote it once as a whole, for example --program './norm --seed 1'.",
            problem=f"The command {command or repr('')} cannot be read: {got}.",
            code="G27",
        )

    @classmethod
    def not_a_library(cls, text: str) -> ProgramError:
        """Return the error of a text that does not name a file and a function in it."""
        return cls(
            text,
            "be FILE:FUNCTION with a file that is there",
            text,
            "A shared library is loaded from a file, and has its functions by name.",
            "Pass for example --library ./libnorm.so:norm.",
            code="G27",
        )

    @classmethod
    def refused(cls, name: str, words: str, noise: Sequence[str]) -> ProgramError:
        """Return the error of a program that answered hello with an error."""
        got = short(words)
        return cls(
            name,
            "ok and the facts about it, in answer to hello",
            got,
            _before(noise),
            PROTOCOL,
            problem=f"{name} answered hello with an error: {got}.",
            code="G26",
            causes=("it cannot do its work here", "it does not know hello"),
        )

    @classmethod
    def fact(cls, name: str, requirement: str, got: str) -> ProgramError:
        """Return the error of an answer to hello with a fact that is missing or impossible."""
        return cls(
            name,
            f"answer hello with {requirement}",
            short(got),
            "An example: ok kind=batch sample=3,2,2 params=3 dtypes=float32,float64.",
            PROTOCOL,
            code="G26",
            causes=("a typing mistake in its answer to hello",),
        )

    @classmethod
    def other_facts(cls, name: str, got: str, want: str) -> ProgramError:
        """Return the error of a program that says something else of itself when started again."""
        return cls(
            name,
            f"the answer to hello that it gave before, with {want}",
            got,
            "It ended in place of an answer, and was started again.",
            "Answer hello with the same facts in every start, or keep it from ending.",
            problem=f"{name} was started again, and answered hello with {got}, not {want}.",
            code="G26",
            causes=("its facts depend on the time or on a file", "it was built anew meanwhile"),
        )

    @classmethod
    def ended(cls, name: str, how: str, last_words: str, request: FailedRequest) -> ProgramError:
        """Return the error of a program that ended in place of an answer.

        Parameters
        ----------
        name
            The subject.
        how
            Its exit status or signal; empty where it closed stdout and went on.
        last_words
            The last of what it wrote to stderr.
        request
            What it did not answer.
        """
        got = how or "a closed stdout"
        got += f", after {request.partial}" if request.partial else ""
        got += f", last output: {short(last_line(last_words))}" if last_words else ""
        end = f"{'ended' if how else 'went on'} with {got}"
        error = cls(
            name,
            "an answer to each request until the end of its input",
            got,
            f"It is started again for the next request.{ended_too(request.others)}",
            f"Send it this request by hand, or run it under a debugger. {PROTOCOL}",
            problem=f"{name} {end}, in place of an answer to `{short(request.line)}`.",
            code="G25",
            causes=("it crashes on this input", "it exits after an answer", "it closes stdout"),
        )
        error.answers_one = True
        return error

    @classmethod
    def late(cls, name: str, seconds: float, request: FailedRequest) -> ProgramError:
        """Return the error of a program that did not answer in time."""
        got = f"{request.partial}, and no more" if request.partial else "no answer"
        if request.answered > 1:
            got += f", after {request.answered} answers in that time"
        return cls(
            name,
            f"an answer within {seconds:g} s",
            got,
            f"It was stopped.{ended_too(request.others)}",
            "Flush stdout after each answer, and write as many bytes as its line announces; or "
            "raise --limit.",
            problem=f"{name} did not answer `{short(request.line)}` within {seconds:g} s: {got}.",
            code="G21",
            causes=(
                "it is slow or hangs",
                "its answer is not flushed",
                "its line announces more bytes than it writes",
                "it writes values as text, not as bytes",
                "its answer does not begin with ok",
            ),
        )

    @classmethod
    def out_of_step(cls, name: str, what: str, request: FailedRequest) -> ProgramError:
        """Return the error of a program that wrote what is not an answer."""
        return cls(
            name,
            "an answer by the program protocol",
            what.rstrip(","),
            f"It was ended.{ended_too(request.others)}",
            f"Print to stderr, and write as many bytes as its line announces. {PROTOCOL}",
            problem=f"{name} wrote {what} in place of an answer to `{short(request.line)}`.",
            code="G25",
            causes=(
                "it or a library prints to stdout",
                "its line names an array in another form than y=float64[4,3]",
            ),
        )

    @classmethod
    def surplus(cls, name: str, what: str, request: FailedRequest) -> ProgramError:
        """Return the error of a program that wrote something after an answer, unasked."""
        return cls(
            name,
            "one answer to each request, with as many bytes as its line announces",
            what,
            f"It was ended.{ended_too(request.others)}",
            f"Write nothing after the bytes of the arrays. {PROTOCOL}",
            problem=f"{name} wrote {what} after its answer to `{short(request.line)}`.",
            code="G25",
            causes=(
                "it answers twice, or ends the bytes with a newline",
                "it writes more bytes than its line announces",
                "its stdout is in text mode, which changes bytes such as 10",
            ),
        )

    @classmethod
    def out_of_order(cls, name: str, place: int, of: int, count: int) -> ProgramError:
        """Return the error of a program whose answer belongs to another of several requests."""
        return cls(
            name,
            "the answers in the order of the requests",
            f"the answer to request {of} of {count} in place {place}",
            "Requests are sent before earlier ones are answered.",
            "Answer each request before the next one is read.",
            problem=f"{name} answered {count} requests in another order: in place {place} came the "
            f"answer to request {of}.",
            code="G25",
            causes=("it answers several requests at once, in threads or tasks",),
        )

    @classmethod
    def lacks(cls, name: str, what: str, arrays: Sequence[str]) -> ProgramError:
        """Return the error of an answer without an array that it must have."""
        listed = ", ".join(arrays) or "no arrays"
        when = "" if what == "y" else " to a request with dy"
        cause = "it reads no line after hello" if what == "y" else "it has no backward pass"
        return cls(
            name,
            f"{what} in each answer{when}",
            listed,
            f"Without {what} the gradient cannot be judged.",
            f"Name {what} in the line of the answer{when}, and write its bytes. {PROTOCOL}",
            problem=f"{name} answered without {what}: its answer has {listed}.",
            code="G22",
            causes=(cause, "a typing mistake in the line of its answer"),
        )

    @classmethod
    def not_a_number(cls, name: str, what: str, dtype: str) -> ProgramError:
        """Return the error of an array in an answer whose dtype is not that of x, or float32."""
        return cls(
            name,
            f"{what} in the dtype of x",
            dtype,
            "y and gradients are float32 or float64, unless x was sent in half precision.",
            f"Write {what} in the dtype of x.",
            problem=f"{name} returned {what} as {dtype}, not in the dtype of x.",
            code="G23",
            causes=("a typing mistake in the line of its answer",),
        )

    @classmethod
    def big_endian(cls, name: str, what: str) -> ProgramError:
        """Return the error of an array whose bytes are in the wrong order."""
        return cls(
            name,
            f"{what} with the lowest byte of each value first",
            "the highest byte first",
            "The protocol is little endian, on every machine.",
            f"Write the bytes of {what} in little-endian order.",
            problem=f"{name} returned {what} in big-endian order: it makes sense only so.",
            code="G23",
            causes=("its language writes big endian by default, as Java does",),
        )

    @classmethod
    def other_state(cls, name: str, what: str, got: str, want: str) -> ProgramError:
        """Return the error of a state in an answer that is not that of hello."""
        return cls(
            name,
            f"{what} as in its answer to hello, {want}",
            got,
            "The state after a call has the names and shapes of the state in hello.",
            f"Write {what} as {want}, or leave it out if it has not changed.",
            problem=f"{name} returned {what} as {got}; its answer to hello has {want}.",
            code="G23",
            causes=("a typing mistake in the line of its answer",),
        )


def _before(noise: Sequence[str]) -> str:
    """Say what a program wrote before its answer."""
    return f"Before that it wrote: {short(noise[-1])}." if noise else ""
