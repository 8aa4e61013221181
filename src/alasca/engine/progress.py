"""What a person sees while it trains: a bar with accuracy and time left in a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from alasca.terminal import hush, processes, visible

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

log = logging.getLogger("alasca")


def accuracies(record: dict[str, Any]) -> list[str]:
    """The accuracies of an epoch in words, the most telling first.

    To predict the given labels is no merit where some of them are wrong, and is never called an accuracy.

    >>> accuracies({"test_accuracy": 80.0, "train_accuracy": 45.25})
    ['test 80.0%', 'fits 45.2% of given labels']
    """
    names = (
        ("test_accuracy", "test {:.1f}%"), ("val_accuracy", "held out (noisy labels) {:.1f}%"),
        ("train_accuracy", "fits {:.1f}% of given labels"), ("loss", "loss {:.3f}"),
    )  # fmt: skip
    return [text.format(record[name]) for name, text in names if record.get(name) is not None]


def fitted(parts: list[str], width: int) -> str:
    """As many of the parts, in their order, as fit a width; at least the first.

    >>> fitted(["test 80.0%", "fits 45.2% of given labels", "loss 1.2"], 22)
    'test 80.0%  loss 1.2'
    """
    found = parts[0] if parts else ""
    for part in parts[1:]:
        found += f"  {part}" if len(found) + len(part) + 2 <= width else ""
    return found


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

    def announce(self, lines: Sequence[tuple[str, str]]) -> None:
        """What is about to be done: heads and texts."""

    def begin(self, title: str, epochs: int, done: float) -> None:
        """Training begins, or goes on after `done` epochs."""

    def step(self, epochs_done: float) -> None:
        """A step is over."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch is over."""

    def end(self) -> None:
        """Training is over, one way or another."""

    def stopping(self, number: int) -> None:
        """A signal came that training will answer after the step it is in."""

    def enough(self) -> bool:
        """Asked after every step: whether training is to stop, so that it can be resumed."""
        return False

    @staticmethod
    def for_terminal(announces: bool = True) -> Progress:
        """A bar where stdout is a terminal, lines elsewhere; nothing in processes other than the first.

        Args:
            announces: whether to say what is about to be done.
        """
        if processes()[0]:
            return Progress()
        shown = BarProgress(announces) if sys.stdout.isatty() else LineProgress(announces)
        return Unheard(shown)


class Unheard(Progress):
    """Another's reports, until they can't be made any more: training goes on without a terminal or a pipe's reader."""

    def __init__(self, shown: Progress) -> None:
        self.shown = shown

    def announce(self, lines: Sequence[tuple[str, str]]) -> None:
        """Pass it on."""
        self._try(lambda: self.shown.announce(lines))

    def begin(self, title: str, epochs: int, done: float) -> None:
        """Pass it on."""
        self._try(lambda: self.shown.begin(title, epochs, done))

    def step(self, epochs_done: float) -> None:
        """Pass it on."""
        self._try(lambda: self.shown.step(epochs_done))

    def epoch(self, record: dict[str, Any]) -> None:
        """Pass it on."""
        self._try(lambda: self.shown.epoch(record))

    def end(self) -> None:
        """Pass it on."""
        self._try(self.shown.end)

    def stopping(self, number: int) -> None:
        """Pass it on."""
        self._try(lambda: self.shown.stopping(number))

    def _try(self, report: Callable[[], None]) -> None:
        try:
            report()
        except (OSError, ValueError) as error:  # a stream that is closed, or whose other end is
            if isinstance(error, ValueError) and "closed" not in str(error):
                raise
            hush(sys.stdout)
            shown, self.shown = self.shown, Progress()
            shown.end()
            log.warning("nobody reads what is printed any more (%s); training goes on", error)


class Speaking(Progress):
    """Says what is about to be done, wrapped at the terminal's width."""

    def __init__(self, announces: bool = True) -> None:
        self.announces = announces

    def announce(self, lines: Sequence[tuple[str, str]]) -> None:
        """Print the heads and texts."""
        if not self.announces:
            return
        width = max(40, shutil.get_terminal_size((100, 24)).columns)
        for head, text in lines:
            print(textwrap.fill(f"{head:<9}{visible(text)}", width, subsequent_indent=" " * 9, break_on_hyphens=False))
        print(flush=True)

    before = ""
    """Begins what is said in the midst of a line."""

    def stopping(self, number: int) -> None:
        """Say so at once, past every buffer, since this comes in the midst of anything."""
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        text = "stopping after this step, and nothing is lost; a second one stops at once, at the last checkpoint"
        os.write(2, f"{self.before}alasca: {name}: {text}\n".encode())


