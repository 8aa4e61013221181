"""What a person names to predict: pictures, folders of them, tables, texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alasca.data.pictures import SUFFIXES as PICTURE_SUFFIXES
from alasca.data.pictures import PictureFiles
from alasca.data.sources.embedded import named_numbers
from alasca.data.sources.folders import walk
from alasca.data.sources.labels import read_labels
from alasca.data.sources.table_files import SUFFIXES, Table, read_tables, suffix_of
from alasca.data.sources.tables import inputs_of, pictures_of, values_of
from alasca.data.text import Texts
from alasca.data.transform import Transform
from alasca.errors import InputError
from alasca.recipe import Recipe
from alasca.runs.model import BATCH

Part = tuple[list[str], Any]


def named_inputs(transform: Transform, recipe: Recipe, given: Sequence[str]) -> Iterator[Part]:
    """Names and raw inputs of samples, a batch at a time.

    Args:
        transform: of the run.
        recipe: of the run: which columns of tables it read.
        given: paths of pictures, of folders of such, of tables, of NumPy files of numbers, or, of a run that was
            trained on texts, these.

    Raises:
        InputError: no such file, or of another kind than the run was trained on.
    """
    kind = transform.kind
    for text in given:
        path = Path(text)
        if suffix_of(path) in SUFFIXES and path.is_file():
            yield from of_table(transform, recipe, read_tables(text))
        elif kind == "numbers" and path.suffix.lower() in (".npy", ".npz") and path.is_file():
            names, values = named_numbers(text, "predict")
            yield from batches(names or [f"{path.name}/{row}" for row in range(len(values))], values)
        elif kind == "texts":
            looks = " " not in text and path.suffix.lower() in (*SUFFIXES, *PICTURE_SUFFIXES)
            if looks or not text.strip():
                raise InputError(
                    f"predict: {'no such file: ' + text if looks else 'an empty text'}; expected tables or texts"
                )
            yield [text], [text]
        elif kind == "pictures" and path.is_dir():
            found = list(walk(path, Counter()))
            if not found:
                raise InputError(f"predict: {path} holds no pictures")
            yield from batches([str(each) for each in found], found)
        elif kind == "pictures" and path.is_file():
            yield [text], [path]
        else:
            expected = "pictures, folders or tables" if kind == "pictures" else "tables, .npy or .npz"
            why = "is none of these" if path.exists() else "no such file"
            raise InputError(f"predict: {text}: {why}; expected {expected}, as the run was trained on {kind}")


def of_table(transform: Transform, recipe: Recipe, table: Table) -> Iterator[Part]:
    """The rows of a table, in the columns that the run was trained on."""
    if not len(table.frame):
        raise InputError(f"predict: {table.path} has no rows")
    names = table.row_ids(recipe.id if recipe.id in table.names else None)
    if transform.columns:
        absent = [column.name for column in transform.columns if column.name not in table.names]
        if absent:
            raise InputError(f"predict: {table.path} has no column {', '.join(absent)}, which the run was trained on")
        for start in range(0, len(names), BATCH):
            yield names[start : start + BATCH], table.frame.iloc[start : start + BATCH].reset_index(drop=True)
        return
    label = recipe.label if recipe.label in table.frame else "label"
    own = {
        recipe.label,
        recipe.id or "id",
        recipe.true or "true_label",
        recipe.split or "split",
        recipe.group or recipe.label,
    }
    nothing = read_labels(label, ["0"] * len(names), table.where)
    read = inputs_of(table, recipe.input, own, np.ones(len(names), dtype=bool), nothing)
    if read.kind == "pictures":
        pictures, _ = pictures_of(table, read.names[0])
        if not isinstance(pictures, PictureFiles):
            raise InputError(f"predict: {table.path}: {read.names[0]} holds no paths of pictures")
        yield from batches(names, list(pictures.paths))
        return
    values, _ = values_of(table, read)
    yield from batches(names, list(values.values) if isinstance(values, Texts) else values)


def batches(names: list[str], values: Any) -> Iterator[Part]:
    """Some samples at a time."""
    for start in range(0, len(names), BATCH):
        yield names[start : start + BATCH], values[start : start + BATCH]
