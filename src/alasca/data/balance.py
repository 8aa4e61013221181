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
