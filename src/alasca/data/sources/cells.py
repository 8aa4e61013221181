"""What a table's cells hold: numbers, dates, categories, texts, lists, or nothing."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from alasca.values import LARGEST

NOTHING = {"", "nan", "na", "n/a", "none", "null", "<na>", "?", "-", "nat"}
"""What stands among numbers and dates where there is none."""
DAYS = ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%m-%d-%Y", "%d-%m-%Y", "%Y/%m/%d", "%d %b %Y", "%d %B %Y", "%B %d, %Y")
TIMES = ("", " %H:%M", " %H:%M:%S")
FORMS = ("ISO", *(day + time for time in TIMES for day in DAYS))
"""How dates are written, month before day where either would do."""
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def is_empty(cell: Any) -> bool:
    """Whether a cell holds nothing.

    >>> is_empty(None), is_empty(float("nan")), is_empty(" "), is_empty(0), is_empty([])
    (True, True, True, False, False)
    """
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or (not isinstance(cell, (list, dict, np.ndarray)) and bool(pd.isna(cell)))


def is_nothing(cell: Any) -> bool:
    """Whether a cell among numbers or dates holds none.

    >>> is_nothing("n/a"), is_nothing("?"), is_nothing("x")
    (True, True, False)
    """
    return is_empty(cell) or (isinstance(cell, str) and cell.strip().lower() in NOTHING)


def is_infinite(cell: Any) -> bool:
    """Whether a cell is a number too large for networks to compute with, or infinity.

    >>> is_infinite("1e39"), is_infinite(float("inf")), is_infinite("x"), is_infinite(5)
    (True, True, False, False)
    """
    try:
        return not isinstance(cell, bool) and not is_empty(cell) and abs(float(cell)) > LARGEST
    except (TypeError, ValueError, OverflowError):
        return False


def as_number(cell: Any) -> float:
    """A cell as a number that networks can compute with; NaN where it is none.

    >>> as_number("1.5"), as_number(True), as_number("1e39")
    (1.5, nan, nan)
    """
    if isinstance(cell, (bool, np.bool_)) or (isinstance(cell, str) and "_" in cell):
        return float("nan")
    try:
        value = float(cell)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
    return value if abs(value) <= LARGEST else float("nan")


def as_days(cell: Any, form: str) -> float:
    """A cell as days since 1970; NaN where it is no date of this form.

    >>> as_days("1970-01-02", "ISO"), as_days("03/01/1970 12:00", "%d/%m/%Y %H:%M"), as_days("soon", "ISO")
    (1.0, 2.5, nan)
    """
    try:
        if isinstance(cell, str):
            text = cell.strip()
            read = datetime.datetime.fromisoformat if form == "ISO" else datetime.datetime.strptime
            found = read(text, *(() if form == "ISO" else (form,)))
        elif isinstance(cell, datetime.datetime):
            found = cell
        elif isinstance(cell, datetime.date):
            found = datetime.datetime(cell.year, cell.month, cell.day, tzinfo=datetime.UTC)
        elif isinstance(cell, np.datetime64):
            found = pd.Timestamp(cell).to_pydatetime()
        else:
            return float("nan")
        if pd.isna(found):
            return float("nan")
        found = found if found.tzinfo is not None else found.replace(tzinfo=datetime.UTC)
    except ValueError:
        return float("nan")
    return (found - EPOCH).total_seconds() / 86400


def date_form(cells: Sequence[Any]) -> str | None:
    """The form in which all of some cells are dates; None where they are not.

    >>> date_form(["03/04/2020", "13/04/2020"]), date_form(["2020-01-01"]), date_form(["soon"])
    ('%d/%m/%Y', 'ISO', None)
    """
    possible = list(FORMS)
    for cell in set(cells):
        if isinstance(cell, str) and not any(letter.isdigit() for letter in cell):
            return None
        possible = [form for form in possible if as_days(cell, form) == as_days(cell, form)]
        if not possible:
            return None
    return possible[0] if possible and len(cells) else None


def kind_of_cells(cells: Sequence[Any]) -> tuple[str, str]:
    """What a column holds, and the form of its dates.

    Returns:
        ``"empty"``, ``"infinite"``, ``"number"``, ``"date"``, ``"list"``, ``"object"``, ``"text"`` (most of
        them differ, or all) or ``"category"``.

    >>> kind_of_cells(["1", "n/a", 2])[0], kind_of_cells(["x", "y", "x"])[0], kind_of_cells(["3 May 2020", ""])
    ('number', 'category', ('date', '%d %b %Y'))
    """
    numbers = numbers_of(cells)
    found = np.isfinite(numbers)
    if found.all() and len(cells):
        return "number", ""
    rest = [cell for cell, number in zip(cells, found.tolist(), strict=True) if not number and not is_empty(cell)]
    count = int(found.sum())
    if not count and not rest:
        return "empty", ""
    if any(isinstance(cell, (list, dict, tuple, np.ndarray, bytes)) for cell in rest):
        return ("list" if all(isinstance(cell, (list, tuple, np.ndarray)) for cell in rest) else "object"), ""
    odd = [cell for cell in rest if not is_nothing(cell)]
    if count and count >= 19 * len(odd):
        return "number", ""
    held = [cell for cell in cells if not is_empty(cell)]
    different = len(set(map(str, held)))
    few = different <= 64 and 2 * different <= len(held)
    if count and count >= len(odd) and not few:
        return "number", ""
    if odd and not count and all(map(is_infinite, odd)):
        return "infinite", ""
    if odd and not count and (form := date_form(odd)) is not None:
        return "date", form
    free = different == len(held) > 2 or different > max(64, len(held) // 2)
    return ("text" if free else "category"), ""


def numbers_of(cells: Sequence[Any], form: str = "") -> np.ndarray:
    """Cells as numbers, or as days where they have a form of dates ``[N]``; NaN where there is none."""
    if form:
        known: dict[Any, float] = {cell: as_days(cell, form) for cell in set(cells)}
        return np.array([known[cell] for cell in cells], dtype=np.float64)
    if all(isinstance(cell, str) and "_" not in cell for cell in cells):  # many at once
        found: np.ndarray = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy(np.float64)
        return np.where(np.abs(found) <= LARGEST, found, np.nan)
    return np.array([as_number(cell) for cell in cells], dtype=np.float64)
