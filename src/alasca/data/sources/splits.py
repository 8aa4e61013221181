"""Names that people give to the parts of a data set: to train on, to hold out, to test on."""

from __future__ import annotations

import re
from collections.abc import Iterable

TRAIN, HELD, TEST = range(3)
SYSTEM = {"@eadir", "__macosx", "#recycle", "$recycle.bin", "lost+found", "thumbs.db", "desktop.ini", "__pycache__"}
"""Folders and files that other programs leave among data."""
NAMES = {
    "train": TRAIN, "training": TRAIN,
    "validation": HELD, "valid": HELD, "val": HELD, "dev": HELD,
    "test": TEST, "testing": TEST,
}  # fmt: skip


BESIDE = {"set", "data", "dataset", "images", "image", "imgs", "img", "pictures", "photos", "split", "seg", "x", "of"}
"""Words that stand beside these."""


def part_of(name: str) -> int | None:
    """What a name says a part is for, `TRAIN`, `HELD` or `TEST`; None where it names no part.

    >>> part_of("Train"), part_of(" VAL "), part_of("test_set"), part_of("train2017"), part_of("train station")
    (0, 1, 2, 0, None)
    """
    words = re.findall(r"[^\W\d_]+", name.casefold())
    found = [NAMES[word] for word in words if word in NAMES]
    return found[0] if len(found) == 1 and all(word in NAMES or word in BESIDE for word in words) else None


def part_in(name: str) -> int | None:
    """The one part that a name speaks of, whatever else it says; None where there is none, or several.

    >>> part_in("mnist_train"), part_in("train-00000-of-00001-a09b"), part_in("train and test"), part_in("trainer")
    (0, 0, None, None)
    """
    found = {NAMES[word] for word in re.findall(r"[^\W\d_]+", name.casefold()) if word in NAMES}
    return found.pop() if len(found) == 1 else None


def parts_among(names: Iterable[str]) -> dict[str, int]:
    """Names of parts among names side by side: those that name one, and those that differ in nothing but that.

    >>> parts_among(["mnist_train", "mnist_test", "cat"]), parts_among(["train station", "cat"])
    ({'mnist_train': 0, 'mnist_test': 2}, {})
    """
    names = list(names)
    alike: dict[tuple[str, ...], dict[str, int]] = {}
    for name in names:
        rest = tuple(word for word in re.findall(r"[^\W\d_]+", name.casefold()) if word not in NAMES)
        if (part := part_in(name)) is not None:
            alike.setdefault(rest, {})[name] = part
    found = {name: part for name in names if (part := part_of(name)) is not None}
    for group in alike.values():
        found |= group if len(set(group.values())) > 1 else {}
    return found


def by_part(names: Iterable[str]) -> dict[int, list[str]]:
    """Names of parts by what they are for."""
    found: dict[int, list[str]] = {}
    for name, part in parts_among(names).items():
        found.setdefault(part, []).append(name)
    return found
