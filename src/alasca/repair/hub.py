"""Hugging Face data sets with repaired labels, saved anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alasca.data.sources.hub import chosen_splits, label_column, load, table_of
from alasca.data.task import Reading
from alasca.errors import InputError
from alasca.recipe import Recipe
from alasca.repair.changes import Change
from alasca.repair.tables import still_due
from alasca.runs import Records


def write_saved(recipe: Recipe, argument: str, records: Records, changes: Sequence[Change], to: Path) -> list[Change]:
    """A data set with other labels, as ``save_to_disk`` writes it: all splits, columns and their types as they were.

    Returns:
        The changes that were due: see `still_due`.

    Raises:
        InputError: the data set is not the one that the run read, or its column can't hold a class.
    """
    import datasets

    reading, title = Reading(recipe), f"hf:{argument}"
    splits = load(argument)
    parts, _ = chosen_splits(splits, reading, title)
    label = label_column(splits[next(iter(parts))], reading, title)
    recipe = replace(recipe, label=label)
    table = table_of(argument, splits, parts, label, ())
    where = {sample: row for row, sample in enumerate(table.row_ids(recipe.id))}
    if odd := [change.id for change in changes if change.id not in where]:
        raise InputError(f"repair: {title} has no row {odd[0]!r} any more; put the run's data set back")
    pairs = zip(records.ids, records.given, strict=True)
    given = {where[sample]: records.name(name) for sample, name in pairs if sample in where}
    due = still_due(table, recipe, given, changes, where)
    ends, start = {}, 0
    for name in parts:
        ends[name] = (start, start + len(splits[name]))
        start += len(splits[name])
    made = dict(splits)
    for name, (first, last) in ends.items():
        own = {where[change.id] - first: change.fixed for change in due if first <= where[change.id] < last}
        if own:
            holders = {given[row]: row - first for row in range(first, last) if row in given}
            made[name] = relabelled(splits[name], label, own, holders, title)
    lone = len(splits) == 1 and not (Path(argument) / "dataset_dict.json").is_file()
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        (made[next(iter(made))] if lone else datasets.DatasetDict(made)).save_to_disk(str(to))
    finally:
        if shown:
            datasets.enable_progress_bars()
    return due


def relabelled(
    rows: Any, label: str, changes: dict[int, str | None], holders: dict[str, int], title: str
) -> Any:  # fmt: skip
    """A split with other labels in some rows, and without those whose label is None.

    Args:
        rows: the split.
        label: its column of labels.
        changes: class, or None, by row.
        holders: a row that has each class.
        title: begins messages.
    """
    feature, plain = rows.features[label], rows.with_format(None)
    values = list(plain[label])
    before, names = list(values), getattr(feature, "names", None)
    for row, name in changes.items():
        if name is None:
            continue
        if names is not None and name in names:
            values[row] = names.index(name)
        elif names is None and name in holders:
            values[row] = before[holders[name]]
        else:
            raise InputError(f"repair: {title}: no row of {label} has the class {name!r}, and so none can get it")
    made = plain.remove_columns(label).add_column(label, values).select_columns(rows.column_names)
    made = made.cast(rows.features) if made.features != rows.features else made
    if dropped := {row for row, name in changes.items() if name is None}:
        made = made.select([row for row in range(len(values)) if row not in dropped])
    return made
