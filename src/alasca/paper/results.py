"""Ours beside the paper's: means over seeds, and how far apart they are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alasca.paper.catalogue import id_of
from alasca.paper.experiments import Experiment, Table
from alasca.paper.numbers import TRIALS, Printed, printed
from alasca.paper.outcomes import Outcome
from alasca.paper.protocols import Protocol

LEAST = 3
"""Seeds below which nothing is said of an error, and nothing is called best."""
FIGURES = {
    "last": "last epoch", "chosen": "chosen on noisy labels", "last20": "mean of the last 20 epochs",
    "average": "main + deepest", "all": "all classifiers", "best": "best epoch on the test set",
}  # fmt: skip
"""What is told of a cell, of the main classifier alone where nothing else is said, and in which words."""


@dataclass(frozen=True)
class Measured:
    """What our runs of one experiment give.

    Attributes:
        outcomes: of each seed, in their order.
    """

    outcomes: tuple[Outcome, ...]

    def values(self, figure: str) -> list[float]:
        """A figure of `FIGURES` of each run that has it, in percent."""
        names = {
            "average": ("test_accuracy_average_last",), "all": ("test_accuracy_all_last",),
        }.get(figure, (f"test_accuracy_main_{figure}", f"test_accuracy_{figure}"))  # fmt: skip
        found = []
        for outcome in self.outcomes:
            value = next((outcome["figures"][name] for name in names if name in outcome["figures"]), None)
            found += [] if value is None else [float(value)]
        return found

    def held(self) -> dict[int, float]:
        """Accuracy of the main classifier on held-out noisy labels after the last epoch, by seed."""
        names = ("val_accuracy_main_last", "val_accuracy_last")
        found = {
            one["recipe"]["seed"]: next((one["figures"][name] for name in names if name in one["figures"]), None)
            for one in self.outcomes
        }
        return {seed: float(value) for seed, value in found.items() if value is not None}

    @property
    def failed(self) -> int:
        """Runs whose loss left the numbers."""
        return sum(outcome["failed"] is not None for outcome in self.outcomes)


def measured(protocol: Protocol, each: Experiment, outcomes: Mapping[str, Outcome], most: int = 50) -> Measured:
    """Our runs of an experiment, with whatever seeds there are."""
    known = max((outcome["recipe"]["seed"] for outcome in outcomes.values()), default=-1)
    ids = [id_of(protocol.recipe(each, seed), each.eager) for seed in range(min(most, known + 1))]
    return Measured(tuple(outcomes[name] for name in ids if name in outcomes))


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and standard deviation where there are two or more."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def told(values: Sequence[float]) -> str:
    """Mean ± standard deviation (seeds); "-" where there are none.

    >>> told([80.0, 82.0, 84.0]), told([80.0]), told([])
    ('82.0 ± 2.0 (3)', '80.0 (1)', '-')
    """
    if not values:
        return "-"
    mean, spread = mean_and_spread(values)
    return f"{mean:.1f}{'' if spread is None else f' ± {spread:.1f}'} ({len(values)})"


def paper_told(of: Printed | None) -> str:
    """What the paper prints; "?" where that is unreadable, "-" where it has no such cell; ° where it quotes others.

    >>> paper_told(Printed(86.2, 0.2)), paper_told(Printed(74.1, 0.6, "Liu et al. (2020)")), paper_told(Printed(None))
    ('86.2 ± 0.2', '74.1 ± 0.6°', '?')
    """
    if of is None:
        return "-"
    if of.mean is None:
        return "?"
    return f"{digits(of.mean)}{'' if of.spread is None else f' ± {digits(of.spread)}'}{'°' if of.quoted else ''}"


def digits(value: float) -> str:
    """A number as the paper prints it, with one digit behind the point or two.

    >>> digits(87.0), digits(89.86)
    ('87.0', '89.86')
    """
    return f"{value:.1f}" if round(value, 1) == value else f"{value:.2f}"


def difference(values: Sequence[float], of: Printed | None) -> str:
    """Ours less the paper's, and in standard errors where both sides have enough runs.

    >>> difference([86.0, 86.4, 86.2], Printed(85.2, 0.2))
    '+1.0 (+6.8 SE)'
    >>> difference([86.0], Printed(85.2, 0.2)), difference([86.0] * 3, Printed(None))
    ('+0.8', '-')
    """
    if not values or of is None or of.mean is None:
        return "-"
    mean, spread = mean_and_spread(values)
    apart = f"{mean - of.mean:+.1f}"
    if len(values) < LEAST or spread is None or of.spread is None:
        return apart
    error = math.sqrt(spread**2 / len(values) + of.spread**2 / TRIALS)
    return f"{apart} ({(mean - of.mean) / error:+.1f} SE)" if error else apart


def gain(with_it: Measured, without: Measured, figure: str = "last") -> tuple[float, float | None, int] | None:
    """What ALASCA adds, paired by seed: mean, standard error (from three pairs on), pairs; None without any."""
    pairs = {one["recipe"]["seed"]: one for one in without.outcomes}
    both = [
        (Measured((one,)).values(figure), Measured((pairs[one["recipe"]["seed"]],)).values(figure))
        for one in with_it.outcomes if one["recipe"]["seed"] in pairs
    ]  # fmt: skip
    apart = [a[0] - b[0] for a, b in both if a and b]
    if not apart or with_it.failed or without.failed:
        return None
    mean, spread = mean_and_spread(apart)
    error = spread / math.sqrt(len(apart)) if spread is not None and len(apart) >= LEAST else None
    return mean, error, len(apart)


def partner(table: Table, row: str, column: str) -> str | None:
    """The row of the same experiment without ALASCA, if the table has it."""
    each = table.cells[row, column]
    if not each.alasca:
        return None
    when = row.rpartition(", ")[2] if row.endswith((", best", ", last")) else None
    for other, at in table.cells:
        bare = table.cells[other, at]
        same = (bare.method, bare.data, bare.noise, bare.network, bare.settings) == (
            each.method, each.data, each.noise, each.network, each.settings,
        )  # fmt: skip
        own = {name: value for name, value in each.options.items() if not name.startswith("alasca.")}
        if at == column and same and not bare.alasca and bare.options == own and (when is None or other.endswith(when)):
            return other
    return None


def figure_of(row: str) -> str:
    """Which figure a row shows: the best epoch's where it says so, else the last one's."""
    return "best" if row.endswith(", best") else "last"


def gain_told(table: Table, row: str, column: str, ours: Mapping[str, Measured]) -> tuple[str, str]:
    """What ALASCA adds to a row's method: ours, and the paper's at its size; "" where the row is not a wrapped one."""
    other = partner(table, row, column)
    if other is None:
        return "", ""
    found = gain(ours[row], ours[other], figure_of(row))
    numbers = printed(table.name)
    theirs = [numbers[name, column].mean if (name, column) in numbers else None for name in (row, other)]
    paper = f"{theirs[0] - theirs[1]:+.1f}" if theirs[0] is not None and theirs[1] is not None else "?"
    if found is None:
        return "-", paper
    mean, error, _ = found
    return f"{mean:+.1f}{'' if error is None else f' ± {error:.1f}'}", paper
