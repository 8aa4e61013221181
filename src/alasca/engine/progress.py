"""What a person sees while it trains: a bar with accuracy and time left in a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


def describe(record: dict[str, Any]) -> str:
    """The accuracies of an epoch, in words."""
    names = (("test_accuracy", "test"), ("val_accuracy", "noisy val"), ("train_accuracy", "train (given labels)"))
    parts = [f"loss {record['loss']:.3f}"]
    return "  ".join(parts + [f"{text} {record[name]:.1f}%" for name, text in names if record.get(name) is not None])


def clock_text(seconds: float) -> str:
    """A duration for people.

    >>> clock_text(3725)
    '1:02:05'
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """Reports of the loop. Silent unless made by `for_terminal`."""

    def begin(self, title: str, epochs: int, done: float) -> None:
        """Training begins, or goes on after `done` epochs."""

    def step(self, epochs_done: float) -> None:
        """A step is over."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch is over."""

    def end(self) -> None:
        """Training is over, one way or another."""

    @staticmethod
    def for_terminal() -> Progress:
        """A bar where stdout is a terminal, lines elsewhere; nothing in processes other than the first."""
        if os.environ.get("RANK", "0") != "0":
            return Progress()
        return BarProgress() if sys.stdout.isatty() else LineProgress()


class LineProgress(Progress):
    """A line at the first epoch, the last, and at most every two seconds between."""

    def begin(self, title: str, epochs: int, done: float) -> None:
        """Note the time."""
        self.title, self.epochs, self.done, self.start, self.last = title, epochs, done, time.monotonic(), 0.0

    def epoch(self, record: dict[str, Any]) -> None:
        """Print a line, unless one was printed just now."""
        now, epoch = time.monotonic(), record["epoch"] + 1
        if epoch < self.epochs and now - self.last < 2:
            return
        self.last = now
        left = (now - self.start) / max(1e-9, epoch - self.done) * (self.epochs - epoch)
        print(f"{self.title}  epoch {epoch}/{self.epochs}  {describe(record)}  left {clock_text(left)}", flush=True)


class BarProgress(Progress):
    """A progress bar, redrawn at most ten times a second."""

    bar: Bar | None = None
    task: TaskID

    def begin(self, title: str, epochs: int, done: float) -> None:
        """Draw the bar."""
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self.last = 0.0
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[now]}"),
        )  # fmt: skip
        self.bar.start()
        self.task = self.bar.add_task(title, total=epochs, completed=int(done), now="")

    def step(self, epochs_done: float) -> None:
        """Move the bar."""
        now = time.monotonic()
        if self.bar is not None and now - self.last > 0.1:
            self.last = now
            self.bar.update(self.task, completed=epochs_done)

    def epoch(self, record: dict[str, Any]) -> None:
        """Show the epoch's accuracies."""
        if self.bar is not None:
            self.bar.update(self.task, completed=record["epoch"] + 1, now=describe(record))

    def end(self) -> None:
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
