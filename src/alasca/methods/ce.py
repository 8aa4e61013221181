"""Cross-entropy: the plain baseline."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import cross_entropy


class CrossEntropy(LossMethod):
    """Plain cross-entropy on the given labels.

    Paper: none; the reference row of every table (section D.1.2 of Ko et al., "ALASCA: Rethinking Label Smoothing
    for Deep Learning Under Label Noise", ICML workshop 2022).

    Differences from the authors' code: none.
    """

    presets = (Preset("default", {}, "no options"),)

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        return cross_entropy(logits, batch.labels)
