"""What a finished run holds: models, records of every sample, pictures, final figures."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alasca.audit.issues import find_issues, ranking_auroc
from alasca.core import Method
from alasca.data import Texts
from alasca.engine import Data, Fitted, SampleProbe
from alasca.experiment.prepare import Prepared
from alasca.functional import confidence
from alasca.methods.alasca import Alasca
from alasca.runs import Records, RunFolder

PICTURES_KEPT = 48
EXCERPT = 300
"""Characters of a text that the report shows."""


def collect(prepared: Prepared, fitted: Fitted) -> Records:
    """What training saw of each sample, with a last look at the plain samples."""
    data, trace = prepared.data, fitted.trace
    device = trace.visits.device
    samples = data.train.to(device)
    probe = SampleProbe(samples, torch.arange(len(samples)))
    logits = torch.stack([probe(net, lambda output, batch: output.logits) for net in fitted.nets]).mean(0)
    given = samples.labels
    own = logits.gather(1, given[:, None])[:, 0]
    others = logits.scatter(1, given[:, None], -torch.inf).max(1).values
    visits = trace.visits.clamp(min=1)
    seen = trace.visits > 0
    quality = torch.where(seen, trace.probability / visits, (own - logits.logsumexp(1)).exp())
    margin = torch.where(seen, trace.margin / visits, own - others)
    predicted = logits.argmax(1)
    differing = torch.where(seen, trace.differing / visits, (predicted != given).float())
    rival = torch.where(seen & (trace.differing > 0), trace.rival.long(), predicted)
    issue, suggested = find_issues(array(given), array(differing), array(rival))
    quality = quality.clamp(0, 1)
    unread = unreadable(data)
    if unread.any():  # nothing is known of the labels of pictures that can't be read
        issue[unread], suggested[unread] = False, array(given)[unread]
        quality[torch.from_numpy(unread).to(device)] = torch.nan
    return Records(
        prepared.ids, prepared.source.classes, array(given), array(predicted), suggested, issue,
        array(quality), array(margin), array(differing), array(trace.visits),
        ema_confidence(fitted.method, given), *choices(fitted.method),
        None if data.truth is None else array(data.truth),
    )  # fmt: skip


def unreadable(data: Data) -> np.ndarray:
    """Which training samples could not be read, before training or since."""
    everything = torch.arange(len(data.train))
    usable = (
        torch.ones(len(data.train), dtype=torch.bool) if data.usable is None else torch.isin(everything, data.usable)
    )
    sound = data.train.sound(everything)
    return ~(usable if sound is None else usable & sound).numpy()


def array(tensor: Tensor) -> np.ndarray:
    """As NumPy, in the types that tables hold."""
    values: np.ndarray = tensor.detach().cpu().numpy()
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)


def ema_confidence(method: Method, labels: Tensor) -> np.ndarray | None:
    """ALASCA's confidence in the given labels, averaged over networks and stores."""
    if not isinstance(method, Alasca):
        return None
    index = torch.arange(len(labels), device=labels.device)
    found = [confidence(store.read(index), labels, method.temperature) for store in method.stores()]
    return array(torch.stack(found).mean(0))


def store_errors(method: Method, labels: Tensor) -> dict[str, float]:
    """What a store smaller than float32 loses in confidence: mean, and what 99% of the samples stay below."""
    errors = method.store_errors(labels) if isinstance(method, Alasca) else None
    if errors is None or not len(errors):
        return {}
    return {"store_error_mean": float(errors.mean()), "store_error_p99": float(errors.quantile(0.99))}


def choices(method: Method) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Share of networks that learned from a sample's label, and its probability of being right, where there is one."""
    selection = method.selected()
    if selection is None:
        return None, None
    return array(selection.kept.float().mean(1)), None if selection.clean is None else array(selection.clean.mean(1))


def finish(prepared: Prepared, fitted: Fitted, records: Records, run: RunFolder) -> None:
    """Write the models, the table of samples, the pictures for the report, and last of all done.json."""
    run.write_model({
        f"{k}/{name}": value
        for k, net in enumerate(fitted.nets)
        for name, value in net.state_dict().items()
        if name.startswith("backbone.")
    })  # fmt: skip
    run.write_records(records)
    if prepared.data.train.pictures:
        rows = torch.from_numpy(records.ranking()[:PICTURES_KEPT].copy())
        run.write_pictures(prepared.data.train.inputs[rows].cpu(), rows)
    elif isinstance(prepared.texts, Texts):
        texts = prepared.texts.values
        run.write_excerpts({int(row): texts[row][:EXCERPT] for row in records.ranking()[:PICTURES_KEPT]})
    history = fitted.history
    done: dict[str, Any] = {
        "epochs": len(history),
        "select": fitted.select,
        "chosen_epoch": fitted.chosen_epoch,
        "seconds_per_epoch": statistics.median(record["seconds"] for record in history),
        "label_issues": int(records.issue.sum()),
        "noise_rate": prepared.noise_rate,
        "waited": statistics.fmean(record["waited"] for record in history),
        **store_errors(fitted.method, prepared.data.train.labels),
    }
    for kind in ("test_accuracy", "val_accuracy"):
        values = [record[kind] for record in history if kind in record]
        if values:
            done[f"{kind}_last"] = values[-1]
            done[f"{kind}_last10"] = statistics.fmean(values[-10:])
            if fitted.select == "noisy-val":
                done[f"{kind}_noisy_val"] = values[fitted.chosen_epoch]
    for kind in (
        "train_accuracy", "train_true_accuracy", "memorised", "selected", "selection_precision", "selection_recall",
        "selection_f1", "selection_weight", "clean_auroc",
    ):  # fmt: skip
        if kind in history[-1]:
            done[kind] = history[-1][kind]
    if (auroc := ranking_auroc(records)) is not None:
        done["issue_auroc"] = auroc
    run.write_done(done)
