"""Looking at samples without training: the probe that methods plan with, and accuracy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from alasca.core import Batch, Method, Output, network
from alasca.data.samples import Samples
from alasca.distributed import sum_over_ranks, world

BATCH = 512


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
        best: Callable[[], Sequence[nn.Module] | None] = lambda: None,
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
    def best(self) -> Sequence[nn.Module] | None:
        """The networks of the epoch so far that was best on held-out noisy labels, or None."""
        return self._best()

    def __call__(self, net: nn.Module, fn: Callable[[Output, Batch], Tensor]) -> Tensor:
        """``fn(output, batch)`` of every sample, in the order of `index`."""
        found: Tensor | None = None
        for start, value in self._each(net, fn):
            if found is None:
                found = value.new_zeros((len(self.index), *value.shape[1:]))
            found[start : start + len(value)] = value
        if found is None:  # no sample for this process: only the shape of a value is needed
            value = self._value(net, fn, self.index[:1])
            found = value.new_zeros((len(self.index), *value.shape[1:]))
        return sum_over_ranks(found)

    def reduce(self, net: nn.Module, fn: Callable[[Output, Batch], Tensor]) -> Tensor:
        """The sum of ``fn(output, batch)`` over all batches."""
        total: Tensor | None = None
        for _, value in self._each(net, fn):
            total = value.clone() if total is None else total.add_(value)
        return sum_over_ranks(0 * self._value(net, fn, self.index[:1]) if total is None else total)

    def _each(self, net: nn.Module, fn: Callable[[Output, Batch], Tensor]) -> Iterator[tuple[int, Tensor]]:
        """This process's batches: the position of the first row and the value."""
        rank, size = world()
        each = min(BATCH, max(1, len(self.index) // size))
        for start in range(rank * each, len(self.index), size * each):
            yield start, self._value(net, fn, self.index[start : start + each])

    def _value(self, net: nn.Module, fn: Callable[[Output, Batch], Tensor], rows: Tensor) -> Tensor:
        plain = network(net)
        inputs = self.samples.view("plain", rows)
        batch = Batch((inputs,), self.samples.labels[rows], rows, torch.ones(len(rows), device=rows.device))
        with evaluating([plain]):
            return fn(plain(inputs), batch)


def predictions(method: Method, nets: Sequence[nn.Module], samples: Samples) -> Tensor:
    """The method's logits for plain samples ``[N, K]``, batch by batch."""
    plain = [network(net) for net in nets]
    device = samples.labels.device
    with evaluating(plain):
        parts = [
            method.predict(
                plain, samples.view("plain", torch.arange(start, min(start + BATCH, len(samples)), device=device))
            )
            for start in range(0, len(samples), BATCH)
        ]
    return torch.cat(parts)


def accuracy(method: Method, nets: Sequence[nn.Module], samples: Samples) -> float:
    """Share of samples, in percent, whose predicted class is their label."""
    return 100 * int(predictions(method, nets, samples).argmax(1).eq(samples.labels).sum()) / len(samples)
