"""What a folder holds before it is a run: nothing, or what a kill left."""

from __future__ import annotations

import os
from pathlib import Path

from alasca.errors import InputError
from alasca.files import left_over
from alasca.runs.claim import FOLDER as CLAIM
from alasca.runs.claim import ending
from alasca.terminal import typed

BEGINNINGS = {"labels.safetensors", "metrics.jsonl"}
"""Files that are there before run.json makes a run of them."""


def refuse_used(path: Path) -> None:
    """Raise `InputError` where a folder holds anything else than what a kill leaves before the first epoch."""
    if not str(path).isprintable():
        raise InputError(f"out: {str(path)!r}, expected a name that can be read and typed")
    if not os.path.lexists(path) or (path.is_dir() and begun(path)):
        return
    hint = "it is not empty"
    if (path / "done.json").exists():
        hint = f"a finished run; look at it with: alasca report {typed(path)}"
    elif (path / "run.json").exists():
        hint = ending(path)
    raise InputError(f"out: {path} exists already ({hint}); choose another folder")


def begun(path: Path) -> bool:
    """Whether a folder holds only what a kill leaves before the first epoch; a file of somebody else's is kept."""
    found = {entry.name: entry for entry in path.iterdir()}
    history = found.get("metrics.jsonl")
    ours = {name for name in found if left_over(name) in {*BEGINNINGS, "run.json"}}
    return found.keys() - ours <= {CLAIM, *BEGINNINGS} and (history is None or history.stat().st_size == 0)


def begin_anew(path: Path) -> None:
    """Remove what a kill left; errors as `refuse_used`."""
    refuse_used(path)
    for name in BEGINNINGS:
        (path / name).unlink(missing_ok=True)
