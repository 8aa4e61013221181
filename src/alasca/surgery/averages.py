"""Averaged weights: a network that follows another."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from alasca.core import Net, backbone, full_precision
from alasca.surgery.calls import main_logits
from alasca.surgery.passes import quiet_batchnorm


class EmaWeights(nn.Module):
    """A copy of a plain network whose parameters follow it: ``w <- decay w + (1 - decay) w_trained``.

    Called, it gives logits without gradient, in training mode: by the batch's statistics. Its running ones are
    never read, and stay as they were.
    """

    updates: Tensor

    def __init__(self, net: nn.Module | Net) -> None:
        super().__init__()
        self.net = copy.deepcopy(backbone(net)).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64, device=next(net.parameters()).device))

    @torch.no_grad()
    def update(self, net: nn.Module, decay: Tensor) -> None:
        """Follow a plain network; `decay` is 0-dim, on its device."""
        for mine, theirs in zip(self.net.parameters(), net.parameters(), strict=True):
            mine.lerp_(theirs, (1 - decay).to(mine))
        self.updates += 1

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[B, K]``."""
        with quiet_batchnorm(self.net):
            return full_precision(main_logits(self.net.train()(inputs)))
