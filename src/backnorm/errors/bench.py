"""Errors about the benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backnorm.errors.base import BacknormError, as_tuple, short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["BenchmarkError"]


class BenchmarkError(BacknormError, RuntimeError):
    """Something cannot be timed, or is not worth timing."""

    @classmethod
    def wrong_result(
        cls, op: str, shape: Sequence[int], difference: float, allowed: float
    ) -> BenchmarkError:
        """Return the error of a result that differs from the reference's."""
        return cls(
            f"{op} of {as_tuple(shape)}",
            f"differ from the reference by at most {allowed:.1e} of the largest value",
            f"{difference:.1e}",
            "Only a correct result is timed.",
            "Run the tests, and report this with the output of `backnorm env`.",
        )

    @classmethod
    def peer_failed(cls, peer: str, interpreter: str, words: str) -> BenchmarkError:
        """Return the error of a framework that cannot be timed under another interpreter."""
        got = short(words.strip())
        return cls(
            peer,
            f"to run under {interpreter}",
            got,
            "A child process times it, and needs that framework alone.",
            f"Check with: {interpreter} -c 'import {peer}'",
            problem=f"{peer} cannot be timed under {interpreter}: {got}.",
        )

    @classmethod
    def no_onednn(cls, words: str) -> BenchmarkError:
        """Return the error of oneDNN that cannot be compiled against, loaded or run."""
        got = short(words.strip())
        return cls(
            "oneDNN",
            "a C++ compiler, and oneDNN with its headers",
            got,
            "",
            "On Debian both come with: apt-get install g++ libdnnl-dev",
            problem=f"oneDNN is not timed: {got}.",
        )

    @classmethod
    def no_recording(cls, path: str) -> BenchmarkError:
        """Return the error of a file that does not hold a recording of the lab."""
        return cls(
            path,
            "a file that `backnorm lab experiment` wrote",
            "something else",
            "Trainings are added to the file if it is there.",
            "Pass another file with --json.",
            problem=f"{path} does not hold a recording of the lab.",
        )

    @classmethod
    def other_recording(cls, path: str, command: str) -> BenchmarkError:
        """Return the error of a recording that has trainings which are not asked for."""
        return cls(
            path,
            "a recording of trainings that are asked for",
            command,
            f"The file was written by `{command}`, whose trainings would be lost.",
            "Pass another file with --json.",
            problem=f"{path} has trainings that this command does not ask for.",
        )

    @classmethod
    def other_environment(
        cls, path: str, old: Mapping[str, str | None], new: Mapping[str, str | None]
    ) -> BenchmarkError:
        """Return the error of a recording that was begun in another environment."""
        was, now = (", ".join(f"{name} {value}" for name, value in of.items()) for of in (old, new))
        return cls(
            path,
            f"a recording begun with {now}",
            was,
            f"It was begun with {was}; here is {now}.",
            "Pass another file with --json.",
            problem=f"{path} was begun in another environment.",
        )

    @classmethod
    def rate_not_recorded(cls, rate: float, rates: Sequence[float]) -> BenchmarkError:
        """Return the error of a learning rate that the recorded run of the package lacks."""
        known = ", ".join(f"{one:g}" for one in rates)
        return cls(
            "The recorded run",
            f"one of the learning rates {known}",
            f"{rate:g}",
            f"It has {known}.",
            "Pass one of these with --rate, or leave --recorded out to train.",
            problem=f"The recorded run does not have the learning rate {rate:g}.",
        )

    @classmethod
    def training_died(cls) -> BenchmarkError:
        """Return the error of a process that ended during a training."""
        return cls(
            "A process",
            "to finish its training",
            "its end",
            "The system may have ended it for want of memory.",
            "Run the command again with fewer --processes: finished trainings are kept.",
            problem="A process ended during its training.",
        )
