"""kill -9 at any moment, then resume: the run ends in the same bits as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from alasca import checkpoint

TRAIN = [
    "train", "--noise", "symmetric:0.4", "--limit", "256", "--epochs", "6", "--batch-size", "32", "--device", "cpu",
    "--threads", "1", "--checkpoint-seconds", "0", "--val-fraction", "0.1", "--select", "noisy-val",
]  # fmt: skip


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "alasca.cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str]) -> None:
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output


def outcome(run: Path) -> dict[str, object]:
    """Everything a run ends with: files byte for byte, and the tensors of its last checkpoint."""
    tensors, values = checkpoint.load(run / "checkpoint")
    for record in values["history"]:
        record.pop("seconds")
        record.pop("waited")
    for name in ("seconds", "waited", "run"):
        values.pop(name)
    names = ("model.safetensors", "samples.csv", "labels.safetensors", "pictures.safetensors")
    return {name: (run / name).read_bytes() for name in names} | {"tensors": tensors, "values": values}


def require_same(first: dict[str, object], second: dict[str, object], when: str) -> None:
    tensors = first.pop("tensors"), second.pop("tensors")
    assert tensors[0].keys() == tensors[1].keys()
    assert any("stores" in name for name in tensors[0])
    for name, value in tensors[0].items():
        assert torch.equal(value, tensors[1][name]), f"{when}: {name}"
    for name, value in first.items():
        assert value == second[name], f"{when}: {name}"


def at_time(seconds: float) -> Callable[[Path], bool]:
    begun = time.monotonic()
    return lambda run: time.monotonic() - begun > seconds


def at_epoch_end(epoch: int) -> Callable[[Path], bool]:
    def reached(run: Path) -> bool:
        file = run / "metrics.jsonl"
        return file.exists() and file.read_text().count("\n") >= epoch

    return reached


def while_writing(number: int) -> Callable[[Path], bool]:
    def reached(run: Path) -> bool:
        return any(int(entry.name[1:9]) >= number for entry in (run / "checkpoint").glob(".*.tmp"))

    return reached


def killed(process: subprocess.Popen[str], run: Path, moment: Callable[[Path], bool]) -> bool:
    """Kill at a moment; False where the run ended before."""
    while process.poll() is None:
        if moment(run):
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            return True
        time.sleep(0.0005)
    process.communicate()
    return False


def trial(tmp_path: Path, draw: random.Random, k: int, seconds: float) -> tuple[str, bool]:
    """One run that is killed once (by turns at a random time, at an epoch's end, inside a checkpoint) and resumed."""
    run = tmp_path / f"killed-{k}"
    kind = ("time", "epoch", "writing")[k % 3]
    moments = {
        "time": at_time(draw.uniform(0.4, 0.9) * seconds),
        "epoch": at_epoch_end(draw.randint(1, 5)),
        "writing": while_writing(draw.randint(2, 40)),
    }
    done = killed(start(*TRAIN, "--out", str(run)), run, moments[kind])
    if (run / "checkpoint").exists() and any(entry.name.isdigit() for entry in (run / "checkpoint").iterdir()):
        finish(start("resume", str(run)))
    else:  # killed before anything was there to resume: begin again
        finish(start(*TRAIN, "--out", str(tmp_path / f"killed-{k}-again")))
        run = tmp_path / f"killed-{k}-again"
    return str(run), done


def kills(tmp_path: Path, count: int, seed: int) -> int:
    begun = time.monotonic()
    finish(start(*TRAIN, "--out", str(tmp_path / "whole")))
    seconds = time.monotonic() - begun
    draw = random.Random(seed)
    whole = outcome(tmp_path / "whole")
    hits = tried = 0
    while hits < count and tried < 2 * count:
        run, done = trial(tmp_path, draw, tried, seconds)
        hits, tried = hits + done, tried + 1
        require_same(dict(whole), outcome(Path(run)), f"kill {tried}")
    print(f"\n{hits} of {tried} runs were killed before their end; {tried} of {tried} ended in the same bits")
    return hits


def test_three_kills(tmp_path: Path):
    assert kills(tmp_path, 3, 0) == 3


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_twenty_kills(tmp_path: Path):
    assert kills(tmp_path, 20, 1) == 20
