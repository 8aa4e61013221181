"""What a finished run holds: the model, a row for every sample, pictures or texts for the report, final figures."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alasca.audit.duplicates import NOTHING, duplicate_sets, groups_with
from alasca.audit.evidence import BY_HEART, by_features
from alasca.audit.issues import ranking_auroc
from alasca.audit.out_of_sample import (
    LeastSquares,
    Neighbours,
    Numbers,
    Words,
    fold_numbers,
    narrowed,
)
from alasca.audit.patches import LEAST_SIDE, patch_features
from alasca.audit.quality import Known, assess
from alasca.audit.verdict import FIX, Verdict
from alasca.core import Output
from alasca.data import Split
from alasca.engine import Fitted, finite, outputs_of, plain_views, predictions
from alasca.networks import keep_network
from alasca.recipe import Recipe
from alasca.runs import FORMAT, Records, RunFolder, describe_model, model_tensors
from alasca.training.prepare import Prepared

BATCH = 512
PICTURES_KEPT = 1_000
"""Pictures and texts of the most suspicious samples that a run keeps."""
PICTURE_SIDE = 96
"""Pixels of the side of such pictures, at most."""
EXCERPT = 300
"""Characters of a text that the report shows."""
FINAL = (
    "train_accuracy", "train_true_accuracy", "memorised", "selected", "selection_precision", "selection_recall",
    "selection_f1", "selection_weight", "clean_auroc",
)  # fmt: skip
"""Figures of the last epoch that are a run's."""


def finish(prepared: Prepared, fitted: Fitted, split: Split, run: RunFolder) -> None:
    """Write the model, the table of samples, what the report shows of them, and last of all done.json.

    Args:
        prepared: what the run began with.
        fitted: what it ended with.
        split: its samples, on the device.
        run: where to.
    """
    described = describe_model(
        prepared.recipe, prepared.split.samples, prepared.task.classes, prepared.shape,
        prepared.job.place.channels_last,
    )  # fmt: skip
    run.write_model(model_tensors(fitted.method, fitted.nets), described)
    run.publishing()
    keep_network(prepared.recipe.network, run.network)
    records, verdict = collect(prepared, fitted, split)
    run.write_records(records)
    if split.texts is not None:
        texts = split.texts.values
        run.write_excerpts({int(row): texts[row][:EXCERPT] for row in records.ranking()[:PICTURES_KEPT]})
    elif split.samples.transform.kind == "pictures":
        rows = torch.from_numpy(records.ranking()[:PICTURES_KEPT].copy())
        run.write_pictures(shrunk(split.samples.inputs[rows].cpu()), rows)
    run.write_done(finite(figures(fitted, split, records, verdict)))


def shrunk(pictures: Tensor) -> Tensor:
    """Pictures ``[M, C, H, W]`` uint8 whose longer side is `PICTURE_SIDE` at most."""
    side = max(pictures.shape[2:])
    if side <= PICTURE_SIDE:
        return pictures
    size = [max(1, round(length * PICTURE_SIDE / side)) for length in pictures.shape[2:]]
    smaller = torch.nn.functional.interpolate(pictures.float(), size=size, mode="bilinear", antialias=True)
    return smaller.round().clamp(0, 255).to(torch.uint8)


def collect(prepared: Prepared, fitted: Fitted, split: Split) -> tuple[Records, Verdict | None]:
    """What training saw of each sample, with a last look at the plain samples, and what follows from it."""
    given = split.samples.labels
    kind = fitted.method.prediction
    log_p = predictions(fitted.method, fitted.nets, split.samples, only=kind)[kind]
    everything = torch.arange(len(given))
    held = np.zeros(len(given), dtype=bool)
    if split.held is not None:
        held[split.held.numpy()] = True
    sound = split.samples.sound(everything)
    labelled = (given >= 0).cpu().numpy()
    unread = ~torch.isin(everything, split.train).numpy() & ~held & labelled
    unread = unread if sound is None else unread | ~sound.numpy()
    labels = given.cpu().numpy().copy()
    labels[unread] = -1
    known = labels >= 0
    fits = float((log_p.argmax(1).cpu().numpy() == labels)[known].mean()) if known.any() else 0.0
    pictures = of_patches(split)
    batches = split.samples.read(torch.split(everything, BATCH))
    copies = duplicate_sets(batches, None if split.texts is None else split.texts.values)
    copies[unread] = NOTHING  # all black
    groups = groups_with(copies, None if split.groups is None else split.groups.numpy())
    return assess(Known(
        split.ids, prepared.task.classes, given, fitted.trace.read(everything.to(given.device)), log_p, held, unread,
        fitted.method.columns(given.clamp(min=0)), by_other_folds(fitted, split, labels, fits, groups),
        sees_deeper(prepared.recipe, split), pictures, pictures and fits > BY_HEART, copies, split.truth,
    ))  # fmt: skip


