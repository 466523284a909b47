"""The module `SyncBatchNorm`: batch normalization over the ranks of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backnorm import _check
from backnorm.kernels import activations
from backnorm.torch.distributed import convertible, exchange, groups, passes, pending, windows
from backnorm.torch.distributed.parts import Law
from backnorm.torch.engine import modules, tools

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from backnorm._types import Activation, Synchronize

__all__ = ["SyncBatchNorm"]

Module = TypeVar("Module", bound=nn.Module)


class SyncBatchNorm(modules._Engine, _BatchNorm):
    """torch.nn.SyncBatchNorm by exact sums: the same bits for any number of ranks, on the CPU.

    Sums are taken over the batches of all ranks as integers. So y, dx and the running statistics
    are bitwise those of one process that has all samples, for any cut of them into ranks, empty
    batches included.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, process_group, device, dtype, bias
        As in torch.nn.SyncBatchNorm.
    activation, negative_slope
        As in `BatchNormAct2d`, with "identity" for none.
    reduce_parameters
        Whether the gradients of weight and bias are those of all ranks, bitwise identical on every
        one. If not, as in PyTorch, they are those of the samples of the rank, which
        DistributedDataParallel averages.
    synchronize
        What is shared, and when. "layer": statistics and gradient are those of all ranks, by
        collectives in each pass. "group": of some ranks, see group_size. "step": of this rank
        alone, without a collective in a pass. With "group" and "step" the running statistics are
        those of all ranks, which `merge_statistics` moves once a step; until then evaluation and
        state_dict raise an error.
    group_size
        Of "group": so many consecutive ranks normalize together. The last group has the ranks that
        are left; if that is one rank, it joins the group before. process_group must have all ranks.

    Raises
    ------
    RangeError
        group_size without "group", or "group" without it; reduce_parameters=True without "layer".
    UnknownNameError
        An unknown activation or an unknown value of synchronize.

    Notes
    -----
    Source: docs/distributed.md. Input of float16, bfloat16, float32 or float64; ranks may have
    different ones, and different memory formats. Sums of float64 take much longer.
    Cost: one all_reduce in the forward pass and one in the backward pass, of 48 and 64 bytes a
    channel; one more in the first pass, and for batches whose sums are far from those of the pass
    before. None in evaluation, in a group of one rank, and with synchronize="step".

    Examples
    --------
    >>> import torch
    >>> from backnorm.torch import SyncBatchNorm
    >>> layer = SyncBatchNorm(2)
    >>> layer(torch.tensor([[1.0, 2.0], [3.0, 6.0]])).round(decimals=3).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    """

    process_group: ProcessGroup | None
    activation: Activation = "identity"
    negative_slope: float = 0.01
    reduce_parameters: bool = False
    synchronize: Synchronize = "layer"
    group_size: int | None = None
    sums = "exact"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: ProcessGroup | None = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
        activation: Activation = "identity",
        negative_slope: float = 0.01,
        reduce_parameters: bool = False,
        synchronize: Synchronize = "layer",
        group_size: int | None = None,
    ) -> None:
        factory = {"device": device, "dtype": dtype}
        if not bias:
            factory["bias"] = False  # which older layers of PyTorch do not have
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, sums="exact", **factory
        )
        _check.name_of("activation", activation, activations.NAMES)
        self.process_group = process_group
        self.activation = activation
        self.negative_slope = _check.slope(negative_slope)
        self.reduce_parameters = reduce_parameters
        self._share(
            synchronize, convertible.check_mode(synchronize, group_size, reduces=reduce_parameters)
        )
        self._layer = windows.name_for(self)

    def _share(self, synchronize: Synchronize, group_size: int | None) -> None:
        """Begin to synchronize in this way."""
        self.synchronize = synchronize
        self.group_size = group_size
        vars(self).pop(pending.MERGED_LATER, None)
        if synchronize != "layer":
            setattr(self, pending.MERGED_LATER, pending.nothing(self.num_features))

    def forward(
        self,
        input: torch.Tensor,  # noqa: A002 - the name in torch.nn
        residual: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return y of what counts, with the residual added before the activation."""
        if tools.is_traced(input):
            return tools.call_in_graph(self, input, residual, mask)  # type: ignore[no-any-return]
        group = self._group_of_pass(input) if self.training else None
        if group is None:
            pending.check_merged(self, "evaluate")
            return self._normalize(
                input,
                activation=self.activation,
                negative_slope=self.negative_slope,
                residual=residual,
                mask=mask,
            )
        return self._synchronized(input, residual, mask, group)

    def _group(self) -> ProcessGroup | None:
        if not (distributed.is_available() and distributed.is_initialized()):
            return None
        return distributed.group.WORLD if self.process_group is None else self.process_group

    def _whole(self) -> str:
        """Return the name of the group of all ranks."""
        group = self._group()
        if group is None or distributed.get_world_size(group) == 1:
            return exchange.ALONE
        return group.group_name

    def _group_of_pass(self, x: torch.Tensor) -> str | None:
        """Return the name of the group that normalizes x; None for the engine of one process."""
        if self.synchronize == "layer":
            return passes.group_for(x, self._group())
        whole = self._whole()
        if self.group_size is None or whole == exchange.ALONE:
            return exchange.ALONE
        name: str = groups.around(whole, self.group_size)
        return name

    def _is_deferred(self) -> bool:
        """Whether `merge_statistics` moves the running statistics."""
        return self.synchronize != "layer" and self.running_mean is not None

    def _synchronized(
        self,
        x: torch.Tensor,
        residual: torch.Tensor | None,
        mask: torch.Tensor | None,
        group: str,
    ) -> torch.Tensor:
        def run() -> tuple[torch.Tensor, ...]:
            return self._passed(x, residual, mask, group)

        if self.synchronize == "layer":
            y, statistics, _ = run()
            if self.track_running_stats:
                self._move(statistics)
            return y
        watches = not torch.compiler.is_compiling()
        y, _, sums = pending.watched(self, run) if watches else run()
        if self.track_running_stats and self._is_deferred():
            pending.note(self, sums)
        return y

    def _passed(
        self,
        x: torch.Tensor,
        residual: torch.Tensor | None,
        mask: torch.Tensor | None,
        group: str,
    ) -> tuple[torch.Tensor, ...]:
        return passes.normalize(
            x,
            (self.weight, self.bias),
            residual,
            mask,
            self._layer,
            self.num_features,
            group,
            Law(self.eps, self.activation, self.negative_slope, self.through),
            reduce_parameters=self.reduce_parameters,
            deferred=self.synchronize != "layer",
        )

    def _move(self, statistics: torch.Tensor) -> None:
        """Count a batch, and move the running statistics."""
        momentum = self._count(self.momentum)
        if self.running_mean is not None and self.running_var is not None:
            momentum = 0.0 if momentum is None else momentum
            passes.move(self.running_mean, self.running_var, statistics, momentum)

    def _check_input_dim(self, input: torch.Tensor) -> None:  # noqa: A002 - as in torch.nn
        nn.SyncBatchNorm._check_input_dim(self, input)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        """Return the arguments of the constructor."""
        shown: str = super().extra_repr()
        if self.activation != "identity":
            shown += f", activation={self.activation}"
            if activations.ACTIVATIONS[self.activation].has_slope:
                shown += f", negative_slope={self.negative_slope}"
        if self.through != "both":
            shown += f", through={self.through}"
        if self.synchronize != "layer":
            shown += f", synchronize={self.synchronize}"
        if self.group_size is not None:
            shown += f", group_size={self.group_size}"
        return shown + ", reduce_parameters=True" * self.reduce_parameters

    def _save_to_state_dict(self, *arguments: Any) -> None:
        pending.check_merged(self, "save its state")
        super()._save_to_state_dict(*arguments)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        if f"{prefix}running_mean" in state_dict and self.synchronize != "layer":
            pending.drop(self)  # they would be merged into statistics that they do not belong to

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles keep: not what belongs to this process."""
        pending.check_merged(self, "be copied")
        state: dict[str, Any] = dict(vars(self))
        for name in ("_layer", pending.MERGED_LATER, pending.FAILURE):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a copy or pickle has kept."""
        super().__setstate__(state)
        self._share(self.synchronize, self.group_size)
        self._layer = windows.name_for(self)

    @classmethod
    def convert_sync_batchnorm(
        cls,
        module: Module,
        process_group: ProcessGroup | None = None,
        *,
        synchronize: Synchronize = "layer",
        group_size: int | None = None,
    ) -> Module:
        """Turn every batch normalization of a module into a SyncBatchNorm.

        The layers stay the same objects: parameters in an optimizer, hooks and references stay
        valid. An activation and a cut gradient (`through`) of the engine's layers are kept.

        Parameters
        ----------
        module
            A model, which is changed; or a layer.
        process_group
            The group of all layers; None is the default group.
        synchronize, group_size
            Of all layers, see `SyncBatchNorm`.

        Returns
        -------
        torch.nn.Module
            The module.

        Raises
        ------
        NotSupportedError
            If a layer has no parameters yet, has parametrizations, or defines its forward
            itself, as GhostBatchNorm2d does.
            Nothing is changed then.
        RangeError, UnknownNameError
            As `SyncBatchNorm` raises them.
        RankError
            A layer has sums that `merge_statistics` has not merged.

        Examples
        --------
        >>> from torch import nn
        >>> from backnorm.torch import SyncBatchNorm
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> type(SyncBatchNorm.convert_sync_batchnorm(model)[1]).__name__
        'SyncBatchNorm'
        """
        size = convertible.check_mode(synchronize, group_size, reduces=False)
        layers = [m for m in module.modules() if isinstance(m, convertible.NORMS)]
        for layer in layers:
            convertible.check_class(layer, cls)
            pending.check_merged(layer, "be converted")
            convertible.check_mode(synchronize, group_size, reduces=convertible.reduces(layer))
        for layer in layers:
            held = vars(layer)
            for name in ("sums", "inplace", tools.MARK):
                held.pop(name, None)
            layer.__class__ = cls
            held["process_group"] = process_group
            SyncBatchNorm._share(layer, synchronize, size)  # type: ignore[arg-type] # it is one
            held["_layer"] = windows.name_for(layer)
        return module
