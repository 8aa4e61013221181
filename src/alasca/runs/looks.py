"""Looks at some samples of a run: a file an epoch that was looked at, and one that says which samples they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from alasca.errors import InputError
from alasca.files import read_tensors, write_tensors
from alasca.runs.reading import tensor_of

SAMPLES = "samples.safetensors"


class Seen(NamedTuple):
    """What a run looked at, and what it saw.

    Attributes:
        samples: ``rows``, ``given`` and ``true`` labels ``[M]`` (-1: not known), ``test_true`` ``[T]``.
        looks: by epoch; see `alasca.engine.looks`.
    """

    samples: Mapping[str, Tensor]
    looks: Mapping[int, Mapping[str, Tensor]]


def write_look(folder: Path, epoch: int, found: Mapping[str, Tensor], samples: Mapping[str, Tensor]) -> None:
    """Keep a look; the first one writes down its samples too."""
    folder.mkdir(exist_ok=True)
    for entry in folder.glob(".*.tmp"):
        entry.unlink(missing_ok=True)
    if not (folder / SAMPLES).is_file():
        write_tensors(folder / SAMPLES, samples)
    write_tensors(folder / f"{epoch:08d}.safetensors", found)


def look_files(folder: Path) -> dict[int, Path]:
    """The files of looks by epoch, the first one first."""
    names = (entry.name.removesuffix(".safetensors") for entry in folder.glob("[0-9]*.safetensors"))
    epochs = sorted(int(name) for name in names if name.isascii() and name.isdecimal() and len(name) == 8)
    return {epoch: folder / f"{epoch:08d}.safetensors" for epoch in epochs}


def require_all(folder: Path, files: Iterable[str]) -> None:
    """Raise `InputError` unless all looks are there that a finished run names, as ``history/NAME``."""
    for name in (name for name in files if name.startswith(f"{folder.name}/")):
        if not (folder.parent / name).is_file():
            raise InputError(f"{folder.parent / name} is not there; done.json says that the run kept it: put it back")


def read_look(path: Path, samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One look.

    Raises:
        InputError: it is not there, is none, or is one of other samples.
    """
    found = read_tensors(path)
    tensor_of(path, found, "confidence", torch.float32, 2)
    for name, value in found.items():
        rows = samples.get("test_true" if name.startswith("test_") else "rows")
        if rows is None or value.shape[-1:] != rows.shape:
            raise InputError(f"{path}: {name} is {list(value.shape)}, and is not of the run's samples")
    return found


def read_samples(path: Path) -> dict[str, Tensor]:
    """Which samples a run looked at; errors as `read_look`."""
    found = read_tensors(path)
    rows = tensor_of(path, found, "rows", torch.int64, 1)
    for name in ("given", "true"):
        if tensor_of(path, found, name, torch.int64, 1).shape != rows.shape:
            raise InputError(f"{path}: {name} is not of the same samples as rows")
    return found
