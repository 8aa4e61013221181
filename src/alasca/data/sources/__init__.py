"""`--data`: where samples come from. Each source gives a `Task`; wrong input is one line naming file and row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from alasca.data.sources.arrays import digits, npy, npz
from alasca.data.sources.base import check_task
from alasca.data.sources.cifar import cifar10, cifar10n, cifar100, cifar100n
from alasca.data.sources.embedded import embedded as embedded
from alasca.data.sources.embedded import named_numbers as named_numbers
from alasca.data.sources.folders import folder
from alasca.data.sources.hub import hf
from alasca.data.sources.looks import looked_over
from alasca.data.sources.relabelled import relabelled as relabelled
from alasca.data.sources.table_files import read_tables as read_tables
from alasca.data.sources.tables import table
from alasca.data.sources.web import clothing1m, webvision
from alasca.data.task import Reading, Task
from alasca.errors import InputError
from alasca.recipe import Place, Recipe
from alasca.values import nearest


class Form(NamedTuple):
    """How a source is written, the function that reads it (called with what follows the colon), settings it heeds."""

    written: str
    read: Callable[[str, Reading], Task]
    heeds: tuple[str, ...] = ()


FILES = ("image_size", "crop", "on_bad_image")
ARRAYS = ("image_size", "crop")
LABELS = ("missing_label", "normalise_labels")
COLUMNS = ("input", "label", "true", "id", "group", "max_length", *LABELS)
SPLITS = ("train_split", "test_split")
HEEDED = (*FILES, *COLUMNS, *SPLITS, "split", "classes_are_splits")
"""Settings that only some sources heed."""


SOURCES = {
    "digits": Form("digits", digits, ("image_size",)),
    "cifar10": Form("cifar10", cifar10, ARRAYS),
    "cifar100": Form("cifar100", cifar100, ARRAYS),
    "cifar10n": Form("cifar10n:LABELS", cifar10n, ARRAYS),
    "cifar100n": Form("cifar100n", cifar100n, ARRAYS),
    "clothing1m": Form("clothing1m", clothing1m, FILES),
    "webvision": Form("webvision", webvision, FILES),
    "folder": Form("folder:DIR", folder, (*FILES, *LABELS, "classes_are_splits")),
    "table": Form("table:FILE", table, (*FILES, *COLUMNS, "split")),
    "npz": Form("npz:FILE", npz, (*ARRAYS, *LABELS, "max_length")),
    "npy": Form("npy:DIR", npy, (*ARRAYS, *LABELS)),
    "hf": Form("hf:NAME", hf, (*FILES, *COLUMNS, *SPLITS)),
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
    for each in dataclasses.fields(recipe):
        value = getattr(recipe, each.name)
        if each.name in HEEDED and each.name not in SOURCES[kind].heeds and value != each.default:
            option = each.name.replace("_", "-")
            raise InputError(f"{option}: {value}, which means nothing for --data {SOURCES[kind].written}; leave it out")
    task = SOURCES[kind].read(argument, Reading(recipe, place))
    if recipe.features is not None:
        task = embedded(task, recipe.features)
    check_task(task, spec)
    return looked_over(task)
