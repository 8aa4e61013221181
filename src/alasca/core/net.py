"""Networks as methods see them: called, they return an `Output`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def full_precision(tensor: Tensor) -> Tensor:
    """Raise half precision to float32; leave float32 and float64 as they are."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


class Output(NamedTuple):
    """What a network returns, in float32 at least.

    Attributes:
        logits: the main classifier's raw scores, ``[B, K]``.
        feature: what the classifier layer reads, ``[B, D]``; None where the network has no such layer.
        aux: the sub-classifiers' logits, shallow to deep, each ``[B, K]``.
        aux_features: what each sub-classifier's last layer reads, each ``[B, D_i]``.
        shown: pooled outputs ``[B, D]`` of the modules that a method asked to be shown.
    """

    logits: Tensor
    feature: Tensor | None = None
    aux: tuple[Tensor, ...] = ()
    aux_features: tuple[Tensor, ...] = ()
    shown: tuple[Tensor, ...] = ()

    def rows(self, rows: slice) -> Output:
        """The same output for some rows of the batch."""
        return self._map(lambda tensor: tensor[rows])

    def detach(self) -> Output:
        """The same output without its gradient history."""
        return self._map(Tensor.detach)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Output:
        return Output(
            change(self.logits),
            None if self.feature is None else change(self.feature),
            *(tuple(map(change, tensors)) for tensors in (self.aux, self.aux_features, self.shown)),
        )


class Net(Protocol):
    """A network in a method's hands, maybe inside DDP or compile: called with inputs, it returns an `Output`."""

    training: bool

    def __call__(self, *inputs: Any, **keywords: Any) -> Output:
        """The output for a batch."""

    def train(self, mode: bool = True) -> Any:
        """Into training mode or out of it."""

    def eval(self) -> Any:
        """Into eval mode."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """All parameters, those of sub-classifiers too."""

    def modules(self) -> Iterator[nn.Module]:
        """All modules."""


class Holder(nn.Module):
    """Holds a user's network as `backbone`, so that `core.backbone` can tell it from a network's own parts."""

    backbone: nn.Module


def backbone(net: nn.Module | Net) -> nn.Module:
    """The plain network inside DDP, compile and a holder.

    >>> backbone(nn.Linear(2, 2))
    Linear(in_features=2, out_features=2, bias=True)
    """
    inner = unwrapped(net)
    return unwrapped(inner.backbone) if isinstance(inner, Holder) else inner


def unwrapped(net: nn.Module | Net) -> nn.Module:
    """The network inside DDP and compile wrappers, with its sub-classifiers."""
    assert isinstance(net, nn.Module)
    inner: nn.Module = net
    while True:
        if isinstance(inner, DistributedDataParallel):
            inner = inner.module
        elif (compiled := inner._modules.get("_orig_mod")) is not None:
            inner = compiled
        else:
            return inner
