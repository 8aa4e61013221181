"""Which given labels are wrong, and what to put in their place: from probabilities of any model, or from records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from alasca.audit.evidence import Witnesses, margins
from alasca.audit.out_of_sample import Neighbours, fold_numbers
from alasca.audit.rounds import decide
from alasca.errors import InputError
from alasca.runs import Records
from alasca.values import shown


class LabelIssues(pd.DataFrame):  # type: ignore[misc]  # pandas has no types here
    """A row for every label, in the order that they were given in: cleanlab's four columns first, then ours.

    ``is_label_issue`` (bool), ``label_quality`` (probability that the label is right), ``given_label``,
    ``predicted_label``, ``suggested_label``, ``decision`` (keep, review or fix), ``suggested_probability``.
    ``attrs`` has ``wrong_share`` (estimated share of wrong labels), ``wrong_share_interval`` (of 90%) and
    ``findings`` (a line each for what a person should know).
    """

    @property
    def _constructor(self) -> type[LabelIssues]:
        return LabelIssues

    def as_mask(self) -> np.ndarray:
        """Which labels are taken for wrong, bool ``[N]``."""
        found: np.ndarray = self["is_label_issue"].to_numpy(dtype=bool)
        return found


def find_label_issues(
    labels: Any,
    pred_probs: Any = None,
    *,
    features: Any = None,
    classes: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
) -> LabelIssues:
    """Find wrong labels from the probabilities of any model, from features, or from both.

    Args:
        labels: given labels ``[N]``: whole numbers from 0 to K - 1, or any others with `classes`.
        pred_probs: probabilities of the classes ``[N, K]`` by a model that was not trained on the sample's own label
            (as ``cross_val_predict(..., method="predict_proba")`` gives them), or of every epoch of one that was
            ``[E, N, K]``; None: `features` alone.
        features: numbers in which like samples lie near each other ``[N, D]``, an embedding for example.
        classes: what labels mean, in the order of the columns of `pred_probs`; None: the numbers 0 to K - 1, or, where
            labels are no whole numbers, the labels in sorted order.
        groups: a value a sample; those of one group do not vouch for each other's label in `features`.

    Returns:
        A frame with a row for every label; see `LabelIssues`.

    Raises:
        InputError: what does not fit together, in one line.

    >>> probabilities = np.array([[0.9, 0.1]] * 30 + [[0.2, 0.8]] * 30)
    >>> found = find_label_issues([0] * 29 + [1] * 31, probabilities)
    >>> found.as_mask().nonzero()[0].tolist(), int(found["suggested_label"][29])
    ([29], 0)
    """
    given, names = positions(labels, classes)
    size = len(names)
    probability = None if pred_probs is None else as_probabilities(pred_probs, len(given), size)
    if probability is not None and classes is None and probability.shape[-1] > size and names == list(range(size)):
        names = list(range(probability.shape[-1]))
    size = len(names)
    if probability is not None and probability.shape[-1] != size:
        raise InputError(f"pred_probs: {probability.shape[-1]} columns for {size} classes; expected one a class")
    points = None if features is None else as_points(features, len(given))
    if probability is None and points is None:
        raise InputError("find_label_issues: neither pred_probs nor features; expected one of them, or both")
    if len(np.unique(given)) < 2:
        raise InputError(f"labels: all are {shown(names[given[0]])}; expected at least two classes")
    if groups is not None and len(groups) != len(given):
        raise InputError(f"groups: {len(groups):,} values for {len(given):,} labels; expected one each")
    near = None if points is None else Neighbours(points, given >= 0, fold_numbers(len(given), groups))
    margin = None
    if probability is not None and probability.ndim == 3:
        margin, probability = np.mean([margins(epoch, given) for epoch in probability], axis=0), probability.mean(0)

    def ask(targets: np.ndarray) -> Witnesses:
        return Witnesses(margin, features=probability, cheap=None if near is None else near(targets))

    return judged(given, names, ask)


def judged(
    given: np.ndarray, names: Sequence[Any], ask: Callable[[np.ndarray], Witnesses], visits: float | None = None,
    predicted: np.ndarray | None = None, in_sample: bool = False,
) -> LabelIssues:  # fmt: skip
    """The verdict on labels as a frame.

    Args:
        given: labels ``[N]``, positions in `names`.
        names: of the classes.
        ask: gives what is known of the labels; see `decide`.
        visits, predicted, in_sample: see `judge`.
    """
    evidence, verdict = decide(given, len(names), ask, visits, predicted, in_sample)
    table = np.array(names, dtype=object)

    def named(found: np.ndarray) -> np.ndarray:
        values: np.ndarray = table[found]
        return values.astype(np.int64) if all(type(name) is int for name in names) else values

    found = LabelIssues({
        "is_label_issue": verdict.issue,
        "label_quality": verdict.clean_probability,
        "given_label": named(given),
        "predicted_label": named(evidence.probability.argmax(1)),
        "suggested_label": named(verdict.suggested),
        "decision": verdict.decision,
        "suggested_probability": verdict.suggested_probability,
    })  # fmt: skip
    found.attrs = {
        "wrong_share": verdict.share, "wrong_share_interval": (verdict.low, verdict.high),
        "findings": list(verdict.findings),
    }  # fmt: skip
    return found


def positions(labels: Any, classes: Sequence[Any] | None) -> tuple[np.ndarray, list[Any]]:
    """Labels as positions in class names ``[N]``, and these names.

    Raises:
        InputError: no labels, missing ones, or one that is none of the classes.
    """
    values = np.asarray(labels)
    if values.ndim != 1 or not len(values):
        raise InputError(f"labels: of shape {list(values.shape)}, expected one label a sample")
    listed = values.tolist()
    if missing := [k for k, label in enumerate(listed) if label is None or label != label]:
        raise InputError(f"labels: {shown(listed[missing[0]])} at position {missing[0]}; leave such samples out")
    whole = all(type(label) is int for label in listed) or all(
        type(label) is float and label.is_integer() for label in listed
    )
    if classes is None and any(type(label) is float and not label.is_integer() for label in listed):
        raise InputError("labels: numbers with fractions; expected whole numbers or names of classes")
    if classes is not None:
        names = list(classes)
    elif whole:
        if min(listed) < 0:
            raise InputError(f"labels: {min(listed)}, expected whole numbers from 0, or classes=[...]")
        names = list(range(int(max(listed)) + 1))
    else:
        names = sorted(set(listed), key=str)
    where = {name: k for k, name in enumerate(names)}
    if len(where) != len(names):
        raise InputError("classes: a name comes twice")
    if odd := [label for label in listed if label not in where]:
        raise InputError(f"labels: {shown(odd[0])} is none of the classes ({', '.join(map(str, names[:10]))})")
    return np.array([where[label] for label in listed], dtype=np.int64), names


def as_probabilities(values: Any, count: int, size: int) -> np.ndarray:
    """Probabilities as an array ``[N, K]`` or ``[E, N, K]``.

    Raises:
        InputError: of another shape, or no probabilities.
    """
    try:
        found = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"pred_probs: no table of numbers ({error})") from error
    if found.ndim in (2, 3) and found.shape[-1] < 2:
        raise InputError("pred_probs: 1 column; expected one for each of two classes or more")
    if found.ndim not in (2, 3) or found.shape[-2] != count:
        raise InputError(
            f"pred_probs: of shape {list(found.shape)}, expected [{count}, {size}] or [epochs, {count}, {size}]"
        )
    if not np.isfinite(found).all():
        row = int(np.argwhere(~np.isfinite(found))[0][-2])
        raise InputError(f"pred_probs: row {row} is not finite")
    if found.min() < -1e-4 or abs(found.sum(-1) - 1).max() > 0.01:
        raise InputError("pred_probs: rows are no probabilities (0 to 1, of sum 1); of logits take the softmax first")
    return found


def as_points(values: Any, count: int) -> torch.Tensor:
    """Features as a tensor ``[N, D]``.

    Raises:
        InputError: of another shape, or not finite.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().float().cpu().numpy()
    try:
        found = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"features: no table of numbers ({error})") from error
    if found.ndim != 2 or len(found) != count:
        raise InputError(f"features: of shape {list(found.shape)}, expected [{count}, D]")
    if not np.isfinite(found).all():
        raise InputError("features: some are not finite")
    return torch.from_numpy(found)


def ranking_auroc(records: Records) -> float | None:
    """How well `quality` ranks wrong labels below right ones, 0.5 to 1; None where the truth is not known.

    For evaluation only: it reads true labels.
    """
    from sklearn.metrics import roc_auc_score

    if records.true is None:
        return None
    known = np.isfinite(records.quality) & records.judged  # a sample that could not be read has none
    wrong = (records.given != records.true)[known]
    if wrong.all() or not wrong.any():
        return None
    return float(roc_auc_score(wrong, -records.quality[known]))
