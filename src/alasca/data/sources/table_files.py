"""Tables as they lie in files: CSV, JSON and Parquet, one or many, with the line of every row for messages."""

from __future__ import annotations

import bisect
import codecs
import glob
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alasca.data.pictures import Pictures
from alasca.data.sources.base import flaw, shortened
from alasca.data.sources.cells import is_empty
from alasca.data.sources.delimited import read_delimited
from alasca.data.sources.json_rows import read_json_rows
from alasca.data.sources.splits import SYSTEM, part_in, part_of
from alasca.errors import InputError, missing
from alasca.files import open_regular, read_bytes, read_gzip, reason, require_memory
from alasca.values import nearest

SUFFIXES = (".parquet", ".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json")


@dataclass(frozen=True)
class Table:
    """A table of texts and numbers, and how its rows are called in messages.

    Attributes:
        path: the file, or what names several.
        frame: the cells; None where one holds nothing that a file tells from an empty text.
        lines: of the rows, counted as editors count; empty: they are called by number, from 0.
        files: where the rows of each file begin, where there are several.
        notes: what a person should know of how it was read.
        declared: names of classes in order, by column, where whoever made the data says so.
        pictures: columns of pictures that are not in `frame`.
        parts: of each row, 0 to train on, 1 held out, 2 to test on, where the source says so.
    """

    path: Path
    frame: pd.DataFrame
    lines: tuple[int, ...] = ()
    files: tuple[tuple[int, Path], ...] = ()
    notes: tuple[str, ...] = ()
    declared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pictures: Mapping[str, Pictures] = field(default_factory=dict)
    parts: np.ndarray | None = None

    def where(self, row: int) -> str:
        """A row for people: its line as an editor counts, or its number from 0 where there are no lines."""
        path, number = self.place(row)
        return f"{path} line {self.lines[row]}" if self.lines else f"{path} row {number}"

    def place(self, row: int) -> tuple[Path, int]:
        """The file that holds a row, and its number there."""
        first, path = 0, self.path
        if self.files:
            first, path = self.files[bisect.bisect_right([start for start, _ in self.files], row) - 1]
        return path, row - first

    def ids(self) -> list[str]:
        """A name for each row: its file, seen from the folder of all, and its number there."""
        parents = {str(file.parent) for _, file in self.files}
        shared = Path(os.path.commonpath(parents)) if parents else None
        found = []
        for row in range(len(self.frame)):
            path, number = self.place(row)
            found.append(f"{path.name if shared is None else path.relative_to(shared).as_posix()}/{number}")
        return found

    def id_column(self, asked: str | None) -> str | None:
        """The column of ids; None where rows go by their numbers."""
        return asked or ("id" if "id" in self.names else None)

    def row_ids(self, asked: str | None) -> list[str]:
        """What each row goes by: its cell in the column of ids, or `ids`."""
        name = self.id_column(asked)
        return self.ids() if name is None else self.texts(name, True)

    @property
    def names(self) -> list[str]:
        """Of all columns."""
        return [*self.pictures, *map(str, self.frame.columns)]

    def require(self, name: str, option: str) -> None:
        """Raise `InputError` where there is no column of a name."""
        if name not in self.names:
            mend = nearest(name, self.names, f"name another, e.g. --{option}")
            raise InputError(f"data: {self.path} has no column {name!r}, only {', '.join(self.names)}; {mend}")

    def column(self, name: str, option: str = "label") -> list[Any]:
        """The cells of a column.

        Raises:
            InputError: there is none of that name.
        """
        self.require(name, option)
        return list(self.frame[name])

    def texts(self, name: str, one_line: bool = False) -> list[str]:
        """The cells of a column as texts, none of them empty; of one line each where that is asked for.

        Raises:
            InputError: no such column, or a cell that is empty, a list, or no text that can be written, with its row.
        """
        values = self.column(name)
        for row, value in enumerate(values):
            if is_empty(value):
                raise InputError(f"data: {self.where(row)}: {name} is empty")
            check_text(value, name, self.where(row), one_line)
        return [whole(value) for value in values]


def check_text(value: Any, name: str, where: str, one_line: bool = False) -> None:
    """Raise `InputError` for a cell that is a list, or a text that can't be written."""
    if isinstance(value, (list, dict)):
        raise InputError(f"data: {where}: {name} is a {type(value).__name__}; expected a text")
    if isinstance(value, str) and (why := flaw(value, one_line)) is not None:
        raise InputError(f"data: {where}: {name} {why}")


