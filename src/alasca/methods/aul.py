"""Asymmetric unhinged loss, with normalised cross-entropy or alone."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import aul, nce
from alasca.functional.checks import check_above

SOURCE = "Zhou et al. (2021), section 5"


class AsymmetricUnhingedLoss(LossMethod):
    """Asymmetric unhinged loss (AUL): robust where the clean label is the likeliest; with normalised CE.

    ``alpha NCE + beta L``, L being ``((a - p_y)^q - (a - 1)^q) / q``.

    Paper: Zhou et al., "Asymmetric Loss Functions for Learning with Noisy Labels", ICML 2021.

    Args:
        alpha: weight of normalised cross-entropy, at least 0; 0: L alone.
        beta: weight of L, above 0.
        a: above 1.
        q: above 0.

    Differences from the authors' code: none known (it calls this loss AUE). The authors clip the gradient's
    norm at 5: ``--clip 5``.
    """

    presets = (
        Preset("cifar10", {"alpha": 1.0, "beta": 4.0, "a": 6.3, "q": 1.5}, SOURCE),
        Preset("cifar10-alone", {"alpha": 0.0, "beta": 1.0, "a": 5.5, "q": 3.0}, SOURCE),
        Preset("cifar100", {"alpha": 10.0, "beta": 0.015, "a": 6.0, "q": 3.0}, SOURCE),
        Preset("default", {}, "the CIFAR-10 values"),
    )

    def __init__(self, alpha: float = 1.0, beta: float = 4.0, a: float = 6.3, q: float = 1.5) -> None:
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f"alpha: {alpha}, expected at least 0")
        check_above("beta", beta, 0.0)
        check_above("a", a, 1.0)
        check_above("q", q, 0.0)
        self.alpha, self.beta, self.a, self.q = alpha, beta, a, q

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        losses = self.beta * aul(logits, batch.labels, self.a, self.q)
        return losses if self.alpha == 0 else self.alpha * nce(logits, batch.labels) + losses
