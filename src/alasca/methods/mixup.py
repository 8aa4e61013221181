"""mixup: straight lines between samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from alasca.core import Batch, Clock, Method, Mixed, Net, Phase, Preset, Step
from alasca.functional import cross_entropy
from alasca.functional.targets import mix, mixing_weight


class Mixup(Method):
    """mixup: trains on mixtures of two samples and of their labels.

    The input is ``lam x_i + (1 - lam) x_j``, the target the same mixture; one lam, Beta(alpha, alpha), a batch.

    Paper: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.

    Args:
        alpha: at least 0.01, which hardly mixes. 1 in their code; their corrupted labels use up to 32.

    Differences from the authors' code: none.
    """

    mixes = True
    presets = (
        Preset("cifar10", {"alpha": 1.0}, "authors' code; the ALASCA paper does not state its alpha"),
        Preset("cifar100", {"alpha": 1.0}, "authors' code; the ALASCA paper does not state its alpha"),
        Preset("default", {}, "authors' code"),
    )

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        if not alpha >= 0.01:
            raise ValueError(f"alpha: {alpha}, expected at least 0.01 (below, its draws underflow)")
        self.alpha = alpha

    def draws(self, phase: Phase, clock: Clock) -> dict[str, Tensor]:
        return {"lam": mixing_weight(self.alpha, self.alpha)}

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch = batches["all"]
        x, y, weight = batch.views[0], batch.labels, batch.weight
        lam = clock.draws["lam"]
        order = torch.randperm(len(y), device=x.device)
        output = nets[0](mix(x, order, lam))
        first = weight * cross_entropy(output.logits, y)
        second = weight[order] * cross_entropy(output.logits, y[order])
        mixed = Mixed(0, output.aux, torch.arange(len(y), device=x.device), order, lam.expand(len(y)))
        return Step(torch.lerp(second, first, lam.to(first.dtype)).mean(), mixed=(mixed,))
