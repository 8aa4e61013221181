"""Truncated generalised cross-entropy: with pruning of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Net, Phase, Preset, Probe, Problem, Selection, Step
from alasca.functional import cross_entropy, gce
from alasca.functional.robust import check_k, check_q

SOURCE = "Zhang and Sabuncu (2018), section 4"


class TruncatedGeneralizedCrossEntropy(LossMethod):
    """Truncated generalised cross-entropy: samples that stay unlikely leave the loss ``(1 - p_y^q) / q``.

    From epoch `start` on, every `every` epochs, samples whose p_y is at most k leave the loss until the next look (the
    alternating minimisation of the paper's section 3.3). A look is in eval mode, without augmentation, by the networks
    of the epoch so far that was best on held-out noisy labels; without held-out samples, by the networks as they are.
    A look that would leave no sample at all is passed over.

    Paper: Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels",
    NeurIPS 2018.

    Args:
        q: above 0 (cross-entropy) to 1 (mean absolute error).
        k: pruning threshold, above 0 and below 1.
        start: first epoch of pruning: where the learning rate first drops.
        every: epochs between two looks.

    Differences from the authors' code: the widely used code is a third party's: it prunes by the best *test* model,
    on augmented pictures, and its optimiser then trains nothing; its sum over samples is our mean.
    """

    uses_best = True
    epoch_options = ("start", "every")
    presets = (
        Preset("cifar10", {"q": 0.7, "k": 0.5, "start": 40}, SOURCE),
        Preset("cifar100", {"q": 0.7, "k": 0.5, "start": 80}, SOURCE),
        Preset("default", {}, "the CIFAR-10 values"),
    )

    def __init__(self, q: float = 0.7, k: float = 0.5, start: int = 40, every: int = 10) -> None:
        super().__init__()
        check_q(q)
        check_k(k)
        if start < 0 or every < 1:
            raise ValueError(f"start, every: {start}, {every}, expected at least 0 and at least 1")
        self.q, self.k, self.start, self.every = q, k, start, every

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        kept = torch.ones(problem.num_samples, dtype=torch.bool, device=problem.example.device)
        self.register_buffer("kept", kept)

    def plan(self, nets: Sequence[Net], probe: Probe, clock: Clock) -> list[Phase]:
        since = clock.epoch - self.start
        if since >= 0 and since % self.every == 0:
            net = (probe.best or nets)[0]
            p = probe(net, lambda output, batch: (-cross_entropy(output.logits, batch.labels)).exp())
            if bool((p > self.k).any()):
                self.get_buffer("kept")[probe.index] = p > self.k
        return super().plan(nets, probe, clock)

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        step = super().step(nets, batches, phase, clock)
        return step._replace(log={"kept": self.get_buffer("kept")[batches["all"].index].float().mean()})

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        pruned = (1 - self.k**self.q) / self.q
        return torch.where(self.get_buffer("kept")[batch.index], gce(logits, batch.labels, self.q), pruned)

    def selected(self) -> Selection:
        return Selection(self.get_buffer("kept")[:, None])
