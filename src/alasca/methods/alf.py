"""Asymmetric loss functions, alone or with normalised cross-entropy."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import ael, agce, aul, nce
from alasca.functional.checks import check_above

LOSSES = ("agce", "aul", "ael")
SOURCE = "Zhou et al. (2021), section 5"


class AsymmetricLoss(LossMethod):
    """Asymmetric losses (AGCE, AUL, AEL), alone or with normalised CE: robust where the clean label is the likeliest.

    ``alpha NCE + beta L``, L being an asymmetric loss.

    Paper: Zhou et al., "Asymmetric Loss Functions for Learning with Noisy Labels", ICML 2021.

    Args:
        kind: ``"agce"``, ``"aul"`` or ``"ael"``.
        alpha: weight of normalised cross-entropy, at least 0; 0: L alone.
        beta: weight of L, above 0.
        a: of L, above 0 (aul: above 1).
        q: of agce and aul, above 0.

    Differences from the authors' code: none known (it calls AUL "AUE"). The authors clip the gradient's norm at 5:
    ``--clip 5``.
    """

    presets = (
        Preset("cifar10", {"kind": "agce", "alpha": 1.0, "beta": 4.0, "a": 6.0, "q": 1.5}, SOURCE),
        Preset("cifar10-aul", {"kind": "aul", "alpha": 1.0, "beta": 4.0, "a": 6.3, "q": 1.5}, SOURCE),
        Preset("cifar10-ael", {"kind": "ael", "alpha": 1.0, "beta": 4.0, "a": 5.0}, SOURCE),
        Preset("cifar10-agce-alone", {"kind": "agce", "alpha": 0.0, "beta": 1.0, "a": 0.6, "q": 0.6}, SOURCE),
        Preset("cifar10-aul-alone", {"kind": "aul", "alpha": 0.0, "beta": 1.0, "a": 5.5, "q": 3.0}, SOURCE),
        Preset("cifar10-ael-alone", {"kind": "ael", "alpha": 0.0, "beta": 1.0, "a": 2.5}, SOURCE),
        Preset("cifar100", {"kind": "agce", "alpha": 10.0, "beta": 0.1, "a": 1.8, "q": 3.0}, SOURCE),
        Preset("cifar100-aul", {"kind": "aul", "alpha": 10.0, "beta": 0.015, "a": 6.0, "q": 3.0}, SOURCE),
        Preset("cifar100-ael", {"kind": "ael", "alpha": 10.0, "beta": 0.1, "a": 1.5}, SOURCE),
        Preset("unknown", {}, "the CIFAR-10 values of agce"),
    )

    def __init__(
        self, kind: str = "agce", alpha: float = 1.0, beta: float = 4.0, a: float = 6.0, q: float = 1.5
    ) -> None:
        super().__init__()
        if kind not in LOSSES:
            raise ValueError(f"kind: {kind!r}, expected one of {', '.join(LOSSES)}")
        if not alpha >= 0:
            raise ValueError(f"alpha: {alpha}, expected at least 0")
        check_above("beta", beta, 0.0)
        check_above("a", a, 1.0 if kind == "aul" else 0.0)
        check_above("q", q, 0.0)
        self.kind, self.alpha, self.beta, self.a, self.q = kind, alpha, beta, a, q

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        if self.kind == "ael":
            losses = ael(logits, batch.labels, self.a)
        else:
            losses = (agce if self.kind == "agce" else aul)(logits, batch.labels, self.a, self.q)
        if self.alpha == 0:
            return self.beta * losses
        return self.alpha * nce(logits, batch.labels) + self.beta * losses
