"""Which given labels are wrong, and what to put in their place, from what training saw of each sample."""

from __future__ import annotations

import numpy as np

from alasca.runs import Records


def find_issues(given: np.ndarray, differing: np.ndarray, rival: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Issues and suggestions: a label is taken for wrong where most training visits predicted something else.

    Args:
        given: given labels ``[N]``.
        differing: share of visits whose prediction was not the given label ``[N]``.
        rival: the class predicted in its place most often ``[N]``.

    Returns:
        Whether each label is an issue, and the suggested label (the given one where there is none).

    >>> find_issues(np.array([0, 1]), np.array([0.9, 0.1]), np.array([2, 2]))
    (array([ True, False]), array([2, 1]))
    """
    issue = differing > 0.5
    return issue, np.where(issue, rival, given)


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
