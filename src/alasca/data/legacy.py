"""Published files in formats that could execute code: CIFAR's batches and CIFAR-N's labels, read so that they can't.

The only place that reads pickles. Arrays in them are made by `PlainType` and `PlainArray`, which stand in for NumPy's
own constructors and take numbers of known types, or texts, only; every other name is refused. ``.pt`` files go through
torch's reader of plain values, with the same stand-ins allowed.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from alasca.errors import InputError
from alasca.files import open_regular, read_bytes, reason, require_memory

NUMBERS = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")
OBJECTS = ("O", "O4", "O8")
UNREADABLE = (
    pickle.UnpicklingError, ValueError, TypeError, EOFError, IndexError, KeyError, AttributeError, MemoryError,
    OverflowError, RecursionError,
)  # fmt: skip
"""What the unpickler raises on bytes that are no pickle of plain values."""


class PlainType:
    """Stands in for `numpy.dtype` in a pickle: whole numbers of a known width, or texts and numbers as objects."""

    def __init__(self, name: str, align: object = False, copy: object = True) -> None:
        if name not in (*NUMBERS, *OBJECTS):
            raise pickle.UnpicklingError(f"it asks for an array of {str(name)[:20]!r}, which are no whole numbers")
        self.name, self.order = name, "="

    def __setstate__(self, state: Any) -> None:
        """Take the byte order, and refuse types with parts."""
        order, parts = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in parts):
            raise pickle.UnpicklingError("it asks for an array of records, which no labels need")
        self.order = order


class PlainArray:
    """Stands in for `numpy.ndarray` in a pickle: filled from bytes, never by NumPy's own reader."""

    array: np.ndarray

    def __setstate__(self, state: Any) -> None:
        """Make the array from (version, shape, type, column order, bytes)."""
        _, shape, kind, columns_first, content = state
        if not isinstance(kind, PlainType) or not all(type(size) is int and size >= 0 for size in shape):
            raise pickle.UnpicklingError("it asks for an array of unknown make")
        if kind.name in OBJECTS:
            if type(content) is not list or any(type(part) not in CELLS for part in content):
                raise pickle.UnpicklingError("it asks for an array of objects that are no texts or numbers")
            if len(content) != math.prod(shape) or len(shape) != 1:
                raise pickle.UnpicklingError(f"an array of shape {list(shape)} has {len(content)} objects")
            self.array = np.empty(len(content), dtype=object)
            self.array[:] = content
            return
        content = content.encode("latin1") if isinstance(content, str) else bytes(content)
        dtype = np.dtype(kind.order.replace("|", "=") + kind.name)
        if len(content) != math.prod(shape) * dtype.itemsize:
            raise pickle.UnpicklingError(f"an array of shape {list(shape)} has {len(content)} bytes")
        flat = np.frombuffer(content, dtype=dtype).astype(dtype.newbyteorder("="))
        self.array = flat.reshape(shape, order="F" if columns_first else "C")


CELLS = (str, bytes, int, float, bool, type(None))
"""What an array of objects may hold."""


def reconstruct(kind: type[PlainArray], shape: object, code: object) -> PlainArray:
    """Stands in for NumPy's maker of empty arrays."""
    if kind is not PlainArray:
        raise pickle.UnpicklingError("it asks for an array of unknown make")
    return PlainArray()


CONSTRUCTORS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): reconstruct,
    ("numpy", "ndarray"): PlainArray,
    ("numpy", "dtype"): PlainType,
}


class Arrays(pickle.Unpickler):
    """An unpickler that knows the names of NumPy's array constructors and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in; raise for every name that has none."""
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
        if not isinstance(value, dict):
            raise pickle.UnpicklingError(f"it holds a {type(value).__name__}; expected CIFAR's dict of data and labels")
        return {str(name): part.array if isinstance(part, PlainArray) else part for name, part in value.items()}
    except UNREADABLE as error:
        raise InputError(f"data: {path} can't be read as a CIFAR batch ({first_sentence(error)})") from error


