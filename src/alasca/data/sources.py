"""`--data`: where samples come from. Each source gives a `Source`; wrong input is one line naming file and row."""

from __future__ import annotations

import difflib
import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alasca.core import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class Source:
    """What a data set holds before noise, splits and limits.

    Attributes:
        inputs: pictures ``[N, C, H, W]`` uint8 or rows of numbers ``[N, D]`` float32.
        labels: ``[N]``, int64, as the source gives them.
        ids: one string a sample, stable between runs.
        classes: class names; a label is a position in them.
        test_inputs, test_labels: a test set whose labels are taken for true, or None.
        true_labels: ``[N]``, known truth for evaluation, or None.
        shift, flip: what a weak view of these pictures may do.
    """

    inputs: Tensor
    labels: Tensor
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    test_inputs: Tensor | None = None
    test_labels: Tensor | None = None
    true_labels: Tensor | None = None
    shift: int = 0
    flip: bool = False

    def digest(self) -> str:
        """sha256 over inputs, labels and class names."""
        state = hashlib.sha256("\n".join(self.classes).encode())
        for tensor in (self.inputs, self.labels, self.test_inputs, self.test_labels):
            if tensor is not None:
                state.update(str(tuple(tensor.shape)).encode())
                state.update(np.ascontiguousarray(tensor.numpy()).data)
        return state.hexdigest()


def digits(argument: str, image_size: int) -> Source:
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
    return Source(
        inputs[train], labels[train], tuple(f"digits/{k}" for k in train), tuple("0123456789"),
        inputs[test], labels[test], shift=1,
    )  # fmt: skip


