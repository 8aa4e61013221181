"""What a finished run found, in figures and in words: shares, counts, the classes that are confused, slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from alasca.audit.verdict import FIX, REVIEW
from alasca.runs import Records, RunFolder

Interval = tuple[float | None, float | None, float | None]
"""A share, and the low and the high end of its 90% interval; None: not known."""
PAIRS = 20
"""Pairs of classes that are listed."""


@dataclass(frozen=True)
class Summary:
    """What an audit found.

    Attributes:
        labels: how many samples have a label.
        unlabelled: how many have none.
        share, low, high: estimated share of wrong labels with its 90% interval, 0 to 1; None: not known.
        fix, review: how many are marked so.
        findings: a line each for what a person should know.
        classes: a row a class: ``class, labels, fix, review, expected_wrong``, with ``from`` and ``to``, its 90%
            interval; NaN where the share is not known.
        pairs: a row a pair of classes that is confused: ``given, suggested, count, fix``, the most frequent first.
        slices: the same as `classes` by each ``value`` of a column, for each column asked for.
        checked: what a person's answers say, a line each; see `alasca.audit.checking`.
    """

    labels: int
    unlabelled: int
    share: float | None
    low: float | None
    high: float | None
    fix: int
    review: int
    findings: tuple[str, ...]
    classes: pd.DataFrame
    pairs: pd.DataFrame
    slices: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    checked: tuple[str, ...] = ()


def summarise(
    run: RunFolder, records: Records, columns: Mapping[str, Sequence[str]] | None = None,
    share: Interval | None = None,
) -> Summary:  # fmt: skip
    """The summary of a finished run.

    Args:
        run: finished.
        records: of it; maybe recalibrated since.
        columns: values of further columns ``[N]``, by which labels are counted.
        share: of wrong labels, and its interval; None: as the run estimated it.
    """
    done = run.done()
    known = share or (done.get("wrong_share"), done.get("wrong_share_low"), done.get("wrong_share_high"))
    labelled = records.given >= 0
    names = np.array([records.name(label) for label in records.given])
    wrong = records.issue & labelled
    pairs = pd.DataFrame({
        "given": names[wrong], "suggested": [records.name(label) for label in records.suggested[wrong]],
        "count": 1, "fix": (records.decision == FIX)[wrong].astype(int),
    }).groupby(["given", "suggested"], as_index=False).sum()  # fmt: skip
    pairs = pairs.sort_values(["count", "given", "suggested"], ascending=[False, True, True]).reset_index(drop=True)
    sliced = {
        name: counted(np.array(values, dtype=object), records, "value", known)
        for name, values in (columns or {}).items()
    }
    return Summary(
        int(labelled.sum()), int((~labelled).sum()), known[0], known[1], known[2], int((records.decision == FIX).sum()),
        int(((records.decision == REVIEW) & labelled).sum()), tuple(done["findings"]),
        counted(names, records, "class", known), pairs, sliced,
    )  # fmt: skip


def counted(
    groups: np.ndarray, records: Records, name: str, share: Interval
) -> pd.DataFrame:  # fmt: skip
    """A row a group, the largest expected share of wrong labels first: labels, fix, review, and how many are wrong.

    With a 90% interval: chance in a group, beside what the share of all labels may be off by.

    Args:
        groups: of each sample ``[N]``.
        records: of the run.
        name: of what groups them.
        share: of wrong labels among all, and its interval.
    """
    labelled = records.given >= 0
    wrong = np.nan_to_num(1 - records.quality[labelled])
    table = pd.DataFrame({
        name: groups[labelled], "labels": 1, "fix": (records.decision == FIX)[labelled].astype(int),
        "review": (records.decision == REVIEW)[labelled].astype(int),
        "expected_wrong": wrong, "from": wrong * (1 - wrong),
    }).groupby(name, as_index=False).sum()  # fmt: skip
    chance, (middle, low, high) = 1.64 * table["from"] ** 0.5, (np.nan if part is None else part for part in share)
    table["from"] = (table["expected_wrong"] - np.hypot((middle - low) * table["labels"], chance)).clip(lower=0)
    table["to"] = table["expected_wrong"] + np.hypot((high - middle) * table["labels"], chance)
    table["to"] = table["to"].clip(upper=table["labels"])
    order = (-table["expected_wrong"] / table["labels"]).argsort(kind="stable")
    return table.iloc[order].reset_index(drop=True).round({"expected_wrong": 1, "from": 1, "to": 1})


def to_review(records: Records, part: float = 0.8) -> tuple[int, int]:
    """How many of the most suspicious labels hold a part of all wrong ones, and how many wrong ones are expected.

    By the probabilities in the records.
    """
    wrong = np.sort(np.nan_to_num(1 - records.quality[records.given >= 0]))[::-1]
    total = float(wrong.sum())
    if not total:
        return 0, 0
    return int(np.searchsorted(wrong.cumsum(), part * total) + 1), round(total)


def told(summary: Summary, records: Records) -> list[str]:
    """The five lines that a person reads."""
    labels = f"{summary.labels:,} labels"
    if summary.share is None or summary.low is None or summary.high is None:
        return [f"{labels}, all of one kind: nothing can be said of them"]
    reasons = [line for line in summary.findings if not line.startswith("About ")]
    if summary.high - summary.low >= 1:
        return [*reasons, *summary.checked]
    found = [
        f"About {100 * summary.share:.0f}% of {labels} are wrong "
        f"(90% interval: {100 * summary.low:.0f} to {100 * summary.high:.0f}%)."
    ]
    found.append(f"{summary.fix:,} are sure enough to be changed (fix), {summary.review:,} are doubtful (review).")
    if len(summary.pairs):
        rows = summary.pairs.head(3).to_dict("records")
        shown = [f"{row['given']} that is rather {row['suggested']} ({row['count']:,})" for row in rows]
        found.append(f"Most often: {', '.join(shown)}.")
    count, expected = to_review(records)
    if summary.low:
        found.append(f"Of about {expected:,} wrong labels, 80% are among the {count:,} most suspicious ones.")
    if summary.unlabelled:
        found.append(f"{summary.unlabelled:,} samples have no label: the network suggests one.")
    return found + reasons + list(summary.checked)
