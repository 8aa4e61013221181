"""Pictures in files: decoded once by worker processes, to check them and, where they fit, to hold them in memory."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from alasca.data.pictures import DecodedRows, Decoder, Pictures, Span
from alasca.data.rows import Rows
from alasca.data.sources.base import shortened
from alasca.data.sources.looks import Looks
from alasca.data.task import Reading, Task
from alasca.errors import InputError
from alasca.terminal import say

IN_MEMORY = 1 << 30
"""Bytes of pictures that are held in memory where nobody says otherwise."""
BATCH = 64
SKIP = ", or add --on-bad-image skip"
"""Advice for those whose recipe says how pictures are read."""


@dataclass(frozen=True)
class PictureSet:
    """Pictures that were looked at.

    Attributes:
        inputs: ``[N, 3, size, size]`` uint8.
        kept: positions, in what was asked for, of the N pictures.
        blank: positions, in the N, of those that can't be read.
        notes: a line about them.
        span: what is black and white among pixels of more than 8 bits; None: there are none.
    """

    inputs: Tensor | Rows
    kept: Tensor
    blank: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    span: Span | None = None


def look_at(
    pictures: Pictures, labels: Tensor, classes: Sequence[str], reading: Reading, size: int, keep_ratio: bool = False,
    testing: bool = False, span: Span | None = None,
) -> PictureSet:  # fmt: skip
    """Decode every picture once; twice where some have more than 8 bits, whose span all of them tell.

    Args:
        pictures: where they come from.
        labels, classes: of them, to tell classes whose pictures are all the same.
        reading: whether to hold them, and what a bad one means.
        size: side in pixels.
        keep_ratio: cut the middle out instead of stretching.
        testing: a bad one can't stay as a blank, and the span is not measured on them.
        span: of the training set.

    Raises:
        InputError: one that can't be read, by name, where that is fatal.
    """
    count, size = len(pictures), reading.recipe.image_size or size
    decoder, workers = Decoder(pictures, size, keep_ratio, span), worker_count(reading)
    hold = reading.place.in_memory if reading.place.in_memory is not None else count * 3 * size * size <= IN_MEMORY
    found = torch.zeros(count if hold else 0, 3, size, size, dtype=torch.uint8)
    wrong: dict[int, str] = {}
    spans: list[Span] = []
    batches = [list(range(start, min(start + BATCH, count))) for start in range(0, count, BATCH)]
    said, content, looks = time.monotonic(), hashlib.sha256(), Looks()
    measured = decoder.batches(batches, workers if count > BATCH else 0, measure=True)
    several = 0
    for at, (decoded, bad, deep, more) in zip(batches, measured, strict=True):
        wrong |= bad
        several += more
        spans += deep
        content.update(decoded.numpy().data)
        sound = [k for k, row in enumerate(at) if row not in bad]
        looks.see([at[k] for k in sound], decoded[sound], labels[[at[k] for k in sound]].tolist())
        if hold:
            found[at[0] : at[-1] + 1] = decoded
        if time.monotonic() - said > 10:
            said = time.monotonic()
            say(f"looked at {at[-1] + 1:,} of {count:,} pictures", sys.stderr)
    if spans and span is None:
        whole = min(low for low, _ in spans), max(high for _, high in spans)
        again = look_at(pictures, labels, classes, reading, size, keep_ratio, testing, whole)
        note = f"{len(spans):,} pictures have more than 8 bits: {whole[0]:g} is shown as black, {whole[1]:g} as white"
        return replace(again, notes=(note, *again.notes))
    kept, blank, notes = after(wrong, pictures, reading.recipe.on_bad_image, testing)
    if len(kept) == len(blank) and count:
        raise InputError(f"data: not one of {count} pictures can be read, such as {pictures.name(0)} ({wrong[0]})")
    notes += () if testing else looks.notes(pictures.name, classes)
    notes += (f"{several:,} pictures have several frames or pages, of which the first is read",) if several else ()
    if hold:
        return PictureSet(found if len(kept) == count else found[kept], kept, blank, notes, span)
    rows = DecodedRows(
        kept, torch.device("cpu"), decoder=decoder, workers=workers, content=content.hexdigest(), missing={*wrong}
    )
    return PictureSet(rows, kept, blank, notes, span)


def after(
    wrong: dict[int, str], pictures: Pictures, policy: str, testing: bool
) -> tuple[Tensor, tuple[int, ...], tuple[str, ...]]:
    """What is left of the pictures, which of it is blank, and what to say of it."""
    everything = torch.arange(len(pictures))
    if not wrong:
        return everything, (), ()
    names = [pictures.name(position) for position in sorted(wrong)]
    first = wrong[min(wrong)]
    if policy == "fatal":
        more = f", nor can {shortened(names[1:])}" if len(wrong) > 1 else ""
        raise InputError(f"data: {names[0]} can't be read as a picture ({first}){more}; mend or remove it{SKIP}")
    if policy == "skip" or testing:
        note = f"left out {len(wrong)} pictures that can't be read: {shortened(names)}"
        return everything[~torch.isin(everything, torch.tensor(sorted(wrong)))], (), (note,)
    note = f"{len(wrong)} pictures can't be read and are not trained on: {shortened(names)}"
    return everything, tuple(sorted(wrong)), (note,)


def worker_count(reading: Reading) -> int:
    """Processes that decode."""
    if reading.place.workers is not None:
        return reading.place.workers
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def picture_source(
    pictures: Pictures,
    labels: Tensor,
    ids: Sequence[str],
    classes: Sequence[str],
    reading: Reading,
    size: int,
    test: tuple[Pictures, Tensor] | None = None,
    crop: int | None = None,
    keep_ratio: bool = False,
    truth: Tensor | None = None,
    held: Tensor | None = None,
) -> Task:
    """A source of pictures in files.

    Args:
        pictures, labels, ids: of the training set.
        classes: names.
        reading: see `Reading`.
        size: side to which pictures are resized where `reading` leaves it open.
        test: pictures and labels of the test set.
        crop: side of what a network sees where `reading` leaves it open.
        keep_ratio: cut the middle out instead of stretching.
        truth: known truth.
        held: positions of those that are held out.
    """
    found = look_at(pictures, labels, classes, reading, size, keep_ratio)
    test_inputs = test_labels = None
    notes = found.notes
    if test is not None:
        tested = look_at(test[0], test[1], classes, reading, size, keep_ratio, testing=True, span=found.span)
        test_inputs, test_labels, notes = tested.inputs, test[1][tested.kept], notes + tested.notes
    side = reading.recipe.image_size or size
    crop = crop_of(reading, side, crop)
    kept = found.kept.tolist()
    return Task(
        found.inputs, labels[found.kept], tuple(ids[k] for k in kept), tuple(classes), test_inputs, test_labels,
        None if truth is None else truth[found.kept],
        None if held is None else torch.isin(found.kept, held).nonzero()[:, 0],
        shift=max(1, side // 8) if crop is None else 0, flip=True, crop=crop, size=side, keep_ratio=keep_ratio,
        span=found.span, blank=found.blank, notes=notes,
        whole=len(pictures), kept=found.kept,
    )  # fmt: skip


def crop_of(reading: Reading, side: int, usual: int | None = None) -> int | None:
    """Side of what a network sees of pictures of a side: what was asked for, else what is usual where that fits.

    Raises:
        InputError: what was asked for does not fit.
    """
    if reading.recipe.crop is not None and reading.recipe.crop > side:
        raise InputError(f"crop: {reading.recipe.crop}, expected at most image-size ({side}); set --image-size too")
    return reading.recipe.crop or (usual if usual is not None and usual <= side else None)
