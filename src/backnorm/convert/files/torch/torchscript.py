"""TorchScript: read without torch, and without running code.

The tree of modules is in a pickle, whose classes are read as plain records. What a TorchScript file
has of code (``code/``) is not looked at: eps and momentum are constants there, so they are untold.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from backnorm.convert.files._flat import find_layers, spellings_of
from backnorm.convert.files.record import ModelFile
from backnorm.convert.files.registry import Format, register
from backnorm.convert.files.torch._archive import ArchiveStorages
from backnorm.convert.files.torch._tree import tree_of
from backnorm.convert.files.untold import untold_of

if TYPE_CHECKING:
    from backnorm.convert.files._budget import Source

__all__ = ["FORMAT"]

NO_STATISTICS: Final = ("LayerNorm", "GroupNorm", "InstanceNorm", "RMSNorm")


def read(source: Source) -> ModelFile:
    """Read the layers and all other tensors of a TorchScript file."""
    storages = ArchiveStorages.of(source)
    tree = tree_of(source.budget, storages, storages.pickle())
    named = find_layers(tree.arrays, spellings=spellings_of("torch"))
    norms = {kind: n for kind, n in tree.kinds.items() if kind.startswith(NO_STATISTICS)}
    notes = tuple(f"{n} {kind}, which keeps no running statistics" for kind, n in norms.items())
    layers = tuple(
        replace(layer, untold=untold_of("torch", layer.state, alone=True)) for layer in named.layers
    )
    return ModelFile(source.path, "torchscript", layers, named.others, (*notes, *tree.notes))


FORMAT: Final = Format("torchscript", ("torch",), read, None, makes_new=False)

register(FORMAT)
