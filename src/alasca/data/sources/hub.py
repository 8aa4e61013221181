"""Hugging Face data sets: a folder that `save_to_disk` wrote, or a name in the local cache."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from alasca.data.pictures import Pictures
from alasca.data.sources.base import in_range, positions
from alasca.data.sources.pictures import crop_of, look_at
from alasca.data.sources.table_files import whole
from alasca.data.sources.tables import class_order
from alasca.data.task import Inputs, Reading, Task
from alasca.data.text import Texts
from alasca.errors import InputError, missing
from alasca.files import open_regular


@dataclass(frozen=True)
class HubPictures(Pictures):
    """Pictures in a column that is not decoded: bytes, or the path of a file."""

    rows: Any
    column: str
    title: str

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, position: int) -> str:
        """Data set and row."""
        return f"{self.title} row {position}"

    def open(self, position: int) -> IO[bytes]:
        """The bytes as a file, or the file at the path."""
        value = self.rows[position][self.column]
        if value is None:
            raise ValueError("there is no picture in it")
        return io.BytesIO(value["bytes"]) if value["bytes"] is not None else open_regular(value["path"])


def hf(argument: str, reading: Reading) -> Task:
    """A Hugging Face data set: a saved folder or a cached name, with splits train and test"""
    splits = load(argument)
    if "train" not in splits:
        raise InputError(f"data: hf:{argument} has no split 'train', only {', '.join(splits)}")
    train, title = splits["train"], f"hf:{argument}"
    test = next((splits[name] for name in ("test", "validation") if name in splits), None)
    label = label_column(train, reading, title)
    feature = train.features[label]
    names = tuple(feature.names) if hasattr(feature, "names") else class_order(set(written(train, label, title)))
    labels = label_positions(train, label, names, title)
    truth = None if reading.recipe.true is None else label_positions(train, reading.recipe.true, names, title)
    test_labels = None if test is None else label_positions(test, label, names, f"{title}, test")
    kind, column = input_column(train, reading, {label, reading.recipe.true, reading.recipe.id}, title)
    ids = [f"{Path(argument).name}/{k}" for k in range(len(train))]
    if reading.recipe.id is not None:
        ids = [str(value) for value in column_of(train, reading.recipe.id, title)]
    inputs: Inputs
    if kind != "pictures":
        inputs = values_of(train, column, kind, title)
        test_inputs = None if test is None else values_of(test, column, kind, title)
        return Task(inputs, labels, tuple(ids), names, test_inputs, test_labels, truth)
    found = look_at(undecoded(train, column, title), reading, 32)
    tested = None if test is None else look_at(undecoded(test, column, f"{title} test"), reading, 32, testing=True)
    side = reading.recipe.image_size or 32
    crop = crop_of(reading, side)
    return Task(
        found.inputs, labels[found.kept], tuple(ids[k] for k in found.kept.tolist()), names,
        None if tested is None else tested.inputs,
        None if tested is None or test_labels is None else test_labels[tested.kept],
        None if truth is None else truth[found.kept], shift=0 if crop else max(1, side // 8),
        flip=True, crop=crop, size=side, blank=found.blank, whole=len(train), kept=found.kept,
        notes=found.notes + (() if tested is None else tested.notes),
    )  # fmt: skip


def load(name: str) -> dict[str, Any]:
    """The splits of a data set.

    Raises:
        InputError: no name, no such data set, or the library is missing.
    """
    if not name:
        raise InputError("data: hf: needs a name; expected hf:NAME or hf:DIR of a saved data set")
    try:
        import datasets
    except ImportError as error:
        raise InputError(f"data: hf: needs datasets; {missing('datasets', 'hf', error)}") from None
    try:
        found = datasets.load_from_disk(name) if Path(name).is_dir() else datasets.load_dataset(name)
    except Exception as error:  # files, scripts, caches and networks fail in as many ways
        raise InputError(f"data: hf:{name} can't be loaded ({' '.join(str(error).split())[:200]})") from error
    return dict(found) if isinstance(found, dict) else {"train": found}


def label_column(rows: Any, reading: Reading, title: str) -> str:
    """The column of labels: the one that is named, or the only one of class labels."""
    if reading.recipe.label in rows.features:
        return reading.recipe.label
    named = [name for name, feature in rows.features.items() if hasattr(feature, "names")]
    if len(named) == 1:
        return str(named[0])
    raise InputError(
        f"data: {title} has no column {reading.recipe.label!r}, only {', '.join(rows.features)}; give --label"
    )


def column_of(rows: Any, name: str, title: str) -> list[Any]:
    """The values of a column.

    Raises:
        InputError: there is none of that name.
    """
    if name not in rows.features:
        raise InputError(f"data: {title} has no column {name!r}, only {', '.join(rows.features)}")
    return list(rows[name])


def written(rows: Any, name: str, title: str) -> list[str]:
    """The labels of a column by name; those of class labels by the names of that very column.

    Raises:
        InputError: no such column, or a label that is missing or out of range, with its row.
    """
    values, feature = column_of(rows, name, title), rows.features[name]
    for row, value in enumerate(values):
        if value is None or value != value:
            raise InputError(f"data: {title}: {name} row {row} is empty")
    if not hasattr(feature, "names"):
        return [whole(value) for value in values]
    numbers = in_range(np.array(values, dtype=np.int64), len(feature.names), f"{title}: {name}")
    return [feature.names[k] for k in numbers.tolist()]


def label_positions(rows: Any, name: str, names: tuple[str, ...], title: str) -> Tensor:
    """The labels of a column as positions in `names`.

    Raises:
        InputError: as `written`, or a label that is none of them.
    """
    return positions(written(rows, name, title), names, f"{title}: {name}")


def input_column(rows: Any, reading: Reading, own: set[str | None], title: str) -> tuple[str, str]:
    """What the samples are, ``"pictures"``, ``"text"`` or ``"numbers"``, and in which column."""
    import datasets

    left = [reading.recipe.input] if reading.recipe.input else [name for name in rows.features if name not in own]
    if reading.recipe.input and reading.recipe.input not in rows.features:
        raise InputError(f"data: {title} has no column {reading.recipe.input!r}, only {', '.join(rows.features)}")
    kinds = {}
    for name in left:
        feature = rows.features[name]
        if isinstance(feature, datasets.Image):
            kinds[name] = "pictures"
        elif getattr(feature, "dtype", None) in ("string", "large_string"):
            kinds[name] = "text"
        elif isinstance(feature, (datasets.Sequence, datasets.List)):
            kinds[name] = "numbers"
    for kind in ("pictures", "text", "numbers"):
        for name, found in kinds.items():
            if found == kind and (kind != "text" or name == "text" or len(kinds) == 1 or reading.recipe.input):
                return kind, name
    raise InputError(f"data: {title}: which column holds the inputs? Give --input, one of {', '.join(left)}")


def values_of(rows: Any, column: str, kind: str, title: str) -> Inputs:
    """Texts, or lists of numbers of one length ``[N, D]``."""
    values = column_of(rows, column, title)
    empty = next((row for row, value in enumerate(values) if value is None), None)
    if empty is not None:
        raise InputError(f"data: {title}: {column} row {empty} is empty")
    if kind == "text":
        return Texts(tuple(values))
    try:
        array = np.array(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"data: {title}: {column} holds no lists of numbers of one length ({error})") from error
    if array.ndim != 2 or not array.shape[1]:
        raise InputError(
            f"data: {title}: {column} holds arrays of shape {list(array.shape[1:])}; expected lists of numbers"
        )
    wrong = np.nonzero(~np.isfinite(array).all(1))[0]
    if len(wrong):
        raise InputError(f"data: {title}: {column} row {wrong[0]} holds NaN or infinity")
    return torch.from_numpy(array)


def undecoded(rows: Any, column: str, title: str) -> HubPictures:
    """The pictures of a column, opened by whoever decodes them."""
    import datasets

    return HubPictures(rows.cast_column(column, datasets.Image(decode=False)), column, title)
