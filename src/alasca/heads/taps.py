"""Taps: what a module reads, and where in the graph its output was made, during the forward that is running."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from alasca.heads.survey import first_tensor


class Tap:
    """Holds what one module read."""

    def __init__(self) -> None:
        self.open = False
        self.value: Tensor | None = None

    def read(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """A forward pre-hook: keep the module's first input."""
        if self.open:
            self.value = first_tensor(inputs)


class EdgeTap:
    """Holds where in the graph one module's output was made, so that a later in-place operation does not matter."""

    def __init__(self) -> None:
        self.open = False
        self.edge: GradientEdge | None = None

    def see(self, module: nn.Module, inputs: tuple[Any, ...], value: object) -> None:
        """A forward hook: keep the edge of the module's first output."""
        output = first_tensor(value)
        if self.open and output is not None and output.requires_grad:
            self.edge = get_gradient_edge(output)


@contextlib.contextmanager
def opened(taps: dict[str, EdgeTap]) -> Iterator[dict[str, GradientEdge]]:
    """Open taps for the forwards of the block; afterwards the dict holds each module's last edge, by name.

    ``torch.autograd.grad(loss, list(edges.values()))`` then gives the gradients of the modules' outputs.
    """
    edges: dict[str, GradientEdge] = {}
    for tap in taps.values():
        tap.open = True
    try:
        yield edges
        edges.update({name: tap.edge for name, tap in taps.items() if tap.edge is not None})
    finally:
        for tap in taps.values():
            tap.open, tap.edge = False, None
