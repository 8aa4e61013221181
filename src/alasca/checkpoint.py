"""Checkpoints: tensors, values and their digests in a folder, written whole or not at all, the last two kept."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from alasca.errors import InputError
from alasca.files import digest, numbered, read_json, read_tensors, sync, write_json, write_tensors

TENSORS, VALUES, MANIFEST = "tensors.safetensors", "values.json", "manifest.json"
KEPT = 2


def save(folder: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> Path:
    """Add a checkpoint to `folder` and keep the last two.

    Written into a temporary folder, synced, then renamed, so that a kill at any moment leaves whole ones only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for entry in folder.glob(".*.tmp"):
        shutil.rmtree(entry, ignore_errors=True)
    number = max(numbered(folder), default=0) + 1
    temporary = folder / f".{number:08d}.tmp"
    temporary.mkdir()
    write_tensors(temporary / TENSORS, tensors)
    write_json(temporary / VALUES, values)
    write_json(temporary / MANIFEST, {name: digest(temporary / name) for name in (TENSORS, VALUES)})
    sync(temporary)
    final = folder / f"{number:08d}"
    os.rename(temporary, final)
    sync(folder)
    for old in numbered(folder)[KEPT:]:
        shutil.rmtree(folder / f"{old:08d}", ignore_errors=True)
    return final


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The newest whole checkpoint in `folder`; a damaged one is named in a warning and the one before is used.

    Raises:
        InputError: there is none that is whole.
    """
    kept = numbered(folder)
    for number in kept:
        entry = folder / f"{number:08d}"
        try:
            return read(entry)
        except (InputError, OSError) as error:
            more = "; using the one before" if number != kept[-1] else ""
            warnings.warn(f"checkpoint {entry.name} is damaged ({error}){more}", stacklevel=2)
    raise InputError(f"{folder} holds no whole checkpoint" + (f" (damaged: {len(kept)})" if kept else ""))


def read_values(entry: Path) -> dict[str, Any]:
    """The values of one checkpoint that nobody has changed; {} where they are damaged."""
    try:
        values = read_json(entry / VALUES)
    except InputError:
        return {}
    return values if isinstance(values, dict) else {}


def read(entry: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """One checkpoint.

    Raises:
        InputError, OSError: it is damaged.
    """
    manifest = read_json(entry / MANIFEST)
    for name in (TENSORS, VALUES):
        if not isinstance(manifest, dict) or manifest.get(name) != digest(entry / name):
            raise InputError(f"{entry / name} is damaged: its digest is not the one in {MANIFEST}")
    values = read_json(entry / VALUES)
    if not isinstance(values, dict):
        raise InputError(f"{entry / VALUES}: expected a JSON object")
    return read_tensors(entry / TENSORS), values
