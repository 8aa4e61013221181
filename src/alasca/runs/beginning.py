"""What a folder holds before it is a run: nothing, or what a kill left."""

from __future__ import annotations

from pathlib import Path

from alasca.errors import InputError
from alasca.runs.claim import FOLDER as CLAIM

BEGINNINGS = {"labels.safetensors", ".labels.safetensors.tmp", "metrics.jsonl", ".metrics.jsonl.tmp", ".run.json.tmp"}
"""Files that are there before the first epoch."""


def refuse_used(path: Path) -> None:
    """Raise `InputError` where a folder holds anything else than what a kill leaves before the first epoch."""
    if not path.exists() or (path.is_dir() and begun(path)):
        return
    hint = "it is not empty"
    if (path / "done.json").exists():
        hint = f"a finished run; look at it with: alasca report {path}"
    elif (path / "run.json").exists():
        hint = f"continue it with: alasca resume {path}"
    raise InputError(f"out: {path} exists already ({hint}); choose another folder")


def begun(path: Path) -> bool:
    """Whether a folder holds only what a kill leaves before the first epoch; a file of somebody else's is kept."""
    found = {entry.name: entry for entry in path.iterdir()}
    history = found.get("metrics.jsonl")
    return found.keys() <= {CLAIM, *BEGINNINGS} and (history is None or history.stat().st_size == 0)


def begin_anew(path: Path) -> None:
    """Remove what a kill left; errors as `refuse_used`."""
    refuse_used(path)
    for name in BEGINNINGS:
        (path / name).unlink(missing_ok=True)
