"""Samples that are copies of each other: the same bytes, a picture saved anew, a text in other case or spacing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

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
COLOURS = 4.0
"""How much further apart their colours may be: formats keep them at half the size."""
FLAT = 2.0
"""Levels of grey, of 255, that a picture must vary by to be compared at all."""
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
    looks: list[Looks] = []
    for batch in batches:
        batch = batch.cpu()
        keys += [hashlib.blake2b(row.numpy().tobytes(), digest_size=16).digest() for row in batch]
        if batch.dtype == torch.uint8 and min(batch.shape[2:]) >= SIDE:
            looks.append(seen_small(batch))
    exact = numbered(keys)
    return exact if not looks else joined(exact, Looks(*(torch.cat(parts) for parts in zip(*looks, strict=True))))


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


class Looks(NamedTuple):
    """Pictures at `SIDE` pixels.

    Attributes:
        grey: of mean 0 and deviation 1 ``[B, SIDE * SIDE]``; NaN where a picture is flat.
        colours: as they are, 0 to 255 ``[B, C * SIDE * SIDE]``.
        spread: deviation of the grey one ``[B]``.
    """

    grey: Tensor
    colours: Tensor
    spread: Tensor


def seen_small(pictures: Tensor) -> Looks:
    """How pictures ``[B, C, H, W]`` look from afar."""
    small = F.adaptive_avg_pool2d(pictures.float(), SIDE)
    tones = grey(small).flatten(1)
    tones = tones - tones.mean(1, keepdim=True)
    spread = tones.std(1, keepdim=True)
    return Looks(torch.where(spread > FLAT, tones / spread, torch.nan), small.flatten(1), spread[:, 0])


def joined(exact: np.ndarray, looks: Looks) -> np.ndarray:
    """Sets of copies, with those joined that look alike.

    Pictures that look alike lie near each other along the direction in which pictures differ most: there, each is
    compared with thousands around it, in grey; those that are close in grey must be so in their colours too, and in
    light and dark.
    """
    pairs: list[np.ndarray] = []
    usable = looks.grey.isfinite().all(1).nonzero()[:, 0]
    points = looks.grey[usable]
    if len(usable) > 1:
        sample = points[:: max(1, len(points) // 5_000)]
        _, vectors = torch.linalg.eigh(sample.t() @ sample)
        order = (points @ vectors[:, -1]).argsort()
        for start in range(0, len(order), AROUND):
            one, other = order[start : start + AROUND], order[start : start + 2 * AROUND]
            alike = (torch.cdist(points[one], points[other]) < CLOSE * SIDE).triu(1).nonzero()
            first, second = usable[one[alike[:, 0]]], usable[other[alike[:, 1]]]
            for part in torch.split(torch.arange(len(first)), AROUND):
                a, b = first[part], second[part]
                apart = (looks.colours[a] - looks.colours[b]).square().mean(1).sqrt()
                same = apart < COLOURS * CLOSE * torch.minimum(looks.spread[a], looks.spread[b])
                pairs.append(torch.stack([a[same], b[same]], 1).numpy())
    return renumbered(roots_of(len(exact), [tied(exact), *pairs]))


def tied(values: np.ndarray) -> np.ndarray:
    """Pairs of positions ``[M, 2]`` that tie samples of equal values together; `NOTHING` ties none."""
    order = np.argsort(values, kind="stable")
    same = (values[order][1:] == values[order][:-1]) & (values[order][1:] != NOTHING)
    return np.stack([order[:-1][same], order[1:][same]], 1)


def roots_of(count: int, pairs: Sequence[np.ndarray]) -> np.ndarray:
    """The first member of each sample's set ``[N]``, where pairs ``[M, 2]`` tie samples together."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    every = np.concatenate([np.zeros((0, 2), dtype=np.int64), *pairs])
    graph = coo_array((np.ones(len(every), dtype=bool), (every[:, 0], every[:, 1])), shape=(count, count))
    _, number = connected_components(graph, directed=False)
    _, first, which = np.unique(number, return_index=True, return_inverse=True)
    found: np.ndarray = first[which]
    return found


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
    return roots_of(len(sets), [tied(values) for values in (sets, groups) if values is not None])
