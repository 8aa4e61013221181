"""Inputs that are read when they are asked for: arrays mapped from a file, and pictures decoded by worker processes."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader

log = logging.getLogger("alasca")
CHUNK = 4096
"""Rows that are looked at together where all of them are."""
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, TypeError, Image.DecompressionBombError)
"""What Pillow raises on files that are no whole pictures."""


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

    @property
    def lost(self) -> frozenset[int]:
        """Positions of samples that could not be read, so that blank ones stand in their place."""
        return frozenset()

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
        return torch.uint8 if self.array.dtype == np.uint8 else torch.float32

    def __getitem__(self, rows: Tensor) -> Tensor:
        values = self.array[self.positions[rows.cpu()].numpy()]
        return torch.from_numpy(values).to(self.device, self.dtype)

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


class Pictures(ABC):
    """Where pictures come from: named, and opened one by one, in any process."""

    @abstractmethod
    def __len__(self) -> int:
        """How many."""

    @abstractmethod
    def name(self, position: int) -> str:
        """Name of a picture, for messages."""

    @abstractmethod
    def open(self, position: int) -> Any:
        """The file, or an open one, as `PIL.Image.open` takes it."""

    @abstractmethod
    def fingerprint(self, position: int) -> bytes:
        """What changes when the picture does, without reading all of it."""


@dataclass(frozen=True)
class PictureFiles(Pictures):
    """Pictures in files."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, position: int) -> str:
        """The path."""
        return str(self.paths[position])

    def open(self, position: int) -> Path:
        """The path."""
        return self.paths[position]

    def fingerprint(self, position: int) -> bytes:
        """Name and size."""
        path = self.paths[position]
        size = path.stat().st_size if path.exists() else -1
        return f"{path.name}:{size};".encode()


@dataclass(frozen=True)
class Decoder:
    """Decodes and resizes pictures to uint8 RGB ``[3, size, size]``; the part of the work that other processes do.

    A picture is resized so that its short side is `size` and the middle is kept where `keep_ratio`, else stretched.
    """

    pictures: Pictures
    size: int
    keep_ratio: bool = False

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitems__(self, positions: list[int]) -> tuple[Tensor, dict[int, str]]:
        """Pictures ``[B, 3, size, size]``, and what went wrong with which: those are black."""
        found = torch.zeros(len(positions), 3, self.size, self.size, dtype=torch.uint8)
        wrong: dict[int, str] = {}
        for k, position in enumerate(positions):
            try:
                found[k] = self.decoded(position)
            except UNREADABLE as error:
                wrong[position] = " ".join(str(error).split()) or type(error).__name__
        return found, wrong

    def decoded(self, position: int) -> Tensor:
        """One picture."""
        with Image.open(self.pictures.open(position)) as picture:
            picture.draft("RGB", (self.size, self.size))
            colours = picture.convert("RGB")
        square = (self.size, self.size)
        fitted = ImageOps.fit(colours, square) if self.keep_ratio else colours.resize(square)
        return torch.from_numpy(np.array(fitted)).permute(2, 0, 1)

    def batches(self, positions: Iterable[list[int]], workers: int) -> Iterator[tuple[Tensor, dict[int, str]]]:
        """The pictures of each batch of positions, in order, decoded ahead by `workers` processes."""
        loader: DataLoader[Any] = DataLoader(
            self, batch_sampler=positions, num_workers=workers, collate_fn=as_it_is,  # type: ignore[arg-type]  # any iterable of lists will do
            generator=torch.Generator(),  # else the default one is drawn from
        )  # fmt: skip
        return iter(loader)


def as_it_is(value: Any) -> Any:
    """A batch that was made whole."""
    return value


@dataclass(frozen=True)
class DecodedRows(Rows):
    """Pictures that worker processes decode, a few batches ahead. One that can't be read is black, and said so once."""

    decoder: Decoder = field(kw_only=True)
    workers: int = field(kw_only=True, default=0)
    missing: set[int] = field(kw_only=True, default_factory=set)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return (3, self.decoder.size, self.decoder.size)

    @property
    def dtype(self) -> torch.dtype:
        """Bytes."""
        return torch.uint8

    @property
    def lost(self) -> frozenset[int]:
        """Positions, in these rows, of pictures that could not be read so far."""
        if not self.missing:
            return frozenset()
        return frozenset(k for k, position in enumerate(self.positions.tolist()) if position in self.missing)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self._checked(self.decoder.__getitems__(self.positions[rows.cpu()].tolist()))

    def read(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """The pictures of each batch of positions, decoded ahead by worker processes."""
        lists = (self.positions[rows.cpu()].tolist() for rows in batches)
        for found in self.decoder.batches(lists, self.workers):
            yield self._checked(found)

    def _checked(self, found: tuple[Tensor, dict[int, str]]) -> Tensor:
        pictures, wrong = found
        for position, why in wrong.items():
            if position not in self.missing:
                self.missing.add(position)
                log.warning("%s can't be read (%s); its weight is 0", self.decoder.pictures.name(position), why)
        if self.device.type == "cuda":
            return pictures.pin_memory().to(self.device, non_blocking=True)
        return pictures.to(self.device)

    def fingerprint(self) -> Iterator[bytes | memoryview]:
        """Names and sizes of the files."""
        yield f"{tuple(self.shape)} {self.decoder.keep_ratio}".encode()
        for position in self.positions.tolist():
            yield self.decoder.pictures.fingerprint(position)
