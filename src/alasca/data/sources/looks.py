"""Pictures that can teach nothing: of one colour, or all the same."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from alasca.data.rows import CHUNK
from alasca.data.sources.base import shortened
from alasca.data.task import Task
from alasca.data.text import Texts


@dataclass
class Looks:
    """What was seen of pictures as they were looked at, batch by batch."""

    seen: int = 0
    plain: list[int] = field(default_factory=list)
    prints: dict[int, set[int]] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)

    def see(self, rows: Sequence[int], pictures: Tensor, labels: Sequence[int]) -> None:
        """Some pictures ``[B, C, H, W]`` by row, with their labels."""
        flat = pictures.flatten(2)
        plain = (flat == flat[..., :1]).flatten(1).all(1)
        self.plain += [row for row, one in zip(rows, plain.tolist(), strict=True) if one]
        for picture, label in zip(pictures, labels, strict=True):
            known = self.prints.setdefault(label, set())
            if len(known) < 2:
                known.add(zlib.crc32(picture.contiguous().numpy().data))
            self.counts[label] = self.counts.get(label, 0) + 1
        self.seen += len(pictures)

    def notes(self, name: Callable[[int], str], classes: Sequence[str]) -> tuple[str, ...]:
        """A line for each thing that is odd."""
        found = []
        same = [k for k, prints in sorted(self.prints.items()) if len(prints) == 1 and self.counts[k] > 1 and k >= 0]
        if self.seen > 1 and len(set().union(*self.prints.values())) == 1:
            found.append(f"all {self.seen:,} pictures are the same")
        elif same:
            found.append(
                f"all pictures are the same in {shortened([f'{classes[k]!r} ({self.counts[k]:,})' for k in same])}"
            )
        if len(self.plain) == self.seen > 0:
            found.append(f"all {self.seen:,} pictures are of one colour each")
        elif self.plain:
            found.append(
                f"{len(self.plain):,} pictures are of one colour: {shortened([name(k) for k in self.plain[:7]], 3)}"
            )
        return tuple(found)


def looked_over(task: Task) -> Task:
    """A task of pictures in arrays, with what its notes should say of them; others as they are."""
    inputs = task.inputs
    if isinstance(inputs, Texts) or task.size is not None or inputs.dtype != torch.uint8 or len(inputs.shape) != 4:
        return task
    looks = Looks()
    for start in range(0, len(inputs), CHUNK):
        rows = torch.arange(start, min(start + CHUNK, len(inputs)))
        looks.see(rows.tolist(), inputs[rows], task.labels[rows].tolist())
    return replace(task, notes=(*task.notes, *looks.notes(lambda row: task.ids[row], task.classes)))
