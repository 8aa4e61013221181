"""Disks that are full, files that may not grow, folders that can't be written: a line, and a run that goes on."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

from breaking import Attempt, Said, alone, command, gone_on, kills, outcome, require_line, require_same

SIZES = (0, 1, 4, 16, 60, 150, 300, 500, 700, 900)
"""Kilobytes that a file may grow to, or that are left on a disk."""


def can_mount(folder: Path) -> bool:
    """Whether this person may make a small disk."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    return done.returncode == 0 and subprocess.run(["umount", str(folder)], check=False).returncode == 0


def attempts(folder: Path, sizes: tuple[int, ...] = SIZES) -> Iterator[Attempt]:
    """Each size, as a limit of files and, where that may be made, as a disk."""
    line = kills.line_of("ce")

    def limited(size: int, own: Path) -> None:
        run = own / "run"

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size * 1024, resource.RLIM_INFINITY))

        said = alone(*line, "--out", str(run), preexec_fn=limit)
        if said.code:
            require_line(said, 1, 2)
            gone_on(run, line)
        require_same(outcome(run), kills.whole("ce", folder / "whole-ce")[0])

    def full(size: int, own: Path) -> None:
        disk, run = own / "disk", own / "disk" / "run"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], check=True)
        try:
            with subprocess.Popen(command(*line, "--out", str(run)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True) as process:  # fmt: skip
                while process.poll() is None and not (run / "run.json").exists():
                    pass
                with open(disk / "filler", "wb") as filler:
                    left = os.statvfs(disk)
                    filler.write(bytes(max(0, left.f_bavail * left.f_frsize - size * 1024)))
                out, err = process.communicate(timeout=100)
            if process.returncode:
                require_line(Said(process.returncode, out, err), 1)
                assert "No space left" in err, err
                again = alone("resume", str(run))
                require_line(again, 1, 2)
                (disk / "filler").unlink()
                gone_on(run, line)
            require_same(outcome(run), kills.whole("ce", folder / "whole-ce")[0])
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)

    def small(own: Path) -> None:
        """A disk that can't take the checkpoints is refused before training."""
        disk = own / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
        try:
            said = alone(*line, "--out", str(disk / "run"))
            require_line(said, 2)
            assert "of room, but checkpoints of this run take" in said.err
            assert not (disk / "run").exists()
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)

    def read_only(own: Path) -> None:
        for path in ("/proc/run", "/dev/null/run", str(own / "file" / "run")):
            (own / "file").write_text("")
            require_line(alone(*line, "--out", path), 1, 2)

    for size in sizes:
        yield f"files of {size} kB at most", lambda own, size=size: limited(size, own)  # type: ignore[misc]  # bound per size
    yield "a folder that can't be written", read_only
    if can_mount(folder / "probe"):
        yield "a disk too small", small
        for size in sizes:
            yield f"{size} kB left on a disk", lambda own, size=size: full(size, own)  # type: ignore[misc]  # bound per size
