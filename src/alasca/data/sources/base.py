"""What every source gives, how it is asked to read, and how it says that a file or a row is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alasca.core import InputError
from alasca.data.rows import Rows
from alasca.data.text import Texts

BAD_IMAGE = ("fatal", "skip", "blank")
Inputs = Tensor | Rows | Texts


@dataclass(frozen=True)
class Reading:
    """How sources read, beside the name of the data.

    Attributes:
        data_dir: folder of published data sets; None: ``$ALASCA_DATA``.
        image_size: side to which pictures from files are resized, in pixels; None: what the source is used with.
        crop: side of what a network sees of them, in pixels; None: all, or what the source is used with.
        on_bad_image: a picture that can't be read is ``"fatal"``, or left out (``"skip"``), or keeps its row and is
            never trained on (``"blank"``).
        in_memory: hold pictures from files in memory; None: where they take less than a GiB.
        workers: processes that decode; None: one for each core, eight at most.
        checksums: whether files of an official release must be the official ones.
        input, label, true, id, split: columns of a table; see `alasca.data.sources.tables`.
        max_length: tokens of a text that are read.
    """

    data_dir: str | None = None
    image_size: int | None = None
    crop: int | None = None
    on_bad_image: str = "fatal"
    in_memory: bool | None = None
    workers: int | None = None
    checksums: bool = True
    input: str | None = None
    label: str = "label"
    true: str | None = None
    id: str | None = None
    split: str | None = None
    max_length: int = 128

    def __post_init__(self) -> None:
        if self.on_bad_image not in BAD_IMAGE:
            raise InputError(f"on-bad-image: {self.on_bad_image!r}, expected one of {', '.join(BAD_IMAGE)}")
        for name, value, least in (
            ("image-size", self.image_size, 4), ("crop", self.crop, 4), ("workers", self.workers, 0),
            ("max-length", self.max_length, 2),
        ):  # fmt: skip
            if value is not None and value < least:
                raise InputError(f"{name}: {value}, expected at least {least}")
        if self.image_size is not None and self.crop is not None and self.crop > self.image_size:
            raise InputError(f"crop: {self.crop}, expected at most image-size ({self.image_size})")


@dataclass(frozen=True)
class Source:
    """What a data set holds before noise, splits and limits.

    Attributes:
        inputs: pictures ``[N, C, H, W]`` uint8, rows of numbers ``[N, D]`` float32, or texts.
        labels: ``[N]``, int64, as the source gives them.
        ids: one string a sample, stable between runs.
        classes: class names; a label is a position in them.
        test_inputs, test_labels: a test set whose labels are taken for true, or None.
        true_labels: ``[N]``, known truth for evaluation, or None.
        shift, flip, crop: what views of these pictures may do; see `alasca.data.Samples`.
        mean, std: published statistics of the channels, in [0, 1]; None: measured on the training set.
        maps: published confusions for asymmetric noise, by name, the usual one first.
        blank: positions of pictures that can't be read and are never trained on.
        epoch_samples: samples of an epoch's class-balanced subset, drawn anew each time; None: all.
        notes: a line each for what a person should know about how it was read.
        kept: positions, in the order of all `whole` samples that the source names, of those that are left; None: all.
        whole: how many the source names; None: as many as there are.
    """

    inputs: Inputs
    labels: Tensor
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    test_inputs: Inputs | None = None
    test_labels: Tensor | None = None
    true_labels: Tensor | None = None
    shift: int = 0
    flip: bool = False
    crop: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    maps: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    blank: tuple[int, ...] = ()
    epoch_samples: int | None = None
    notes: tuple[str, ...] = ()
    kept: Tensor | None = None
    whole: int | None = None

    def digest(self) -> str:
        """sha256 over inputs, labels, ids and class names."""
        state = hashlib.sha256("\n".join(self.classes).encode())
        for name in self.ids:
            state.update(name.encode() + b"\0")
        for part in (self.inputs, self.labels, self.true_labels, self.test_inputs, self.test_labels):
            for piece in fingerprint(part):
                state.update(piece)
        return state.hexdigest()


def fingerprint(part: Inputs | None) -> Iterator[bytes | memoryview]:
    """The bytes that tell whether inputs or labels are still the same."""
    if isinstance(part, Tensor):
        yield str(tuple(part.shape)).encode()
        yield np.ascontiguousarray(part.numpy()).data
    elif part is not None:
        yield from part.fingerprint()


def positions(labels: Sequence[str], classes: Sequence[str], where: str, line: int = 0) -> Tensor:
    """Labels as positions in `classes`.

    Args:
        labels: class names.
        classes: all of them.
        where: the file, for the message.
        line: number of the first label's row there.

    Raises:
        InputError: a name that is none of them, with its row.
    """
    known = {name: k for k, name in enumerate(classes)}
    unknown = next((k for k, name in enumerate(labels) if name not in known), None)
    if unknown is not None:
        raise InputError(
            f"data: {where} row {unknown + line}: class {labels[unknown]!r} is not one of {shortened(classes)}"
        )
    return torch.tensor([known[name] for name in labels], dtype=torch.int64)


def in_range(labels: np.ndarray, classes: int, where: str) -> Tensor:
    """Whole numbers from 0 to K - 1 as labels.

    Raises:
        InputError: one that is outside, with its row.
    """
    wrong = np.nonzero((labels < 0) | (labels >= classes))[0]
    if len(wrong):
        raise InputError(f"data: {where} row {wrong[0]}: label {labels[wrong[0]]}, expected 0 to {classes - 1}")
    return torch.from_numpy(np.ascontiguousarray(labels).astype(np.int64))


def refuse_duplicates(ids: Sequence[str], where: str) -> None:
    """Raise `InputError` for the first id that comes twice, with both rows."""
    if len(set(ids)) == len(ids):
        return
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        if name in first:
            raise InputError(f"data: {where} row {row}: id {name!r} is that of row {first[name]} already")
        first[name] = row


def check_source(source: Source, spec: str) -> None:
    """Raise `InputError` unless there are samples of two classes or more, and of every class, each under its own id."""
    counts = torch.bincount(source.labels, minlength=len(source.classes)) if len(source.labels) else torch.zeros(0)
    present = int((counts > 0).sum())
    if len(source.labels) < 2 or present < 2:
        raise InputError(f"data: {spec} has {len(source.labels)} samples of {present} class(es); expected two or more")
    if present < len(source.classes):
        empty = source.classes[int((counts == 0).nonzero()[0])]
        mend = "number the classes from 0 without a gap, or name them" if empty.isdecimal() else "leave the class out"
        raise InputError(f"data: {spec}: class {empty!r} has no training sample; add some, or {mend}")
    refuse_duplicates(source.ids, spec)


def existing(argument: str, form: str) -> Path:
    """The file that ``kind:FILE`` names.

    Raises:
        InputError: there is none.
    """
    path = Path(argument)
    if not argument or not path.is_file():
        raise InputError(f"data: no such file: {argument or '(empty)'}; expected {form}")
    return path


def shortened(names: Sequence[str], most: int = 6) -> str:
    """A few names for a message."""
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")
