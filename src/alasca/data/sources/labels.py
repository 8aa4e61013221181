"""Labels as people write them: the one way in which every source makes classes, and positions in them, of cells."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alasca.data.sources.base import flaw, shortened
from alasca.data.sources.cells import is_empty
from alasca.errors import InputError
from alasca.recipe import Recipe

MISSING = (
    "", "NaN", "nan", "NAN", "None", "N/A", "n/a", "N.A.", "n.a.", "<NA>", "null", "Null", "NULL", "#N/A", "#REF!",
    "#VALUE!", "\\N",
)  # fmt: skip
"""Cells that hold no label, where `--missing-label` does not say otherwise."""
DOUBTFUL = (
    "-1", "?", "-", "--", ".", "na", "nil", "none", "missing", "unknown", "abstain", "unlabeled", "unlabelled", "-9",
    "-99", "-999", "99", "999",
)  # fmt: skip
"""Classes that may mean that there is no label, in any case: they are told."""
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
FLOAT = re.compile(r"([+-]?[0-9]+)\.0*")
REGRESSION = (
    "classes can't be told from them (to predict a quantity is regression, which this is not): make classes of it, "
    "or name the column of labels with --label"
)
LOOKALIKES = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014", "-")}
)
Where = Callable[[int], str]


@dataclass(frozen=True)
class Labels:
    """A column of labels.

    Attributes:
        name: of the column, for messages.
        levels: the different labels; None: a cell that holds none.
        codes: ``[N]``, each sample's position in `levels`.
        where: how a row is called in messages.
    """

    name: str
    levels: tuple[str | None, ...]
    codes: np.ndarray
    where: Where

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: np.ndarray) -> Labels:
        """Some of the rows, by position or mask."""
        found = np.arange(len(self))[rows]
        return replace(self, codes=self.codes[found], where=lambda row: self.where(int(found[row])))

    def counts(self) -> Counter[str]:
        """How often each label comes."""
        sizes = np.bincount(self.codes, minlength=len(self.levels)).tolist()
        found: Counter[str] = Counter()
        for level, size in zip(self.levels, sizes, strict=True):
            if level is not None and size:
                found[level] += size
        return found

    @property
    def missing(self) -> int:
        """How many cells hold no label."""
        return len(self) - self.counts().total()

    def named(self, names: Mapping[str, str]) -> Labels:
        """The same labels under other names."""
        return replace(self, levels=tuple(level if level is None else names.get(level, level) for level in self.levels))


class Assigned(NamedTuple):
    """Classes, the labels of each part as positions in them (-1: none), and what to say of it."""

    classes: tuple[str, ...]
    labels: Mapping[str, Tensor]
    notes: tuple[str, ...]


def read_labels(
    name: str, cells: Sequence[Any] | np.ndarray, where: Where, missing: str | None = None, declared: Sequence[str] = ()
) -> Labels:
    """A column of labels from its cells.

    Args:
        name: of the column.
        cells: texts, whole numbers, or anything else that can be written; nothing, NaN, or a text that says so.
        where: how a row is called in messages.
        missing: the text that says that there is no label; None: those of `MISSING`.
        declared: names of classes, which are taken as they are written.

    Raises:
        InputError: a list of labels, a text of several lines, or numbers with fractions, with the row.
    """
    values, codes = factorised(name, cells, where)
    levels = []
    for code, value in enumerate(values):
        level = value if value in declared else label_text(value, missing)
        why = None if level is None else flaw(level)
        if isinstance(value, (float, complex)) and level is not None and not np.isfinite(value):
            why = "is no class"
        if why is not None:
            raise InputError(f"data: {where(int(np.argmax(codes == code)))}: {name} {level!r} {why}")
        levels.append(level)
    known = [level for level in levels if level is not None]
    if known and not declared and all(NUMBER.fullmatch(level) for level in known):
        broken = next((k for k, level in enumerate(levels) if level is not None and float(level) % 1), None)
        if broken is not None:
            row = where(int(np.argmax(codes == broken)))
            raise InputError(f"data: {row}: {name} is {levels[broken]}, a number with a fraction: {REGRESSION}")
        if all(FLOAT.fullmatch(level) for level in known):  # a column of floats
            levels = [level if level is None else FLOAT.sub(r"\1", level) for level in levels]
    return Labels(name, tuple(levels), codes, where)


def factorised(name: str, cells: Sequence[Any] | np.ndarray, where: Where) -> tuple[list[Any], np.ndarray]:
    """The different values of some cells, and each cell's position among them."""
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "iubfUS":
        levels, codes = np.unique(cells, return_inverse=True)
        return levels.tolist(), codes.reshape(-1)
    known: dict[tuple[type, Any], int] = {}
    found = np.zeros(len(cells), dtype=np.int64)
    for row, cell in enumerate(cells):
        if isinstance(cell, (list, dict, tuple, set, np.ndarray)):
            raise InputError(
                f"data: {where(row)}: {name} is a {type(cell).__name__}; expected one label a sample (what belongs to "
                "several classes at once is not learned here)"
            )
        value = cell.item() if isinstance(cell, np.generic) else cell
        value = None if is_empty(value) else value
        found[row] = known.setdefault((type(value), value), len(known))
    return [value for _, value in known], found


