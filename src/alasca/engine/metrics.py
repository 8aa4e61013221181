"""An epoch's figures: sums over steps, and accuracies from each sample's last training prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alasca.core import Method, Selection, Step
from alasca.data import Split
from alasca.distributed import from_first, sum_over_ranks
from alasca.engine.probe import predictions
from alasca.stores import Trace


def add_step(sums: dict[str, Tensor], step: Step, device: torch.device) -> None:
    """Add a step's loss and log to the epoch's sums, without waiting for the device; ``name#`` counts."""
    real = torch.float32 if device.type == "mps" else torch.float64
    for name, value in {"loss": step.loss, **step.log}.items():
        for key, part in ((name, value.detach()), (f"{name}#", 1.0)):
            if key not in sums:
                sums[key] = torch.zeros((), dtype=real, device=device)
            sums[key] += part


def means(sums: dict[str, Tensor]) -> dict[str, float]:
    """Means over the epoch's steps and over all processes, of what was counted in it."""
    total = {name: float(sum_over_ranks(value.clone())) for name, value in sorted(sums.items())}
    return {name: total[name] / total[f"{name}#"] for name in total if total.get(f"{name}#")}


def finite(record: Mapping[str, Any]) -> dict[str, Any]:
    """Figures with none in the place of numbers that are none, which no JSON holds.

    >>> finite({"loss": float("nan"), "epoch": 3})
    {'loss': None, 'epoch': 3}
    """
    return {
        name: value if not isinstance(value, float) or math.isfinite(value) else None for name, value in record.items()
    }


def training_accuracies(trace: Trace, split: Split) -> dict[str, float]:
    """Accuracy of the last training predictions against given labels and, for evaluation, against true ones.

    ``memorised`` is the share of wrongly labelled samples whose wrong label was predicted.
    """
    prediction = trace.prediction.cpu()
    seen = prediction >= 0
    if not bool(seen.any()):
        return {}
    given, found = split.samples.labels.cpu()[seen], prediction[seen].long()
    result = {"train_accuracy": percent(found == given)}
    if split.truth is not None:
        truth, known = split.truth[seen], split.truth[seen] >= 0
        if bool(known.any()):
            result["train_true_accuracy"] = percent((found == truth)[known])
        wrong = (given != truth) & known
        if bool(wrong.any()):
            result["memorised"] = percent(found[wrong] == given[wrong])
    return result


def selection_quality(selection: Selection | None, index: Tensor, split: Split) -> dict[str, float]:
    """How good the choice among the samples at `index` was, mean over networks. Its figures need true labels.

    ``selected`` is the share that was kept; ``selection_precision`` the share of right labels in it,
    ``selection_recall`` the share of right labels that it holds, ``selection_f1`` their harmonic mean (percent);
    ``selection_weight`` the share of the kept samples' weight that is on right labels, where weights differ;
    ``clean_auroc`` says how well the clean probability ranks right labels above wrong ones, 0.5 being chance.
    """
    if selection is None:
        return {}
    index = index.cpu()
    kept = selection.kept.cpu()[index].T
    result = {"selected": percent(kept)}
    if split.truth is None:
        return result
    known = split.truth[index] >= 0
    index, kept = index[known], kept[:, known]
    right = split.samples.labels.cpu()[index] == split.truth[index]
    hits = (kept & right).sum(1).double()
    precision, recall = hits / kept.sum(1).clamp(min=1), hits / right.sum().clamp(min=1)
    f1 = 2 * hits / (kept.sum(1) + right.sum()).clamp(min=1)
    for name, value in (("precision", precision), ("recall", recall), ("f1", f1)):
        result[f"selection_{name}"] = 100 * float(value.mean())
    if selection.weight is not None:
        weight = selection.weight.cpu()[index].T.double() * kept
        result["selection_weight"] = 100 * float(((weight * right).sum(1) / weight.sum(1)).mean())
    if selection.clean is not None and bool(right.any()) and not bool(right.all()):
        from sklearn.metrics import roc_auc_score

        columns = selection.clean.cpu()[index].T
        result["clean_auroc"] = sum(float(roc_auc_score(right, column)) for column in columns) / len(columns)
    return result


def percent(flags: Tensor) -> float:
    """Share of True, in percent."""
    return 100 * float(flags.cpu().double().mean())


def held_accuracies(method: Method, nets: Sequence[nn.Module], split: Split, device: torch.device) -> dict[str, float]:
    """Accuracy on the held-out samples (noisy labels; the first process's) and on the test set, as far as there are.

    ``test_accuracy`` is that of the prediction in force; where there are several, each has a figure of its own, such
    as ``test_accuracy_average``.
    """
    found: dict[str, float] = {}
    if split.held is not None:
        right = accuracies(method, nets, split, held=True)
        found |= {name.format("val"): from_first(value, device) for name, value in right.items()}
    if split.test is not None:
        found |= {name.format("test"): value for name, value in accuracies(method, nets, split, held=False).items()}
    return found


def accuracies(method: Method, nets: Sequence[nn.Module], split: Split, held: bool) -> dict[str, float]:
    """Percent right by each kind of prediction."""
    samples = split.samples if held else split.test
    assert samples is not None
    rows = split.held if held and split.held is not None else torch.arange(len(samples))
    rows = rows.to(samples.labels.device)
    found = predictions(method, nets, samples, rows)
    right = {kind: percent(values.argmax(1) == samples.labels[rows]) for kind, values in found.items()}
    kinds = {f"{{}}_accuracy_{kind}": value for kind, value in right.items()} if len(right) > 1 else {}
    return {"{}_accuracy": right[method.prediction], **kinds}
