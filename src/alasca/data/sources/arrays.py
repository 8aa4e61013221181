"""Samples in arrays: scikit-learn's digits, NumPy archives in memory, and NumPy files mapped into memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alasca.data.legacy import UNREADABLE, first_sentence, head_of, read_archive, read_array
from alasca.data.rows import CHUNK, MappedRows
from alasca.data.samples import subset
from alasca.data.sources.base import existing, shortened
from alasca.data.sources.labels import Labels, assign, read_labels
from alasca.data.task import Inputs, Reading, Task
from alasca.data.text import Texts
from alasca.errors import InputError
from alasca.files import open_regular, reason


def digits(argument: str, reading: Reading) -> Task:
    """Handwritten digits of scikit-learn: 1,797 pictures of 8x8, of which 1,347 train and 450 test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if argument:
        raise InputError(f"data: digits takes no argument, got {argument!r}; write --data digits")
    bunch = load_digits()
    pictures = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    ids = np.arange(len(pictures))
    train, test = train_test_split(ids, test_size=450, random_state=0, stratify=bunch.target)
    inputs, labels = torch.from_numpy(pictures), torch.from_numpy(bunch.target).long()
    return Task(
        inputs[train], labels[train], tuple(f"digits/{k}" for k in train), tuple("0123456789"),
        inputs[test], labels[test], shift=1,
    )  # fmt: skip


def npz(argument: str, reading: Reading) -> Task:
    """A NumPy archive with ``x_train, y_train`` (or ``x, y``) and, where known, ``x_test, y_test``, ``y_true``."""
    path = existing(argument, "npz:FILE")
    try:
        read = read_archive(path)
        arrays = {name.lower(): array for name, array in read.items()}
        if len(arrays) < len(read):
            raise ValueError(f"it has arrays that differ in case alone, {shortened(sorted(read))}")
    except (ValueError, OSError) as error:
        raise InputError(f"data: {path} is no NumPy archive of plain arrays ({reason(error)})") from error
    suffix = "_train" if "x_train" in arrays else ""
    for name in (f"x{suffix}", f"y{suffix}"):
        if name not in arrays:
            raise InputError(
                f"data: {path} has no array {name!r}, only {', '.join(arrays) or 'none'}; expected x and y"
            )
    inputs = texts_or_inputs(path, f"x{suffix}", arrays[f"x{suffix}"])
    tests = texts_or_inputs(path, "x_test", arrays["x_test"]) if "x_test" in arrays and "y_test" in arrays else None
    notes = [
        f"{name} is not read: there is no {other}" for name, other in (("x_test", "y_test"), ("y_test", "x_test"))
        if name in arrays and other not in arrays
    ]  # fmt: skip
    known = {f"x{suffix}", f"y{suffix}", "x_test", "y_test", "y_true", "classes"}
    if unread := [name for name in arrays if name not in known]:
        notes.append(f"arrays that are not read: {shortened(unread)}")
    return array_source(path, arrays, suffix, inputs, tests, reading, notes)


