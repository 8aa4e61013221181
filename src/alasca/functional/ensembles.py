"""One prediction of several classifiers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def log_mean_softmax(logits: Sequence[Float[Tensor, "batch classes"]]) -> Float[Tensor, "batch classes"]:
    """``log(mean_i softmax(z_i))``: log-probabilities of classifiers that vote with their probabilities.

    Args:
        logits: of each classifier, ``[B, K]``; one classifier gives its own log-probabilities.

    >>> log_mean_softmax([torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3.0)]])]).exp()
    tensor([[0.3750, 0.6250]])
    """
    if not logits:
        raise ValueError("logits: empty, expected one tensor a classifier")
    return torch.stack([each.log_softmax(1) for each in logits]).logsumexp(0) - math.log(len(logits))
