"""From settings to a run that can begin: everything read and checked, nothing written."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from alasca import __version__
from alasca.core import InputError, Method
from alasca.data import Rows, Samples, Source, Texts, load_source, subset
from alasca.distributed import world
from alasca.engine import Data, check, resolve_device
from alasca.experiment.labelled import held_out, tokenised, with_noise
from alasca.experiment.settings import Settings
from alasca.functional import transition_counts
from alasca.networks import create_network

MATRIX_CLASSES = 1000
"""Classes up to which a run keeps its transition matrix."""


@dataclass(frozen=True)
class Prepared:
    """A run that can begin: everything read and checked, nothing written.

    Attributes:
        settings: all that decides the run.
        source: the data, limited, with labels as the source gives them.
        data: what the loop gets.
        ids: of the training set.
        make_method, make_network: make fresh ones.
        noise_rate: share of wrong labels where the truth is known.
        transitions: how many samples of true class i are labelled j ``[K, K]``, where the truth is known.
        words: the vocabulary of texts, where it was built here.
        texts: of the training set, where it has such.
    """

    settings: Settings
    source: Source
    data: Data
    ids: tuple[str, ...]
    make_method: Callable[[], Method]
    make_network: Callable[[], nn.Module]
    noise_rate: float | None
    transitions: Tensor | None = None
    words: tuple[str, ...] | None = None
    texts: Texts | None = None


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
    source = load_source(settings.data, settings.reading)
    source, given, truth = with_noise(source, settings)
    texts = source.inputs
    source, words, tokens = tokenised(source, settings)
    inputs, test_inputs = source.inputs, source.test_inputs
    assert not isinstance(inputs, Texts)
    assert not isinstance(test_inputs, Texts)
    held = held_out(settings, given, source)
    rows = torch.arange(len(given))
    rows = rows[~torch.isin(rows, held)]
    everything = Samples(
        inputs, given,
        shift=source.shift if settings.shift is None else settings.shift,
        flip=source.flip if settings.flip is None else settings.flip,
        crop=source.crop,
    )  # fmt: skip
    if everything.shift < 0:
        raise InputError(f"shift: {everything.shift}, expected at least 0 pixels")
    usable = None if not source.blank else (~torch.isin(rows, torch.tensor(source.blank))).nonzero()[:, 0]
    train = everything.take(rows)
    if source.mean is not None and source.std is not None:
        train = replace(train, mean=torch.tensor(source.mean), std=torch.tensor(source.std))
    else:
        train = train.with_statistics(usable)
    if len(train) < 2:
        raise InputError(f"data: {len(train)} training samples are left; expected at least 2")
    val = replace(train, inputs=subset(inputs, held), labels=given[held]) if len(held) else None
    test = None
    if test_inputs is not None and source.test_labels is not None:
        test = replace(train, inputs=test_inputs, labels=source.test_labels)
    classes = len(source.classes)
    per_epoch = source.epoch_samples if settings.epoch_samples is None else settings.epoch_samples
    if per_epoch is not None and per_epoch < classes:
        raise InputError(f"epoch-samples: {per_epoch}, expected at least one a class ({classes})")
    data = Data(train, classes, val, test, None if truth is None else truth[rows], usable, per_epoch)
    shape = tuple(train.view("plain", torch.arange(2)).shape[1:])

    def make_network() -> nn.Module:
        return create_network(settings.network, shape, classes, tokens, settings.pretrained)

    check(settings.make_method(), make_network, data, settings.training)
    return Prepared(
        settings, source, data, tuple(source.ids[k] for k in rows.tolist()), settings.make_method, make_network,
        None if truth is None else float((given != truth).double().mean()),
        None if truth is None or classes > MATRIX_CLASSES else transition_counts(truth, given, classes), words,
        texts.subset(rows) if isinstance(texts, Texts) else None,
    )  # fmt: skip


def describe(prepared: Prepared) -> dict[str, Any]:
    """What goes into run.json."""
    settings = prepared.settings
    device = resolve_device(settings.training.device)
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
        "labels_sha256": hashlib.sha256(prepared.data.train.labels.numpy().tobytes()).hexdigest(),
        "notes": list(prepared.source.notes),
        "reads_files": isinstance(prepared.data.train.inputs, Rows),
        "machine": {
            "machine": platform.machine(),
            "torch": str(torch.__version__),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "threads": torch.get_num_threads(),
            "processes": world()[1],
        },
        "exact_resume": device.type == "cpu" or settings.training.deterministic,
    }
