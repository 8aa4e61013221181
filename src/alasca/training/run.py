"""Recipe and task in, run folder out."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from alasca.data import Task
from alasca.distributed import barrier, first_alone, world
from alasca.engine import Progress, Trainer, borrowed_process
from alasca.errors import InputError
from alasca.recipe import Place, Recipe
from alasca.runs import RunFolder
from alasca.training.announce import announce
from alasca.training.finish import finish
from alasca.training.prepare import Prepared, describe, prepare, transitions


def train(
    recipe: Recipe,
    task: Task | None = None,
    place: Place = Place(),  # noqa: B008  # frozen
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> RunFolder:
    """A whole run, from a recipe to ``done.json``, in a new folder. The caller's random state is left as it was.

    Args:
        recipe: how to train.
        task: on what; None: what the recipe names (`Task.from_arrays` makes one of arrays, texts or a data frame).
        place: with which device, threads, files.
        folder: new; None: a temporary one.
        progress: who is told; None: nobody.

    Returns:
        The run's folder: `records()` of every sample, `done()`, the final figures; `alasca.load` gives its model.

    Raises:
        InputError: a wrong setting, or a folder that is not empty; nothing was written.
        alasca.engine.Stopped: by a signal; `resume` goes on.
        alasca.engine.Diverged: the loss was not finite.

    >>> import torch
    >>> task = Task.from_arrays(torch.randn(40, 3), torch.arange(40) % 2)
    >>> run = train(Recipe(epochs=1, batch_size=8), task)
    >>> len(run.records().ids)
    40
    """
    with borrowed_process(place):
        if folder is None and world()[1] > 1:
            raise InputError("folder: none is given; several processes need one that they share")
        prepared = prepare(recipe, task, place)
        described = describe(prepared) | {"from_program": task is not None}
        path = Path(tempfile.mkdtemp(prefix="alasca-") if folder is None else folder)
        with first_alone() as first:
            if first:
                run = RunFolder.create(path)
                run.write_labels(prepared.split.samples.labels, transitions(prepared))
                run.write_history([])
                run.write_settings(described)  # last: it makes the folder a run
        if progress is not None:
            progress.announce(announce(prepared, path))
        return complete(prepared, RunFolder.open(path), False, progress)


def resume(
    folder: str | Path, task: Task | None = None, inexact: bool = False, progress: Progress | None = None
) -> RunFolder:
    """Go on with a run from its newest whole checkpoint; a finished run is left as it is.

    Args:
        folder: of the run.
        task: that it was started on, where that was none that a recipe can name.
        inexact: go on although this machine rounds otherwise.
        progress: who is told; None: nobody.

    Raises:
        InputError: no run there, its data have changed, or (without `inexact`) this machine would round otherwise.
    """
    run = RunFolder.open(Path(folder))
    if run.finished:
        return run
    described = run.settings()
    try:
        saved_place, machine, digest = described["place"], described["machine"], described["data_sha256"]
    except KeyError as error:
        raise InputError(f"{run.path / 'run.json'} has no {error}; it can't be resumed") from error
    if task is None and described.get("from_program"):
        raise InputError(f"resume: {run.path} was started on a task made in Python; pass it: resume(folder, task)")
    recipe, place = run.recipe(), Place.from_json(saved_place)
    if place.threads is None:
        place = replace(place, threads=machine.get("threads"))
    with borrowed_process(place):
        prepared = prepare(recipe, task, place)
        now = describe(prepared)
        if now["data_sha256"] != digest:
            raise InputError(f"data: {recipe.data} is not what {run.path} was started on; put the old data back")
        different = [name for name in now["machine"] if now["machine"][name] != machine.get(name)]
        if different and not inexact:
            name = different[0]
            raise InputError(
                f"resume: {name} is {now['machine'][name]!r} here and was {machine.get(name)!r}, so the run would not "
                "end in the same bits; add --inexact to go on all the same"
            )
        return complete(prepared, run, True, progress)


def complete(prepared: Prepared, run: RunFolder, resuming: bool, progress: Progress | None) -> RunFolder:
    """Train to the end and write what a finished run holds."""
    trainer = Trainer(prepared.job, run, progress)
    fitted = trainer.fit(resuming)
    if world()[0] == 0:
        finish(prepared, fitted, trainer.job.split, run)
    barrier()
    return run
