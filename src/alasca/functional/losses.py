"""Losses for classification, one value a sample.

Every loss takes raw logits ``[B, K]`` and integer labels ``[B]`` and returns ``[B]``; there is no
``reduction=``. Half precision is raised to float32 before any logarithm. Labels outside ``[0, K)``
raise `ValueError` on a CPU, where the kernel checks bounds itself; nothing here waits for a device.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from alasca.functional.checks import check_above, check_logits, check_unit, check_weights, pick

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


def bootstrapping(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, "batch"],
    beta: float,
    hard: bool = False,
    detach: bool = False,
) -> Float[Tensor, "batch"]:
    """Bootstrapping (Reed et al., 2014): cross-entropy with the target ``beta e_y + (1 - beta) v``.

    Args:
        logits: raw scores.
        labels: given labels.
        beta: weight of the given label, 0 to 1; the paper's are 0.95 (soft) and 0.8 (hard).
        hard: v is the predicted class; otherwise the predicted distribution p.
        detach: let no gradient pass through a soft v, as many re-implementations do. The paper lets it.
    """
    check_logits(logits, labels)
    check_unit("beta", beta)
    log_p = log_probabilities(logits)
    if hard:
        own = log_p.amax(-1)
    else:
        target = log_p.detach().exp() if detach else log_p.exp()
        own = (target * log_p).sum(-1)
    return -beta * pick(log_p, labels) - (1 - beta) * own


def distillation(
    logits: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"], temperature: float = 1.0
) -> Float[Tensor, "batch"]:
    """``KL(softmax(teacher / T) || softmax(logits / T))``; no gradient reaches the teacher's logits.

    Usually multiplied by ``T ** 2``, so that its gradient keeps its size as T grows (Hinton et al., 2015).
    """
    check_above("temperature", temperature, 0.0)
    if teacher.shape != logits.shape:
        raise ValueError(f"teacher: shape {tuple(teacher.shape)}, expected that of logits, {tuple(logits.shape)}")
    log_t = log_probabilities(teacher.detach() / temperature)
    return (log_t.exp() * (log_t - log_probabilities(logits / temperature))).sum(-1)


def jocor(
    logits1: Float[Tensor, "batch classes"],
    logits2: Float[Tensor, "batch classes"],
    labels: Int[Tensor, "batch"],
    co_lambda: float = 0.9,
) -> Float[Tensor, "batch"]:
    """JoCoR's joint loss (Wei et al., 2020): ``(1 - l) (CE1 + CE2) + l (KL(p1 || p2) + KL(p2 || p1))``.

    Gradient flows through both sides of both divergences. Symmetric in the networks.

    Args:
        logits1, logits2: of two networks.
        labels: given labels.
        co_lambda: l, 0 to 1.
    """
    check_unit("co_lambda", co_lambda)
    if logits1.shape != logits2.shape:
        raise ValueError(f"logits2: shape {tuple(logits2.shape)}, expected that of logits1, {tuple(logits1.shape)}")
    log_p, log_q = log_probabilities(logits1), log_probabilities(logits2)
    agreement = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1)
    supervised = cross_entropy(logits1, labels) + cross_entropy(logits2, labels)
    return (1 - co_lambda) * supervised + co_lambda * agreement


def tf_kd(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, "batch"],
    alpha: float = 0.1,
    a: float = 0.99,
    temperature: float = 20.0,
    legacy: bool = False,
    multiplier: float = 100.0,
) -> Float[Tensor, "batch"]:
    """Teacher-free distillation, Tf-KD_reg (Yuan et al., 2020): ``(1 - alpha) CE + alpha KL(virtual teacher || p)``.

    The virtual teacher has probability `a` on the given label and the rest on the others evenly; temperature is
    applied to both sides.

    Args:
        logits: raw scores.
        labels: given labels.
        alpha: weight of the distillation, 0 to 1.
        a: the teacher's probability of the label, above 0 and below 1.
        temperature: T.
        legacy: the authors' code: the teacher is ``softmax(probabilities / T)``, nearly uniform, the student has
            T = 1, and the divergence is averaged over classes and multiplied by `multiplier`.
        multiplier: of `legacy`; equals the number of classes where the divergence is to be a sum.
    """
    check_logits(logits, labels)
    check_unit("alpha", alpha)
    check_above("temperature", temperature, 0.0)
    if not 0 < a < 1:
        raise ValueError(f"a: {a}, expected above 0 and below 1")
    classes = logits.shape[-1]
    on, off = a, (1 - a) / (classes - 1)
    scores = (
        (on / temperature, off / temperature) if legacy else (math.log(on) / temperature, math.log(off) / temperature)
    )
    top = max(scores)
    total = top + math.log(math.exp(scores[0] - top) + (classes - 1) * math.exp(scores[1] - top))
    log_on, log_off = scores[0] - total, scores[1] - total
    log_p = log_probabilities(logits if legacy else logits / temperature)
    given = pick(log_p, labels)
    rest = log_p.sum(-1) - given
    divergence = math.exp(log_on) * (log_on - given) + math.exp(log_off) * ((classes - 1) * log_off - rest)
    if legacy:
        divergence = divergence * (multiplier / classes)
    return (1 - alpha) * cross_entropy(logits, labels) + alpha * divergence


def elr_regularizer(
    logits: Float[Tensor, "batch classes"], target: Float[Tensor, "batch classes"]
) -> Float[Tensor, "batch"]:
    """Early-learning regularisation ``log(1 - <p, t>)`` (Liu et al., 2020): negative, least where p aligns with t.

    Args:
        logits: raw scores; p is clamped to [1e-4, 1 - 1e-4].
        target: t, averaged predictions, rows that sum to at most 1. Carries no gradient.
    """
    if target.shape != logits.shape:
        raise ValueError(f"target: shape {tuple(target.shape)}, expected that of logits, {tuple(logits.shape)}")
    p = log_probabilities(logits).exp().clamp(1e-4, 1 - 1e-4)
    return torch.log1p(-(p * target.detach()).sum(-1).clamp(max=1 - 1e-4))


def jensen_shannon(
    views: Sequence[Float[Tensor, "batch classes"]],
    labels: Int[Tensor, "batch"],
    weights: Sequence[float],
    scaled: bool = True,
) -> Float[Tensor, "batch"]:
    """Generalised Jensen-Shannon divergence of the label and the predictions of one or more views.

    Englesson and Azizpour, 2021. ``sum_j w_j KL(p^j || m)`` with ``m = sum_j w_j p^j``, p^1 the label's one-hot
    distribution, divided by ``Z = -(1 - w_1) ln(1 - w_1)``. One view: JS, which goes from cross-entropy (w_1 near 0)
    to ``1 - p_y`` (w_1 near 1). Several: it asks for consistency too.

    Args:
        views: logits of each view.
        labels: given labels.
        weights: ``len(views) + 1`` of them, the label's first; positive, adding up to 1.
        scaled: divide by Z.
    """
    check_weights("weights", weights, len(views) + 1)
    for logits in views:
        check_logits(logits, labels)
    log_p = [log_probabilities(logits) for logits in views]
    shares = [math.log(weight) for weight in weights[1:]]
    log_m = torch.logsumexp(torch.stack([each + share for each, share in zip(log_p, shares, strict=True)]), 0)
    given = pick(log_m, labels)
    given = torch.logaddexp(given, torch.full_like(given, math.log(weights[0])))
    log_m = log_m.scatter(-1, labels.long().unsqueeze(-1), given.unsqueeze(-1))
    divergence = -weights[0] * given
    for weight, each in zip(weights[1:], log_p, strict=True):
        divergence = divergence + weight * (each.exp() * (each - log_m)).sum(-1)
    return divergence / -((1 - weights[0]) * math.log1p(-weights[0])) if scaled else divergence
