"""Generalised Jensen-Shannon divergence between the label and several views' predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from alasca.core import Batch, Clock, Method, Net, Phase, Preset, Probe, Seen, Step, Stream
from alasca.functional import jensen_shannon

SOURCE = "Englesson and Azizpour (2021), appendix"


class JensenShannon(Method):
    """Jensen-Shannon divergence of a sample's label and its views' predictions: robustness and consistency.

    With one view it is JS, between cross-entropy (`label_weight` near 0) and mean absolute error (near 1).

    Paper: Englesson and Azizpour, "Generalized Jensen-Shannon Divergence Loss for Learning with Noisy Labels",
    NeurIPS 2021.

    Args:
        label_weight: pi_1, above 0 and below 1; the views share the rest evenly.
        num_views: at least 1; 2 is the paper's (M = 3).
        view: ``"randaugment"`` (N = 1, M = 3, and Cutout of half the side, the paper's), ``"strong"`` or ``"weak"``.
        scaled: divide by ``-(1 - pi_1) ln(1 - pi_1)``; the authors' WebVision run does not.

    Differences from the authors' code: none known; they choose pi_1 for each noise rate, the default is one value.
    """

    presets = (
        Preset("cifar10-sym20", {"label_weight": 0.3}, SOURCE),
        Preset("cifar10-sym40", {"label_weight": 0.9}, SOURCE),
        Preset("cifar10-sym60", {"label_weight": 0.1}, SOURCE),
        Preset("cifar10-sym80", {"label_weight": 0.1}, SOURCE),
        Preset("cifar10-asym40", {"label_weight": 0.3}, SOURCE),
        Preset("cifar100-sym20", {"label_weight": 0.3}, SOURCE),
        Preset("cifar100-sym40", {"label_weight": 0.5}, SOURCE),
        Preset("cifar100-sym60", {"label_weight": 0.9}, SOURCE),
        Preset("cifar100-sym80", {"label_weight": 0.1}, SOURCE),
        Preset("cifar100-asym40", {"label_weight": 0.1}, SOURCE),
        Preset("webvision", {"label_weight": 0.1, "scaled": False}, SOURCE),
        Preset("default", {}, "the value of CIFAR with 20% noise; names no rate"),
    )

    def __init__(
        self, label_weight: float = 0.3, num_views: int = 2, view: str = "randaugment", scaled: bool = True
    ) -> None:
        super().__init__()
        if not 0 < label_weight < 1:
            raise ValueError(f"label_weight: {label_weight}, expected above 0 and below 1")
        if num_views < 1:
            raise ValueError(f"num_views: {num_views}, expected at least 1")
        if view not in ("randaugment", "strong", "weak"):
            raise ValueError(f"view: {view!r}, expected one of randaugment, strong, weak")
        self.weights = (label_weight, *[(1 - label_weight) / num_views] * num_views)
        self.view, self.scaled = view, scaled

    def plan(self, nets: Sequence[Net], probe: Probe, clock: Clock) -> list[Phase]:
        return [Phase((0,), {"all": Stream(views=(self.view,) * (len(self.weights) - 1))})]

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch = batches["all"]
        output = nets[0](torch.cat(batch.views))
        views = output.logits.chunk(len(batch.views))
        losses = jensen_shannon(views, batch.labels, self.weights, self.scaled)
        first = output.rows(slice(0, len(batch.labels)))
        return Step((batch.weight * losses).mean(), (Seen(0, first, batch),))
