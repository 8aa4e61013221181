"""Early stopping: cross-entropy, and the epoch that is best on held-out noisy labels."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import cross_entropy


class EarlyStopping(LossMethod):
    """Early stopping: cross-entropy, and the epoch with the best accuracy on held-out *noisy* labels.

    A preset of plain cross-entropy: the choosing is the engine's ``select="noisy-val"``, which every method can use;
    ties go to the earliest epoch. A tenth of the training set is held out unless the settings say otherwise.

    Paper: Yao, Rosasco and Caponnetto, "On early stopping in gradient descent learning", 2007; a row of Ko et al.,
    2022.

    Differences from the authors' code: none; no test label is looked at.
    """

    select = "noisy-val"
    presets = (Preset("default", {}, "a tenth held out, as in Liu et al. (2020)"),)

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        return cross_entropy(logits, batch.labels)