def read_file(path: Path, md5: str | None = None) -> bytes:
    """All bytes of a file of the official release.

    Raises:
        InputError: no such file, or another checksum.
    """
    try:
        content = read_bytes(path)
    except OSError as error:
        raise InputError(f"data: {path} can't be read ({reason(error)})") from error
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
            with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pickle protocols: what can't be read is told below
                value = plain_values(path)
            if not isinstance(value, dict):
                raise ValueError(f"it holds a {type(value).__name__}; expected a dict of arrays")
            return {str(name): as_array(part) for name, part in value.items()}
        return read_archive(path)
    except (*UNREADABLE, OSError, RuntimeError, zlib.error) as error:
        raise InputError(f"labels: {path} can't be read as arrays ({first_sentence(error)})") from error


def plain_values(path: Path) -> Any:
    """What a ``.pt`` file holds.

    Raises:
        ValueError: it is none, or asks for more than tensors, arrays and plain values.
    """
    try:
        with open_regular(path) as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:  # their advice is to read it unsafely
        raise ValueError("it is no torch file of tensors, arrays and plain values, and nothing else is read") from error


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name from a NumPy archive, each looked at before it is read.

    Raises:
        ValueError: it is none, holds objects, or an array that is not what its head says.
        OSError: it can't be read, or would take more than half of this machine's memory.
    """
    found = {}
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            sizes = {member.filename: size_of(archive, member) for member in archive.infolist()}
            require_memory(sum(sizes.values()), path)
            for name in sizes:
                with archive.open(name) as member:
                    found[name.removesuffix(".npy")] = read_array(member)
    except (*UNREADABLE, zlib.error, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise ValueError(first_sentence(error)) from error
    return found


def read_array(file: IO[bytes]) -> np.ndarray:
    """An array in NumPy's format: of numbers or texts, or of objects that are such.

    Raises:
        ValueError: it is none, or holds other objects.
    """
    content = io.BytesIO(file.read())
    if not head_of(content, objects=True)[1].hasobject:
        content.seek(0)
        read: np.ndarray = np.lib.format.read_array(content, allow_pickle=False)
        return read
    found = Arrays(content).load()
    if not isinstance(found, PlainArray):
        raise ValueError("it holds no array of texts or numbers")  # noqa: TRY004  # the file is wrong, not a type
    return found.array


def size_of(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Bytes of an array in an archive, as its head and its length both say.

    Raises:
        ValueError: they differ.
    """
    with archive.open(member) as file:
        shape, dtype, begins = head_of(file, objects=True)
    if dtype.hasobject:
        return member.file_size
    size = math.prod(shape) * dtype.itemsize
    if member.file_size != begins + size:
        raise ValueError(f"{member.filename} says that it is {dtype} {list(shape)}, but has {member.file_size:,} bytes")
    return size


def head_of(file: IO[bytes], objects: bool = False) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape and type of an array in NumPy's format, and how many bytes come before it.

    Raises:
        ValueError: it is none, of an absurd shape, or of objects where these are not asked for.
    """
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"it is written in version {version} of NumPy's format, which plain arrays do not need")
    shape, _, dtype = read[version](file)
    if dtype.hasobject and (not objects or dtype != np.dtype(object)):
        raise ValueError("it holds objects, which could run code; save numbers or strings")
    if any(type(length) is not int or length < 0 for length in shape):
        raise ValueError(f"its shape is {list(shape)}")
    return shape, dtype, file.tell()


def as_array(part: Any) -> np.ndarray:
    """What a ``.pt`` file holds as an array."""
    if isinstance(part, PlainArray):
        return part.array
    if isinstance(part, torch.Tensor):
        found: np.ndarray = (
            part.detach().cpu().long().numpy() if not part.is_floating_point() else part.detach().double().numpy()
        )
        return found
    return np.asarray(part)


def first_sentence(error: BaseException) -> str:
    """The start of a message that may have many lines."""
    return " ".join(str(error).split())[:160] or type(error).__name__
