"""Samples in a table: paths of pictures, texts or numbers, with a label a row, in CSV, JSON lines or Parquet.

Columns go by their usual names unless `Reading` names others: ``label``; ``path`` (or ``image``, ``file``) of a picture
beside the table, ``text``, or all numeric columns; ``id``; ``true_label``, for evaluation only; and ``split``, whose
rows are ``train`` or ``test``. The label of a test row is its true label where there is one.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from alasca.data.sources.base import existing, positions, refuse_duplicates
from alasca.data.sources.columns import Choice, choose_columns, is_number, table_numbers, told
from alasca.data.sources.pictures import SUFFIXES, picture_source
from alasca.data.sources.table_files import Table, read_table
from alasca.data.task import Inputs, Reading, Task
from alasca.data.text import Texts
from alasca.errors import InputError

RESERVED = ("label", "true_label", "id", "split")
"""Columns that are never inputs unless `--input` names them."""
PICTURES, TEXT = ("path", "image", "file"), "text"


def table(argument: str, reading: Reading) -> Task:
    """A CSV, JSON-lines or Parquet file with a label a row: paths of pictures, texts, or numbers"""
    found = read_table(existing(argument, "table:FILE"))
    frame = found.frame
    if not len(frame):
        raise InputError(f"data: {found.path} has no rows")
    labels = found.names(reading.recipe.label)
    testing = test_rows(found, reading)
    classes = class_order({label for label, test in zip(labels, testing, strict=True) if not test})
    numbered = named_positions(found, labels, classes, reading.recipe.label)
    true_name = reading.recipe.true or ("true_label" if "true_label" in frame else None)
    truth = None if true_name is None else named_positions(found, found.names(true_name), classes, true_name)
    id_name = reading.recipe.id or ("id" if "id" in frame else None)
    ids = [f"{found.path.name}/{row}" for row in range(len(frame))] if id_name is None else found.names(id_name)
    refuse_duplicates(ids, str(found.path))
    train, test = torch.from_numpy(~testing), torch.from_numpy(testing)
    own = {*RESERVED, reading.recipe.label, true_name, id_name, reading.recipe.split}
    kept_ids = [name for name, test_row in zip(ids, testing, strict=True) if not test_row]
    tested = numbered if truth is None else truth
    test_labels = tested[test] if bool(test.any()) else None
    truth = None if truth is None else truth[train]
    values: Inputs
    tested_values: Inputs
    kind, names = input_columns(found, reading, {name for name in own if name})
    choice = Choice((), ())
    if kind == "numbers":
        choice = choose_columns(found, names, ~testing, reading.recipe.input is not None)
    read = told(choice.columns) if choice.columns else names[0]
    others = [str(name) for name in frame.columns if name not in {*names, *own}]
    unread = [*choice.left_out, *others]
    note = f"{found.path.name}: {kind} in {read}{'; not read: ' + ', '.join(unread) if unread else ''}"
    if kind == "pictures":
        paths = [found.path.parent / name for name in found.texts(names[0])]
        chosen = [path for path, test_row in zip(paths, testing, strict=True) if not test_row]
        left = [path for path, test_row in zip(paths, testing, strict=True) if test_row]
        tests = None if test_labels is None else (left, test_labels)
        made = picture_source(chosen, numbered[train], kept_ids, classes, reading, 32, tests, truth=truth)
        return replace(made, notes=(note, *made.notes))
    if kind == "text":
        texts = Texts(tuple(found.texts(names[0])))
        values, tested_values = texts.subset(train.nonzero()[:, 0]), texts.subset(test.nonzero()[:, 0])
    else:
        numbers = torch.from_numpy(table_numbers(found, choice.columns))
        values, tested_values = numbers[train], numbers[test]
    return Task(
        values, numbered[train], tuple(kept_ids), classes, None if test_labels is None else tested_values, test_labels,
        truth, columns=choice.columns, notes=(note,),
    )  # fmt: skip


def test_rows(found: Table, reading: Reading) -> np.ndarray:
    """Which rows the split column gives to the test set.

    Raises:
        InputError: a cell that is neither train nor test, with its row.
    """
    name = reading.recipe.split or ("split" if "split" in found.frame else None)
    if name is None:
        return np.zeros(len(found.frame), dtype=bool)
    cells = found.texts(name)
    wrong = next((row for row, cell in enumerate(cells) if cell not in ("train", "test")), None)
    if wrong is not None:
        raise InputError(f"data: {found.where(wrong)}: {name} is {cells[wrong]!r}; expected train or test")
    testing = np.array([cell == "test" for cell in cells])
    if testing.all():
        raise InputError(f"data: {found.path}: {name} gives all rows to the test set")
    return testing


def input_columns(found: Table, reading: Reading, own: set[str]) -> tuple[str, list[str]]:
    """What the samples are, ``"pictures"``, ``"text"`` or ``"numbers"``, and in which columns."""
    if reading.recipe.input is not None:
        names = [name.strip() for name in reading.recipe.input.split(",")]
        cells = {name: found.column(name, "input") for name in names}
        if len(names) > 1:
            return "numbers", names
        first = str(cells[names[0]][0])
        if first.lower().endswith(SUFFIXES):
            return "pictures", names
        return ("numbers" if is_number(first) else "text"), names
    for name in PICTURES:
        if name in found.frame:
            return "pictures", [name]
    if TEXT in found.frame:
        return "text", [TEXT]
    return "numbers", [str(name) for name in found.frame.columns if name not in own]


def named_positions(found: Table, labels: list[str], classes: tuple[str, ...], name: str) -> Tensor:
    """Labels as positions in `classes`, a wrong one told with its row."""
    known = set(classes)
    wrong = next((row for row, label in enumerate(labels) if label not in known), None)
    if wrong is not None:
        where = f"{found.where(wrong)}: {name}"
        raise InputError(f"data: {where}: class {labels[wrong]!r} has no training row; classes come from those")
    return positions(labels, classes, str(found.path))


def class_order(names: set[str]) -> tuple[str, ...]:
    """Class names in order: by number where all are whole numbers, else by text.

    >>> class_order({"10", "9", "09"}), class_order({"b", "10", "a"})
    (('09', '9', '10'), ('10', 'a', 'b'))
    """
    if all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))
