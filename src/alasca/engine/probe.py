"""Looking at samples without training: the probe that methods plan with, and accuracy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alasca.core import Batch, Method, Net, Output, unwrapped
from alasca.data import Pool, Samples, Split
from alasca.data.balance import balanced_part
from alasca.data.seeds import fold
from alasca.distributed import sum_over_ranks, world
from alasca.stores import Trace, visit_of

ROWS, BYTES = (64, 4096), 12 << 20
"""Samples that are looked at together: by the size of a view, so that methods plan alike wherever they run."""
TEXTS = 512
"""The same of texts, whose size says little of what a network makes of them."""


@contextlib.contextmanager
def evaluating(nets: Sequence[nn.Module]) -> Iterator[None]:
    """Eval mode and no gradient, then every mode as before."""
    modes = {module: module.training for net in nets for module in net.modules()}
    for net in nets:
        net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


class SampleProbe:
    """`alasca.core.Probe` over some positions of a training set; processes share the work.

    Args:
        samples: the training set, or the held-out one.
        index: positions that are covered ``[M]``.
        rest, holdout: further probes.
        best: makes the best networks so far, or None.
    """

    def __init__(
        self,
        samples: Samples,
        index: Tensor,
        rest: SampleProbe | None = None,
        holdout: SampleProbe | None = None,
        best: Callable[[], Sequence[Any] | None] = lambda: None,
    ) -> None:
        self.samples = samples
        self.index = index.to(samples.labels.device)
        self.labels = samples.labels[self.index]
        self._rest = rest
        self._holdout = holdout
        self._best = best

    @property
    def rest(self) -> SampleProbe | None:
        """The samples that a partial stage leaves out."""
        return self._rest

    @property
    def holdout(self) -> SampleProbe | None:
        """The held-out samples, with noisy labels only."""
        return self._holdout

    @property
    def best(self) -> Sequence[Any] | None:
        """The networks of the epoch so far that was best on held-out noisy labels, or None."""
        return self._best()

    def __call__(self, net: nn.Module | Net, fn: Callable[[Output, Batch], Tensor]) -> Tensor:
        """``fn(output, batch)`` of every sample, in the order of `index`."""
        found: Tensor | None = None
        for start, value in self._each(net, fn):
            if found is None:
                found = value.new_zeros((len(self.index), *value.shape[1:]))
            found[start : start + len(value)] = value
        if found is None:  # no sample for this process: only the shape of a value is needed
            value = self._first(net, fn)
            found = value.new_zeros((len(self.index), *value.shape[1:]))
        return sum_over_ranks(found)

    def reduce(self, net: nn.Module | Net, fn: Callable[[Output, Batch], Tensor]) -> Tensor:
        """The sum of ``fn(output, batch)`` over all batches."""
        total: Tensor | None = None
        for _, value in self._each(net, fn):
            total = value.clone() if total is None else total.add_(value)
        return sum_over_ranks(0 * self._first(net, fn) if total is None else total)

    def _each(self, net: nn.Module | Net, fn: Callable[[Output, Batch], Tensor]) -> Iterator[tuple[int, Tensor]]:
        """This process's batches: the position of the first row and the value."""
        rank, size = world()
        each = min(rows_at_once(self.samples), max(1, len(self.index) // size))
        starts = range(rank * each, len(self.index), size * each)
        batches = [self.index[start : start + each] for start in starts]
        for start, rows, inputs in zip(starts, batches, self.samples.read(batches), strict=True):
            yield start, self._value(net, fn, rows, inputs)

    def _first(self, net: nn.Module | Net, fn: Callable[[Output, Batch], Tensor]) -> Tensor:
        """The value of one sample."""
        rows = self.index[:1]
        return self._value(net, fn, rows, self.samples.inputs[rows])

    def _value(
        self, net: nn.Module | Net, fn: Callable[[Output, Batch], Tensor], rows: Tensor, inputs: Tensor
    ) -> Tensor:
        plain = unwrapped(net)
        view = self.samples.transform.view(inputs, "plain", rows)
        batch = Batch((view,), self.samples.labels[rows], rows, torch.ones(len(rows), device=rows.device))
        with evaluating([plain]):
            return fn(plain(view), batch)


def rows_at_once(samples: Samples) -> int:
    """How many samples are looked at together.

    >>> from alasca.data import Transform
    >>> rows_at_once(Samples(torch.zeros(9, 3, 32, 32, dtype=torch.uint8), torch.arange(9), Transform("pictures")))
    1024
    """
    if samples.transform.kind == "texts":
        return TEXTS
    return min(max(BYTES // (4 * samples.inputs.shape[1:].numel()), ROWS[0]), ROWS[1])


def parts(split: Split, share: float | None, seed: int, stage: int) -> tuple[Pool, SampleProbe | None]:
    """What a stage's epochs draw from, and a probe of what a partial stage leaves out."""
    pool = split.pool(seed)
    if share is None:
        return pool, None
    labels = split.samples.labels.cpu()[pool.index]
    part = pool.index[balanced_part(labels, round(share * len(labels)), fold(seed, stage))]
    return pool.part(part), SampleProbe(split.samples, pool.index[~torch.isin(pool.index, part)])


def see_the_unseen(trace: Trace, nets: Sequence[nn.Module], probe: SampleProbe) -> None:
    """Look at what no step has seen of the epoch's pool and of what a partial stage leaves out of it.

    So every epoch sees every sample.
    """
    pool = probe.index if probe.rest is None else torch.cat([probe.index, probe.rest.index])
    index = pool[~trace.fresh[pool]]
    if not len(index):
        return
    unseen = SampleProbe(probe.samples, index)
    for net in nets:
        trace.add(index, unseen(net, lambda output, batch: visit_of(output, batch.labels)), unseen.labels)


def predictions(
    method: Method, nets: Sequence[nn.Module], samples: Samples, rows: Tensor | None = None, only: str | None = None
) -> dict[str, Tensor]:
    """Log-probabilities of plain samples ``[B, K]``, batch by batch, by kind of prediction.

    Args:
        method: whose predictions they are.
        nets: its networks.
        samples: inputs.
        rows: positions ``[B]``; None: all.
        only: the kind that is kept, where one is enough; None: all.
    """
    found: dict[str, list[Tensor]] = {}
    with evaluating([method]):
        for outputs in outputs_of(nets, samples, rows):
            for kind, values in method.predictions(outputs).items():
                if only in (None, kind):
                    found.setdefault(kind, []).append(values)
    return {kind: torch.cat(values) for kind, values in found.items()}


def outputs_of(nets: Sequence[nn.Module], samples: Samples, rows: Tensor | None = None) -> Iterator[list[Output]]:
    """What networks return of plain samples, batch by batch, by one process alone; `rows`: positions, None: all."""
    plain = [unwrapped(net) for net in nets]
    with evaluating(plain):
        for view in plain_views(samples, rows):
            yield [net(view) for net in plain]


def plain_views(samples: Samples, rows: Tensor | None = None) -> Iterator[Tensor]:
    """Plain samples as networks read them, batch by batch; `rows`: positions, None: all."""
    rows = torch.arange(len(samples), device=samples.labels.device) if rows is None else rows
    batches = torch.split(rows, rows_at_once(samples))
    for at, inputs in zip(batches, samples.read(batches), strict=True):
        yield samples.transform.view(inputs, "plain", at)


def accuracy(method: Method, nets: Sequence[nn.Module], samples: Samples) -> float:
    """Share of samples, in percent, whose predicted class is their label."""
    found = predictions(method, nets, samples, only=method.prediction)[method.prediction]
    return 100 * int(found.argmax(1).eq(samples.labels).sum()) / len(samples)
