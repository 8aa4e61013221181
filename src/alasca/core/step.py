"""What goes into one step of a method, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

from alasca.core.net import Output


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one stream in one step. There is no field for clean labels, by construction.

    Attributes:
        views: one tensor ``[B, ...]`` a view; ``views[0]`` is what the per-sample stores see.
        labels: given labels ``[B]``, int64.
        index: stable position of each sample ``[B]``, int64.
        weight: weight of each sample in the main loss ``[B]``, float32.
        distinct: whether no sample comes twice, so that stores need not look.
    """

    views: tuple[Tensor, ...]
    labels: Tensor
    index: Tensor
    weight: Tensor
    distinct: bool = False


class Seen(NamedTuple):
    """Network `net`, in training mode, gave `output` on the plain rows of `batch`: this feeds the stores."""

    net: int
    output: Output
    batch: Batch


class Mixed(NamedTuple):
    """A mixed forward with gradient: row j is ``lam[j] * first[j] + (1 - lam[j]) * second[j]``.

    `first` and `second` are positions in the step's batches, concatenated in stream order.
    """

    net: int
    aux: tuple[Tensor, ...]
    first: Tensor
    second: Tensor
    lam: Tensor


class Step(NamedTuple):
    """What one step asks to minimise (`loss`, a scalar), what it saw, and what it wants logged."""

    loss: Tensor
    seen: tuple[Seen, ...] = ()
    mixed: tuple[Mixed, ...] = ()
    log: Mapping[str, Tensor] = MappingProxyType({})