WARM, MEASURED = 3, 10
"""Steps after which the time that a training takes is measured, and said."""
WORTH_SAYING = 10.0
"""Seconds of training below which nothing is said of it before the first epoch's line."""


class LineProgress(Speaking):
    """A line after ten steps, at the first epoch, the last, and at most every two seconds between."""

    def begin(self, title: str, epochs: int, done: float) -> None:
        """Note the time."""
        self.title, self.epochs, self.done, self.start, self.last = title, epochs, done, time.monotonic(), 0.0
        self.steps = 0

    def step(self, epochs_done: float) -> None:
        """After ten steps, say how long all of them will take; the first ones are slower than the others."""
        self.steps += 1
        if self.steps == WARM:
            self.warm = time.monotonic(), epochs_done
        if self.steps == MEASURED and epochs_done < self.epochs:
            since, then = self.warm
            left = (time.monotonic() - since) / max(1e-9, epochs_done - then) * (self.epochs - epochs_done)
            if left >= WORTH_SAYING:
                print(f"{self.title}  {self.epochs} epochs, about {clock_text(left)}", flush=True)

    def epoch(self, record: dict[str, Any]) -> None:
        """Print a line, unless one was printed just now."""
        now, epoch = time.monotonic(), record["epoch"] + 1
        if epoch < self.epochs and now - self.last < 2:
            return
        self.last = now
        left = (now - self.start) / max(1e-9, epoch - self.done) * (self.epochs - epoch)
        words = "  ".join(accuracies(record))
        print(f"{self.title}  epoch {epoch}/{self.epochs}  {words}  left {clock_text(left)}", flush=True)


class BarProgress(Speaking):
    """One line that is redrawn: epoch of epochs, a bar, time left, and the accuracies that there is room for."""

    bar: Bar | None = None
    before = "\n"
    task: TaskID

    def begin(self, title: str, epochs: int, done: float) -> None:
        """Draw the line."""
        from rich.progress import BarColumn, Progress, TextColumn

        self.epochs, self.done, self.start, self.last = epochs, done, time.monotonic(), 0.0
        width = shutil.get_terminal_size((80, 24)).columns
        bar = 20 if width >= 100 else 10 if width >= 70 else 6
        self.room = width - len(f"epoch {epochs}/{epochs}") - bar - len("  0:00:00 left  ") - 3
        shown = f"{title}  " if self.room >= 45 + len(title) else ""
        self.room -= len(shown)
        self.bar = Progress(
            TextColumn(shown + "{task.fields[at]}"), BarColumn(bar_width=bar), TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[now]}"), auto_refresh=False,
        )  # fmt: skip
        self.bar.start()
        self.task = self.bar.add_task("", total=epochs, completed=int(done), at=self._at(done), left="", now="")

    def step(self, epochs_done: float) -> None:
        """Move the bar, at most ten times a second."""
        now = time.monotonic()
        if self.bar is not None and now - self.last > 0.1:
            self.last = now
            left = (now - self.start) / max(1e-9, epochs_done - self.done) * (self.epochs - epochs_done)
            self.bar.update(self.task, completed=epochs_done, at=self._at(epochs_done), left=f"{clock_text(left)} left",
                            refresh=True)  # fmt: skip

    def epoch(self, record: dict[str, Any]) -> None:
        """Show the epoch's accuracies."""
        if self.bar is not None:
            done = record["epoch"] + 1
            words = f" {fitted(accuracies(record), self.room)}"
            self.bar.update(self.task, completed=done, at=self._at(done - 1), now=words, refresh=True)

    def end(self) -> None:
        """Leave the line as it is."""
        if self.bar is not None:
            self.bar.update(self.task, left=f"took {clock_text(time.monotonic() - self.start)}")
            bar, self.bar = self.bar, None
            bar.stop()

    def _at(self, done: float) -> str:
        return f"epoch {min(int(done) + 1, self.epochs)}/{self.epochs}"
