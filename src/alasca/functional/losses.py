"""Losses for classification, one value a sample.

Every loss takes raw logits ``[B, K]`` and integer labels ``[B]`` and returns ``[B]``; there is no
``reduction=``. Half precision is raised to float32 before any logarithm. Labels outside ``[0, K)``
raise `ValueError` on a CPU, where the kernel checks bounds itself; nothing here waits for a device.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from alasca.functional.checks import check_logits, check_unit, pick

OFF_TARGETS = ("uniform", "others")


def log_probabilities(logits: Float[Tensor, "*batch classes"]) -> Float[Tensor, "*batch classes"]:
    """``log softmax``, computed in float32 at least."""
    half = logits.dtype in (torch.float16, torch.bfloat16)
    return torch.log_softmax(logits.float() if half else logits, dim=-1)


def cross_entropy(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"]) -> Float[Tensor, "batch"]:
    """Cross-entropy ``-log p_y``.

    >>> cross_entropy(torch.tensor([[0.7, 0.2, 0.1]]).log(), torch.tensor([0]))
    tensor([0.3567])
    """
    check_logits(logits, labels)
    return -pick(log_probabilities(logits), labels)


def soft_cross_entropy(
    logits: Float[Tensor, "batch classes"], targets: Float[Tensor, "batch classes"]
) -> Float[Tensor, "batch"]:
    """Cross-entropy with a target distribution, ``-sum_k t_k log p_k``."""
    if targets.shape != logits.shape:
        raise ValueError(f"targets: shape {tuple(targets.shape)}, expected that of logits, {tuple(logits.shape)}")
    return -(targets * log_probabilities(logits)).sum(-1)


def smoothed_cross_entropy(
    logits: Float[Tensor, "*heads batch classes"],
    labels: Int[Tensor, "batch"],
    confidence: float | Float[Tensor, "*#heads batch"],
    off_target: str = "uniform",
) -> Float[Tensor, "*heads batch"]:
    """Cross-entropy with the target ``g e_y + (1 - g) / K``, without building that target.

    ``-g log p_y - (1 - g) mean_k log p_k``: eq. 3 of the ALASCA paper (Ko et al., 2022) with its 1/K
    supplied. Sub-classifiers may be stacked in front: logits ``[H, B, K]`` give ``[H, B]``.

    Args:
        logits: raw scores.
        labels: the label that keeps the confidence.
        confidence: g, one number or one a sample. 1 is plain cross-entropy, 0 the uniform target.
        off_target: ``"uniform"`` spreads ``1 - g`` over all classes, ``"others"`` over the other K - 1.

    Raises:
        ValueError: naming the argument that is wrong.
    """
    check_logits(logits, labels)
    if isinstance(confidence, (int, float)):
        check_unit("confidence", confidence)
    log_p = log_probabilities(logits)
    given = pick(log_p, labels)
    if off_target == "uniform":
        rest = log_p.mean(-1)
    elif off_target == "others":
        rest = (log_p.sum(-1) - given) / (logits.shape[-1] - 1)
    else:
        raise ValueError(f"off_target: {off_target!r}, expected one of {', '.join(OFF_TARGETS)}")
    return -rest - confidence * (given - rest)


def label_smoothing(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"], alpha: float
) -> Float[Tensor, "batch"]:
    """Label smoothing: cross-entropy with the target ``(1 - alpha) e_y + alpha / K``.

    Equals ``torch.nn.functional.cross_entropy(..., label_smoothing=alpha)`` for alpha in [0, 1]; a negative
    alpha is negative label smoothing (Wei et al., 2021), which is not bounded below.

    Raises:
        ValueError: alpha above 1.
    """
    if alpha > 1:
        raise ValueError(f"alpha: {alpha}, expected at most 1")
    check_logits(logits, labels)
    log_p = log_probabilities(logits)
    return -(1 - alpha) * pick(log_p, labels) - alpha * log_p.mean(-1)
