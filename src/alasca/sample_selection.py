"""How methods choose samples: how many to leave out of a batch, how likely each label is right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from alasca.core import Clock, Net, Probe, Problem, Selection
from alasca.functional import cross_entropy, small_loss, two_component_posterior
from alasca.functional.selection import class_confidence, confident_joint, forget_rate, joint_noise_rate
from alasca.stores import Kept


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

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        """In `begin`: a table of what each network learns from."""
        self.to(problem.example.device)
        self.learned = Kept(problem.num_samples, len(nets)).to(problem.example.device)

    def selection(self) -> Selection:
        """What the networks learned from when training last saw each sample."""
        return Selection(self.learned.value)

    def look(self, nets: Sequence[Net], probe: Probe, clock: Clock) -> None:
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

    def look(self, nets: Sequence[Net], probe: Probe, looks: int) -> None:
        """In `plan`, after so many earlier looks."""
        found = losses_of(nets, probe)
        low, high = found.aminmax(dim=0)
        self.losses.copy_(self.losses.roll(-1, 0))
        self.losses[-1] = torch.nan  # an epoch of a part of the data leaves samples out
        self.losses[-1, probe.index] = (found - low) / (high - low).clamp(min=1e-12)
        recent = self.losses[-min(looks + 1, len(self.losses)) :, probe.index].nanmean(0)
        posteriors = [two_component_posterior(losses, max_iter=10, tol=1e-2) for losses in recent.T]
        self.clean[probe.index] = torch.stack(posteriors, 1)


def estimated_noise_rate(net: Net, probe: Probe) -> float:
    """Share of wrong labels by the confident joint of a network's predictions, without true labels: two passes."""
    confidence = probe.reduce(net, lambda out, batch: class_confidence(out.logits.softmax(1), batch.labels))
    joint = probe.reduce(net, lambda out, batch: confident_joint(out.logits.softmax(1), batch.labels, confidence))
    return joint_noise_rate(joint, confidence[1])


def losses_of(nets: Sequence[Net], probe: Probe) -> Tensor:
    """Cross-entropy of every sample under each network ``[M, networks]``, in eval mode."""
    return torch.stack(
        [probe(net, lambda output, batch: cross_entropy(output.logits, batch.labels)) for net in nets], 1
    )
