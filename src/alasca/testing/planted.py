"""A small problem for the laws: 64 planted pictures, a network with BatchNorm and dropout, short runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from alasca.core import Method
from alasca.data.samples import Samples
from alasca.engine import Data, Progress, Trainer, Training

CLASSES, SAMPLES, BATCH = 4, 64, 16


class LawNet(nn.Module):
    """Two stages of convolution, BatchNorm and ReLU, dropout, a linear layer."""

    def __init__(self, stateful: bool = True) -> None:
        super().__init__()
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d if stateful else lambda width: nn.Identity()
        self.stage1 = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), norm(8), nn.ReLU())
        self.stage2 = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), norm(16), nn.ReLU())
        self.dropout = nn.Dropout(0.1 if stateful else 0.0)
        self.classifier = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 3, 8, 8]`` to ``[B, 4]``."""
        logits: Tensor = self.classifier(self.dropout(self.stage2(self.stage1(x)).mean((2, 3))))
        return logits


def planted(noise: int = 0) -> Data:
    """64 pictures of 4 classes that differ by a bright quarter; the first `noise` labels are wrong."""
    draw = torch.Generator().manual_seed(0)
    true = torch.arange(SAMPLES) % CLASSES
    pictures = torch.randint(0, 120, (SAMPLES, 3, 8, 8), generator=draw)
    for k, label in enumerate(true.tolist()):
        top, left = 4 * (label // 2), 4 * (label % 2)
        pictures[k, :, top : top + 4, left : left + 4] += 100
    given = true.clone()
    given[:noise] = (given[:noise] + 1) % CLASSES
    train = Samples(pictures.to(torch.uint8), given, shift=1).with_statistics()
    return Data(train, CLASSES, replace(train, labels=true), replace(train, labels=true), true)


def settings(epochs: int, **changes: Any) -> Training:
    """Small settings for the laws, on the CPU."""
    return Training(epochs=epochs, batch_size=BATCH, lr=0.1, device="cpu", checkpoint_seconds=1e9, **changes)


def trainer(method: Method, data: Data, training: Training, **changes: Any) -> Trainer:
    """A trainer over `LawNet`."""
    parts: dict[str, Any] = {"run": None, "progress": Progress(), "title": "", "stop_after": None, "net": LawNet}
    parts |= changes
    make = parts.pop("net")
    return Trainer(method, make, data, training, **parts)


def trained(method: Method, data: Data, training: Training, **changes: Any) -> Trainer:
    """The same after `fit`."""
    made = trainer(method, data, training, **changes)
    made.fit(resume=False)
    return made
