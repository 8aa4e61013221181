"""`--features`: numbers of each sample, such as an embedding by a large network, in the place of its own inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from alasca.data.legacy import read_archive, read_array
from alasca.data.sources.arrays import as_inputs
from alasca.data.task import Task
from alasca.errors import InputError
from alasca.files import open_regular
from alasca.values import nearest


def embedded(task: Task, features: str) -> Task:
    """A task that is read by numbers from a file; ids, labels, and what is repaired, stay those of the data.

    A test set has no such numbers, and is left out.

    Args:
        task: as it was read.
        features: path: ``.npy``, ``[N, D]`` in the order of the samples, or ``.npz`` with ``ids`` ``[M]`` and ``x``
            ``[M, D]`` in any order.

    Raises:
        InputError: no such file, of another kind or size, or without a sample.
    """
    ids, values = named_numbers(features, "features")
    if ids is None:
        if len(values) != len(task.ids):
            raise InputError(
                f"features: {features} has {len(values):,} rows for {len(task.ids):,} samples; where some were left "
                "out, or the order is another, write an .npz with ids and x"
            )
        rows = torch.from_numpy(values)
    else:
        where = {name: k for k, name in enumerate(ids)}
        if absent := [name for name in task.ids if name not in where]:
            hint = nearest(absent[0], where, f"ids are such as {ids[0]!r}" if ids else "it is empty")
            raise InputError(
                f"features: {features} has no {absent[0]!r}, nor {len(absent) - 1:,} other samples of the data; {hint}"
            )
        rows = torch.from_numpy(values[[where[name] for name in task.ids]])
    notes = [f"{Path(features).name}: read by {rows.shape[1]:,} numbers a sample, not by the data's own inputs"]
    if task.test_inputs is not None:
        notes.append("the test set has no features and is left out")
    return replace(
        task, inputs=rows, shift=0, flip=False, crop=None, size=None, keep_ratio=False, span=None, columns=(),
        mean=None, std=None, test_inputs=None, test_labels=None, notes=(*task.notes, *notes),
    )  # fmt: skip


def named_numbers(path: str, what: str) -> tuple[list[str] | None, np.ndarray]:
    """Rows of numbers from a NumPy file, float32 ``[N, D]``, and their ids, where it has such.

    Args:
        path: of a ``.npy`` or ``.npz`` file.
        what: begins messages.

    Raises:
        InputError: no such file, or of another kind.
    """
    try:
        if path.endswith(".npz"):
            arrays = read_archive(Path(path))
            if not {"ids", "x"} <= arrays.keys():
                raise InputError(f"{what}: {path} has {', '.join(arrays) or 'nothing'}; expected ids and x")
            ids, values = [str(name) for name in arrays["ids"].tolist()], arrays["x"]
            if len(ids) != len(values):
                raise InputError(f"{what}: {path}: {len(ids):,} ids for {len(values):,} rows")
        else:
            with open_regular(path) as file:
                ids, values = None, read_array(file)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what}: {path} is no NumPy file of plain numbers ({error})") from error
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise InputError(f"{what}: {path}: {values.dtype} {list(values.shape)}; expected numbers, samples by columns")
    return ids, as_inputs(Path(path), "x", values.astype(np.float32)).numpy()
