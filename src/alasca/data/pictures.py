"""Pictures in files or in a column of a data set, decoded by worker processes."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader

from alasca.data.rows import Rows
from alasca.files import open_regular, reason

log = logging.getLogger("alasca")
Image.init()  # else only the commonest formats are known
FORMATS = tuple(sorted(set(Image.OPEN) - {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}))
"""What is decoded, whatever a file is called: nothing that another program would have to be started for."""
SUFFIXES = tuple(sorted(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS))
"""Endings of such files."""
Span = tuple[float, float]
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a run to stop."""
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, TypeError, Image.DecompressionBombError)
"""What Pillow raises on files that are no whole pictures."""


class Pictures(ABC):
    """Where pictures come from: named, and opened one by one, in any process."""

    @abstractmethod
    def __len__(self) -> int:
        """How many."""

    @abstractmethod
    def name(self, position: int) -> str:
        """Name of a picture, for messages."""

    @abstractmethod
    def open(self, position: int) -> IO[bytes]:
        """The file, opened."""


@dataclass(frozen=True)
class PictureFiles(Pictures):
    """Pictures in files."""

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, position: int) -> str:
        """The path."""
        return str(self.paths[position])

    def open(self, position: int) -> IO[bytes]:
        """The file, opened."""
        return open_regular(self.paths[position])


@dataclass(frozen=True)
class PicturesAt(Pictures):
    """Some of other pictures, by position."""

    pictures: Pictures
    positions: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.positions)

    def name(self, position: int) -> str:
        """The other pictures' name of it."""
        return self.pictures.name(self.positions[position])

    def open(self, position: int) -> IO[bytes]:
        """The file, opened."""
        return self.pictures.open(self.positions[position])


@dataclass(frozen=True)
class Decoder:
    """Decodes and resizes pictures to uint8 RGB ``[3, size, size]``; the part of the work that other processes do.

    A picture is resized so that its short side is `size` and the middle is kept where `keep_ratio`, else stretched.
    What is transparent is white. Pixels of more than 8 bits are scaled so that `span` becomes black to white, of a set
    of pictures one span for all of them; None: each picture's own.
    """

    pictures: Pictures
    size: int
    keep_ratio: bool = False
    span: Span | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitems__(self, positions: list[int]) -> tuple[Tensor, dict[int, str]]:
        """Pictures ``[B, 3, size, size]``, and what went wrong with which: those are black."""
        return self.measured(positions)[:2]

    def measured(self, positions: list[int]) -> tuple[Tensor, dict[int, str], list[Span], int]:
        """The same, the darkest and brightest pixel of each of more than 8 bits, and how many have several frames."""
        found = torch.zeros(len(positions), 3, self.size, self.size, dtype=torch.uint8)
        wrong: dict[int, str] = {}
        spans: list[Span] = []
        several = 0
        for k, position in enumerate(positions):
            try:
                found[k], span, more = self.looked_at(position)
            except UNREADABLE as error:
                wrong[position] = reason(error).partition(" <_io")[0]
            else:
                spans += [span] if span is not None else []
                several += more
        return found, wrong, spans, several

    def decoded(self, position: int) -> Tensor:
        """One picture."""
        return self.looked_at(position)[0]

    def looked_at(self, position: int) -> tuple[Tensor, Span | None, bool]:
        """One picture, its darkest and brightest pixel where it has over 8 bits, and whether it has several frames."""
        with self.pictures.open(position) as file, Image.open(file, formats=FORMATS) as picture:
            picture.draft("RGB", (self.size, self.size))
            if any(";16" in str(tile[3]) for tile in picture.tile) and picture.mode in ("RGB", "RGBA", "LA"):
                raise ValueError(
                    "it has colours of 16 bits each, of which Pillow reads 8; save it with 8, or as grey of 16"
                )
            several = bool(getattr(picture, "is_animated", False))
            picture.seek(0)
            turned = ImageOps.exif_transpose(picture)
            span = span_of(turned)
            colours = on_white(turned if span is None else eight_bits(turned, self.span or span))
        square = (self.size, self.size)
        fitted = ImageOps.fit(colours, square) if self.keep_ratio else colours.resize(square)
        return torch.from_numpy(np.array(fitted)).permute(2, 0, 1), span, several

    def batches(self, positions: Iterable[list[int]], workers: int, measure: bool = False) -> Iterator[Any]:
        """The pictures of each batch of positions, in order, decoded ahead by `workers` processes; or `measured`."""
        loader: DataLoader[Any] = DataLoader(
            Measuring(self) if measure else self, batch_sampler=positions, num_workers=workers, collate_fn=as_it_is,  # type: ignore[arg-type]  # any iterable of lists will do
            generator=torch.Generator(),  # else the default one is drawn from
            worker_init_fn=leave_signals,
        )  # fmt: skip
        with signals_waiting():
            return iter(loader)


@dataclass(frozen=True)
class Measuring:
    """What `Decoder.measured` gives of each batch."""

    decoder: Decoder

    def __len__(self) -> int:
        return len(self.decoder)

    def __getitems__(self, positions: list[int]) -> tuple[Tensor, dict[int, str], list[Span], int]:
        """See `Decoder.measured`."""
        return self.decoder.measured(positions)


def span_of(picture: Image.Image) -> Span | None:
    """The darkest and the brightest pixel of a picture of more than 8 bits; None for others.

    Raises:
        ValueError: a pixel that is no finite number.
    """
    if not picture.mode.startswith("I;16") and picture.mode not in ("I", "F"):
        return None
    pixels = np.asarray(picture)
    span = float(pixels.min()), float(pixels.max())
    if not np.isfinite(span).all():
        raise ValueError("it has pixels that are no finite numbers")
    return span


def eight_bits(picture: Image.Image, span: Span) -> Image.Image:
    """A grey picture of more than 8 bits in 8, so that a span of values becomes black to white."""
    low, high = span
    shares = (np.asarray(picture).astype(np.float64) - low) / max(high - low, 1e-12)
    return Image.fromarray(np.round(255 * shares.clip(0, 1)).astype(np.uint8))


def on_white(picture: Image.Image) -> Image.Image:
    """A picture in red, green and blue, laid on white where it is transparent."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    colours = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")


def leave_signals(worker: int) -> None:
    """Let the main process decide what a signal to all of them means."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def signals_waiting() -> Iterator[None]:
    """Hold signals back while processes start: these inherit that, and so live until they leave signals alone."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def as_it_is(value: Any) -> Any:
    """A batch that was made whole."""
    return value


@dataclass(frozen=True)
class DecodedRows(Rows):
    """Pictures that worker processes decode, a few batches ahead. One that can't be read is black, and said so once.

    `content` is a digest of them all, taken when they were looked at.
    """

    decoder: Decoder = field(kw_only=True)
    content: str = field(kw_only=True, default="")
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

    def sound(self, rows: Tensor) -> Tensor | None:
        """Whether each of some pictures ``[B]`` could be read; None where all could so far."""
        if not self.missing:
            return None
        return torch.tensor([position not in self.missing for position in self.positions[rows.cpu()].tolist()])

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
                log.warning(
                    "%s can't be read any more (%s); others stand in for it", self.decoder.pictures.name(position), why
                )
        if self.device.type == "cuda":
            return pictures.pin_memory().to(self.device, non_blocking=True)
        return pictures.to(self.device)

    def fingerprint(self) -> Iterator[bytes | memoryview]:
        """The digest of all, and which of them these are."""
        yield f"{tuple(self.shape)} {self.content}".encode()
        yield self.positions.numpy().data
