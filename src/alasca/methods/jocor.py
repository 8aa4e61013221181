"""JoCoR: two networks trained together, on the samples that both find easy and agree on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from alasca.core import Batch, Clock, Method, Net, Phase, Preset, Probe, Problem, Seen, Selection, Step
from alasca.functional import jocor
from alasca.functional.checks import check_unit
from alasca.functional.selection import masked_mean
from alasca.sample_selection import ForgetRate

SOURCE = "Wei et al. (2020), section 4; noise_rate is the experiment's"


class JoCoR(Method):
    """JoCoR: joint training with co-regularisation, on the samples with the smallest joint loss.

    ``(1 - l) (CE1 + CE2) + l (KL(p1 || p2) + KL(p2 || p1))``; of each batch the share ``1 - forget rate`` is kept.

    Paper: Wei et al., "Combating Noisy Labels by Agreement: A Joint Training Method with Co-Regularization", CVPR 2020.

    Args:
        co_lambda: l, 0 to 1.
        noise_rate: the final forget rate, from 0 to below 1; None: estimated when the warm-up ends. For asymmetric
            noise the authors take half the rate.
        warmup: epochs with all samples.
        ramp: T_k, epochs in which the forget rate rises.

    Differences from the authors' code: the warm-up is ours, for the estimate; the prediction is the mean over both
    networks, whose accuracies the authors report one by one.
    """

    networks = 2
    epoch_options = ("warmup", "ramp")
    presets = (
        Preset("cifar10", {"co_lambda": 0.9, "warmup": 0}, SOURCE),
        Preset("cifar10-sym80", {"co_lambda": 0.65, "warmup": 0}, SOURCE),
        Preset("cifar100", {"co_lambda": 0.85, "warmup": 0}, "authors' README; noise_rate is the experiment's"),
        Preset(
            "default", {}, "authors' code; a large l leaves little of the loss, which Adam forgives and SGD does not"
        ),
    )

    def __init__(
        self, co_lambda: float = 0.1, noise_rate: float | None = None, warmup: int = 30, ramp: int = 10
    ) -> None:
        super().__init__()
        check_unit("co_lambda", co_lambda)
        self.co_lambda = co_lambda
        self.forget = ForgetRate(noise_rate, warmup, ramp)

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        self.forget.begin(nets, problem)

    def plan(self, nets: Sequence[Net], probe: Probe, clock: Clock) -> list[Phase]:
        self.forget.look(nets, probe, clock)
        return super().plan(nets, probe, clock)

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch = batches["all"]
        first, second = (net(batch.views[0]) for net in nets)
        losses = jocor(first.logits, second.logits, batch.labels, self.co_lambda)
        kept = self.forget.kept(losses, torch.ones_like(losses, dtype=torch.bool), clock)
        self.forget.learned.update(batch.index, kept, kept)
        loss = masked_mean(batch.weight * losses, kept)
        return Step(loss, (Seen(0, first, batch), Seen(1, second, batch)), log={"noise_rate": self.forget.rate})

    def selected(self) -> Selection:
        return self.forget.selection()
