"""Samples that are copies of each other: the same bytes, a picture saved anew, a text in other case or spacing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from alasca.data.text import words
from alasca.data.views import grey

SIDE = 16
"""Pixels of the side at which pictures are compared."""
CLOSE = 0.08
"""Largest difference of the same pictures, as a share of their contrast: what saving a picture anew does to it."""
AROUND = 2048
"""Pictures that each is compared with on either side, at least."""
NOTHING = -1


def duplicate_sets(batches: Iterable[Tensor], texts: Sequence[str] | None = None) -> np.ndarray:
    """The number of the set of copies that each sample is in ``[N]``, int64; -1 where it has no copy.

    Pictures are copies where nothing of them differs by more than saving them anew in another format would make them
    differ; texts where their words are the same; rows of numbers where all are equal.

    Args:
        batches: samples as they are kept: ``[B, C, H, W]`` bytes, or rows.
        texts: of the samples, where they are such; `batches` are then not read.

    >>> duplicate_sets([torch.tensor([[1.0, 2], [3, 4], [1, 2], [5, 6]])]).tolist()
    [0, -1, 0, -1]
    """
    if texts is not None:
        return numbered([" ".join(words(text)).encode() for text in texts])
    keys: list[bytes] = []
    looks: list[Tensor] = []
    for batch in batches:
        batch = batch.cpu()
        keys += [hashlib.blake2b(row.numpy().tobytes(), digest_size=16).digest() for row in batch]
        if batch.dtype == torch.uint8 and min(batch.shape[2:]) >= SIDE:
            looks.append(seen_small(batch))
    exact = numbered(keys)
    return exact if not looks else joined(exact, torch.cat(looks))


def numbered(keys: Sequence[bytes]) -> np.ndarray:
    """Sets of equal keys, numbered in the order in which they first come."""
    first: dict[bytes, int] = {}
    at = np.array([first.setdefault(key, k) for k, key in enumerate(keys)], dtype=np.int64)
    return renumbered(at)


def renumbered(roots: np.ndarray) -> np.ndarray:
    """Sets of two and more by one member's position, numbered; -1 for all others."""
    counts = np.bincount(roots, minlength=len(roots)) if len(roots) else roots
    several = np.flatnonzero(counts > 1)
    number = np.full(len(roots), NOTHING, dtype=np.int64)
    number[several] = np.arange(len(several))
    found: np.ndarray = number[roots]
    return found


def seen_small(pictures: Tensor) -> Tensor:
    """Pictures in grey at `SIDE` pixels, of mean 0 and deviation 1 ``[B, SIDE * SIDE]``; flat ones are NaN."""
    small = F.adaptive_avg_pool2d(grey(pictures.float()), SIDE).flatten(1)
    small = small - small.mean(1, keepdim=True)
    spread = small.std(1, keepdim=True)
    return torch.where(spread > 2, small / spread, torch.nan)


def joined(exact: np.ndarray, looks: Tensor) -> np.ndarray:
    """Sets of copies, with those joined that look alike.

    Pictures that look alike lie near each other along the direction in which pictures differ most: there, each is
    compared with thousands around it.
    """
    roots = np.arange(len(exact))
    first: dict[int, int] = {}
    for k, number in enumerate(exact.tolist()):
        if number != NOTHING:
            roots[k] = first.setdefault(number, k)
    usable = looks.isfinite().all(1).nonzero()[:, 0]
    points = looks[usable]
    if len(usable) > 1:
        sample = points[:: max(1, len(points) // 5_000)]
        _, vectors = torch.linalg.eigh(sample.t() @ sample)
        order = (points @ vectors[:, -1]).argsort()
        for start in range(0, len(order), AROUND):
            one, other = order[start : start + AROUND], order[start : start + 2 * AROUND]
            alike = (torch.cdist(points[one], points[other]) < CLOSE * SIDE).triu(1).nonzero()
            for a, b in alike.tolist():
                union(roots, int(usable[one[a]]), int(usable[other[b]]))
    return renumbered(np.array([root(roots, k) for k in range(len(roots))], dtype=np.int64))


def root(roots: np.ndarray, k: int) -> int:
    """The position that stands for a sample's set."""
    while roots[k] != k:
        roots[k] = roots[roots[k]]
        k = int(roots[k])
    return k


def union(roots: np.ndarray, a: int, b: int) -> None:
    """Make one set of two."""
    low, high = sorted((root(roots, a), root(roots, b)))
    roots[high] = low


def conflicts(sets: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which samples are in a set of copies that have different labels, bool ``[N]``; -1 is no label.

    >>> conflicts(np.array([0, 0, 1, 1, -1]), np.array([2, 3, 4, 4, 5])).tolist()
    [True, True, False, False, False]
    """
    found = np.zeros(len(sets), dtype=bool)
    among = np.flatnonzero((sets != NOTHING) & (labels >= 0))
    if not len(among):
        return found
    low, high = np.full(sets.max() + 1, np.iinfo(np.int64).max), np.full(sets.max() + 1, -1)
    np.minimum.at(low, sets[among], labels[among])
    np.maximum.at(high, sets[among], labels[among])
    found[among] = low[sets[among]] < high[sets[among]]
    return found


def groups_with(sets: np.ndarray, groups: np.ndarray | None) -> np.ndarray | None:
    """Groups of samples that must not vouch for each other ``[N]``: those given, joined with copies; None: no such."""
    if groups is None and (sets == NOTHING).all():
        return None
    roots = np.arange(len(sets))
    for values in (sets, groups):
        if values is None:
            continue
        first: dict[int, int] = {}
        for k, value in enumerate(values.tolist()):
            if value != NOTHING:
                union(roots, first.setdefault(value, k), k)
    return np.array([root(roots, k) for k in range(len(roots))], dtype=np.int64)
