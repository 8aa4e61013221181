"""The quality of every label of a run: what training recorded, what other samples say, what the network predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from alasca.audit.duplicates import conflicts
from alasca.audit.evidence import Witnesses
from alasca.audit.out_of_sample import as_targets
from alasca.audit.rounds import decide
from alasca.audit.verdict import KEEP, REVIEW, Verdict
from alasca.runs import Records
from alasca.stores import Traced, against_others


@dataclass(frozen=True)
class Known:
    """What a finished training knows of its N samples.

    Attributes:
        ids, classes: names.
        given: labels ``[N]``; -1: none.
        traced: sums over training visits ``[N]``.
        log_p: the trained network's log-probabilities of the plain samples ``[N, K]``.
        held: which were held out ``[N]``.
        unread: which could not be read ``[N]``: nothing is known of their labels.
        columns: what the method knows of each sample, by name ``[N]``.
        others: gives, of labels that are distributions ``[N, K]``, out-of-sample probabilities by features, and by
            cheap classifiers, each ``[N, K]`` or None; see `Witnesses`.
        deeper: whether the network may see more than cheap classifiers do.
        beside: whether the cheap classifier is believed beside the network; see `Witnesses`.
        by_heart: whether the network has learned the labels by heart, the wrong ones too.
        copies: number of the set of copies that a sample is in ``[N]``, -1 where it has none; see `duplicate_sets`.
        truth: true labels, for evaluation only, or None.
    """

    ids: Sequence[str]
    classes: Sequence[str]
    given: Tensor
    traced: Traced
    log_p: Tensor
    held: np.ndarray
    unread: np.ndarray
    columns: Mapping[str, Tensor]
    others: Callable[[np.ndarray], tuple[np.ndarray | None, np.ndarray | None]]
    deeper: bool
    beside: bool
    by_heart: bool
    copies: np.ndarray
    truth: Tensor | None


def assess(known: Known) -> tuple[Records, Verdict | None]:
    """A row for every sample, and the verdict on the labels that there are; None where all are one class."""
    given = array(known.given)
    judged = (given >= 0) & ~known.unread
    probability, margin, _ = against_others(known.log_p, known.given.clamp(min=0))
    seen, visits = known.traced.visits > 0, known.traced.visits.clamp(min=1)
    predicted = known.log_p.argmax(1)
    columns = {"mean_probability": array((known.traced.probability / visits).where(seen, probability).clamp(0, 1))}
    sub_seen = known.traced.sub_visits > 0
    if bool(sub_seen.any()):
        visited = known.traced.sub_visits.clamp(min=1)
        for name in ("sub_probability", "sub_margin"):
            columns[name] = array((getattr(known.traced, name) / visited).masked_fill(~sub_seen, float("nan")))
    margins = array((known.traced.margin / visits).where(seen, margin))
    differing = array((known.traced.differing / visits).where(seen, (predicted != known.given).float()))
    columns |= {name: array(values.cpu().double()) for name, values in known.columns.items()}
    verdict = None
    quality, sure = np.full(len(given), np.nan), np.full(len(given), np.nan)
    suggested, issue = np.where(given < 0, array(predicted), given), np.zeros(len(given), dtype=bool)
    decision = np.where(given < 0, REVIEW, KEEP).astype(object)
    if judged.any() and len(np.unique(given[judged])) > 1:
        sub_margin = columns.get("sub_margin", margins)[judged]
        margin = np.where(np.isfinite(sub_margin), sub_margin, margins[judged]) if known.by_heart else margins[judged]
        targets = as_targets(np.where(judged, given, -1), len(known.classes))

        def ask(labels: np.ndarray) -> Witnesses:
            targets[judged] = labels
            features, cheap = (None if each is None else each[judged] for each in known.others(targets))
            return Witnesses(margin, sub_margin, features, cheap, known.deeper, known.beside)

        mean_visits = float(array(visits)[judged].mean())
        evidence, verdict = decide(
            given[judged], len(known.classes), ask, mean_visits, array(known.log_p.exp())[judged]
        )  # fmt: skip
        quality[judged], suggested[judged], issue[judged] = verdict.clean_probability, verdict.suggested, verdict.issue
        sure[judged], decision[judged] = verdict.suggested_probability, verdict.decision
        outside = np.full(len(given), np.nan)
        outside[judged] = evidence.probability[np.arange(int(judged.sum())), given[judged]]
        columns["out_of_sample"] = outside
    differ = conflicts(known.copies, np.where(judged, given, -1))
    if (known.copies >= 0).any():
        columns["copies"] = np.where(known.copies >= 0, known.copies, np.nan).astype(np.float64)
        columns["copies_differ"] = np.where(known.copies >= 0, differ, np.nan).astype(np.float64)
        if verdict is not None:
            verdict = replace(verdict, findings=(*verdict.findings, told_of_copies(known.copies, differ)))
    for column in (*columns.values(), margins, differing):
        column[given < 0] = np.nan
    columns["mean_probability"][known.unread] = np.nan
    records = Records(
        tuple(known.ids), tuple(known.classes), given, array(predicted), suggested, issue, quality, decision, sure,
        margins, differing, array(known.traced.visits), known.held, columns,
        None if known.truth is None else array(known.truth),
    )  # fmt: skip
    return records, verdict


def told_of_copies(copies: np.ndarray, differ: np.ndarray) -> str:
    """What a person should know of copies, a line."""
    sets, wrong = len(np.unique(copies[copies >= 0])), len(np.unique(copies[differ]))
    text = f"{int((copies >= 0).sum()):,} samples are copies of each other, in {sets:,} sets"
    if not wrong:
        return f"{text}; copies have the same labels (column copies)."
    return f"{text}; in {wrong:,} of them the copies have different labels (columns copies and copies_differ)."


def array(tensor: Tensor) -> np.ndarray:
    """As NumPy, in the types that tables hold."""
    values: np.ndarray = tensor.detach().cpu().numpy()
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
