"""Randomness as a function of position: seeds folded from numbers and names, uniform draws hashed per sample."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # splitmix64's finaliser (Steele et al., 2014)


def mix(x: int) -> int:
    """splitmix64's finaliser on 64 bits."""
    x = ((x ^ (x >> 30)) * FIRST) & MASK
    x = ((x ^ (x >> 27)) * SECOND) & MASK
    return x ^ (x >> 31)


def fold(*parts: int | str) -> int:
    """One 63-bit seed from numbers and names; the order matters.

    >>> fold(0, "epoch", 1) == fold(0, "epoch", 1) != fold(0, 1, "epoch")
    True
    """
    state = 0
    for part in parts:
        number = zlib.crc32(part.encode()) + (1 << 40) if isinstance(part, str) else part
        state = mix((state + GOLDEN + (number & MASK)) & MASK)
    return state >> 1


def signed(x: int) -> int:
    """The same 64 bits as a signed number, as torch holds them."""
    return x - (1 << 64) if x >> 63 else x


def shifted(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64, whose own shift repeats the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def uniform(seed: int, index: Tensor, draws: int) -> Tensor:
    """Numbers in [0, 1) that depend on (seed, index, draw) only: not on the batch, its order or the device.

    Args:
        seed: see `fold`.
        index: ``[B]``, int64.
        draws: how many a sample.

    Returns:
        ``[B, draws]``, float32, multiples of 2**-24.

    >>> both = uniform(7, torch.tensor([3, 5]), 2)
    >>> torch.equal(both[1:], uniform(7, torch.tensor([5]), 2))
    True
    """
    counter = torch.arange(1, draws + 1, device=index.device)
    x = index[:, None] * signed(FIRST) + counter * signed(GOLDEN) + signed(mix(seed))
    for multiplier, bits in ((FIRST, 30), (SECOND, 27)):
        x = (x ^ shifted(x, bits)) * signed(multiplier)
    return shifted(x ^ shifted(x, 31), 40).float() / (1 << 24)


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded by `fold`."""
    return torch.Generator().manual_seed(fold(*parts))
