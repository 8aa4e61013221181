"""Features of pictures by a dictionary of small patches (Coates, Lee and Ng, 2011): no network and no label has a part.

Patches are made alike in brightness and contrast, whitened, and compared with the directions that most lie along;
what a ninth of a picture says of each direction is one number. A linear classifier on them sees more in a few thousand
pictures than neighbours in pixels do, and as much as a small network that was trained on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 32
"""Pixels of the side to which larger pictures are reduced."""
LEAST_SIDE = 16
"""Pixels below which a picture is too small for patches to tell much."""
PATCH = 6
GRID = 3
"""Parts of a picture's height and of its width."""
WORDS = 200
"""Directions in the dictionary, at most; a picture becomes eighteen numbers for each."""
NUMBERS = 200_000_000
"""Numbers that all features are, at most: of very many pictures there are fewer words."""
FINE = 3_000
"""Pictures up to which patches are a pixel apart; of more, two."""
SEEN, LOOKED_AT = 4_000, 40_000
"""Pictures, and patches of them, that the dictionary is made of, at most."""
ROUNDS = 10
FLAT, WHITEN, THRESHOLD = 0.15, 0.1, 0.25
"""Added to the variance of a patch, and to that along each axis; below which a likeness counts for nothing."""


class Dictionary(NamedTuple):
    """What patches are compared with.

    Attributes:
        filters: of a convolution ``[W, C, P, P]``.
        shift: what the mean patch would give ``[W]``.
        sums: of each filter ``[W]``.
    """

    filters: Tensor
    shift: Tensor
    sums: Tensor


def patch_features(pictures: Callable[[Tensor | None], Iterable[Tensor]], count: int, mirrored: bool) -> Tensor:
    """Features of pictures ``[N, D]``, on the CPU.

    Args:
        pictures: gives batches ``[B, C, H, W]`` of numbers, each channel of mean 0 and deviation 1 or about that, of
            the pictures at some positions; None: of all.
        count: N.
        mirrored: whether a picture and its mirror image mean the same.
    """
    generator = torch.Generator().manual_seed(0)
    size = min(WORDS, max(8, NUMBERS // (2 * GRID**2 * count)))
    step = 1 if count <= FINE else 2
    some = torch.randperm(count, generator=generator)[:SEEN].sort().values
    each = -(-LOOKED_AT // len(some))
    sample = torch.cat([drawn(reduced(batch.cpu()), each, generator) for batch in pictures(some)])
    words = dictionary(sample[torch.randperm(len(sample), generator=generator)[:LOOKED_AT]], size, generator)
    return torch.cat([encoded(reduced(batch), words, step, mirrored).cpu() for batch in pictures(None)])


def reduced(pictures: Tensor) -> Tensor:
    """Pictures whose shorter side is `SIDE` at most."""
    pictures, side = pictures.float(), min(pictures.shape[2:])
    if side <= SIDE:
        return pictures
    size = [round(length * SIDE / side) for length in pictures.shape[2:]]
    return F.interpolate(pictures, size=size, mode="bilinear", antialias=True, align_corners=False)


def drawn(pictures: Tensor, each: int, generator: torch.Generator) -> Tensor:
    """Patches from random places, `each` of every picture ``[B * each, C, P, P]``."""
    found = []
    for picture in pictures:
        top, left = (
            torch.randint(0, length - PATCH + 1, (each,), generator=generator).tolist() for length in picture.shape[1:]
        )
        found += [picture[:, y : y + PATCH, x : x + PATCH] for y, x in zip(top, left, strict=True)]
    return torch.stack(found)


def dictionary(patches: Tensor, size: int, generator: torch.Generator) -> Dictionary:
    """The `size` directions that most whitened patches ``[M, C, P, P]`` lie along, by k-means on the sphere."""
    shape = patches.shape[1:]
    rows = patches.flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    rows = rows / (rows.var(1, unbiased=False, keepdim=True) + FLAT).sqrt()
    mean = rows.mean(0)
    values, vectors = torch.linalg.eigh((rows - mean).t() @ (rows - mean) / len(rows))
    whiten = (vectors / (values.clamp(min=0) + WHITEN).sqrt()) @ vectors.t()
    rows = (rows - mean) @ whiten
    words = F.normalize(torch.randn(size, rows.shape[1], generator=generator))
    for _ in range(ROUNDS):
        likeness = rows @ words.t()
        nearest = likeness.abs().argmax(1)
        along = likeness.gather(1, nearest[:, None])
        words = F.normalize(words.index_add(0, nearest, along * rows))
    filters = whiten @ words.t()
    return Dictionary(filters.t().reshape(size, *shape).contiguous(), mean @ filters, filters.sum(0))


def encoded(pictures: Tensor, words: Dictionary, step: int, mirrored: bool = False) -> Tensor:
    """What the parts of each picture say of each direction, for and against it ``[B, 2 W G G]``.

    Args:
        pictures: ``[B, C, H, W]``.
        words: W directions.
        step: pixels from patch to patch.
        mirrored: give the mean of what a picture and its mirror image say.
    """
    if mirrored:
        return (encoded(pictures, words, step) + encoded(pictures.flip(3), words, step)) / 2
    filters, shift, sums = (part.to(pictures.device) for part in words)
    local = torch.ones(1, pictures.shape[1], PATCH, PATCH, device=pictures.device) / filters[0].numel()
    mean = F.conv2d(pictures, local, stride=step)
    spread = (F.conv2d(pictures.square(), local, stride=step) - mean.square()).clamp(min=0).add(FLAT).sqrt()
    likeness = (
        F.conv2d(pictures, filters, stride=step)
        .sub_(mean * sums[:, None, None])
        .div_(spread)
        .sub_(shift[:, None, None])
    )
    both = [F.adaptive_avg_pool2d((sign * likeness - THRESHOLD).relu_(), GRID).flatten(1) for sign in (1, -1)]
    return torch.cat(both, 1)
