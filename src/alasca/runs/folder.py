"""A run is a folder.

``run.json`` (recipe, place, versions, digests), ``metrics.jsonl`` (a line an epoch), ``checkpoint/`` (the last two),
``labels.safetensors`` (given labels, transition counts), and at the end ``model.safetensors`` and ``model.json``,
``network/`` (configuration and tokenizer of one of transformers), ``samples.csv``, ``pictures.safetensors`` or
``excerpts.json`` (the most suspicious ones) and ``done.json``.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from alasca.checkpoint import read_json, read_tensors, write_bytes, write_json, write_tensors
from alasca.errors import InputError
from alasca.recipe import Recipe
from alasca.runs.records import Records

Json = dict[str, Any]
FORMAT = 1
"""What all files of a folder follow; run.json, model.json and done.json say it."""
BEGINNINGS = {"labels.safetensors", ".labels.safetensors.tmp", "metrics.jsonl", ".metrics.jsonl.tmp", ".run.json.tmp"}
"""What a folder holds before it is a run."""


@dataclass(frozen=True)
class RunFolder:
    """Where one run keeps its files."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """A new run folder; one that a kill left before it was a run begins anew.

        Raises:
            InputError: something is there already; a run is never overwritten.
        """
        if path.is_dir() and begun(path):
            for entry in path.iterdir():
                entry.unlink()
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            hint = "it is not empty"
            if (path / "done.json").exists():
                hint = f"a finished run; look at it with: alasca report {path}"
            elif (path / "run.json").exists():
                hint = f"continue it with: alasca resume {path}"
            raise InputError(f"out: {path} exists already ({hint}); choose another folder")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"out: {path} can't be made ({error.strerror})") from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run folder.

        Raises:
            InputError: there is none.
        """
        if not (path / "run.json").is_file():
            raise InputError(f"run: {path} is no run folder (it has no run.json)")
        return cls(path)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoint"

    @property
    def network(self) -> Path:
        """Folder of a network's configuration and tokenizer, where another library makes it from such."""
        return self.path / "network"

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return (self.path / "done.json").is_file()

    def write_settings(self, value: Json) -> None:
        """Write run.json."""
        write_json(self.path / "run.json", value)

    def settings(self) -> Json:
        """run.json."""
        return of_this_format(self.path / "run.json")

    def write_labels(self, labels: Tensor, transitions: Tensor | None = None) -> None:
        """Keep the given labels and, where the truth is known, how many of true class i are labelled j ``[K, K]``."""
        known = {} if transitions is None else {"transitions": transitions}
        write_tensors(self.path / "labels.safetensors", {"given": labels, **known})

    def recipe(self) -> Recipe:
        """The recipe that the run follows, nothing in it left open."""
        found = self.settings().get("recipe")
        if not isinstance(found, dict):
            raise InputError(f"{self.path / 'run.json'} has no recipe; it was not written by this version")
        return Recipe.from_json(found)

    def write_excerpts(self, texts: dict[int, str]) -> None:
        """Keep the beginnings of some texts, by row of samples.csv."""
        write_json(self.path / "excerpts.json", {str(row): text for row, text in texts.items()})

    def excerpts(self) -> dict[int, str]:
        """Beginnings of texts by row of samples.csv; empty where the run kept none."""
        path = self.path / "excerpts.json"
        return {int(row): str(text) for row, text in expect_dict(path).items()} if path.is_file() else {}

    def labels(self) -> Tensor:
        """The given labels that the run trains on."""
        return read_tensors(self.path / "labels.safetensors")["given"]

    def write_history(self, history: list[Json]) -> None:
        """Write metrics.jsonl anew: a line an epoch."""
        lines = "".join(json.dumps(record) + "\n" for record in history)
        write_bytes(self.path / "metrics.jsonl", lines.encode())

    def append_history(self, record: Json) -> None:
        """Add an epoch to metrics.jsonl."""
        with open(self.path / "metrics.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")

    def history(self) -> list[Json]:
        """metrics.jsonl, epoch by epoch."""
        path = self.path / "metrics.jsonl"
        try:
            records = [json.loads(line) for line in path.read_text().splitlines()]
        except (OSError, ValueError) as error:
            raise InputError(f"{path} can't be read as lines of JSON ({error})") from error
        if not all(isinstance(record, dict) for record in records):
            raise InputError(f"{path}: expected a JSON object on each line")
        return records

    def write_model(self, tensors: dict[str, Tensor], described: Json) -> None:
        """Keep the trained networks with their sub-classifiers, and all that it takes to predict with them."""
        write_tensors(self.path / "model.safetensors", tensors)
        write_json(self.path / "model.json", described)

    def model(self) -> tuple[dict[str, Tensor], Json]:
        """The trained networks and how they predict.

        Raises:
            InputError: the run has none yet.
        """
        if not (self.path / "model.json").is_file():
            raise InputError(f"run: {self.path} has no model yet; continue it with: alasca resume {self.path}")
        return read_tensors(self.path / "model.safetensors"), of_this_format(self.path / "model.json")

    def write_pictures(self, pictures: Tensor, rows: Tensor) -> None:
        """Keep the pictures ``[M, C, H, W]`` of some rows of samples.csv."""
        write_tensors(self.path / "pictures.safetensors", {"pictures": pictures, "rows": rows})

    def pictures(self) -> dict[int, np.ndarray]:
        """Pictures by row of samples.csv; empty where the run kept none."""
        path = self.path / "pictures.safetensors"
        if not path.is_file():
            return {}
        kept = read_tensors(path)
        return {int(row): picture.numpy() for row, picture in zip(kept["rows"], kept["pictures"], strict=True)}

    def write_done(self, value: Json) -> None:
        """Write done.json, the mark of a finished run."""
        write_json(self.path / "done.json", value)

    def done(self) -> Json:
        """done.json.

        Raises:
            InputError: the run has not ended.
        """
        if not self.finished:
            raise InputError(f"run: {self.path} has not ended; continue it with: alasca resume {self.path}")
        return of_this_format(self.path / "done.json")

    def write_records(self, records: Records) -> None:
        """Write samples.csv, one row a training sample."""
        text = io.StringIO()
        table = records.table()
        short = dict.fromkeys(
            table.select_dtypes("float64").columns, np.float32
        )  # as they were measured, short as text
        table.astype(short).to_csv(text, index=False, lineterminator="\n")
        write_bytes(self.path / "samples.csv", text.getvalue().encode())

    def records(self) -> Records:
        """samples.csv as arrays."""
        path = self.path / "samples.csv"
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} can't be read as CSV ({error})") from error
        classes = tuple(self.settings()["classes"])
        try:
            return Records.from_table(table, classes)
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}: {error}") from error


def begun(path: Path) -> bool:
    """Whether a folder holds only what a kill leaves before the first epoch; a file of somebody else's is kept."""
    found = {entry.name: entry for entry in path.iterdir()}
    history = found.get("metrics.jsonl")
    return found.keys() <= BEGINNINGS and (history is None or history.stat().st_size == 0)


def of_this_format(path: Path) -> Json:
    """A JSON object that this version's rules wrote.

    Raises:
        InputError: another's, or no JSON object.
    """
    value = expect_dict(path)
    if value.get("format") != FORMAT:
        raise InputError(f"{path}: format {value.get('format')}, expected {FORMAT}; it is another version's run")
    return value


def expect_dict(path: Path) -> Json:
    """A JSON object from a file."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object")
    return value
