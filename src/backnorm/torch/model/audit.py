"""The audit of a whole model: from one forward and backward pass to a record of each layer."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.parameter import is_lazy

from backnorm.audit.findings import fault
from backnorm.audit.record import AUDIT_ERROR, Record
from backnorm.audit.records import Records
from backnorm.audit.subjects.blame import blamed
from backnorm.errors import SubjectError
from backnorm.host.raised import place_of
from backnorm.torch.model.again import measure_call
from backnorm.torch.model.calls import Recorder
from backnorm.torch.model.fit import CONSTANT_ROWS
from backnorm.torch.model.inputs import HERE, described, inputs_of
from backnorm.torch.model.layers import find_layers
from backnorm.torch.model.parameters import uncompared, wrong_gradients
from backnorm.torch.model.passes import record_pass
from backnorm.torch.model.records import WRONG_HERE, record_of, record_of_raised
from backnorm.torch.model.reruns import replay
from backnorm.torch.model.scripted import SCRIPTED, is_scripted, scripted_layers
from backnorm.torch.model.state import kept
from backnorm.torch.model.values import changes_alone, looks_normalized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import nn

    from backnorm.audit.kinds import Kind
    from backnorm.torch.model.calls import LayerCall
    from backnorm.torch.model.layers import Layer
    from backnorm.torch.model.passes import RecordedPass

__all__ = ["Course", "audit_layers", "audit_model"]


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Who follows an audit, and how far an earlier process came with it.

    Attributes
    ----------
    calling
        Called in a pass of the model with the name of each layer before it is called.
    called
        Called with the number of calls so far after each of them.
    measuring
        Called before a layer is measured: its name, and how many layers are before it and in all.
    done
        Names of the layers that have a record already, and whether it says that dx is wrong.
    most
        After how many calls of layers the pass is cut; None for the whole pass.
    """

    calling: Callable[[str], object] = lambda _: None
    called: Callable[[int], object] = lambda _: None
    measuring: Callable[[str, int, int], object] = lambda *_: None
    done: Mapping[str, bool] = field(default_factory=dict)
    most: int | None = None


def audit_model(
    model: nn.Module,
    inputs: Any,
    *,
    name: str = "model",
    drawn: bool = False,
    at_work: Callable[[str], object] = lambda _: None,
) -> Records:
    """Audit every normalization layer of a model in its place.

    Parameters
    ----------
    model
        The model, in the mode to audit; afterwards it is as before.
    inputs
        The arguments of the model: a tensor, a tuple of arguments, or a mapping. A mapping whose
        keys are all names of arguments is passed by these names, any other as the only argument.
    name
        Name of the model in the report.
    drawn
        Whether the input is noise: then running statistics are not compared with it.
    at_work
        Called with the name of each layer before it is measured.

    Returns
    -------
    Records
        A tuple of records, which prints as a table and which a notebook shows as one. A record for
        each layer that was called, and for each module around a layer that makes its
        gradient wrong. If the model raised after some of its layers were called, one for the model
        too, which says so.

    Raises
    ------
    SubjectError
        If the model raises before any layer is called, none of its normalization layers is called,
        it is compiled by TorchScript, or it has a lazy module that was never called.

    Notes
    -----
    The loss is the sum of the outputs, each weighted by a random number, unless the output is one
    number. A module is taken for a normalization layer by the name of its class (such as MyNorm,
    BN2d or RevIN), by running statistics, or, where it has no matrix among its parameters, by its
    output. What each layer normalizes over is found from its output: the kind that its name says
    first, then the other kinds and orders of axes.
    """
    course = Course(measuring=lambda layer, *_: at_work(layer))
    return Records(audit_layers(model, inputs, name=name, drawn=drawn, course=course))


def audit_layers(
    model: nn.Module, inputs: Any, *, name: str, drawn: bool, course: Course
) -> Iterator[Record]:
    """Audit a model as `audit_model` does; yield each record as soon as it is known."""
    _check_ready(model, name)
    layers = find_layers(model)
    recorder = Recorder(
        course.most, lambda layer: course.calling(_title(name, layer)), course.called
    )
    given = inputs_of(model, inputs)
    while True:
        with kept(model), torch.enable_grad():
            recorder.listen(layers)
            run = record_pass(model, given, recorder)
            if run.ended_by is None:
                audit = _Audit(model, name, run, course, drawn)
                yield from audit.records(layers)
                break
        # The other layers shall be audited as well: in another pass its x is returned.
        recorder.passed_over.add(run.ended_by)
    if run.error is not None and not (audit.failed and audit.count):
        place = place_of(run.error, HERE)
        raised = SubjectError.model_raised(name, described(inputs), run.error, run.stage, place)
        if not audit.count:
            raise raised from run.error
        kind: Kind = layers[0].kind if layers else "batch"
        yield Record(name, kind, findings=(fault(raised),), audited=False)
    elif not audit.count and not course.done:
        raise SubjectError.no_layers(name, f"none of its {sum(1 for _ in model.modules())} modules")


def _check_ready(model: nn.Module, name: str) -> None:
    """Raise if the calls of the layers cannot be recorded."""
    if is_scripted(model):
        raise SubjectError.scripted(name, type(model).__name__)
    for parameter_name, parameter in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(parameter):
            raise SubjectError.not_initialized(name, parameter_name)


def _title(name: str, layer: Layer) -> str:
    return f"{name} {layer.name or type(layer.module).__name__}"


