"""Sub-classifiers: small heads that classify from an intermediate layer.

The bottleneck is the paper's (C.4, after the self-distillation work it cites, Zhang et al., 2019).
"""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from alasca.core import full_precision
from alasca.surgery.passes import borrowed_buffers

HEADS = ("bottleneck", "pooled", "linear")
FRONT = 4
"""Modules of a bottleneck that read a map at full resolution: 1x1 convolution, BatchNorm, ReLU, kxk convolution."""


class OneRow(nn.Module):
    """BatchNorm that takes its running statistics where a batch holds a single value a channel, with no spread."""

    def forward(self, x: Tensor) -> Tensor:
        """`x` normalised."""
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)  # type: ignore[arg-type]  # BatchNorm's own
        normalised: Tensor = super().forward(x)
        return normalised


class MapNorm(OneRow, nn.BatchNorm2d):
    """BatchNorm of maps."""


class VectorNorm(OneRow, nn.BatchNorm1d):
    """BatchNorm of vectors."""


def batch_norm(width: int, spatial: bool) -> nn.Module:
    """BatchNorm over maps or over vectors."""
    return MapNorm(width) if spatial else VectorNorm(width)


def vector_bottleneck(width: int, final_width: int) -> nn.Sequential:
    """The bottleneck on vectors: its 1x1 convolutions are linear layers, its kxk one is left out."""
    narrow = max(1, final_width // 4)
    return nn.Sequential(
        nn.Linear(width, narrow, bias=False), batch_norm(narrow, False), nn.ReLU(),
        nn.Linear(narrow, final_width, bias=False), batch_norm(final_width, False), nn.ReLU(),
    )  # fmt: skip


def map_bottleneck(width: int, final_width: int, stride: tuple[int, int]) -> nn.Sequential:
    """1x1 to a quarter of the final width, kxk of stride k to the final stage's size, 1x1 to the final width."""
    narrow = max(1, final_width // 4)
    return nn.Sequential(
        nn.Conv2d(width, narrow, 1, bias=False), batch_norm(narrow, True), nn.ReLU(),
        nn.Conv2d(narrow, narrow, stride, stride, bias=False), batch_norm(narrow, True), nn.ReLU(),
        nn.Conv2d(narrow, final_width, 1, bias=False), batch_norm(final_width, True), nn.ReLU(),
    )  # fmt: skip


def pool(feature: Tensor, padding: Tensor | None) -> Tensor:
    """Maps ``[B, C, H, W]``, sequences ``[B, T, D]`` and vectors to ``[B, D]``; padded positions do not count.

    Args:
        feature: the intermediate layer.
        padding: ``[B, T]``, True where a position is padding; read for sequences of that length only.
    """
    if feature.dim() == 4:
        return feature.mean((2, 3))
    if feature.dim() == 3:
        if padding is None or padding.shape != feature.shape[:2]:
            return feature.mean(1)
        kept = (~padding).to(feature.dtype)[..., None]
        return (feature * kept).sum(1) / kept.sum(1).clamp(min=1)
    return feature


class Pool(nn.Module):
    """No head: what a layer returns, pooled and in float32 at least, twice."""

    def forward(self, feature: Tensor, padding: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``[B, D]``, twice."""
        pooled = full_precision(pool(feature, padding))
        return pooled, pooled


class SubClassifier(nn.Module):
    """One head: a body, a pool and a linear layer.

    Args:
        shape: of the layer it reads, one sample's: ``(C, H, W)``, ``(T, D)`` or ``(D,)``.
        final_shape: of the network's last stage, likewise.
        num_classes: K.
        head: ``"bottleneck"`` (the paper's), ``"pooled"`` (the same after pooling) or ``"linear"`` (pool + linear).
    """

    def __init__(
        self, shape: tuple[int, ...], final_shape: tuple[int, ...], num_classes: int, head: str = "bottleneck"
    ) -> None:
        super().__init__()
        spatial = len(shape) == 3
        width = shape[0] if spatial else shape[-1]
        final_width = final_shape[0] if len(final_shape) == 3 else final_shape[-1]
        self.pool_first = head != "bottleneck" or not spatial
        self.least = (1, 1)
        self.recomputes = False
        self.body: nn.Module
        if head == "linear":
            self.body, final_width = nn.Identity(), width
        elif self.pool_first:
            self.body = vector_bottleneck(width, final_width)
        else:
            last = final_shape if len(final_shape) == 3 else (0, 1, 1)
            stride = max(1, shape[1] // last[1]), max(1, shape[2] // last[2])
            self.least = stride
            self.body = map_bottleneck(width, final_width, stride)
        self.classifier = nn.Linear(final_width, num_classes)

    def forward(self, feature: Tensor, padding: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits ``[B, K]`` and what the linear layer reads ``[B, D]``, both in float32 at least."""
        if not self.pool_first and (feature.shape[2] < self.least[0] or feature.shape[3] < self.least[1]):
            size = [max(side, least) for side, least in zip(feature.shape[2:], self.least, strict=True)]
            feature = F.interpolate(feature, size=size)  # a map smaller than the example's
        pooled = self.body(pool(feature, padding)) if self.pool_first else pool(self._map(feature), None)
        return full_precision(self.classifier(pooled)), full_precision(pooled)

    def _map(self, feature: Tensor) -> Tensor:
        """The bottleneck of a map; what it makes at full resolution may be made again in backward, and not kept."""
        assert isinstance(self.body, nn.Sequential)
        if not (self.recomputes and self.training and torch.is_grad_enabled()):
            whole: Tensor = self.body(feature)
            return whole
        front, tail = self.body[:FRONT], self.body[FRONT:]
        small = checkpoint(
            front, feature, use_reentrant=False, preserve_rng_state=False,
            context_fn=lambda: (contextlib.nullcontext(), borrowed_buffers(front)),
        )  # fmt: skip
        found: Tensor = tail(small)
        return found


def recompute_maps(net: nn.Module, recomputes: bool) -> None:
    """Whether bottlenecks make their full-resolution maps again in backward: less memory for a 1x1 convolution more.

    Numbers are the same, bit for bit, and BatchNorm moves once.
    """
    for module in net.modules():
        if isinstance(module, SubClassifier):
            module.recomputes = recomputes


def build_heads(
    shapes: list[tuple[int, ...]], final_shape: tuple[int, ...], num_classes: int, head: str, seed: int
) -> list[SubClassifier]:
    """One head a shape, initialised from `seed` without shifting the default random state."""
    if head not in HEADS:
        raise ValueError(f"head: {head!r}, expected one of {', '.join(HEADS)}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return [SubClassifier(shape, final_shape, num_classes, head) for shape in shapes]
