"""The table of samples for people who open it in a spreadsheet, where a cell may be taken for a formula."""

from __future__ import annotations

from pathlib import Path

from alasca.files import write_bytes
from alasca.runs import RunFolder

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""How cells begin that spreadsheets compute."""


def guarded(cell: object) -> object:
    """A text that no spreadsheet computes: an apostrophe goes before what would begin a formula.

    >>> guarded("=1+1"), guarded("cat"), guarded(-0.5)
    ("'=1+1", 'cat', -0.5)
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell


def write_spreadsheet(run: RunFolder, path: Path) -> None:
    """Write samples.csv of a finished run with guarded cells; samples.csv itself stays exact, machines join it."""
    table = run.records().table()
    texts = table.select_dtypes(exclude=["number", "bool"]).columns
    table[texts] = table[texts].map(guarded)
    table.columns = [guarded(str(name)) for name in table.columns]
    write_bytes(path, table.to_csv(index=False, lineterminator="\n").encode())
