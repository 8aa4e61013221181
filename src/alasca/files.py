"""Files that are written whole or not at all, and read so that nothing in them executes, hangs or is taken on trust."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import re
import secrets
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from alasca.errors import InputError

if TYPE_CHECKING:  # torch takes seconds, and most of what is read here are no tensors
    from torch import Tensor

SEAL = "sha256"
"""Where a sealed JSON object holds the digest of the rest of it."""


def open_regular(path: str | Path) -> io.BufferedReader:
    """Open a file to read; never a pipe, a device or a folder, which could keep whoever reads them for ever.

    Raises:
        OSError: there is none, or it is no regular file.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "it is no regular file", str(path))
    return open(handle, "rb")


def read_bytes(path: Path) -> bytes:
    """All that a regular file holds; errors as `open_regular`, or that it is too large to be held."""
    with open_regular(path) as file:
        require_memory(os.fstat(file.fileno()).st_size, path)
        return file.read()


def read_gzip(path: Path) -> bytes:
    """What a gzip file holds, unpacked; errors as `open_regular`, or that it is none, or too large to be held."""
    parts: list[bytes] = []
    with open_regular(path) as file, gzip.open(file) as unpacked:
        try:
            while part := unpacked.read(1 << 24):
                parts.append(part)
                require_memory(sum(map(len, parts)), path)
        except (EOFError, zlib.error) as error:
            raise OSError(errno.EIO, f"it is no whole gzip file ({error})", str(path)) from error
    return b"".join(parts)


def require_memory(size: int, path: Path) -> None:
    """Raise `OSError` for what would take more than half of this machine's memory, before it is read."""
    if size > psutil.virtual_memory().total // 2:
        raise OSError(
            errno.EFBIG, f"it would take {size / 1e9:,.1f} GB, more than half of this machine's memory", str(path)
        )


def new_file(path: Path) -> tuple[int, Path]:
    """A file to write to, beside the one whose place it will take, of a name that nobody can guess; and where it is."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.open(temporary, flags, 0o666), temporary


def put(temporary: Path, path: Path) -> None:
    """Give a written file its name, for good."""
    os.replace(temporary, path)
    sync(path.parent)


def left_over(name: str) -> str | None:
    """Whose place a file was to take that a kill left, by its name; None for others.

    The library of safetensors has names of its own, which do not say whose place it is.

    >>> left_over(".run.json.0a1b2c3d.tmp"), left_over(".tmpVm36uy"), left_over("run.json"), left_over(".tmp")
    ('run.json', 'labels.safetensors', None, None)
    """
    if re.fullmatch(r"\.tmp[0-9A-Za-z]{6}", name):
        return "labels.safetensors"
    found = re.fullmatch(r"\.(.+)\.[0-9a-f]{8}\.tmp", name)
    return None if found is None else found[1]


def numbered(folder: Path) -> list[int]:
    """Numbers that entries of a folder have for names, of eight digits or more, the largest first."""
    names = (entry.name for entry in folder.glob("[0-9]*"))
    plain = (int(name) for name in names if name.isascii() and name.isdecimal() and len(name) < 19)
    return sorted((number for number in plain if os.path.lexists(folder / f"{number:08d}")), reverse=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one, never a part."""
    handle, temporary = new_file(path)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        put(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        error.filename, error.filename2 = str(path), None  # what was to be written, not the name beside it
        raise


def make_folder(path: Path, setting: str = "out") -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        InputError: it can't be made, or is no folder; `setting` is what names it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{setting}: {path} can't be made ({reason(error)}); expected a folder") from error


def json_bytes(value: Any) -> bytes:
    """JSON for people. What is not finite is no JSON.

    Raises:
        ValueError: a number in it is not finite.
    """
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    write_bytes(path, json_bytes(value))


def parse_json(content: bytes | str) -> Any:
    """A value from JSON.

    Raises:
        ValueError: it is none, holds NaN or infinity, or is nested too deep.
    """

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is no number")

    try:
        return json.loads(content, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        InputError: no such file, or not JSON.
    """
    try:
        return parse_json(read_bytes(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} can't be read as JSON ({reason(error)})") from error


def seal_of(value: Mapping[str, Any]) -> str:
    """sha256 of a JSON object, its own seal left out."""
    rest = {name: part for name, part in value.items() if name != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object with a digest of itself, so that a change by hand is noticed."""
    content = json.loads(json_bytes(value))
    write_json(path, {**content, SEAL: seal_of(content)})


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors, whole or not at all.

    Raises:
        OSError: they can't be written; the library's own errors are told as such.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    handle, temporary = new_file(path)
    mode = stat.S_IMODE(os.fstat(handle).st_mode)
    os.close(handle)
    try:
        save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, temporary)
        os.chmod(temporary, mode)  # as any file of this person's, not the library's 0600
        sync(temporary)
        put(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        number = re.search(r"(?:code: |os error )(\d+)", str(error))
        if isinstance(error, OSError) or number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read tensors.

    Raises:
        InputError: no such file, or not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with open_regular(path) as file:
            require_memory(os.fstat(file.fileno()).st_size, path)
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} can't be read as safetensors ({reason(error)})") from error


def sync(path: Path) -> None:
    """Make sure that a file or folder is on the disk, where the system can say so of a folder."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(path: Path) -> str:
    """sha256 of a file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reason(error: BaseException) -> str:
    """Why something could not be read or written, in a few words.

    >>> reason(FileNotFoundError(2, "No such file or directory", "a.csv"))
    'No such file or directory'
    """
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__
