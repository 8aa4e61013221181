"""Shared by tests: recipes and places from one list of names, and the doors that take them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from alasca import Place, Recipe, Task, train
from alasca.data import load_task
from alasca.files import write_sealed
from alasca.methods import method_of
from alasca.runs import RunFolder
from alasca.training import Prepared, prepare

PLACE = {each.name for each in dataclasses.fields(Place)}


def parts(**given: Any) -> tuple[Recipe, Place]:
    """A recipe, and a place on the CPU that saves once."""
    place = {"device": "cpu", "checkpoint_seconds": 1e9, **{k: v for k, v in given.items() if k in PLACE}}
    return Recipe(**{name: value for name, value in given.items() if name not in PLACE}), Place(**place)


def read(spec: object, **given: Any) -> Task:
    """The task that a spec names."""
    return load_task(*parts(data=str(spec), **given))


def ready(**given: Any) -> Prepared:
    """A run that can begin."""
    recipe, place = parts(**given)
    return prepare(recipe, None, place)


def ran(folder: Path, **given: Any) -> RunFolder:
    """A whole run."""
    recipe, place = parts(**given)
    return train(recipe, None, place, folder)


def resealed(path: Path, **changes: Any) -> None:
    """Change fields of a sealed JSON file and seal it again, as only somebody who means to would."""
    write_sealed(path, {**json.loads(path.read_text()), **changes})


def made_method(**given: Any) -> Any:
    """The method of a recipe."""
    return method_of(Recipe(**given))