@dataclass(slots=True, eq=False)
class _Audit:
    """The measurements after a pass.

    Attributes
    ----------
    model, name, run, course, drawn
        What is audited, and how.
    count
        How many records there are.
    failed
        Whether a layer raised.
    """

    model: nn.Module
    name: str
    run: RecordedPass
    course: Course
    drawn: bool
    count: int = 0
    failed: bool = False

    def records(self, layers: Sequence[Layer]) -> Iterator[Record]:
        """Yield a record for each layer, and for a module around it if only that is wrong."""
        titles = {id(layer): _title(self.name, layer) for layer in layers}
        done = self.course.done
        wrong = {id(layer.inner) for layer in layers if done.get(titles[id(layer)])}
        for before, layer in enumerate(layers):
            title = titles[id(layer)]
            records = [] if title in done else self._of_calls(layer, title, before, len(layers))
            if not records:
                continue
            # A layer that is called several times has one record: that of the first call whose
            # gradient is wrong, else of the first with findings or without a verdict.
            records, silent = _telling(records)
            wrong_ones = (record for record in records if record.sound is False)
            unclean = (record for record in records if not record.clean)
            shown = next(itertools.chain(wrong_ones, unclean, records))
            is_wrong = bool(WRONG_HERE & {found.code for found in shown.findings})
            # What is around a layer comes after it. If the layer's own dx is wrong, that of the
            # module around it is wrong as well, and says nothing new.
            around = layer.module is not layer.inner
            if around and (not is_wrong or id(layer.inner) in wrong):
                continue
            wrong |= {id(layer.inner)} if is_wrong else set()
            self.count += 1
            notes = tuple(_notes_on_calls(len(records) + silent, silent))
            yield replace(shown, notes=(*shown.notes, *notes))
        yield from self._of_scripts()

    def _of_scripts(self) -> Iterator[Record]:
        """Yield a record for each layer whose calls cannot be recorded."""
        for layer, kind in scripted_layers(self.model):
            if (title := f"{self.name} {layer}") not in self.course.done:
                self.count += 1
                yield Record(title, kind, not_judged=SCRIPTED)

    def _of_calls(self, layer: Layer, title: str, *place: int) -> list[Record]:
        """Return the records of all calls of a layer."""
        calls = [pair for pair in self.run.calls if pair[0].layer is layer]
        if layer.sign == "contents" and self._calls_within(layer):
            return []
        if calls:
            self.course.measuring(title, *place)
        records = (self._of_call(call, updates, title) for call, updates in calls)
        return [record for record in records if record is not None]

    def _calls_within(self, container: Layer) -> bool:
        """Whether a layer inside a container was called."""
        inside = {id(part) for part in container.module.modules()} - {id(container.module)}
        return any(id(call.layer.module) in inside for call, _ in self.run.calls)

    def _of_call(self, call: LayerCall, updates: int, title: str) -> Record | None:
        """Measure and judge one call; whatever that raises costs this record only."""
        if call.error is not None:
            return self._of_raised(call, call.error, title)
        try:
            unknown = call.layer.sign == "values"
            if unknown and _works_by_elements(call):
                return None
            freed = call.layer in self.run.freed
            measured = replace(measure_call(call), updates=updates, freed=freed)
            if unknown and measured.fit.mode != "batch" and not _looks_like_one(call):
                return None
            if call.layer.module is call.layer.inner and call.y is not None:
                shares = wrong_gradients(call, measured.fit)
                measured = replace(
                    measured, shares=shares, uncompared=uncompared(call, measured.fit)
                )
            return record_of(self.model, measured, title, drawn=self.drawn)
        except Exception as error:  # noqa: BLE001 - `blamed` tells whose it is
            return self._of_error(call.layer, title, blamed(title, error))

    def _of_raised(self, call: LayerCall, error: Exception, title: str) -> Record | None:
        """Return the record of a call that raised; None where that may not be of a layer."""
        layer = call.layer
        if layer.sign == "values" or layer.module is not layer.inner:
            return None
        if layer not in self.run.passed_over:
            words = SubjectError.raised(title, error).got
            return Record(
                title, layer.kind, not_judged=f"the model went on after it raised {words}"
            )
        self.failed = True
        return record_of_raised(call, error, title, goes_on=self.run.error is None)

    def _of_error(self, layer: Layer, title: str, error: SubjectError) -> Record:
        if error.code == AUDIT_ERROR:
            return Record(title, layer.kind, findings=(fault(error),), audited=False)
        self.failed = True
        return Record(title, layer.kind, not_judged=f"measuring it raised {error.got}")


def _telling(records: list[Record]) -> tuple[list[Record], int]:
    """Leave out calls whose x is constant where another call was judged; return how many."""
    if all(record.sound is None for record in records):
        return records, 0
    telling = [record for record in records if record.not_judged != CONSTANT_ROWS]
    return telling, len(records) - len(telling)


def _notes_on_calls(count: int, silent: int) -> Iterator[str]:
    if count > 1:
        yield f"Called {count} times in one pass."
    if silent:
        yield f"Not judged in {silent} of these calls, in which {CONSTANT_ROWS}."


def _works_by_elements(call: LayerCall) -> bool:
    """Whether each element of y depends on the same element of x alone: nothing is normalized."""
    return call.y is not None and changes_alone(lambda x: replay(call, x), call.x, call.y)


def _looks_like_one(call: LayerCall) -> bool:
    """Whether a module that could not be judged has the parts or the output of a normalization."""
    if {"gamma", "beta"} <= call.layer.parameters.keys():
        return True
    return call.y is not None and looks_normalized(call.layer, call.y)
