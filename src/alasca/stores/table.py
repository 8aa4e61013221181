"""A moving average of one row a sample, by index: whole rows in float32 or float16, or 64 bytes of each."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alasca.core import full_precision
from alasca.distributed import gather_rows
from alasca.functional import confidence

STORES = ("float32", "float16", "compact")


def mean_by_index(index: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Sort by index, and give every row the mean of the rows that share its index.

    Args:
        index: ``[B]``, may repeat.
        rows: ``[B, K]``.

    Returns:
        The sorted index ``[B]`` and the means ``[B, K]``, equal for equal indices.

    >>> mean_by_index(torch.tensor([7, 3, 7]), torch.tensor([[1.0], [5.0], [3.0]]))[1].flatten()
    tensor([5., 2., 2.])
    """
    ordered, order = index.sort(stable=True)
    group = F.pad((ordered[1:] != ordered[:-1]).cumsum(0), (1, 0))
    counted = F.pad(rows[order], (0, 1), value=1.0)
    sums = torch.zeros_like(counted).index_add_(0, group, counted)[group]
    return ordered, sums[:, :-1] / sums[:, -1:]


class Table(nn.Module):
    """One row a sample, by index: what every per-sample table offers, however and wherever its rows are kept.

    `update` takes the rows of this process's batch and gathers those of the others; `read` gives rows back; the rows
    are buffers, and so part of ``state_dict``.
    """

    def update(self, index: Tensor, *rows: Any, **options: Any) -> None:
        """Take in what a step saw of the samples at `index` ``[B]``."""
        raise NotImplementedError(f"{type(self).__name__} defines no update()")

    def read(self, index: Tensor) -> Any:
        """What is known of the samples at `index` ``[B]``."""
        raise NotImplementedError(f"{type(self).__name__} defines no read()")


