"""Asking other samples again: the likeliest errors count less each time, and the rest is told the better for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alasca.audit.evidence import Evidence, Witnesses, weigh
from alasca.audit.out_of_sample import as_targets
from alasca.audit.verdict import Verdict, estimated_share, judge, likely_labels

ROUNDS = 2
"""How often other samples are asked again; more rounds move little."""


def decide(
    given: np.ndarray, num_classes: int, ask: Callable[[np.ndarray], Witnesses], visits: float | None = None,
    predicted: np.ndarray | None = None, in_sample: bool = False,
) -> tuple[Evidence, Verdict]:  # fmt: skip
    """What is to be thought of labels.

    Other samples are asked what each label is, and asked again, by labels that are taken for what they probably are.
    How many are wrong is told by what they said first: in what they say later every label has had a part.

    Args:
        given: labels ``[N]``, all known.
        num_classes: K.
        ask: gives the witnesses, by labels that are distributions ``[N, K]``.
        visits, predicted, in_sample: see `judge`.
    """
    targets = as_targets(given, num_classes)
    first: tuple[float, float] | None = None
    for _ in range(1 + ROUNDS):
        evidence = weigh(given, ask(targets))
        first = first or estimated_share(given, evidence.probability)
        verdict = judge(
            given, evidence.probability, evidence.score, visits, predicted, in_sample, evidence.agreement, first
        )
        targets = likely_labels(given, evidence.probability, verdict.clean_probability).astype(np.float32)
    return evidence, verdict
