"""Columns that give away what they should not: which row it is, who labelled it, or the label."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from alasca.data.sources.cells import numbers_of
from alasca.data.sources.labels import spelling_key
from alasca.data.sources.table_files import Table

LEVELS = 64
"""Categories up to which each gets a number of its own; with more, the category's position is the number."""
IN_STEP = 20
"""Rows from which whole numbers that only grow count the rows, whatever their steps."""
NUMBERED = re.compile(
    r"(unnamed: ?\d+|index|row|row_?(id|number|num)|level_0|__index_level_0__|ids?|idx|obs|nr|uuid|guid|)",
    re.IGNORECASE,
)
NAMELESS = re.compile(r"(unnamed: ?\d+|level_0|__index_level_0__|)", re.IGNORECASE)
COUNTER = re.compile(r"(\bid|_id|[a-z]I[dD]|\bno|_no|_nr|number|_num|_key)$")
NAMING = {"serial", "sku", "uuid", "guid", "barcode", "ean", "isbn", "phone", "order", "ticket", "invoice", "account"}
"""Last words in names of columns whose numbers, all different, name rows; `NUMBER` may follow."""
NUMBER = {"id", "no", "nr", "num", "number", "key", "code"}
LABELLING = {
    "annotator",
    "annotators",
    "annotated",
    "annotation",
    "labeler",
    "labelers",
    "labeller",
    "labellers",
    "labeled",
    "labelled",
    "rater",
    "raters",
}
"""Words in names of columns that tell of the labelling: who did it, and when."""
TELLING = {
    "label",
    "labels",
    "true",
    "truth",
    "gold",
    "class",
    "target",
    "category",
    "annotator",
    "annotation",
    "annotated",
}
SCORES = {
    "label",
    "prob",
    "proba",
    "probability",
    "p",
    "pred",
    "prediction",
    "score",
    "logit",
    "is",
    "target",
    "class",
    "y",
}
GENERIC = {"0", "1", "2", "-1", "yes", "no", "y", "n", "true", "false", "t", "f", "up", "down", "high", "low"}
"""Levels that features have as well as labels."""
UNITS = re.compile(r"[^\w\s]{0,3} ?[(+-]?[0-9][0-9.,]*\)? ?[^\W\d_]{0,4}[^\w\s]?")


def why_left_out(
    name: str, cells: Sequence[Any], kind: str, values: np.ndarray, rows: np.ndarray, labels: Sequence[str | None]
) -> str | None:  # fmt: skip
    """Why a column teaches nothing about the samples, or None; `rows` are those of the training set."""
    counts = len(set(map(str, cells))) == len(cells) and bool((values == np.round(values)).all())
    if NAMELESS.fullmatch(name.strip()) or (NUMBERED.fullmatch(name.strip()) and counts):
        return "counts the rows"
    if kind in ("number", "date") and (is_row_number(name, values, kind) or is_row_number(name, values[rows], kind)):
        return "counts the rows"
    if kind != "text" and all(cell == cells[0] for cell in cells):
        return "always the same"
    if kind in ("category", "number") and holds_labels(name, cells, labels):
        return "says the label"
    if kind != "text" and called_like(name, LABELLING):
        return "tells of the labelling"
    if kind == "number" and names_rows(name, values):
        return "names the rows"
    return None


def names_rows(name: str, values: np.ndarray) -> bool:
    """Whether numbers are those of rows in some other list: whole and all different, by a name such as those have.

    >>> odd = np.arange(20.0) ** 2 % 389
    >>> [names_rows(name, odd) for name in ("serial", "customer_id", "orderNumber", "rooms", "order_total", "room_no")]
    [True, True, True, False, False, False]
    >>> names_rows("serial", np.arange(20.0) % 9)
    False
    """
    said = words_of(name)
    there = values[np.isfinite(values)]
    ends = said[-1:] and (said[-1] == "id" or said[-1] in NAMING or (said[-1] in NUMBER and set(said[-2:-1]) & NAMING))
    different = len(there) >= IN_STEP and len(np.unique(there)) == len(there)
    return bool(ends) and different and bool((there == np.round(there)).all())


def words_of(name: str) -> list[str]:
    """The words of a column's name, in small letters.

    >>> words_of("labelId"), words_of("SKU_no")
    (['label', 'id'], ['sku', 'no'])
    """
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]


