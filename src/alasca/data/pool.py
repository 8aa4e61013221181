"""The samples that an epoch draws its batches from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from alasca.data.balance import place_in_class
from alasca.data.seeds import fold, generator


@dataclass(frozen=True)
class Pool:
    """Positions of a training set: the same every epoch, or a class-balanced part drawn anew.

    Attributes:
        index: positions that may be drawn ``[M]``, int64, on the CPU.
        labels: given labels of the whole training set ``[N]``, on the CPU; read where `size` is set.
        size: samples of an epoch; None: all of `index`.
        seed: the run's.
    """

    index: Tensor
    labels: Tensor | None = None
    size: int | None = None
    seed: int = 0

    def draw(self, stage: int, epoch: int, draw: int = 0) -> Tensor:
        """The positions of an epoch, or of an independent draw in it.

        Walking through a random order, a sample is taken while its class has fewer than ``size / K`` (Clothing1M's
        published loaders), so that a class with fewer samples than that gives all it has.
        """
        if self.size is None or self.labels is None:
            return self.index
        order = self.index[torch.randperm(len(self.index), generator=generator(fold(self.seed, stage, epoch), draw))]
        labels = self.labels[order]
        classes = int((labels.bincount() > 0).sum())
        return order[place_in_class(labels) < max(1, self.size // classes)]

    def part(self, index: Tensor) -> Pool:
        """The same pool without what is not in `index`."""
        return replace(self, index=self.index[torch.isin(self.index, index)])
