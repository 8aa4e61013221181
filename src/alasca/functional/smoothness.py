"""Label smoothing as a regulariser: Omega of eq. 1 and adaptive label smoothing of eq. 2 (Ko et al., 2022)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from alasca.functional.checks import check_logits, pick
from alasca.functional.losses import log_probabilities


def smoothness(logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch"]:
    """``Omega(f) = K logsumexp(f) - sum_i f_i`` (eq. 1).

    Convex, unchanged by adding a constant to all logits, least (``K log K``) where all logits are equal.
    Label smoothing is cross-entropy plus this: ``CE(f, smoothed by a) = (1 - a) CE(f, y) + (a / K) Omega(f)``.

    >>> smoothness(torch.zeros(1, 4)) / 4 == torch.tensor(4.0).log()
    tensor([True])
    """
    return -log_probabilities(logits).sum(-1)


def als(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], scale: str = "mean"
) -> Float[Tensor, "batch"]:
    """Adaptive label smoothing of a classifier by its own confidence (eq. 2).

    ``b CE(f, y) + (1 - b) Omega(f) / K`` with ``b = softmax(f)_y``, which carries no gradient.

    Args:
        logits: raw scores.
        labels: given labels.
        scale: ``"mean"`` divides Omega by K, so that b is a smoothing factor; ``"sum"`` is eq. 2 to the letter.
    """
    check_logits(logits, labels)
    if scale not in ("mean", "sum"):
        raise ValueError(f"scale: {scale!r}, expected one of mean, sum")
    log_p = log_probabilities(logits)
    given = pick(log_p, labels)
    confidence = given.detach().exp()
    omega = -log_p.mean(-1) if scale == "mean" else -log_p.sum(-1)
    return torch.lerp(omega, -given, confidence)
