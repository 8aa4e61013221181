"""Co-teaching: each network learns from the samples with the smallest losses of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from alasca.core import Batch, Clock, Method, Phase, Preset, Probe, Problem, Seen, Selection, Step
from alasca.functional import cross_entropy, disagreement
from alasca.functional.selection import masked_mean
from alasca.stores import ForgetRate, Kept


class CoTeaching(Method):
    """Co-teaching: two networks, each learning from the samples whose loss is smallest for the *other*.

    Of each batch the share ``1 - forget rate`` is kept. All samples count for `warmup` epochs; then the forget rate
    rises over `ramp` epochs to the noise rate.

    Paper: Han et al., "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels", NeurIPS 2018;
    `plus`: Yu et al., "How does Disagreement Help Generalization against Label Corruption?", ICML 2019 (Co-teaching+).

    Args:
        noise_rate: the final forget rate, from 0 to below 1; None: estimated when the warm-up ends, by the confident
            joint.
        warmup: epochs with all samples.
        ramp: T_k, epochs in which the forget rate rises.
        plus: from the end of the ramp on, choose among the samples on which the networks disagree, where there are any.

    Differences from the authors' code: it divides the mean loss by the number of kept samples once more, which plain
    SGD does not forgive; Co-teaching+ feeds probabilities to a cross-entropy of logits, and drops the small-loss choice
    where nothing disagrees; there it has a first epoch of its own (20 on CIFAR-10). Warm-up is Ko et al.'s (2022); the
    paper has none. The prediction is the mean over both networks, whose accuracies the authors report one by one.
    """

    networks = 2
    epoch_options = ("warmup", "ramp")
    presets = (
        Preset("cifar10", {"warmup": 30, "ramp": 10}, "Ko et al. (2022), section D.1.2; Han et al. (2018), T_k"),
        Preset("cifar100", {"warmup": 30, "ramp": 10}, "Ko et al. (2022), section D.1.2; Han et al. (2018), T_k"),
        Preset("paper", {"warmup": 0, "ramp": 10}, "Han et al. (2018), section 4; noise_rate is the experiment's"),
        Preset("unknown", {}, "the CIFAR values, the noise rate estimated"),
    )

    def __init__(self, noise_rate: float | None = None, warmup: int = 30, ramp: int = 10, plus: bool = False) -> None:
        super().__init__()
        self.forget = ForgetRate(noise_rate, warmup, ramp)
        self.plus = plus

    def begin(self, nets: Sequence[nn.Module], problem: Problem) -> None:
        self.forget.to(problem.example.device)
        self.learned = Kept(problem.num_samples, len(nets)).to(problem.example.device)

    def plan(self, nets: Sequence[nn.Module], probe: Probe, clock: Clock) -> list[Phase]:
        self.forget.look(nets, probe, clock)
        return super().plan(nets, probe, clock)

    def step(self, nets: Sequence[nn.Module], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch = batches["all"]
        outputs = [net(batch.views[0]) for net in nets]
        losses = [cross_entropy(output.logits, batch.labels) for output in outputs]
        pool = self.pool(outputs[0].logits, outputs[1].logits, clock)
        second, first = (self.forget.kept(loss, pool, clock) for loss in losses)
        self.learned.put(batch.index, first, second)
        loss = masked_mean(batch.weight * losses[0], first) + masked_mean(batch.weight * losses[1], second)
        seen = tuple(Seen(k, output, batch) for k, output in enumerate(outputs))
        return Step(loss, seen, log={"noise_rate": self.forget.rate})

    def selected(self) -> Selection:
        return Selection(self.learned.value)

    def pool(self, first: Tensor, second: Tensor, clock: Clock) -> Tensor:
        """The samples to choose among."""
        everyone = torch.ones(len(first), dtype=torch.bool, device=first.device)
        if not self.plus or clock.epoch < self.forget.warmup + self.forget.ramp:
            return everyone
        differ = disagreement(first.detach(), second.detach())
        return differ | ~differ.any()
