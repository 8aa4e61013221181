"""The stream of batches: order and views are functions of (seed, stage, epoch, phase, stream, pass, sample)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from alasca.core import Batch, Phase, Stream
from alasca.data.samples import Samples
from alasca.data.seeds import fold, generator, uniform
from alasca.distributed import share, world


class Loader:
    """Batches of a training set in memory, on the training device.

    The first stream of a phase sets the number of steps; the others start again with a new order when they run
    out, but streams that only a wrapper sees spread over the phase. Every batch is full: ``floor(n / B)`` a pass, the
    remainder rests this epoch; fewer than B samples make one batch, repeated where that is not two rows a process.
    Under torchrun each process takes its own rows of every batch.

    Args:
        samples: the training set.
        pool: positions that a stream without an index draws from ``[M]``.
        batch_size: B, over all processes.
        seed: the run's.
    """

    def __init__(self, samples: Samples, pool: Tensor, batch_size: int, seed: int) -> None:
        self.samples = samples
        self.pool = pool.cpu()
        self.batch_size = batch_size
        self.seed = seed

    def steps(self, phase: Phase) -> int:
        """Steps of a phase."""
        return self._passes(next(iter(phase.streams.values())))[1]

    def batches(self, phase: Phase, where: tuple[int, int, int], start: int = 0) -> Iterator[dict[str, Batch]]:
        """Batches of each stream, from step `start` on.

        Args:
            phase: the phase.
            where: (stage, epoch, number of the phase in its epoch).
            start: steps to leave out; the rest is as it would have been.
        """
        orders: dict[tuple[str, int], Tensor] = {}
        total = self.steps(phase)
        streams = {name: self._held(stream) for name, stream in phase.streams.items()}
        streams |= {name: self._spread(streams[name], total) for name in phase.observe}
        for step in range(start, total):
            found: dict[str, Batch] = {}
            for name, stream in streams.items():
                size, steps = self._passes(stream)
                turn, place = divmod(step, steps)
                seed = fold(self.seed, *where, name, stream.draw, turn)
                if (name, turn) not in orders:
                    orders = {key: order for key, order in orders.items() if key[0] != name}
                    order = torch.randperm(len(self._index(stream)), generator=generator(seed, "order"))
                    orders[name, turn] = order.repeat(-(-size // len(order)))
                rows = orders[name, turn][place * size : (place + 1) * size][share(size)]
                found[name] = self._batch(stream, rows, seed, found)
            yield found

    def _held(self, stream: Stream) -> Stream:
        """The same stream with its index and weights where orders are drawn, so that no step waits for a device."""
        weight = None if stream.weight is None else stream.weight.cpu()
        return replace(stream, index=self._index(stream).cpu(), weight=weight)

    def _spread(self, stream: Stream, steps: int) -> Stream:
        """The same stream in batches that bring each of its samples once in so many steps."""
        size = len(self._index(stream)) // steps
        return replace(stream, batch=max(size - size % world()[1], 2 * world()[1]))

    def _index(self, stream: Stream) -> Tensor:
        return self.pool if stream.index is None else stream.index

    def _passes(self, stream: Stream) -> tuple[int, int]:
        """Batch size and steps of one pass over a stream."""
        count, size = len(self._index(stream)), stream.batch or self.batch_size
        if not count:
            raise ValueError("a stream without samples: a method's plan must leave it out")
        if count >= size:
            return size, count // size
        return max(count - count % world()[1], min(2 * world()[1], size)), 1

    def _batch(self, stream: Stream, rows: Tensor, seed: int, found: dict[str, Batch]) -> Batch:
        device = self.samples.labels.device
        index = self._index(stream)[rows].to(device)
        weight = torch.ones(len(rows)) if stream.weight is None else stream.weight[rows]
        if stream.follows is not None:
            index = self._partners(self._index(stream).to(device), found[stream.follows], fold(seed, "partner"))
            weight = torch.ones(len(index))
        views = tuple(
            self.samples.view(name, index, fold(seed, "view", place)) for place, name in enumerate(stream.views)
        )
        return Batch(views, self.samples.labels[index], index, weight.to(device, torch.float32))

    def _partners(self, pool: Tensor, batch: Batch, seed: int) -> Tensor:
        """For each row a random sample of the pool with the same given label; itself where there is none."""
        same = self.samples.labels[pool] == batch.labels[:, None]
        chosen = (uniform(seed, batch.index, 1)[:, 0] * same.sum(1)).long()
        position = (same.cumsum(1) > chosen[:, None]).int().argmax(1)
        return torch.where(same.any(1), pool[position], batch.index)
