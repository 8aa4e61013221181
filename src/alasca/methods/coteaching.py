"""Co-teaching: each network learns from the samples with the smallest losses of the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from alasca.core import Batch, Clock, Method, Net, Phase, Preset, Probe, Problem, Seen, Selection, Step
from alasca.functional import cross_entropy
from alasca.functional.selection import masked_mean
from alasca.sample_selection import ForgetRate


class CoTeaching(Method):
    """Co-teaching: two networks, each learning from the samples whose loss is smallest for the *other*.

    Of each batch the share ``1 - forget rate`` is kept. All samples count for `warmup` epochs; then the forget rate
    rises over `ramp` epochs to the noise rate.

    Paper: Han et al., "Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels", NeurIPS 2018.

    Args:
        noise_rate: the final forget rate, from 0 to below 1; None: estimated when the warm-up ends (after the first
            epoch where there is none), by the confident joint.
        warmup: epochs with all samples.
        ramp: T_k, epochs in which the forget rate rises.

    Differences from the authors' code: it divides the mean loss by the number of kept samples once more, which plain
    SGD does not forgive. The warm-up is ours, for the estimate: in the paper, and in Ko et al. (2022), whose "30"
    (10, 20 and 30 in their table 8) is T_k, the forget rate rises from epoch 0. The prediction is the mean over both
    networks, whose accuracies the authors report one by one.
    """

    networks = 2
    epoch_options = ("warmup", "ramp")
    presets = (
        Preset("cifar10", {"warmup": 0, "ramp": 30}, "Ko et al. (2022), section D.1.2; noise_rate is the experiment's"),
        Preset(
            "cifar100", {"warmup": 0, "ramp": 30}, "Ko et al. (2022), section D.1.2; noise_rate is the experiment's"
        ),
        Preset("paper", {"warmup": 0, "ramp": 10}, "Han et al. (2018), section 4; noise_rate is the experiment's"),
        Preset("default", {}, "T_k of Han et al. (2018), the noise rate estimated"),
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
        everyone = torch.ones_like(losses[0], dtype=torch.bool)
        second, first = (self.forget.kept(loss, everyone, clock) for loss in losses)
        self.forget.learned.update(batch.index, first, second)
        loss = masked_mean(batch.weight * losses[0], first) + masked_mean(batch.weight * losses[1], second)
        seen = tuple(Seen(k, output, batch) for k, output in enumerate(outputs))
        return Step(loss, seen, log={"noise_rate": self.forget.rate})

    def selected(self) -> Selection:
        return self.forget.selection()
