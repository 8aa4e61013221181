"""Tables in CSV and JSON with other labels, every other byte as it was."""

from __future__ import annotations

import codecs
import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from alasca.data.sources.delimited import find_delimiter
from alasca.data.sources.json_rows import after_space
from alasca.data.sources.table_files import Table, read_table, suffix_of
from alasca.errors import InputError
from alasca.files import read_bytes, read_gzip

OTHERWISE = "write the changes into it yourself: changes.csv has them by id"


class Span(NamedTuple):
    """Where a row's label stands in a text, and the whole row, what parts it from the next included."""

    start: int
    end: int
    row_start: int
    row_end: int


def rewritten(path: Path, label: str, labels: Mapping[int, str | None], donors: Mapping[str, int]) -> bytes:
    """The bytes of a table in which some rows have other labels, or are left out.

    Args:
        path: of a .csv, .tsv, .txt, .json or .jsonl file, maybe packed as .gz.
        label: the column of labels.
        labels: the new label by row; None: the row is left out.
        donors: for each label a row that holds it, whose cell is copied as it is written there; a label without one is
            written as text.

    Raises:
        InputError: a form whose cells can't be found, or whose copy would not read as it should.
    """
    packed = path.name.lower().endswith(".gz")
    content = read_gzip(path) if packed else read_bytes(path)
    coding = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
    if coding == "utf-16":
        coding = "utf-16-le" if content[:2] == codecs.BOM_UTF16_LE else "utf-16-be"
    text = content.decode(coding)  # a byte order mark is its first letter
    mark, text = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    before = read_table(path)
    is_json = "json" in suffix_of(path)
    spans = json_spans(path, text, label) if is_json else delimited_spans(path, text, label, before)
    if len(spans) != len(before.frame):
        raise InputError(f"repair: {path}: its labels can't be found byte by byte; {OTHERWISE}")
    delimiter = "" if is_json else delimiter_of(path, text)
    pieces, at = [], 0
    for row in sorted(labels):
        name, span = labels[row], spans[row]
        if name is None:
            pieces.append(text[at : span.row_start])
            at = span.row_end
            continue
        donor = donors.get(name)
        cell = text[spans[donor].start : spans[donor].end] if donor is not None else written(name, delimiter)
        pieces += [text[at : span.start], cell]
        at = span.end
    made = mark + "".join(pieces) + text[at:]
    if is_json and None in labels.values():
        made = re.sub(r",(\s*\]\s*)\Z", r"\1", made)  # the last of a list was left out
    found = made.encode(coding)
    return gzip.compress(found, mtime=0) if packed else found


def written(name: str, delimiter: str) -> str:
    """A label as a cell."""
    if not delimiter:
        return json.dumps(name, ensure_ascii=False)
    needs = delimiter in name or any(letter in name for letter in '"\r\n') or name != name.strip()
    return '"' + name.replace('"', '""') + '"' if needs else name


def require_alike(
    before: pd.DataFrame, after: pd.DataFrame, label: str, labels: Mapping[int, str | None], donors: Mapping[str, int],
    path: Path,
) -> None:  # fmt: skip
    """Raise `InputError` unless a rewritten table reads as the old one does, but for the labels that were changed."""
    expected = before.copy()
    for row, name in labels.items():
        if name is not None:
            expected.iloc[row, list(before.columns).index(label)] = (
                before[label][donors[name]] if name in donors else like(before[label], name)
            )
    expected = expected.drop(index=[row for row, name in labels.items() if name is None]).reset_index(drop=True)
    if list(expected.columns) != list(after.columns) or not expected.equals(after.reset_index(drop=True)):
        raise InputError(f"repair: {path}: a copy would not read as the table does; {OTHERWISE}")


def like(column: pd.Series, name: str) -> Any:
    """A class's name as the cells of a column are: a number where these are."""
    kinds = {type(value) for value in column.tolist() if value is not None}
    if kinds == {int}:
        return int(name)
    return float(name) if kinds == {float} else name


def delimiter_of(path: Path, text: str) -> str:
    """What separates the cells of a text; see `alasca.data.sources.delimited`."""
    usual = "\t" if suffix_of(path) == ".tsv" else ","
    if said := re.match(r"sep=(.)\r?\n", text):
        usual, text = said[1], "\n" + text[said.end() :]
    return find_delimiter(text, usual)


def delimited_spans(path: Path, text: str, label: str, table: Table) -> list[Span]:
    """Where the labels of a table of cells stand, for each row that is read."""
    delimiter = re.escape(delimiter_of(path, text))
    cell = re.compile(rf'( *"(?:[^"]|"")*"[^{delimiter}\r\n]*|[^{delimiter}\r\n]*)({delimiter}|\r\n|\n|\r|\Z)')
    rows: dict[int, list[tuple[int, int]]] = {}
    ends: dict[int, tuple[int, int]] = {}
    at, line, begun, cells = 0, 1, 0, list[tuple[int, int]]()
    if said := re.match(r"sep=(.)\r?\n", text):
        at, line, begun = said.end(), 2, said.end()
    while at < len(text):
        found = cell.match(text, at)
        if found is None:
            break
        cells.append(found.span(1))
        at = found.end()
        if not re.fullmatch(delimiter, found[2]):
            if len(cells) > 1 or cells[0][0] < cells[0][1]:
                rows[line], ends[line] = cells, (begun, at)
            line, begun, cells = line + len(re.findall(r"\r\n|\n|\r", text[begun:at])), at, []
    if not rows:
        return []
    head = [text[start:end].strip().strip('"').strip() for start, end in next(iter(rows.values()))]
    place = (
        head.index(label) if label in head else int(label.rpartition(" ")[2]) if label.startswith("Unnamed: ") else -1
    )
    if place < 0 or any(number not in rows or len(rows[number]) <= place for number in table.lines):
        return []
    return [Span(*rows[number][place], *ends[number]) for number in table.lines]


def json_spans(path: Path, text: str, label: str) -> list[Span]:
    """Where the labels of objects stand, an object a line or in a list; empty for other forms."""
    decoder, at, found = json.JSONDecoder(), after_space(text, 0), list[Span]()
    at = after_space(text, at + 1) if text[at : at + 1] == "[" else at
    try:
        while at < len(text) and text[at] == "{":
            _, end = decoder.raw_decode(text, at)
            follows = after_space(text, end)
            if text[follows : follows + 1] == ",":
                follows = after_space(text, follows + 1)
            span = member(text, at, label, decoder)
            if span is None:
                return []
            found.append(Span(*span, at, follows))
            at = follows
    except (ValueError, RecursionError):
        return []
    return found


def member(text: str, at: int, name: str, decoder: json.JSONDecoder) -> tuple[int, int] | None:
    """Where the value of a name stands in the object that begins at a place; None where it has none."""
    at = after_space(text, at + 1)
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        start = after_space(text, after_space(text, at) + 1)
        _, end = decoder.raw_decode(text, start)
        if key == name:
            return start, end
        at = after_space(text, end)
        at = after_space(text, at + 1) if text[at] == "," else at
    return None
