"""Generalised cross-entropy."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import gce
from alasca.functional.robust import check_q

SOURCE = "Zhang and Sabuncu (2018), section 4"


class GeneralizedCrossEntropy(LossMethod):
    """Generalised cross-entropy ``(1 - p_y^q) / q``, between cross-entropy and mean absolute error.

    Paper: Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels",
    NeurIPS 2018.

    Args:
        q: above 0 (cross-entropy) to 1 (mean absolute error).

    Differences from the authors' code: none was published; the widely used code is a third party's.
    """

    presets = (
        Preset("cifar10", {"q": 0.7}, SOURCE),
        Preset("cifar100", {"q": 0.7}, SOURCE),
        Preset("default", {}, "the paper uses one q for all data"),
    )

    def __init__(self, q: float = 0.7) -> None:
        super().__init__()
        check_q(q)
        self.q = q

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        return gce(logits, batch.labels, self.q)