def array_source(
    path: Path,
    arrays: dict[str, np.ndarray],
    suffix: str,
    inputs: Inputs,
    tests: Inputs | None,
    reading: Reading,
    notes: Sequence[str] = (),
) -> Task:
    """A source of inputs that were checked, and the labels in `arrays`.

    Args:
        path: of the archive or folder.
        arrays: holds ``y`` with the suffix and, where known, ``y_test``, ``y_true`` and ``classes``.
        suffix: ``"_train"`` or nothing.
        inputs: of the training set.
        tests: of the test set.
        reading: whether spellings of labels are joined, and what says that there is none.
        notes: what a person should know already.
    """
    if tests is not None and form_of(tests) != form_of(inputs):
        raise InputError(f"data: {path}: x_test is of {form_of(tests)}, but x{suffix} of {form_of(inputs)}")
    names: list[str] = []
    if "classes" in arrays:
        if arrays["classes"].ndim != 1:
            raise InputError(f"data: {path}: classes has shape {list(arrays['classes'].shape)}; expected [K] names")
        names = [str(name) for name in texts_of(arrays["classes"]).tolist()]
    counts = {f"y{suffix}": len(inputs), "y_true": len(inputs)} | ({} if tests is None else {"y_test": len(tests)})
    found = {
        name: as_labels(path, name, arrays[name], count, names, reading.recipe.missing_label)
        for name, count in counts.items() if name in arrays
    }  # fmt: skip
    assigned = assign(
        {"given" if name == f"y{suffix}" else name: each for name, each in found.items()}, reading.recipe, names
    )
    labels, test_labels = assigned.labels["given"], assigned.labels.get("y_test")
    if test_labels is not None and tests is not None and bool((test_labels < 0).any()):
        rows = (test_labels >= 0).nonzero()[:, 0]
        notes = [*notes, f"{len(test_labels) - len(rows):,} samples to test on have no label and are left out"]
        tests, test_labels = (subset(tests, rows), test_labels[rows]) if len(rows) else (None, None)
    shape = () if isinstance(inputs, Texts) or inputs.dtype != torch.uint8 else inputs.shape
    return Task(
        inputs, labels, tuple(f"{path.name}/{k}" for k in range(len(inputs))), assigned.classes, tests, test_labels,
        assigned.labels.get("y_true"), shift=max(1, shape[-1] // 8) if shape else 0, flip=bool(shape),
        notes=(*notes, *assigned.notes),
    )  # fmt: skip


def form_of(inputs: Inputs) -> str:
    """What inputs are, in words."""
    return "texts" if isinstance(inputs, Texts) else f"{inputs.dtype} {list(inputs.shape[1:])}".removeprefix("torch.")


def texts_or_inputs(path: Path, name: str, array: np.ndarray) -> Inputs:
    """Texts where an array holds such, else as `as_inputs`."""
    if (
        array.ndim == 1
        and (array.dtype.kind in "US" or all(isinstance(cell, str) for cell in array.tolist()))
        and len(array)
    ):
        return Texts(tuple(map(str, texts_of(array).tolist())))
    return as_inputs(path, name, array)


def texts_of(array: np.ndarray) -> np.ndarray:
    """Byte strings as texts; others as they are."""
    return np.char.decode(array, "utf-8", "backslashreplace") if array.dtype.kind == "S" else array


def as_inputs(path: Path, name: str, array: np.ndarray) -> Tensor:
    """Pictures as uint8 ``[N, C, H, W]`` or rows of numbers as float32 ``[N, D]``."""
    if array.dtype.kind not in "uifb" or array.ndim not in (2, 3, 4) or not array.size:
        raise InputError(
            f"data: {path}: {name} is {array.dtype} {list(array.shape)}; expected numbers [N, D] or uint8 pictures "
            "[N, H, W], [N, H, W, C] or [N, C, H, W]"
        )
    if array.ndim == 2:
        with np.errstate(over="ignore"):
            rows = np.nonzero(~np.isfinite(array.astype(np.float32)).all(1))[0]
        if len(rows):
            raise InputError(f"data: {path}: {name} row {rows[0]} holds NaN or infinity ({len(rows)} such rows)")
        return torch.from_numpy(array.astype(np.float32))
    if array.dtype.kind == "f" and 0 <= float(array.min()) <= float(array.max()) <= 1:
        array = np.round(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise InputError(f"data: {path}: {name} is {array.dtype}; expected pictures as uint8, or floats from 0 to 1")
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[-1] <= 4 < array.shape[1]:
        array = array.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(array))


def check_count(path: Path, name: str, array: np.ndarray, count: int) -> None:
    """Raise `InputError` unless there is one label an input."""
    if array.shape != (count,):
        raise InputError(
            f"data: {path}: {name} has shape {list(array.shape)}; expected [{count}], one label an input "
            "(of [N, 1] y.ravel(), of one-hot labels y.argmax(1))"
        )


def as_labels(
    path: Path, name: str, array: np.ndarray, count: int, classes: Sequence[str], missing: str | None
) -> Labels:
    """A label an input: names, or whole numbers, which are positions in `classes` where these are given."""
    check_count(path, name, array, count)
    array = texts_of(array)
    if array.dtype.kind not in "iufbUO":
        raise InputError(f"data: {path}: {name} is {array.dtype}; expected whole numbers or strings")
    found = read_labels(name, array, lambda row: f"{path} row {row}", missing, classes)
    if not classes or array.dtype.kind not in "iuf":
        return found
    places = [None if level is None else float(level) for level in found.levels]
    wrong = [place for place in places if place is not None and not (0 <= place < len(classes) and place % 1 == 0)]
    if wrong:
        row = int(np.argmax(found.codes == places.index(wrong[0])))
        raise InputError(f"data: {found.where(row)}: {name} is {wrong[0]:g}, expected 0 to {len(classes) - 1}")
    return replace(found, levels=tuple(None if place is None else classes[int(place)] for place in places))


def npy(argument: str, reading: Reading) -> Task:
    """A folder with x.npy and y.npy (and x_test.npy, y_test.npy, y_true.npy), mapped into memory: any size"""
    root = Path(argument)
    if not argument or not root.is_dir():
        raise InputError(f"data: no such folder: {argument or '(empty)'}; expected npy:DIR with x.npy and y.npy")
    inputs, arrays = mapped_inputs(root / "x.npy", mapped(root / "x.npy")), {}
    for name in ("y", "y_test", "y_true", "classes"):
        if name == "y" or (root / f"{name}.npy").is_file():
            found = mapped(root / f"{name}.npy")
            if name in ("y", "y_true"):
                check_count(root, name, found, len(inputs))
            arrays[name] = np.asarray(found)
    tests, notes = None, []
    if "y_test" in arrays:
        tests = mapped_inputs(root / "x_test.npy", mapped(root / "x_test.npy"))
    elif (root / "x_test.npy").is_file():
        notes.append("x_test is not read: there is no y_test")
    return array_source(root, arrays, "", inputs, tests, reading, notes)


def mapped(path: Path) -> np.ndarray:
    """An array in a file, mapped into memory."""
    if not path.is_file():
        raise InputError(f"data: no such file: {path}")
    try:
        with open_regular(path) as file:
            shape, dtype, begins = head_of(file, objects=True)
            if dtype.hasobject:
                file.seek(0)
                return read_array(file)
        if path.stat().st_size < begins + math.prod(shape) * dtype.itemsize:
            raise ValueError(f"it says that it is {dtype} {list(shape)}, but has {path.stat().st_size:,} bytes")
        found: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (*UNREADABLE, OSError) as error:
        raise InputError(f"data: {path} is no whole NumPy file of a plain array ({first_sentence(error)})") from error
    return found


def mapped_inputs(path: Path, array: np.ndarray) -> MappedRows:
    """Pictures ``[N, C, H, W]`` uint8 or numbers ``[N, D]``, which are looked through once."""
    pictures = array.dtype == np.uint8 and array.ndim == 4 and array.shape[1] in (1, 3)
    numbers = array.dtype.kind in "fiu" and array.ndim == 2
    if not (pictures or numbers) or not len(array):
        hint = ""
        if array.ndim == 4:
            hint = "; write np.save(path, x.transpose(0, 3, 1, 2))" if array.shape[3] in (1, 3) else ""
            hint += "; write (255 * x).astype(np.uint8)" if array.dtype.kind == "f" else ""
        raise InputError(
            f"data: {path} is {array.dtype} {list(array.shape)}; expected uint8 pictures [N, C, H, W] with 1 or 3 "
            f"channels, or numbers [N, D]{hint}"
        )
    for start in range(0, len(array), CHUNK) if numbers else ():
        wrong = np.nonzero(~np.isfinite(array[start : start + CHUNK].astype(np.float32)).all(1))[0]
        if len(wrong):
            raise InputError(f"data: {path} row {start + wrong[0]} holds NaN or infinity")
    return MappedRows(torch.arange(len(array)), torch.device("cpu"), array=array)
