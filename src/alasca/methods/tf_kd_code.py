"""Teacher-free knowledge distillation as its published code computes it."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import tf_kd
from alasca.functional.checks import check_above, check_unit


class PublishedTeacherFreeDistillation(LossMethod):
    """Teacher-free distillation as its code has it: a teacher that is nearly uniform, and an untempered student.

    ``(1 - alpha) CE + alpha * multiplier / K * KL(softmax(teacher / T) || p)``, the teacher being the probabilities
    themselves.

    Paper: Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing Regularization", CVPR 2020 (Tf-KD_reg).

    Args:
        alpha: weight of the distillation, 0 to 1.
        a: the teacher's probability of the label, above 0 and below 1.
        temperature: T, above 0.
        multiplier: above 0.

    Differences from the authors' code: none; `tf_kd` is the paper's formula.
    """

    presets = (
        Preset("cifar100", {"multiplier": 100.0}, "authors' configuration, ResNet-18"),
        Preset("default", {}, "authors' code"),
    )

    def __init__(
        self, alpha: float = 0.1, a: float = 0.99, temperature: float = 20.0, multiplier: float = 100.0
    ) -> None:
        super().__init__()
        check_unit("alpha", alpha)
        if not 0 < a < 1:
            raise ValueError(f"a: {a}, expected above 0 and below 1")
        check_above("temperature", temperature, 0.0)
        check_above("multiplier", multiplier, 0.0)
        self.alpha, self.a, self.temperature, self.multiplier = alpha, a, temperature, multiplier

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        return tf_kd(logits, batch.labels, self.alpha, self.a, self.temperature, True, self.multiplier)
