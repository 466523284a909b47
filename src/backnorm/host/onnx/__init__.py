"""Normalizations in an ONNX file, each as the spec of what can be audited of it.

The forward pass is run by ONNX Runtime, or by the evaluator of the onnx package; the gradient is
there where onnxruntime-training is. Plain: Python 3.6, NumPy, onnx and onnxruntime.
"""

import os

from ..no_subject import NoSubject
from .chains import chains_in, units_in
from .graph import graphs_of, read_model
from .operators import operators_in
from .runner import NormRunner

__all__ = ["specs_in"]

DTYPES = ("float32", "float64")

LISTED = 6
"""How many names a message lists."""

ENOUGH = 4
"""Normalizations of a kind, from which one whose eps is another stands out."""


UNITS = (
    "Not audited in %s: %s, where x is divided by the root of the sum of its squares, which is no "
    "kind that the audit knows."
)
"""What the first record of a file says of other nodes in it."""


def specs_in(path, wanted=""):
    """Return a spec of each normalization in a file, or of the one whose name is wanted."""
    graphs = _graphs_in(path)
    norms = _norms_in(graphs)
    if not norms:
        raise NoSubject.no_norms()
    names = _names_of(norms)
    if wanted and wanted not in names:
        raise NoSubject.no_norm(wanted, names[:LISTED] + ["..."] * (len(names) > LISTED))
    usual = _usual_eps(norms)
    pairs = [pair for pair in zip(names, norms) if wanted in ("", pair[0])]
    found = [_spec("%s:%s" % (path, name), norm, usual.get(norm.kind)) for name, norm in pairs]
    units = [name for graph in graphs for name in units_in(graph)]
    if units and not wanted:
        listed = ", ".join(units[:LISTED]) + ", ..." * (len(units) > LISTED)
        found[0]["notes"].append(UNITS % (path, listed))
    return found


def _graphs_in(path):
    folder = os.path.dirname(os.path.abspath(path))
    try:
        return list(graphs_of(read_model(path), folder))
    except Exception as error:
        raise NoSubject.unreadable(error) from error


def _norms_in(graphs):
    norms = []
    for graph in graphs:
        single = list(operators_in(graph))
        taken = [node for node in graph.nodes if any(node.output[0] == n.y for n in single)]
        chains = list(chains_in(graph, taken))
        order = {name: at for at, node in enumerate(graph.nodes) for name in node.output}
        norms += sorted(single + chains, key=lambda norm: order[norm.y])
    return norms


def _names_of(norms):
    """Return a name for each; a name that several nodes have is followed by that of the output."""
    names = [norm.name for norm in norms]
    return [
        "%s (%s)" % (norm.name, norm.y) if names.count(norm.name) > 1 else norm.name
        for norm in norms
    ]


def _spec(name, norm, usual):
    runner = NormRunner.of(norm)
    stands_out = usual is not None and norm.told["eps"] != usual
    spec = {
        "name": name,
        "kind": norm.kind,
        "call": "train" if norm.trains else None,
        "parameter_shape": tuple(norm.parameter),
        "sample_shape": tuple(norm.sample),
        "has_gamma": "gamma" in norm.roles,
        "has_beta": "beta" in norm.roles,
        "groups": norm.groups,
        "stored": tuple(norm.parameter),
        "optional": False,
        "version": "",
        "dtypes": ["float32"],
        "axes": norm.axes,
        "given": True,
        "asked": False,
        "can": runner.can,
        "runner": runner,
        "declared": dict(norm.told, usual_eps=usual) if stands_out else dict(norm.told),
    }
    dtypes = [dtype for dtype in DTYPES if runner.takes(dtype)]
    if not dtypes:
        # Its first call will raise the same, and is told.
        return dict(spec, forward_only="it does not run", notes=[])
    reasons = [runner.gradient(dtype) for dtype in dtypes]
    differentiated = [d for d, found in zip(dtypes, reasons) if not isinstance(found, str)]
    engine, said = runner.engines[dtypes[0]]
    notes = ["It was run by %s." % engine.name]
    notes += ["ONNX Runtime refused it: %s" % words for words in said[:1]]
    forward_only = "" if differentiated else reasons[0]
    return dict(spec, dtypes=differentiated or dtypes, forward_only=forward_only, notes=notes)


def _usual_eps(norms):
    """Return the eps of all normalizations of a kind but one, where there are enough of them."""
    usual = {}
    for kind in {norm.kind for norm in norms}:
        values = [norm.told.get("eps") for norm in norms if norm.kind == kind]
        most = max(set(values), key=values.count)
        if len(values) >= ENOUGH and most is not None and values.count(most) == len(values) - 1:
            usual[kind] = most
    return usual
