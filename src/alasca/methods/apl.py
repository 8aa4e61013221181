"""Active passive losses: a normalised active loss and a passive one."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import mae, nce, normalized_focal, rce

ACTIVE = {"nce": nce, "focal": normalized_focal}
PASSIVE = {"rce": rce, "mae": lambda logits, labels: mae(logits, labels, scale=1.0)}


class ActivePassiveLoss(LossMethod):
    """Active passive loss: a normalised loss, which is robust, plus a passive one, which helps it learn.

    ``alpha * active + beta * passive``.

    Paper: Ma et al., "Normalized Loss Functions for Deep Learning with Noisy Labels", ICML 2020.

    Args:
        active: ``"nce"`` or ``"focal"`` (normalised focal loss, gamma 0.5).
        passive: ``"rce"`` (A = log 1e-4) or ``"mae"`` (``1 - p_y``, as in their code).
        alpha: weight of the active loss, at least 0.
        beta: weight of the passive loss, at least 0.

    Differences from the authors' code: gradient flows through the focal weights too, as the formula has it
    (`alasca.functional.normalized_focal` with ``detach=True`` is the code's). The authors clip the gradient's norm at
    5: ``--clip 5``.
    """

    presets = (
        Preset("cifar10", {"alpha": 1.0, "beta": 1.0}, "Ma et al. (2020), section 4"),
        Preset("cifar100", {"alpha": 10.0, "beta": 0.1}, "Ma et al. (2020), section 4"),
        Preset("cifar100-mae", {"passive": "mae", "alpha": 10.0, "beta": 1.0}, "authors' configuration"),
        Preset("webvision", {"alpha": 50.0, "beta": 0.1}, "Ma et al. (2020), section 4"),
        Preset("default", {}, "the CIFAR-10 values"),
    )

    def __init__(self, active: str = "nce", passive: str = "rce", alpha: float = 1.0, beta: float = 1.0) -> None:
        super().__init__()
        for name, value, known in (("active", active, ACTIVE), ("passive", passive, PASSIVE)):
            if value not in known:
                raise ValueError(f"{name}: {value!r}, expected one of {', '.join(known)}")
        if not (alpha >= 0 and beta >= 0 and alpha + beta > 0):
            raise ValueError(f"alpha, beta: {alpha}, {beta}, expected at least 0 and one above 0")
        self.active, self.passive, self.alpha, self.beta = active, passive, alpha, beta

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        active = ACTIVE[self.active](logits, batch.labels)
        return self.alpha * active + self.beta * PASSIVE[self.passive](logits, batch.labels)
