"""Errors about subjects of the audit."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from backnorm.errors.base import BacknormError, as_tuple, short
from backnorm.errors.causes import (
    NO_DEVICE,
    REMEDIES,
    UNKNOWN_CALL,
    FailedCall,
    causes_of_call,
    causes_of_shape,
    causes_of_tuple,
    lacks_device,
    last_line,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["SubjectError", "ended_too"]

FUNCTIONS: Final[Mapping[str, str]] = {
    "function": "Name a class. Two functions of NumPy arrays are audited as "
    "forward(x, gamma, beta) and backward(dy, cache) of one class or module: give them these "
    "names.",
    "builtin_function_or_method": "For Function.apply of PyTorch, name the class of the Function.",
}
"""Advice about functions, by their type: that of a framework was found by its signature."""


class SubjectError(BacknormError, RuntimeError):
    """Something that was to be audited cannot be audited.

    Attributes
    ----------
    code
        The finding that says so; see docs/findings.md.
    causes
        Likely causes, the likeliest first; empty for those that the finding always has.
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
        causes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(name, requirement, got, why, advice, problem=problem)
        self.code = code
        self.causes = causes

    @classmethod
    def raised(
        cls, name: str, error: BaseException, call: FailedCall = UNKNOWN_CALL
    ) -> SubjectError:
        """Return the error of a subject whose code raised."""
        got = _words(error)
        causes, advice = causes_of_call(call, got)
        problem = call.raised(name, got)
        return cls(
            name, "a run without an error", got, call.given, advice, problem=problem, causes=causes
        )

    @classmethod
    def failed_later(cls, error: SubjectError, samples: Sequence[int]) -> SubjectError:
        """Return the error of a subject that fails in a later call, but not in a first one.

        `error` is that of the call, and `samples` are the batch sizes of all calls up to it.
        """
        sizes = f" (of {samples[-1]} samples, after one of {samples[-2]})"
        sizes = sizes if samples[-1] != samples[-2] else ""
        said = error.problem.removeprefix(f"{error.name} ").rstrip(".")
        got = f"call {len(samples)}{sizes} {said}"
        return cls(
            error.name,
            "the answer that a first call gives",
            got,
            "A first call with the same arrays is answered.",
            "Call it again by hand.",
            problem=f"{error.name} fails in a later call: {got}.",
            code="S12",
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
            f"It was stopped; the other targets are audited.{ended_too(others)}",
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
            causes=causes_of_shape(what, got, want),
        )

    @classmethod
    def no_array(cls, name: str, what: str, got: object) -> SubjectError:
        """Return the error of a result that is not an array."""
        return cls(
            name,
            f"{what} as an array",
            type(got).__name__,
            "Values are compared element by element.",
            f"Return {what} as an array of NumPy or of its framework.",
            problem=f"{name} returned {what} as {type(got).__name__}, not as an array.",
            code="G23",
            causes=(f"{what} is of another type", "it does another thing than to normalize"),
        )

    @classmethod
    def no_tuple(cls, name: str, what: str, got: str, sort: str) -> SubjectError:
        """Return the error of a pair whose function returns something else than it must.

        `sort` is "array" or "tuple" if it returned such, else "other".
        """
        causes, advice = causes_of_tuple(what, sort)
        return cls(
            name,
            what,
            got,
            "A pair has forward(x, gamma, beta) and backward(dy, cache).",
            advice,
            problem=f"{name} returned {got} in place of {what}.",
            code="G23",
            causes=causes,
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
        got = how + (f", last output: {short(last_line(last_words))}" if last_words else "")
        return cls(
            name,
            "a process that goes on",
            got,
            f"The other targets are audited, in a new process.{ended_too(others)}",
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
            f"It was ended; the other targets are audited, in a new process.{ended_too(others)}",
            "Write to the files that it has opened itself, or to stdout and stderr.",
            problem=f"The process that ran {name} wrote to a pipe of the audit.",
            code="G25",
        )

    @classmethod
    def audit_raised(cls, name: str, error: BaseException, place: str) -> SubjectError:
        """Return the error of an audit whose own code raised."""
        got = f"{_words(error)} ({place})"
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
    def not_constructed(
        cls,
        name: str,
        got: str,
        *,
        arguments: str,
        guessed: bool,
        takes: Sequence[str],
        place: str,
    ) -> SubjectError:
        """Return the error of a class whose constructor raised.

        `arguments` were given by the user or guessed, and `takes` are those that have no default.
        """
        got, listed = short(got), ", ".join(f'"{one}": ...' for one in takes)
        whose = f"{arguments}, which the audit guessed" if guessed else f"the arguments {arguments}"
        other = "those guessed" if guessed else "those of --args"
        causes: tuple[str, ...]
        causes = (f"it needs other arguments than {other}", "a mistake in its constructor")
        made = "for an object, make an instance in the module and audit it by its name"
        advice = f"--args '{{{listed}}}'" if takes else "Pass others with --args"
        advice = f"Pass its arguments: {advice}; {made}." if takes else f"{advice}; {made}."
        if lacks_device(got):
            causes, advice = NO_DEVICE
        return cls(
            name,
            "a class that can be constructed",
            got,
            f"Its arguments without a default: {', '.join(takes)}." if takes else "",
            advice,
            problem=f"{name} cannot be constructed with {whose}: {got}{_at(place)}.",
            code="G26",
            causes=causes,
        )

    @classmethod
    def no_value(cls, name: str, argument: str) -> SubjectError:
        """Return the error of a function with an argument that nothing tells the value of."""
        return cls(
            name,
            "a value for each of its arguments",
            f"{argument} without a default",
            "The audit passes x, gamma and beta, and what it knows by its name.",
            f"Pass the value: --args '{{\"{argument}\": ...}}'.",
            problem=f"{name} cannot be called: its argument {argument} has no default.",
            code="G26",
            causes=("it needs a further argument", "it is not a normalization"),
        )

    @classmethod
    def no_x(cls, name: str) -> SubjectError:
        """Return the error of a function without arguments."""
        return cls(
            name,
            "a function of x",
            "a function without arguments",
            "A function is called with x, gamma and beta.",
            "Name a function of x; for a function that builds a model pass --model.",
            problem=f"{name} cannot be audited: it takes no arguments.",
            code="G26",
            causes=("it builds a layer or a model", "it is not a normalization"),
        )

    @classmethod
    def no_signature(cls, name: str, got: str) -> SubjectError:
        """Return the error of a function whose arguments cannot be read."""
        return cls(
            name,
            "a function whose arguments can be read",
            short(got),
            "The audit tells gamma and beta by the names of the arguments.",
            "Wrap it in a Python function: def my_norm(x, gamma, beta).",
            problem=f"{name} cannot be called: its arguments cannot be read ({short(got)}).",
            code="G26",
            causes=("it is a function of compiled code",),
        )

    @classmethod
    def half_a_pair(cls, name: str, has: str) -> SubjectError:
        """Return the error of an object with a forward or a backward function, but not both."""
        lacks = "backward" if has == "forward" else "forward"
        wanted = "backward(dy, cache), which returns dx, dgamma and dbeta"
        if lacks == "forward":
            wanted = "forward(x, gamma, beta), which returns y and the cache"
        return cls(
            name,
            "forward and backward",
            f"{has} alone",
            "It is not a layer of a known framework, and a NumPy pair has both functions.",
            f"Add {wanted}; see docs/audit.md for a pair in ten lines.",
            problem=f"{name} cannot be audited: it has {has}, but not {lacks}.",
            code="G26",
            causes=(f"{lacks} is missing", f"{lacks} has another name"),
        )

    @classmethod
    def whole_module(cls, name: str, names: Sequence[str]) -> SubjectError:
        """Return the error of a file or module without the name of what to audit in it."""
        listed = f" {_has(names)}" if names else ""
        name = name.rstrip(":")
        within = f"{name}:{names[0] if names else 'NAME'}"
        return cls(
            name,
            "one class, function or pair",
            "a whole file or module",
            f"The audit needs the name of a class, function or pair in it.{listed}",
            "Name one of them." if ":" in name else f"Add a name: {within}.",
            problem=f"{name} cannot be audited: it is a whole file or module.",
            code="G26",
            causes=("the name after the colon is missing",),
        )

    @classmethod
    def unreadable(cls, name: str, got: str) -> SubjectError:
        """Return the error of a model file that cannot be read."""
        return cls(
            name,
            "a model file",
            got,
            "",
            "Check it with onnx.checker.check_model.",
            problem=f"{name} cannot be read: {short(last_line(got))}.",
            code="G27",
            causes=("it is not an ONNX file", "the file is damaged, or was cut short"),
        )

    @classmethod
    def no_norms(cls, name: str) -> SubjectError:
        """Return the error of a model file without a normalization."""
        return cls(
            name,
            "a normalization",
            "a model without one",
            "It has neither a normalization node nor the nodes that exporters write in its place.",
            "If the network has batch norm, the exporter has folded it into the convolutions: "
            "export without folding (PyTorch: training=TrainingMode.PRESERVE, "
            "do_constant_folding=False).",
            problem=f"{name} has no normalization.",
            code="G26",
            causes=("batch norm was folded", "the network has none"),
        )

    @classmethod
    def no_norm(cls, name: str, node: str, names: Sequence[str]) -> SubjectError:
        """Return the error of a model file without a normalization of this name."""
        return cls(
            name,
            "the name of a normalization in the file",
            node,
            _has(names),
            "Name one of them, or the file alone.",
            problem=f"{name} is not there: no normalization of the file has the name {node}.",
            code="G26",
            causes=("the name is misspelt", "the node is not a normalization"),
        )

    @classmethod
    def unknown_class(cls, name: str) -> SubjectError:
        """Return the error of a class that is neither a pair nor a layer."""
        return cls(
            name,
            "a pair of forward and backward, or a layer of a known framework",
            "another class",
            "It is not a layer of a known framework either.",
            "See docs/audit.md for a pair in ten lines.",
            problem=f"{name} cannot be audited: it is a class without forward and backward.",
            code="G26",
            causes=("it is not a normalization layer", "its framework is not known here"),
        )

    @classmethod
    def unknown_object(cls, name: str, kind: str) -> SubjectError:
        """Return the error of an object that nothing here can run."""
        return cls(
            name,
            "a pair of forward and backward, or a layer or function of a known framework",
            kind,
            "A pair of forward and backward can be audited, and so can a layer or function of a "
            "known framework.",
            FUNCTIONS.get(kind, "Name a class, a function or a pair.")
            + " See docs/audit.md for a pair in ten lines.",
            problem=f"{name} cannot be audited: its type is {kind}.",
            code="G26",
            causes=("it is a value, not a layer", "its framework is not known here"),
        )

    @classmethod
    def axes(cls, name: str, error: BacknormError) -> SubjectError:
        """Return the error of an object whose attribute ``axes`` cannot be read."""
        parts = (error.requirement, error.got, error.why, error.advice)
        causes = ("a typing mistake", "the attribute axes has another purpose")
        return cls(f"{name}.axes", *parts, code="G26", causes=causes)

    @classmethod
    def model_raised(
        cls, name: str, inputs: str, error: BaseException, stage: str, place: str
    ) -> SubjectError:
        """Return the error of a model that raised in its forward or backward pass."""
        got, first = _words(error), stage == "forward"
        other = "the input is not one that the model takes"
        mistake = f"a mistake in its {stage} pass"
        return cls(
            name,
            f"a run forward and backward on {inputs}",
            got,
            f"It was called with {inputs}; each layer is audited on what it receives in this run.",
            "Pass an input that the model accepts, for example --input 8,3,64,64, or a function "
            "that returns the model and its inputs, which may be a dictionary."
            if first
            else "Run its backward pass by hand on an input of this shape.",
            problem=FailedCall(stage, place).raised(name, got),
            causes=(other, mistake) if first else (mistake,),
        )

    @classmethod
    def not_built(cls, name: str, arguments: str, error: BaseException, place: str) -> SubjectError:
        """Return the error of a target of --model that raised when it was to return the model."""
        got = _words(error)
        return cls(
            name,
            "a model",
            got,
            f"It was called with {arguments} to build the model.",
            "Pass its arguments, if it needs others, such as --args '{\"classes\": 10}'; otherwise "
            "call it by hand.",
            problem=f"{name} raised while it built the model{_at(place)}: {got}.",
            code="G26",
            causes=("it needs other arguments", "what it reads is missing, such as a file"),
        )

    @classmethod
    def no_ranks(cls, name: str, what: str) -> SubjectError:
        """Return the error of a target of --ranks that several ranks do not run together."""
        return cls(
            name,
            "a batch normalization of PyTorch or JAX",
            what,
            "--ranks runs a target in a group of torch.distributed, or in an axis of JAX.",
            "Leave --ranks out to audit it in one process.",
            problem=f"{name} is {what}, so that --ranks cannot run it.",
            code="G26",
            causes=("it is another kind of layer",),
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
            "Name or return a torch.nn.Module; leave --model out to audit a layer or function by "
            "itself.",
            problem=f"{name} gave an object of type {type(got).__name__}, not a model.",
            code="G26",
            causes=("its return statement is missing",)
            if got is None
            else ("it does another thing than to build a model", "the model is a part of it"),
        )

    @classmethod
    def scripted(cls, name: str, got: str) -> SubjectError:
        """Return the error of a model whose layers are not called in Python."""
        return cls(
            name,
            "a model that runs in Python",
            got,
            "TorchScript calls the layers itself, so that the audit cannot record their calls.",
            "Return the model as it is before torch.jit.script or torch.jit.trace.",
            problem=f"{name} is compiled by TorchScript ({got}).",
            code="G26",
            causes=("the model was scripted, traced, or loaded by torch.jit.load",),
        )

    @classmethod
    def not_initialized(cls, name: str, got: str) -> SubjectError:
        """Return the error of a model with parameters that have no shape yet."""
        return cls(
            name,
            "parameters that have their shape",
            got,
            "A lazy module makes its parameters in its first call.",
            "Call the model once with an input before you return it.",
            problem=f"{name} has a lazy module that was never called: {got}.",
            code="G26",
            causes=("the model was built and not yet called",),
        )

    @classmethod
    def no_layers(cls, name: str, got: str) -> SubjectError:
        """Return the error of a model that calls no normalization layer."""
        return cls(
            name,
            "a normalization layer that the forward pass calls",
            got,
            "A layer is recognized by the name of its class, by running statistics, or by an "
            "output that is normalized.",
            "Name its class after its kind, such as MyBatchNorm, and call it as a module.",
            problem=f"{name} calls no normalization layer in its forward pass ({got}).",
            code="G26",
            causes=("it normalizes in functions", "the class of its layer has another name"),
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
            causes=("the shape of its input does not follow from its first layer",),
        )

    @classmethod
    def not_importable(
        cls, name: str, got: str, near: Sequence[str], folder: str = ""
    ) -> SubjectError:
        """Return the error of a target whose module does not exist, or whose import fails.

        `folder` is the current one, where modules are looked for too.
        """
        spelling = "Check the spelling; install it, or pass --python."
        if folder:
            spelling = "Run the command in the folder that holds it; install it, or pass --python."
        return cls(
            name,
            "package.module:Name, package.module.Name, path/file.py:Name, or a framework",
            short(got),
            f"The current folder is {folder}." if folder else "",
            f"Did you mean {_either(near)}?" if near else spelling,
            problem=f"Cannot import {name}: {short(got)}.",
            code="G27",
        )

    @classmethod
    def other_file(cls, name: str, place: str, sort: str) -> SubjectError:
        """Return the error of a target in a file that is not Python.

        `sort` is "program" for one that can be executed, "library" or "other".
        """
        path = shlex.quote(place if "/" in place else f"./{place}")
        what, advice = {
            "program": (
                "a program",
                f"Pass it as one: backnorm audit --program {shlex.quote(path)}.",
            ),
            "library": (
                "a shared library",
                f"Pass a function of it: backnorm audit --library {path}:FUNCTION.",
            ),
        }.get(sort, ("", "Audit code of another language as a program: see docs/programs.md."))
        got = f"{what}, not a Python file" if what else "not a Python file"
        return cls(
            name,
            "package.module:Name, package.module.Name, path/file.py:Name, or a framework",
            got,
            "",
            advice,
            problem=f"Cannot import {name}: {place} is {got}.",
            code="G27",
            causes=("it is written in another language", "its name does not end in .py"),
        )

    @classmethod
    def two_colons(cls, name: str, instead: str) -> SubjectError:
        """Return the error of a target with two colons between file and name, as pytest has it."""
        return cls(
            name,
            "one colon between a file or module and a name",
            "two colons",
            "",
            f"Pass {instead}.",
            problem=f"Cannot import {name}: one colon stands between a file and a name.",
            code="G27",
            causes=("it is written as pytest names a test",),
        )

    @classmethod
    def no_device(cls, name: str, got: str, device: str, framework: str) -> SubjectError:
        """Return the error of a framework that has no such device here."""
        return cls(
            name,
            f"{device} as {framework} sees it",
            got,
            "",
            "Install a build of the framework for this device, with its driver, or leave out "
            "--device.",
            problem=f"No {device} for {name}: {framework} says {short(got)}.",
            code="G27",
            causes=("the machine has no such device", "the build of the framework is for another"),
        )

    @classmethod
    def no_devices(cls, name: str, what: str, device: str) -> SubjectError:
        """Return the error of a target whose device the audit cannot choose."""
        return cls(
            name,
            "a layer or function of PyTorch, JAX, Flax, Haiku or Equinox",
            what,
            "The audit makes arrays on a device for layers and functions of PyTorch and JAX.",
            f"Leave out --device {device}.",
            problem=f"The device of {name} cannot be chosen: it is {what}.",
            code="G27",
            causes=("its arrays are made elsewhere than by PyTorch or JAX",),
        )

    @classmethod
    def relative_import(cls, name: str, got: str, module: str, folder: str) -> SubjectError:
        """Return the error of a target in a file that imports from its package.

        `module` is its name as a module; `folder` is where it has this name, empty for the current
        one.
        """
        instead = f"{module}:{name.rpartition(':')[2]}"
        return cls(
            name,
            "a file that imports without its package",
            short(got),
            "It is imported by itself, without the package around it.",
            f"Pass it as a module{f', in the folder {folder}' * bool(folder)}: {instead}.",
            problem=f"Cannot import {name}: {short(got)}.",
            code="G27",
            causes=("the file is a part of a package",),
        )

    @classmethod
    def no_backend(
        cls, name: str, got: str, framework: str, variable: str, backends: Sequence[str]
    ) -> SubjectError:
        """Return the error of a target whose framework lacks its default backend.

        `variable` chooses another, and `backends` are those that are installed.
        """
        advice = f"Set it to a backend that is installed: {variable}={_either(backends)}."
        return cls(
            name,
            "a framework with a backend",
            short(got),
            f"{variable} is not set, so that {framework} looks for its default backend.",
            advice if backends else f"Install a backend of {framework}, and set {variable} to it.",
            problem=f"Cannot import {name}: {short(got)}.",
            code="G27",
            causes=(f"{variable} is not set", "no backend is installed"),
        )

    @classmethod
    def import_ended(cls, name: str, got: str, place: str) -> SubjectError:
        """Return the error of a target whose import ends Python."""
        return cls(
            name,
            "a module that can be imported",
            got,
            "A module that is imported must not read the arguments of a command, nor exit.",
            'Move what it does as a script below if __name__ == "__main__".',
            problem=f"Cannot import {name}: its import ends Python with {got}{_at(place)}.",
            code="G27",
            causes=("it parses the arguments of a command", "it is a script that exits at its end"),
        )

    @classmethod
    def import_raised(cls, name: str, got: str, place: str = "") -> SubjectError:
        """Return the error of a target whose import raises; `place` is in its file, if known."""
        causes: tuple[str, ...] = ("a mistake in the module", "an import in the module fails")
        advice = "Import it by hand to see the whole traceback."
        if lacks_device(got):
            causes, advice = NO_DEVICE
        return cls(
            name,
            "a module that can be imported",
            short(got),
            "The module is there, and its own code raises.",
            advice,
            problem=f"Cannot import {name}: {short(got)}{_at(place)}.",
            code="G27",
            causes=causes,
        )

    @classmethod
    def missing_module(cls, name: str, got: str, module: str, python: str) -> SubjectError:
        """Return the error of a target that imports a module which an interpreter lacks."""
        package = module.partition(".")[0]
        return cls(
            name,
            f"an interpreter that has {package}",
            short(got),
            f"It was imported with {python}.",
            f"Install it there, with {python} -m pip install {package} or as its makers say, or "
            "pass --python with an interpreter that has it.",
            problem=f"Cannot import {name}: {short(got)}.",
            code="G27",
            causes=(f"{package} is not installed in that interpreter", "its name is misspelled"),
        )

    @classmethod
    def no_file(cls, name: str, got: str, near: Sequence[str], folder: str) -> SubjectError:
        """Return the error of a target in a file that is not there."""
        return cls(
            name,
            "a file",
            got,
            f"The current folder is {folder}.",
            f"Did you mean {_either(near)}?" if near else "Check the path.",
            problem=f"Cannot import {name}: {got}.",
            code="G27",
            causes=("a typing mistake", "the path is relative to another folder"),
        )

    @classmethod
    def no_name(
        cls, name: str, got: str, near: Sequence[str], names: Sequence[str]
    ) -> SubjectError:
        """Return the error of a target that its module does not define."""
        listed = _has(names) if names else ""
        return cls(
            name,
            "a name that the module has",
            got,
            "" if near else listed,
            f"Did you mean {_either(near)}?" if near else "Check the spelling.",
            problem=f"Cannot import {name}: {got}.",
            code="G27",
            causes=("a typing mistake", "it is defined elsewhere"),
        )

    @classmethod
    def not_installed(cls, name: str, error: BacknormError) -> SubjectError:
        """Return the error of a target whose framework is not installed."""
        parts = (error.requirement, error.got, error.why, error.advice)
        return cls(name, *parts, problem=error.problem, code="G27")


def ended_too(others: int) -> str:
    """Say how many processes were ended with a subject, in a sentence that follows another."""
    if not others:
        return ""
    what = "A process" if others == 1 else f"{others} processes"
    return f" {what} that it had started {'was' if others == 1 else 'were'} ended too."


def _words(error: BaseException) -> str:
    """Return the type of an error and what it says."""
    return f"{type(error).__name__}: {short(str(error))}"


def _at(place: str) -> str:
    return f" ({place})" if place else ""


def _has(names: Sequence[str]) -> str:
    """Return the sentence that lists the first names of a module."""
    *first, last = names
    return (
        f"It has {', '.join(first)} and others." if last == "..." else f"It has {', '.join(names)}."
    )


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)
