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

from alasca.data.sources.arrays import as_inputs
from alasca.data.sources.base import check_task, positions
from alasca.data.sources.columns import choose_columns, table_numbers
from alasca.data.sources.pictures import SKIP, SUFFIXES, picture_source
from alasca.data.sources.table_files import Table, whole
from alasca.data.sources.tables import class_order
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
    names = {part: label_names(f"{part} labels", given, classes) for part, (_, given) in parts.items()}
    true_names = None if truth is None else label_names("truth", truth, classes)
    order = tuple(map(str, classes)) if classes is not None else class_order({*names["train"]})
    given = {part: positions(own, order, f"{part} labels") for part, own in names.items()}
    columns = columns_of(inputs)
    read = {"train": read_inputs("train inputs", inputs, columns)}
    texts = isinstance(read["train"], Texts)
    read |= {
        part: read_inputs(f"{part} inputs", values, columns, texts)
        for part, (values, _) in parts.items()
        if part != "train"
    }
    for part, values in read.items():
        if len(values) != len(given[part]):
            raise InputError(f"data: {part}: {len(values)} inputs and {len(given[part])} labels; expected as many")
        if kind_of(values) != kind_of(read["train"]):
            wanted = kind_of(read["train"])
            raise InputError(f"data: {part} inputs are {kind_of(values)}, training inputs {wanted}; expected the same")
    if true_names is not None and len(true_names) != len(given["train"]):
        raise InputError(f"data: truth: {len(true_names)} labels for {len(given['train'])} samples; expected as many")
    right = None if true_names is None else positions(true_names, order, "truth")
    count, held = len(given["train"]), None
    everything, all_labels = read["train"], given["train"]
    if "val" in read:
        held = torch.arange(count, count + len(given["val"]))
        everything, all_labels = joined(everything, read["val"]), torch.cat([all_labels, given["val"]])
        right = None if right is None else torch.cat([right, given["val"]])
    own_ids = tuple(str(k) for k in range(count)) if ids is None else tuple(map(str, ids))
    if len(own_ids) != count:
        raise InputError(f"data: ids: {len(own_ids)} for {count} samples; expected as many")
    own_ids += tuple(f"val/{k}" for k in range(len(all_labels) - count))
    tests = read.get("test"), given.get("test")
    if isinstance(everything, list):
        return from_paths(everything, all_labels, own_ids, order, tests, right, held, image_size or 32)
    if image_size is not None:
        raise InputError(f"image-size: {image_size}, but the inputs are no paths; resize the arrays, or leave it out")
    pictures = isinstance(everything, Tensor) and everything.dtype == torch.uint8
    assert not isinstance(tests[0], list)
    task = Task(
        everything, all_labels, own_ids, order, *tests, right, held, columns=columns,
        shift=max(1, everything.shape[-1] // 8) if isinstance(everything, Tensor) and pictures else 0, flip=pictures,
    )  # fmt: skip
    check_task(task, "arrays")
    return task


def from_paths(
    paths: list[Path],
    labels: Tensor,
    ids: tuple[str, ...],
    classes: tuple[str, ...],
    test: Any,
    truth: Any,
    held: Any,
    size: int,
) -> Task:
    """A task of pictures in files."""
    tests = None if test[0] is None else test
    reading = Reading(Recipe(image_size=size))
    try:
        task = picture_source(paths, labels, ids, classes, reading, size, tests, truth=truth)
    except InputError as error:
        raise InputError(str(error).removesuffix(SKIP)) from error
    task = replace(task, held=held)
    check_task(task, "arrays")
    return task


def label_names(what: str, labels: Any, classes: Sequence[Any] | None = None) -> list[str]:
    """Labels as texts; whole numbers without a fraction, or, where classes are named by texts, as positions in them."""
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu().numpy()
    values = labels.tolist() if hasattr(labels, "tolist") else labels
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"data: {what}: {values!r}; expected one label a sample")
    values = [value.item() if hasattr(value, "item") and np.ndim(value) == 0 else value for value in values]
    for row, value in enumerate(values):
        if value is None or value is pd.NA or value != value or isinstance(value, (list, dict, tuple)):
            raise InputError(f"data: {what} row {row}: {value!r}; expected one label a sample")
    if classes is None or not all(isinstance(name, str) for name in classes):
        return [whole(value) for value in values]
    if not any(name.isdecimal() for name in classes):  # then numbers in texts can be no names
        values = [int(value) if isinstance(value, str) and value.isdecimal() else value for value in values]
    return [in_order(f"{what} row {row}", value, classes) for row, value in enumerate(values)]


def in_order(where: str, value: Any, classes: Sequence[str]) -> str:
    """The class that a label means: by position where it is a whole number, else by name."""
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


def columns_of(inputs: Any) -> tuple[Column, ...]:
    """What a data frame's columns are; nothing for other inputs."""
    if not isinstance(inputs, pd.DataFrame):
        return ()
    table = framed("inputs", inputs)
    return choose_columns(table, list(table.frame.columns), np.ones(len(inputs), dtype=bool), True).columns


def framed(what: str, frame: pd.DataFrame) -> Table:
    """A data frame as a table, nothing for what is missing.

    Raises:
        InputError: two columns of one name.
    """
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"data: {what} has two columns {twice!r}; give each its own name")
    cells = frame.astype(object)
    return Table(Path(what), cells.where(frame.notna(), None).set_axis(names, axis=1))


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
