"""Calls a normalization of an ONNX file; `backnorm.host.runners` says what a runner has."""

import numpy as np

from .engines import engine_for
from .norm import INPUT
from .training import build_gradient, refused

__all__ = ["NormRunner"]

STATE = {"mean": "running_mean", "var": "running_var"}
"""What the audit calls the inputs that hold statistics."""

HALVES = {10: "float16", 16: "bfloat16"}

BATCH = 2
"""Samples of the call that shows whether a dtype is taken."""


class NormRunner:
    """Calls a norm, in the dtype of its arrays, or in half precision if it is asked to."""

    def __init__(self, norm, kept, engines, gradients, half=""):
        self.norm, self.kept, self.half = norm, kept, half
        self.engines, self.gradients = engines, gradients
        own = HALVES.get(norm.graph.dtype(norm.x), "")
        self.can = ["state"] if norm.trains else []
        self.can += [own] if own else []

    @classmethod
    def of(cls, norm):
        """Make a runner, with the statistics that the file holds."""
        return cls(norm, _statistics(norm), {}, {})

    def takes(self, dtype):
        """Tell whether it runs in a dtype."""
        try:
            self.forward(*self._tried(dtype))
        except Exception:
            return False
        return True

    def gradient(self, dtype):
        """Return what gives the gradient in a dtype, or why there is none, as text."""
        if dtype not in self.gradients:
            made = build_gradient(self.norm, dtype)
            if not isinstance(made, str):
                x, gamma, beta = self._tried(dtype)
                try:
                    made(self._feeds(x, gamma, beta, dy=x))
                except Exception as error:
                    made = refused(error)
            self.gradients[dtype] = made
        return self.gradients[dtype]

    def engine(self, dtype):
        """Return what runs the forward pass in a dtype."""
        if dtype not in self.engines:
            x, gamma, beta = self._tried(dtype)
            feeds = self._feeds(x, gamma, beta)
            chain = len(self.norm.nodes) > 1
            half = chain and (dtype in HALVES.values() or self.norm.rounds)
            self.engines[dtype] = engine_for(self.norm.model(dtype), feeds, half)
        return self.engines[dtype][0]

    def forward(self, x, gamma, beta):
        """Return y."""
        return self._outputs(x, gamma, beta)[0]

    def run(self, x, gamma, beta, dy):
        """Return y and the gradients."""
        gradient = self.gradient(x.dtype.name)
        if isinstance(gradient, str):
            raise NotImplementedError(gradient)
        found = gradient(self._feeds(x, gamma, beta, dy=dy))
        given = {"dgamma": gamma, "dbeta": beta}
        for name, parameter in given.items():
            if parameter is not None and name in found:
                found[name] = found[name].reshape(parameter.shape)
        return found

    def state(self):
        """Return the statistics that calls start from."""
        return {STATE[role]: value for role, value in self.kept.items()}

    def given(self):
        """Return the statistics that the file came with."""
        return self.state()

    def attached(self):
        """Return nothing: there is no graph that an array could hold."""
        return []

    def after(self, steps):
        """Return a runner whose calls start from the statistics after some calls."""
        runner = self
        for x, gamma, beta, _, train in steps:
            if not train:
                continue  # the node trains whenever it is called: it is not there in evaluation
            found = runner._outputs(x, gamma, beta)[1:]
            kept = dict(zip(self.norm.updates, (np.asarray(one, np.float64) for one in found)))
            runner = NormRunner(self.norm, kept, self.engines, self.gradients, self.half)
        return runner

    def variant(self, dtype, threads, needs_dx):
        """Return a runner that computes in half precision."""
        return NormRunner(self.norm, self.kept, self.engines, self.gradients, dtype)

    def _outputs(self, x, gamma, beta):
        engine = self.engine(self.half or x.dtype.name)
        feeds = self._feeds(x, gamma, beta)
        with np.errstate(all="ignore"):
            found = [np.asarray(one) for one in engine(feeds)]
        return [one.astype(np.float32) for one in found] if self.half else found

    def _feeds(self, x, gamma, beta, dy=None):
        given = {"x": x, "gamma": gamma, "beta": beta, "dy": dy}
        given.update(self.kept)
        kind = _numpy_dtype(self.half) if self.half else x.dtype
        fed = self.norm.fed
        return {
            INPUT % role: np.ascontiguousarray(
                array.reshape(fed[role]) if role in fed else array
            ).astype(kind)
            for role, array in given.items()
            if array is not None
        }

    def _tried(self, dtype):
        """Return inputs of a first call."""
        draw = np.random.default_rng(0)
        carried = "float32" if dtype in HALVES.values() else dtype
        x = self.theirs(draw.normal(size=(BATCH,) + self.norm.sample)).astype(carried)
        shape = self.norm.parameter
        ones = np.ones(shape, carried)
        roles = self.norm.roles
        return x, ones if "gamma" in roles else None, ones * 0 if "beta" in roles else None

    def theirs(self, x):
        """Return x with the axes in the order of the graph."""
        axes = self.norm.axes
        if not axes:
            return x
        last = self.norm.kind in ("layer", "rms")
        return np.moveaxis(x, -1 if last else 1, 1 if last else -1)


def _numpy_dtype(name):
    if name == "float16":
        return np.dtype(np.float16)
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, name))


def _statistics(norm):
    """Return the statistics of the file, cut to the channels that are audited; sane ones."""
    (channels,) = norm.parameter if len(norm.parameter) == 1 else (0,)
    usual = {"mean": np.zeros(channels), "var": np.ones(channels)}
    kept = {}
    for role in norm.roles:
        if role not in STATE:
            continue
        value = norm.told.get(STATE[role], usual[role])[:channels]
        bad = ~np.isfinite(value) | ((value < 0) if role == "var" else False)
        kept[role] = np.where(bad, usual[role], value)
    return kept
