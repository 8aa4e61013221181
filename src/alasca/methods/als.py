"""Adaptive label smoothing of the main classifier."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import als, cross_entropy


class AdaptiveLabelSmoothing(LossMethod):
    """Adaptive label smoothing of the main classifier: the less, the surer it is of the given label.

    Cross-entropy for `warmup` epochs, then eq. 2: ``b CE + (1 - b) Omega / K`` with ``b = p_y``, without gradient.
    The step from which the ALASCA paper goes on to sub-classifiers (figures 1 and 2).

    Paper: Ko, Yi and Yun, "ALASCA: Rethinking Label Smoothing for Deep Learning Under Label Noise", ICML workshop
    2022, section 2.1.

    Args:
        warmup: epochs of plain cross-entropy.
        scale: ``"mean"`` divides Omega by K, ``"sum"`` is eq. 2 to the letter.

    Differences from the authors' code: none was published.
    """

    epoch_options = ("warmup",)
    presets = (
        Preset("cifar10", {"warmup": 20}, "Ko et al. (2022), figure 1"),
        Preset("default", {}, "the CIFAR-10 values"),
    )

    def __init__(self, warmup: int = 20, scale: str = "mean") -> None:
        super().__init__()
        if warmup < 0:
            raise ValueError(f"warmup: {warmup}, expected at least 0")
        if scale not in ("mean", "sum"):
            raise ValueError(f"scale: {scale!r}, expected one of mean, sum")
        self.warmup, self.scale = warmup, scale

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        if clock.epoch < self.warmup:
            return cross_entropy(logits, batch.labels)
        return als(logits, batch.labels, self.scale)