def is_row_number(name: str, values: Sequence[float] | np.ndarray, kind: str = "number") -> bool:
    """Whether numbers only count rows: whole ones or dates in constant steps; 0 to N - 1 or 1 to N in any order; whole
    ones that only grow over twenty rows or more, by a name such as an id has.

    >>> is_row_number("x", [3, 5, 7]), is_row_number("x", [3, 4, 6]), is_row_number("x", [2, 0, 1])
    (True, False, True)
    >>> is_row_number("userId", [k * k for k in range(20)]), is_row_number("x", [0.1, 0.2, 0.3])
    (True, False)
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 3 or not np.isfinite(values).all() or (kind == "number" and (values != np.round(values)).any()):
        return False
    steps, size = np.diff(values), len(values)
    if steps[0] and (steps == steps[0]).all():
        return True
    ordered = np.sort(values)
    if any((ordered == np.arange(first, first + size)).all() for first in (0, 1)):
        return True
    return bool(COUNTER.search(name)) and only_grows(values)


def only_grows(values: np.ndarray) -> bool:
    """Whether whole numbers only grow, or only shrink, over twenty rows or more."""
    steps = np.diff(values)
    whole = np.isfinite(values).all() and (values == np.round(values)).all()
    return len(values) >= IN_STEP and bool(whole and ((steps > 0).all() or (steps < 0).all()))


def holds_labels(name: str, cells: Sequence[Any], labels: Sequence[str | None]) -> bool:
    """Whether a column is the labels again, or labels of the same samples by somebody else.

    It is where it tells the label by itself and has the same texts or is called like labels. Where its texts are names
    of classes it is if it agrees with nine of ten labels of every class and these are no words of features (yes and
    no, say), or, if it is called like labels, well above chance (such words: in nine of ten).
    """
    pairs = [
        (spelling_key(str(cell)), spelling_key(label)) for cell, label in zip(cells, labels, strict=False) if label
    ]
    levels, classes = {cell for cell, _ in pairs}, {label for _, label in pairs}
    if len(levels) < 2 or len(levels) > len(pairs) // 2:
        return False
    called = called_like(name, TELLING)
    if len(set(pairs)) == len(levels) == len(classes) and (called or levels == classes):
        return True
    if not levels <= classes:
        return False
    sizes, hits = Counter(label for _, label in pairs), Counter(label for cell, label in pairs if cell == label)
    sure = all(10 * hits[label] >= 9 * size for label, size in sizes.items())
    if classes <= GENERIC:
        return called and sure
    return sure or (called and beyond_chance(pairs) > 0.2)


def called_like(name: str, names: Collection[str]) -> bool:
    """Whether a word of a column's name is one of some.

    >>> called_like("label_id", TELLING), called_like("trueLabel", TELLING), called_like("targeted", TELLING)
    (True, True, False)
    """
    return any(word in names for word in words_of(name))


def beyond_chance(pairs: Sequence[tuple[str, str]]) -> float:
    """How far two labelings agree beyond chance, 1 being all the way (Cohen's kappa)."""
    first, second = (Counter(pair[k] for pair in pairs) for k in (0, 1))
    agree = sum(a == b for a, b in pairs) / len(pairs)
    chance = sum(first[label] * second[label] for label in first) / len(pairs) ** 2
    return (agree - chance) / max(1 - chance, 1e-9)


def of_classes(table: Table, names: Sequence[str], labels: Sequence[str | None]) -> set[str]:
    """Columns of which there is one for each class, called after it, that say the label: one-hot, or scores."""
    classes = sorted({label for label in labels if label is not None})
    found: set[str] = set()
    for name in names if len(classes) > 1 else ():
        prefix = name.removesuffix(classes[0])
        group = [f"{prefix}{each}" for each in classes]
        if prefix in (name, "") or not all(each in names for each in group) or not called_like(prefix, SCORES):
            continue
        scores = np.stack([numbers_of(table.column(each)) for each in group], 1)
        said = [classes[k] for k in np.nan_to_num(scores).argmax(1)]
        pairs = [(each, label) for each, label in zip(said, labels, strict=True) if label is not None]
        if np.isfinite(scores).all() and (np.abs(scores.sum(1) - 1) < 0.01).all() and beyond_chance(pairs) > 0.2:
            found |= {*group}
    return found


def tells_all(cells: Sequence[Any], labels: Sequence[str | None]) -> bool:
    """Whether each of a few levels of a column stands for one class and for no other, over twenty rows or more."""
    pairs = {(str(cell), label) for cell, label in zip(cells, labels, strict=False) if label is not None}
    levels, classes = {cell for cell, _ in pairs}, {label for _, label in pairs}
    return len(cells) >= IN_STEP and 1 < len(pairs) == len(levels) == len(classes) <= LEVELS


def unit_of(cells: Sequence[Any]) -> str | None:
    """The sign or unit that all cells have beside a number; None where they have none, or several.

    >>> unit_of(["$1,234.50", "$7"]), unit_of(["12 cm", "7 cm", ""]), unit_of(["a1", "b2"])
    ('$', 'cm', None)
    """
    held = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
    units = {re.sub(r"[\d.,()+ -]", "", cell) if UNITS.fullmatch(cell) else "" for cell in held}
    return units.pop() if len(units) == 1 and "" not in units else None
