"""Errors about names that are not known, and about what is not installed or not supported."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from backnorm.errors.base import BacknormError, short, shown
from backnorm.errors.causes import last_line

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "NotInstalledError",
    "NotSupportedError",
    "NothingConvertedWarning",
    "SmallWeightWarning",
    "UnknownNameError",
]


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
    def finding(cls, got: str, known: Sequence[str]) -> UnknownNameError:
        """Return the error of a code that neither a finding nor a probe has."""
        near = difflib.get_close_matches(got.upper(), known, n=3)
        return cls(
            "CODE",
            "be the code of a finding or a probe",
            shown(got),
            f"Codes that are like it: {', '.join(near)}." if near else "",
            "backnorm explain lists all findings.",
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
    def interpreter(cls, name: str) -> NotInstalledError:
        """Return the error of an interpreter that is not there."""
        return cls(
            name,
            "a program",
            "no such program",
            "",
            "Pass the path of a Python, or its name if it is on PATH.",
            problem=f"{shown(name)} is not a program.",
        )

    @classmethod
    def numpy(cls, python: str, words: str) -> NotInstalledError:
        """Return the error of an interpreter that cannot import NumPy; `words` are its output."""
        got = short(last_line(words))
        return cls(
            python,
            "an interpreter with NumPy",
            got,
            "The audit sends arrays to the targets that it runs.",
            f"Install NumPy there: {python} -m pip install numpy",
            problem=f"{python} cannot import NumPy: {got}.",
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

    @classmethod
    def other_build(
        cls, of: str, built: Sequence[str], expected: Sequence[str]
    ) -> NotInstalledError:
        """Return the error of a C++ extension that was built from other sources than Python's."""
        return cls(
            "The C++ extension",
            f"an extension in which {of} has {', '.join(expected)}",
            ", ".join(built),
            f"In the extension {of} has {', '.join(built)}, in Python {', '.join(expected)}.",
            "Reinstall backnorm, so that the extension is built anew.",
            problem="The C++ extension was built from other sources than the Python files.",
        )


