"""The stream of batches: order and views are functions of (seed, stage, epoch, phase, stream, pass, sample)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from alasca.core import Batch, Phase, Stream
from alasca.data.pool import Pool
from alasca.data.samples import Samples
from alasca.data.seeds import fold, generator, uniform
from alasca.distributed import share, world
from alasca.errors import InputError


@dataclass(frozen=True)
class Chosen:
    """What one stream brings in one step, before it is read: positions, weights ``[B]``, the seed of its views."""

    index: Tensor
    weight: Tensor
    seed: int


class Loader:
    """Batches of a training set, on the training device.

    The first stream of a phase sets the number of steps; the others start again with a new order when they run
    out, but streams that only a wrapper sees spread over the phase. Every batch is full: ``floor(n / B)`` a pass, the
    remainder rests this epoch; fewer than B samples make one batch, repeated where that is not two rows a process.
    Under torchrun each process takes its own rows of every batch. Which samples a step brings is known before they
    are needed, so that those in files are read ahead.

    Args:
        samples: the training set.
        pool: what a stream without an index draws from.
        batch_size: B, over all processes.
        seed: the run's.
        augment: the view that is made where a method asks for a weak one.
        class_weight: weight of a sample of each class ``[K]``, where a stream has no weights of its own; None: 1.
    """

    def __init__(
        self, samples: Samples, pool: Pool, batch_size: int, seed: int, augment: str = "weak",
        class_weight: Tensor | None = None,
    ) -> None:  # fmt: skip
        self.samples = samples
        self.pool = pool
        self.batch_size = batch_size
        self.seed = seed
        self.augment = augment
        self.class_weight = class_weight

    def steps(self, phase: Phase) -> int:
        """Steps of a phase."""
        stream = next(iter(phase.streams.values()))
        return self._passes(self.pool_size if stream.index is None else len(stream.index), stream.batch)[1]

    def batches(self, phase: Phase, where: tuple[int, int, int], start: int = 0) -> Iterator[dict[str, Batch]]:
        """Batches of each stream, from step `start` on.

        Args:
            phase: the phase.
            where: (stage, epoch, number of the phase in its epoch).
            start: steps to leave out; the rest is as it would have been.
        """
        planned, coming = itertools.tee(self._planned(phase, where, start))
        read = self.samples.read(torch.cat([chosen.index for chosen in step.values()]) for step in coming)
        for step, values in zip(planned, read, strict=True):
            parts = torch.split(values, [len(chosen.index) for chosen in step.values()])
            yield {
                name: self._batch(phase.streams[name].views, *self._sound(chosen, part))
                for (name, chosen), part in zip(step.items(), parts, strict=True)
            }

    def _sound(self, chosen: Chosen, values: Tensor) -> tuple[Chosen, Tensor]:
        """The same rows, where one that could not be read is stood in for by another of the batch.

        Raises:
            InputError: none could be read.
        """
        sound = self.samples.sound(chosen.index)
        if sound is None or bool(sound.all()):
            return chosen, values
        kept = sound.nonzero()[:, 0]
        if not len(kept):
            raise InputError(
                "data: not one picture of a step can be read any more; are the files still there? Once they are, go on "
                "with: alasca resume"
            )
        rows = torch.where(sound, torch.arange(len(sound)), kept[torch.arange(len(sound)) % len(kept)])
        stood_in = replace(chosen, index=chosen.index[rows], weight=chosen.weight[rows])
        return stood_in, values[rows.to(values.device)]

    def _planned(self, phase: Phase, where: tuple[int, int, int], start: int) -> Iterator[dict[str, Chosen]]:
        """What each step brings."""
        orders: dict[tuple[str, int], Tensor] = {}
        total = self.steps(phase)
        streams = {name: self._held(stream, where) for name, stream in phase.streams.items()}
        streams |= {name: spread(streams[name], total) for name in phase.observe}
        partners = {name: Partners(held(s), self.labels) for name, s in streams.items() if s.follows is not None}
        for step in range(start, total):
            found: dict[str, Chosen] = {}
            for name, stream in streams.items():
                size, steps = self._passes(len(held(stream)), stream.batch)
                turn, place = divmod(step, steps)
                seed = fold(self.seed, *where, name, stream.draw, turn)
                if stream.follows is not None:
                    index = partners[name].of(found[stream.follows].index, fold(seed, "partner"))
                    found[name] = Chosen(index, torch.ones(len(index)), seed)
                    continue
                if (name, turn) not in orders:
                    orders = {key: order for key, order in orders.items() if key[0] != name}
                    order = torch.randperm(len(held(stream)), generator=generator(seed, "order"))
                    orders[name, turn] = order.repeat(-(-size // len(order)))
                rows = orders[name, turn][place * size : (place + 1) * size][share(size)]
                index = held(stream)[rows]
                weight = self._by_class(index) if stream.weight is None else stream.weight[rows]
                found[name] = Chosen(index, weight, seed)
            yield found

    def _by_class(self, index: Tensor) -> Tensor:
        """Weights of samples that have none of their own ``[B]``."""
        if self.class_weight is None:
            return torch.ones(len(index))
        return self.class_weight[self.labels[index]]

    def _held(self, stream: Stream, where: tuple[int, int, int]) -> Stream:
        """The same stream with its index and weights where orders are drawn, so that no step waits for a device."""
        index = self.pool.draw(where[0], where[1], stream.draw) if stream.index is None else stream.index.cpu()
        return replace(stream, index=index, weight=None if stream.weight is None else stream.weight.cpu())

    def _passes(self, count: int, batch: int | None) -> tuple[int, int]:
        """Batch size and steps of one pass over so many samples."""
        size = batch or self.batch_size
        if not count:
            raise ValueError("a stream without samples: a method's plan must leave it out")
        if count >= size:
            return size, count // size
        return max(count - count % world()[1], min(2 * world()[1], size)), 1

    def _batch(self, names: tuple[str, ...], chosen: Chosen, values: Tensor) -> Batch:
        device = self.samples.labels.device
        index, weight = chosen.index.to(device), chosen.weight.to(device, torch.float32)
        views = tuple(
            self.samples.transform.view(
                values, self.augment if name == "weak" else name, index, fold(chosen.seed, "view", place)
            )
            for place, name in enumerate(names)
        )
        return Batch(views, self.samples.labels[index], index, weight)

    @cached_property
    def labels(self) -> Tensor:
        """Given labels where orders are drawn."""
        return self.samples.labels.cpu()

    @cached_property
    def pool_size(self) -> int:
        """Samples of an epoch: the same in each."""
        return len(self.pool.draw(0, 0))


class Partners:
    """For any sample a random one of a pool with the same given label."""

    def __init__(self, pool: Tensor, labels: Tensor) -> None:
        self.labels = labels
        ordered, order = labels[pool].sort(stable=True)
        self.members = pool[order]
        self.counts = ordered.bincount(minlength=int(labels.max()) + 1)
        self.starts = self.counts.cumsum(0) - self.counts

    def of(self, index: Tensor, seed: int) -> Tensor:
        """A partner of each sample at `index` ``[B]``; itself where the pool has none of its class."""
        label = self.labels[index]
        count = self.counts[label]
        chosen = self.starts[label] + (uniform(seed, index, 1)[:, 0] * count).long()
        return torch.where(count > 0, self.members[chosen.clamp(max=len(self.members) - 1)], index)


def held(stream: Stream) -> Tensor:
    """The index of a stream that has one."""
    assert stream.index is not None
    return stream.index


def spread(stream: Stream, steps: int) -> Stream:
    """The same stream in batches that bring each of its samples once in so many steps."""
    size = len(held(stream)) // steps
    return replace(stream, batch=max(size - size % world()[1], 2 * world()[1]))
