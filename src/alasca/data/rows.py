"""Inputs that are read when they are asked for, and not held: what all such have in common, and mapped arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

CHUNK = 4096
"""Rows that are looked at together where all of them are."""


@dataclass(frozen=True)
class Rows(ABC):
    """Inputs of N samples that are not held in memory: ``inputs[rows]`` reads some, `read` reads ahead.

    Attributes:
        positions: which of the underlying inputs these are ``[N]``, int64, on the CPU.
        device: where rows that were read are put.
    """

    positions: Tensor
    device: torch.device

    @property
    @abstractmethod
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Type of the numbers."""

    @abstractmethod
    def __getitem__(self, rows: Tensor) -> Tensor:
        """The inputs at some positions ``[B, ...]``, on the device."""

    @abstractmethod
    def read(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """The inputs of each batch of positions, in order, read ahead while the last one is used."""

    @abstractmethod
    def fingerprint(self) -> Iterator[bytes | memoryview]:
        """The bytes that tell whether the inputs are still the same."""

    @property
    def shape(self) -> torch.Size:
        """``[N, ...]``."""
        return torch.Size((len(self.positions), *self.sample_shape))

    def sound(self, rows: Tensor) -> Tensor | None:
        """Whether each of some rows ``[B]`` that were read could be; None where all could."""
        return None

    def __len__(self) -> int:
        return len(self.positions)

    def subset(self, rows: Tensor) -> Self:
        """Some of the samples, still unread."""
        return replace(self, positions=self.positions[rows.cpu()])

    def to(self, device: torch.device) -> Self:
        """The same inputs, read onto a device."""
        return replace(self, device=device)


@dataclass(frozen=True)
class MappedRows(Rows):
    """Rows of an array in a file that the system maps into memory, and drops from it, as it sees fit."""

    array: np.ndarray = field(kw_only=True)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.array.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """Type of the numbers."""
        return torch.uint8 if self.array.ndim == 4 else torch.float32

    def __getitem__(self, rows: Tensor) -> Tensor:
        values = self.array[self.positions[rows.cpu()].numpy()]
        return torch.from_numpy(values.astype(np.uint8 if values.ndim == 4 else np.float32, copy=False)).to(self.device)

    def read(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """The inputs of each batch of positions, read by a thread while the last one is used."""
        return ahead(self.__getitem__, batches)

    def fingerprint(self) -> Iterator[bytes | memoryview]:
        """All of the array, piece by piece."""
        yield str(tuple(self.shape)).encode()
        for start in range(0, len(self), CHUNK):
            yield np.ascontiguousarray(self.array[self.positions[start : start + CHUNK].numpy()]).data


def ahead(work: Callable[[Tensor], Tensor], batches: Iterable[Tensor], depth: int = 2) -> Iterator[Tensor]:
    """``work(batch)`` of each batch in order, `depth` of them begun by a thread before they are asked for."""
    with ThreadPoolExecutor(1) as thread:
        begun: deque[Future[Tensor]] = deque()
        try:
            for batch in batches:
                begun.append(thread.submit(work, batch))
                if len(begun) > depth:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for left in begun:
                left.cancel()