def npz(argument: str, image_size: int) -> Source:
    """A NumPy archive with ``x_train, y_train`` (or ``x, y``) and, where known, ``x_test, y_test``, ``y_true``."""
    path = Path(argument)
    if not argument or not path.is_file():
        raise InputError(f"data: no such file: {argument or '(empty)'}; expected npz:FILE")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name.lower(): archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"data: {path} is no NumPy archive of plain arrays ({error})") from error
    suffix = "_train" if "x_train" in arrays else ""
    for name in (f"x{suffix}", f"y{suffix}"):
        if name not in arrays:
            raise InputError(
                f"data: {path} has no array {name!r}, only {', '.join(arrays) or 'none'}; expected x and y"
            )
    names = class_names(path, arrays, suffix)
    inputs = as_inputs(path, f"x{suffix}", arrays[f"x{suffix}"])
    labels = as_labels(path, f"y{suffix}", arrays[f"y{suffix}"], len(inputs), names)
    test_inputs = test_labels = true_labels = None
    if "x_test" in arrays and "y_test" in arrays:
        test_inputs = as_inputs(path, "x_test", arrays["x_test"])
        test_labels = as_labels(path, "y_test", arrays["y_test"], len(test_inputs), names)
        if test_inputs.shape[1:] != inputs.shape[1:] or test_inputs.dtype != inputs.dtype:
            raise InputError(f"data: {path}: x_test is {list(test_inputs.shape)}, but x{suffix} {list(inputs.shape)}")
    if "y_true" in arrays:
        true_labels = as_labels(path, "y_true", arrays["y_true"], len(inputs), names)
    pictures = inputs.dtype == torch.uint8
    return Source(
        inputs, labels, tuple(f"{path.name}/{k}" for k in range(len(inputs))), names, test_inputs, test_labels,
        true_labels, shift=max(1, inputs.shape[-1] // 8) if pictures else 0, flip=pictures,
    )  # fmt: skip


def class_names(path: Path, arrays: dict[str, np.ndarray], suffix: str) -> tuple[str, ...]:
    """Class names: the archive's ``classes``, the strings among the labels, or numbers up to the largest."""
    labels = [arrays[name] for name in (f"y{suffix}", "y_test", "y_true") if name in arrays]
    if "classes" in arrays:
        return tuple(str(name) for name in arrays["classes"].tolist())
    if any(values.dtype.kind in "US" for values in labels):
        return tuple(sorted({str(value) for values in labels for value in values.tolist()}))
    top = max((int(values.max()) for values in labels if values.size and is_whole(values)), default=-1)
    if top >= 100_000:
        raise InputError(f"data: {path}: label {top} is too large for a class number; expected 0 to K - 1")
    return tuple(str(k) for k in range(top + 1))


def is_whole(array: np.ndarray) -> bool:
    """Whether an array holds whole numbers, of whatever type."""
    if array.dtype.kind != "f":
        return array.dtype.kind in "iu"
    return bool(np.isfinite(array).all() and (array == np.round(array)).all())


def as_inputs(path: Path, name: str, array: np.ndarray) -> Tensor:
    """Pictures as uint8 ``[N, C, H, W]`` or rows of numbers as float32 ``[N, D]``."""
    if array.dtype.kind not in "uifb" or array.ndim not in (2, 3, 4) or not len(array):
        raise InputError(
            f"data: {path}: {name} is {array.dtype} {list(array.shape)}; expected numbers [N, D] or uint8 pictures "
            "[N, H, W], [N, H, W, C] or [N, C, H, W]"
        )
    if array.ndim == 2:
        rows = np.nonzero(~np.isfinite(array.astype(np.float64)).all(1))[0]
        if len(rows):
            raise InputError(f"data: {path}: {name} row {rows[0]} holds NaN or infinity ({len(rows)} such rows)")
        return torch.from_numpy(array.astype(np.float32))
    if array.dtype.kind == "f" and 0 <= float(array.min()) <= float(array.max()) <= 1:
        array = np.round(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise InputError(f"data: {path}: {name} is {array.dtype}; expected pictures as uint8, or floats from 0 to 1")
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[-1] in (1, 3) and array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(array))


def as_labels(path: Path, name: str, array: np.ndarray, count: int, classes: tuple[str, ...]) -> Tensor:
    """Labels as positions in `classes`."""
    if array.shape != (count,):
        raise InputError(f"data: {path}: {name} has shape {list(array.shape)}; expected [{count}], one label an input")
    if array.dtype.kind in "US":
        position = {label: k for k, label in enumerate(classes)}
        unknown = [k for k, label in enumerate(array.tolist()) if str(label) not in position]
        if unknown:
            raise InputError(
                f"data: {path}: {name} row {unknown[0]}: class {str(array[unknown[0]])!r} is not in classes"
            )
        return torch.tensor([position[str(label)] for label in array.tolist()])
    if is_whole(array):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise InputError(f"data: {path}: {name} is {array.dtype}; expected whole numbers or strings")
    wrong = np.nonzero((array < 0) | (array >= len(classes)))[0]
    if len(wrong):
        raise InputError(
            f"data: {path}: {name} row {wrong[0]}: label {array[wrong[0]]}, expected 0 to {len(classes) - 1}"
        )
    return torch.from_numpy(array.astype(np.int64))


def folder(argument: str, image_size: int) -> Source:
    """A folder of pictures, a sub-folder a class; ``train/`` and ``test/`` inside it where there are both."""
    root = Path(argument)
    if not argument or not root.is_dir():
        raise InputError(
            f"data: no such folder: {argument or '(empty)'}; expected folder:DIR with a sub-folder a class"
        )
    split = (root / "train").is_dir() and (root / "test").is_dir()
    train = root / "train" if split else root
    classes = tuple(
        sorted(entry.name for entry in train.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    )
    if not classes:
        raise InputError(f"data: {train} has no sub-folders; expected one for each class, with pictures in it")
    inputs, labels, ids = read_pictures(train, classes, image_size)
    test_inputs = test_labels = None
    if split:
        unknown = sorted({entry.name for entry in (root / "test").iterdir() if entry.is_dir()} - set(classes))
        if unknown:
            raise InputError(f"data: {root / 'test' / unknown[0]}: no class of that name under {train}")
        test_inputs, test_labels, _ = read_pictures(root / "test", classes, image_size)
    return Source(
        inputs, labels, ids, tuple(map(printable, classes)), test_inputs, test_labels, shift=max(1, image_size // 8),
        flip=True,
    )  # fmt: skip


def read_pictures(root: Path, classes: tuple[str, ...], size: int) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Pictures under ``root/CLASS``, resized to `size` x `size` RGB, in memory."""
    from PIL import Image

    files = [
        (file, k)
        for k, name in enumerate(classes)
        for file in sorted((root / name).rglob("*"))
        if file.suffix.lower() in SUFFIXES
    ]
    if not files:
        raise InputError(f"data: {root} holds no pictures; expected {', '.join(SUFFIXES)} in a sub-folder a class")
    inputs = torch.empty(len(files), 3, size, size, dtype=torch.uint8)
    for row, (file, _) in enumerate(files):
        try:
            with Image.open(file) as picture:
                array = np.asarray(picture.convert("RGB").resize((size, size)))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(f"data: {file} can't be read as a picture ({error}); mend or remove it") from error
        inputs[row] = torch.from_numpy(array.copy()).permute(2, 0, 1)
    labels = torch.tensor([k for _, k in files])
    return inputs, labels, tuple(printable(file.relative_to(root).as_posix()) for file, _ in files)


def printable(name: str) -> str:
    """A file name whose bytes are no UTF-8, with those bytes as ``\\xNN``, so that any table can hold it."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


SOURCES: dict[str, Callable[[str, int], Source]] = {"digits": digits, "npz": npz, "folder": folder}
FORMS = {"digits": "digits", "npz": "npz:FILE", "folder": "folder:DIR"}


def load_source(spec: str, image_size: int = 32) -> Source:
    """The data set that `spec` names, checked.

    Args:
        spec: ``digits``, ``npz:FILE`` or ``folder:DIR``.
        image_size: side to which a folder's pictures are resized, in pixels.

    Raises:
        InputError: no such source, file or folder; a picture that can't be read; labels that don't fit; fewer than
            two classes or two samples.
    """
    kind, _, argument = spec.partition(":")
    if kind not in SOURCES:
        near = difflib.get_close_matches(kind, SOURCES, 1)
        hint = f"did you mean {FORMS[near[0]]!r}?" if near else f"expected one of {', '.join(FORMS.values())}"
        raise InputError(f"data: {spec!r} is unknown; {hint}")
    if image_size < 4:
        raise InputError(f"image-size: {image_size}, expected at least 4 pixels")
    source = SOURCES[kind](argument, image_size)
    present = len(set(source.labels.tolist()))
    if len(source.labels) < 2 or present < 2:
        raise InputError(f"data: {spec} has {len(source.labels)} samples of {present} class(es); expected two or more")
    return source
