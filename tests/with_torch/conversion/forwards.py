"""Forwards in which a normalization may wait for its activation, or must not."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

if TYPE_CHECKING:
    from collections.abc import Callable


class Layers(nn.Module):
    """What the forwards below call."""

    def __init__(self, side: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()
        self.conv2, self.norm2 = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.drop, self.none = nn.Identity(), None
        self.side, self.flag, self.seen = side, True, 0.0
        self.register_buffer("count", torch.zeros(()))


class Steps(Layers):
    """Each step in a statement, with what timm puts between."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        shortcut = x
        x = self.conv(x)
        x = self.norm(x)
        x = self.drop(x)
        if self.none is not None:
            x = self.none(x)
        if self.side is not None:
            shortcut = self.side(shortcut)
        x += shortcut
        x = self.act(x)
        return x  # noqa: RET504 - as written there


class OtherNames(Layers):
    """Each result has a name."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        made = self.conv(x)
        normal = self.norm(made)
        both = made + normal
        out = self.act(both)
        return self.conv2(out)  # type: ignore[no-any-return]


class Shortcuts(Layers):
    """The shortcut is a call in the sum, on either side."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = F.relu(self.norm(self.conv(x)) + self.side(x))  # type: ignore[misc]
        z = F.relu(self.side(y) + self.norm2(self.conv2(y)))  # type: ignore[misc]
        return z + torch.relu(torch.add(self.norm(z), x))


class Conditional(Layers):
    """The sum and the activation depend on conditions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.norm(self.conv(x))
        if self.flag:
            y = y + x
        if not self.flag or self.side is None:
            y = self.act(y)
        return y


class Consumed(Layers):
    """What reads the activation stands around it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.norm(self.conv(x))
        return self.conv2(self.act(y)).flatten(1)  # type: ignore[no-any-return]


class Looped(Layers):
    """The same layers several times."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        for _ in range(3):
            y = self.norm(self.conv(x))
            y = self.act(y)
            x = x + y
        return x


class Helped(Layers):
    """A method with a default, keywords, and other arguments does it."""

    def block(self, x: torch.Tensor, *more: float, scale: float = 2.0, **names: float) -> Any:
        """Return y."""
        y = self.norm(x)
        y = self.act(y)
        return y * scale + sum(more) + sum(names.values())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.block(x, 1.0, 2.0, shift=3.0)  # type: ignore[no-any-return]


class Caught(Layers):
    """An error leaves the variable to be read."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        try:
            y = self.norm(x)
            y = self.act(y)
            raise ValueError  # noqa: TRY301 - to be caught
        except ValueError:
            return y


class Suppressed(Layers):
    """An error is passed over."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        with contextlib.suppress(RuntimeError):
            y = self.norm(x)
            y += x[:, :2]
            y = self.act(y)
        return y


class Watched(Layers):
    """The variables are looked at from outside."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.norm(x)
        self.seen = float(locals()["y"].detach().sum())
        y = self.act(y)
        return y + self.seen


class Enclosed(Layers):
    """A function reads the variable."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.norm(x)

        def total() -> torch.Tensor:
            return y.sum()

        y = self.act(y)
        return y + total()


class KeptToo(Layers):
    """The normalization's output has a second name."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.norm(x)
        kept = y
        y = self.act(y)
        return y * kept


class KeptLater(Layers):
    """The output is read again, after the activation has another name."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.norm(x)
        z = self.act(y)
        other = y
        return z * other


class InputChanged(Layers):
    """A child between writes to the normalization's input."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.ELU(inplace=True)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        x = self.conv(x)
        y = self.norm(x)
        r = self.side(x)  # type: ignore[misc]
        y += r
        return self.act(y)  # type: ignore[no-any-return]


