"""NumPy arrays with repaired labels: an archive, or a folder of arrays of any size."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from alasca.data.legacy import read_archive
from alasca.data.sources.arrays import mapped
from alasca.data.sources.labels import read_labels
from alasca.errors import InputError
from alasca.repair.changes import Change
from alasca.runs import Records

BLOCK = 1024
"""Rows that are copied at once."""


def write_archive(path: Path, records: Records, changes: list[Change], to: Path) -> None:
    """A NumPy archive with other labels, its other arrays as they were."""
    arrays = read_archive(path)
    name = next(name for name in arrays if name.lower() in ("y_train", "y"))
    labels, kept = mended(path, arrays, name, records, changes)
    beside, count = {"x", "x_train", "y_true"}, len(arrays[name])
    made = {
        key: labels[kept] if key == name else value[kept] if key.lower() in beside and len(value) == count else value
        for key, value in arrays.items()
    }
    np.savez_compressed(to, **made)  # type: ignore[arg-type]  # names of arrays are no options


def write_mapped(root: Path, records: Records, changes: list[Change], to: Path) -> None:
    """A folder of arrays with another ``y.npy``; what is the same is a hard link, or a copy where there can be none."""
    named = [name for name in ("y", "classes") if (root / f"{name}.npy").is_file()]
    labels, kept = mended(
        root / "y.npy", {name: np.asarray(mapped(root / f"{name}.npy")) for name in named}, "y", records, changes
    )
    to.mkdir()
    for path in sorted(root.glob("*.npy")):
        if path.stem == "y":
            np.save(to / path.name, labels[kept])
        elif path.stem in ("x", "y_true") and len(kept) < len(labels):
            chosen(mapped(path), kept, to / path.name)
        else:
            link(path, to / path.name)


def link(path: Path, to: Path) -> None:
    """A hard link, or a copy."""
    try:
        os.link(path, to)
    except OSError:
        shutil.copy2(path, to)


def chosen(array: np.ndarray, rows: np.ndarray, to: Path) -> None:
    """Some rows of an array, block by block."""
    made = np.lib.format.open_memmap(to, "w+", array.dtype, (len(rows), *array.shape[1:]))
    for start in range(0, len(rows), BLOCK):
        made[start : start + BLOCK] = array[rows[start : start + BLOCK]]
    made.flush()


def mended(
    path: Path, arrays: Mapping[str, np.ndarray], name: str, records: Records, changes: list[Change]
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The labels from now on ``[N]``, and the rows that stay.

    Args:
        path: of the file, for messages.
        arrays: labels under `name`, and names of classes, where there are such.
        name: of the labels.
        records, changes: of the run.

    Raises:
        InputError: the labels are not those that the run read.
    """
    labels, count = arrays[name].copy(), len(arrays[name])
    now = read_labels(name, arrays[name], lambda row: f"{path} row {row}")
    levels = [now.levels[code] for code in now.codes]
    rows = {sample: int(sample.rpartition("/")[2]) for sample in records.ids}
    holder: dict[str, int] = {}
    for sample, label in zip(records.ids, records.given.tolist(), strict=True):
        holder.setdefault(records.name(label), rows[sample])
        if rows[sample] >= count or (label >= 0 and levels[rows[sample]] != own_name(records, arrays, name, label)):
            raise InputError(f"repair: {path} is not what the run read ({sample}); put it back")
    for change in changes:
        if change.fixed is not None:
            labels[rows[change.id]] = arrays[name][holder[change.fixed]]
    return labels, np.setdiff1d(np.arange(count), [rows[change.id] for change in changes if change.fixed is None])


def own_name(records: Records, arrays: Mapping[str, np.ndarray], name: str, label: int) -> str:
    """How arrays write a label: with names of classes beside them, labels may be positions."""
    named = "classes" in {key.lower() for key in arrays}
    return str(label) if named and arrays[name].dtype.kind in "iu" else records.name(label)
