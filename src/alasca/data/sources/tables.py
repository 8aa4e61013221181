"""Samples in a table: paths of pictures, texts or numbers, with a label a row, in CSV, JSON or Parquet.

Columns go by their usual names unless `Recipe` names others: ``label``; ``path`` (or ``image``, ``file``) of a picture,
``text``, or all columns of numbers, dates and categories; ``id``; ``true_label``, for evaluation only; and ``split``,
whose rows are for training, validation or test. The label of a test row is its true label where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from alasca.data.pictures import SUFFIXES, PictureFiles, Pictures, PicturesAt
from alasca.data.sources.base import numbers_of_groups, refuse_duplicates, shortened
from alasca.data.sources.cells import is_empty, kind_of_cells
from alasca.data.sources.columns import Choice, choose_columns, table_numbers, told, unseen
from alasca.data.sources.labels import Labels, assign, read_labels
from alasca.data.sources.pictures import picture_source
from alasca.data.sources.splits import HELD, TEST, TRAIN, part_of
from alasca.data.sources.table_files import Table, check_text, read_tables, whole
from alasca.data.task import Inputs, Reading, Task
from alasca.data.text import Texts
from alasca.errors import InputError

RESERVED = ("label", "true_label", "id", "split")
"""Columns that are never inputs unless `--input` names them."""
OTHER_PARTS = {
    "",
    "holdout",
    "hold-out",
    "heldout",
    "held-out",
    "eval",
    "evaluation",
    "unlabeled",
    "unlabelled",
    "extra",
}
"""What stands beside names of parts in columns that hold such."""
PICTURES, TEXT = ("path", "image", "file"), "text"


class Read(NamedTuple):
    """What is read of a table as inputs.

    Attributes:
        kind: ``"pictures"``, ``"text"``, ``"lists"`` or ``"columns"``.
        names: of the columns.
        choice: of columns, what becomes of them, and what is left out.
    """

    kind: str
    names: tuple[str, ...]
    choice: Choice = Choice((), ())


def table(argument: str, reading: Reading) -> Task:
    """A CSV, JSON or Parquet file (or a folder or pattern of such) with a label a row: paths, texts, or numbers"""
    return task_of(read_tables(argument), reading)


def task_of(found: Table, reading: Reading) -> Task:
    """The samples in the rows of a table.

    Raises:
        InputError: no such column, a cell that can't be read, or nothing that could be learned from.
    """
    recipe = reading.recipe
    if not len(found.frame):
        raise InputError(f"data: {found.path} has no rows")
    declared = found.declared.get(recipe.label, ())
    given = read_labels(recipe.label, found.column(recipe.label), found.where, recipe.missing_label, declared)
    true_name = recipe.true or called(found, "true_label")
    true = None
    if true_name is not None:
        true = read_labels(true_name, found.column(true_name, "true"), found.where, recipe.missing_label, declared)
    part, part_notes = parts_of(found, recipe.split, given, true, recipe.input is not None)
    kept, tested = np.nonzero((part == TRAIN) | (part == HELD))[0], np.nonzero(part == TEST)[0]
    columns = {"given": given.take(part == TRAIN), "all": given} | ({} if true is None else {"true": true})
    assigned = assign(columns, recipe, declared, drop=True)
    labels, truth = assigned.labels["all"], assigned.labels.get("true")
    id_name = found.id_column(recipe.id)
    ids = found.row_ids(recipe.id)
    refuse_duplicates(ids, found.where)
    used = {
        recipe.label,
        true_name,
        id_name,
        recipe.group,
        recipe.split or (None if found.parts is not None else called(found, "split")),
    }
    own = {name for name in found.names if name.lower() in RESERVED} | used
    read = inputs_of(found, recipe.input, {name for name in own if name}, part == TRAIN, given)
    explained = {text.rpartition(" (")[0] for text in read.choice.left_out}
    others = [name for name in found.names if name not in {*read.names, *used, *explained}]
    unread = [*read.choice.left_out, *others]
    what = told(read.choice.columns) if read.kind == "columns" else " and ".join(read.names)
    kind = {"columns": "numbers"}.get(read.kind, read.kind)
    note = f"{found.path.name}: {kind} in {what}{'; not read: ' + shortened(unread, 40) if unread else ''}"
    notes = (note, *found.notes, *read.choice.notes, *part_notes, *assigned.notes)
    notes += unseen(found, read.choice.columns, part > TRAIN)
    test_labels = labels if truth is None else torch.where(truth >= 0, truth, labels)
    made = Made(
        labels[kept], tuple(ids[k] for k in kept), assigned.classes, test_labels[tested] if len(tested) else None,
        None if truth is None else truth[kept], torch.from_numpy(np.nonzero(part[kept] == HELD)[0]),
    )  # fmt: skip
    task = made_of(found, read, reading, made, kept, tested)
    if recipe.group is not None:
        cells = dict(zip(ids, found.column(recipe.group, "group"), strict=True))
        values = ["" if is_empty(cells[name]) else whole(cells[name]) for name in task.ids]
        if alone := values.count(""):
            notes += (f"{recipe.group}: {alone:,} rows have no group, and are each alone",)
        task = replace(task, groups=numbers_of_groups(values))
    return replace(task, notes=(*notes, *task.notes))


def called(found: Table, usual: str) -> str | None:
    """The column of a usual name, in any case; None where there is none."""
    return next((name for name in found.names if name.strip().lower() == usual), None)


class Made(NamedTuple):
    """All of a task but its inputs; `held` are positions."""

    labels: Tensor
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    test_labels: Tensor | None
    truth: Tensor | None
    held: Tensor


def made_of(found: Table, read: Read, reading: Reading, made: Made, kept: np.ndarray, tested: np.ndarray) -> Task:
    """A task of the rows that are kept and those that are tested on."""
    held = made.held if len(made.held) else None
    if read.kind == "pictures":
        pictures, notes = pictures_of(found, read.names[0])
        test = None if made.test_labels is None else (PicturesAt(pictures, tuple(tested.tolist())), made.test_labels)
        task = picture_source(
            PicturesAt(pictures, tuple(kept.tolist())), made.labels, made.ids, made.classes, reading, 32, test,
            truth=made.truth, held=held,
        )  # fmt: skip
        return replace(task, notes=(*notes, *task.notes))
    everything, notes = values_of(found, read)
    rows = torch.from_numpy(kept), torch.from_numpy(tested)
    inputs, tests = (everything[at] if isinstance(everything, Tensor) else everything.subset(at) for at in rows)
    return Task(
        inputs, made.labels, made.ids, made.classes, None if made.test_labels is None else tests, made.test_labels,
        made.truth, held, columns=read.choice.columns, notes=notes,
    )  # fmt: skip


def parts_of(
    found: Table, name: str | None, given: Labels, true: Labels | None, chosen: bool
) -> tuple[np.ndarray, tuple[str, ...]]:  # fmt: skip
    """What each row is for, by the source or the split column, and what to say of it.

    Rows to test on without a label are left out; where nothing is left to test on, what was to be held out is.

    Raises:
        InputError: a cell that names no part, with its row; no row to train on.
    """
    asked, name = name is not None, name or called(found, "split")
    parted = found.parts is not None and bool((found.parts != found.parts[0]).any()) and not asked
    if parted and found.parts is not None:
        part, name = found.parts.copy(), "the set"
    elif name is None:
        if not chosen:
            refuse_unnamed_split(found)
        return np.full(len(given), TRAIN), ()
    else:
        cells = found.texts(name)
        part = np.array([-1 if (one := part_of(cell)) is None else one for cell in cells])
        if (part < 0).any():
            row = int(np.argmax(part < 0))
            raise InputError(f"data: {found.where(row)}: {name} is {cells[row]!r}; expected train, validation or test")
    if not (part == TRAIN).any():
        raise InputError(f"data: {found.path}: {name} gives no row to train on")
    bare = np.array([level is None for level in given.levels])[given.codes]
    if true is not None:
        bare &= np.array([level is None for level in true.levels])[true.codes]
    notes = []
    before = bool((part == TEST).any())
    if not ((part == TEST) & ~bare).any() and (part == HELD).any():
        part[part == HELD] = TEST
        notes.append(f"validation is tested on ({name} has {'no labels' if before else 'no rows'} for test)")
    if (unlabelled := (part == TEST) & bare).any():
        notes.append(f"{int(unlabelled.sum()):,} rows to test on have no label and are left out")
        part[unlabelled] = -1
    return part, tuple(notes)


def refuse_unnamed_split(found: Table) -> None:
    """Raise `InputError` for a column that says what each row is for, where nothing says that it does."""
    for name in map(str, found.frame.columns):
        cells = found.column(name)
        levels = {cell if isinstance(cell, str) else "" for cell in cells[:1000]}
        if re.fullmatch(r"is_?(train|training|test|testing)", name.lower()):
            raise InputError(
                f"data: {found.path}: column {name!r} says what rows are for; write train and test into a "
                "column split in its place, or name the inputs with --input"
            )
        known = {level for level in levels if part_of(level) is not None}
        if len(levels) > 1 and known and all(level.strip().casefold() in OTHER_PARTS for level in levels - known):
            raise InputError(
                f"data: {found.path}: column {name!r} says {shortened(sorted(levels))}; add --split {name} where it is "
                "for that, or --input without it"
            )


def inputs_of(found: Table, asked: str | None, own: set[str], rows: np.ndarray, given: Labels) -> Read:
    """What is read: what was asked for, else pictures or texts by the column's name, else what can be learned from.

    Raises:
        InputError: no such column, or nothing that could be learned from.
    """
    if asked is not None:
        return asked_inputs(found, [*dict.fromkeys(name.strip() for name in asked.split(","))], rows, given.name)
    names = [name for name in found.names if name not in own]
    for name in (*found.pictures, *(name for name in PICTURES if name in found.frame and holds_paths(found, name, 0))):
        return Read("pictures", (name,))
    if TEXT in found.frame:
        return Read("text", (TEXT,))
    if paths := [name for name in names if holds_paths(found, name)]:
        if len(paths) > 1:
            raise InputError(
                f"data: {found.path}: which column holds the pictures? --input {' or --input '.join(paths)}"
            )
        return Read("pictures", (paths[0],))
    labels = [given.levels[code] for code in given.codes]
    choice = choose_columns(found, names, rows, False, labels)
    texts = choice.texts
    beside = all(column.kind not in ("number", "date") for column in choice.columns) and len(texts) == 1
    if choice.columns and not beside:
        return Read("columns", tuple(names), choice)
    lists = [name for name in names if kind_of_cells(found.column(name))[0] == "list"]
    for kind, only in (("text", texts), ("lists", lists)):
        if len(only) == 1:
            left = tuple(text for text in choice.left_out if not text.startswith(f"{only[0]} ("))
            left += tuple(f"{column.name} (beside a text)" for column in choice.columns)
            return Read(kind, (only[0],), Choice((), left))
    if several := [*texts, *lists]:
        both = f", or all of them, --input {','.join(texts)}" if len(texts) > 1 else ""
        raise InputError(
            f"data: {found.path}: which column holds the inputs? --input {' or --input '.join(several)}{both}"
        )
    left = choice.left_out
    only_one = f"its column {left[0]}" if len(left) == 1 else f"only {shortened(left)}" if left else "nothing else"
    raise InputError(
        f"data: {found.path} has no column path or text, and none to learn from ({only_one}); name the inputs "
        "with --input"
    )


def holds_paths(found: Table, name: str, share: float = 0.9) -> bool:
    """Whether most cells of a column are paths of pictures by their ending (`share` 0: or have none at all)."""
    held = [cell for cell in found.column(name) if not is_empty(cell)]
    if not held or not all(isinstance(cell, str) for cell in held):
        return False
    if sum(cell.lower().endswith(SUFFIXES) for cell in held) >= (share or 0.5) * len(held):
        return True
    home = found.path if found.path.is_dir() else found.path.parent
    bare = not share and not any(Path(cell).suffix for cell in held)
    return bare and any((home / cell).is_file() or Path(cell).is_file() for cell in held[:100])


def asked_inputs(found: Table, names: list[str], rows: np.ndarray, label: str) -> Read:
    """What the columns hold that a person asked for: one of pictures, texts or lists, or several together."""
    if label in names:
        raise InputError(f"input: {label} is the column of labels; leave it out, or name another with --label")
    for name in names:
        found.require(name, "input")
    pictures = [name for name in names if name in found.pictures or holds_paths(found, name)]
    if pictures and len(names) > 1:
        raise InputError(
            f"data: {found.path}: {pictures[0]} holds pictures, which are read alone; write --input {pictures[0]}"
        )
    if pictures:
        return Read("pictures", tuple(names))
    kinds = {name: kind_of_cells(found.column(name))[0] for name in names}
    first = next((cell for cell in found.column(names[0]) if not is_empty(cell)), "")
    if len(names) == 1 and isinstance(first, str) and kinds[names[0]] in ("text", "category"):
        return Read("text", tuple(names))
    if len(names) == 1 and kinds[names[0]] == "list":
        return Read("lists", tuple(names))
    if all(kind == "text" for kind in kinds.values()):
        return Read("text", tuple(names))
    return Read("columns", tuple(names), choose_columns(found, names, rows, True))


def values_of(found: Table, read: Read) -> tuple[Inputs, tuple[str, ...]]:
    """The inputs of all rows: texts, or numbers ``[N, D]``; and what to say of them."""
    if read.kind == "columns":
        return torch.from_numpy(table_numbers(found, read.choice.columns)), ()
    columns = [found.column(name, "input") for name in read.names]
    if read.kind == "text":
        for name, cells in zip(read.names, columns, strict=True):
            for row, cell in enumerate(cells):
                check_text(cell, name, found.where(row))
        texts = ["\n".join("" if is_empty(cell) else whole(cell) for cell in row) for row in zip(*columns, strict=True)]
        empty = sum(not text.strip() for text in texts)
        return Texts(tuple(texts)), (f"{empty:,} texts are empty",) if empty else ()
    return torch.from_numpy(lists_of(found, read.names[0], columns[0])), ()


def lists_of(found: Table, name: str, cells: Sequence[object]) -> np.ndarray:
    """Lists of numbers of one length ``[N, D]``, float32.

    Raises:
        InputError: they are no such, with the row.
    """
    row = next((row for row, cell in enumerate(cells) if is_empty(cell)), None)
    if row is not None:
        raise InputError(f"data: {found.where(row)}: {name} is empty; expected a list of numbers")
    try:
        array = np.array(list(cells), dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"data: {found.path}: {name} holds no lists of numbers of one length ({error})") from error
    if array.ndim != 2 or not array.shape[1]:
        raise InputError(
            f"data: {found.path}: {name} holds arrays of shape {list(array.shape[1:])}; expected lists of numbers"
        )
    wrong = np.nonzero(~np.isfinite(array).all(1))[0]
    if len(wrong):
        raise InputError(f"data: {found.where(int(wrong[0]))}: {name} holds NaN or infinity")
    return array


def pictures_of(found: Table, name: str) -> tuple[Pictures, tuple[str, ...]]:
    """The pictures of a column, and how their paths are read where that is not beside the table."""
    if name in found.pictures:
        return found.pictures[name], ()
    names = found.texts(name)
    homes = [found.place(row)[0].parent for row in range(len(names))]
    ways: dict[str, Callable[[Path, str], Path]] = {
        "": lambda home, text: home / text,
        "from the current folder": lambda home, text: Path(text),
        "from the table's folder, \\ for /": lambda home, text: home / PureWindowsPath(text).as_posix(),
        "from the current folder, \\ for /": lambda home, text: Path(PureWindowsPath(text).as_posix()),
    }
    tried = list(zip(homes, names, strict=True))[:: max(1, len(names) // 100)]
    best = max(ways, key=lambda way: sum(ways[way](home, text).is_file() for home, text in tried))
    return PictureFiles(tuple(map(ways[best], homes, names))), (f"paths in {name} are read {best}",) if best else ()
