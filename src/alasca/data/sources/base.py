"""How every source says that a file or a row is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alasca.data.task import Task
from alasca.errors import InputError


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


def refuse_duplicates(ids: Sequence[str], where: Callable[[int], str]) -> None:
    """Raise `InputError` for the first id that comes twice, with both rows."""
    if len(set(ids)) == len(ids):
        return
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        if name in first:
            raise InputError(f"data: {where(row)}: id {name!r} is that of {where(first[name])} already")
        first[name] = row


def check_task(task: Task, spec: str) -> None:
    """Raise `InputError` unless there are samples of two classes or more, and of every class, each under its own id."""
    known = task.labels[task.labels >= 0]
    counts = torch.bincount(known, minlength=len(task.classes)) if len(known) else torch.zeros(0)
    present = int((counts > 0).sum())
    if len(known) < 2 or present < 2:
        hint = next((f"; {note}" for note in task.notes if note.startswith("one class folder only")), "")
        labelled = "labelled samples" if len(known) < len(task.labels) else "samples"
        raise InputError(f"data: {spec} has {len(known)} {labelled} of {present} class(es); expected two or more{hint}")
    if present > 20 and 2 * int((counts == 1).sum()) > present:
        raise InputError(
            f"data: {spec}: more than half of the {present:,} classes have one sample each, such as "
            f"{shortened([repr(task.classes[k]) for k in (counts == 1).nonzero()[:3, 0].tolist()])}: are these labels? "
            "To predict a quantity is regression, which this is not; --label names another column"
        )
    if present < len(task.classes):
        empty = task.classes[int((counts == 0).nonzero()[0])]
        mend = "number the classes from 0 without a gap, or name them" if empty.isdecimal() else "leave the class out"
        raise InputError(f"data: {spec}: class {empty!r} has no training sample; add some, or {mend}")
    for what, names in (("class", task.classes), ("id", task.ids)):
        for name in names:
            if (why := "is empty" if not name else flaw(name)) is not None:
                raise InputError(f"data: {spec}: {what} {name!r} {why}")
    refuse_duplicates(task.ids, lambda row: f"{spec} row {row}")
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


def numbers_of_groups(values: Any) -> Tensor:
    """Groups by number, in the order in which they come ``[N]``; who has none (None, NaN, an empty text) is alone.

    Raises:
        InputError: not one value a sample.
    """
    listed = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    listed = listed.tolist() if isinstance(listed, np.ndarray) else list(listed)
    first: dict[Any, int] = {}
    try:
        found = [
            first.setdefault(("alone", k) if value is None or value != value or value == "" else value, len(first))
            for k, value in enumerate(listed)
        ]
    except (TypeError, ValueError) as error:
        raise InputError(f"data: groups: {str(listed[0])[:60]}; expected one text or number a sample") from error
    return torch.tensor(found, dtype=torch.int64)
