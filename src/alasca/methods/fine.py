"""FINE: samples whose features lie along their class's main direction."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from alasca.core import Batch, Clock, Method, Net, Output, Phase, Preset, Probe, Problem, Seen, Selection, Step, Stream
from alasca.functional import cross_entropy, two_component_posterior
from alasca.functional.selection import alignment, class_directions, class_grams
from alasca.surgery import evaluated, feature_of

GRAMS = 1 << 27
"""Numbers in the Gram matrices that are held at once: 512 MiB."""


class Fine(Method):
    """FINE: learns from samples whose features are aligned with the top eigenvector of their class's Gram matrix.

    Cross-entropy on all samples for `warmup` epochs; then, every `every` epochs, a mixture of two components for each
    class decides who stays. From the second look on, eigenvectors come from the samples chosen before.

    Paper: Kim et al., "FINE Samples for Learning with Noisy Labels", NeurIPS 2021.

    Args:
        threshold: least posterior of the better aligned component, from 0 to below 1.
        warmup: epochs with all samples.
        every: epochs between two looks.
        squared: score ``<u, z>^2`` instead of ``|<u, z / |z|>|``.

    Differences from the authors' code: the paper's score is squared and grows with a feature's length, the code's, and
    ours, is not (`squared`); pictures are looked at without augmentation; the mixture starts from two means, so that
    nothing is random; a class with fewer than two different scores, or none above the threshold, is kept whole.
    """

    epoch_options = ("warmup", "every")
    presets = (
        Preset("cifar10", {"warmup": 40, "every": 10}, "Kim et al. (2021) and authors' code"),
        Preset("cifar100", {"warmup": 40, "every": 10}, "Kim et al. (2021) and authors' code"),
        Preset("clothing1m", {"warmup": 1, "every": 1}, "authors' code"),
        Preset("default", {}, "the CIFAR values"),
    )

    def __init__(self, threshold: float = 0.5, warmup: int = 40, every: int = 10, squared: bool = False) -> None:
        super().__init__()
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold: {threshold}, expected at least 0 and below 1")
        if warmup < 0 or every < 1:
            raise ValueError(f"warmup, every: {warmup}, {every}, expected at least 0 and at least 1")
        self.threshold, self.warmup, self.every, self.squared = threshold, warmup, every, squared

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        device = problem.example.device
        self.register_buffer("kept", torch.ones(problem.num_samples, dtype=torch.bool, device=device))
        self.register_buffer("clean", torch.ones(problem.num_samples, device=device))
        self.num_classes = problem.num_classes
        self.width = feature_of(evaluated(nets[0], problem.example)).shape[1]

    def plan(self, nets: Sequence[Net], probe: Probe, clock: Clock) -> list[Phase]:
        since = clock.epoch - self.warmup
        if since >= 0 and since % self.every == 0:
            self.look(nets[0], probe)
        if since < 0:
            return super().plan(nets, probe, clock)
        return [Phase((0,), {"all": Stream(probe.index[self.get_buffer("kept")[probe.index]])})]

    def look(self, net: Net, probe: Probe) -> None:
        """Choose anew."""
        kept, classes = self.get_buffer("kept"), self.num_classes
        block = max(1, GRAMS // self.width**2)  # classes whose matrices are held at once, a pass over the samples each

        def grams(output: Output, batch: Batch, first: int) -> Tensor:
            own = min(block, classes - first)
            return class_grams(feature_of(output), batch.labels - first, own, kept[batch.index])

        directions = torch.cat([
            class_directions(probe.reduce(net, functools.partial(grams, first=first)))
            for first in range(0, classes, block)
        ])  # fmt: skip
        scores = probe(net, lambda output, batch: alignment(feature_of(output), batch.labels, directions, self.squared))
        for k in range(classes):
            own = probe.labels == k
            clean = two_component_posterior(scores[own], "high", tol=1e-6, reg=1e-6)
            better = clean > self.threshold
            self.get_buffer("clean")[probe.index[own]] = clean.float()
            kept[probe.index[own]] = better | ~better.any()

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch = batches["all"]
        output = nets[0](batch.views[0])
        loss = (batch.weight * cross_entropy(output.logits, batch.labels)).mean()
        return Step(loss, (Seen(0, output, batch),))

    def selected(self) -> Selection:
        return Selection(self.get_buffer("kept")[:, None], self.get_buffer("clean")[:, None])
