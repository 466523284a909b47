"""A batch-norm layer that computes what the layer of a named framework computes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backnorm import _check
from backnorm.dialects.gradients import gradients
from backnorm.dialects.passes import Moment, Pass, by_batch, by_constants
from backnorm.dialects.registry import row_of
from backnorm.dialects.semantics import BatchStatistics, shares, updated
from backnorm.dialects.settings import require, settings_of
from backnorm.dialects.state_arrays import arrays_of, fresh, read
from backnorm.errors import RangeError, ShapeError
from backnorm.results import Gradients

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    import numpy.typing as npt

    from backnorm._types import AnyArray, Request
    from backnorm.dialects.columns import OptionValue
    from backnorm.dialects.gradients import Asked
    from backnorm.results import Forward

__all__ = ["BatchNorm"]


class BatchNorm:
    """Batch normalization as a framework means it: its options, its state, its update.

    Parameters
    ----------
    num_features
        The number of channels C.
    dialect
        A name that ``backnorm dialects`` lists.
    **options
        The framework's, by its names; the table of dialects has their defaults.

    Attributes
    ----------
    dialect, num_features, options
        As given, with the defaults filled in.
    training
        Whether the statistics of the batch normalize, where the options leave that open.
    output_mean, output_var
        What the framework returns beside y, under MXNet's names; None where it returns nothing.
        The table says what the second holds: MXNet's holds inv_std.

    Raises
    ------
    UnknownNameError, RangeError
        A dialect or option that does not exist, or a value that it cannot have.

    Notes
    -----
    Source: the rows in ``backnorm.dialects``, each with its evidence.
    Accuracy: the engine's, not the framework's: the precision that a framework loses is not
    imitated (tests/dialects/test_goldens.py has both side by side). The dtypes in which a framework
    stores its numbers are: MXNet's momentum and Caffe's eps are float32.
    Parameters and statistics start as float32 and become float64 with the first float64 x;
    loaded arrays keep their dtype.
    The options come by keyword and not as one argument, so that a call reads as it does in the
    framework. They are checked against the row: a misspelt one is an error, as it would be with
    named parameters, which this cannot have since each dialect brings its own.

    Examples
    --------
    >>> import numpy as np
    >>> import backnorm as bn
    >>> layer = bn.BatchNorm(1, dialect="caffe", moving_average_fraction=0.5, eps=0.0)
    >>> layer.forward(np.array([[1.0], [3.0]])).ravel().tolist()
    [-1.0, 1.0]
    >>> {name: array.tolist() for name, array in layer.state().items()}
    {'mean': [2.0], 'variance': [2.0], 'scale_factor': [1.0]}
    >>> layer.backward(np.array([[1.0], [0.0]])).dx.ravel().tolist()
    [0.0, 0.0]
    """

    def __init__(self, num_features: int, *, dialect: str, **options: OptionValue) -> None:
        self._row = row_of(dialect)
        self._settings = settings_of(self._row, options)
        self.dialect = dialect
        self.num_features = _check.whole_number(num_features, 1, RangeError.features)
        self.options = dict(self._settings.options)
        self.training = True
        self.output_mean: AnyArray | None = None
        self.output_var: AnyArray | None = None
        self._stored = fresh(self._row, self._settings, self.num_features)
        self._pass: Pass | None = None

    def __repr__(self) -> str:
        words = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"BatchNorm({self.num_features}, dialect={self.dialect!r}{words})"

    def train(self) -> Self:
        """Go into training: what the framework's own mode of that name means."""
        self.training = True
        return self

    def eval(self) -> Self:
        """Go into evaluation: what the framework's own mode of that name means."""
        self.training = False
        return self

    def state(self) -> dict[str, AnyArray]:
        """Return copies of all arrays, under the framework's names."""
        return arrays_of(self._row, self._settings, self._stored)

    def load_state(self, state: Mapping[str, npt.ArrayLike]) -> Self:
        """Replace all arrays by copies of the given arrays, which keep their dtypes.

        Raises
        ------
        UnknownNameError, RangeError, ShapeError, DtypeError
            An array too many or too few, or one that does not fit. Nothing is loaded then.
        """
        self._stored = read(self._row, self._settings, state, self.num_features)
        self._pass = None
        return self

    def forward(self, x: AnyArray) -> AnyArray:
        """Return y, with the shape and dtype of x; with in_place=True it is stored in x itself.

        Raises
        ------
        ShapeError, DtypeError
            An x that does not fit the layer, or without values.
        RangeError
            One value per channel, where the framework refuses that.
        """
        x, axis = self._checked(x)
        self._stored = self._stored.in_dtype(x.dtype if x.dtype == np.float64 else np.float16)
        if self._settings.fixed_gamma and self._stored.gamma is not None:
            self._stored = replace(self._stored, gamma=np.ones_like(self._stored.gamma))
        if not self._uses_batch():
            self._pass = Pass(by_constants(self._now(), x, axis), "frozen")
        else:
            self._pass = self._training_pass(x, axis)
        if self._row.extra_outputs.known != "none":
            self._keep_outputs(self._pass.fwd)
        return self._pass.fwd.y

    def backward(
        self,
        dy: AnyArray,
        *,
        dx: Request = "write",
        dgamma: Request = "write",
        dbeta: Request = "write",
        into: Gradients | None = None,
    ) -> Gradients:
        """Return the gradients of the last forward pass, as the framework computes them.

        Parameters
        ----------
        dy
            Gradient with respect to y, with the shape and dtype of y.
        dx, dgamma, dbeta
            "write", "add" to the buffer, or "null" to leave it out.
        into
            Buffers for the gradients that are to be stored in given memory.

        Returns
        -------
        Gradients
            None for a gradient that was not requested or does not exist. With a fixed gamma dgamma
            is 0 for "write" and left alone for "add".

        Raises
        ------
        ShapeError, DtypeError, RangeError, UnknownNameError
            As `backnorm.batch_norm_backward`; or without a forward pass that has a gradient.
        """
        last = self._pass
        if last is None:
            raise RangeError.no_forward()
        if into is not None and not isinstance(into, Gradients):
            raise RangeError.no_gradients(into)
        dy = _check.like("dy", dy, "y", last.fwd.y)
        asked: Asked = {"dx": dx, "dgamma": dgamma, "dbeta": dbeta}
        result = gradients(self._now(), last, dy, asked, into or Gradients())
        wanted = set(asked.values()) != {"null"}
        if self._row.updates_in.known == "backward" and last.batch is not None and wanted:
            self._update(last.batch)
        return result

    def _now(self) -> Moment:
        return Moment(self._row, self._settings, self._stored)

    def _checked(self, x: AnyArray) -> tuple[AnyArray, int]:
        x = _check.array("x", x)
        axis = _check.axis(x, self._settings.channel_axis, allow_empty=not self._uses_batch())
        if x.shape[axis] != self.num_features:
            raise ShapeError.features(x.shape[axis], self.num_features, axis)
        return x, axis

    def _uses_batch(self) -> bool:
        statistics = self._settings.statistics
        return self.training if statistics == "mode" else statistics != "frozen"

    def _training_pass(self, x: AnyArray, axis: int) -> Pass:
        if x.size == self.num_features:
            require(self._row, "one_value")
            if self._row.one_value.known == "refused":
                raise RangeError.one_value(self.dialect, x.shape)
        fwd, batch = by_batch(self._now(), x, axis)
        if fwd.n == 1 and self._row.one_value.known == "identity":
            return Pass(replace(fwd, y=x.copy()), "identity")
        share = shares(self._row, self._settings, self._stored.count)[1]
        if self._row.updates_in.known != "backward" and self._settings.statistics != "untracked":
            self._update(batch)
        if self._row.normalizes_with.known == "blend":
            return Pass(by_constants(self._now(), x, axis), "blend", batch, share)
        return Pass(fwd, "batch", batch, share)

    def _update(self, batch: BatchStatistics) -> None:
        running = updated(self._row, self._settings, self._stored.running, batch)
        self._stored = self._stored.after(self._row, self._settings, running)

    def _keep_outputs(self, fwd: Forward) -> None:
        second = fwd.inv_std if self._row.extra_outputs.known == "mean and inv_std" else fwd.var
        dtype = self._stored.mean.dtype
        self.output_mean, self.output_var = fwd.mean.astype(dtype), second.astype(dtype)
