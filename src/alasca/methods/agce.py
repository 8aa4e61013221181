"""Asymmetric generalised cross-entropy, with normalised cross-entropy or alone."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import agce, nce
from alasca.functional.checks import check_above

SOURCE = "Zhou et al. (2021), section 5"


class AsymmetricGeneralizedCrossEntropy(LossMethod):
    """Asymmetric generalised cross-entropy (AGCE): robust where the clean label is the likeliest; with normalised CE.

    ``alpha NCE + beta L``, L being ``((a + 1)^q - (a + p_y)^q) / q``.

    Paper: Zhou et al., "Asymmetric Loss Functions for Learning with Noisy Labels", ICML 2021.

    Args:
        alpha: weight of normalised cross-entropy, at least 0; 0: L alone.
        beta: weight of L, above 0.
        a: above 0.
        q: above 0.

    Differences from the authors' code: none known. The authors clip the gradient's norm at 5: ``--clip 5``.
    """

    presets = (
        Preset("cifar10", {"alpha": 1.0, "beta": 4.0, "a": 6.0, "q": 1.5}, SOURCE),
        Preset("cifar10-alone", {"alpha": 0.0, "beta": 1.0, "a": 0.6, "q": 0.6}, SOURCE),
        Preset("cifar100", {"alpha": 10.0, "beta": 0.1, "a": 1.8, "q": 3.0}, SOURCE),
        Preset("default", {}, "the CIFAR-10 values"),
    )

    def __init__(self, alpha: float = 1.0, beta: float = 4.0, a: float = 6.0, q: float = 1.5) -> None:
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f"alpha: {alpha}, expected at least 0")
        check_above("beta", beta, 0.0)
        check_above("a", a, 0.0)
        check_above("q", q, 0.0)
        self.alpha, self.beta, self.a, self.q = alpha, beta, a, q

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        losses = self.beta * agce(logits, batch.labels, self.a, self.q)
        return losses if self.alpha == 0 else self.alpha * nce(logits, batch.labels) + losses
