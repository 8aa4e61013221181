"""Taps: what a module reads, and where in the graph its output was made, during the forward that is running."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.modules.batchnorm import _BatchNorm

from alasca.surgery.calls import first_tensor


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


def hidden_gradients(
    net: nn.Module, edges: dict[str, GradientEdge], loss: Tensor
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Gradients of a loss at tapped modules' outputs, with a graph of their own, and a factor for each one's channels.

    For a BatchNorm layer gradient times factor (its affine scale) is the gradient *before* its affine map; for other
    modules the factor is None. Modules that the loss does not depend on are left out.
    """
    found = torch.autograd.grad(loss, list(edges.values()), create_graph=True, allow_unused=True)
    gradients: list[Tensor] = []
    factors: list[Tensor | None] = []
    for name, gradient in zip(edges, found, strict=True):
        if gradient is not None:
            module = net.get_submodule(name)
            gradients.append(gradient)
            factors.append(module.weight if isinstance(module, _BatchNorm) else None)
    return gradients, factors
