"""A run is a folder.

``run.json`` (recipe, place, versions, digests), ``metrics.jsonl`` (a line an epoch), ``checkpoint/`` (the last two),
``claim/`` (who may write), ``history/`` (looks at some samples, where those are asked for), ``labels.safetensors``
(given labels, transition counts), and at the end ``model.safetensors`` and ``model.json``, ``network/`` (configuration
and tokenizer of one of transformers), ``samples.csv``, ``pictures.safetensors`` or ``excerpts.json`` (the most
suspicious ones) and ``done.json``, which holds the digests of all of them. JSON objects carry a digest of themselves;
what was changed by hand is refused.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alasca.errors import InputError
from alasca.files import (
    digest,
    left_over,
    open_regular,
    read_json,
    read_tensors,
    reason,
    write_bytes,
    write_json,
    write_sealed,
    write_tensors,
)  # fmt: skip
from alasca.recipe import Recipe
from alasca.runs.beginning import begin_anew, refuse_used
from alasca.runs.checkpoints import Mark, add, carry_over, newest
from alasca.runs.claim import Claim, claimed, ending
from alasca.runs.looks import SAMPLES, Seen, look_files, read_look, read_samples, require_all, write_look
from alasca.runs.reading import line_of, read_history, require_digest, sealed, tensor_of
from alasca.runs.records import Records
from alasca.runs.schemas import Described, Done, Figure, Settings
from alasca.values import conform

Json = dict[str, Any]


@dataclass(frozen=True)
class RunFolder:
    """Where one run keeps its files.

    Attributes:
        path: of the folder.
        claim: asked before anything is written; None: nobody else writes there.
        checkpoints, looked: folders of the checkpoints, and of the looks at some samples.
        network: folder of a network's configuration and tokenizer, where another library makes it from such.
    """

    path: Path
    claim: Claim | None = None

    checkpoints: Path = field(init=False)
    network: Path = field(init=False)
    looked: Path = field(init=False)

    def __post_init__(self) -> None:
        for name, folder in (("checkpoints", "checkpoint"), ("network", "network"), ("looked", "history")):
            object.__setattr__(self, name, self.path / folder)

    @classmethod
    @contextlib.contextmanager
    def create(cls, path: Path) -> Iterator[RunFolder]:
        """A new run folder, held for as long as the context; one that a kill left before it was a run begins anew.

        Raises:
            InputError: something is there already, or another process works there; a run is never overwritten.
        """
        refuse_used(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"out: {path} can't be made ({reason(error)})") from error
        with claimed(path) as claim:
            begin_anew(path)
            run = cls(path, claim)
            run.tidy()
            yield run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run folder, to read.

        Raises:
            InputError: there is none.
        """
        if not (path / "run.json").is_file():
            raise InputError(f"run: {path} is no run folder (it has no run.json)")
        return cls(path)

    @classmethod
    @contextlib.contextmanager
    def held(cls, path: Path) -> Iterator[RunFolder]:
        """An existing run folder, to go on with, held for as long as the context.

        Raises:
            InputError: there is none, or another process works there.
        """
        cls.open(path)
        for inside in (path / "checkpoint", path / "network", path / "history"):
            if inside.is_symlink():
                raise InputError(f"run: {inside} is a link, and a run writes into its own folder only; remove it")
        with claimed(path) as claim:
            run = cls(path, claim)
            run.tidy()
            yield run

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return os.path.lexists(self.path / "done.json")

    def tidy(self) -> None:
        """Remove what kills left of files that were being written."""
        for entry in self.path.iterdir():
            if left_over(entry.name) in {*ENDINGS, "run.json", "done.json"}:
                entry.unlink(missing_ok=True)

    def publishing(self) -> None:
        """Make sure that this process may write: see `Claim.require`."""
        if self.claim is not None:
            self.claim.require()

    def write_settings(self, value: Json) -> None:
        """Write run.json; the first time it gets the run's id."""
        self.publishing()
        self.__dict__.pop("mark", None)
        write_sealed(self.path / "run.json", {"run": uuid.uuid4().hex, **value})

    def settings(self) -> Settings:
        """run.json."""
        path = self.path / "run.json"
        found = cast(Settings, sealed(path, Settings))
        if Recipe.from_json(found["recipe"]).digest() != found["recipe_sha256"]:
            raise InputError(f"{path}: recipe is not the one of recipe_sha256; put the old file back")
        return found

    @functools.cached_property
    def mark(self) -> Mark:
        """What ties checkpoints to this run; empty where the folder is no run but only holds some."""
        if not (self.path / "run.json").is_file():
            return Mark()
        found = self.settings()
        return Mark(found["run"], found["recipe_sha256"], tuple(each["recipe_sha256"] for each in found["changes"]))

    def note(self, text: str) -> None:
        """Add a note to run.json, where there is one, unless it is there already."""
        if (self.path / "run.json").is_file() and text not in (found := self.settings())["notes"]:
            self.write_settings({**found, "notes": [*found["notes"], text]})

    def recipe(self) -> Recipe:
        """The recipe that the run follows, nothing in it left open."""
        return Recipe.from_json(self.settings()["recipe"])

    def write_checkpoint(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Add a checkpoint of this run and keep the last two."""
        self.publishing()
        add(self.checkpoints, tensors, values, self.mark)

    def read_checkpoint(self) -> tuple[dict[str, Tensor], Json] | None:
        """The newest whole checkpoint; see `newest`."""
        return newest(self.checkpoints, self.mark)

    def carry_over(self) -> None:
        """After a change of recipe, put the newest checkpoint under the new one; see `carry_over`."""
        self.publishing()
        carry_over(self.checkpoints, self.mark)

    def write_labels(self, labels: Tensor, transitions: Tensor | None = None) -> None:
        """Keep the given labels and, where the truth is known, how many of true class i are labelled j ``[K, K]``."""
        self.publishing()
        known = {} if transitions is None else {"transitions": transitions}
        write_tensors(self.path / "labels.safetensors", {"given": labels, **known})

    def labels(self) -> Tensor:
        """The given labels that the run trains on."""
        path = self.path / "labels.safetensors"
        return tensor_of(path, read_tensors(self._own(path)), "given", torch.int64, 1)

    def write_excerpts(self, texts: dict[int, str]) -> None:
        """Keep the beginnings of some texts, by row of samples.csv."""
        self.publishing()
        write_json(self.path / "excerpts.json", {str(row): text for row, text in texts.items()})

    def excerpts(self) -> dict[int, str]:
        """Beginnings of texts by row of samples.csv; empty where the run kept none."""
        path = self.path / "excerpts.json"
        if not self._has(path):
            return {}
        found = read_json(self._own(path))
        conform(found, dict[str, str], str(path))
        if odd := [row for row in found if not row.isdecimal()]:
            raise InputError(f"{path}: {odd[0]!r} is no row of samples.csv")
        return {int(row): text for row, text in found.items()}

    def write_history(self, history: list[Json]) -> None:
        """Write metrics.jsonl anew: a line an epoch."""
        self.publishing()
        write_bytes(self.path / "metrics.jsonl", b"".join(map(line_of, history)))

    def append_history(self, record: Json) -> None:
        """Add an epoch to metrics.jsonl."""
        self.publishing()
        with open(self.path / "metrics.jsonl", "ab") as file:
            file.write(line_of(record))

    def history(self) -> list[Json]:
        """metrics.jsonl, epoch by epoch."""
        return read_history(self._own(self.path / "metrics.jsonl"))

    def write_look(self, epoch: int, found: Mapping[str, Tensor], samples: Mapping[str, Tensor]) -> None:
        """Keep a look at some samples after an epoch."""
        self.publishing()
        write_look(self.looked, epoch, found, samples)

    def looks(self) -> Seen:
        """All looks at some samples; none where the run kept none (``history``); errors as `read_look`."""
        files = look_files(self.looked)
        if self.finished:
            require_all(self.looked, self.done()["files"])
        if not files:
            return Seen({}, {})
        samples = read_samples(self._own(self.looked / SAMPLES))
        return Seen(samples, {epoch: read_look(self._own(path), samples) for epoch, path in files.items()})

    def write_model(self, tensors: dict[str, Tensor], described: Json) -> None:
        """Keep the trained networks with their sub-classifiers, and all that it takes to predict with them."""
        self.publishing()
        write_tensors(self.path / "model.safetensors", tensors)
        whole = {**described, "run": self.mark.run, "tensors": digest(self.path / "model.safetensors")}
        write_sealed(self.path / "model.json", whole)

    def model(self) -> tuple[dict[str, Tensor], Described]:
        """The trained networks and how they predict.

        Raises:
            InputError: the run has none yet.
        """
        path = self.path / "model.json"
        if not self.finished:
            raise InputError(f"run: {self.path} has no model yet; {ending(self.path)}")
        described = cast(Described, sealed(path, Described))
        tensors = self.path / "model.safetensors"
        if described["run"] != self.settings()["run"]:
            raise InputError(f"{path} is another run's; put this run's own back")
        require_digest(tensors, described["tensors"], "model.json")
        for name in (name for name in self.done()["files"] if name.startswith("network/")):
            self._own(self.path / name)
        return read_tensors(tensors), described

    def write_pictures(self, pictures: Tensor, rows: Tensor) -> None:
        """Keep the pictures ``[M, C, H, W]`` of some rows of samples.csv."""
        self.publishing()
        write_tensors(self.path / "pictures.safetensors", {"pictures": pictures, "rows": rows})

    def pictures(self) -> dict[int, np.ndarray]:
        """Pictures by row of samples.csv; empty where the run kept none."""
        path = self.path / "pictures.safetensors"
        if not self._has(path):
            return {}
        kept = read_tensors(self._own(path))
        rows = tensor_of(path, kept, "rows", torch.int64, 1)
        pictures = tensor_of(path, kept, "pictures", torch.uint8, 4)
        if len(rows) != len(pictures):
            raise InputError(f"{path}: {len(pictures)} pictures for {len(rows)} rows")
        return {int(row): picture.numpy() for row, picture in zip(rows, pictures, strict=True)}

    def write_done(self, value: Json) -> None:
        """Write done.json, the mark of a finished run, with the digests of all that it ends with."""
        self.publishing()
        kept = [entry for entry in self.path.iterdir() if entry.is_file() and entry.name in ENDINGS]
        for inside in (self.network, self.looked):
            kept += [entry for entry in inside.glob("*") if entry.is_file()]
        files = {entry.relative_to(self.path).as_posix(): digest(entry) for entry in sorted(kept)}
        write_sealed(self.path / "done.json", {**value, "run": self.mark.run, "files": files})

    def done(self) -> Json:
        """done.json.

        Raises:
            InputError: the run has not ended.
        """
        path = self.path / "done.json"
        if not self.finished:
            raise InputError(f"run: {self.path} has not ended; {ending(self.path)}")
        found = sealed(path, Done, Figure)
        if found["run"] != self.settings()["run"]:
            raise InputError(f"{path} is another run's; put this run's own back")
        return found

    def reopen(self) -> None:
        """Make a finished run one that goes on."""
        self.publishing()
        (self.path / "done.json").unlink(missing_ok=True)

    def write_records(self, records: Records) -> None:
        """Write samples.csv, one row a training sample."""
        self.publishing()
        text = io.StringIO()
        table = records.table()
        short = dict.fromkeys(table.select_dtypes("float64").columns, np.float32)  # as measured, short as text
        table.astype(short).to_csv(text, index=False, lineterminator="\n")
        write_bytes(self.path / "samples.csv", text.getvalue().encode())

    def records(self) -> Records:
        """samples.csv as arrays."""
        path = self.path / "samples.csv"
        try:
            with open_regular(self._own(path)) as file:
                table = pd.read_csv(file, dtype=str, keep_default_na=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} can't be read as CSV ({reason(error)})") from error
        try:
            return Records.from_table(table, tuple(self.settings()["classes"]))
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error

    def _has(self, path: Path) -> bool:
        """Whether a run has a file that not all have: a finished one says so itself."""
        return path.name in self.done()["files"] if self.finished else path.is_file()

    def _own(self, path: Path) -> Path:
        """The path of a file; of a finished run only what that run wrote."""
        if self.finished:
            files, name = self.done()["files"], path.relative_to(self.path).as_posix()
            if name not in files:
                raise InputError(f"{path} is no file of this run (done.json does not name it)")
            require_digest(path, files[name], "done.json")
        return path


ENDINGS = {"labels.safetensors", "metrics.jsonl", "model.safetensors", "model.json", "samples.csv",
           "pictures.safetensors", "excerpts.json"}  # fmt: skip
"""Files whose digests a finished run keeps."""
