"""Symmetric cross-entropy."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import sce
from alasca.functional.robust import LOG_ZERO


class SymmetricCrossEntropy(LossMethod):
    """Symmetric cross-entropy: ``alpha CE + beta RCE``.

    RCE, the reverse, is ``-A (1 - p_y)``, A being what is taken for log 0.

    Paper: Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels", ICCV 2019.

    Args:
        alpha: weight of cross-entropy, at least 0.
        beta: weight of reverse cross-entropy, at least 0.
        log_zero: A, what is taken for log 0.

    Differences from the authors' code: none. The paper's analysis has A = -6, later papers quote -4, the code is
    ``log 1e-4`` (ours); for CIFAR-100 re-implementations have (6, 1) and (1, 0.4) where the paper has (6, 0.1).
    """

    presets = (
        Preset("cifar10", {"alpha": 0.1, "beta": 1.0}, "Wang et al. (2019), section 4.3"),
        Preset("cifar100", {"alpha": 6.0, "beta": 0.1}, "Wang et al. (2019), section 4.3"),
        Preset("default", {}, "the CIFAR-10 values"),
    )

    def __init__(self, alpha: float = 0.1, beta: float = 1.0, log_zero: float = LOG_ZERO) -> None:
        super().__init__()
        if not (alpha >= 0 and beta >= 0 and alpha + beta > 0):
            raise ValueError(f"alpha, beta: {alpha}, {beta}, expected at least 0 and one above 0")
        if not log_zero < 0:
            raise ValueError(f"log_zero: {log_zero}, expected below 0")
        self.alpha, self.beta, self.log_zero = alpha, beta, log_zero

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        return sce(logits, batch.labels, self.alpha, self.beta, self.log_zero)
