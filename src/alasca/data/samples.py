"""Samples in memory on the training device: pictures as bytes, numbers as floats, and their views."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from alasca.core import InputError
from alasca.data.seeds import fold
from alasca.data.views import VIEWS, cutout, randaugment, shift_and_flip


@dataclass(frozen=True)
class Samples:
    """Inputs and given labels, with all that turns them into views.

    Attributes:
        inputs: pictures ``[N, C, H, W]`` uint8, rows of numbers ``[N, D]`` float32, or token ids ``[N, T]`` int64.
        labels: given labels ``[N]``, int64.
        mean, std: of the training set, a channel or a column; None for token ids.
        shift: pixels a weak view may shift a picture by.
        flip: whether a weak view may mirror a picture.
    """

    inputs: Tensor
    labels: Tensor
    mean: Tensor | None = None
    std: Tensor | None = None
    shift: int = 0
    flip: bool = False

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
        return replace(self, inputs=self.inputs[rows], labels=self.labels[rows])

    def with_statistics(self) -> Samples:
        """The same samples with `mean` and `std` measured on them."""
        if self.inputs.dtype == torch.int64:
            return self
        values, over = self.inputs, (0, 2, 3) if self.pictures else (0,)
        values = values.double() / 255 if self.pictures else values.double()
        std = values.std(over, correction=0)
        return replace(self, mean=values.mean(over).float(), std=torch.where(std > 1e-6, std, 1).float())

    def view(self, name: str, rows: Tensor, seed: int = 0) -> Tensor:
        """One view of some samples, as the network reads them.

        Args:
            name: ``"plain"``, ``"weak"`` (pictures: shift and flip) or ``"strong"`` (pictures: weak, then two
                RandAugment-style operations and Cutout). Numbers and token ids have the plain view only, under
                any name.
            rows: positions ``[B]``.
            seed: of the draws, which each sample has of its own.
        """
        if name not in VIEWS:
            raise InputError(f"view: {name!r}, expected one of {', '.join(VIEWS)}")
        values = self.inputs[rows]
        if self.pictures:
            if name != "plain":
                values = shift_and_flip(values, self.shift, self.flip, seed, rows)
            values = values.float() / 255
            if name == "strong":
                values = randaugment(values, 2, 0.6, fold(seed, "ops"), rows)
                values = cutout(values, max(1, values.shape[-1] // 4), fold(seed, "cut"), rows)
        if self.mean is None or self.std is None:
            return values
        shape = (1, -1, 1, 1) if self.pictures else (1, -1)
        return (values - self.mean.view(shape)) / self.std.view(shape)
