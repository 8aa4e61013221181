"""Published files in formats that could execute code: CIFAR's batches and CIFAR-N's labels, read so that they can't.

The only place that reads pickles. `Arrays` builds NumPy arrays, numbers, texts, lists and dicts, and refuses to look
up anything else; ``.pt`` files go through torch's own such reader with the same few names allowed.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alasca.core import InputError

RECONSTRUCT = np.empty(0).__reduce__()[0]
"""What makes an empty array, which the pickle then fills."""
CONSTRUCTORS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
UNREADABLE = (
    pickle.UnpicklingError, ValueError, TypeError, EOFError, IndexError, KeyError, AttributeError, MemoryError,
    OverflowError,
)  # fmt: skip
"""What the unpickler raises on bytes that are no pickle of plain values."""
NUMBERS = (np.uint8, np.int8, np.int16, np.int32, np.int64, np.uint16, np.uint32, np.uint64)


class Arrays(pickle.Unpickler):
    """An unpickler that knows NumPy's array constructors and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Raise for every name that is not one of `CONSTRUCTORS`."""
        try:
            return CONSTRUCTORS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs") from None


def read_batch(path: Path, md5: str | None = None) -> dict[str, Any]:
    """A CIFAR batch in the python release: a dict of arrays, lists and texts.

    Args:
        path: the file.
        md5: its checksum in the official release; None: not checked.

    Raises:
        InputError: no such file, another checksum, or no dict of plain values; nothing in it was executed.
    """
    content = read_file(path, md5)
    try:
        value = Arrays(io.BytesIO(content), encoding="latin1").load()
    except UNREADABLE as error:
        raise InputError(f"data: {path} can't be read as a CIFAR batch ({error})") from error
    if not isinstance(value, dict):
        raise InputError(f"data: {path} holds a {type(value).__name__}; expected CIFAR's dict of data and labels")
    return {str(name): part for name, part in value.items()}


def read_file(path: Path, md5: str | None = None) -> bytes:
    """All bytes of a file of the official release.

    Raises:
        InputError: no such file, or another checksum.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"data: {path} can't be read ({error.strerror or error})") from error
    if md5 is not None and (found := hashlib.md5(content, usedforsecurity=False).hexdigest()) != md5:
        raise InputError(
            f"data: {path} has {len(content):,} bytes and md5 {found}, the official file {md5}: download it again, or "
            "add --no-checksums if it is meant to differ"
        )
    return content


def read_labels(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name from ``.npz``, or from a ``.pt`` file that holds a dict of NumPy arrays or tensors.

    Raises:
        InputError: no such file, or anything else in it; nothing in it was executed.
    """
    if not path.is_file():
        raise InputError(f"labels: no such file: {path}; expected .npz or .pt")
    try:
        if path.suffix == ".pt":
            allowed: list[Any] = [(value, ".".join(name)) for name, value in CONSTRUCTORS.items()]
            allowed += [type(np.dtype(number)) for number in NUMBERS]
            with torch.serialization.safe_globals(allowed):
                value = torch.load(path, map_location="cpu", weights_only=True)
        else:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                value = {name: archive[name] for name in archive.files}
    except Exception as error:  # whatever a file of unknown origin provokes in two readers
        raise InputError(f"labels: {path} can't be read as arrays ({first_sentence(error)})") from error
    if not isinstance(value, dict):
        raise InputError(f"labels: {path} holds a {type(value).__name__}; expected a dict of arrays")
    return {str(name): np.asarray(part) for name, part in value.items()}


def first_sentence(error: Exception) -> str:
    """The start of a message that may have many lines."""
    return " ".join(str(error).split())[:160] or type(error).__name__
