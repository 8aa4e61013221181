"""From a source to the samples of a run: wrong labels, limits, token ids, what is held out."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from alasca.core import InputError
from alasca.data import (
    PADDING,
    Source,
    Texts,
    Vocabulary,
    apply_noise,
    balanced_part,
    encoded,
    labels_from_file,
    subset,
)
from alasca.experiment.settings import Settings
from alasca.networks import Tokens, text_tokenizer


def with_noise(source: Source, settings: Settings) -> tuple[Source, Tensor, Tensor | None]:
    """The source, limited; its labels under the noise that the settings name; and true labels where they are known."""
    kind, _, name = settings.noise.partition(":")
    seed = settings.training.seed
    if kind == "file":
        found = labels_from_file(name, source.whole or len(source.labels), len(source.classes))
        place = torch.arange(len(source.labels)) if source.kept is None else source.kept
        known = place < len(found)
        if not bool(known.all()):
            note = f"{name} holds {len(found):,} labels: the other {int((~known).sum()):,} samples are left out"
            source = taken(replace(source, notes=(*source.notes, note)), known.nonzero()[:, 0])
        given = found[place[known]]
        right = source.labels if source.true_labels is None else source.true_labels
        source = limited(replace(source, labels=given, true_labels=right), settings.limit, seed)
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
        kept=None if source.kept is None else source.kept[rows],
    )  # fmt: skip
