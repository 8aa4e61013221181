"""Tables in JSON: an object a line, an array of them, columns by name, and what Label Studio exports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from alasca.data.sources.delimited import Read
from alasca.errors import InputError

Row = dict[str, Any]


def read_json_rows(path: Path, text: str) -> Read:
    """Rows from JSON, as pandas, most tools for annotation and most programs write it.

    Raises:
        InputError: it is no JSON or no objects, with the line.
    """
    begins = text.lstrip()[:1]
    if begins == "{" and (columns := read_columns(text)) is not None:
        return Read(columns, ())
    found = list(array_items(path, text) if begins == "[" else line_items(path, text))
    for line, row in found:
        if not isinstance(row, dict):
            raise InputError(f"data: {path} line {line} is no JSON object")
    rows, lines, notes = [row for _, row in found], [line for line, _ in found], []
    if rows and all(isinstance(row.get("data"), dict) and "annotations" in row for row in rows):
        rows = label_studio(path, rows, lines)
        notes = ["tasks of Label Studio, one choice each"]
    frame = pd.DataFrame(rows, dtype=object)
    return Read(frame.where(frame.notna(), None), tuple(lines), tuple(notes))


def line_items(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """The value on each line that is not empty."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"data: {path} line {number} is no JSON ({error})") from error


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


def read_columns(text: str) -> pd.DataFrame | None:
    """A JSON object of columns, each a list or an object by row, or of one list of rows; None where it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    parts = list(value.values())
    if len(parts) == 1 and isinstance(parts[0], list) and all(isinstance(row, dict) for row in parts[0]) and parts[0]:
        frame = pd.DataFrame(parts[0], dtype=object)
    elif len(parts) > 1 and all(isinstance(part, list) and len(part) == len(parts[0]) for part in parts):
        frame = pd.DataFrame({name: pd.Series(part, dtype=object) for name, part in value.items()})
    elif len(parts) > 1 and all(isinstance(part, dict) and part and part.keys() == parts[0].keys() for part in parts):
        frame = pd.DataFrame({name: pd.Series(list(part.values()), dtype=object) for name, part in value.items()})
    else:
        return None
    return frame.where(frame.notna(), None)


def label_studio(path: Path, tasks: list[Row], lines: list[int]) -> list[Row]:
    """A row for each task: its data, its id, and the choice that was made for each question.

    Raises:
        InputError: a task with several choices, or with annotations that differ.
    """
    rows, questions = [], set()
    for task, line in zip(tasks, lines, strict=True):
        row: Row = {"id": task.get("id"), **task["data"]}
        for annotation in task["annotations"] or ():
            if annotation.get("was_cancelled"):
                continue
            for result in annotation.get("result") or ():
                name, choices = str(result.get("from_name")), (result.get("value") or {}).get("choices")
                if choices is None:
                    continue
                known = row.get(name, choices[0] if choices else None)
                if len(choices) != 1 or known != choices[0]:
                    several = ", ".join(map(repr, dict.fromkeys([known, *choices])))
                    raise InputError(
                        f"data: {path} line {line}: {name} has several choices ({several}); keep one a task"
                    )
                row[name] = choices[0]
                questions.add(name)
        rows.append(row)
    if len(questions) == 1 and not any("label" in row for row in rows):
        (name,) = questions
        rows = [{("label" if key == name else key): value for key, value in row.items()} for row in rows]
    return rows
