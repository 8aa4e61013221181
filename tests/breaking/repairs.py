"""Repairs that are killed, or run out of room: what was there is there, or comes back with --undo."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from breaking import Attempt, alone, command, require_line

COUNT = 90


def make_photos(root: Path) -> None:
    """Pictures of three classes in stripes, a fifth of them in a wrong folder."""
    rng = np.random.default_rng(0)
    for k in range(COUNT):
        pixels = rng.integers(0, 60, (9, 9, 3), dtype=np.uint8)
        pixels[3 * (k % 3) : 3 * (k % 3) + 3] += 150
        path = root / "abc"[(k + (k % 5 == 0)) % 3] / f"{k:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def listing(root: Path) -> dict[str, bytes]:
    """All files under a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def attempts(folder: Path, count: int = 12) -> Iterator[Attempt]:
    """Kills at random moments, of a copy and in place, and files that may not grow."""
    photos, run, draw = folder / "photos", folder / "run", random.Random(0)

    def prepared() -> dict[str, bytes]:
        if not (run / "done.json").exists():
            make_photos(photos)
            line = [
                "clean",
                str(photos),
                "--epochs",
                "12",
                "--batch-size",
                "16",
                "--image-size",
                "9",
                "--device",
                "cpu",
            ]
            done = alone(*line, "--threads", "1", "--out", str(run))
            assert done.code == 0, done.err
        return listing(photos)

    def killed(own: Path, *options: str) -> None:
        line = command("repair", str(run), "--apply", "all", "--to", str(own / "new"), *options)
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begun, sign = time.monotonic(), own / ("new" if options else ".new.making")
        while process.poll() is None and not sign.exists() and time.monotonic() - begun < 60:
            time.sleep(0.0003)
        time.sleep(draw.uniform(0, 0.02))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()

    def copy(own: Path) -> None:
        before = prepared()
        killed(own)
        assert listing(photos) == before, "the data were changed"
        if (own / "new").exists():
            assert len(listing(own / "new" / "photos")) == COUNT, "half of a copy"
            return
        again = alone("repair", str(run), "--apply", "all", "--to", str(own / "new"))
        assert again.code == 0, again.err
        assert len(listing(own / "new" / "photos")) == COUNT
        assert [entry.name for entry in own.iterdir()] == ["new"], "something was left behind"

    def in_place(own: Path) -> None:
        before = prepared()
        killed(own, "--in-place")
        assert len(listing(photos)) == COUNT, "a picture is gone"
        if (own / "new" / "undo.jsonl").exists():
            back = alone("repair", str(run), "--to", str(own / "new"), "--undo")
            assert back.code == 0, back.err
        assert listing(photos) == before, "not all came back"

    def limited(size: int, own: Path) -> None:
        before = prepared()

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        said = alone("repair", str(run), "--apply", "all", "--to", str(own / "new"), preexec_fn=limit)
        assert listing(photos) == before
        if said.code:
            require_line(said, 1, 2)
            assert not list(own.iterdir()), "something was left behind"

    for number in range(count):
        yield f"repair killed, {number}", copy
        yield f"repair in place killed, {number}", in_place
    for size in (0, 10, 200, 2000):
        yield f"repair with files of {size} bytes", lambda own, size=size: limited(size, own)  # type: ignore[misc]  # bound per size