def by_other_folds(
    fitted: Fitted, split: Split, labels: np.ndarray, fits: float, groups: np.ndarray | None
) -> Callable[[np.ndarray], tuple[np.ndarray | None, np.ndarray | None]]:  # fmt: skip
    """Asks samples of other folds ``[N, K]``: neighbours in the network's features, None where it has none, and cheap
    classifiers on the raw inputs; by labels that are distributions ``[N, K]``."""
    folds, net = fold_numbers(len(labels), groups), fitted.nets[0]
    two, near = torch.arange(2, device=split.samples.labels.device), list[Neighbours]()
    depth = len(levels_of(next(outputs_of([net], split.samples, two))))
    for level in sorted({0, depth - 1}) if depth else ():
        points = narrowed(lambda: (levels_of(each)[level] for each in outputs_of([net], split.samples)), width=128)  # noqa: B023  # used at once
        near.append(Neighbours(points, labels >= 0, folds))
    cheap: Callable[[np.ndarray], np.ndarray]
    if split.texts is not None:
        cheap = Words(split.texts.values, labels, folds)
    elif of_patches(split):
        mirrored = split.samples.transform.flip
        patches = patch_features(lambda rows: plain_views(split.samples, rows), len(labels), mirrored)
        cheap = LeastSquares(patches, labels, folds)
    else:
        cheap = Numbers(narrowed(lambda: plain_views(split.samples)), labels, folds)

    def ask(targets: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        return by_features([votes(targets) for votes in near], fits) if near else None, cheap(targets)

    return ask


def of_patches(split: Split) -> bool:
    """Whether samples are pictures large enough for patches to say what is on them."""
    transform = split.samples.transform
    sides = split.samples.inputs.shape[2:]
    return transform.kind == "pictures" and min(*sides, transform.crop or min(sides)) >= LEAST_SIDE


def levels_of(outputs: list[Output]) -> list[Tensor]:
    """What the classifiers of the first network read, shallow to deep."""
    found = [feature.flatten(1) for feature in outputs[0].aux_features]
    return found if outputs[0].feature is None else [*found, outputs[0].feature]


def sees_deeper(recipe: Recipe, split: Split) -> bool:
    """Whether a network may see more than cheap classifiers: in pictures, or after it was trained on other data."""
    return split.samples.transform.kind == "pictures" or recipe.pretrained or recipe.network.startswith("hf:")


def figures(fitted: Fitted, split: Split, records: Records, verdict: Verdict | None) -> dict[str, Any]:
    """What done.json holds."""
    done: dict[str, Any] = {
        "format": FORMAT,
        "label_issues": int(records.issue.sum()),
        "label_fixes": int((records.decision == FIX).sum()),
        "findings": list(verdict.findings) if verdict else [],
        **outcome(fitted, split),
    }
    if verdict is not None:
        done |= {"wrong_share": verdict.share, "wrong_share_low": verdict.low, "wrong_share_high": verdict.high}
    if (auroc := ranking_auroc(records)) is not None:
        done["issue_auroc"] = auroc
    return done


def outcome(fitted: Fitted, split: Split) -> dict[str, Any]:
    """How training ended: accuracies of the last epochs and of the chosen one, by kind of prediction, and its time."""
    history = fitted.history
    done: dict[str, Any] = {
        "epochs": len(history),
        "select": fitted.select,
        "chosen_epoch": fitted.chosen_epoch,
        "prediction": fitted.method.prediction,
        "seconds_per_epoch": statistics.median(record["seconds"] for record in history),
        "noise_rate": split.noise_rate,
        "waited": statistics.fmean(record["waited"] for record in history),
        **fitted.method.figures(split.samples.labels.clamp(min=0)),
    }
    for kind in [name for name in history[-1] if name.startswith(("test_accuracy", "val_accuracy"))]:
        values = [record[kind] for record in history if kind in record]
        done[f"{kind}_last"] = values[-1]
        done[f"{kind}_last10"] = statistics.fmean(values[-10:])
        if fitted.select == "noisy-val":
            done[f"{kind}_noisy_val"] = values[fitted.chosen_epoch]
    return done | {kind: history[-1][kind] for kind in FINAL if kind in history[-1]}
