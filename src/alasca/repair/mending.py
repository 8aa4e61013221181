"""`repair`: the data of a run with better labels, in the form in which they came."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from alasca.data.sources.table_files import read_tables
from alasca.errors import InputError
from alasca.files import write_bytes
from alasca.recipe import Place, Recipe, found_from
from alasca.repair.arrays import write_archive, write_mapped
from alasca.repair.changes import Change, as_table, decided
from alasca.repair.folders import Move, link_tree, moves_of
from alasca.repair.hub import write_saved
from alasca.repair.moves import Log
from alasca.repair.tables import as_read, mend_tables, shared_folder, still_due, write_labels
from alasca.runs import Records, RunFolder
from alasca.terminal import typed

CHANGES, LABELS = "changes.csv", "labels.csv"


@dataclass(frozen=True)
class Repaired:
    """What a repair did, or would do.

    Attributes:
        folder: where it was written.
        changes: every label that is changed.
        wrote: what was written, for people, the data first.
        data: the repaired data, as ``--data`` takes them; None: labels alone, as ``--labels`` takes them.
        notes: a line each for what a person should know.
    """

    folder: Path
    changes: list[Change]
    wrote: tuple[Path, ...] = ()
    data: str | None = None
    notes: tuple[str, ...] = ()


def repair(
    run: RunFolder, apply: str = "fix", to: Path | None = None, in_place: bool = False, rename: bool = False,
    dry_run: bool = False, records: Records | None = None,
) -> Repaired:  # fmt: skip
    """Write the data that a run was trained on with better labels.

    Args:
        run: finished.
        apply: ``"fix"``, ``"all"``, ``"drop"`` or a file of decisions; see `decided`.
        to: a new folder; None: ``repaired`` in the run's.
        in_place: change the data where they lie instead; `undo` takes that back.
        rename: let pictures whose name is taken in their new folder have the old class before it.
        dry_run: write nothing.
        records: of the run, where a person's answers have changed decisions; None: as the run judged.

    Raises:
        InputError: the run has not ended, the folder exists, data have changed, or names clash; nothing was written.
    """
    run.done()  # says what to type where it has not ended
    records, described = run.records() if records is None else records, run.settings()
    recipe, _ = found_from(run.recipe(), Place.from_json(described["place"]), Path(described["started_in"]))
    changes = decided(records, apply)
    folder = to or run.path / "repaired"
    notes = []
    kind, _, argument = recipe.data.partition(":")
    own = recipe.noise == "none" and recipe.labels is None and not described["from_program"]
    if kind == "table" and recipe.id is None and own and all("/" in sample for sample in records.ids[:5]):
        notes.append("the table has no column of ids: rows go by their numbers, so change nothing in it before")
    if dry_run:
        if own and kind == "folder":
            moves_of(recipe, Path(argument), records, changes, rename)
        if own and kind == "table":
            table, rows, given = as_read(recipe, argument, records, changes)
            due = still_due(table, recipe, given, changes, rows)
            if len(due) < len(changes):
                notes.append(f"{len(changes) - len(due):,} labels are not those that the run read any more, and stay")
            changes = due
        return Repaired(folder, changes, notes=tuple(notes))
    if os.path.lexists(folder):
        raise InputError(f"to: {folder} is there already; choose another with --to, or remove it")
    if in_place and (not own or kind not in ("table", "folder")):
        raise InputError("in-place: only folders of pictures and tables are changed where they lie")
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = folder.parent / f".{folder.name}.making"
    shutil.rmtree(making, ignore_errors=True)  # what a kill left
    making.mkdir()
    try:
        data: tuple[str, str] | None = None
        wrote: list[tuple[Path, Path | None]] = []
        due = changes
        if own:
            data, wrote, due = written(recipe, kind, argument, records, changes, making, in_place, rename)
        if len(due) < len(changes):
            notes.append(f"{len(changes) - len(due):,} labels are not those that the run read any more, and stay")
        write_bytes(making / CHANGES, as_table(due).to_csv(index=False, lineterminator="\n").encode())
        write_labels(records, due, making / LABELS)
        os.rename(making, folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    if in_place:
        change_in_place(folder, [
            (path, folder / copy.relative_to(making) if copy and copy.is_relative_to(making) else copy)
            for path, copy in wrote
        ])  # fmt: skip
        where = "" if to is None else f" --to {typed(to)}"
        notes.append(f"changed where they lie; alasca repair {typed(run.path)}{where} --undo takes it back")
    if not own:
        notes.append("the labels came from --noise, --labels or Python: only labels are written")
    shown = tuple(folder / name for name in (*([data[1]] if data else []), CHANGES, LABELS))
    repaired = None if data is None or in_place else f"{data[0]}:{folder / data[1]}"
    return Repaired(folder, due, shown, repaired, tuple(notes))


def written(
    recipe: Recipe, kind: str, argument: str, records: Records, changes: list[Change], to: Path, in_place: bool,
    rename: bool,
) -> tuple[tuple[str, str] | None, list[tuple[Path, Path | None]], list[Change]]:  # fmt: skip
    """Write the data of a form into a folder.

    Returns:
        Their form and name there, what takes what's place, and the changes that were still due.
    """
    if kind == "table":
        table = read_tables(argument)
        root, files = shared_folder(table), [path for _, path in table.files] or [table.path]
        name = root.name or "tables" if table.files else table.path.name
        if name in (CHANGES, LABELS):
            name = f"data/{name}"  # else a file of ours would take its place
        pairs, due = mend_tables(recipe, argument, records, changes, to / name if table.files else (to / name).parent)
        for path in [] if in_place and pairs else {*files} - {path for path, _ in pairs}:
            copy = to / name / path.relative_to(root) if table.files else to / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
        return (kind, name), [(path, copy) for path, copy in pairs], due
    if kind == "folder":
        root = Path(argument)
        moves = moves_of(recipe, root, records, changes, rename)
        if in_place:
            return None, [(move.path, move.to) for move in moves], changes
        link_tree(root, moves, to / (root.name or "data"))
        return (kind, root.name or "data"), [], changes
    if kind in ("npz", "npy"):
        write = write_archive if kind == "npz" else write_mapped
        write(Path(argument), records, changes, to / Path(argument).name)
        return (kind, Path(argument).name), [], changes
    if kind == "hf":
        name = Path(argument).name
        return (kind, name), [], write_saved(recipe, argument, records, changes, to / name)
    return None, [], changes


def change_in_place(folder: Path, wrote: list[tuple[Path, Path | None]]) -> None:
    """Put the copies of tables in their place, or move pictures."""
    log = Log(folder)
    tables = [(path, copy) for path, copy in wrote if copy is not None and copy.is_relative_to(folder)]
    for path, copy in tables:
        log.replace(path, copy)
    if not tables:
        log.move([Move(path, to) for path, to in wrote])
