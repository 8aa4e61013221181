"""Mean absolute error."""

from __future__ import annotations

from torch import Tensor

from alasca.core import Batch, Clock, LossMethod, Preset
from alasca.functional import mae
from alasca.functional.checks import check_above


class MeanAbsoluteError(LossMethod):
    """Mean absolute error ``2 (1 - p_y)``: symmetric, so robust in theory; slow to learn many classes.

    Its gradient ``-2 p_y (e_y - p)`` vanishes where p_y is small, so that it underfits with many classes.

    Paper: Ghosh, Kumar and Sastry, "Robust Loss Functions under Label Noise for Deep Neural Networks", AAAI 2017.

    Args:
        scale: 2; the code of Ma et al. (2020) has 1, which halves the learning rate.

    Differences from the authors' code: none known.
    """

    presets = (Preset("default", {}, "the paper's loss has no option"),)

    def __init__(self, scale: float = 2.0) -> None:
        super().__init__()
        check_above("scale", scale, 0.0)
        self.scale = scale

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        return mae(logits, batch.labels, self.scale)
