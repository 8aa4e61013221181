"""A campaign against the product: kills, signals, full disks, lying files, wrong command lines, several processes.

Each part yields attempts: a name, and a function that carries it out in a folder of its own and raises where the
product broke: a traceback, a silent success, code that ran, a result of other bits.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from alasca import checkpoint
from alasca.cli import main

Attempt = tuple[str, Callable[[Path], None]]
BASE = ["train", "--noise", "symmetric:0.4", "--limit", "96", "--batch-size", "16", "--device", "cpu",
        "--threads", "1", "--checkpoint-seconds", "0"]  # fmt: skip
"""A run of a second."""


class Said(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def carry_out(attempts: Iterable[Attempt], folder: Path, property: Callable[[str, object], None], kind: str) -> None:
    """Carry out attempts, note how many passed, and fail with all that did not."""
    tried, broken = 0, []
    for name, attempt in attempts:
        tried += 1
        own = folder / str(tried)
        own.mkdir(parents=True)
        begun = time.monotonic()
        try:
            attempt(own)
            assert time.monotonic() - begun < 120, "it hung"
        except Exception as error:
            broken.append(f"{name}: {type(error).__name__}: {str(error)[:1500]}")
        else:
            with contextlib.suppress(OSError):
                shutil.rmtree(own)
    property("break", (kind, tried, tried - len(broken)))
    assert tried, "nothing was tried"
    assert not broken, f"{len(broken)} of {tried} broke it:\n" + "\n".join(broken)


def some(attempts: Iterable[Attempt], count: int | None, seed: int = 0) -> Iterator[Attempt]:
    """So many of them, drawn; None: all."""
    everything = list(attempts)
    yield from everything if count is None else random.Random(seed).sample(everything, min(count, len(everything)))


def command(*arguments: str) -> list[str]:
    """A command line of the product, for a process of its own."""
    return [sys.executable, "-m", "alasca.cli", *arguments]


def alone(*arguments: str, **more: Any) -> Said:
    """A command in a process of its own."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=200, check=False, **more)
    return Said(done.returncode, done.stdout, done.stderr)


def here(*arguments: str, cwd: Path | None = None) -> Said:
    """A command in this process."""
    out, err = io.StringIO(), io.StringIO()
    before = Path.cwd()
    if cwd is not None:
        os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("default")  # as outside of tests
            try:
                main(list(arguments))
                code = -1
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else -1
    finally:
        os.chdir(before)
    return Said(code, out.getvalue(), err.getvalue())


def require_line(said: Said, *codes: int, notes: int = 0) -> None:
    """One line on standard error that says what is wrong, beside so many others at most, and no traceback."""
    assert said.code in codes, f"exit code {said.code}: {said.err[-1500:]}"
    assert "Traceback" not in said.out + said.err, said.err[-1500:]
    lines = said.err.splitlines()
    assert 1 <= len(lines) <= 1 + notes, said.err
    assert all(line.startswith("alasca: ") and len(line) > 20 for line in lines), said.err
    assert all(letter.isprintable() or letter in "\n\t" for letter in said.out + said.err), repr(said.err)


def outcome(run: Path) -> dict[str, Any]:
    """Everything a run ends with: files byte for byte, and its last checkpoint, times left out."""
    tensors, values = checkpoint.load(run / "checkpoint")
    for record in values["history"]:
        record.pop("seconds")
        record.pop("waited")
    for name in ("seconds", "waited", "run"):
        values.pop(name)
    names = ("model.safetensors", "samples.csv", "labels.safetensors", "pictures.safetensors")
    files = {name: (run / name).read_bytes() for name in names if (run / name).exists()}
    assert "model.safetensors" in files
    return {**files, "tensors": tensors, "values": values}


def bits(tensor: torch.Tensor) -> tuple[object, ...]:
    """All of a tensor, numbers that are none among it."""
    return tensor.dtype, tensor.shape, tensor.flatten().view(torch.uint8).numpy().tobytes()


def require_same(found: dict[str, Any], whole: dict[str, Any]) -> None:
    """Raise unless two runs ended in the same bits."""
    assert found["tensors"].keys() == whole["tensors"].keys()
    for name, value in whole["tensors"].items():
        assert bits(found["tensors"][name]) == bits(value), f"checkpoint: {name} differs"
    for name, value in whole.items():
        assert name == "tensors" or found[name] == value, f"{name} differs"


def gone_on(run: Path, again: list[str]) -> None:
    """Resume a run, or start it again where it had not become one."""
    said = alone("resume", str(run)) if (run / "run.json").exists() else alone(*again, "--out", str(run))
    assert said.code == 0, said.err
