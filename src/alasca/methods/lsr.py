"""Label smoothing, generalised and negative too."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import label_smoothing, smoothed_cross_entropy
from alasca.functional.checks import check_unit
from alasca.functional.losses import OFF_TARGETS


class LabelSmoothing(LossMethod):
    """Label smoothing: cross-entropy with the target ``(1 - alpha) e_y + alpha / K``.

    Paper: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016; under label noise
    Lukasik et al., ICML 2020; alpha below 0 is negative label smoothing, Wei et al., ICML 2022.

    Args:
        alpha: at most 1. The row of the ALASCA paper has 0.5. Below 0 the loss is not bounded below: it needs a
            trained start and a tiny learning rate.
        off_target: ``"uniform"``: alpha / K for every class; ``"others"``: alpha / (K - 1) for all but the label.

    Differences from the authors' code: the ALASCA paper writes alpha for every class, without 1/K; a distribution is
    meant. ``"others"`` is the convention of the Tf-KD code.
    """

    presets = (
        Preset("cifar10", {"alpha": 0.5}, "Ko et al. (2022), table 7"),
        Preset("cifar100", {"alpha": 0.5}, "Ko et al. (2022), table 7"),
        Preset("default", {}, "the CIFAR value"),
    )

    def __init__(self, alpha: float = 0.5, off_target: str = "uniform") -> None:
        super().__init__()
        if not alpha <= 1:
            raise ValueError(f"alpha: {alpha}, expected at most 1")
        if off_target not in OFF_TARGETS:
            raise ValueError(f"off_target: {off_target!r}, expected one of {', '.join(OFF_TARGETS)}")
        if off_target == "others":
            check_unit("alpha", alpha)
        self.alpha, self.off_target = alpha, off_target

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        if self.off_target == "uniform":
            return label_smoothing(logits, batch.labels, self.alpha)
        return smoothed_cross_entropy(logits, batch.labels, 1 - self.alpha, self.off_target)
