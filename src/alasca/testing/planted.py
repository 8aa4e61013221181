"""A small problem for the laws: 64 planted pictures, a network with BatchNorm and dropout, short runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alasca.core import Method
from alasca.data import Samples, Split, Transform
from alasca.engine import Job, Trainer
from alasca.recipe import Place, Recipe
from alasca.runs import RunFolder

CLASSES, SAMPLES, HELD, BATCH = 4, 64, 16, 16


def kept_in(path: Path) -> RunFolder:
    """A folder for checkpoints and metrics, which belongs to no run."""
    path.mkdir(parents=True, exist_ok=True)
    return RunFolder(path)


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


def planted(noise: int = 0, held: int = 0) -> Split:
    """64 pictures of 4 classes that differ by a bright quarter, and their true labels; the first `noise` are wrong.

    Args:
        noise: wrong labels.
        held: how many further pictures are held out.
    """
    draw = torch.Generator().manual_seed(0)
    true = torch.arange(SAMPLES + held) % CLASSES
    pictures = torch.randint(0, 120, (SAMPLES, 3, 8, 8), generator=draw)
    pictures = torch.cat([pictures, torch.randint(0, 120, (held, 3, 8, 8), generator=draw)])
    for k, label in enumerate(true.tolist()):
        top, left = 4 * (label // 2), 4 * (label % 2)
        pictures[k, :, top : top + 4, left : left + 4] += 100
    given = true.clone()
    given[:noise] = (given[:noise] + 1) % CLASSES
    everything = torch.arange(SAMPLES + held)
    samples = Samples(pictures.to(torch.uint8), given, Transform("pictures", shift=1)).fitted(everything[:SAMPLES])
    test = replace(samples.take(everything[:SAMPLES]), labels=true[:SAMPLES])
    ids = tuple(map(str, everything.tolist()))
    return Split(samples, CLASSES, everything[:SAMPLES], everything[SAMPLES:] if held else None, test, true, ids=ids)


def settings(epochs: int, **changes: Any) -> Recipe:
    """A small recipe for the laws."""
    return Recipe(**{"epochs": epochs, "batch_size": BATCH, "lr": 0.1, **changes})


def job(method: Method, split: Split, recipe: Recipe, net: Callable[[], nn.Module] = LawNet, **place: Any) -> Job:
    """What a run over `LawNet` is made of, on the CPU."""
    return Job(method, net, split, recipe, Place(**{"device": "cpu", "checkpoint_seconds": 1e9, **place}))


def trainer(method: Method, split: Split, recipe: Recipe, **changes: Any) -> Trainer:
    """A trainer over `LawNet`; `net` makes another network, and what `Trainer` takes may be given too."""
    parts = {name: changes.pop(name) for name in ("run", "progress", "stop_after", "graph") if name in changes}
    return Trainer(job(method, split, recipe, **changes), **parts)


def trained(method: Method, split: Split, recipe: Recipe, **changes: Any) -> Trainer:
    """The same after `fit`."""
    made = trainer(method, split, recipe, **changes)
    made.fit(resume=False)
    return made
