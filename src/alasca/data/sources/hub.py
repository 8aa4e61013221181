"""Hugging Face data sets: a folder that `save_to_disk` wrote, or a name in the local cache, read as tables are."""

from __future__ import annotations

import bisect
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from alasca.data.pictures import Pictures
from alasca.data.sources.base import shortened
from alasca.data.sources.splits import HELD, TEST, TRAIN, part_of
from alasca.data.sources.table_files import Table, check_column, emptied
from alasca.data.sources.tables import task_of
from alasca.data.task import Reading, Task
from alasca.errors import InputError, missing
from alasca.files import open_regular


@dataclass(frozen=True)
class HubPictures(Pictures):
    """Pictures in a column of several splits that is not decoded: bytes, or the path of a file.

    Attributes:
        splits: one after another.
        starts: where each begins.
        column: of the pictures.
        titles: of the splits, for messages.
    """

    splits: tuple[Any, ...]
    starts: tuple[int, ...]
    column: str
    titles: tuple[str, ...]

    def __len__(self) -> int:
        return self.starts[-1] + len(self.splits[-1])

    def _place(self, position: int) -> tuple[int, int]:
        """Which split, and which row there."""
        k = bisect.bisect_right(self.starts, position) - 1
        return k, position - self.starts[k]

    def name(self, position: int) -> str:
        """Data set, split and row."""
        k, row = self._place(position)
        return f"{self.titles[k]} row {row}"

    def open(self, position: int) -> IO[bytes]:
        """The bytes as a file, or the file at the path."""
        k, row = self._place(position)
        value = self.splits[k][row][self.column]
        if value is None:
            raise ValueError("there is no picture in it")
        return io.BytesIO(value["bytes"]) if value["bytes"] is not None else open_regular(value["path"])


def hf(argument: str, reading: Reading) -> Task:
    """A Hugging Face data set: a saved folder or a cached name, with splits train and test (or validation)"""
    splits = load(argument)
    parts, unread = chosen_splits(splits, reading, f"hf:{argument}")
    label = label_column(splits[next(iter(parts))], reading, f"hf:{argument}")
    notes: tuple[str, ...] = () if label == reading.recipe.label else (f"labels are in {label}",)
    notes += (f"splits that are not read: {shortened(unread)}",) if unread else ()
    found = table_of(argument, splits, parts, label, notes)
    return task_of(found, reading._replace(recipe=replace(reading.recipe, label=label)))


def chosen_splits(splits: dict[str, Any], reading: Reading, title: str) -> tuple[dict[str, int], list[str]]:
    """The splits that are read, each with what it is for, those to train on first; and the others.

    Raises:
        InputError: no split of a name that was given, or none to train on.
    """
    asked = {TRAIN: reading.recipe.train_split, TEST: reading.recipe.test_split}
    for part, name in asked.items():
        if name is not None and name not in splits:
            option = "train-split" if part == TRAIN else "test-split"
            raise InputError(f"{option}: {title} has no split {name!r}, only {', '.join(splits)}")
    train = asked[TRAIN] or next((name for name in splits if part_of(name) == TRAIN), None)
    if train is None and len(splits) == 1:
        train = next(iter(splits))
    if train is None:
        raise InputError(f"data: {title} has no split 'train', only {', '.join(splits)}; name it with --train-split")
    if asked[TEST] == train:
        raise InputError(f"test-split: {train!r} is what is trained on; name another")
    found = {train: TRAIN}
    for part in (HELD, TEST) if asked[TEST] is None else ():
        name = next((name for name in splits if part_of(name) == part and name != train), None)
        found |= {} if name is None else {name: part}
    if (test := asked[TEST]) is not None:
        found[test] = TEST
    return found, [name for name in splits if name not in found]


def table_of(argument: str, splits: dict[str, Any], parts: dict[str, int], label: str, notes: tuple[str, ...]) -> Table:
    """Splits as one table, rows to train on first; class labels by name, -1 as none."""
    import datasets

    read = [splits[name].with_format(None) for name in parts]  # plain values, whatever it was saved as
    titles = tuple(f"hf:{argument}" if part == TRAIN else f"hf:{argument} {name}" for name, part in parts.items())
    starts = tuple(np.cumsum([0, *map(len, read)])[:-1].tolist())
    features = read[0].features
    for title, rows in zip(titles, read, strict=True):
        if label not in rows.features:
            raise InputError(f"data: {title} has no column {label!r}, only {', '.join(rows.features)}")
    columns, pictures, declared = {}, {}, {}
    for name, feature in features.items():
        check_column(Path(f"hf:{argument}"), name)
        if not all(name in rows.features for rows in read):
            notes += (f"{name} is not in every split, and not read",)
        elif isinstance(feature, datasets.Image):
            bare = tuple(rows.cast_column(name, datasets.Image(decode=False)) for rows in read)
            pictures[name] = HubPictures(bare, starts, name, titles)
        elif type(feature).__name__ not in ("Audio", "Video"):
            columns[name] = [
                cell for rows, title in zip(read, titles, strict=True) for cell in cells_of(rows, name, title)
            ]
            if hasattr(feature, "names"):
                declared[name] = tuple(feature.names)
    frame = emptied(pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()}))
    return Table(
        Path(f"hf:{argument}"), frame, files=tuple(zip(starts, map(Path, titles), strict=True)), notes=notes,
        declared=declared, pictures=pictures,
        parts=np.concatenate([np.full(len(rows), part) for rows, part in zip(read, parts.values(), strict=True)]),
    )  # fmt: skip


def cells_of(rows: Any, name: str, title: str) -> list[Any]:
    """The cells of a column of a split: class labels by the names of that very column, -1 as none.

    Raises:
        InputError: a class label that is out of range, with its row.
    """
    feature, values = rows.features[name], list(rows[name])
    if not hasattr(feature, "names"):
        return values
    found: list[str | None] = []
    for row, value in enumerate(values):
        if value is not None and not -1 <= value < len(feature.names):
            raise InputError(f"data: {title} row {row}: {name} {value}, expected 0 to {len(feature.names) - 1}")
        found.append(None if value is None or value == -1 else feature.names[value])
    return found


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
