"""The quality of every label, from what training recorded and what the trained network says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from alasca.audit.issues import find_issues
from alasca.runs import Records
from alasca.stores import Traced, against_others


def assess(
    ids: Sequence[str],
    classes: Sequence[str],
    given: Tensor,
    traced: Traced,
    log_p: Tensor,
    held: np.ndarray,
    unread: np.ndarray,
    columns: Mapping[str, Tensor],
    truth: Tensor | None,
) -> Records:
    """A row for every sample.

    Args:
        ids, classes: names.
        given: labels ``[N]``.
        traced: sums over training visits ``[N]``.
        log_p: the trained network's log-probabilities of the plain samples ``[N, K]``.
        held: which were held out ``[N]``.
        unread: which could not be read ``[N]``: nothing is known of their labels.
        columns: what the method knows of each sample, by name ``[N]``.
        truth: true labels, for evaluation only, or None.
    """
    absent = array(given) < 0
    unread = unread & ~absent
    probability, margin, _ = against_others(log_p, given.clamp(min=0))
    seen, visits = traced.visits > 0, traced.visits.clamp(min=1)
    predicted = log_p.argmax(1)
    quality = (traced.probability / visits).where(seen, probability).clamp(0, 1)
    differing = (traced.differing / visits).where(seen, (predicted != given).float())
    rival = traced.rival.long().where(seen & (traced.differing > 0), predicted)
    issue, suggested = find_issues(array(given), array(differing), array(rival))
    issue[unread], suggested[unread] = False, array(given)[unread]
    issue[absent], suggested[absent] = False, array(predicted)[absent]
    extra = {name: array(values.cpu().double()) for name, values in columns.items()}
    for column in extra.values():
        column[absent] = np.nan
    if bool((traced.sub_visits > 0).any()):
        visited = traced.sub_visits.clamp(min=1)
        for name, values in (("sub_quality", traced.sub_probability), ("sub_margin", traced.sub_margin)):
            extra[name] = array((values / visited).masked_fill(traced.sub_visits == 0, float("nan")))
    final, gap, share = array(quality), array((traced.margin / visits).where(seen, margin)), array(differing)
    final[unread | absent] = np.nan
    gap[absent] = share[absent] = np.nan
    return Records(
        tuple(ids), tuple(classes), array(given), array(predicted), suggested, issue, final,
        gap, share, array(traced.visits), held, extra,
        None if truth is None else array(truth),
    )  # fmt: skip


def array(tensor: Tensor) -> np.ndarray:
    """As NumPy, in the types that tables hold."""
    values: np.ndarray = tensor.detach().cpu().numpy()
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
