"""`--data`: where samples come from. Each source gives a `Task`; wrong input is one line naming file and row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from alasca.data.sources.arrays import digits, npy, npz
from alasca.data.sources.base import check_task
from alasca.data.sources.cifar import cifar10, cifar10n, cifar100, cifar100n
from alasca.data.sources.hub import hf
from alasca.data.sources.pictures import folder
from alasca.data.sources.tables import table
from alasca.data.sources.web import clothing1m, webvision
from alasca.data.task import Reading, Task
from alasca.errors import InputError
from alasca.recipe import Place, Recipe
from alasca.values import nearest


class Form(NamedTuple):
    """How a source is written, and the function that reads it: called with what follows the colon."""

    written: str
    read: Callable[[str, Reading], Task]


SOURCES = {
    "digits": Form("digits", digits),
    "cifar10": Form("cifar10", cifar10),
    "cifar100": Form("cifar100", cifar100),
    "cifar10n": Form("cifar10n:LABELS", cifar10n),
    "cifar100n": Form("cifar100n", cifar100n),
    "clothing1m": Form("clothing1m", clothing1m),
    "webvision": Form("webvision", webvision),
    "folder": Form("folder:DIR", folder),
    "table": Form("table:FILE", table),
    "npz": Form("npz:FILE", npz),
    "npy": Form("npy:DIR", npy),
    "hf": Form("hf:NAME", hf),
}


def load_task(recipe: Recipe, place: Place = Place()) -> Task:  # noqa: B008  # frozen
    """The samples that a recipe names, checked.

    Args:
        recipe: its `data` is a name of `SOURCES`, with an argument after a colon where it takes one, such as
            ``folder:photos/``.
        place: where files are.

    Raises:
        InputError: no such source, file or folder; a picture that can't be read; labels that don't fit; fewer than
            two classes or two samples, a class without samples, two samples under one id.
    """
    spec = recipe.data
    kind, _, argument = spec.partition(":")
    if kind not in SOURCES:
        if Path(spec).exists():
            guess = "folder" if Path(spec).is_dir() else "npz" if spec.endswith(".npz") else "table"
            raise InputError(f"data: {spec!r} needs to be told what it is; did you mean --data {guess}:{spec}?")
        near = nearest(kind, SOURCES, f"expected one of {', '.join(form.written for form in SOURCES.values())}")
        for name, form in SOURCES.items():
            near = near.replace(f"{name!r}?", f"{form.written!r}?") if near.endswith(f"{name!r}?") else near
        raise InputError(f"data: {spec!r} is unknown; {near}")
    task = SOURCES[kind].read(argument, Reading(recipe, place))
    check_task(task, spec)
    return task
