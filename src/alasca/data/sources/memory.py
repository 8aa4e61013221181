"""Samples that a program holds: arrays, tensors, data frames, lists of texts or paths, torch data sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alasca.data.pictures import SUFFIXES, PictureFiles
from alasca.data.samples import subset
from alasca.data.sources.arrays import as_inputs
from alasca.data.sources.base import check_task, numbers_of_groups, shortened
from alasca.data.sources.cells import kind_of_cells
from alasca.data.sources.columns import Choice, choose_columns, table_numbers, told, unseen
from alasca.data.sources.giveaways import NUMBERED, holds_labels
from alasca.data.sources.labels import Labels, assign, read_labels
from alasca.data.sources.looks import looked_over
from alasca.data.sources.pictures import SKIP, picture_source
from alasca.data.sources.table_files import framed
from alasca.data.task import Reading, Task
from alasca.data.text import Texts
from alasca.data.transform import Column
from alasca.errors import InputError
from alasca.recipe import Recipe

HERE = Path("arrays")


def task_from_arrays(
    inputs: Any,
    labels: Any,
    test: tuple[Any, Any] | None,
    val: tuple[Any, Any] | None,
    truth: Any,
    ids: Sequence[Any] | None,
    classes: Sequence[str] | None,
    image_size: int | None,
) -> Task:
    """See `Task.from_arrays`."""
    parts = {"train": (inputs, labels)}
    for part, pair in (("val", val), ("test", test)):
        if pair is not None:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise InputError(f"data: {part}: expected two, (inputs, labels)")
            parts[part] = tuple(pair)
    classes = None if classes is None else tuple(classes)
    given = {part: label_column(f"{part} labels", cells, classes) for part, (_, cells) in parts.items()}
    true = None if truth is None else label_column("truth", truth, classes)
    label_columns = {"given" if part == "train" else part: each for part, each in given.items()}
    label_columns |= {} if true is None else {"true": true}
    assigned = assign(label_columns, declared=[*map(str, classes or ())])
    order = assigned.classes
    labels_of = {part: assigned.labels["given" if part == "train" else part] for part in given}
    choice = columns_of(inputs, given["train"])
    columns, notes = choice.columns, (*choice.notes, *assigned.notes)
    for part, (values, _) in parts.items():
        if isinstance(values, pd.DataFrame) != isinstance(inputs, pd.DataFrame):
            raise InputError(
                f"data: {part} inputs: expected a data frame where the training inputs are one, and only there"
            )
        if part != "train" and columns:
            notes += unseen(framed(part, values), columns, np.ones(len(values), dtype=bool))
    read = {"train": read_inputs("train inputs", inputs, columns)}
    texts = isinstance(read["train"], Texts)
    read |= {
        part: read_inputs(f"{part} inputs", values, columns, texts)
        for part, (values, _) in parts.items()
        if part != "train"
    }
    for part, values in read.items():
        if len(values) != len(labels_of[part]):
            raise InputError(f"data: {part}: {len(values)} inputs and {len(labels_of[part])} labels; expected as many")
        if kind_of(values) != kind_of(read["train"]):
            wanted = kind_of(read["train"])
            raise InputError(f"data: {part} inputs are {kind_of(values)}, training inputs {wanted}; expected the same")
    if true is not None and len(true) != len(labels_of["train"]):
        raise InputError(f"data: truth: {len(true)} labels for {len(labels_of['train'])} samples; expected as many")
    right = assigned.labels.get("true")
    count, held = len(labels_of["train"]), None
    everything, all_labels = read["train"], labels_of["train"]
    if "val" in read:
        held = torch.arange(count, count + len(labels_of["val"]))
        everything, all_labels = joined(everything, read["val"]), torch.cat([all_labels, labels_of["val"]])
        right = None if right is None else torch.cat([right, labels_of["val"]])
    own_ids = tuple(str(k) for k in range(count)) if ids is None else tuple(map(str, ids))
    if len(own_ids) != count:
        raise InputError(f"data: ids: {len(own_ids)} for {count} samples; expected as many")
    own_ids += tuple(f"val/{k}" for k in range(len(all_labels) - count))
    tests = read.get("test"), labels_of.get("test")
    if tests[1] is not None and bool((tests[1] < 0).any()):
        rows = (tests[1] >= 0).nonzero()[:, 0]
        notes += (f"{len(tests[1]) - len(rows):,} samples to test on have no label and are left out",)
        held_tests: Any = [tests[0][k] for k in rows.tolist()] if isinstance(tests[0], list) else subset(tests[0], rows)  # type: ignore[type-var]  # there are some
        tests = (held_tests, tests[1][rows]) if len(rows) else (None, None)
    if isinstance(everything, list):
        return from_paths(everything, all_labels, own_ids, order, tests, right, held, image_size or 32, notes)
    if image_size is not None:
        raise InputError(f"image-size: {image_size}, but the inputs are no paths; resize the arrays, or leave it out")
    pictures = isinstance(everything, Tensor) and everything.dtype == torch.uint8
    assert not isinstance(tests[0], list)
    task = Task(
        everything, all_labels, own_ids, order, *tests, right, held, columns=columns, notes=notes,
        shift=max(1, everything.shape[-1] // 8) if isinstance(everything, Tensor) and pictures else 0, flip=pictures,
    )  # fmt: skip
    check_task(task, "arrays")
    return looked_over(task)


def grouped(task: Task, groups: Sequence[Any]) -> Task:
    """A task with a value a training sample whose samples belong together; those held out already are groups alone.

    Raises:
        InputError: not one a sample.
    """
    values = groups.tolist() if isinstance(groups, (Tensor, np.ndarray)) else list(groups)
    count = len(task.labels) - (0 if task.held is None else len(task.held))
    if len(values) != count:
        raise InputError(f"data: groups: {len(values)} for {count} samples; expected as many")
    rest = [("held out", k) for k in range(len(task.labels) - count)]
    return replace(task, groups=numbers_of_groups([*values, *rest]))


def from_paths(
    paths: list[Path],
    labels: Tensor,
    ids: tuple[str, ...],
    classes: tuple[str, ...],
    test: Any,
    truth: Any,
    held: Any,
    size: int,
    notes: tuple[str, ...],
) -> Task:
    """A task of pictures in files."""
    tests = None if test[0] is None else (PictureFiles(tuple(test[0])), test[1])
    reading = Reading(Recipe(image_size=size))
    try:
        task = picture_source(
            PictureFiles(tuple(paths)), labels, ids, classes, reading, size, tests, truth=truth, held=held
        )
    except InputError as error:
        raise InputError(str(error).removesuffix(SKIP)) from error
    task = replace(task, notes=(*notes, *task.notes))
    check_task(task, "arrays")
    return task


def label_column(what: str, labels: Any, classes: Sequence[Any] | None = None) -> Labels:
    """Labels as a column; whole numbers are positions in the classes where these are named by texts."""
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu().numpy()
    if isinstance(labels, pd.DataFrame):
        if labels.shape[1] != 1:
            raise InputError(
                f"data: {what}: a data frame of {labels.shape[1]} columns; pass one of them, frame['label']"
            )
        labels = labels.iloc[:, 0]
    if getattr(labels, "ndim", 1) == 2:
        raise InputError(
            f"data: {what}: of shape {list(labels.shape)}; pass y.ravel() of [N, 1], y.argmax(1) of one-hot"
        )
    values = labels.tolist() if hasattr(labels, "tolist") else labels
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"data: {what}: {values!r}; expected one label a sample")
    values = [value.item() if hasattr(value, "item") and np.ndim(value) == 0 else value for value in values]

    def where(row: int) -> str:
        return f"{what} row {row}"

    if classes is not None and all(isinstance(name, str) for name in classes):
        if not any(name.isdecimal() for name in classes):  # then numbers in texts can be no names
            values = [int(value) if isinstance(value, str) and value.isdecimal() else value for value in values]
        values = [in_order(where(row), value, classes) for row, value in enumerate(values)]
    return read_labels("label", values, where, declared=[*map(str, classes or ())])


def in_order(where: str, value: Any, classes: Sequence[str]) -> Any:
    """The class that a label means: by position where it is a whole number, else by name; nothing is nothing."""
    if isinstance(value, (list, tuple, dict)) or value is None or value is pd.NA or value != value:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value % 1 != 0:
        return str(value)
    if not 0 <= value < len(classes):
        raise InputError(f"data: {where}: label {value}, expected 0 to {len(classes) - 1}, a position in the classes")
    return classes[int(value)]


def kind_of(values: Any) -> str:
    """What inputs are, in words."""
    if isinstance(values, Tensor):
        return f"{'pictures' if values.dtype == torch.uint8 else 'rows of numbers'} {list(values.shape[1:])}"
    return "texts" if isinstance(values, Texts) else "paths of pictures"


def columns_of(inputs: Any, labels: Labels) -> Choice:
    """What a data frame's columns are: all but those that count rows by their name or say the label.

    Nothing for other inputs.

    Raises:
        InputError: a column of paths of pictures.
    """
    if not isinstance(inputs, pd.DataFrame):
        return Choice((), ())
    table, left = framed("inputs", inputs), {}
    levels = [labels.levels[code] for code in labels.codes]
    for name in table.names:
        cells = table.column(name)
        if cells and all(isinstance(cell, str) and cell.lower().endswith(SUFFIXES) for cell in cells):
            raise InputError(f"data: inputs: {name} holds paths of pictures; pass these: frame[{name!r}].tolist()")
        if NUMBERED.fullmatch(name):
            left[name] = f"{name} (counts the rows)"
        elif holds_labels(name, cells, levels):
            left[name] = f"{name} (says the label)"
        elif are_codes(cells):
            left[name] = f"{name} ({len(set(map(str, cells))):,} different codes)"
    names = [name for name in table.names if name not in left] or table.names
    choice = choose_columns(table, names, np.ones(len(inputs), dtype=bool), True)
    unread = f"; not read: {shortened(list(left.values()))}" if len(names) < len(table.names) else ""
    return choice._replace(notes=(f"numbers in {told(choice.columns)}{unread}", *choice.notes))


FEW = 20
"""Texts of which nothing can be said yet."""


def are_codes(cells: Sequence[Any]) -> bool:
    """Whether cells are texts of one word or two, most of them different: names, codes, amounts with a sign.

    >>> codes = [f"A-{k}" for k in range(20)]
    >>> are_codes(codes), are_codes(["red", "blue"] * 10), are_codes([f"{code} is red" for code in codes])
    (True, False, False)
    """
    texts = [str(cell) for cell in cells if cell is not None and cell == cell]
    if len(texts) < FEW or kind_of_cells(cells)[0] not in ("text", "category"):
        return False
    return len(set(texts)) > len(texts) / 2 and sum(len(text.split()) for text in texts) <= 2 * len(texts)


def read_inputs(what: str, values: Any, columns: tuple[Column, ...], texts: bool = False) -> Any:
    """Inputs as they are kept, or a list of paths; `texts`: strings are texts, whatever they end with."""
    if isinstance(values, pd.DataFrame):
        return torch.from_numpy(table_numbers(framed(what, values), columns))
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OUS":
        return as_inputs(Path(what), "array", values)
    several = isinstance(values, Iterable) and not isinstance(values, str) and getattr(values, "ndim", 1) > 0
    listed = list(values) if several else []
    if not listed:
        raise InputError(f"data: {what}: there are none")
    if all(isinstance(value, (str, Path)) for value in listed):
        strange = next((value for value in listed if not str(value).lower().endswith(SUFFIXES)), None)
        if strange is None and not texts:
            return [Path(value) for value in listed]
        if isinstance(strange, Path):
            raise InputError(f"data: {what}: {strange} is no picture by its name; expected {', '.join(SUFFIXES)}")
        return Texts(tuple(map(str, listed)))
    try:
        return as_inputs(Path(what), "array", np.asarray(listed))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"data: {what}: can't be made one array ({error}); expected samples of one shape") from error


def joined(first: Any, second: Any) -> Any:
    """Training and held-out inputs as one."""
    if isinstance(first, Tensor):
        return torch.cat([first, second])
    return Texts(first.values + second.values) if isinstance(first, Texts) else first + second


def read_dataset(dataset: Any) -> tuple[Any, list[Any]]:
    """Inputs and labels of a map-style data set.

    Raises:
        InputError: items that are no pairs, or inputs of several shapes.
    """
    inputs, labels = [], []
    for position in range(len(dataset)):
        item = dataset[position]
        if not isinstance(item, (tuple, list)) or len(item) < 2:
            raise InputError(f"data: item {position} of the data set is no pair (input, label)")
        value = item[0]
        inputs.append(value if isinstance(value, str) else np.asarray(value))
        labels.append(item[1].item() if hasattr(item[1], "item") else item[1])
    if inputs and not isinstance(inputs[0], str):
        shapes = {np.shape(value) for value in inputs}
        if len(shapes) > 1:
            raise InputError(f"data: the data set's inputs have shapes {sorted(shapes)[:2]}; resize them alike")
        return np.stack(inputs), labels
    return inputs, labels
