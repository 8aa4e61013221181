"""Class-balanced parts of a data set, seeded."""

from __future__ import annotations

import torch
from torch import Tensor

from alasca.data.seeds import generator


def balanced_part(labels: Tensor, count: int, seed: int, name: str = "part") -> Tensor:
    """Positions of `count` samples in which classes have their shares of the whole, as nearly as whole numbers allow.

    Args:
        labels: ``[N]``, on the CPU.
        count: how many, at most N.
        seed: of the draw; `name` makes draws of one seed independent.

    Returns:
        Sorted positions ``[count]``; every class that has a sample keeps one where `count` allows it.

    >>> labels = torch.tensor([0] * 6 + [1] * 2)
    >>> labels[balanced_part(labels, 4, seed=0)].bincount().tolist()
    [3, 1]
    """
    count = min(count, len(labels))
    order = torch.randperm(len(labels), generator=generator(seed, name))
    taken, sizes = [], torch.bincount(labels)
    quota = sizes.double() * count / max(1, len(labels))
    whole = torch.where(
        (sizes > 0) & (count >= int((sizes > 0).sum())), quota.floor().clamp(min=1), quota.floor()
    ).long()
    while int(whole.sum()) > count:
        whole[int((whole - quota).argmax())] -= 1
    remainder = torch.where(whole < sizes, quota - whole, -torch.inf)
    for k in remainder.argsort(descending=True, stable=True)[: count - int(whole.sum())].tolist():
        whole[k] += 1
    for k, size in enumerate(whole.tolist()):
        taken.append(order[labels[order] == k][:size])
    return torch.cat(taken).sort().values