class NotSupportedError(BacknormError, RuntimeError):
    """A tool of a framework or an interpreter cannot be used here."""

    @classmethod
    def no_python(cls, program: str, got: str) -> NotSupportedError:
        """Return the error of a program that is not a Python."""
        return cls(
            program,
            "a Python",
            got,
            f"It did not tell its version ({got}).",
            "Pass the path of a Python, such as that of a virtual environment: env/bin/python.",
            problem=f"{program} is not a Python.",
        )

    @classmethod
    def old_python(cls, python: str, version: str) -> NotSupportedError:
        """Return the error of an interpreter that is too old to run a target."""
        return cls(
            python,
            "Python 3.6 or newer",
            f"Python {version}",
            "Targets run under Python 3.6 or newer.",
            "Pass another interpreter.",
            problem=f"{python} is too old: it is Python {version}.",
        )

    @classmethod
    def third_synchronized(cls) -> NotSupportedError:
        """Return the error of differentiating a layer on several ranks three times."""
        return cls(
            "SyncBatchNorm",
            "first and second derivatives",
            "a third derivative",
            "Its third derivative would need sums over all ranks that it does not take.",
            "Differentiate twice, or use a layer of one process.",
            problem="SyncBatchNorm has no third derivative on several ranks.",
        )

    @classmethod
    def unknown_forward(cls, name: str) -> NotSupportedError:
        """Return the error of a normalization that computes more than its base class."""
        return cls(
            name,
            "a layer of torch.nn or backnorm.torch",
            "a class that defines its forward",
            "What its forward computes would be lost.",
            "Put a SyncBatchNorm in its place by hand.",
            problem=f"{name} cannot become a SyncBatchNorm: its class defines its forward.",
        )

    @classmethod
    def pooled_weights(cls) -> NotSupportedError:
        """Return the error of a layer that is called with weights where inputs are pooled."""
        return cls(
            "mask",
            "weights that are 0 or equal, or bool",
            "weights that differ",
            "Statistics of all batches are exact sums, which have no weights.",
            "Pass mask > 0.",
            problem="The inputs of a layer cannot be pooled with weights that differ.",
        )

    @classmethod
    def synchronized(cls, function: str, layer: str) -> NotSupportedError:
        """Return the error of a function that would see what one rank has of a batch."""
        return cls(
            function,
            "layers that normalize the samples of one process",
            f"{layer}, which synchronizes",
            "The statistics of this rank would be taken for those of all ranks.",
            "Give its layers a process_group of one rank.",
            problem=f"{function} does not know the samples of other ranks: {layer} synchronizes.",
        )

    @classmethod
    def groups_of_some_ranks(cls, ranks: int, world: int) -> NotSupportedError:
        """Return the error of groups within a process group that has not all ranks."""
        return cls(
            "SyncBatchNorm",
            "a process group of all ranks",
            f"{ranks} of {world} ranks",
            "PyTorch makes a group in a call of all ranks.",
            "Leave out process_group, or pass synchronize='step'.",
            problem=f"SyncBatchNorm cannot make groups within a process_group of {ranks} of "
            f"{world} ranks.",
        )

    @classmethod
    def layers_in_methods(cls, name: str, framework: str) -> NotSupportedError:
        """Return the error of converting a module of JAX that builds its layers when it runs."""
        ours = f"backnorm.jax.layers.{framework.rpartition('.')[2]}"
        return cls(
            name,
            "a model of flax.nnx or Equinox, whose layers are objects in it",
            f"a module of {framework}",
            f"Modules of {framework} build their layers in their methods.",
            f"Call it within {framework}.intercept_methods({ours}.interceptor), or build it from "
            f"{ours}.BatchNorm.",
            problem=f"{name} cannot be converted: it is a module of {framework}.",
        )

    @classmethod
    def parametrized(cls, name: str) -> NotSupportedError:
        """Return the error of a normalization whose parameters are computed from others."""
        return cls(
            name,
            "parameters that are tensors",
            "parametrizations",
            "PyTorch gives such a layer another class, which would be lost.",
            "Convert the model first, and parametrize its layers then.",
            problem=f"{name} cannot become a SyncBatchNorm: its parameters are parametrized.",
        )

    @classmethod
    def lazy(cls, name: str) -> NotSupportedError:
        """Return the error of a normalization that has no parameters yet."""
        return cls(
            name,
            "parameters",
            "a layer before its first call",
            "A SyncBatchNorm needs the number of channels.",
            "Call the model once, and convert it then.",
            problem=f"{name} cannot become a SyncBatchNorm: it has no parameters yet.",
        )

    @classmethod
    def other_device(cls, device: str) -> NotSupportedError:
        """Return the error of an input that is not on the CPU."""
        return cls(
            "SyncBatchNorm",
            "an input on the CPU",
            device,
            "The engine computes on the CPU.",
            "Use torch.nn.SyncBatchNorm there.",
            problem=f"SyncBatchNorm of backnorm.torch cannot synchronize an input on {device}.",
        )

    @classmethod
    def keras_backend(cls, got: str, known: Sequence[str]) -> NotSupportedError:
        """Return the error of a backend of Keras on which backnorm computes nothing."""
        return cls(
            "backnorm.keras",
            f"one of the backends {', '.join(known)}",
            got,
            f"The engine computes on the backends {' and '.join(known)}.",
            f"Set KERAS_BACKEND={known[0]} before Keras is imported.",
            problem=f"backnorm.keras does not support the backend {got} of Keras.",
        )

    @classmethod
    def synchronized_without_axis(cls) -> NotSupportedError:
        """Return the error of a layer of Keras that would synchronize over an unknown axis."""
        return cls(
            "synchronized",
            "an axis_name",
            "None",
            "Under jit the statistics are those of the whole batch, on all devices. Within "
            "shard_map, pmap or vmap they are those of one part.",
            "Pass axis_name, or leave synchronized out.",
            problem="BatchNormalization cannot synchronize on JAX without the name of an axis.",
        )

    @classmethod
    def named_axis(cls, backend: str) -> NotSupportedError:
        """Return the error of the name of an axis where axes have no names."""
        return cls(
            "axis_name",
            "the backend jax of Keras",
            backend,
            f"Axes have no names on the backend {backend}.",
            "Pass synchronized=True, which takes the default group of torch.distributed.",
            problem="BatchNormalization takes an axis_name on JAX only.",
        )

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
