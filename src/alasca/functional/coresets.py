"""Coresets: medoids that cover a cloud of points, and its dense core.

Costs are stated for N points of D numbers.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from alasca.functional.selection import wide

ENTRIES = 2**26
"""Most distances that are held at once."""
CACHED = 2**17
"""Distances that are looked at together after a pick: what a processor's cache holds."""


class Distances:
    """Euclidean distances among points ``[N, D]`` in float64: rows as asked for, from a matrix if small."""

    def __init__(self, points: Float[Tensor, "samples width"], hold: bool = True) -> None:
        self.points = wide(points)
        self.held = self._among(self.points) if hold and len(points) ** 2 <= ENTRIES else None

    def __call__(self, rows: Int[Tensor, "rows"]) -> Float[Tensor, "rows samples"]:
        """From some points to all: a new tensor."""
        return self._among(self.points[rows]) if self.held is None else self.held.index_select(0, rows)

    def row(self, point: int) -> Float[Tensor, "samples"]:
        """From one point to all."""
        return self._between(point, point + 1)[0]

    def sums(self, limit: Tensor | None = None) -> Float[Tensor, "samples"]:
        """``sum_j min(d_ij, limit_j)`` of every point."""
        each, found = max(1, CACHED // len(self.points)), []
        for start in range(0, len(self.points), each):
            block = self._between(start, start + each)
            found.append((block if limit is None else block.minimum(limit)).sum(1))
        return torch.cat(found)

    def sizes(self, medoids: Int[Tensor, "medoids"]) -> Int[Tensor, "medoids"]:
        """How many points lie nearest to each of some points; ties go to the first."""
        each, nearest = max(1, CACHED // len(medoids)), []
        for part in torch.split(self.points, each):
            between = torch.cdist(part, self.points[medoids], compute_mode="donot_use_mm_for_euclid_dist")
            nearest.append(between.argmin(1))
        return torch.bincount(torch.cat(nearest), minlength=len(medoids))

    def _between(self, start: int, stop: int) -> Tensor:
        return self._among(self.points[start:stop]) if self.held is None else self.held[start:stop]

    def _among(self, some: Tensor) -> Tensor:
        return torch.cdist(some, self.points, compute_mode="donot_use_mm_for_euclid_dist")


def facility_location(
    points: Float[Tensor, "samples width"], budget: int, epsilon: float | None = None
) -> tuple[Int[Tensor, "budget"], Int[Tensor, "budget"]]:
    """Medoids that cover a cloud of points: greedy maximisation of ``sum_i max_{j in S} (d_max - d_ij)``.

    Exact by default, and lazy: a pick changes the gains of others only through the points that it is now nearest to,
    so that these alone are looked at. O(N^2 D) for the first gains, O(N D) for each change of a point's medoid, of
    which there are a few times N. Ties go to the first. No more than `ENTRIES` distances are ever held.

    Args:
        points: ``[N, D]``.
        budget: how many, 1 to N.
        epsilon: stochastic greedy (Mirzasoleiman et al., 2015): each pick is the best of ``N / budget * log(1 /
            epsilon)`` random points that are left. The expected objective is at least ``1 - 1/e - epsilon`` of the
            best; O(N^2 D log(1 / epsilon)) in all. Above 0 and below 1; None: exact.

    Returns:
        Positions in the order of their picking, and how many points lie nearest to each (they add up to N).
    """
    check_budget(points, budget)
    if epsilon is not None and not 0 < epsilon < 1:
        raise ValueError(f"epsilon: {epsilon}, expected above 0 and below 1, or none")
    distances = Distances(points, hold=epsilon is None)
    index = greedy(distances, budget) if epsilon is None else stochastic_greedy(distances, budget, epsilon)
    return index.to(points.device), distances.sizes(index).to(points.device)


def greedy(distances: Distances, budget: int) -> Int[Tensor, "budget"]:
    """The picks of greedy facility location."""
    gains = -distances.sums()
    best, slack = gains, 0.0
    few = max(1, CACHED // len(gains))
    picks = []
    while True:
        picks.append(int((gains >= gains.max() - slack).byte().argmax()))
        if len(picks) == budget:
            return torch.tensor(picks, device=gains.device)
        own = distances.row(picks[-1])
        if len(picks) == 1:  # until now all gains were relative to nothing
            best, gains = own, own.sum() - distances.sums(own)
            slack = 1e-12 * float(own.sum())  # two points that are each other's nearest tie but for rounding
        else:
            for part in torch.split((own < best).nonzero()[:, 0], few):
                old, new, block = best[part, None], own[part, None], distances(part)
                gains -= old.sum() - torch.minimum(torch.maximum(block, new, out=block), old, out=block).sum(0)
            best = torch.minimum(best, own)
        gains[picks[-1]] = -torch.inf


def stochastic_greedy(distances: Distances, budget: int, epsilon: float) -> Int[Tensor, "budget"]:
    """The picks of stochastic greedy facility location."""
    best, count = distances.points.new_tensor(torch.inf), len(distances.points)
    size, left = math.ceil(count / budget * math.log(1 / epsilon)), torch.ones(count, dtype=torch.bool)
    picks = []
    for picked in range(budget):
        drawn = left.nonzero()[torch.randperm(count - picked)[:size], 0]
        parts = torch.split(drawn.to(best.device), max(1, CACHED // count))
        place = int(torch.cat([distances(part).minimum(best).sum(1) for part in parts]).argmin())
        picks.append(int(drawn[place]))
        best, left[picks[-1]] = distances.row(picks[-1]).minimum(best), False
    return torch.tensor(picks, device=best.device)


def centrality(points: Float[Tensor, "samples width"], budget: int) -> Int[Tensor, "budget"]:
    """The points with the smallest sum of distances to all others: the dense core of a cloud. O(N^2 D), in blocks.

    Args:
        points: ``[N, D]``.
        budget: how many, 1 to N.
    """
    check_budget(points, budget)
    return Distances(points, hold=False).sums().argsort(stable=True)[:budget]


def check_budget(points: Tensor, budget: int) -> None:
    """Raise `ValueError` unless points are ``[N, D]`` and ``1 <= budget <= N``."""
    if points.dim() != 2:
        raise ValueError(f"points: shape {tuple(points.shape)}, expected [N, D]")
    if not bool(points.isfinite().all()):
        raise ValueError("points: not all are finite")
    if not 1 <= budget <= len(points):
        raise ValueError(f"budget: {budget}, expected 1 to {len(points)}")