class SameNorm(Layers):
    """A child between is the normalization itself: the order of the statistics counts."""

    def __init__(self) -> None:
        super().__init__()
        self.side = nn.Sequential(self.conv2, self.norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.norm(self.conv(x))
        r = self.side(x)  # type: ignore[misc]
        y += r
        return self.act(y)  # type: ignore[no-any-return]


class StatisticsRead(Layers):
    """A condition depends on what the normalization changes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.norm(x)
        if self.norm.num_batches_tracked > 1:  # type: ignore[operator]
            y = y + x
        return self.act(y)  # type: ignore[no-any-return]


class Property(Layers):
    """An attribute is computed from what the normalization changes."""

    @property
    def late(self) -> bool:
        """Whether the normalization has run before."""
        return bool(self.norm.num_batches_tracked > 1)  # type: ignore[operator]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.norm(x)
        if self.late:
            y = y + x
        return self.act(y)  # type: ignore[no-any-return]


class Compared(Layers):
    """Tensors are compared by identity, and dtypes looked up."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        z = x.contiguous()
        y = self.act(self.norm(x))
        return (
            y
            * (2.0 if z is x else 3.0)
            * (1.0 if x.dtype in {torch.float32, torch.float16} else 5.0)
        )


class Counting(Layers):
    """Buffers are written and read, defaults are kept."""

    def forward(self, x: torch.Tensor, seen: list[float] = []) -> torch.Tensor:  # noqa: B006
        """Return y."""
        self.count += 1  # type: ignore[operator]
        seen.append(1.0)
        y = self.act(self.norm(x)) * self.count  # type: ignore[operator]
        return y  # type: ignore[no-any-return] # noqa: RET504


class OutputWritten(Layers):
    """The output of a leaky_relu is written to by a flag without a name."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = F.leaky_relu(self.norm(x), 0.1)
        F.hardtanh(y, -1.0, 1.0, True)  # noqa: FBT003
        return y


class SumWritten(Layers):
    """The same after a sum, of which the output is kept."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = F.leaky_relu(self.norm(x) + x, 0.1)
        y.mul_(2.0)
        return y


class Underscored(Layers):
    """Names begin with an underscore, and an argument is an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self._bn0, self._relu, self.inplace = self.norm, self.act, True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self._relu(self._bn0(x))
        return F.relu(self.norm2(y), inplace=self.inplace)


class Perhaps(Layers):
    """An attribute may be missing, and another one cannot be compared yet."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.norm(x)
        if self.flag or self.epoch > 3:  # type: ignore[operator]
            y = self.act(y)
        return y if hasattr(self, "late") is False else self.late(self.norm2(y))  # type: ignore[operator,no-any-return]


class SumThenBlock(Layers):
    """After a sum and a leaky_relu a block follows that begins with writing to it."""

    def __init__(self) -> None:
        super().__init__()
        self.next = nn.Sequential(Layers2())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = F.leaky_relu(self.norm(x) + x, 0.1)
        return self.next(y)  # type: ignore[no-any-return]


class Layers2(nn.Module):
    """A block that writes to its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return x.mul_(2.0)


class Annotated(Layers):
    """The variable has an annotation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y: torch.Tensor = self.norm(x)
        return self.act(y)  # type: ignore[no-any-return]


class MethodBetween(Layers):
    """A method between writes to the normalization's input."""

    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        """Return the residual."""
        return self.conv2(F.relu(x, inplace=True))  # type: ignore[no-any-return]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        x = self.conv(x)
        y = self.norm(x)
        y += self.shortcut(x)
        return self.act(y)  # type: ignore[no-any-return]


class FunctionBetween(Layers):
    """So does a function that is an attribute, in one expression."""

    def __init__(self) -> None:
        super().__init__()
        self.shortcut = F.relu_

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        x = self.conv(x)
        return self.act(self.norm(x) + self.shortcut(x))  # type: ignore[no-any-return]


class SharedBuffer(Layers):
    """A normalization is called between, which may have the same running mean."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        z = x * 3 + 1
        y = self.norm(x)
        r = self.norm2(z)
        return self.act(y + r)  # type: ignore[no-any-return]


class ChangedAfter(Layers):
    """The variable is changed when its value was used."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        y = self.norm(x)
        z = self.act(y)
        y += 1
        return z  # type: ignore[no-any-return]


class Refused(Layers):
    """PyTorch refuses the argument."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        try:
            return torch.relu(self.norm(x), True)  # type: ignore[call-arg] # noqa: FBT003
        except TypeError:
            return x


class Listed(Layers):
    """The layers are in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([self.norm, self.norm2])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.act(self.norms[0](x))  # type: ignore[no-any-return]


class NeverCalled(Layers):
    """The activation follows in a method that forward does not call."""

    def other(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.act(self.norm(x))  # type: ignore[no-any-return]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.norm(x).sigmoid()  # type: ignore[no-any-return]


class Compares(Layers):
    """A classmethod compares its class."""

    @classmethod
    def scale(cls) -> float:
        """Return a factor."""
        return 2.0 if cls is Compares else 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.act(self.norm(x)) * self.scale()  # type: ignore[no-any-return]


class Swapped(Layers):
    """The argument is called self, and self something else."""

    def forward(this, self: torch.Tensor) -> torch.Tensor:  # noqa: N805
        """Return y."""
        return this.act(this.norm(self))  # type: ignore[no-any-return]


class Rebound(Layers):
    """The name of the module is given to another."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        self = self.train(self.training)  # noqa: PLW0642
        return self.act(self.norm(x))  # type: ignore[no-any-return]


class Shadowed(Layers):
    """A local variable has the name of a function of the module."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        relu = torch.tanh
        return relu(self.norm(x))


class OwnClass(Layers):
    """It asks for the class of self."""

    made = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        type(self).made += 1
        return self.act(self.norm(x))  # type: ignore[no-any-return]


class Inherited(Steps):
    """It calls the forward of its base."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.act(self.norm2(super().forward(x)))  # type: ignore[no-any-return]


class Comprehended(Layers):
    """The calls are in a comprehension."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return torch.stack([self.act(self.norm(part)) for part in (x, x * 2)]).sum(0)


class Decorated(Layers):
    """Something else runs."""

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y."""
        return self.act(self.norm(x))  # type: ignore[no-any-return]


def side() -> nn.Module:
    """Return a shortcut."""
    return nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))


FORWARDS: dict[str, tuple[Callable[[], nn.Module], list[str], str]] = {
    # name: module, what is fused with the layers that are not in the shortcut, a reason
    "steps": (Steps, ["add + relu", ""], ""),
    "steps, shortcut": (lambda: Steps(side()), ["add + relu", ""], ""),
    "steps, shortcut that writes": (
        lambda: Steps(nn.ReLU(inplace=True)),
        ["", ""],
        "side is called before the activation and may change its input",
    ),
    "other names": (OtherNames, ["add + relu", ""], ""),
    "shortcuts": (lambda: Shortcuts(side()), ["add + relu", "add + relu"], ""),
    "conditional": (Conditional, ["add + relu", ""], ""),
    "conditional, without": (
        lambda: Conditional(side()),
        ["", ""],
        "no activation of the engine follows",
    ),
    "consumed": (Consumed, ["", ""], "its output is used elsewhere"),
    "looped": (Looped, ["relu", ""], ""),
    "helped": (Helped, ["relu", ""], ""),
    "caught": (Caught, ["", ""], "its output is used elsewhere"),
    "suppressed": (Suppressed, ["", ""], "its output is used elsewhere"),
    "watched": (Watched, ["", ""], "its output is used elsewhere"),
    "enclosed": (Enclosed, ["", ""], "its output is used elsewhere"),
    "kept too": (KeptToo, ["", ""], "its output is used elsewhere"),
    "kept later": (KeptLater, ["", ""], "its output is used elsewhere"),
    "input changed": (InputChanged, ["", ""], "side is called before the activation"),
    "same norm": (SameNorm, ["", ""], "side is called before the activation"),
    "statistics read": (StatisticsRead, ["", ""], "its output is used elsewhere"),
    "property": (Property, ["", ""], "its output is used elsewhere"),
    "compared": (Compared, ["relu", ""], ""),
    "counting": (Counting, ["relu", ""], ""),
    "output written": (OutputWritten, ["leaky_relu", ""], ""),
    "sum written": (SumWritten, ["", ""], "its output is changed"),
    "underscored": (Underscored, ["relu", "relu"], ""),
    "perhaps": (Perhaps, ["relu", ""], ""),
    "sum, then a block": (SumThenBlock, ["", ""], "its output is changed"),
    "annotated": (Annotated, ["relu", ""], ""),
    "method between": (MethodBetween, ["", ""], "shortcut is called before the activation"),
    "function between": (FunctionBetween, ["", ""], "shortcut is called before the activation"),
    "normalization between": (SharedBuffer, ["add + relu", ""], ""),
    "changed after": (ChangedAfter, ["", ""], "its output is used elsewhere"),
    "refused": (Refused, ["", ""], "no activation of the engine follows"),
    "listed": (Listed, ["", ""], "Listed: its forward does not call it by its name"),
    "never called": (NeverCalled, ["", ""], "no activation of the engine follows"),
    "compares": (Compares, ["", ""], "its methods ask for the class of self"),
    "swapped": (Swapped, ["relu", ""], ""),
    "rebound": (Rebound, ["", ""], "its output is used elsewhere"),
    "shadowed": (Shadowed, ["", ""], "its output is used elsewhere"),
    "own class": (OwnClass, ["", ""], "its methods ask for the class of self"),
    "inherited": (Inherited, ["", "relu"], "its forward does not call it by its name"),
    "comprehended": (Comprehended, ["", ""], "its output is used elsewhere"),
    "decorated": (Decorated, ["", ""], "Decorated: its forward is decorated"),
}
