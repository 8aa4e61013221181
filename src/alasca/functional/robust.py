"""Losses that tolerate wrong labels: bounded, symmetric, normalised or asymmetric; one value a sample.

All take raw logits ``[B, K]`` and integer labels ``[B]`` and return ``[B]``, computed from ``log softmax`` in float32
at least, so that nothing overflows for logits of any size. p is the softmax, p_y the probability of the given label.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from alasca.functional.checks import check_above, check_logits, pick
from alasca.functional.losses import cross_entropy, log_probabilities

LOG_ZERO = math.log(1e-4)
"""What reverse cross-entropy takes for log 0, in the authors' code."""


def log_given(logits: Tensor, labels: Tensor) -> Tensor:
    """``log p_y``, the arguments checked."""
    check_logits(logits, labels)
    return pick(log_probabilities(logits), labels)


def mae(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], scale: float = 2.0
) -> Float[Tensor, "batch"]:
    """Mean absolute error ``2 (1 - p_y)``, the L1 distance of p from the label (Ghosh et al., 2017).

    Args:
        logits: raw scores.
        labels: given labels.
        scale: the 2; the code of Ma et al. (2020) has 1.

    >>> mae(torch.tensor([[0.7, 0.2, 0.1]]).log(), torch.tensor([0]))
    tensor([0.6000])
    """
    check_above("scale", scale, 0.0)
    return -scale * torch.expm1(log_given(logits, labels))


def rce(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], log_zero: float = LOG_ZERO
) -> Float[Tensor, "batch"]:
    """Reverse cross-entropy ``-A (1 - p_y)``, A being what is taken for log 0 (Wang et al., 2019).

    Args:
        logits: raw scores.
        labels: given labels.
        log_zero: A, below 0: log 1e-4 in the authors' code, -6 or -4 in their texts.
    """
    if not log_zero < 0:
        raise ValueError(f"log_zero: {log_zero}, expected below 0")
    return log_zero * torch.expm1(log_given(logits, labels))


def gce(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], q: float = 0.7) -> Float[Tensor, "batch"]:
    """Generalised cross-entropy ``(1 - p_y^q) / q`` (Zhang and Sabuncu, 2018).

    Args:
        logits: raw scores.
        labels: given labels.
        q: from near 0 (cross-entropy) to 1 (``1 - p_y``).
    """
    check_q(q)
    return -torch.expm1(q * log_given(logits, labels)) / q


def truncated_gce(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], q: float = 0.7, k: float = 0.5
) -> Float[Tensor, "batch"]:
    """Truncated generalised cross-entropy: constant, without gradient, where ``p_y <= k`` (Zhang and Sabuncu, 2018).

    Args:
        logits: raw scores.
        labels: given labels.
        q: from near 0 to 1.
        k: probability, above 0 and below 1.
    """
    check_q(q)
    check_k(k)
    log_p = log_given(logits, labels)
    return -torch.expm1(q * log_p.clamp(min=math.log(k))) / q


def check_q(q: float) -> None:
    """Raise `ValueError` unless ``0 < q <= 1``."""
    if not 0 < q <= 1:
        raise ValueError(f"q: {q}, expected above 0 and at most 1")


def check_k(k: float) -> None:
    """Raise `ValueError` unless ``0 < k < 1``."""
    if not 0 < k < 1:
        raise ValueError(f"k: {k}, expected above 0 and below 1")


def sce(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, "batch"],
    alpha: float,
    beta: float,
    log_zero: float = LOG_ZERO,
) -> Float[Tensor, "batch"]:
    """Symmetric cross-entropy ``alpha CE + beta RCE`` (Wang et al., 2019)."""
    return alpha * cross_entropy(logits, labels) + beta * rce(logits, labels, log_zero)


def nce(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"]) -> Float[Tensor, "batch"]:
    """Normalised cross-entropy ``log p_y / sum_k log p_k``; over labels it adds up to 1 (Ma et al., 2020)."""
    check_logits(logits, labels)
    log_p = log_probabilities(logits)
    return pick(log_p, labels) / log_p.sum(-1)


def normalized_focal(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], gamma: float = 0.5, detach: bool = False
) -> Float[Tensor, "batch"]:
    """Normalised focal loss: ``(1 - p_y)^g log p_y / sum_k (1 - p_k)^g log p_k`` (Ma et al., 2020).

    Args:
        logits: raw scores.
        labels: given labels.
        gamma: g, at least 0; 0 is `nce`.
        detach: the authors' code: no gradient through the weights ``(1 - p)^g``.
    """
    check_logits(logits, labels)
    if not gamma >= 0:
        raise ValueError(f"gamma: {gamma}, expected at least 0")
    log_p = log_probabilities(logits)
    others = -torch.expm1(log_p.detach() if detach else log_p)
    focal = others.clamp(min=1e-7) ** gamma * log_p
    return pick(focal, labels) / focal.sum(-1)


def nce_rce(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], alpha: float, beta: float
) -> Float[Tensor, "batch"]:
    """Active passive loss ``alpha NCE + beta RCE`` (Ma et al., 2020)."""
    return alpha * nce(logits, labels) + beta * rce(logits, labels)


def nce_mae(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], alpha: float, beta: float, scale: float = 1.0
) -> Float[Tensor, "batch"]:
    """Active passive loss ``alpha NCE + beta MAE`` (Ma et al., 2020), MAE being ``scale (1 - p_y)``."""
    return alpha * nce(logits, labels) + beta * mae(logits, labels, scale)


def agce(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], a: float, q: float
) -> Float[Tensor, "batch"]:
    """Asymmetric generalised cross-entropy ``((a + 1)^q - (a + p_y)^q) / q`` (Zhou et al., 2021); a, q above 0."""
    check_above("a", a, 0.0)
    check_above("q", q, 0.0)
    return (math.pow(a + 1, q) - (a + log_given(logits, labels).exp()) ** q) / q


def aul(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], a: float, q: float
) -> Float[Tensor, "batch"]:
    """Asymmetric unhinged loss ``((a - p_y)^q - (a - 1)^q) / q`` (Zhou et al., 2021); a above 1, q above 0."""
    check_above("a", a, 1.0)
    check_above("q", q, 0.0)
    return ((a - log_given(logits, labels).exp()) ** q - math.pow(a - 1, q)) / q


def ael(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], a: float) -> Float[Tensor, "batch"]:
    """Asymmetric exponential loss ``exp(-p_y / a)`` (Zhou et al., 2021); a above 0. It ends at exp(-1/a), not at 0."""
    check_above("a", a, 0.0)
    return (-log_given(logits, labels).exp() / a).exp()


def nce_agce(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], alpha: float, beta: float, a: float, q: float
) -> Float[Tensor, "batch"]:
    """``alpha NCE + beta AGCE`` (Zhou et al., 2021)."""
    return alpha * nce(logits, labels) + beta * agce(logits, labels, a, q)


def nce_aul(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], alpha: float, beta: float, a: float, q: float
) -> Float[Tensor, "batch"]:
    """``alpha NCE + beta AUL`` (Zhou et al., 2021)."""
    return alpha * nce(logits, labels) + beta * aul(logits, labels, a, q)


def nce_ael(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], alpha: float, beta: float, a: float
) -> Float[Tensor, "batch"]:
    """``alpha NCE + beta AEL`` (Zhou et al., 2021)."""
    return alpha * nce(logits, labels) + beta * ael(logits, labels, a)
