"""Checkpoints: safetensors, JSON and digests, written whole or not at all. Nothing here can execute what it reads."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from alasca.errors import InputError

TENSORS, VALUES, MANIFEST = "tensors.safetensors", "values.json", "manifest.json"
KEPT = 2


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        InputError: no such file, or not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} can't be read as JSON ({error})") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, temporary)
    sync(temporary)
    os.replace(temporary, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read tensors.

    Raises:
        InputError: no such file, or not safetensors.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} can't be read as safetensors ({error})") from error


def sync(path: Path) -> None:
    """Make sure that a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(path: Path) -> str:
    """sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(folder: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Path:
    """Add a checkpoint to `folder` and keep the last two.

    Written into a temporary folder, synced, then renamed, so that a kill at any moment leaves whole ones only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = max(numbers(folder), default=0) + 1
    temporary = folder / f".{number:08d}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    write_tensors(temporary / TENSORS, tensors)
    write_json(temporary / VALUES, values)
    write_json(temporary / MANIFEST, {name: digest(temporary / name) for name in (TENSORS, VALUES)})
    sync(temporary)
    final = folder / f"{number:08d}"
    os.rename(temporary, final)
    sync(folder)
    for entry in folder.iterdir():
        old = entry.name.isdigit() and int(entry.name) <= number - KEPT
        if old or (entry.name.endswith(".tmp") and entry != temporary):
            shutil.rmtree(entry, ignore_errors=True)
    return final


def numbers(folder: Path) -> list[int]:
    """Numbers of the checkpoints in `folder`, the newest first."""
    return sorted((int(entry.name) for entry in folder.glob("*") if entry.name.isdigit()), reverse=True)


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The newest whole checkpoint in `folder`; a damaged one is named in a warning and the one before is used.

    Raises:
        InputError: there is none that is whole.
    """
    kept = numbers(folder)
    for number in kept:
        entry = folder / f"{number:08d}"
        try:
            manifest = read_json(entry / MANIFEST)
            for name in (TENSORS, VALUES):
                if not isinstance(manifest, dict) or manifest.get(name) != digest(entry / name):
                    raise InputError(f"{entry / name} is damaged: its digest is not the one in {MANIFEST}")
            return read_tensors(entry / TENSORS), read_json(entry / VALUES)
        except (InputError, OSError) as error:
            warnings.warn(f"checkpoint {entry.name} is damaged ({error}); using the one before", stacklevel=2)
    raise InputError(f"{folder} holds no whole checkpoint" + (f" (damaged: {len(kept)})" if kept else ""))
