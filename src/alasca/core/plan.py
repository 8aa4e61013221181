"""How training is divided, where it stands, and what a method may look at between steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from alasca.core.net import Net, Output
from alasca.core.step import Batch


@dataclass(frozen=True, slots=True)
class Stream:
    """Samples that a phase draws its batches from.

    Attributes:
        index: positions of samples, int64; None is the epoch's pool.
        weight: ``weight[j]`` belongs to ``index[j]``; None is 1 for all.
        views: one name a view: ``"plain"``, ``"weak"``, ``"strong"``.
        follows: name of a stream whose classes this one matches row by row.
        draw: a number that makes an independent order and independent views.
        batch: batch size; None is the run's.
    """

    index: Tensor | None = None
    weight: Tensor | None = None
    views: tuple[str, ...] = ("weak",)
    follows: str | None = None
    draw: int = 0
    batch: int | None = None


class Phase(NamedTuple):
    """Which networks train, on which streams; streams in `observe` reach only a wrapper, each sample once."""

    train: tuple[int, ...]
    streams: Mapping[str, Stream]
    observe: tuple[str, ...] = ()


class Stage(NamedTuple):
    """`epochs` of training, with fresh networks or not, on a seeded class-balanced `part` of the data or all."""

    epochs: int
    fresh: bool = False
    part: float | None = None


class Clock(NamedTuple):
    """Where training stands, and what chance says there.

    Attributes:
        stage, epoch: count from 0, the epoch in its stage.
        epochs: of the stage.
        step: optimiser steps of the stage so far, a 0-dim int64 tensor: it changes within a phase, and so is never a
            number that a step may branch on.
        steps_per_epoch: optimiser steps of the epoch's phases; in `plan` and `end_stage`, those of one pass over the
            pool.
        draws: what `Method.draws` drew for this step.
    """

    stage: int
    epoch: int
    epochs: int
    step: Tensor
    steps_per_epoch: int
    draws: Mapping[str, Tensor] = MappingProxyType({})

    @classmethod
    def at(cls, stage: int, epoch: int, epochs: int, step: int = 0, steps_per_epoch: int = 1) -> Clock:
        """A clock from plain numbers."""
        return cls(stage, epoch, epochs, torch.tensor(step), steps_per_epoch)


@dataclass(frozen=True, slots=True)
class Problem:
    """What a method may know before training. No clean labels.

    Attributes:
        num_samples: rows of per-sample tables; indices run below it.
        num_classes: K.
        example: two rows of inputs as the network reads them, on the training device.
        epochs: epochs of the whole run.
        seed: the run's seed.
        batch_size: the run's, over all processes.
    """

    num_samples: int
    num_classes: int
    example: Tensor
    epochs: int
    seed: int
    batch_size: int = 64


class Probe(Protocol):
    """Looks at the training samples with plain views and the network in eval mode, without gradient."""

    index: Tensor
    """Positions of the samples that the probe covers ``[M]``: the epoch's pool."""
    labels: Tensor
    """Their given labels ``[M]``."""

    @property
    def rest(self) -> Probe | None:
        """The samples that a partial stage leaves out."""

    @property
    def holdout(self) -> Probe | None:
        """The held-out samples, with noisy labels only."""

    @property
    def best(self) -> Sequence[Net] | None:
        """The networks as they were after the epoch with the best accuracy on held-out noisy labels.

        None without held-out samples, before the first epoch has ended, and for methods without `uses_best`.
        """

    def __call__(self, net: Net, fn: Callable[[Output, Batch], Tensor]) -> Tensor:
        """``fn(output, batch)`` of every sample, concatenated: ``[M, ...]``, in the order of `index`."""

    def reduce(self, net: Net, fn: Callable[[Output, Batch], Tensor]) -> Tensor:
        """The sum of ``fn(output, batch)`` over all batches."""
