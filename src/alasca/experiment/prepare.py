"""From settings to a run that can begin: everything read and checked, nothing written."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from alasca import __version__
from alasca.core import InputError, Method
from alasca.data import Samples, Source, apply_noise, balanced_part, load_source
from alasca.distributed import world
from alasca.engine import Data, check, resolve_device
from alasca.experiment.settings import Settings
from alasca.networks import create_network


@dataclass(frozen=True)
class Prepared:
    """A run that can begin: everything read and checked, nothing written."""

    settings: Settings
    source: Source
    data: Data
    ids: tuple[str, ...]
    make_method: Callable[[], Method]
    make_network: Callable[[], nn.Module]
    noise_rate: float | None


def prepare(settings: Settings) -> Prepared:
    """Read the data, make the noise and the splits, and check every setting.

    Raises:
        InputError: something in the settings is wrong.
    """
    if settings.threads is not None:
        if settings.threads < 1:
            raise InputError(f"threads: {settings.threads}, expected at least 1")
        torch.set_num_threads(settings.threads)
    resolve_device(settings.training.device)
    seed = settings.training.seed
    source = load_source(settings.data, settings.image_size)
    source = limited(source, settings.limit, seed)
    classes = len(source.classes)
    given = apply_noise(settings.noise, source.labels, classes, seed)
    truth = source.true_labels
    if truth is None and settings.noise != "none":
        truth = source.labels
    fraction = settings.val_fraction
    if fraction is None:
        method = settings.make_method()
        chooses = method.uses_best or (settings.training.select or method.select) == "noisy-val"
        fraction = 0.1 if chooses or source.test_labels is None else 0.0
    if not 0 <= fraction < 1:
        raise InputError(f"val-fraction: {fraction}, expected at least 0 and below 1")
    held = balanced_part(given, round(fraction * len(given)), seed, "val", leave=1)
    rows = torch.arange(len(given))
    rows = rows[~torch.isin(rows, held)]
    everything = Samples(
        source.inputs, given,
        shift=source.shift if settings.shift is None else settings.shift,
        flip=source.flip if settings.flip is None else settings.flip,
    )  # fmt: skip
    if everything.shift < 0:
        raise InputError(f"shift: {everything.shift}, expected at least 0 pixels")
    train = everything.take(rows).with_statistics()
    if len(train) < 2:
        raise InputError(f"data: {len(train)} training samples are left; expected at least 2")
    val = replace(train, inputs=source.inputs[held], labels=given[held]) if len(held) else None
    test = None
    if source.test_inputs is not None and source.test_labels is not None:
        test = replace(train, inputs=source.test_inputs, labels=source.test_labels)
    shape = tuple(source.inputs.shape[1:])
    data = Data(train, classes, val, test, None if truth is None else truth[rows])
    check(settings.make_method(), lambda: create_network(settings.network, shape, classes), data, settings.training)
    rate = None if truth is None else float((given != truth).double().mean())
    return Prepared(
        settings, source, data, tuple(source.ids[k] for k in rows.tolist()), settings.make_method,
        lambda: create_network(settings.network, shape, classes), rate,
    )  # fmt: skip


def limited(source: Source, limit: int | None, seed: int) -> Source:
    """At most `limit` training samples, class-balanced, and at most as many test samples."""
    if limit is None:
        return source
    if limit < len(source.classes):
        raise InputError(f"limit: {limit}, expected at least one sample a class ({len(source.classes)})")
    rows = balanced_part(source.labels, limit, seed, "limit")
    true = None if source.true_labels is None else source.true_labels[rows]
    ids = tuple(source.ids[k] for k in rows.tolist())
    source = replace(source, inputs=source.inputs[rows], labels=source.labels[rows], ids=ids, true_labels=true)
    if source.test_inputs is None or source.test_labels is None:
        return source
    test = balanced_part(source.test_labels, limit, seed, "limit-test")
    return replace(source, test_inputs=source.test_inputs[test], test_labels=source.test_labels[test])


def describe(prepared: Prepared) -> dict[str, Any]:
    """What goes into run.json."""
    settings = prepared.settings
    device = resolve_device(settings.training.device)
    labels = prepared.data.train.labels.numpy().tobytes()
    return {
        "alasca": __version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "settings": asdict(settings),
        "title": settings.title,
        "classes": list(prepared.source.classes),
        "train_samples": len(prepared.data.train),
        "val_samples": 0 if prepared.data.val is None else len(prepared.data.val),
        "test_samples": 0 if prepared.data.test is None else len(prepared.data.test),
        "noise_rate": prepared.noise_rate,
        "source_sha256": prepared.source.digest(),
        "labels_sha256": hashlib.sha256(labels).hexdigest(),
        "machine": {
            "machine": platform.machine(),
            "torch": str(torch.__version__),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "threads": torch.get_num_threads(),
            "processes": world()[1],
        },
        "exact_resume": device.type == "cpu" or settings.training.deterministic,
    }
