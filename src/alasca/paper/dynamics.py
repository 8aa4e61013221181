"""What a run's looks at some samples come to: a few figures an epoch, of samples with right and with wrong labels.

True labels serve to tell these groups apart here, after training; where nobody knows them, the groups are what the run
itself takes for right and for wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from alasca.runs import Seen

BINS = 20
"""Of histograms, over 0 to 1."""
Groups = Mapping[str, Tensor]
"""Which of the samples belong to what, bool ``[M]``."""


def right_and_wrong(seen: Seen) -> Groups:
    """Samples with right labels, ``clean``, and with wrong ones, ``noisy``; empty where the truth is not known."""
    given, true = seen.samples["given"], seen.samples["true"]
    known = true >= 0
    return {"clean": known & (given == true), "noisy": known & (given != true)} if bool(known.any()) else {}


def dynamics(seen: Seen, groups: Groups | None = None) -> list[dict[str, Any]]:
    """Figures of every look, the first epoch first.

    Args:
        seen: of a run.
        groups: whose means are taken; None: `right_and_wrong`.

    Returns:
        For each look: ``epoch``; by group ``jacobian`` (mean norm at each stage) and ``total`` (of R(x)); ``slope`` of
        each stage; ``instant`` and ``ema``, confidence in the given label in this epoch's training visits and of
        averaged logits: by group mean and standard deviation, ``auroc`` of clean above noisy, and ``change``, the mean
        distance from the epoch before (``instant`` and ``change`` need a look at that); of each classifier, the main
        one last, ``entropy``, ``omega``, ``test_entropy``, ``test_accuracy``, ``test_calibration``; and ``target``, of
        `targets`.
    """
    if not seen.looks:
        return []
    groups = right_and_wrong(seen) if groups is None else groups
    found: list[dict[str, Any]] = []
    before: Mapping[str, Tensor] = {}
    last = -1
    for epoch, look in seen.looks.items():
        now = dict(look)
        follows, last = epoch == last + 1, epoch
        if follows and (instant := instant_confidence(look, before)) is not None:
            now["instant"] = instant
        record: dict[str, Any] = {"epoch": epoch, **by_group(now, groups)}
        for name in ("instant", "ema_confidence"):
            if name in now:
                record[name.removesuffix("_confidence")] = confidence_of(
                    now[name], before.get(name) if follows else None, groups
                )
        for name in ("entropy", "omega"):
            record[name] = rounded(look[name].mean(1))
        if "test_predicted" in look:
            record |= on_test(look, seen.samples["test_true"])
        if len(look["predicted"]) > 1 and "clean" in groups:
            record["target"] = targets(look, seen.samples["true"])
        found.append(record)
        before = now
    return found


def by_group(look: Mapping[str, Tensor], groups: Groups) -> dict[str, Any]:
    """Mean Jacobian norms of each group by stage and in all, and the mean slope of each stage."""
    if "jacobian" not in look:
        return {}
    norms = look["jacobian"]
    total = norms.square().sum(0).sqrt()
    found: dict[str, Any] = {
        "jacobian": {name: rounded(norms[:, rows].mean(1)) for name, rows in groups.items() if bool(rows.any())},
        "total": {name: float(f"{total[rows].mean():.4g}") for name, rows in groups.items() if bool(rows.any())},
    }
    if "slope" in look:
        found["slope"] = rounded(look["slope"].mean(1))
    return found


def instant_confidence(look: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> Tensor | None:
    """Mean confidence of the training visits since the look of the epoch before ``[M]``, NaN where there were none."""
    if "visits" not in look:
        return None
    visits = look["visits"] - before.get("visits", torch.zeros_like(look["visits"]))
    since = look["probability"] - before.get("probability", torch.zeros_like(look["probability"]))
    return torch.where(visits > 0, since / visits, torch.nan)


def confidence_of(values: Tensor, before: Tensor | None, groups: Groups) -> dict[str, Any]:
    """Mean and standard deviation by group, how well it ranks clean above noisy, and how much it moved."""
    seen = values.isfinite()
    groups = {name: rows & seen for name, rows in groups.items()}
    found: dict[str, Any] = {
        name: rounded(torch.stack([values[rows].mean(), values[rows].std()]))
        for name, rows in groups.items() if int(rows.sum()) > 1
    }  # fmt: skip
    if {"clean", "noisy"} <= found.keys():
        from sklearn.metrics import roc_auc_score

        known = groups["clean"] | groups["noisy"]
        found["auroc"] = round(float(roc_auc_score(groups["clean"][known], values[known])), 4)
    if before is not None:
        moved = (values - before).abs()
        found["change"] = float(f"{moved[moved.isfinite()].mean():.4g}")
    return found


def on_test(look: Mapping[str, Tensor], true: Tensor) -> dict[str, list[float]]:
    """Entropy, accuracy in percent and expected calibration error of each classifier on test samples."""
    right = look["test_predicted"] == true
    return {
        "test_entropy": rounded(look["test_entropy"].mean(1)),
        "test_accuracy": rounded(100 * right.float().mean(1)),
        "test_calibration": rounded(torch.stack([
            calibration_error(top, hits) for top, hits in zip(look["test_top"], right, strict=True)
        ])),
    }  # fmt: skip


def calibration_error(top: Tensor, right: Tensor, bins: int = 15) -> Tensor:
    """Expected calibration error (Guo et al., 2017): how far confidence and accuracy lie apart, by bins of confidence.

    >>> calibration_error(torch.tensor([0.9, 0.9, 0.5]), torch.tensor([True, False, True]))
    tensor(0.4333)
    """
    at = (top * bins).long().clamp(max=bins - 1)
    each = torch.zeros(bins).index_add_(0, at, top - right.float())
    return each.abs().sum() / len(top)


def targets(look: Mapping[str, Tensor], true: Tensor) -> dict[str, Any]:
    """Figure 4: confidence of the main classifier in the target that it would hand to sub-classifiers.

    Counts over `BINS` of targets that are ``right`` and ``wrong``, ``without`` agreement (every prediction is a target)
    and ``with`` it (those that the deepest sub-classifier shares).
    """
    main, known = look["predicted"][-1], true >= 0
    agreed = main == look["predicted"][-2]
    found: dict[str, Any] = {}
    for name, rows in (("without", known), ("with", known & agreed)):
        right = main == true
        found[name] = {
            kind: histogram(look["top"][-1][rows & which]) for kind, which in (("right", right), ("wrong", ~right))
        }
    return found


def histogram(values: Tensor) -> list[int]:
    """Counts over `BINS` equal parts of 0 to 1."""
    return torch.histc(values.float(), BINS, 0, 1).int().tolist()


def rounded(values: Tensor) -> list[float]:
    """Four digits of each."""
    return [float(f"{value:.4g}") for value in values.tolist()]
