"""Teacher-free knowledge distillation."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import tf_kd
from alasca.functional.checks import check_above, check_unit


class TeacherFreeDistillation(LossMethod):
    """Teacher-free distillation: the teacher is made by hand, and sure of the given label.

    ``(1 - alpha) CE + alpha KL(virtual teacher || p)``.

    Paper: Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing Regularization", CVPR 2020 (Tf-KD_reg).

    Args:
        alpha: weight of the distillation, 0 to 1.
        a: the teacher's probability of the label, above 0 and below 1.
        temperature: T, above 0.

    Differences from the authors' code: both sides are tempered here, as in the paper's formula; the code divides
    *probabilities* by T, which is the method `tf_kd_code`.
    """

    presets = (Preset("default", {}, "Yuan et al. (2020), section 4"),)

    def __init__(self, alpha: float = 0.1, a: float = 0.99, temperature: float = 20.0) -> None:
        super().__init__()
        check_unit("alpha", alpha)
        if not 0 < a < 1:
            raise ValueError(f"a: {a}, expected above 0 and below 1")
        check_above("temperature", temperature, 0.0)
        self.alpha, self.a, self.temperature = alpha, a, temperature

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        return tf_kd(logits, batch.labels, self.alpha, self.a, self.temperature)
