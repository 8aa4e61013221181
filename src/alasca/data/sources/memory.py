"""Samples that a program holds: arrays, tensors, data frames, lists of texts or paths, torch data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alasca.data.sources.arrays import as_inputs
from alasca.data.sources.base import check_task, positions
from alasca.data.sources.columns import choose_columns, table_numbers
from alasca.data.sources.pictures import SUFFIXES, picture_source
from alasca.data.sources.table_files import Table, whole
from alasca.data.sources.tables import class_order
from alasca.data.task import Reading, Task
from alasca.data.text import Texts
from alasca.data.transform import Column
from alasca.errors import InputError

HERE = Path("arrays")


def task_from_arrays(
    inputs: Any,
    labels: Any,
    test: tuple[Any, Any] | None,
    val: tuple[Any, Any] | None,
    truth: Any,
    ids: Sequence[Any] | None,
    classes: Sequence[str] | None,
) -> Task:
    """See `Task.from_arrays`."""
    parts = {
        "train": (inputs, labels),
        **({} if val is None else {"val": val}),
        **({} if test is None else {"test": test}),
    }
    names = {part: label_names(f"{part}: labels", given) for part, (_, given) in parts.items()}
    true_names = None if truth is None else label_names("truth", truth)
    order = tuple(map(str, classes)) if classes is not None else class_order({*names["train"]})
    if classes is not None and all(name.isdecimal() for name in names["train"]) and not {*names["train"]} <= {*order}:
        names = {
            part: [order[int(name)] if int(name) < len(order) else name for name in own] for part, own in names.items()
        }
        true_names = None if true_names is None else [order[int(name)] for name in true_names]
    given = {part: positions(own, order, f"{part} labels") for part, own in names.items()}
    columns = columns_of(inputs)
    read = {part: read_inputs(f"{part} inputs", values, columns) for part, (values, _) in parts.items()}
    for part, values in read.items():
        if len(values) != len(given[part]):
            raise InputError(f"data: {part}: {len(values)} inputs and {len(given[part])} labels; expected as many")
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
        return from_paths(everything, all_labels, own_ids, order, tests, right, held)
    pictures = isinstance(everything, Tensor) and everything.dtype == torch.uint8
    assert not isinstance(tests[0], list)
    task = Task(
        everything, all_labels, own_ids, order, *tests, right, held, columns=columns,
        shift=max(1, everything.shape[-1] // 8) if isinstance(everything, Tensor) and pictures else 0, flip=pictures,
    )  # fmt: skip
    check_task(task, "arrays")
    return task


def from_paths(
    paths: list[Path], labels: Tensor, ids: tuple[str, ...], classes: tuple[str, ...], test: Any, truth: Any, held: Any
) -> Task:
    """A task of pictures in files."""
    from dataclasses import replace

    tests = None if test[0] is None else test
    task = replace(picture_source(paths, labels, ids, classes, Reading(), 32, tests, truth=truth), held=held)
    check_task(task, "arrays")
    return task


def label_names(what: str, labels: Any) -> list[str]:
    """Labels as texts; whole numbers without a fraction."""
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu().numpy()
    values = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    for row, value in enumerate(values):
        if value is None or value != value or isinstance(value, (list, dict, tuple)):
            raise InputError(f"data: {what} row {row}: {value!r}; expected one label a sample")
    return [whole(value) for value in values]


def columns_of(inputs: Any) -> tuple[Column, ...]:
    """What a data frame's columns are; nothing for other inputs."""
    if not isinstance(inputs, pd.DataFrame):
        return ()
    table = framed("inputs", inputs)
    return choose_columns(table, list(table.frame.columns), np.ones(len(inputs), dtype=bool), True).columns


def framed(what: str, frame: pd.DataFrame) -> Table:
    """A data frame as a table, nothing for what is missing."""
    cells = frame.astype(object)
    return Table(Path(what), cells.where(frame.notna(), None).set_axis([str(name) for name in frame.columns], axis=1))


def read_inputs(what: str, values: Any, columns: tuple[Column, ...]) -> Any:
    """Inputs as they are kept, or a list of paths."""
    if isinstance(values, pd.DataFrame):
        return torch.from_numpy(table_numbers(framed(what, values), columns))
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OUS":
        return as_inputs(Path(what), "array", values)
    listed = list(values)
    if listed and all(isinstance(value, (str, Path)) for value in listed):
        if all(str(value).lower().endswith(SUFFIXES) for value in listed):
            return [Path(value) for value in listed]
        return Texts(tuple(map(str, listed)))
    try:
        return as_inputs(Path(what), "array", np.asarray(listed))
    except ValueError as error:
        raise InputError(f"data: {what}: can't be made one array ({error}); expected samples of one shape") from error


def joined(first: Any, second: Any) -> Any:
    """Training and held-out inputs as one."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        if first.shape[1:] != second.shape[1:] or first.dtype != second.dtype:
            raise InputError(f"data: val inputs are {list(second.shape)}, training inputs {list(first.shape)}")
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
