"""Tables as they lie in files: CSV, JSON lines and Parquet, with the line of every row for messages."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alasca.data.sources.base import flaw
from alasca.errors import InputError, missing
from alasca.files import open_regular, read_bytes, reason, require_memory
from alasca.values import nearest


@dataclass(frozen=True)
class Table:
    """A table of texts and numbers, and how its rows are called in messages."""

    path: Path
    frame: pd.DataFrame
    lines: tuple[int, ...] = ()

    def where(self, row: int) -> str:
        """A row for people: counted from 0, with its line in a file of lines."""
        return f"{self.path} row {row}" + (f" (line {self.lines[row]})" if self.lines else "")

    def column(self, name: str, option: str = "label") -> list[Any]:
        """The cells of a column.

        Raises:
            InputError: there is none of that name.
        """
        if name not in self.frame:
            columns = [str(column) for column in self.frame.columns]
            mend = nearest(name, columns, f"name another, e.g. --{option}")
            if any(";" in column for column in columns):
                mend = "its cells are separated by ';': save it with commas"
            raise InputError(f"data: {self.path} has no column {name!r}, only {', '.join(columns)}; {mend}")
        return list(self.frame[name])

    def texts(self, name: str, one_line: bool = False) -> list[str]:
        """The cells of a column as texts, none of them empty; of one line each where that is asked for.

        Raises:
            InputError: no such column, or a cell that is empty, a list, or no text that can be written, with its row.
        """
        values = self.column(name)
        for row, value in enumerate(values):
            if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
                raise InputError(f"data: {self.where(row)}: {name} is empty")
            if isinstance(value, (list, dict)):
                raise InputError(f"data: {self.where(row)}: {name} is a {type(value).__name__}; expected a text")
            if isinstance(value, str) and (why := flaw(value, one_line)) is not None:
                raise InputError(f"data: {self.where(row)}: {name} {why}")
        return [whole(value) for value in values]

    def names(self, name: str) -> list[str]:
        """The cells of a column of labels or ids: texts of one line; see `texts`."""
        return self.texts(name, one_line=True)


def read_table(path: Path) -> Table:
    """A table from a file, by its suffix.

    Raises:
        InputError: it can't be read as what its suffix says, with the line where there is one.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return read_parquet(path)
    if suffix not in (".csv", ".tsv", ".jsonl", ".ndjson", ".json"):
        raise InputError(f"data: {path}: expected a table in .csv, .tsv, .jsonl or .parquet")
    text = decoded(path)
    return (
        read_csv(path, text, "\t" if suffix == ".tsv" else ",") if suffix in (".csv", ".tsv") else read_json(path, text)
    )


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
    for name in map(str, frame.columns):
        check_column(path, name)
    cells = frame.astype(object)
    return Table(path, cells.where(frame.notna(), None))


def read_csv(path: Path, text: str, separator: str) -> Table:
    """Lines of cells, as many in each as in the first, which names the columns; empty lines are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    begun = 1
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(begun)
            begun = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"data: {path} line {reader.line_num} can't be read as CSV ({error})") from error
    if not rows:
        raise InputError(f"data: {path} can't be read as CSV (it is empty)")
    head, body = rows[0], rows[1:]
    if len(set(head)) < len(head):
        twice = next(name for name in head if head.count(name) > 1)
        raise InputError(f"data: {path} has two columns {twice!r}; give each its own name")
    for name in head:
        check_column(path, name)
    for row, line in zip(body, lines[1:], strict=True):
        if len(row) != len(head):
            raise InputError(
                f"data: {path} line {line} has {len(row)} cells, the first line {len(head)}; put a cell with a "
                f"{separator!r} in it in quotes"
            )
    return Table(path, pd.DataFrame(body, columns=head, dtype=object), tuple(lines[1:]))


def read_json(path: Path, text: str) -> Table:
    """A JSON object on each line; empty lines are left out."""
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"data: {path} line {number} is no JSON ({error})") from error
        if not isinstance(row, dict):
            raise InputError(f"data: {path} line {number} is no JSON object")
        rows.append(row)
        lines.append(number)
    for name in {name: None for row in rows for name in row}:
        check_column(path, name)
    frame = pd.DataFrame(rows, dtype=object)
    return Table(path, frame.where(frame.notna(), None), tuple(lines))


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
        content = read_bytes(path)
    except OSError as error:
        raise InputError(f"data: {path} can't be read ({reason(error)})") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = content[error.start]
        raise InputError(f"data: {path} line {line} is no UTF-8 (byte 0x{byte:02x}); save the table as UTF-8") from None


def whole(value: Any) -> str:
    """A cell as text; a whole number without its ``.0``, which mixed columns give it."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
