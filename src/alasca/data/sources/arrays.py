"""Samples in arrays: scikit-learn's digits, NumPy archives in memory, and NumPy files mapped into memory."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alasca.data.legacy import UNREADABLE, first_sentence, head_of, read_archive
from alasca.data.rows import CHUNK, MappedRows
from alasca.data.sources.base import existing, in_range, positions
from alasca.data.task import Reading, Task
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
        arrays = {name.lower(): array for name, array in read_archive(path).items()}
    except (ValueError, OSError) as error:
        raise InputError(f"data: {path} is no NumPy archive of plain arrays ({reason(error)})") from error
    suffix = "_train" if "x_train" in arrays else ""
    for name in (f"x{suffix}", f"y{suffix}"):
        if name not in arrays:
            raise InputError(
                f"data: {path} has no array {name!r}, only {', '.join(arrays) or 'none'}; expected x and y"
            )
    names = class_names(path, arrays, suffix)
    inputs = as_inputs(path, f"x{suffix}", arrays[f"x{suffix}"])
    tests = None
    if "x_test" in arrays and "y_test" in arrays:
        tests = as_inputs(path, "x_test", arrays["x_test"])
    return array_source(path, arrays, suffix, names, inputs, tests)


def array_source(
    path: Path,
    arrays: dict[str, np.ndarray],
    suffix: str,
    names: tuple[str, ...],
    inputs: Tensor | MappedRows,
    tests: Tensor | MappedRows | None,
) -> Task:
    """A source of inputs that were checked, and the labels in `arrays`.

    Args:
        path: of the archive or folder.
        arrays: holds ``y`` with the suffix and, where known, ``y_test`` and ``y_true``.
        suffix: ``"_train"`` or nothing.
        names: of the classes.
        inputs: of the training set.
        tests: of the test set.
    """
    if tests is not None and (tests.shape[1:] != inputs.shape[1:] or tests.dtype != inputs.dtype):
        raise InputError(f"data: {path}: x_test is {list(tests.shape)}, but x{suffix} {list(inputs.shape)}")
    labels = as_labels(path, f"y{suffix}", arrays[f"y{suffix}"], len(inputs), names)
    pictures = inputs.dtype == torch.uint8
    return Task(
        inputs, labels, tuple(f"{path.name}/{k}" for k in range(len(inputs))), names, tests,
        None if tests is None else as_labels(path, "y_test", arrays["y_test"], len(tests), names),
        as_labels(path, "y_true", arrays["y_true"], len(inputs), names) if "y_true" in arrays else None,
        shift=max(1, inputs.shape[-1] // 8) if pictures else 0, flip=pictures,
    )  # fmt: skip


def class_names(path: Path, arrays: dict[str, np.ndarray], suffix: str) -> tuple[str, ...]:
    """Class names: the archive's ``classes``, the strings among the labels, or numbers up to the largest."""
    labels = [arrays[name] for name in (f"y{suffix}", "y_test", "y_true") if name in arrays]
    if "classes" in arrays:
        if arrays["classes"].ndim != 1:
            raise InputError(f"data: {path}: classes has shape {list(arrays['classes'].shape)}; expected [K] names")
        return tuple(str(name) for name in texts_of(arrays["classes"]).tolist())
    named = [values.dtype.kind in "US" for values in labels]
    if any(named) and not all(named):
        raise InputError(f"data: {path}: some labels are strings, others numbers; give them all as one, or add classes")
    if any(named):
        return tuple(sorted({str(value) for values in labels for value in texts_of(values).tolist()}))
    top = max((int(values.max()) for values in labels if values.size and is_whole(values)), default=-1)
    if top >= 100_000:
        raise InputError(f"data: {path}: label {top} is too large for a class number; expected 0 to K - 1")
    return tuple(str(k) for k in range(top + 1))


def texts_of(array: np.ndarray) -> np.ndarray:
    """Byte strings as texts; others as they are."""
    return np.char.decode(array, "utf-8", "backslashreplace") if array.dtype.kind == "S" else array


def is_whole(array: np.ndarray) -> bool:
    """Whether an array holds whole numbers, of whatever type."""
    if array.dtype.kind != "f":
        return array.dtype.kind in "iu"
    return bool(np.isfinite(array).all() and (array == np.round(array)).all())


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
        raise InputError(f"data: {path}: {name} has shape {list(array.shape)}; expected [{count}], one label an input")


def as_labels(path: Path, name: str, array: np.ndarray, count: int, classes: tuple[str, ...]) -> Tensor:
    """Labels as positions in `classes`."""
    check_count(path, name, array, count)
    array = texts_of(array)
    if array.dtype.kind == "U":
        return positions([str(label) for label in array.tolist()], classes, f"{path}: {name}")
    if not is_whole(array):
        raise InputError(f"data: {path}: {name} is {array.dtype}; expected whole numbers or strings")
    return in_range(array, len(classes), f"{path}: {name}")


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
    names = class_names(root, arrays, "")
    tests = None
    if "y_test" in arrays:
        tests = mapped_inputs(root / "x_test.npy", mapped(root / "x_test.npy"))
    return array_source(root, arrays, "", names, inputs, tests)


def mapped(path: Path) -> np.ndarray:
    """An array in a file, mapped into memory."""
    if not path.is_file():
        raise InputError(f"data: no such file: {path}")
    try:
        with open_regular(path) as file:
            shape, dtype, begins = head_of(file)
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
