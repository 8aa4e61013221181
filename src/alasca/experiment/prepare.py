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
from alasca.data import (
    PADDING,
    Rows,
    Samples,
    Source,
    Texts,
    Vocabulary,
    apply_noise,
    balanced_part,
    encoded,
    labels_from_file,
    load_source,
    subset,
)
from alasca.distributed import world
from alasca.engine import Data, check, resolve_device
from alasca.experiment.settings import Settings
from alasca.functional import transition_counts
from alasca.networks import Tokens, create_network, text_tokenizer

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
    train = everything.take(rows)
    if source.mean is not None and source.std is not None:
        train = replace(train, mean=torch.tensor(source.mean), std=torch.tensor(source.std))
    else:
        train = train.with_statistics()
    if len(train) < 2:
        raise InputError(f"data: {len(train)} training samples are left; expected at least 2")
    val = replace(train, inputs=subset(inputs, held), labels=given[held]) if len(held) else None
    test = None
    if test_inputs is not None and source.test_labels is not None:
        test = replace(train, inputs=test_inputs, labels=source.test_labels)
    classes = len(source.classes)
    usable = None if not source.blank else (~torch.isin(rows, torch.tensor(source.blank))).nonzero()[:, 0]
    per_epoch = source.epoch_samples if settings.epoch_samples is None else settings.epoch_samples
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


def with_noise(source: Source, settings: Settings) -> tuple[Source, Tensor, Tensor | None]:
    """The source, limited; its labels under the noise that the settings name; and true labels where they are known."""
    kind, _, name = settings.noise.partition(":")
    seed = settings.training.seed
    if kind == "file":
        given = labels_from_file(name, len(source.labels), len(source.classes))
        if len(given) < len(source.labels):
            left = len(source.labels) - len(given)
            note = f"{name} holds {len(given):,} labels: the other {left:,} samples are left out"
            source = taken(replace(source, notes=(*source.notes, note)), torch.arange(len(given)))
        known = source.labels if source.true_labels is None else source.true_labels
        source = limited(replace(source, labels=given, true_labels=known), settings.limit, seed)
        return source, source.labels, source.true_labels
    source = limited(source, settings.limit, seed)
    inputs = source.inputs if isinstance(source.inputs, Tensor) else None
    noise_seed = seed if settings.noise_seed is None else settings.noise_seed
    given = apply_noise(settings.noise, source.labels, len(source.classes), noise_seed, source.maps, inputs)
    truth = source.true_labels
    if truth is None and settings.noise != "none":
        truth = source.labels
    return source, given, truth


def tokenised(source: Source, settings: Settings) -> tuple[Source, tuple[str, ...] | None, Tokens | None]:
    """Texts as token ids: the network's own, or numbers of the words that the training texts have."""
    if not isinstance(source.inputs, Texts):
        return source, None, None
    own = text_tokenizer(settings.network)
    words = None
    if own is None:
        vocabulary = Vocabulary.of(source.inputs.values)
        words, own = vocabulary.known, (vocabulary.tokens, Tokens(len(vocabulary), PADDING))
    tokenize, tokens = own
    longest = settings.reading.max_length
    inputs = encoded(source.inputs, tokenize, longest, tokens.padding)
    used = int((inputs != tokens.padding).any(0).sum())
    test = source.test_inputs
    tested = encoded(test, tokenize, used, tokens.padding) if isinstance(test, Texts) else None
    return replace(source, inputs=inputs[:, :used], test_inputs=tested), words, tokens


def held_out(settings: Settings, given: Tensor, source: Source) -> Tensor:
    """Positions that are held out, with their noisy labels."""
    fraction = settings.val_fraction
    if fraction is None:
        method = settings.make_method()
        chooses = method.uses_best or (settings.training.select or method.select) == "noisy-val"
        fraction = 0.1 if chooses or source.test_labels is None else 0.0
    if not 0 <= fraction < 1:
        raise InputError(f"val-fraction: {fraction}, expected at least 0 and below 1")
    held = balanced_part(given, round(fraction * len(given)), settings.training.seed, "val", leave=1)
    return held[~torch.isin(held, torch.tensor(source.blank, dtype=torch.int64))]


def limited(source: Source, limit: int | None, seed: int) -> Source:
    """At most `limit` training samples, class-balanced, and at most as many test samples."""
    if limit is None:
        return source
    if limit < len(source.classes):
        raise InputError(f"limit: {limit}, expected at least one sample a class ({len(source.classes)})")
    source = taken(source, balanced_part(source.labels, limit, seed, "limit"))
    if source.test_inputs is None or source.test_labels is None:
        return source
    test = balanced_part(source.test_labels, limit, seed, "limit-test")
    return replace(source, test_inputs=subset(source.test_inputs, test), test_labels=source.test_labels[test])


def taken(source: Source, rows: Tensor) -> Source:
    """Some of the training samples."""
    blank = torch.isin(rows, torch.tensor(source.blank, dtype=torch.int64)).nonzero()[:, 0]
    return replace(
        source, inputs=subset(source.inputs, rows), labels=source.labels[rows],
        ids=tuple(source.ids[k] for k in rows.tolist()), blank=tuple(blank.tolist()),
        true_labels=None if source.true_labels is None else source.true_labels[rows],
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
