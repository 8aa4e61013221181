"""Per-sample state, by index: persistent buffers, written in place, without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alasca.core import Clock, Probe, full_precision
from alasca.distributed import gather_rows
from alasca.functional import cross_entropy, small_loss, two_component_posterior
from alasca.functional.selection import class_confidence, confident_joint, forget_rate, joint_noise_rate


def mean_by_index(index: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Sort by index, and give every row the mean of the rows that share its index.

    Args:
        index: ``[B]``, may repeat.
        rows: ``[B, K]``.

    Returns:
        The sorted index ``[B]`` and the means ``[B, K]``, equal for equal indices.

    >>> mean_by_index(torch.tensor([7, 3, 7]), torch.tensor([[1.0], [5.0], [3.0]]))[1].flatten()
    tensor([5., 2., 2.])
    """
    ordered, order = index.sort(stable=True)
    group = F.pad((ordered[1:] != ordered[:-1]).cumsum(0), (1, 0))
    counted = F.pad(rows[order], (0, 1), value=1.0)
    sums = torch.zeros_like(counted).index_add_(0, group, counted)[group]
    return ordered, sums[:, :-1] / sums[:, -1:]


class SampleStore(nn.Module):
    """A moving average of one row a sample: ``z[n] <- w z[n] + (1 - w) row``, from zero.

    Args:
        num_samples: N, rows of the table.
        width: K, columns.
        dtype: of the table; updates are computed in float32 and clamped to its range.

    The table is part of ``state_dict``. Under an initialised process group rows are gathered, so that every
    process holds the same table; each must bring the same number of rows. A row that is not finite leaves the old
    one and is counted in `skipped`.
    """

    value: Tensor
    visits: Tensor
    skipped: Tensor

    def __init__(self, num_samples: int, width: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if num_samples < 1:
            raise ValueError(f"num_samples: {num_samples}, expected at least 1")
        self.register_buffer("value", torch.zeros(num_samples, width, dtype=dtype))
        self.register_buffer("visits", torch.zeros(num_samples, dtype=torch.int32))
        self.register_buffer("skipped", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, index: Tensor, rows: Tensor, momentum: float) -> None:
        """Average `rows` ``[B, K]`` into the table at `index` ``[B]``; duplicates count as one visit of their mean."""
        index, mean = mean_by_index(gather_rows(index), gather_rows(full_precision(rows.detach())))
        old = self.value[index].to(mean.dtype)
        new = torch.lerp(old, mean, 1 - momentum)
        sound = new.abs().amax(-1) < torch.inf
        new = torch.where(sound[:, None], new, old)
        if self.value.dtype == torch.float16:
            new = new.clamp(-65504, 65504)
        self.value.index_copy_(0, index, new.to(self.value.dtype))
        self.visits.index_copy_(0, index, self.visits[index] + sound)
        self.skipped += len(index) - sound.sum()

    def read(self, index: Tensor) -> Tensor:
        """Rows at `index`, in float32 at least: ``[B, K]``."""
        return full_precision(self.value[index])

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"num_samples={self.value.shape[0]}, width={self.value.shape[1]}"


class Kept(nn.Module):
    """Which samples each network learned from when training last saw them: ``[N, networks]``, True at first.

    For evaluation (`alasca.core.Selection`), part of ``state_dict``; rows are gathered over processes.
    """

    value: Tensor

    def __init__(self, num_samples: int, networks: int) -> None:
        super().__init__()
        self.register_buffer("value", torch.ones(num_samples, networks, dtype=torch.bool))

    @torch.no_grad()
    def put(self, index: Tensor, *masks: Tensor) -> None:
        """Note one mask ``[B]`` a network for the samples at `index` ``[B]``."""
        rows = gather_rows(torch.stack(masks, 1).byte())
        self.value.index_copy_(0, gather_rows(index), rows.bool())


class ForgetRate(nn.Module):
    """How many samples of a batch are left out: none during warm-up, then rising to the noise rate over `ramp` epochs.

    Args:
        noise_rate: from 0 to below 1; None: estimated when the warm-up ends, by the confident joint (mean over the
            networks).
        warmup: epochs without any.
        ramp: T_k of Co-teaching.

    The estimate is part of ``state_dict``.
    """

    rate: Tensor

    def __init__(self, noise_rate: float | None, warmup: int, ramp: int) -> None:
        super().__init__()
        if noise_rate is not None and not 0 <= noise_rate < 1:
            raise ValueError(f"noise_rate: {noise_rate}, expected at least 0 and below 1, or none")
        if warmup < 0:
            raise ValueError(f"warmup: {warmup}, expected at least 0")
        if ramp < 1:
            raise ValueError(f"ramp: {ramp}, expected at least 1")
        self.estimates, self.warmup, self.ramp = noise_rate is None, warmup, ramp
        self.register_buffer("rate", torch.tensor(float(noise_rate or 0.0)))

    def look(self, nets: Sequence[nn.Module], probe: Probe, clock: Clock) -> None:
        """In `plan`: estimate the noise rate at the end of the warm-up, where none is given."""
        if self.estimates and clock.epoch == max(self.warmup, 1):
            rates = [estimated_noise_rate(net, probe) for net in nets]
            self.rate.fill_(sum(rates) / len(rates))

    def kept(self, losses: Tensor, pool: Tensor, clock: Clock) -> Tensor:
        """The samples of the pool ``[B]`` (bool) with the smallest losses, as a mask; at least one where there is one.

        ``floor((1 - forget) * size)`` of them, without waiting for the device.
        """
        if clock.epoch < self.warmup:
            return pool
        rising = forget_rate(clock.epoch - self.warmup, 1.0, self.ramp)
        size = pool.sum()
        keep = ((1 - rising * self.rate) * size + 1e-6 * size).floor().long().clamp(min=1)  # a float32's rounding aside
        return small_loss(losses.detach().masked_fill(~pool, torch.inf), keep) & pool


class LossMixture(nn.Module):
    """How likely each given label is right, by each network's losses: ``[N, networks]``, 1 at first.

    The posterior of the smaller component of a mixture of two, fitted to losses that are scaled to 0 to 1, as in
    DivideMix (Li et al., 2020).

    Args:
        num_samples: N.
        networks: how many look.
        average: looks whose losses are averaged.

    Losses and probabilities are part of ``state_dict``.
    """

    losses: Tensor
    clean: Tensor

    def __init__(self, num_samples: int, networks: int, average: int = 1) -> None:
        super().__init__()
        self.register_buffer("losses", torch.zeros(average, num_samples, networks))
        self.register_buffer("clean", torch.ones(num_samples, networks))

    def look(self, nets: Sequence[nn.Module], probe: Probe, looks: int) -> None:
        """In `plan`, after so many earlier looks."""
        found = losses_of(nets, probe)
        low, high = found.aminmax(dim=0)
        self.losses.copy_(self.losses.roll(-1, 0))
        self.losses[-1, probe.index] = (found - low) / (high - low).clamp(min=1e-12)
        recent = self.losses[-min(looks + 1, len(self.losses)) :, probe.index].mean(0)
        posteriors = [two_component_posterior(losses, max_iter=10, tol=1e-2) for losses in recent.T]
        self.clean[probe.index] = torch.stack(posteriors, 1)


def estimated_noise_rate(net: nn.Module, probe: Probe) -> float:
    """Share of wrong labels by the confident joint of a network's predictions, without true labels: two passes."""
    confidence = probe.reduce(net, lambda out, batch: class_confidence(out.logits.softmax(1), batch.labels))
    joint = probe.reduce(net, lambda out, batch: confident_joint(out.logits.softmax(1), batch.labels, confidence))
    return joint_noise_rate(joint, confidence[1])


def losses_of(nets: Sequence[nn.Module], probe: Probe) -> Tensor:
    """Cross-entropy of every sample under each network ``[M, networks]``, in eval mode."""
    return torch.stack(
        [probe(net, lambda output, batch: cross_entropy(output.logits, batch.labels)) for net in nets], 1
    )
