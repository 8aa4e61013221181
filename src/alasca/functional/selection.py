"""Choosing samples: small losses, disagreement, mixtures of two components, eigenvectors. Nothing random.

Costs are stated for N samples, D features, K classes. What chooses within a step (`small_loss`, `disagreement`) gives
masks and waits for no device; the rest runs between epochs.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from alasca.functional.checks import check_above, check_unit


def small_loss(losses: Float[Tensor, "batch"], keep: int | Int[Tensor, ""]) -> Bool[Tensor, "batch"]:
    """The `keep` samples with the smallest losses, as a mask; ties go to the first. O(B log B).

    Args:
        losses: one a sample.
        keep: how many, at least 1: an int, or a 0-dim tensor on the same device.

    >>> small_loss(torch.tensor([3.0, 1.0, 2.0, 0.0]), 2)
    tensor([False,  True, False,  True])
    """
    if losses.dim() != 1:
        raise ValueError(f"losses: shape {tuple(losses.shape)}, expected [B]")
    if isinstance(keep, int) and keep < 1:
        raise ValueError(f"keep: {keep}, expected at least 1")
    order = losses.detach().argsort(stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    return rank < keep


def masked_mean(values: Float[Tensor, "batch"], mask: Bool[Tensor, "batch"]) -> Float[Tensor, ""]:
    """Mean of the values under a mask; 0 where it is empty.

    >>> masked_mean(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([True, False, True]))
    tensor(2.5000)
    """
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def disagreement(
    logits1: Float[Tensor, "batch classes"], logits2: Float[Tensor, "batch classes"]
) -> Bool[Tensor, "batch"]:
    """Where two networks predict different classes. Symmetric.

    >>> disagreement(torch.eye(3)[[0, 1, 2, 1]], torch.eye(3)[[0, 2, 2, 0]])
    tensor([False,  True, False,  True])
    """
    if logits1.shape != logits2.shape:
        raise ValueError(f"logits2: shape {tuple(logits2.shape)}, expected that of logits1, {tuple(logits1.shape)}")
    return logits1.argmax(-1) != logits2.argmax(-1)


def wide(values: Tensor) -> Tensor:
    """The same in float64, on a device that has it."""
    return values.detach().to("cpu" if values.device.type == "mps" else values.device).double()


def two_component_posterior(
    values: Float[Tensor, "samples"],
    component: str = "low",
    max_iter: int = 100,
    tol: float = 1e-4,
    reg: float = 5e-4,
) -> Float[Tensor, "samples"]:
    """Posterior of one component of a two-component Gaussian mixture fitted to numbers by EM. O(N) a round.

    Starts from two means (Lloyd's algorithm from the extremes), so that nothing is random; computed in float64.

    Args:
        values: numbers, finite.
        component: the one with the ``"low"`` or the ``"high"`` mean.
        max_iter: rounds of EM at most.
        tol: stop when the mean log-likelihood grows by less.
        reg: added to variances.

    Returns:
        A posterior for each number; 1 for all where there are fewer than two different ones.
    """
    if values.dim() != 1:
        raise ValueError(f"values: shape {tuple(values.shape)}, expected [N]")
    if component not in ("low", "high"):
        raise ValueError(f"component: {component!r}, expected one of low, high")
    if max_iter < 1:
        raise ValueError(f"max_iter: {max_iter}, expected at least 1")
    check_above("reg", reg, 0.0)
    x = wide(values)
    if not bool(x.isfinite().all()):
        raise ValueError("values: not all are finite")
    if len(x) < 2 or bool(x.min() == x.max()):
        return torch.ones_like(values)
    part = two_means(x)
    share = torch.stack([~part, part], 1).double()
    before = -torch.inf
    for _ in range(max_iter):
        count = share.sum(0) + 10 * torch.finfo(torch.float64).eps
        mean = (share * x[:, None]).sum(0) / count
        variance = (share * (x[:, None] - mean).square()).sum(0) / count + reg
        log_density = -0.5 * ((x[:, None] - mean).square() / variance + (2 * torch.pi * variance).log())
        joint = log_density + (count / len(x)).log()
        total = joint.logsumexp(1)
        share = (joint - total[:, None]).exp()
        now = float(total.mean())
        if now - before < tol:
            break
        before = now
    wanted = mean.argmin() if component == "low" else mean.argmax()
    return share[:, wanted].to(values)


def two_means(x: Float[Tensor, "samples"]) -> Bool[Tensor, "samples"]:
    """Two clusters of numbers, started at the extremes: True for the upper one. Sorting apart O(N) a round."""
    centres = torch.stack([x.min(), x.max()])
    upper = x > centres.mean()
    for _ in range(100):
        centres = torch.stack([x[~upper].mean(), x[upper].mean()])
        moved = x > centres.mean()
        if torch.equal(moved, upper):
            break
        upper = moved
    return upper


def mixture_noise_rate(losses: Float[Tensor, "samples"]) -> float:
    """Share of wrong labels by the two-component mixture of training losses: the weight of the upper component."""
    return 1 - float(wide(two_component_posterior(losses)).mean())


def class_confidence(
    probabilities: Float[Tensor, "samples classes"], labels: Int[Tensor, "samples"]
) -> Float[Tensor, "two classes"]:
    """For each class the sum of its samples' probabilities of it, and their number ``[2, K]``; batches add up."""
    own = probabilities.gather(1, labels[:, None])[:, 0]
    both = torch.stack([own, torch.ones_like(own)])
    return torch.zeros(2, probabilities.shape[1], dtype=own.dtype, device=own.device).index_add_(1, labels, both)


def confident_joint(
    probabilities: Float[Tensor, "samples classes"],
    labels: Int[Tensor, "samples"],
    confidence: Float[Tensor, "two classes"] | None = None,
) -> Int[Tensor, "classes classes"]:
    """Counts of (given label, confidently predicted class), the confident joint of Northcutt et al. (2021). O(N K).

    A class is confident for a sample where its probability is at least the mean that samples given that class have of
    it; among several the likeliest counts. Samples without one are not counted.

    Args:
        probabilities: ``[N, K]``.
        labels: given labels ``[N]``.
        confidence: `class_confidence` of all samples where these are only some; None: of these.
    """
    classes = probabilities.shape[1]
    sums, sizes = class_confidence(probabilities, labels) if confidence is None else confidence
    thresholds = torch.where(sizes > 0, sums / sizes.clamp(min=1), torch.inf)
    confident = torch.where(probabilities >= thresholds - 1e-6, probabilities, -1.0)  # a mean's rounding aside
    value, predicted = confident.max(1)
    cells = (labels * classes + predicted)[value >= 0]
    return torch.bincount(cells, minlength=classes * classes).view(classes, classes)


def joint_noise_rate(joint: Int[Tensor, "classes classes"], sizes: Tensor) -> float:
    """Share of wrong labels by a confident joint, its rows scaled to the classes' sizes ``[K]``."""
    joint, sizes = wide(joint), wide(sizes)
    counted = joint.sum(1)
    right = torch.where(counted > 0, joint.diagonal() / counted.clamp(min=1), 1.0)
    return 1 - float((right * sizes).sum() / sizes.sum())


def class_directions(
    grams: Float[Tensor, "classes width width"],
) -> Float[Tensor, "classes width"]:
    """The top eigenvector of each class's Gram matrix ``sum z z^T``, of unit length. O(K D^3)."""
    symmetric = wide(grams + grams.mT) / 2  # in single precision LAPACK can give NaN for matrices of low rank
    _, vectors = torch.linalg.eigh(symmetric)
    return torch.as_tensor(vectors[..., -1]).to(grams)


def class_grams(
    features: Float[Tensor, "samples width"],
    labels: Int[Tensor, "samples"],
    num_classes: int,
    kept: Bool[Tensor, "samples"] | None = None,
) -> Float[Tensor, "classes width width"]:
    """``sum z z^T`` over the (kept) samples of each class. O(N D^2)."""
    found = []
    for k in range(num_classes):
        rows = labels == k if kept is None else (labels == k) & kept
        own = features[rows]
        found.append(own.mT @ own)
    return torch.stack(found)


def alignment(
    features: Float[Tensor, "samples width"],
    labels: Int[Tensor, "samples"],
    directions: Float[Tensor, "classes width"],
    squared: bool = False,
) -> Float[Tensor, "samples"]:
    """How well a sample's feature lies along its class's direction, ``|<u, z / |z|>|``, from 0 to 1. O(N D).

    Args:
        features: z.
        labels: given labels.
        directions: u of each class, unit vectors.
        squared: ``<u, z>^2`` instead, the paper's form, which grows with the feature's length.
    """
    product = (features * directions[labels]).sum(1)
    if squared:
        return product.square()
    lengths: Tensor = torch.linalg.vector_norm(features, dim=1)
    return product.abs() / lengths.clamp(min=torch.finfo(features.dtype).tiny)


def fine_scores(
    features: Float[Tensor, "samples width"],
    labels: Int[Tensor, "samples"],
    fit_on: Bool[Tensor, "samples"] | None = None,
    squared: bool = False,
) -> Float[Tensor, "samples"]:
    """FINE's score (Kim et al., 2021): alignment with the top eigenvector of the class's Gram matrix. O(N D^2 + K D^3).

    Args:
        features: ``[N, D]``, what the classifier layer reads.
        labels: given labels.
        fit_on: the samples that give the eigenvectors; None: all. All are scored.
        squared: the paper's ``<u, z>^2``; the authors' code, and the default, is ``|<u, z / |z|>|``.
    """
    if features.dim() != 2 or labels.shape != features.shape[:1]:
        raise ValueError(f"labels: shape {tuple(labels.shape)}, expected ({len(features)},) to match the features")
    grams = class_grams(features, labels, int(labels.max()) + 1 if len(labels) else 0, fit_on)
    return alignment(features, labels, class_directions(grams), squared)


def forget_rate(epoch: int, rate: float, epochs: int, exponent: float = 1.0) -> float:
    """Co-teaching's schedule: from 0 at epoch 0 to ``rate ** exponent`` at epoch ``epochs - 1``, then constant.

    >>> [round(forget_rate(epoch, 0.5, 10), 4) for epoch in (0, 1, 5, 9, 30)]
    [0.0, 0.0556, 0.2778, 0.5, 0.5]
    """
    check_unit("rate", rate)
    end = math.pow(rate, exponent)
    return end if epochs <= 1 else end * min(epoch / (epochs - 1), 1.0)


def kept_count(size: int, forget: float) -> int:
    """How many of `size` samples stay: ``floor((1 - forget) size)``, at least 1.

    >>> kept_count(128, 0.2), kept_count(100, 0.8), kept_count(3, 1.0)
    (102, 20, 1)
    """
    return max(1, int((1 - forget) * size + 1e-6))
