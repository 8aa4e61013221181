"""Bootstrapping: the network's own prediction as part of the target."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import bootstrapping
from alasca.functional.checks import check_unit


class Bootstrapping(LossMethod):
    """Bootstrapping: the network's own prediction is a part of the target.

    Cross-entropy with ``beta e_y + (1 - beta) v``, v being the predicted distribution or class.

    Paper: Reed et al., "Training Deep Neural Networks on Noisy Labels with Bootstrapping", 2014.

    Args:
        hard: v is the predicted class; otherwise the predicted distribution.
        beta: weight of the given label, 0 to 1; None: 0.8 if hard, else 0.95, as in the paper.
        detach: let no gradient through a soft v, as many re-implementations do.

    Differences from the authors' code: none was published; the paper lets gradient through a soft v, as we do.
    """

    presets = (
        Preset("default", {}, "Reed et al. (2014), section 5"),
        Preset("hard", {"hard": True}, "Reed et al. (2014), section 5"),
    )

    def __init__(self, hard: bool = False, beta: float | None = None, detach: bool = False) -> None:
        super().__init__()
        self.beta = (0.8 if hard else 0.95) if beta is None else beta
        check_unit("beta", self.beta)
        self.hard, self.detach = hard, detach

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        return bootstrapping(logits, batch.labels, self.beta, self.hard, self.detach)
