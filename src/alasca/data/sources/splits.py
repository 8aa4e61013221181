"""Names that people give to the parts of a data set: to train on, to hold out, to test on."""

from __future__ import annotations

from collections.abc import Iterable

TRAIN, HELD, TEST = range(3)
NAMES = {
    "train": TRAIN, "training": TRAIN,
    "validation": HELD, "valid": HELD, "val": HELD, "dev": HELD,
    "test": TEST, "testing": TEST,
}  # fmt: skip


def part_of(name: str) -> int | None:
    """What a name says a part is for, `TRAIN`, `HELD` or `TEST`; None where it names no part.

    >>> part_of("Train"), part_of(" VAL "), part_of("cat")
    (0, 1, None)
    """
    return NAMES.get(name.strip().casefold())


def by_part(names: Iterable[str]) -> dict[int, list[str]]:
    """Names of parts by what they are for."""
    found: dict[int, list[str]] = {}
    for name in names:
        if (part := part_of(name)) is not None:
            found.setdefault(part, []).append(name)
    return found
