"""What ties checkpoints to their run: its id and its recipe's digest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from alasca import checkpoint
from alasca.errors import InputError
from alasca.files import numbered


class Mark(NamedTuple):
    """What ties a checkpoint to its run: the run's id, its recipe's digest, and those that it had before changes."""

    run: str = ""
    recipe: str = ""
    earlier: tuple[str, ...] = ()


def add(folder: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any], mark: Mark) -> None:
    """Add a checkpoint of a run and keep the last two."""
    checkpoint.save(folder, tensors, {**values, "run": mark.run, "recipe": mark.recipe})


def newest(folder: Path, mark: Mark) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest whole checkpoint of a run; None where there is none at all.

    Raises:
        InputError: all are damaged, or it belongs to another run or to other settings.
    """
    if not numbered(folder):
        return None
    tensors, values = checkpoint.load(folder)
    if values.pop("run", None) != mark.run:
        raise InputError(f"{folder}: its checkpoints are another run's; put this run's own back")
    if values.pop("recipe", None) != mark.recipe:
        raise InputError(f"{folder}: its checkpoints follow another recipe than run.json; put this run's own back")
    return tensors, values


def carry_over(folder: Path, mark: Mark) -> None:
    """After a change of recipe, put the newest checkpoint under the new one, and another such beside it.

    Whichever of the two is read later, the change took effect at one and the same step.

    Raises:
        InputError: the newest checkpoint is damaged.
    """
    for number in numbered(folder)[:1]:
        entry = folder / f"{number:08d}"
        values = checkpoint.read_values(entry)
        if values.get("recipe") in mark.earlier and values.get("run") == mark.run:
            tensors, values = checkpoint.read(entry)
            for _ in range(checkpoint.KEPT):
                add(folder, tensors, values, mark)
