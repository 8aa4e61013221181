"""How every source says that a file or a row is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alasca.data.task import Task
from alasca.errors import InputError


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


def flaw(text: str, one_line: bool = True) -> str | None:
    """Why a text can't stand in a table, or None; labels and ids are of one line."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return "holds half of a character; mend its encoding"
    return "has a line break in it" if one_line and any(mark in text for mark in "\r\n\0") else None


def refuse_duplicates(ids: Sequence[str], where: str) -> None:
    """Raise `InputError` for the first id that comes twice, with both rows."""
    if len(set(ids)) == len(ids):
        return
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        if name in first:
            raise InputError(f"data: {where} row {row}: id {name!r} is that of row {first[name]} already")
        first[name] = row


def check_task(task: Task, spec: str) -> None:
    """Raise `InputError` unless there are samples of two classes or more, and of every class, each under its own id."""
    counts = torch.bincount(task.labels, minlength=len(task.classes)) if len(task.labels) else torch.zeros(0)
    present = int((counts > 0).sum())
    if len(task.labels) < 2 or present < 2:
        raise InputError(f"data: {spec} has {len(task.labels)} samples of {present} class(es); expected two or more")
    if present < len(task.classes):
        empty = task.classes[int((counts == 0).nonzero()[0])]
        mend = "number the classes from 0 without a gap, or name them" if empty.isdecimal() else "leave the class out"
        raise InputError(f"data: {spec}: class {empty!r} has no training sample; add some, or {mend}")
    for what, names in (("class", task.classes), ("id", task.ids)):
        for name in names:
            if (why := flaw(name)) is not None:
                raise InputError(f"data: {spec}: {what} {name!r} {why}")
    refuse_duplicates(task.ids, spec)
    if len(set(task.classes)) < len(task.classes):
        twice = next(name for name in task.classes if task.classes.count(name) > 1)
        raise InputError(f"data: {spec}: two classes are called {twice!r}; give each its own name")


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
