"""Names that people give to the parts of a data set: to train on, to hold out, to test on."""

from __future__ import annotations

import re
from collections.abc import Iterable

TRAIN, HELD, TEST = range(3)
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


def by_part(names: Iterable[str]) -> dict[int, list[str]]:
    """Names of parts by what they are for."""
    found: dict[int, list[str]] = {}
    for name in names:
        if (part := part_of(name)) is not None:
            found.setdefault(part, []).append(name)
    return found
