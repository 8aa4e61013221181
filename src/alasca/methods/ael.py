"""Asymmetric exponential loss, with normalised cross-entropy or alone."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import ael, nce
from alasca.functional.checks import check_above

SOURCE = "Zhou et al. (2021), section 5"


class AsymmetricExponentialLoss(LossMethod):
    """Asymmetric exponential loss (AEL): robust where the clean label is the likeliest; with normalised CE.

    ``alpha NCE + beta L``, L being ``exp(-p_y / a)``.

    Paper: Zhou et al., "Asymmetric Loss Functions for Learning with Noisy Labels", ICML 2021.

    Args:
        alpha: weight of normalised cross-entropy, at least 0; 0: L alone.
        beta: weight of L, above 0.
        a: above 0.

    Differences from the authors' code: none known. The authors clip the gradient's norm at 5: ``--clip 5``.
    """

    presets = (
        Preset("cifar10", {"alpha": 1.0, "beta": 4.0, "a": 5.0}, SOURCE),
        Preset("cifar10-alone", {"alpha": 0.0, "beta": 1.0, "a": 2.5}, SOURCE),
        Preset("cifar100", {"alpha": 10.0, "beta": 0.1, "a": 1.5}, SOURCE),
        Preset("default", {}, "the CIFAR-10 values"),
    )

    def __init__(self, alpha: float = 1.0, beta: float = 4.0, a: float = 5.0) -> None:
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f"alpha: {alpha}, expected at least 0")
        check_above("beta", beta, 0.0)
        check_above("a", a, 0.0)
        self.alpha, self.beta, self.a = alpha, beta, a

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        losses = self.beta * ael(logits, batch.labels, self.a)
        return losses if self.alpha == 0 else self.alpha * nce(logits, batch.labels) + losses
