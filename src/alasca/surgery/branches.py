"""Branches: sub-classifiers that run in line, on what modules of a network return during its forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alasca.surgery.calls import first_tensor
from alasca.surgery.passes import borrowed_buffers


class Branch(nn.Module):
    """A sub-classifier and the hook that runs it in line, right after the module it is attached to."""

    def __init__(self, place: str, head: nn.Module, overwritten: bool, order: tuple[int, ...] | None) -> None:
        super().__init__()
        self.place = place
        self.head = head
        self.overwritten = overwritten
        self.order = order
        self.open = False
        self.padding: Tensor | None = None
        self.result: tuple[Tensor, Tensor] | None = None

    def see(self, module: nn.Module, inputs: tuple[Any, ...], value: object) -> None:
        """A forward hook. Closed, it runs only where activation checkpointing repeats a forward in backward."""
        feature = first_tensor(value)
        if not self.open:
            if self.training and feature is not None and torch._C._current_graph_task_id() != -1:
                with borrowed_buffers(self.head):
                    self._classify(feature)
            return
        if feature is None:
            raise TypeError(f"module {self.place!r} returned {type(value).__name__}, which holds no tensor")
        if self.result is not None:
            raise RuntimeError(f"module {self.place!r} ran twice in one forward; attach the sub-classifier elsewhere")
        self.result = self._classify(feature)

    def found(self) -> tuple[Tensor, Tensor]:
        """Logits and feature of the forward that ends."""
        if self.result is None:
            raise RuntimeError(
                f"module {self.place!r} did not run in this forward: name a place that runs in every one where it is "
                "skipped at random, and wrap a network before it is compiled"
            )
        return self.result

    def _classify(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        if self.order is not None:
            feature = feature.permute(self.order)
        if feature.dim() == 5:
            feature = feature.flatten(2).transpose(1, 2)
        logits, pooled = self.head(feature.clone() if self.overwritten else feature, self.padding)
        return logits, pooled


def require_rows(branches: Sequence[Branch], results: Sequence[tuple[Tensor, Tensor]], logits: Tensor) -> None:
    """Raise `ValueError` where a sub-classifier does not have a row a sample."""
    for branch, (found, _) in zip(branches, results, strict=True):
        if found.shape[0] != logits.shape[0]:  # `len` would fix the number of rows in exported programs
            raise ValueError(
                f"at: module {branch.place!r} gives {len(found)} rows for {len(logits)} samples, which are not one "
                "each; name another place"
            )


def require_gradient(branches: Sequence[Branch]) -> None:
    """Raise `RuntimeError` where sub-classifiers ran but can't learn, as inside reentrant checkpointing."""
    for branch in branches:
        if branch.training and torch.is_grad_enabled() and branch.result is not None:
            learns = any(parameter.requires_grad for parameter in branch.head.parameters())
            if learns and not branch.result[0].requires_grad:
                raise RuntimeError(
                    f"the sub-classifier after {branch.place!r} ran without gradient and would learn nothing: the "
                    "network runs that module under no_grad or in reentrant activation checkpointing; write "
                    "checkpoint(..., use_reentrant=False)"
                )


def of_kind(modules: nn.ModuleList) -> list[Branch]:
    """The branches of a list of modules."""
    return [branch for branch in modules if isinstance(branch, Branch)]
