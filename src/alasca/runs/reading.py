"""How a run's files are read: nothing in them is taken on trust, and what is wrong is one line with file and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alasca.errors import InputError
from alasca.files import SEAL, digest, parse_json, read_bytes, read_json, reason, seal_of
from alasca.runs.schemas import Figure, Record
from alasca.values import conform

FORMAT = 4
"""What all files of a folder follow; run.json, model.json and done.json say it."""


def sealed(path: Path, schema: type, rest: Any = None) -> dict[str, Any]:
    """A JSON object that this version's rules wrote and nobody has changed since.

    Raises:
        InputError: another's, changed by hand, or no such object; the message names the field.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object")
    if value.get("format") != FORMAT:
        raise InputError(f"{path}: format {value.get('format')!r}, expected {FORMAT}; it is another version's run")
    conform(value, schema, str(path), rest)
    if value[SEAL] != seal_of(value):
        raise InputError(
            f"{path} was changed after it was written; put the old one back (what may change: alasca resume -h)"
        )
    return value


def check_history(records: Any, where: str, unit: str) -> None:
    """Raise `InputError` unless these are the records of epochs 0, 1, ...; `unit` is what one of them is called."""
    conform(records, list[Any], where)
    for k, record in enumerate(records):
        conform(record, Record, f"{where} {unit} {k + 1}", Figure)
        if record["epoch"] != k:
            raise InputError(f"{where} {unit} {k + 1}: epoch {record['epoch']}, expected {k}")


def read_history(path: Path) -> list[dict[str, Any]]:
    """The records of metrics.jsonl, epoch by epoch; errors as `check_history`."""
    found: list[dict[str, Any]] = []
    try:
        lines = read_bytes(path).decode().splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read ({reason(error)})") from error
    for number, line in enumerate(lines, 1):
        try:
            found.append(parse_json(line))
        except ValueError as error:
            raise InputError(f"{path} line {number} is no JSON ({reason(error)})") from error
    check_history(found, str(path), "line")
    return found


def line_of(record: dict[str, Any]) -> bytes:
    """A line of metrics.jsonl."""
    return (json.dumps(record, allow_nan=False) + "\n").encode()


def require_digest(path: Path, expected: str, source: str) -> None:
    """Raise `InputError` unless a file is the one whose digest was written down."""
    try:
        found = digest(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path} can't be read ({reason(error)})") from error
    if found != expected:
        raise InputError(f"{path} was changed after it was written: its digest is not the one in {source}")


def tensor_of(path: Path, tensors: dict[str, Tensor], name: str, dtype: torch.dtype, dim: int) -> Tensor:
    """A tensor of a file, of the type and number of axes that it must have."""
    found = tensors.get(name)
    if found is None or found.dtype != dtype or found.dim() != dim:
        have = "none" if found is None else f"{found.dtype} {list(found.shape)}"
        raise InputError(f"{path}: {name} is {have}, expected {dtype} of {dim} axes")
    return found
