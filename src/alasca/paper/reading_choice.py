"""Which reading of the paper is in force: decided on held-out noisy labels, before any test figure is looked at."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import NamedTuple

from scipy.stats import t, ttest_1samp

from alasca.paper.outcomes import Outcome
from alasca.paper.protocols import Protocol
from alasca.paper.readings import PAIRS
from alasca.paper.results import LEAST, Measured, measured, told

LEVEL = 0.05
"""Of the test by which another reading must be better on held-out noisy labels, shared by all that are compared."""


class Compared(NamedTuple):
    """A reading beside the one in force, by differences on held-out noisy labels, paired by seed.

    Attributes:
        reading: its name.
        mean, error: of the differences; None: too few seeds for an error.
        p: of a one-sided paired t-test.
    """

    reading: str
    mean: float
    error: float | None
    p: float | None


def compared(default: Measured, other: Measured, reading: str) -> Compared | None:
    """Compare two readings by the seeds that both have, on held-out noisy labels alone."""
    base, own = default.held(), other.held()
    apart = [own[seed] - base[seed] for seed in own if seed in base]
    if not apart:
        return None
    if len(apart) < LEAST:
        return Compared(reading, statistics.fmean(apart), None, None)
    error, p = (
        statistics.stdev(apart) / math.sqrt(len(apart)),
        float(ttest_1samp(apart, 0, alternative="greater").pvalue),
    )
    return Compared(reading, statistics.fmean(apart), error, p if error else float(apart[0] <= 0))


def compare(protocol: Protocol, outcomes: Mapping[str, Outcome]) -> dict[str, list[Compared]]:
    """All readings, by what they are readings of."""
    found: dict[str, list[Compared]] = {}
    for name, (default, others) in PAIRS.items():
        base = measured(protocol, default, outcomes)
        each = [compared(base, measured(protocol, other, outcomes), text) for text, other in others.items()]
        found[name] = [one for one in each if one is not None]
    return found


def verdict(protocol: Protocol, outcomes: Mapping[str, Outcome]) -> str:
    """What follows, in a sentence."""
    every = [(one.p, f"{name}: {one.reading}") for name, found in compare(protocol, outcomes).items() for one in found]
    judged = [(p, reading) for p, reading in every if p is not None]
    if not judged:
        return f"No reading has been run with {LEAST} seeds yet."
    every_reading = sum(len(others) for _, others in PAIRS.values())
    better = [reading for p, reading in judged if p * every_reading < LEVEL]
    needed = float(t.isf(LEVEL / every_reading, LEAST - 1))
    test = (
        f"one-sided paired t-tests, {100 * LEVEL:g}% for all {every_reading} together, which takes a difference of "
        f"{needed:.0f} standard errors with {LEAST} seeds and {float(t.isf(LEVEL / every_reading, 7)):.1f} with 8"
    )
    if better:
        return f"Of {len(judged)} readings these are better on held-out noisy labels: {'; '.join(better)} ({test})."
    p, reading = min(judged)
    return (
        f"None of {len(judged)} readings is better on held-out noisy labels ({test}): those in force stay. The nearest "
        f'is "{reading}" (p = {p:.3f} alone).'
    )


def readings_grid(protocol: Protocol, outcomes: Mapping[str, Outcome]) -> list[tuple[str, list[str], list[list[str]]]]:
    """A grid a group of readings: title, heads, rows; held-out noisy labels first, test labels beside them."""
    found = []
    for name, (default, others) in PAIRS.items():
        base, rows = measured(protocol, default, outcomes), []
        rows.append(
            ["in force", told([*base.held().values()]), "", told(base.values("last")), told(base.values("all"))]
        )
        for text, other in others.items():
            own = measured(protocol, other, outcomes)
            one = compared(base, own, text)
            error = "" if one is None or one.error is None else f" ± {one.error:.1f}"
            apart = "-" if one is None else f"{one.mean:+.1f}{error}"
            rows.append([text, told([*own.held().values()]), apart, told(own.values("last")), told(own.values("all"))])
        heads = ["reading", "held-out noisy labels", "difference ± standard error", "test, main", "test, all"]
        found.append((f"{name}, {default.place}", heads, rows))
    return found
