"""Samples and their given labels, on the training device or read when needed, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import torch
from torch import Tensor

from alasca.data.rows import CHUNK, Rows
from alasca.data.text import Texts
from alasca.data.transform import Transform

Kind = TypeVar("Kind", bound=Tensor | Rows | Texts)
MEASURED = 50_000
"""Samples that statistics are measured on, at most."""


@dataclass(frozen=True)
class Samples:
    """Inputs and given labels, with all that turns them into views.

    Attributes:
        inputs: pictures ``[N, C, H, W]`` uint8, rows of numbers ``[N, D]`` float32, or token ids ``[N, T]`` int64: a
            tensor on the training device, or `Rows` that are read when they are needed.
        labels: given labels ``[N]``, int64.
        transform: how they are shown.
    """

    inputs: Tensor | Rows
    labels: Tensor
    transform: Transform

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Samples:
        """The same samples on a device."""
        return Samples(self.inputs.to(device), self.labels.to(device), self.transform.to(device))

    def take(self, rows: Tensor) -> Samples:
        """Some of the samples."""
        return replace(self, inputs=subset(self.inputs, rows), labels=self.labels[rows])

    def fitted(self, rows: Tensor | None = None) -> Samples:
        """The same samples with mean and standard deviation measured on some of them.

        Args:
            rows: positions of those that are measured, evenly spread ones where there are very many; None: all.
        """
        pictures = self.transform.kind == "pictures"
        if self.transform.kind == "texts":
            return self
        rows = torch.arange(len(self)) if rows is None else rows
        rows = rows[:: max(1, len(rows) // MEASURED)]
        over = (0, 2, 3) if pictures else (0,)
        origin = total = squares = torch.zeros((), dtype=torch.float64)
        count = 0
        for values in self.read(torch.split(rows, CHUNK)):
            exact = values.cpu().double() / (255 if pictures else 1)
            if not count:  # moments around about the mean lose no digits
                origin = exact.mean(over, keepdim=True)
            away = exact - origin
            total, squares = total + away.sum(over), squares + away.square().sum(over)
            count += exact.numel() // exact.shape[1]
        mean = total / count
        std = (squares / count - mean.square()).clamp(min=0).sqrt()
        mean = mean + origin.flatten()
        transform = replace(self.transform, mean=mean.float(), std=torch.where(std > 1e-6, std, 1).float())
        return replace(self, transform=transform)

    def read(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """The inputs of each batch of positions as they are kept, read ahead where they come from files."""
        if isinstance(self.inputs, Tensor):
            return (self.inputs[rows.to(self.inputs.device)] for rows in batches)
        return self.inputs.read(batches)

    def sound(self, rows: Tensor) -> Tensor | None:
        """Whether each of some samples ``[B]`` could be read when it was needed; None where all could."""
        return None if isinstance(self.inputs, Tensor) else self.inputs.sound(rows)

    def view(self, name: str, rows: Tensor, seed: int = 0) -> Tensor:
        """One view of some samples, as the network reads them; see `Transform.view`."""
        return self.transform.view(self.inputs[rows], name, rows, seed)


def subset(inputs: Kind, rows: Tensor) -> Kind:
    """Some of the inputs, unread ones still unread."""
    return cast(Kind, inputs[rows] if isinstance(inputs, Tensor) else inputs.subset(rows))