def label_text(value: Any, missing: str | None = None) -> str | None:
    """A cell as a label; None where it holds none.

    >>> label_text(3.0), label_text("3.0"), label_text(" NaN "), label_text("-1.0", "-1"), label_text("None", "-1")
    ('3', '3.0', None, None, 'None')
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if value is None or str(value) in ("<NA>", "NaT") or (not isinstance(value, str) and value != value):
        return None
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    bare = text.strip()
    if not bare or (
        bare in MISSING if missing is None else FLOAT.sub(r"\1", bare) == FLOAT.sub(r"\1", missing.strip())
    ):
        return None
    return text


def assign(
    parts: Mapping[str, Labels], recipe: Recipe = Recipe(), declared: Sequence[str] = (), drop: bool = False,  # noqa: B008  # frozen
) -> Assigned:  # fmt: skip
    """Classes from the labels that are given, and every part's labels as positions in them.

    Args:
        parts: the labels of each part; those of ``"given"`` decide which classes there are.
        recipe: whether spellings are joined.
        declared: names of the classes in order, by whoever made the data; empty: `class_order`.
        drop: leave declared classes out that no sample has.

    Raises:
        InputError: a label of another part that is no class, with its row.
    """
    counts, notes = parts["given"].counts(), []
    everything = [*counts, *(level for each in parts.values() for level in each.counts())]
    alike = spellings(everything)
    if recipe.normalise_labels and alike:
        names: dict[str, str] = {}
        for group in alike:
            best = max(group, key=lambda level: (level in declared, counts[level], -len(level), level))
            names |= dict.fromkeys(group, best if best in declared else best.strip())
        notes += [f"joined spellings: {quoted(group)} as {names[group[0]]!r}" for group in alike]
        parts = {part: each.named(names) for part, each in parts.items()}
        counts = parts["given"].counts()
    elif alike:
        groups = [", ".join(f"{level!r} ({counts[level]:,})" for level in group) for group in alike]
        notes.append(f"classes that differ in spelling alone: {shortened(groups)}; --normalise-labels joins them")
    classes = tuple(declared) or class_order(counts)
    if drop and (empty := [name for name in declared if not counts[name]]):
        classes = tuple(name for name in declared if counts[name])
        notes.append(f"classes that no sample has are left out: {shortened(empty)}")
    position = {name: k for k, name in enumerate(classes)}
    found = {part: positions_of(each, position, alike) for part, each in parts.items()}
    absent = parts["given"].missing
    if recipe.missing_label is not None and not absent:
        notes.append(f"--missing-label: no sample has the label {recipe.missing_label!r}")
    if absent:
        notes.append(f"{absent:,} of {len(parts['given']):,} samples have no label: they are scored, never trained on")
    for name in sorted(name for name in counts if FLOAT.sub(r"\1", name.strip().casefold()) in DOUBTFUL):
        notes.append(
            f"class {name!r} has {counts[name]:,} samples; where it means that there is no label, add "
            f"--missing-label={name.strip()}"
        )
    if several := [name for name in classes if several_in(name, counts)]:
        notes.append(f"classes that hold several others are classes of their own here: {quoted(several)}")
    return Assigned(classes, found, tuple(notes))


def several_in(name: str, classes: Collection[str]) -> bool:
    """Whether a class looks like several: others of them between marks, or a list written as text.

    >>> several_in("cat|dog", {"cat", "dog"}), several_in("cat/dog", {"cat"}), several_in("['cat', 'dog']", ())
    (True, False, True)
    """
    parts = [part.strip() for part in re.split(r"[|;,/]", name)]
    return (len(parts) > 1 and all(part in classes for part in parts)) or bool(re.fullmatch(r"\[.*\]", name))


def positions_of(labels: Labels, position: Mapping[str, int], alike: Sequence[Sequence[str]] = ()) -> Tensor:
    """Labels as positions ``[N]``, -1 where there is none.

    Raises:
        InputError: a label that is none of the classes, with its row.
    """
    places = np.array([-1 if level is None else position.get(level, -2) for level in labels.levels], dtype=np.int64)
    found = places[labels.codes] if len(labels) else np.zeros(0, dtype=np.int64)
    wrong = np.nonzero(found == -2)[0]
    if len(wrong):
        row = int(wrong[0])
        level = labels.levels[labels.codes[row]]
        hint = "classes come from those"
        if near := next((name for group in alike if level in group for name in group if name in position), None):
            hint = f"--normalise-labels reads it as {near!r}"
        elif level is not None and level.strip().casefold() in DOUBTFUL:
            hint = f"where it means that there is none, add --missing-label={level.strip()}"
        raise InputError(
            f"data: {labels.where(row)}: {labels.name}: class {level!r} has no training row, only "
            f"{shortened(list(position))}; {hint}"
        )
    return torch.from_numpy(found)


def spellings(levels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ in space, case, Unicode form, marks around or between words, or as 01, 1 and 1.0 do.

    >>> spellings(["dog", "cat", "DOG ", "01", "1.0", "a b", "a_b", "x.", "x"])
    [['01', '1.0'], ['a b', 'a_b'], ['DOG ', 'dog'], ['x', 'x.']]
    """
    groups: dict[str, set[str]] = {}
    for level in levels:
        groups.setdefault(spelling_key(level), set()).add(level)
    return [sorted(group) for _, group in sorted(groups.items()) if len(group) > 1]


def spelling_key(level: str) -> str:
    """What labels have in common that differ in spelling alone."""
    text = unicodedata.normalize("NFKC", level).casefold().translate(LOOKALIKES)
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")  # nobody sees these
    text = " ".join(text.replace("_", " ").split()).strip("'\"")
    if NUMBER.fullmatch(text):
        return str(int(float(text))) if float(text) % 1 == 0 and abs(float(text)) < 1e15 else text
    return text.rstrip(".") or text


def quoted(names: Sequence[str]) -> str:
    """Names for a message, with the spaces around them."""
    return shortened([repr(name) for name in names])


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in order: numbers by value, then texts.

    >>> class_order({"10", "9", "09", "-1.5"}), class_order({"b", "10", "9", "a"})
    (('-1.5', '09', '9', '10'), ('9', '10', 'a', 'b'))
    """
    return tuple(sorted(names, key=lambda name: (0, float(name), name) if NUMBER.fullmatch(name) else (1, 0.0, name)))
