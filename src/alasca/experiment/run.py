"""Settings in, run folder out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from alasca.core import InputError
from alasca.distributed import barrier, first_alone, world
from alasca.engine import Progress, Trainer
from alasca.experiment.outcome import collect, finish
from alasca.experiment.prepare import Prepared, describe, prepare
from alasca.experiment.settings import Settings
from alasca.runs import RunFolder


def train(settings: Settings, out: Path, progress: Progress | None = None) -> RunFolder:
    """A whole run, from settings to ``done.json``, in a new folder.

    Raises:
        InputError: wrong settings, or a folder that is not empty; nothing was written.
        alasca.engine.Stopped: by a signal; `resume` goes on.
        alasca.engine.Diverged: the loss was not finite.
    """
    prepared = prepare(settings)
    described = describe(prepared)
    with first_alone() as first:
        if first:
            run = RunFolder.create(out)
            run.write_labels(prepared.data.train.labels, prepared.transitions)
            if prepared.words is not None:
                run.write_words(prepared.words)
            run.write_history([])
            run.write_settings(described)  # last: it makes the folder a run
    return complete(prepared, RunFolder.open(out), False, progress)


def resume(path: Path, inexact: bool = False, progress: Progress | None = None) -> RunFolder:
    """Go on with a run from its newest whole checkpoint; a finished run is left as it is.

    Raises:
        InputError: no run there, its data have changed, or (without `inexact`) this machine would round otherwise.
    """
    run = RunFolder.open(path)
    if run.finished:
        return run
    described = run.settings()
    try:
        saved_settings, machine = described["settings"], described["machine"]
        digests = described["source_sha256"], described["labels_sha256"]
    except KeyError as error:
        raise InputError(f"{path / 'run.json'} has no {error}; it can't be resumed") from error
    settings = Settings.from_json(saved_settings)
    if settings.threads is None:
        settings = replace(settings, threads=machine.get("threads"))
    prepared = prepare(settings)
    now = describe(prepared)
    if (now["source_sha256"], now["labels_sha256"]) != digests:
        raise InputError(f"data: {settings.data} is not what {path} was started on; put the old data back")
    different = [name for name in now["machine"] if now["machine"][name] != machine.get(name)]
    if different and not inexact:
        name = different[0]
        raise InputError(
            f"resume: {name} is {now['machine'][name]!r} here and was {machine.get(name)!r}, so the run would not end "
            "in the same bits; add --inexact to go on all the same"
        )
    return complete(prepared, run, True, progress)


def complete(prepared: Prepared, run: RunFolder, resuming: bool, progress: Progress | None) -> RunFolder:
    """Train to the end and write what a finished run holds."""
    settings = prepared.settings
    made = prepared.make_method(), prepared.make_network
    fitted = Trainer(*made, prepared.data, settings.training, run, progress, settings.title).fit(resuming)
    records = collect(prepared, fitted)
    if world()[0] == 0:
        finish(prepared, fitted, records, run)
    barrier()
    return run
