"""Decoupling: two networks learn where they disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from alasca.core import Batch, Clock, Method, Net, Phase, Preset, Problem, Seen, Selection, Step
from alasca.functional import cross_entropy, disagreement
from alasca.stores import Kept


class Decoupling(Method):
    """Decoupling: two networks, each updated on its own loss where their predictions disagree.

    "When to update" is decided by both, "how to update" by each alone. All samples count for `warmup` epochs.

    Paper: Malach and Shalev-Shwartz, "Decoupling 'when to update' from 'how to update'", NeurIPS 2017.

    Args:
        warmup: epochs with all samples.
        floor: the loss is a sum over disagreeing samples, divided by their number, but by no less than this share of
            the batch, above 0.

    Differences from the authors' code: theirs is binary and weights classes of a batch evenly, which is the same on
    balanced batches; its floor is ours. The 30 epochs of warm-up are those of Ko et al. (2022), in
    whose code the warm-up is over as soon as anything disagrees. The prediction is the
    mean over both networks.
    """

    networks = 2
    epoch_options = ("warmup",)
    presets = (
        Preset("cifar10", {"warmup": 30}, "Ko et al. (2022), section D.1.2"),
        Preset("cifar100", {"warmup": 30}, "Ko et al. (2022), section D.1.2"),
        Preset("default", {}, "Ko et al. (2022); floor: authors' code"),
    )

    def __init__(self, warmup: int = 30, floor: float = 0.1) -> None:
        super().__init__()
        if warmup < 0:
            raise ValueError(f"warmup: {warmup}, expected at least 0")
        if not 0 < floor <= 1:
            raise ValueError(f"floor: {floor}, expected above 0 and at most 1")
        self.warmup, self.floor = warmup, floor

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        self.learned = Kept(problem.num_samples, len(nets)).to(problem.example.device)

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch = batches["all"]
        outputs = [net(batch.views[0]) for net in nets]
        differ = disagreement(outputs[0].logits.detach(), outputs[1].logits.detach())
        chosen = differ if clock.epoch >= self.warmup else torch.ones_like(differ)
        self.learned.update(batch.index, chosen, chosen)
        count = chosen.sum().clamp(min=self.floor * len(chosen))
        losses = [cross_entropy(output.logits, batch.labels) for output in outputs]
        loss = (batch.weight * chosen * torch.stack(losses)).sum() / count
        seen = tuple(Seen(k, output, batch) for k, output in enumerate(outputs))
        return Step(loss, seen)

    def selected(self) -> Selection:
        return Selection(self.learned.value)
