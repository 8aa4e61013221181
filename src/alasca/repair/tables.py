"""Tables with repaired labels: text files byte for byte, Parquet with its schema."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from alasca.data.sources.labels import read_labels, spelling_key
from alasca.data.sources.table_files import Table, read_table, read_tables, suffix_of, whole
from alasca.errors import InputError, missing
from alasca.files import write_bytes
from alasca.recipe import Place, Recipe, found_from
from alasca.repair.cells import require_alike, rewritten
from alasca.repair.changes import Change
from alasca.runs import Records, RunFolder


def mend_tables(
    recipe: Recipe, argument: str, records: Records, changes: Sequence[Change], to: Path
) -> tuple[list[tuple[Path, Path]], list[Change]]:
    """Write the files of a table with other labels into a folder: one as it is called, several as they lie.

    Returns:
        Each file of the table that has changes, and its copy; and the changes that were due: see `still_due`.

    Raises:
        InputError: the table is not the one that the run read, or can't be copied cell by cell.
    """
    table, where, given = as_read(recipe, argument, records, changes)
    changes = still_due(table, recipe, given, changes, where)
    root = shared_folder(table)
    by_file: dict[Path, dict[int, str | None]] = {}
    holders: dict[Path, dict[str, Counter[str]]] = {}
    first: dict[tuple[Path, str, str], int] = {}
    for row, name in given.items():
        path, number = table.place(row)
        cell = repr(table.frame[recipe.label].iloc[row])
        holders.setdefault(path, {}).setdefault(name, Counter())[cell] += 1
        first.setdefault((path, name, cell), number)
    for change in changes:
        path, number = table.place(where[change.id])
        by_file.setdefault(path, {})[number] = change.fixed
    found = []
    for path, labels in by_file.items():
        donors = {
            name: first[path, name, cells.most_common(1)[0][0]]
            for name, cells in holders[path].items()
            if name != "none"
        }
        copy = to / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if suffix_of(path) == ".parquet":
            write_parquet(path, recipe.label, labels, donors, copy)
        else:
            write_bytes(copy, rewritten(path, recipe.label, labels, donors))
        require_alike(read_table(path).frame, read_table(copy).frame, recipe.label, labels, donors, path)
        found.append((path, copy))
    return found, changes


def as_read(
    recipe: Recipe, argument: str, records: Records, changes: Sequence[Change]
) -> tuple[Table, dict[str, int], dict[int, str]]:  # fmt: skip
    """The table as it is now, the row of each id, and the label that the run read in each row.

    Raises:
        InputError: a row is gone.
    """
    table = read_tables(argument)
    where = {sample: row for row, sample in enumerate(table.row_ids(recipe.id))}
    if odd := [change.id for change in changes if change.id not in where]:
        raise InputError(f"repair: {argument} has no row {odd[0]!r} any more; put the run's table back")
    pairs = zip(records.ids, records.given, strict=True)
    return table, where, {where[sample]: records.name(label) for sample, label in pairs if sample in where}


def shared_folder(table: Table) -> Path:
    """The folder that holds all files of a table."""
    files = [path for _, path in table.files] or [table.path]
    return Path(os.path.commonpath([path.parent for path in files]))


def still_due(
    table: Table, recipe: Recipe, given: Mapping[int, str], changes: Sequence[Change], where: Mapping[str, int]
) -> list[Change]:
    """The changes of labels that are as the run read them; those that were changed since stay as they are.

    Raises:
        InputError: a table without ids whose rows are not those that the run read.
    """
    levels = read_labels(recipe.label, table.column(recipe.label), table.where, recipe.missing_label)

    def same(row: int, name: str) -> bool:
        level = levels.levels[levels.codes[row]]
        if level is None or name in ("", "none"):
            return (level is None) == (name in ("", "none"))
        return level == name or (recipe.normalise_labels and spelling_key(level) == spelling_key(name))

    changed = [row for row, name in given.items() if not same(row, name)]
    if changed and table.id_column(recipe.id) is None:
        done = {where[change.id]: change.fixed for change in changes if change.fixed is not None}
        if odd := [row for row in changed if row not in done or not same(row, done[row] or "")]:
            raise InputError(
                f"repair: {table.where(odd[0])}: its label is not the one that the run read ({given[odd[0]]}), and "
                "rows go by their numbers: put the run's table back, or add a column id and run again"
            )
    gone = set(changed)
    return [change for change in changes if where[change.id] not in gone]


def column_by_id(run: RunFolder, records: Records, name: str) -> list[str]:
    """A column of the table that a run was trained on, in the order of its samples.

    Raises:
        InputError: the run read no table, or one without that column or these rows.
    """
    described = run.settings()
    recipe, _ = found_from(run.recipe(), Place.from_json(described["place"]), Path(described["started_in"]))
    kind, _, argument = recipe.data.partition(":")
    if kind != "table" or described["from_program"]:
        raise InputError(f"by: {name}: the run's data are no table with columns ({described['recipe']['data']})")
    table = read_tables(argument)
    cells = table.column(name, "by")
    values = dict(zip(table.row_ids(recipe.id), cells, strict=True))
    if odd := [sample for sample in records.ids if sample not in values]:
        raise InputError(f"by: {argument} has no row {odd[0]!r} any more; put the run's table back")
    return ["" if values[sample] is None else whole(values[sample]) for sample in records.ids]


def write_parquet(
    path: Path, label: str, labels: Mapping[int, str | None], donors: Mapping[str, int], to: Path
) -> None:  # fmt: skip
    """A Parquet file with other labels: all other values, the schema and its metadata as they were."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(f"repair: Parquet files need pyarrow; {missing('pyarrow', 'parquet', error)}") from None
    with pyarrow.parquet.ParquetFile(path) as file:
        table = file.read()
        size = max(1, file.metadata.row_group(0).num_rows) if file.metadata.num_row_groups else 1
        packing = file.metadata.row_group(0).column(0).compression if file.metadata.num_row_groups else "SNAPPY"
    place = table.schema.get_field_index(label)
    field = table.schema.field(place)
    before: list[Any] = table.column(place).to_pylist()
    values = list(before)
    for row, name in labels.items():
        if name is not None:
            values[row] = before[donors[name]] if name in donors else cell_of(name, field.type, path)
    dictionary = pyarrow.types.is_dictionary(field.type)
    column = pyarrow.array(values, type=field.type.value_type if dictionary else field.type)
    table = table.set_column(place, field, column.dictionary_encode().cast(field.type) if dictionary else column)
    dropped = {row for row, name in labels.items() if name is None}
    if dropped:
        table = table.take([row for row in range(len(table)) if row not in dropped])
    pyarrow.parquet.write_table(
        table, to, row_group_size=size, compression=packing if packing != "UNCOMPRESSED" else "NONE"
    )


def cell_of(name: str, kind: Any, path: Path) -> Any:
    """A class's name as a Parquet column holds it, where no row of its file has it.

    Raises:
        InputError: the column can't hold it.
    """
    import pyarrow

    kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
    try:
        return pyarrow.array([name]).cast(kind)[0].as_py()
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
        raise InputError(f"repair: {path}: a column of {kind} can't hold the class {name!r}") from error


def write_labels(records: Records, changes: Sequence[Change], path: Path) -> None:
    """``id, label`` of every sample, with its label from now on; nothing for one that is left out."""
    fixed = {change.id: change.fixed or "" for change in changes}
    own = [records.name(label) if label >= 0 else "" for label in records.given.tolist()]
    labels = [fixed.get(sample, name) for sample, name in zip(records.ids, own, strict=True)]
    write_bytes(
        path, pd.DataFrame({"id": list(records.ids), "label": labels}).to_csv(index=False, lineterminator="\n").encode()
    )
