"""Co-teaching+: Co-teaching among the samples on which the networks disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from alasca.core import Batch, Clock, Method, Net, Phase, Preset, Probe, Problem, Seen, Selection, Step
from alasca.functional import cross_entropy, disagreement
from alasca.functional.selection import masked_mean
from alasca.sample_selection import ForgetRate


class CoTeachingPlus(Method):
    """Co-teaching+: each network learns from the other's small losses among the samples on which they disagree.

    Co-teaching (see `coteaching`) until the ramp ends; from then on the choice is among disagreements, where there are
    any.

    Paper: Yu et al., "How does Disagreement Help Generalization against Label Corruption?", ICML 2019.

    Args:
        noise_rate: the final forget rate, from 0 to below 1; None: estimated when the warm-up ends (after the first
            epoch where there is none), by the confident joint.
        warmup: epochs with all samples.
        ramp: T_k, epochs in which the forget rate rises.

    Differences from the authors' code: it feeds probabilities to a cross-entropy of logits, drops the small-loss choice
    where nothing disagrees, and has a first epoch of disagreement of its own (20 on CIFAR-10).
    """

    networks = 2
    epoch_options = ("warmup", "ramp")
    presets = (
        Preset("paper", {"warmup": 0, "ramp": 10}, "Yu et al. (2019), section 4; noise_rate is the experiment's"),
        Preset("default", {}, "those of Co-teaching, the noise rate estimated"),
    )

    def __init__(self, noise_rate: float | None = None, warmup: int = 30, ramp: int = 10) -> None:
        super().__init__()
        self.forget = ForgetRate(noise_rate, warmup, ramp)

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        self.forget.begin(nets, problem)

    def plan(self, nets: Sequence[Net], probe: Probe, clock: Clock) -> list[Phase]:
        self.forget.look(nets, probe, clock)
        return super().plan(nets, probe, clock)

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch = batches["all"]
        outputs = [net(batch.views[0]) for net in nets]
        losses = [cross_entropy(output.logits, batch.labels) for output in outputs]
        pool = self.pool(outputs[0].logits.detach(), outputs[1].logits.detach(), clock)
        second, first = (self.forget.kept(loss, pool, clock) for loss in losses)
        self.forget.learned.update(batch.index, first, second)
        loss = masked_mean(batch.weight * losses[0], first) + masked_mean(batch.weight * losses[1], second)
        seen = tuple(Seen(k, output, batch) for k, output in enumerate(outputs))
        return Step(loss, seen, log={"noise_rate": self.forget.rate})

    def selected(self) -> Selection:
        return self.forget.selection()

    def pool(self, first: Tensor, second: Tensor, clock: Clock) -> Tensor:
        """The samples to choose among ``[B]``."""
        differ = disagreement(first, second)
        if clock.epoch < self.forget.warmup + self.forget.ramp:
            return torch.ones_like(differ)
        return differ | ~differ.any()
