"""Which labels are changed, and to what: the run's own decisions, or those of a person in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from alasca.data.sources import read_tables
from alasca.errors import InputError
from alasca.runs import Records
from alasca.values import nearest

APPLIED = ("fix", "all", "drop")
DROP, OWN = "drop", "given"
NEW_LABELS = ("label", "new_label", "fixed")
"""Columns of a file of decisions that hold the label that is to be."""


class Change(NamedTuple):
    """One label that is changed.

    Attributes:
        row: of the run's samples.
        id: of the sample.
        given: the label until now.
        fixed: the label from now on; None: the sample is left out.
        probability: that `fixed` is right; where the sample is left out, that `given` is wrong; NaN: a person's word.
        decision: ``"fix"``, ``"review"``, or ``"given"`` where a file says so.
    """

    row: int
    id: str
    given: str
    fixed: str | None
    probability: float
    decision: str


def decided(records: Records, apply: str) -> list[Change]:
    """The labels that are changed.

    Args:
        records: of the run.
        apply: ``"fix"``: those whose change is expected to help; ``"all"``: those that look wrong, the doubtful ones
            too; ``"drop"``: these are left out instead; or a file of decisions, see `by_file`.

    Raises:
        InputError: none of these.
    """
    if apply not in APPLIED:
        return by_file(records, Path(apply))
    chosen = records.decision == "fix" if apply == "fix" else records.issue
    found = []
    for row in np.flatnonzero(chosen).tolist():
        given, fixed = records.name(records.given[row]), records.name(records.suggested[row])
        if apply == DROP:
            wrong = float(1 - records.quality[row])
            found.append(Change(row, records.ids[row], given, None, wrong, str(records.decision[row])))
        else:
            sure = float(records.suggested_probability[row])
            found.append(Change(row, records.ids[row], given, fixed, sure, str(records.decision[row])))
    return found


def by_file(records: Records, path: Path) -> list[Change]:
    """What a table says: columns ``id`` and ``label``, the label that is to be (nothing: the sample is left out).

    Or issues.csv with the column ``decision`` edited: ``keep``, ``fix`` (to ``suggested``) or ``drop``; ``review`` is
    no decision yet and changes nothing.

    Raises:
        InputError: no such file or column, an id or class that the run does not have, or an id twice.
    """
    if not path.is_file():
        hint = nearest(str(path), APPLIED, f"expected {', '.join(APPLIED)}, or a file of decisions")
        raise InputError(f"apply: {str(path)!r} is no file; {hint}")
    table = read_tables(str(path))
    name = next((name for name in NEW_LABELS if name in table.frame), None)
    if name is None and not {"decision", "suggested"} <= set(table.frame):
        raise InputError(f"apply: {path} has no column label; expected id and label, or decision and suggested")
    cells = table.column("id", "id")
    ids = ["" if cell is None else str(cell) for cell in cells]
    where = {sample: row for row, sample in enumerate(records.ids)}
    found: dict[str, Change] = {}
    for k, sample in enumerate(ids):
        if sample not in where:
            near = nearest(sample, where, "see samples.csv")
            raise InputError(f"apply: {table.where(k)}: id {sample!r} is none of the run's; {near}")
        if sample in found:
            raise InputError(f"apply: {table.where(k)}: id {sample!r} comes twice")
        row = where[sample]
        given = records.name(records.given[row]) if records.given[row] >= 0 else ""
        fixed = new_label(table.frame.iloc[k], name, given, table.where(k))
        if fixed is not None and fixed not in records.classes and fixed != given:
            mend = nearest(fixed, records.classes, f"expected one of {', '.join(records.classes[:20])}")
            raise InputError(f"apply: {table.where(k)}: label {fixed!r} is no class of the run; {mend}")
        if fixed is None and not given:
            fixed = given  # it had no label, and has none
        found[sample] = Change(row, sample, given, fixed, float("nan"), OWN)
    return sorted(change for change in found.values() if change.fixed != change.given)


def new_label(cells: pd.Series, name: str | None, given: str, where: str) -> str | None:
    """The label that a row of a file of decisions asks for; None: none, the sample is left out."""
    if name is not None:
        return None if cells[name] is None or not str(cells[name]).strip() else str(cells[name])
    decision = str(cells["decision"]).strip().lower()
    if decision in ("keep", "review"):
        return given
    if decision == "fix":
        if str(cells["suggested"]) == given:
            raise InputError(f"apply: {where}: fix, but suggested is the label it has; write the right class there")
        return str(cells["suggested"])
    if decision == DROP:
        return None
    raise InputError(f"apply: {where}: decision is {cells['decision']!r}; expected keep, review, fix or drop")


def as_table(changes: Sequence[Change]) -> pd.DataFrame:
    """Changes as they are written: id, given, fixed (nothing: left out), probability, decision."""
    return pd.DataFrame({
        "id": [change.id for change in changes],
        "given": [change.given for change in changes],
        "fixed": [change.fixed or "" for change in changes],
        "probability": [round(change.probability, 6) for change in changes],
        "decision": [DROP if change.fixed is None else change.decision for change in changes],
    })  # fmt: skip
