"""What is left of a finished cell: one small file, written whole or not at all; and tables compiled from such."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, cast

import torch

from alasca import __version__
from alasca.data import Split
from alasca.engine import Fitted
from alasca.errors import InputError
from alasca.files import write_bytes, write_sealed
from alasca.paper.catalogue import Cell
from alasca.paper.dynamics import dynamics
from alasca.recipe import Recipe
from alasca.runs import FORMAT, RunFolder, sealed
from alasca.training import Prepared, outcome

KEPT = (
    "test_accuracy", "test_accuracy_main", "test_accuracy_average", "test_accuracy_all", "test_accuracy_sub",
    "val_accuracy", "val_accuracy_main", "train_accuracy", "memorised", "selected", "selection_precision",
    "selection_recall", "selection_f1", "clean_auroc",
)  # fmt: skip
"""Figures of every epoch that are kept."""


class Outcome(TypedDict):
    """A cell's file. `epochs` are figures by epoch, `looks` those of `dynamics`; `failed` says why there are none."""

    format: int
    alasca: str
    id: str
    name: str
    when: str
    recipe: dict[str, Any]
    eager: bool
    eager_because: str | None
    machine: dict[str, Any]
    arithmetic: dict[str, Any]
    card_bytes: int | None
    peak_bytes: int | None
    checkpoint_bytes: int
    seconds: float
    wall: float
    data_sha256: str
    noise_rate: float | None
    failed: str | None
    figures: dict[str, Any]
    epochs: dict[str, list[Any]]
    looks: list[dict[str, Any]]
    sha256: str


def cells_in(folder: Path) -> Path:
    """Where finished cells lie."""
    return folder / "cells"


def file_of(folder: Path, cell: str) -> Path:
    """A cell's file, by its id."""
    return cells_in(folder) / f"{cell}.json"


def write_outcome(
    folder: Path, cell: Cell, prepared: Prepared, fitted: Fitted, split: Split, run: RunFolder, wall: float,
    at_once: bool = True,
) -> None:  # fmt: skip
    """Keep what a cell ended with.

    Args:
        folder: of all cells.
        cell, prepared, fitted, split: what was run, and what it ended with.
        run: its run folder.
        wall: seconds that the whole of it takes, evaluation and all.
        at_once: nothing of it was trained by an earlier process, whose memory nobody knows.
    """
    device = split.samples.labels.device
    cuda = device.type == "cuda"
    history = fitted.history
    epochs = {
        name: [None if record.get(name) is None else round(record[name], 3) for record in history]
        for name in KEPT if any(name in record for record in history)
    }  # fmt: skip
    settings, seconds = run.settings(), sum(record["seconds"] for record in history)
    write(folder, cell, settings, {
        "card_bytes": torch.cuda.get_device_properties(device).total_memory if cuda else None,
        "peak_bytes": torch.cuda.max_memory_allocated(device) if cuda and at_once else None,
        "checkpoint_bytes": prepared.checkpoint_bytes,
        "seconds": round(seconds, 2), "wall": round(max(wall, seconds), 2),
        "noise_rate": split.noise_rate, "failed": None,
        "figures": outcome(fitted, split) | last_epochs(history), "epochs": epochs, "looks": dynamics(run.looks()),
    })  # fmt: skip


def write_failure(folder: Path, cell: Cell, run: RunFolder, why: str, wall: float) -> None:
    """Keep that a cell can't be trained to its end: its loss left the numbers, as it will again."""
    write(folder, cell, run.settings(), {
        "card_bytes": None, "peak_bytes": None, "checkpoint_bytes": 0, "seconds": 0.0, "wall": round(wall, 2),
        "noise_rate": run.settings()["noise_rate"], "failed": why, "figures": {}, "epochs": {}, "looks": [],
    })  # fmt: skip


def write(folder: Path, cell: Cell, settings: Mapping[str, Any], rest: Mapping[str, Any]) -> None:
    """Write a cell's file."""
    cells_in(folder).mkdir(parents=True, exist_ok=True)
    write_sealed(file_of(folder, cell.id), {
        "format": FORMAT, "alasca": __version__, "id": cell.id, "name": cell.name,
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "recipe": cell.recipe.as_json(), "eager": cell.experiment.eager,
        "eager_because": settings.get("eager_because"), "data_sha256": settings["data_sha256"],
        "machine": dict(settings["machine"]), "arithmetic": settings.get("arithmetic", {}), **rest,
    })  # fmt: skip


def last_epochs(history: Sequence[Mapping[str, Any]], count: int = 20) -> dict[str, float]:
    """Mean test accuracy of the last epochs, as the authors' code reports it, and that of the best epoch on the test
    set, for columns that are called so; of the last stage, where there are several."""
    history = [record for record in history if record["stage"] == history[-1]["stage"]]
    found: dict[str, float] = {}
    for kind in ("test_accuracy", "test_accuracy_main", "test_accuracy_average", "test_accuracy_all"):
        values = [record[kind] for record in history if record.get(kind) is not None]
        if values:
            found |= {f"{kind}_last{count}": statistics.fmean(values[-count:]), f"{kind}_best": max(values)}
    chosen = [record["val_accuracy"] for record in history if record.get("val_accuracy") is not None]
    if len(chosen) == len(history):
        at = chosen.index(max(chosen))
        for kind in ("test_accuracy", "test_accuracy_main"):
            if history[at].get(kind) is not None:
                found[f"{kind}_chosen"] = history[at][kind]
    return found


def finished(folder: Path) -> set[str]:
    """Ids of the cells that are done."""
    return {path.stem for path in cells_in(folder).glob("*.json") if not path.name.startswith(".")}


def read_outcome(path: Path) -> Outcome:
    """One cell's file.

    Raises:
        InputError: it can't be read, was changed by hand, or is another version's.
    """
    try:
        found = cast(Outcome, sealed(path, Outcome))
        Recipe.from_json(found["recipe"])
    except InputError as error:
        said = str(error).partition("; ")[0]
        raise InputError(f"{said}; remove that file, and the same command trains its cell anew") from error
    if found["id"] != path.stem:
        raise InputError(f"{path} is the file of cell {found['id']}; give it its own name back")
    return found


def read_outcomes(folder: Path) -> dict[str, Outcome]:
    """All finished cells by id.

    Raises:
        InputError: files can't be read, see `read_outcome`; all of them are named.
    """
    found, broken = {}, []
    for name in sorted(finished(folder)):
        try:
            found[name] = read_outcome(file_of(folder, name))
        except InputError as error:
            broken.append((name, str(error)))
    if broken:
        more = ", ".join(f"{name}.json" for name, _ in broken[1:])
        raise InputError(broken[0][1] + (f" (so it is with {more})" if more else ""))
    return found


def compile_table(folder: Path, name: str, cells: Iterable[Cell], outcomes: Mapping[str, Outcome]) -> Path:
    """Write ``NAME.jsonl``: a line for every finished cell of a table, without what is by epoch; none, no file."""
    lines = []
    for cell in cells:
        if cell.id in outcomes:
            found = {k: v for k, v in outcomes[cell.id].items() if k not in ("epochs", "looks", "sha256", "format")}
            lines.append(json.dumps({**found, "name": cell.name, "seed": cell.seed}, sort_keys=True))
    path = folder / f"{name}.jsonl"
    if lines or path.exists():
        write_bytes(path, "".join(f"{line}\n" for line in lines).encode())
    return path
