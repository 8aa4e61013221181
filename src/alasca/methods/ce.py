"""Cross-entropy: the plain baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from alasca.core import Batch, Clock, Method, Phase, Seen, Step
from alasca.functional import cross_entropy


class CrossEntropy(Method):
    """Plain cross-entropy on the given labels.

    Paper: none; the reference row of every table (section D.1.2 of Ko et al., "ALASCA: Rethinking Label Smoothing
    for Deep Learning Under Label Noise", ICML workshop 2022).

    Differences from the authors' code: none.
    """

    def step(self, nets: Sequence[nn.Module], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch = batches["all"]
        output = nets[0](batch.views[0])
        loss = (batch.weight * cross_entropy(output.logits, batch.labels)).mean()
        return Step(loss, (Seen(0, output, batch),))
