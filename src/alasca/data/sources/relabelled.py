"""`--labels`: labels from a table in the place of the data's own, such as those that were repaired."""

from __future__ import annotations

from dataclasses import replace

from alasca.data.sources.cells import is_empty
from alasca.data.sources.table_files import read_tables, whole
from alasca.data.task import Task
from alasca.errors import InputError
from alasca.values import nearest


def relabelled(task: Task, labels: str) -> Task:
    """A task with labels from a table of ``id`` and ``label`` (or ``fixed``), by id; the others keep theirs.

    A sample whose label is empty has none from then on: it is scored and never trained on.

    Args:
        task: as it was read.
        labels: path of the table.

    Raises:
        InputError: no such file or column, an id that comes twice or that no sample has, or a label that is no class.
    """
    table = read_tables(labels)
    name = next((name for name in ("label", "fixed") if name in table.frame), None)
    if name is None or "id" not in table.frame:
        raise InputError(f"labels: {labels} has columns {', '.join(table.names)}; expected id and label")
    where, classes = {sample: k for k, sample in enumerate(task.ids)}, {name: k for k, name in enumerate(task.classes)}
    found, seen = task.labels.clone(), set[str]()
    for row, (sample, label) in enumerate(zip(table.texts("id", True), table.column(name), strict=True)):
        if sample not in where or sample in seen:
            wrong = (
                "comes twice"
                if sample in seen
                else f"is no sample of the data; {nearest(sample, where, 'see ids in samples.csv')}"
            )
            raise InputError(f"labels: {table.where(row)}: id {sample!r} {wrong}")
        seen.add(sample)
        text = "" if is_empty(label) else whole(label)
        if text and text not in classes:
            mend = nearest(text, classes, f"expected one of {', '.join(task.classes[:20])}")
            raise InputError(f"labels: {table.where(row)}: {text!r} is no class of the data; {mend}")
        found[where[sample]] = classes[text] if text else -1
    changed = int((found != task.labels).sum())
    note = f"{labels}: {changed:,} of {len(found):,} labels are others than in the data"
    return replace(task, labels=found, notes=(*task.notes, note))
