"""kill -9 at any moment, the first and the last writes among them; then the run goes on, and ends in the same bits."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from breaking import BASE, Attempt, command, gone_on, outcome, require_same

METHODS = {
    "ce": [], "elr": [], "gjs": [], "coteaching": [], "jocor": [], "mixup": ["--no-alasca"], "one": ["--no-alasca"],
    "dividemix": ["--set", "warmup=1"], "fine": ["--set", "warmup=1"], "crust": ["--set", "start=1"],
    "truncated_gce": ["--set", "start=1"], "har": ["--no-alasca"], "cdr": ["--select", "noisy-val"],
}  # fmt: skip
MOMENTS = ("first write", "time", "epoch", "checkpoint", "time", "last writes", "epoch", "time")


def line_of(method: str, epochs: int = 3) -> list[str]:
    """The command line that trains with a method."""
    return [*BASE, "--epochs", str(epochs), "--val-fraction", "0.1", "--method", method, *METHODS[method]]


@cache
def whole(method: str, folder: Path) -> tuple[dict[str, object], float]:
    """What an undisturbed run ends with, and the seconds it took."""
    begun = time.monotonic()
    done = subprocess.run(command(*line_of(method), "--out", str(folder)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return outcome(folder), time.monotonic() - begun


def reached(moment: str, run: Path, draw: random.Random, seconds: float) -> Callable[[], bool]:
    """Whether the moment has come to kill a run."""
    begun, limit = time.monotonic(), draw.uniform(0.5, 1.0) * seconds
    epoch, number = draw.randint(1, 2), draw.randint(1, 12)
    metrics = run / "metrics.jsonl"
    return {
        "first write": lambda: run.exists(),
        "time": lambda: time.monotonic() - begun > limit,
        "epoch": lambda: metrics.exists() and metrics.read_bytes().count(b"\n") >= epoch,
        "checkpoint": lambda: any(int(entry.name[1:9]) >= number for entry in (run / "checkpoint").glob(".*.tmp")),
        "last writes": lambda: any(run.glob(".model*.tmp")) or (run / "model.safetensors").exists(),
    }[moment]


def attempts(method: str, folder: Path, moments: tuple[str, ...] = MOMENTS, seed: int = 0) -> Iterator[Attempt]:
    """One kill at each of the moments."""
    draw = random.Random(f"{method} {seed}")

    def kill(moment: str, own: Path) -> None:
        expected, seconds = whole(method, folder / f"whole-{method}")
        run = own / "run"
        process = subprocess.Popen(command(*line_of(method), "--out", str(run)), stderr=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)  # fmt: skip
        due = reached(moment, run, draw, seconds)
        while process.poll() is None and not due():
            time.sleep(0.0003)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        gone_on(run, line_of(method))
        require_same(outcome(run), expected)

    for moment in moments:
        yield f"{method}, killed at: {moment}", lambda own, moment=moment: kill(moment, own)  # type: ignore[misc]  # bound per moment
