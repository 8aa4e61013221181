"""A tape of what a step does, operator by operator: to compare two steps, and on a CPU to run one again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

READS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
"""Tags of operators whose outcome the host must see before it can go on."""


class Call(NamedTuple):
    """One operator that ran.

    Attributes:
        name: of the operator.
        given: each argument: shape, type and device of a tensor, all else as text.
        reads: whether the host waits for its outcome.
    """

    name: str
    given: tuple[str, ...]
    reads: bool

    def devices(self) -> set[str]:
        """Kinds of devices that its arguments lie on or name."""
        return {part.split("@")[1] for part in self.given if "@" in part}


class Kept(NamedTuple):
    """One operator with its arguments and results, so that it can run again."""

    operator: Any
    flat: Sequence[Any]
    spec: Any
    results: Sequence[Any]


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Records every operator that runs inside, below autograd: forward, backward, stores, optimiser.

    Args:
        keep: keep arguments and results too, all of a step's memory, for `replay`.
    """

    def __init__(self, keep: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.keep = keep
        self.calls: list[Call] = []
        self.kept: list[Kept] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and note it."""
        result = func(*args, **(kwargs or {}))
        if func.namespace == "profiler":
            return result
        flat, spec = tree_flatten((args, kwargs or {}))
        given = [value for value in flat if not ("_attention" in str(func) and is_draw(value))]
        self.calls.append(Call(str(func), tuple(map(described, given)), waits(func, flat)))
        if self.keep:
            self.kept.append(Kept(func, flat, spec, tree_flatten(result)[0]))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        """Run it all again: on the same tensors where they were there before, with the same Python numbers."""
        made: dict[int, Any] = {}
        for operator, flat, spec, results in self.kept:
            args, kwargs = tree_unflatten([made.get(id(value), value) for value in flat], spec)
            for old, new in zip(results, tree_flatten(operator(*args, **kwargs))[0], strict=True):
                if isinstance(old, Tensor):
                    made[id(old)] = new

    def obstacle(self, device: torch.device) -> str | None:
        """Why a graph of such a step would not be the step: the host reads a number, or lends one; None: it would be.

        Args:
            device: that the step runs on.
        """
        for call in self.calls:
            if call.reads:
                return f"{call.name} waits for the device"
            if call.name == "aten.lift_fresh.default" and device.type != "cpu":
                return "a step makes a tensor of a number (torch.tensor)"
            if call.devices() - {device.type}:
                return f"{call.name} moves numbers between host and device"
        return None


def difference(first: Tape, second: Tape) -> str | None:
    """The first operator in which two steps differ, in words; None: they do the same."""
    for one, other in zip(first.calls, second.calls, strict=False):
        if one.name != other.name:
            return f"{one.name} in one step, {other.name} in the next"
        if one.given != other.given:
            pairs = zip(one.given, other.given, strict=False)
            counts = f"{len(one.given)} arguments", f"{len(other.given)} arguments"
            was, now = next((pair for pair in pairs if pair[0] != pair[1]), counts)
            return f"{one.name} is given {was} in one step, {now} in the next"
    if len(first.calls) != len(second.calls):
        return f"{len(first.calls)} operators in one step, {len(second.calls)} in the next"
    return None


def described(value: Any) -> str:
    """An argument as text, which holds all that a graph fixes of it.

    >>> described(torch.zeros(2, 3)), described(0.5), described(torch.device("cuda", 1))
    ('float32[2, 3]@cpu', '0.5', 'device@cuda')
    """
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}@{value.device.type}"
    if isinstance(value, torch.device):
        return f"device@{value.type}"
    if isinstance(value, torch.ScriptObject | torch.Generator):
        return type(value).__name__
    return repr(value)


def waits(operator: Any, flat: Sequence[Any]) -> bool:
    """Whether the host waits for an operator: it looks at a number, or a shape depends on some, as with masks."""
    name, masks = operator.name(), (torch.bool, torch.uint8)
    masked = any(isinstance(value, Tensor) and value.dtype in masks for value in flat[1:])
    if name.startswith(("aten::index_put", "aten::_index_put_impl_")):
        return masked
    return any(tag in operator.tags for tag in READS) and (masked or not name.startswith("aten::index"))


def is_draw(value: Any) -> bool:
    """Whether this is a seed or an offset of attention's draws, which lie elsewhere while a graph is recorded."""
    return isinstance(value, Tensor) and value.dim() == 0 and value.dtype == torch.int64
