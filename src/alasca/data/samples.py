"""Samples and their views: pictures as bytes, numbers as floats, on the training device or read when needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import torch
from torch import Tensor

from alasca.core import InputError
from alasca.data.rows import CHUNK, Rows
from alasca.data.seeds import fold
from alasca.data.text import Texts
from alasca.data.views import VIEWS, centre_crop, crop_and_flip, cutout, randaugment

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
        mean, std: of the training set, a channel or a column; None for token ids.
        shift: pixels a weak view may shift a picture by.
        flip: whether a weak view may mirror a picture.
        crop: side of the part of a picture that a view shows: its middle, or in a weak view any; None: all of it.
    """

    inputs: Tensor | Rows
    labels: Tensor
    mean: Tensor | None = None
    std: Tensor | None = None
    shift: int = 0
    flip: bool = False
    crop: int | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pictures(self) -> bool:
        """Whether the inputs are pictures."""
        return self.inputs.dtype == torch.uint8

    def to(self, device: torch.device) -> Samples:
        """The same samples on a device."""
        mean = None if self.mean is None else self.mean.to(device)
        std = None if self.std is None else self.std.to(device)
        return replace(self, inputs=self.inputs.to(device), labels=self.labels.to(device), mean=mean, std=std)

    def take(self, rows: Tensor) -> Samples:
        """Some of the samples, with the same statistics."""
        return replace(self, inputs=subset(self.inputs, rows), labels=self.labels[rows])

    def with_statistics(self, usable: Tensor | None = None) -> Samples:
        """The same samples with `mean` and `std` measured on them, evenly spread ones where there are very many.

        Args:
            usable: positions of those that can be read; None: all.
        """
        if self.inputs.dtype == torch.int64:
            return self
        rows = torch.arange(len(self)) if usable is None else usable
        rows = rows[:: max(1, len(rows) // MEASURED)]
        over = (0, 2, 3) if self.pictures else (0,)
        origin = total = squares = torch.zeros((), dtype=torch.float64)
        count = 0
        for values in self.read(torch.split(rows, CHUNK)):
            exact = values.cpu().double() / (255 if self.pictures else 1)
            if not count:  # moments around about the mean lose no digits
                origin = exact.mean(over, keepdim=True)
            away = exact - origin
            total, squares = total + away.sum(over), squares + away.square().sum(over)
            count += exact.numel() // exact.shape[1]
        mean = total / count
        std = (squares / count - mean.square()).clamp(min=0).sqrt()
        mean = mean + origin.flatten()
        return replace(self, mean=mean.float(), std=torch.where(std > 1e-6, std, 1).float())

    def read(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """The inputs of each batch of positions as they are kept, read ahead where they come from files."""
        if isinstance(self.inputs, Tensor):
            return (self.inputs[rows.to(self.inputs.device)] for rows in batches)
        return self.inputs.read(batches)

    def sound(self, rows: Tensor) -> Tensor | None:
        """Whether each of some samples ``[B]`` could be read when it was needed; None where all could."""
        return None if isinstance(self.inputs, Tensor) else self.inputs.sound(rows)

    def view(self, name: str, rows: Tensor, seed: int = 0) -> Tensor:
        """One view of some samples, as the network reads them; see `view_of`."""
        return self.view_of(self.inputs[rows], name, rows, seed)

    def view_of(self, values: Tensor, name: str, rows: Tensor, seed: int = 0) -> Tensor:
        """One view of inputs that were read.

        Args:
            values: the inputs at `rows`, as they are kept.
            name: ``"plain"``, ``"weak"`` (pictures: shift and flip) or ``"strong"`` (pictures: weak, then two
                RandAugment-style operations and Cutout). Numbers and token ids have the plain view only, under
                any name.
            rows: positions ``[B]``.
            seed: of the draws, which each sample has of its own.
        """
        if name not in VIEWS:
            raise InputError(f"view: {name!r}, expected one of {', '.join(VIEWS)}")
        if self.pictures:
            if name == "plain":
                values = centre_crop(values, self.crop)
            else:
                values = crop_and_flip(values, self.crop, self.shift, self.flip, seed, rows)
            values = values.float() / 255
            if name == "strong":
                values = randaugment(values, 2, 0.6, fold(seed, "ops"), rows)
                values = cutout(values, max(1, values.shape[-1] // 4), fold(seed, "cut"), rows)
        if self.mean is None or self.std is None:
            return values
        shape = (1, -1, 1, 1) if self.pictures else (1, -1)
        return (values - self.mean.view(shape)) / self.std.view(shape)


def subset(inputs: Kind, rows: Tensor) -> Kind:
    """Some of the inputs, unread ones still unread."""
    return cast(Kind, inputs[rows] if isinstance(inputs, Tensor) else inputs.subset(rows))
