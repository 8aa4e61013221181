"""All that turns a raw sample into what a network reads: fitted to the training set, kept with the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import torch
from torch import Tensor

from alasca.data.seeds import fold
from alasca.data.views import VIEWS, centre_crop, crop_and_flip, cutout, randaugment
from alasca.errors import InputError
from alasca.values import conform, shown

STRENGTHS = {"strong": (2, 0.6, 4), "randaugment": (1, 0.1, 2)}
"""RandAugment's operations, their magnitude, and the part of the side that Cutout hides."""
KINDS = {torch.uint8: "pictures", torch.float32: "numbers", torch.int64: "texts"}


class Column(NamedTuple):
    """A column of a table, and the numbers that it becomes.

    Attributes:
        name: of the column.
        kind: ``"number"``; ``"date"`` (days since 1970); ``"levels"`` (categories, a number for each, 0 or 1);
            ``"position"`` (categories by their position); ``"words"`` (of texts, a number for each, 0 or 1).
        levels: names of the categories, or words, in order.
        fill: what stands for a number that is missing, beside a 1 in a number of its own; None: none was.
        form: of dates as texts; see `alasca.data.sources.cells`.
    """

    name: str
    kind: str = "number"
    levels: tuple[str, ...] = ()
    fill: float | None = None
    form: str = ""

    @property
    def width(self) -> int:
        """How many numbers."""
        if self.kind in ("levels", "words"):
            return len(self.levels)
        return 1 if self.fill is None else 2


COLUMN_KINDS = ("number", "date", "levels", "position", "words")


class Kept(TypedDict):
    """What a run keeps of a `Transform`."""

    kind: Literal["pictures", "numbers", "texts"]
    mean: list[float] | None
    std: list[float] | None
    shift: Annotated[int, {"least": 0}]
    flip: bool
    crop: int | None
    size: int | None
    keep_ratio: bool
    span: list[float] | None
    columns: list[list[Any]]
    words: list[str] | None
    tokens: int
    padding: int
    length: int


@dataclass(frozen=True)
class Transform:
    """How samples are read and shown to a network.

    Attributes:
        kind: ``"pictures"`` (bytes), ``"numbers"`` or ``"texts"`` (token ids).
        mean, std: of the training set, a channel or a column; None for texts.
        shift: pixels a weak view may shift a picture by.
        flip: whether a weak view may mirror a picture.
        crop: side of the part of a picture that a view shows: its middle, or in a weak view any; None: all of it.
        size: side to which pictures from files are resized; None: they came as arrays.
        keep_ratio: cut the middle out when resizing, instead of stretching.
        span: values of pixels of more than 8 bits that are black and white; None: training saw no such picture.
        columns: of a table of numbers and categories; empty: the numbers came as arrays.
        words: the vocabulary of texts; None: a network's own tokenizer, or no texts.
        tokens: how many different tokens there are.
        padding: the token that is none.
        length: of a text, in tokens.
    """

    kind: str
    mean: Tensor | None = None
    std: Tensor | None = None
    shift: int = 0
    flip: bool = False
    crop: int | None = None
    size: int | None = None
    keep_ratio: bool = False
    span: tuple[float, float] | None = None
    columns: tuple[Column, ...] = ()
    words: tuple[str, ...] | None = None
    tokens: int = 0
    padding: int = 0
    length: int = 0

    def to(self, device: torch.device) -> Transform:
        """The same transform on a device."""
        if self.mean is None or self.std is None:
            return self
        return replace(self, mean=self.mean.to(device), std=self.std.to(device))

    def view(self, values: Tensor, name: str, rows: Tensor, seed: int = 0) -> Tensor:
        """One view of some samples, as the network reads it.

        Args:
            values: the samples as they are kept: ``[B, C, H, W]`` bytes, ``[B, D]`` numbers, ``[B, T]`` token ids.
            name: ``"plain"``, ``"weak"`` (pictures: shift and flip), ``"strong"`` (pictures: weak, then two
                RandAugment-style operations and Cutout of a quarter of the side) or ``"randaugment"`` (weak, one gentle
                operation, N = 1 and M = 3 of 30, and Cutout of half the side). Numbers and texts have the plain view
                only, under any name.
            rows: positions ``[B]``.
            seed: of the draws, which each sample has of its own.
        """
        if name not in VIEWS:
            raise InputError(f"view: {name!r}, expected one of {', '.join(VIEWS)}")
        if self.kind == "pictures":
            if name == "plain":
                values = centre_crop(values, self.crop)
            else:
                values = crop_and_flip(values, self.crop, self.shift, self.flip, seed, rows)
            values = values.float() / 255
            if name in STRENGTHS:
                count, magnitude, part = STRENGTHS[name]
                values = randaugment(values, count, magnitude, fold(seed, "ops"), rows)
                values = cutout(values, max(1, values.shape[-1] // part), fold(seed, "cut"), rows)
        if self.mean is None or self.std is None:
            return values
        shape = (1, -1, 1, 1) if self.kind == "pictures" else (1, -1)
        return (values - self.mean.view(shape)) / self.std.view(shape)

    def as_json(self) -> dict[str, Any]:
        """Values that JSON can hold, exact; `from_json` is the inverse."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in ("mean", "std"):
            found[name] = None if found[name] is None else found[name].tolist()
        found["columns"] = [list(column) for column in self.columns]
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Transform:
        """The inverse of `as_json` through JSON.

        Raises:
            InputError: parts are missing or of another kind.
        """
        conform(value, Kept, "transform")
        parts = dict(value)
        for name in ("mean", "std"):
            parts[name] = None if parts[name] is None else torch.tensor(parts[name])
        parts["span"] = None if parts["span"] is None else tuple(parts["span"])
        if parts["span"] is not None and len(parts["span"]) != 2:
            raise InputError(f"transform: span: {shown(value['span'])}, expected [black, white]")
        parts["columns"] = tuple(map(column_from, parts["columns"]))
        parts["words"] = None if parts["words"] is None else tuple(parts["words"])
        return cls(**parts)


def column_from(parts: list[Any]) -> Column:
    """A column from what JSON holds of it.

    Raises:
        InputError: it is none.
    """
    sound = [type(part) for part in parts[:3]] == [str, str, list] and len(parts) == 5
    sound = sound and type(parts[3]) in (float, type(None)) and type(parts[4]) is str
    if not sound or parts[1] not in COLUMN_KINDS or not all(type(level) is str for level in parts[2]):
        raise InputError(f"transform: columns: {shown(parts)}, expected [name, kind, [levels], fill, form]")
    return Column(parts[0], parts[1], tuple(parts[2]), parts[3], parts[4])
