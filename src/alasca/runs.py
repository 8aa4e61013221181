"""A run is a folder. Records are the per-sample arrays that audits and reports read, whatever they come from.

``run.json`` (settings, versions, digests), ``metrics.jsonl`` (a line an epoch), ``checkpoint/`` (the last two),
``labels.safetensors`` (given labels, transition counts), ``words.json`` (vocabulary of texts), and at the end
``model.safetensors``, ``samples.csv``, ``pictures.safetensors`` or ``excerpts.json`` (the most suspicious ones) and
``done.json``.
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
from alasca.core import InputError

Json = dict[str, Any]


@dataclass(frozen=True)
class RunFolder:
    """Where one run keeps its files."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """A new run folder.

        Raises:
            InputError: something is there already; a run is never overwritten.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            hint = f"continue it with: alasca resume {path}" if (path / "run.json").exists() else "it is not empty"
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
    def finished(self) -> bool:
        """Whether the run has ended."""
        return (self.path / "done.json").is_file()

    def write_settings(self, value: Json) -> None:
        """Write run.json."""
        write_json(self.path / "run.json", value)

    def settings(self) -> Json:
        """run.json."""
        return expect_dict(self.path / "run.json")

    def write_labels(self, labels: Tensor, transitions: Tensor | None = None) -> None:
        """Keep the given labels and, where the truth is known, how many of true class i are labelled j ``[K, K]``."""
        known = {} if transitions is None else {"transitions": transitions}
        write_tensors(self.path / "labels.safetensors", {"given": labels, **known})

    def write_words(self, words: tuple[str, ...]) -> None:
        """Keep the vocabulary of texts: word k is token k + 2."""
        write_json(self.path / "words.json", list(words))

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

    def write_model(self, tensors: dict[str, Tensor]) -> None:
        """Keep the trained networks."""
        write_tensors(self.path / "model.safetensors", tensors)

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
        return expect_dict(self.path / "done.json")

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


def expect_dict(path: Path) -> Json:
    """A JSON object from a file."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object")
    return value


@dataclass(frozen=True)
class Records:
    """What training saw of each sample: ``[N]`` arrays in the order of the training set.

    Attributes:
        ids: stable names.
        classes: class names; labels are positions in them.
        given: given labels.
        predicted: the trained network's prediction on the plain sample.
        suggested: the label to put in the given one's place; equal to it where there is no issue.
        issue: whether the given label is taken for wrong.
        quality: mean probability of the given label over training visits, 0 (surely wrong) to 1; NaN where the sample
            could not be read.
        margin: mean logit of the given label less the largest other, over training visits.
        differing: share of training visits whose prediction was not the given label.
        visits: training visits.
        confidence: gamma of the averaged logits in the given label (ALASCA), or None.
        selected: share of the networks that learned from the sample's label in the last epoch, or None.
        clean: the method's probability that the given label is right, or None.
        true: true labels where they are known, else None. For evaluation only.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    given: np.ndarray
    predicted: np.ndarray
    suggested: np.ndarray
    issue: np.ndarray
    quality: np.ndarray
    margin: np.ndarray
    differing: np.ndarray
    visits: np.ndarray
    confidence: np.ndarray | None = None
    selected: np.ndarray | None = None
    clean: np.ndarray | None = None
    true: np.ndarray | None = None

    def ranking(self) -> np.ndarray:
        """Rows from the most suspicious to the least; ties in the order of the training set."""
        return np.argsort(self.quality, kind="stable")

    def table(self) -> pd.DataFrame:
        """As a table: cleanlab's four columns first, then ours; labels as class names."""
        names = np.array(self.classes, dtype=object)
        columns: dict[str, Any] = {
            "is_label_issue": self.issue,
            "label_quality": self.quality,
            "given_label": names[self.given],
            "predicted_label": names[self.predicted],
            "id": list(self.ids),
            "suggested_label": names[self.suggested],
            "mean_margin": self.margin,
            "differing_share": self.differing,
            "visits": self.visits,
        }
        if self.confidence is not None:
            columns["ema_confidence"] = self.confidence
        if self.selected is not None:
            columns["selected"] = self.selected
        if self.clean is not None:
            columns["clean_probability"] = self.clean
        if self.true is not None:
            columns["true_label"] = names[self.true]
        return pd.DataFrame(columns)

    @classmethod
    def from_table(cls, table: pd.DataFrame, classes: tuple[str, ...]) -> Records:
        """The inverse of `table`, from columns of text.

        Raises:
            KeyError: a column is missing, or a label is no class.
            ValueError: a number is none.
        """
        position = {name: k for k, name in enumerate(classes)}

        def labels(column: str) -> np.ndarray:
            return np.array([position[name] for name in table[column]], dtype=np.int64)

        def floats(column: str) -> np.ndarray:
            return np.asarray(pd.to_numeric(table[column]), dtype=np.float64)  # an empty cell is no number: NaN

        def optional(column: str) -> np.ndarray | None:
            return floats(column) if column in table else None

        return cls(
            tuple(table["id"]), classes, labels("given_label"), labels("predicted_label"), labels("suggested_label"),
            (table["is_label_issue"] == "True").to_numpy(), floats("label_quality"), floats("mean_margin"),
            floats("differing_share"), np.asarray(table["visits"], dtype=np.int64),
            optional("ema_confidence"), optional("selected"), optional("clean_probability"),
            labels("true_label") if "true_label" in table else None,
        )  # fmt: skip
