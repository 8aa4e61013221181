"""The stream of batches: order and views are functions of (seed, stage, epoch, phase, stream, pass, sample)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import attrgetter

import torch
from torch import Tensor

from alasca.core import Batch, Phase, Stream
from alasca.data.pool import Pool
from alasca.data.samples import Samples
from alasca.data.seeds import fold, generator, uniform
from alasca.distributed import share, world
from alasca.errors import InputError

MOST_ROWS = 8192
AT_ONCE = {"cuda": 128 << 20, "cpu": 4 << 20}
"""Bytes of views that are made together: a GPU is asked seldom, a processor keeps them in its caches."""


@dataclass(frozen=True)
class Chosen:
    """What one stream brings in one step, before it is read.

    Attributes:
        index, weight: positions and weights ``[B]``.
        seed: of its views.
        distinct: whether no position comes twice.
    """

    index: Tensor
    weight: Tensor
    seed: int
    distinct: bool


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
        each = self.steps_at_once(phase)
        begin = start - start % each
        planned, coming = itertools.tee(batched(self._planned(phase, where, begin), each))
        read = self.samples.read(
            torch.cat([s[name].index for name in phase.streams for s in steps]) for steps in coming
        )
        for first, (steps, values) in zip(itertools.count(begin, each), zip(planned, read, strict=True), strict=False):
            if values.is_cuda:
                values.record_stream(torch.cuda.current_stream(values.device))  # a thread may have copied them there
            yield from self._made(phase, steps, values)[max(0, start - first) :]

    def steps_at_once(self, phase: Phase) -> int:
        """Steps whose views are made together: few large operations in the place of many small ones.

        By shapes and device alone, and bounded in memory; samples that are read from files come one step at a time.
        """
        inputs = self.samples.inputs
        if not isinstance(inputs, Tensor):
            return 1
        rows = [
            self._passes(self.pool_size if s.index is None else len(s.index), s.batch)[0] * len(s.views)
            for s in phase.streams.values()
        ]
        room = AT_ONCE["cpu" if inputs.device.type == "cpu" else "cuda"] // (4 * inputs[:1].numel())
        return max(1, min(MOST_ROWS, room) // sum(rows))

    def _made(self, phase: Phase, steps: list[dict[str, Chosen]], values: Tensor) -> list[dict[str, Batch]]:
        """The batches of some successive steps, from the inputs of one stream after the other."""
        found: list[dict[str, Batch]] = [{} for _ in steps]
        start = 0
        for name, stream in phase.streams.items():
            batches = iter(found)
            for _, run in itertools.groupby((step[name] for step in steps), attrgetter("seed")):
                chosen = list(run)
                stop = start + sum(len(each.index) for each in chosen)
                whole = self._batch(stream.views, *self._sound(joined(chosen), values[start:stop]))
                for part, batch in zip(parts_of(whole, [len(each.index) for each in chosen]), batches, strict=False):
                    batch[name] = part
                start = stop
        return found

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
        stood_in = replace(chosen, index=chosen.index[rows], weight=chosen.weight[rows], distinct=False)
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
                    found[name] = Chosen(index, torch.ones(len(index)), seed, False)
                    continue
                if (name, turn) not in orders:
                    orders = {key: order for key, order in orders.items() if key[0] != name}
                    order = torch.randperm(len(held(stream)), generator=generator(seed, "order"))
                    orders[name, turn] = order.repeat(-(-size // len(order)))
                rows = orders[name, turn][place * size : (place + 1) * size][share(size)]
                index = held(stream)[rows]
                weight = self._by_class(index) if stream.weight is None else stream.weight[rows]
                found[name] = Chosen(index, weight, seed, size <= len(held(stream)))
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
        index, weight = moved(chosen.index, device), moved(chosen.weight.float(), device)
        views = tuple(
            self.samples.transform.view(
                values, self.augment if name == "weak" else name, index, fold(chosen.seed, "view", place)
            )
            for place, name in enumerate(names)
        )
        return Batch(views, self.samples.labels[index], index, weight, chosen.distinct)

    @cached_property
    def labels(self) -> Tensor:
        """Given labels where orders are drawn."""
        return self.samples.labels.cpu()

    @cached_property
    def pool_size(self) -> int:
        """Samples of an epoch: the same in each."""
        return len(self.pool.draw(0, 0))


def batched(steps: Iterator[dict[str, Chosen]], each: int) -> Iterator[list[dict[str, Chosen]]]:
    """The same steps in lists of `each`, the last one as long as it comes."""
    while some := list(itertools.islice(steps, each)):
        yield some


def moved(value: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device; a GPU copies it when it comes to that, and nobody waits."""
    return value.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else value.to(device)


def joined(chosen: Sequence[Chosen]) -> Chosen:
    """What several steps bring of one stream, as if it were one."""
    if len(chosen) == 1:
        return chosen[0]
    index, weight = torch.cat([each.index for each in chosen]), torch.cat([each.weight for each in chosen])
    return replace(chosen[0], index=index, weight=weight)


def parts_of(batch: Batch, sizes: list[int]) -> Iterator[Batch]:
    """A batch cut into smaller ones."""
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        # kernels are chosen by how memory is aligned too: on a GPU each step has memory of its own
        views = tuple(view[rows].clone() if view.is_cuda else view[rows] for view in batch.views)
        yield replace(batch, views=views, labels=batch.labels[rows], index=batch.index[rows], weight=batch.weight[rows])
        start += size


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
