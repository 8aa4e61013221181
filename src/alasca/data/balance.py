"""Class-balanced parts of a data set, seeded."""

from __future__ import annotations

import torch
from torch import Tensor

from alasca.data.seeds import generator


def balanced_part(labels: Tensor, count: int, seed: int, name: str = "part", leave: int = 0) -> Tensor:
    """Positions of `count` samples in which classes have their shares of the whole, as nearly as whole numbers allow.

    Args:
        labels: ``[N]``, on the CPU.
        count: how many, at most N.
        seed: of the draw; `name` makes draws of one seed independent.
        leave: samples of each class that stay out, even if fewer than `count` are found.

    Returns:
        Sorted positions ``[count]``; every class that has a sample keeps one where `count` allows it.

    >>> labels = torch.tensor([0] * 6 + [1] * 2)
    >>> labels[balanced_part(labels, 4, seed=0)].bincount().tolist()
    [3, 1]
    """
    count = min(count, len(labels))
    order = torch.randperm(len(labels), generator=generator(seed, name))
    sizes = torch.bincount(labels)
    quota = sizes.double() * count / max(1, len(labels))
    whole = quota.floor().long()
    for k in (quota - whole).argsort(descending=True, stable=True)[: count - int(whole.sum())].tolist():
        whole[k] += 1
    missing = ((sizes > 0) & (whole == 0)).nonzero()[:, 0].tolist()
    for k in missing if count >= int((sizes > 0).sum()) else ():
        whole[int(whole.argmax())] -= 1
        whole[k] = 1
    whole = whole.minimum((sizes - leave).clamp(min=0))
    shuffled = labels[order]
    return order[place_in_class(shuffled) < whole[shuffled]].sort().values


def class_weights(labels: Tensor, num_classes: int, power: float) -> Tensor | None:
    """Weight of a sample of each class ``[K]``, on the CPU: ``count ** -power``, times what makes their mean over all
    samples 1. None where all are 1.

    Args:
        labels: given labels ``[N]``.
        num_classes: K.
        power: 0 to 1, at which every class weighs the same in all.

    >>> class_weights(torch.tensor([0] * 9 + [1]), 2, 1.0)
    tensor([0.5556, 5.0000])
    """
    counts = labels.cpu().bincount(minlength=num_classes).double()
    there = counts[counts > 0]
    if power == 0 or bool((there == there[0]).all()):
        return None
    weights = counts.clamp(min=1) ** -power
    return (weights * (counts.sum() / (weights * counts).sum())).float()


def place_in_class(labels: Tensor) -> Tensor:
    """How many earlier labels are the same ``[N]``.

    >>> place_in_class(torch.tensor([1, 0, 1, 1]))
    tensor([0, 0, 1, 2])
    """
    ordered, order = labels.sort(stable=True)
    counts = ordered.bincount()
    starts = counts.cumsum(0) - counts
    place = torch.empty_like(labels)
    place[order] = torch.arange(len(labels)) - starts[ordered]
    return place
