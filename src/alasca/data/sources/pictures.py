"""Pictures in files: decoded once by worker processes, to check them and, where they fit, to hold them in memory."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from alasca.data.pictures import DecodedRows, Decoder, PictureFiles, Pictures
from alasca.data.rows import Rows
from alasca.data.sources.base import shortened
from alasca.data.task import Reading, Task
from alasca.errors import InputError
from alasca.terminal import say

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
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
    """

    inputs: Tensor | Rows
    kept: Tensor
    blank: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def look_at(
    pictures: Pictures, reading: Reading, size: int, keep_ratio: bool = False, testing: bool = False
) -> PictureSet:
    """Decode every picture once.

    Args:
        pictures: where they come from.
        reading: whether to hold them, and what a bad one means.
        size: side in pixels.
        keep_ratio: cut the middle out instead of stretching.
        testing: a bad one can't stay as a blank.

    Raises:
        InputError: one that can't be read, by name, where that is fatal.
    """
    count, size = len(pictures), reading.recipe.image_size or size
    decoder, workers = Decoder(pictures, size, keep_ratio), worker_count(reading)
    hold = reading.place.in_memory if reading.place.in_memory is not None else count * 3 * size * size <= IN_MEMORY
    found = torch.zeros(count if hold else 0, 3, size, size, dtype=torch.uint8)
    wrong: dict[int, str] = {}
    batches = [list(range(start, min(start + BATCH, count))) for start in range(0, count, BATCH)]
    said, content = time.monotonic(), hashlib.sha256()
    for at, (decoded, bad) in zip(batches, decoder.batches(batches, workers if count > BATCH else 0), strict=True):
        wrong |= bad
        content.update(decoded.numpy().data)
        if hold:
            found[at[0] : at[-1] + 1] = decoded
        if time.monotonic() - said > 10:
            said = time.monotonic()
            say(f"looked at {at[-1] + 1:,} of {count:,} pictures", sys.stderr)
    kept, blank, notes = after(wrong, pictures, reading.recipe.on_bad_image, testing)
    if len(kept) == len(blank) and count:
        raise InputError(f"data: not one of {count} pictures can be read, such as {pictures.name(0)} ({wrong[0]})")
    if hold:
        return PictureSet(found if len(kept) == count else found[kept], kept, blank, notes)
    rows = DecodedRows(
        kept, torch.device("cpu"), decoder=decoder, workers=workers, content=content.hexdigest(), missing={*wrong}
    )
    return PictureSet(rows, kept, blank, notes)


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
    paths: Sequence[Path],
    labels: Tensor,
    ids: Sequence[str],
    classes: Sequence[str],
    reading: Reading,
    size: int,
    test: tuple[Sequence[Path], Tensor] | None = None,
    crop: int | None = None,
    keep_ratio: bool = False,
    truth: Tensor | None = None,
) -> Task:
    """A source of picture files.

    Args:
        paths, labels, ids: of the training set.
        classes: names.
        reading: see `Reading`.
        size: side to which pictures are resized where `reading` leaves it open.
        test: paths and labels of the test set.
        crop: side of what a network sees where `reading` leaves it open.
        keep_ratio: cut the middle out instead of stretching.
        truth: known truth.
    """
    found = look_at(PictureFiles(tuple(paths)), reading, size, keep_ratio)
    test_inputs = test_labels = None
    notes = found.notes
    if test is not None:
        tested = look_at(PictureFiles(tuple(test[0])), reading, size, keep_ratio, testing=True)
        test_inputs, test_labels, notes = tested.inputs, test[1][tested.kept], notes + tested.notes
    side = reading.recipe.image_size or size
    crop = crop_of(reading, side, crop)
    kept = found.kept.tolist()
    return Task(
        found.inputs, labels[found.kept], tuple(ids[k] for k in kept), tuple(classes), test_inputs, test_labels,
        None if truth is None else truth[found.kept],
        shift=max(1, side // 8) if crop is None else 0, flip=True, crop=crop, size=side, keep_ratio=keep_ratio,
        blank=found.blank, notes=notes,
        whole=len(paths), kept=found.kept,
    )  # fmt: skip


def crop_of(reading: Reading, side: int, usual: int | None = None) -> int | None:
    """Side of what a network sees of pictures of a side: what was asked for, else what is usual where that fits.

    Raises:
        InputError: what was asked for does not fit.
    """
    if reading.recipe.crop is not None and reading.recipe.crop > side:
        raise InputError(f"crop: {reading.recipe.crop}, expected at most image-size ({side}); set --image-size too")
    return reading.recipe.crop or (usual if usual is not None and usual <= side else None)


def folder(argument: str, reading: Reading) -> Task:
    """A folder of pictures, a sub-folder a class; or train/ and test/ (or val/) with such, the second to test"""
    root = Path(argument)
    if not argument or not root.is_dir():
        raise InputError(
            f"data: no such folder: {argument or '(empty)'}; expected folder:DIR with a sub-folder a class"
        )
    tests = next((name for name in ("test", "val") if (root / name).is_dir()), "")
    split = bool(tests) and (root / "train").is_dir()
    train = root / "train" if split else root
    classes = subfolders(train)
    if not classes:
        raise InputError(f"data: {train} has no sub-folders; expected one for each class, with pictures in it")
    filled = [name for name in classes if find_pictures(train, [name])[0]]
    empty = [name for name in classes if name not in filled]
    if not filled:
        raise InputError(
            f"data: {train / empty[0]} holds no pictures ({', '.join(SUFFIXES)}), nor does any other folder"
        )
    classes = filled
    paths, labels = find_pictures(train, classes)
    test = None
    if split:
        unknown = sorted(set(subfolders(root / tests)) - {*classes, *empty})
        if unknown:
            raise InputError(f"data: {root / tests / unknown[0]}: no class of that name under {train}")
        test = find_pictures(root / tests, classes)
        if not test[0]:
            raise InputError(f"data: {root / tests} holds no pictures; add some, or remove the folder")
    ids = [printable(path.relative_to(train).as_posix()) for path in paths]
    task = picture_source(paths, labels, ids, [printable(name) for name in classes], reading, 32, test)
    if not empty:
        return task
    note = f"folders without pictures are no classes: {shortened([printable(name) for name in empty])}"
    return replace(task, notes=(note, *task.notes))


def subfolders(root: Path) -> list[str]:
    """Names of the folders in a folder, hidden ones left out."""
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def find_pictures(root: Path, classes: Sequence[str]) -> tuple[list[Path], Tensor]:
    """Pictures under ``root/CLASS`` and their classes' positions."""
    found = [
        (file, k)
        for k, name in enumerate(classes)
        for file in sorted((root / name).rglob("*"))
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and not file.is_dir()
    ]
    return [file for file, _ in found], torch.tensor([k for _, k in found], dtype=torch.int64)


def printable(name: str) -> str:
    """A file name, its line breaks and bytes that are no UTF-8 as ``\\xNN``, so that any table can hold it."""
    text = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return re.sub(r"[\r\n\0]", lambda found: f"\\x{ord(found[0]):02x}", text)
