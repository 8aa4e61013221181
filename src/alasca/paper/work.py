"""Cells are trained: what is missing, one after another, by as many workers as share a folder.

A worker holds a cell's folder with the claim of `alasca.runs`, trains there as ``alasca train`` would, and leaves one
file, `outcomes.write_outcome`. Whoever is killed leaves a checkpoint, which the next one goes on from.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from alasca.data import Split
from alasca.engine import Diverged, Fitted, Progress, Stopped, resolve_device
from alasca.errors import InputError
from alasca.files import make_folder
from alasca.paper.catalogue import Cell
from alasca.paper.outcomes import Outcome, file_of, finished, read_outcome, read_outcomes, write_failure, write_outcome
from alasca.recipe import Place
from alasca.runs import RunFolder, claimed
from alasca.training import Prepared, machine_of, resume, train

Say = Callable[[str], None]


@dataclass(frozen=True)
class Worker:
    """Trains cells into a folder.

    Attributes:
        folder: of all cells; others may work there too.
        place: device and threads.
        until: when to stop, by `time.monotonic`; None: when all is done.
        say: told in a line what begins and what ends.
        inexact: go on with a cell that another machine began.
        parent: the process that started this one to work for it; once that is gone it is time to stop.
    """

    folder: Path
    place: Place
    until: float | None = None
    say: Say = print
    inexact: bool = False
    parent: int | None = None

    def work(self, cells: Sequence[Cell]) -> list[Cell]:
        """Train what is missing, and give back what is still missing then.

        A cell is not begun that would not end in time, as finished cells of its method say.

        Raises:
            InputError: data are not there, or something else is wrong that the next cell would meet too; a cell that
                was begun can't go on, once all others are done.
            Stopped: by a signal; what was being trained has a checkpoint.
        """
        make_folder(self.folder / "work")
        broken: list[InputError] = []
        for number, cell in enumerate(cells, 1):
            if self._left() <= 0:
                break
            if cell.id in finished(self.folder):
                continue
            if self._too_long(cell):
                continue
            title = f"{number} of {len(cells)}: {cell.name}, seed {cell.seed}"
            begun = (self.folder / "work" / cell.id / "run" / "run.json").is_file()
            try:
                self._try(cell, title)
            except InputError as error:
                place = self.folder / "work" / cell.id
                if not begun or str(place) not in str(error):
                    raise
                broken.append(InputError(f"{title}: {error}; to train it from its start remove {place}"))
        if broken:
            raise broken[0]
        done = finished(self.folder)
        return [cell for cell in cells if cell.id not in done]

    def _try(self, cell: Cell, title: str) -> None:
        """One cell, unless another worker has it."""
        path = self.folder / "work" / cell.id
        try:
            path.mkdir(exist_ok=True)
            with held(path) as mine:
                if not mine:
                    return
                if cell.id not in finished(self.folder):
                    self._train(cell, path / "run", title)
                if cell.id in finished(self.folder):
                    shutil.rmtree(path / "run", ignore_errors=True)
        except FileNotFoundError:  # another worker has just finished it and cleared up
            if cell.id not in finished(self.folder):
                raise
        if cell.id in finished(self.folder):
            shutil.rmtree(path, ignore_errors=True)

    def _train(self, cell: Cell, path: Path, title: str) -> None:
        """Train a cell that is held, from its start or its newest checkpoint."""
        watch = Watch(self.until, self.parent)
        device = resolve_device(self.place.device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

        def last(prepared: Prepared, fitted: Fitted, split: Split, run: RunFolder) -> None:
            write_outcome(self.folder, cell, prepared, fitted, split, run, watch.whole(), not watch.before)

        begun = (path / "run.json").is_file()
        if begun and not self.inexact and (odd := self._strange(path)):
            self.say(f"{title} was begun {odd}; it goes on there, or here with --inexact")
            return
        self.say(f"{title}{', from its checkpoint' if begun else ''}")
        try:
            if begun:
                resume(path, inexact=self.inexact, progress=watch, last=last)
            else:
                every = 1 if cell.looks else 0
                place = Place(**{**vars(self.place), "history": every, "capture": not cell.experiment.eager})
                train(cell.recipe, None, place, path, watch, last)
        except Stopped as stopped:
            if stopped.signal or not watch.enough():
                raise
            why = "what started it is gone" if orphaned(self.parent) else "the time is over"
            self.say(f"{title}: {why}; it goes on next time")
            return
        except Diverged as error:
            write_failure(self.folder, cell, RunFolder(path), str(error), watch.whole())
        self.say(f"{title}: {ended(self.folder, cell)}")

    def _strange(self, path: Path) -> str:
        """Where a cell was begun, if that was another kind of machine; else nothing."""
        was, now = RunFolder(path).settings()["machine"], machine_of(resolve_device(self.place.device))
        odd = [name for name in ("device", "torch", "machine") if was[name] != now[name]]
        return f"on {was['device']} with torch {was['torch']}" if odd else ""

    def _too_long(self, cell: Cell) -> bool:
        """Whether a cell that nobody has begun would not end in time, as finished ones say."""
        if self.until is None or (self.folder / "work" / cell.id / "run" / "checkpoint").is_dir():
            return False
        device = str(machine_of(resolve_device(self.place.device))["device"])
        needed = expected(cell, read_outcomes(self.folder), device)
        return needed is not None and needed > self._left()

    def _left(self) -> float:
        """Seconds."""
        if orphaned(self.parent):
            return 0.0
        return float("inf") if self.until is None else self.until - time.monotonic()


@contextlib.contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Hold a folder for as long as the context; False where another process holds it."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(claimed(folder))
        except InputError:
            mine = False
        else:
            mine = True
        yield mine


class Watch(Progress):
    """Asks training to stop when the time is over, and knows how long a whole run takes."""

    def __init__(self, until: float | None, parent: int | None = None) -> None:
        self.until, self.parent = until, parent
        self.begun, self.at, self.before, self.epochs = time.monotonic(), 0.0, 0.0, 1

    def begin(self, title: str, epochs: int, done: float) -> None:
        """Training begins after `done` epochs."""
        self.epochs, self.before, self.at = epochs, done, done

    def step(self, epochs_done: float) -> None:
        """A step is over."""
        self.at = epochs_done

    def enough(self) -> bool:
        """Whether the time is over."""
        return orphaned(self.parent) or (self.until is not None and time.monotonic() >= self.until)

    def whole(self) -> float:
        """Seconds of a whole run, by the part of it that was seen; 0 where too little was seen to tell."""
        took, seen = time.monotonic() - self.begun, self.at - self.before
        return took if not self.before else took * self.epochs / seen if seen > 0.2 else 0.0


def orphaned(parent: int | None) -> bool:
    """Whether the process that this one works for is gone."""
    return parent is not None and os.getppid() != parent


def expected(cell: Cell, outcomes: Mapping[str, Outcome], device: str) -> float | None:
    """Seconds that a cell will take, as finished ones on such a device say; None where nothing is known.

    The nearest of these decide: cells of the same method, length, network, data and precision; of the same method and
    length.
    """
    known = [each for each in outcomes.values() if each["machine"]["device"] == device and each["failed"] is None]
    own = key_of(cell.recipe.as_json())
    for length in (len(own), 3):
        walls = [each["wall"] for each in known if key_of(each["recipe"])[:length] == own[:length]]
        if walls:
            return statistics.median(walls)
    return None


def key_of(recipe: Mapping[str, object]) -> tuple[object, ...]:
    """What a recipe's time depends on, the most telling first."""
    return (
        recipe["method"],
        recipe["alasca"],
        recipe["epochs"],
        recipe["network"],
        recipe["data"],
        recipe["precision"],
    )


def ended(folder: Path, cell: Cell) -> str:
    """A finished cell in a line."""
    outcome = read_outcome(file_of(folder, cell.id))
    if outcome["failed"] is not None:
        return outcome["failed"]
    figures = outcome["figures"]
    parts = [f"test {figures['test_accuracy_last']:.1f}%"]
    for kind, text in (("average", "main + deepest"), ("all", "all classifiers")):
        if f"test_accuracy_{kind}_last" in figures:
            parts.append(f"{text} {figures[f'test_accuracy_{kind}_last']:.1f}%")
    return f"{', '.join(parts)} in {outcome['wall']:.0f} s"