class SampleStore(Table):
    """A moving average of one row a sample: ``z[n] <- w z[n] + (1 - w) row``, from zero.

    Args:
        num_samples: N, rows of the table.
        width: K, columns.
        dtype: of the table; updates are computed in float32 and clamped to its range.
        folder: where a file holds the table, mapped into memory and gone with the process; the table then stays on the
            CPU, so that on a GPU each step waits for it. None: the table is in memory, on the training device.

    The table is part of ``state_dict``. Under an initialised process group rows are gathered, so that every
    process holds the same table; each must bring the same number of rows. A row that is not finite leaves the old
    one and is counted in `skipped`.
    """

    value: Tensor
    visits: Tensor
    skipped: Tensor

    def __init__(
        self, num_samples: int, width: int, dtype: torch.dtype = torch.float32, folder: str | None = None
    ) -> None:
        super().__init__()
        if num_samples < 1:
            raise ValueError(f"num_samples: {num_samples}, expected at least 1")
        self.folder = folder
        self.register_buffer("value", zeros((num_samples, width), dtype, folder))
        self.register_buffer("visits", torch.zeros(num_samples, dtype=torch.int32))
        self.register_buffer("skipped", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(
        self, index: Tensor, rows: Tensor, momentum: float, labels: Tensor | None = None, distinct: bool = False
    ) -> None:
        """Average `rows` ``[B, K]`` into the table at `index` ``[B]``; duplicates count as one visit of their mean.

        Args:
            index: positions.
            rows: ``[B, K]``.
            momentum: w.
            labels: given labels ``[B]``, which a compact store keeps apart and others do not read.
            distinct: no position comes twice, on any process.
        """
        place = self.value.device
        index, rows = gather_rows(index).to(place), gather_rows(full_precision(rows.detach())).to(place)
        if labels is not None:
            self._note(index, gather_rows(labels).to(place))
        index, mean = (index, rows) if distinct else mean_by_index(index, rows)
        old = self._rows(index).to(mean.dtype)
        new = torch.lerp(old, mean, 1 - momentum)
        sound = new.abs().amax(-1) < torch.inf
        self._write(index, torch.where(sound[:, None], new, old))
        self.visits.index_copy_(0, index, self.visits[index] + sound)
        self.skipped += len(index) - sound.sum()

    def read(self, index: Tensor) -> Tensor:
        """Rows at `index`, in float32 at least: ``[B, K]``."""
        return self._rows(index.to(self.value.device)).to(index.device)

    def _rows(self, index: Tensor) -> Tensor:
        return full_precision(self.value[index])

    def _write(self, index: Tensor, rows: Tensor) -> None:
        self.value.index_copy_(0, index, half_range(rows, self.value.dtype))

    def _note(self, index: Tensor, labels: Tensor) -> None:
        """Keep given labels; whole rows need none."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """A table in a file stays where it is when its module is moved."""
        return self if self.folder is not None else super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"num_samples={self.value.shape[0]}, width={self.value.shape[1]}"


class CompactStore(SampleStore):
    """The same average in 58 bytes a sample: its 12 largest entries, the given label's, and one level for all others.

    The level is the one whose softmax at `temperature` has the mass of all the entries that it stands for, so that what
    is lost is how they differ: in what order they rise later, and their own probabilities.

    Args:
        num_samples: N.
        width: K, from 16 to 32,768.
        temperature: tau of the confidence that is read from it.
        folder: see `SampleStore`.
    """

    TOP = 12
    classes: Tensor
    given: Tensor

    def __init__(self, num_samples: int, width: int, temperature: float, folder: str | None = None) -> None:
        if not self.TOP + 4 <= width <= 1 << 15:
            raise ValueError(f"store: compact is for 16 to 32,768 classes, not {width}; use float16")
        super().__init__(num_samples, self.TOP + 2, torch.float16, folder)
        self.width, self.temperature = width, temperature
        self.register_buffer("classes", zeros((num_samples, self.TOP), torch.int16, folder))
        self.register_buffer("given", torch.zeros(num_samples, dtype=torch.int16))

    def _note(self, index: Tensor, labels: Tensor) -> None:
        self.given.index_copy_(0, index, labels.to(torch.int16))

    def _rows(self, index: Tensor) -> Tensor:
        kept = self.value[index].float()
        rows = kept[:, -1:].expand(len(index), self.width).clone()
        rows.scatter_(1, self.classes[index].long(), kept[:, : self.TOP])
        return rows.scatter_(1, self.given[index].long()[:, None], kept[:, self.TOP : self.TOP + 1])

    def _write(self, index: Tensor, rows: Tensor) -> None:
        top, classes = rows.topk(self.TOP, 1)
        label = self.given[index].long()[:, None]
        own = rows.gather(1, label)
        others = rows.scatter(1, classes, -torch.inf).scatter(1, label, -torch.inf)
        count = others.isfinite().sum(1, keepdim=True)
        level = ((self.temperature * others).logsumexp(1, keepdim=True) - count.log()) / self.temperature
        self.value.index_copy_(0, index, half_range(torch.cat([top, own, level], 1), torch.float16))
        self.classes.index_copy_(0, index, classes.to(torch.int16))

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"num_samples={self.value.shape[0]}, width={self.width}, compact"


class Shadow(nn.Module):
    """The exact averages of about a thousand evenly spread samples, to measure what a smaller store loses.

    Args:
        num_samples: N.
        width: K.
    """

    SAMPLES = 1024

    def __init__(self, num_samples: int, width: int) -> None:
        super().__init__()
        self.stride = max(1, num_samples // self.SAMPLES)
        self.count = -(-num_samples // self.stride)
        self.store = SampleStore(self.count + 1, width)  # the last row takes all samples that are not followed

    def update(self, index: Tensor, rows: Tensor, momentum: float) -> None:
        """The same update that the store gets."""
        followed = torch.where(index % self.stride == 0, index // self.stride, self.count)
        self.store.update(followed, rows, momentum)

    def errors(self, store: SampleStore, labels: Tensor, temperature: float) -> Tensor:
        """How far the store's confidence in the labels ``[N]`` is from the exact one, for those that were seen."""
        rows = torch.arange(self.count, device=labels.device)
        index = rows * self.stride
        exact = confidence(self.store.read(rows), labels[index], temperature)
        kept = confidence(store.read(index), labels[index], temperature)
        return (kept - exact).abs()[self.store.visits[: self.count].to(labels.device) > 0]


def make_store(kind: str, num_samples: int, width: int, temperature: float, folder: str | None = None) -> SampleStore:
    """A store of one of the kinds in `STORES`.

    Raises:
        ValueError: no such kind, or no such folder.
    """
    if kind not in STORES:
        raise ValueError(f"store: {kind!r}, expected one of {', '.join(STORES)}")
    if folder is not None and not (Path(folder).is_dir() and os.access(folder, os.W_OK)):
        raise ValueError(f"store_dir: {folder} is no folder that can be written to")
    if kind == "compact":
        return CompactStore(num_samples, width, temperature, folder)
    return SampleStore(num_samples, width, torch.float16 if kind == "float16" else torch.float32, folder)


def half_range(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """Rows in a type, clamped to its range where it is float16."""
    return (rows.clamp(-65504, 65504) if dtype == torch.float16 else rows).to(dtype)


def zeros(shape: tuple[int, int], dtype: torch.dtype, folder: str | None) -> Tensor:
    """Zeros in memory, or in a file that is mapped into memory and has no name any more."""
    if folder is None:
        return torch.zeros(shape, dtype=dtype)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="alasca-store-") as file:
        file.truncate(math.prod(shape) * dtype.itemsize)
        return torch.from_file(file.name, shared=True, size=math.prod(shape), dtype=dtype).view(shape)
