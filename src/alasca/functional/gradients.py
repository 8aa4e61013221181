"""Jacobian norms at hidden layers, and how strongly each class's is penalised (Cao et al., 2021)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def jacobian_norm(
    gradients: Sequence[Tensor], scales: Sequence[Tensor | None], summed: bool = False
) -> Float[Tensor, "batch"]:
    """``(sum_j |scale_j g_j|^2)^(1/2)`` of each sample, g_j ``[B, C_j, ...]`` being its gradient at layer j.

    Args:
        gradients: one tensor a layer.
        scales: ``[C_j]`` or None a layer, a factor for each channel.
        summed: ``sum_j |scale_j g_j|`` instead.

    >>> jacobian_norm([torch.tensor([[3.0]]), torch.tensor([[4.0]])], [None, None])
    tensor([5.])
    """
    squares = []
    for gradient, scale in zip(gradients, scales, strict=True):
        over = tuple(range(2, gradient.dim()))
        channels = gradient.float() if gradient.dtype in (torch.float16, torch.bfloat16) else gradient
        channels = channels.square().sum(over) if over else channels.square()
        squares.append((channels if scale is None else channels * scale.square()).sum(1))
    least = 1e-20  # the root's slope at 0 is infinite
    if summed:
        return torch.stack([square.clamp(min=least).sqrt() for square in squares]).sum(0)
    return torch.stack(squares).sum(0).clamp(min=least).sqrt()


def class_strengths(
    wrong: Float[Tensor, "held"], labels: Int[Tensor, "held"], counts: Int[Tensor, "classes"]
) -> Float[Tensor, "classes"]:
    """``tau_c = err_c^0.6 / n_c^0.4``, divided by the largest: how strongly HAR regularises each class.

    Args:
        wrong: 1 where a held-out sample's prediction is not its given label, else 0.
        labels: given labels of the held-out samples.
        counts: n_c, samples of each class in the whole noisy training set.

    A class without held-out samples has the mean error; one without any sample has strength 0.
    """
    held = torch.bincount(labels, minlength=len(counts))
    errors = torch.zeros(len(counts), dtype=wrong.dtype, device=wrong.device).index_add_(0, labels, wrong)
    errors = torch.where(held > 0, errors / held.clamp(min=1), wrong.mean())
    strengths = torch.where(counts > 0, errors**0.6 / counts.clamp(min=1) ** 0.4, 0.0)
    return strengths / strengths.max().clamp(min=torch.finfo(wrong.dtype).tiny)