def read_tables(argument: str) -> Table:
    """The table that ``table:FILE`` names: a file, or the files of a folder or pattern, one below another.

    Raises:
        InputError: there is none, it can't be read, or the columns of several differ.
    """
    path = Path(argument)
    if argument and path.is_file():
        return read_table(path)
    found = table_files(path) if path.is_dir() else [Path(name) for name in sorted(glob.glob(argument, recursive=True))]
    found = [file for file in found if file.is_file()]
    if not argument or not found:
        raise InputError(
            f"data: no such file: {argument or '(empty)'}; expected table:FILE, or a folder or pattern of Parquet files"
        )
    tables = [read_table(file) for file in found]
    columns = list(tables[0].frame.columns)
    for each, table in zip(found, tables, strict=True):
        if set(table.frame.columns) != set(columns):
            odd = sorted(map(str, set(columns) ^ set(table.frame.columns)))
            raise InputError(f"data: {each} has other columns than {found[0]} ({shortened(odd)})")
    starts = np.cumsum([0, *(len(table.frame) for table in tables)]).tolist()
    below = len({file.parent for file in found}) > 1
    of_files: list[int | None] = []
    for file in found:
        part = part_in(file.name.partition(".")[0])
        of_files.append(part_of(file.parent.name) if part is None and below else part)
    if len(set(of_files)) > 1 and None in of_files:
        nameless = found[of_files.index(None)]
        raise InputError(
            f"data: {nameless} is no part by its name, as others are; write a pattern, e.g. 'table:{path}/train*'"
        )
    parts = None
    if len(set(of_files)) > 1:
        parts = np.concatenate([np.full(len(table.frame), part) for table, part in zip(tables, of_files, strict=True)])
    return Table(
        path, pd.concat([table.frame[columns] for table in tables], ignore_index=True),
        tuple(line for table in tables for line in table.lines), tuple(zip(starts, found, strict=False)),
        (f"{len(found)} files: {shortened([file.name for file in found], 3)}",
         *dict.fromkeys(note for table in tables for note in table.notes)),
        parts=parts, declared=tables[0].declared,
    )  # fmt: skip


def table_files(folder: Path) -> list[Path]:
    """The files of a folder that are tables, all of one kind.

    Raises:
        InputError: they are of several kinds, or the folder changes while it is looked through.
    """
    try:
        every = [file for file in folder.rglob("*") if suffix_of(file) in SUFFIXES]
    except OSError as error:
        raise InputError(f"data: {folder} can't be looked through ({reason(error)})") from error
    files = sorted(file for file in every if not any(is_aside(part) for part in file.relative_to(folder).parts))
    kinds: dict[str, list[Path]] = {}
    for file in files:
        if (suffix := suffix_of(file)) in SUFFIXES:
            kinds.setdefault(suffix, []).append(file)
    if len(kinds) > 1:
        names = ", ".join(f"{len(found)} {suffix}" for suffix, found in kinds.items())
        raise InputError(
            f"data: {folder} holds tables of several kinds ({names}); write e.g. 'table:{folder}/*.parquet'"
        )
    return next(iter(kinds.values()), [])


def is_aside(name: str) -> bool:
    """Whether a file or folder is hidden, or another program's, by its name."""
    return name.startswith((".", "_", "~$")) or name.casefold() in SYSTEM


def suffix_of(path: Path) -> str:
    """The ending that says what a file holds, packed or not."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def read_table(path: Path) -> Table:
    """A table from a file, by its suffix.

    Raises:
        InputError: it can't be read as what its suffix says, with the line where there is one.
    """
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        raise InputError(f"data: {path}: expected a table in .csv, .tsv, .json, .jsonl (or .gz of these) or .parquet")
    if suffix == ".parquet":
        return read_parquet(path)
    text = decoded(path)
    read = read_json_rows(path, text) if "json" in suffix else read_delimited(path, text, suffix)
    for name in map(str, read.frame.columns):
        check_column(path, name)
    return Table(path, read.frame, read.lines, notes=read.notes)


def read_parquet(path: Path) -> Table:
    """A Parquet file; nothing for its nulls."""
    try:
        from pyarrow.parquet import ParquetFile

        with open_regular(path) as file, ParquetFile(file) as found:
            told = found.metadata
            groups = sum(told.row_group(k).total_byte_size for k in range(told.num_row_groups))
            require_memory(max(groups, 8 * told.num_rows * told.num_columns), path)
            frame = found.read().to_pandas()
    except ImportError as error:
        raise InputError(f"data: Parquet files need pyarrow; {missing('pyarrow', 'parquet', error)}") from None
    except Exception as error:  # pyarrow's errors have no common class that can be named without it
        raise InputError(f"data: {path} can't be read as Parquet ({reason(error)})") from error
    if frame.index.name is not None:
        frame = frame.reset_index()
    for name in map(str, frame.columns):
        check_column(path, name)
    declared = {
        str(name): tuple(map(str, kind.categories)) for name, kind in frame.dtypes.items()
        if isinstance(kind, pd.CategoricalDtype) and kind.ordered
    }  # fmt: skip
    return Table(path, emptied(frame), declared=declared)


def emptied(frame: pd.DataFrame) -> pd.DataFrame:
    """A data frame's cells, None for those that hold nothing; columns by texts."""
    cells = frame.astype(object)
    return cells.where(frame.notna(), None).set_axis([str(name) for name in frame.columns], axis=1)


def framed(what: str, frame: pd.DataFrame) -> Table:
    """A data frame as a table.

    Raises:
        InputError: two columns of one name.
    """
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"data: {what} has two columns {twice!r}; give each its own name")
    return Table(Path(what), emptied(frame))


def check_column(path: Path, name: str) -> None:
    """Raise `InputError` for a column whose name can't be written in a line."""
    if (why := flaw(name)) is not None:
        raise InputError(f"data: {path}: column {name!r} {why}")


def decoded(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: it is no UTF-8, with the line.
    """
    try:
        content = read_gzip(path) if path.name.lower().endswith(".gz") else read_bytes(path)
    except OSError as error:
        raise InputError(f"data: {path} can't be read ({reason(error)})") from error
    try:
        return content.decode("utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = content[error.start]
        raise InputError(f"data: {path} line {line} is no UTF-8 (byte 0x{byte:02x}); save the table as UTF-8") from None


def whole(value: Any) -> str:
    """A cell as text; a whole number without its ``.0``, which mixed columns give it."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
