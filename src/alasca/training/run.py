"""Recipe and task in, run folder out."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from alasca import checkpoint
from alasca.data import Split, Task
from alasca.distributed import barrier, first_alone, world
from alasca.engine import Fitted, Progress, Trainer, borrowed_process
from alasca.errors import InputError
from alasca.files import numbered
from alasca.methods import method_of
from alasca.networks import require_named
from alasca.recipe import Place, Recipe, found_from
from alasca.runs import Json, RunFolder
from alasca.runs.schemas import Settings
from alasca.terminal import typed
from alasca.training.announce import announce
from alasca.training.finish import finish
from alasca.training.prepare import Prepared, describe, prepare, transitions

Last = Callable[[Prepared, Fitted, Split, RunFolder], None]
"""What is done with what training ended with, on the device: its samples, and the run's folder."""


def train(
    recipe: Recipe,
    task: Task | None = None,
    place: Place = Place(),  # noqa: B008  # frozen
    folder: str | Path | None = None,
    progress: Progress | None = None,
    last: Last = finish,
) -> RunFolder:
    """A whole run, from a recipe to ``done.json``, in a new folder. The caller's random state is left as it was.

    Args:
        recipe: how to train.
        task: on what; None: what the recipe names (`Task.from_arrays` makes one of arrays, texts or a data frame).
        place: with which device, threads, files.
        folder: new; None: a temporary one.
        progress: who is told; None: nobody.
        last: what is done once training is over; by default every label is judged, and the model and all figures are
            written.

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
    if task is not None and recipe.features is not None:
        raise InputError("features: the task comes from a program; give it these numbers as its inputs")
    with borrowed_process(place), contextlib.ExitStack() as held:
        if folder is None and world()[1] > 1:
            raise InputError("folder: none is given; several processes need one that they share")
        prepared = prepare(recipe, task, place)
        described = describe(prepared) | {"from_program": task is not None, "changes": []}
        path = Path(tempfile.mkdtemp(prefix="alasca-") if folder is None else folder)
        with first_alone() as first:
            if first:
                require_space(prepared, path)
                run = held.enter_context(RunFolder.create(path))
                run.write_labels(prepared.split.samples.labels, transitions(prepared))
                run.write_history([])
                run.write_settings(described)  # last: it makes the folder a run
        if not first:
            run = RunFolder.open(path)
        if progress is not None:
            progress.announce(announce(prepared, path))
        return complete(prepared, run, False, progress, last)


def resume(
    folder: str | Path, task: Task | None = None, inexact: bool = False, progress: Progress | None = None, *,
    network: str | None = None, epochs: int | None = None, device: str | None = None, threads: int | None = None,
    workers: int | None = None, last: Last = finish,
) -> RunFolder:  # fmt: skip
    """Go on with a run from its newest whole checkpoint; a finished run is left as it is, unless it gets more epochs.

    Args:
        folder: of the run.
        task: that it was started on, where that was none that a recipe can name.
        inexact: go on although this machine rounds otherwise.
        progress: who is told; None: nobody.
        network: the run's, where that is ``module:callable``: a folder that is read imports nothing of its own accord.
        epochs: more than the run was to have; its learning rate then follows the new total, what the method's options
            count in epochs stays.
        device, threads, workers: others than the run had until now; see `Place`.
        last: as in `train`.

    Raises:
        InputError: no run there, another process goes on with it, it was changed by hand, its data have changed, or
            (without `inexact`) this machine would round otherwise.
    """
    run, path = RunFolder.open(Path(folder)), Path(folder)
    if run.finished and epochs is None:
        run.done()
        for name, value in (("device", device), ("threads", threads), ("workers", workers)):
            if value is not None:
                raise InputError(f"{name}: {value}, but the run has ended; it goes on with more --epochs only")
        return run
    with contextlib.ExitStack() as held:
        with first_alone() as first:
            if first:
                run = held.enter_context(RunFolder.held(path))
        described = run.settings()
        typed_recipe, typed_place = Recipe.from_json(described["recipe"]), Place.from_json(described["place"])
        recipe, place = found_from(typed_recipe, typed_place, Path(described["started_in"]))
        require_named(
            typed_recipe.network, network, str(path / "run.json"), f"alasca resume {typed(path)} --network {{}}"
        )
        if task is None and described["from_program"]:
            raise InputError(f"resume: {path} was started on a task made in Python; pass it: resume(folder, task)")
        given = {"device": device, "threads": threads, "workers": workers}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        place = replace(place, **({"threads": described["machine"]["threads"]} | changes))
        longer = recipe if epochs is None else more_epochs(recipe, epochs)
        with borrowed_process(place):
            prepared = prepare(longer, task, place)
            now = describe(prepared)
            require_alike(described, now, path, inexact, {"device", "threads"} & changes.keys())
            changed = changes if epochs is None else {"epochs": epochs, **changes}
            with first_alone() as first:
                if first:
                    require_space(prepared, path)
                    if changed:
                        for number in numbered(run.checkpoints)[:1]:
                            checkpoint.read(run.checkpoints / f"{number:08d}")  # else the change would come earlier
                        run.reopen()
                        run.write_settings({**described, **changed_settings(described, now, changed)})
                    run.carry_over()
                    run.write_labels(prepared.split.samples.labels, transitions(prepared))
            return complete(prepared, run, True, progress, last)


def more_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe of a run that goes on for longer than it was to.

    Raises:
        InputError: not longer, or in stages whose lengths are shares of the whole.
    """
    if epochs <= recipe.epochs:
        raise InputError(f"epochs: {epochs}, but the run was to have {recipe.epochs} already; expected more")
    if len(method_of(recipe).stages(recipe.epochs)) > 1:
        raise InputError(
            f"epochs: {recipe.method} trains in several stages, which can't be made longer; start a new run"
        )
    return replace(recipe, epochs=epochs)


