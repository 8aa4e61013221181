"""An epoch's figures: sums over steps, and accuracies from each sample's last training prediction."""

from __future__ import annotations

import torch
from torch import Tensor

from alasca.core import Step
from alasca.distributed import sum_over_ranks
from alasca.engine.setup import Data
from alasca.engine.trace import Trace


def add_step(sums: dict[str, Tensor], step: Step, device: torch.device) -> None:
    """Add a step's loss and log to the epoch's sums, without waiting for the device; ``name#`` counts."""
    real = torch.float32 if device.type == "mps" else torch.float64
    for name, value in {"loss": step.loss, **step.log}.items():
        for key, part in ((name, value.detach()), (f"{name}#", 1.0)):
            if key not in sums:
                sums[key] = torch.zeros((), dtype=real, device=device)
            sums[key] += part


def means(sums: dict[str, Tensor]) -> dict[str, float]:
    """Means over the epoch's steps and over all processes."""
    total = {name: float(sum_over_ranks(value.clone())) for name, value in sorted(sums.items())}
    return {name: total[name] / total[f"{name}#"] for name in total if not name.endswith("#")}


def training_accuracies(trace: Trace, data: Data) -> dict[str, float]:
    """Accuracy of the last training predictions against given labels and, for evaluation, against true ones.

    ``memorised`` is the share of wrongly labelled samples whose wrong label was predicted.
    """
    prediction = trace.prediction.cpu()
    seen = prediction >= 0
    if not bool(seen.any()):
        return {}
    given, found = data.train.labels.cpu()[seen], prediction[seen].long()
    result = {"train_accuracy": percent(found == given)}
    if data.truth is not None:
        truth = data.truth[seen]
        result["train_true_accuracy"] = percent(found == truth)
        wrong = given != truth
        if bool(wrong.any()):
            result["memorised"] = percent(found[wrong] == given[wrong])
    return result


def percent(flags: Tensor) -> float:
    """Share of True, in percent."""
    return 100 * float(flags.double().mean())
