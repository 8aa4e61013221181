"""Tables in JSON: an object a line, an array of them, columns by name, and what Label Studio exports."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from alasca.data.sources.base import flaw
from alasca.data.sources.delimited import Read
from alasca.errors import InputError

Row = dict[str, Any]


def read_json_rows(path: Path, text: str) -> Read:
    """Rows from JSON, as pandas, most tools for annotation and most programs write it.

    Raises:
        InputError: it is no JSON or no objects, with the line.
    """
    begins = text.lstrip()[:1]
    if begins == "{" and (columns := read_columns(path, text)) is not None:
        return Read(columns, ())
    found = list(array_items(path, text) if begins == "[" else line_items(path, text))
    for line, row in found:
        if not isinstance(row, dict):
            raise InputError(f"data: {path} line {line} is no JSON object")
    rows, lines = [row for _, row in found], [line for line, _ in found]
    notes: list[str] = []
    if rows and all(isinstance(row.get("data"), dict) and "annotations" in row for row in rows):
        rows, notes = label_studio(path, rows, lines)
    check_names(path, {name: None for row in rows for name in row})
    frame = pd.DataFrame(rows, dtype=object)
    return Read(frame.where(frame.notna(), None), tuple(lines), tuple(notes))


def check_names(path: Path, names: Iterable[object]) -> None:
    """Raise `InputError` for the name of a column that can't be written in a line."""
    for name in names:
        if (why := flaw(str(name))) is not None:
            raise InputError(f"data: {path}: column {name!r} {why}")


def line_items(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """The value on each line that is not empty."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"data: {path} line {number} is no JSON ({error}); expected an object a line, an array of them, "
                    "or columns by name"
                ) from error


def array_items(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """The values of an array, with the line where each begins."""
    decoder, at, line, last = json.JSONDecoder(), text.index("[") + 1, 1, 0
    first = True
    while True:
        at = after_space(text, at)
        line, last = line + text.count("\n", last, at), at
        if text[at : at + 1] == "]":
            if text[at + 1 :].strip():
                raise InputError(f"data: {path} line {line} goes on after its JSON array")
            return
        try:
            if not first:
                if text[at : at + 1] != ",":
                    raise ValueError("expected ',' or ']'")
                at = after_space(text, at + 1)
                line, last = line + text.count("\n", last, at), at
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            line = error.lineno if isinstance(error, json.JSONDecodeError) else line
            why = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise InputError(f"data: {path} line {line} is no JSON ({why})") from error
        yield line, value
        at, first = end, False


def after_space(text: str, at: int) -> int:
    """Where the next letter is that is no space."""
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def read_columns(path: Path, text: str) -> pd.DataFrame | None:
    """A JSON object of columns, each a list or an object by row, or of one list of rows; None where it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    parts = list(value.values())
    check_names(path, value)
    lists = [part for part in parts if isinstance(part, list) and part and all(isinstance(row, dict) for row in part)]
    if {"columns", "data"} <= value.keys() and isinstance(value["columns"], list) and isinstance(value["data"], list):
        try:
            frame = pd.DataFrame(value["data"], columns=value["columns"], dtype=object)
        except ValueError:
            return None
    elif len(lists) == 1:
        frame = pd.DataFrame(lists[0], dtype=object)
    elif len(parts) > 1 and all(isinstance(part, list) and len(part) == len(parts[0]) for part in parts):
        frame = pd.DataFrame({name: pd.Series(part, dtype=object) for name, part in value.items()})
    elif len(parts) > 1 and all(isinstance(part, dict) and part and part.keys() == parts[0].keys() for part in parts):
        frame = pd.DataFrame(value, dtype=object)  # by key, whatever their order
        frame = (frame.T if all(name.isdecimal() for name in value) else frame).reset_index(drop=True)
    else:
        return None
    return frame.where(frame.notna(), None)


def label_studio(path: Path, tasks: list[Row], lines: list[int]) -> tuple[list[Row], list[str]]:
    """A row for each task: its data, its id, and the choice that was made for each question; and what to say of it.

    Of one question, the choice is the label, whatever the data call so.

    Raises:
        InputError: a task with several choices, or with annotations that differ.
    """
    rows: list[tuple[Row, Row]] = []
    questions: set[str] = set()
    for task, line in zip(tasks, lines, strict=True):
        row: Row = {"id": task.get("id"), **task["data"]}
        chosen: Row = {}
        for annotation in task["annotations"] or ():
            if annotation.get("was_cancelled"):
                continue
            for result in annotation.get("result") or ():
                name, choices = str(result.get("from_name")), (result.get("value") or {}).get("choices")
                if choices is None:
                    continue
                known = chosen.get(name, choices[0] if choices else None)
                if len(choices) != 1 or known != choices[0]:
                    several = ", ".join(map(repr, dict.fromkeys([known, *choices])))
                    raise InputError(
                        f"data: {path} line {line}: {name} has several choices ({several}); keep one a task"
                    )
                chosen[name] = choices[0]
                questions.add(name)
        rows.append((row, chosen))
    notes = ["tasks of Label Studio, one choice each"]
    if len(questions) != 1:
        return [row | dict.fromkeys(questions) | chosen for row, chosen in rows], notes
    (name,) = questions
    told = {key for row, _ in rows for key in row} & {name, "label"}
    notes[0] += f", of {name}" + (f" (not the data's own {' and '.join(sorted(told))})" if told else "")
    return [
        {key: value for key, value in row.items() if key not in told} | {"label": chosen.get(name)}
        for row, chosen in rows
    ], notes