def require_alike(was: Settings, now: Json, path: Path, inexact: bool, allowed: set[str]) -> None:
    """Raise `InputError` where data or machine are not those that a run was started with."""
    if now["data_sha256"] != was["data_sha256"]:
        data = was["recipe"]["data"]
        raise InputError(f"data: {data} is not what {path} was started on; put the old data back")
    different = [name for name, value in now["machine"].items() if value != was["machine"].get(name)]
    different = [name for name in different if name not in allowed]
    if different and not inexact:
        name = different[0]
        if name == "processes":
            count = was["machine"]["processes"]
            start = f"torchrun --nproc-per-node {count} -m alasca.cli resume" if count > 1 else "alasca resume, alone"
            raise InputError(
                f"resume: processes: {now['machine'][name]}, and the run had {count}; start it with {start}, or add "
                "--inexact, to end in other bits"
            )
        raise InputError(
            f"resume: {name} is {now['machine'][name]!r} here and was {was['machine'].get(name)!r}, so the run would "
            "not end in the same bits; add --inexact to go on all the same"
        )


def changed_settings(was: Settings, now: Json, changed: Mapping[str, Any]) -> Json:
    """What of run.json is new once a run goes on with other settings, what it was among it."""
    old = {**was["place"], **was["recipe"]}
    change = {
        "when": now["created"], "was": {name: old[name] for name in changed}, "now": dict(changed),
        "recipe_sha256": was["recipe_sha256"],
    }  # fmt: skip
    names = ("recipe", "recipe_sha256", "place", "machine", "exact_resume", "title", "reads_files", "arithmetic")
    found = {name: now[name] for name in (*names, "eager_because")}
    found["recipe"] = now["recipe"] | {
        name: was["recipe"][name] for name in ("data", "labels", "noise", "network", "options")
    }
    found["place"] = now["place"] | {"data_dir": was["place"]["data_dir"]}  # paths stay as they were typed
    return {**found, "changes": [*was["changes"], change]}


def complete(
    prepared: Prepared, run: RunFolder, resuming: bool, progress: Progress | None, last: Last
) -> RunFolder:  # fmt: skip
    """Train to the end, and do what is done last."""
    trainer = Trainer(prepared.job, run, progress)
    fitted = trainer.fit(resuming)
    if world()[0] == 0:
        last(prepared, fitted, trainer.job.split, run)
    barrier()
    return RunFolder(run.path)


def require_space(prepared: Prepared, path: Path) -> None:
    """Raise `InputError` where a disk has less room than the checkpoints take that are kept, and one being written."""
    there = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.is_dir())
    kept = min(checkpoint.KEPT, len(numbered(path / "checkpoint")))
    needed, free = (checkpoint.KEPT + 1 - kept) * prepared.checkpoint_bytes, shutil.disk_usage(there).free
    if free < needed:
        raise InputError(
            f"out: {there} has {free / 1e6:,.0f} MB of room, but checkpoints of this run take "
            f"{needed / 1e6:,.0f} MB; make room, or choose another folder"
        )
