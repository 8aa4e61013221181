"""Changes where the data lie, each written down before it is done, so that all can be undone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alasca.errors import InputError
from alasca.files import digest, parse_json, read_bytes, reason, write_bytes
from alasca.repair.folders import Move

LOG = "undo.jsonl"


class Log:
    """What was done where the data lie, a line each, on the disk before it is done.

    Args:
        folder: that keeps the log, and what was replaced or left out.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def note(self, **what: Any) -> None:
        """Write down what comes next."""
        with open(self.folder / LOG, "ab") as file:
            file.write((json.dumps(what) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())

    def kept(self, path: Path) -> Path:
        """A fresh name for what was there."""
        self.count += 1
        (self.folder / "original").mkdir(exist_ok=True)
        return (self.folder / "original" / f"{self.count:06d}-{path.name}").absolute()

    def move(self, moves: Sequence[Move]) -> None:
        """Move pictures into the folders of their new classes; those that belong nowhere go into the log's folder.

        Pictures that change places go by way of the log's folder, so none overwrites another.
        """
        aside = {path for path, _ in moves}
        through: list[tuple[Path, Path]] = []
        for path, to in moves:
            if to is None or to in aside:
                kept = self.kept(path)
                self.one(path.absolute(), kept)
                if to is not None:
                    through.append((kept, to))
        for path, to in [*((path, to) for path, to in moves if to is not None and to not in aside), *through]:
            to.parent.mkdir(parents=True, exist_ok=True)
            self.one(path.absolute(), to.absolute())

    def one(self, path: Path, to: Path) -> None:
        """Move one file; never over another."""
        if os.path.lexists(to):
            raise InputError(f"repair: {to} is there already; {path} stays where it is")
        self.note(moved=str(path), to=str(to))
        shutil.move(path, to)

    def replace(self, path: Path, copy: Path) -> None:
        """Put a file in the place of another, which is kept."""
        kept = self.kept(path)
        shutil.copy2(path, kept)
        self.note(replaced=str(path.absolute()), kept=str(kept), by=digest(copy))
        write_bytes(path, read_bytes(copy))


def undo(folder: Path) -> int:
    """Take back what was done in place, the last first; returns how many changes that were.

    Raises:
        InputError: there is no such log, or a file was changed since: then nothing is done.
    """
    path = folder / LOG
    if not path.is_file():
        raise InputError(
            f"undo: {folder} holds no {LOG}; where --in-place kept its log elsewhere, name that folder with --to"
        )
    lines = [parse_json(line) for line in read_bytes(path).decode().splitlines() if line.strip()]
    for line in lines:
        if "replaced" in line and digest(Path(line["replaced"])) not in (line["by"], digest(Path(line["kept"]))):
            raise InputError(f"undo: {line['replaced']} was changed since; its old bytes are in {line['kept']}")
    progress = folder / "undo.progress"
    done = int(read_bytes(progress).decode() or 0) if progress.is_file() else 0
    left = list(reversed(lines))[done:]
    require_free(left)
    for line in left:
        try:
            if "replaced" in line:
                write_bytes(Path(line["replaced"]), read_bytes(Path(line["kept"])))
            elif os.path.lexists(line["to"]) and not os.path.lexists(line["moved"]):
                shutil.move(line["to"], line["moved"])  # else it was written down and not done, or is undone
        except OSError as error:
            raise InputError(f"undo: {line} can't be taken back ({reason(error)})") from error
        done += 1
        write_bytes(progress, str(done).encode())
    os.replace(path, path.with_name("undone.jsonl"))
    progress.unlink(missing_ok=True)
    return len(lines)


def require_free(lines: Sequence[dict[str, Any]]) -> None:
    """Raise `InputError` where moves, taken back in this order, would meet a file or miss one; nothing is moved."""
    there: dict[str, bool] = {}

    def exists(path: str) -> bool:
        return there.get(path, os.path.lexists(path))

    for number, line in enumerate(lines):
        if "moved" not in line:
            continue
        if exists(line["to"]) and exists(line["moved"]):
            raise InputError(f"undo: {line['moved']} is there again; move it away first (nothing was moved)")
        if not exists(line["to"]) and not exists(line["moved"]) and number:
            raise InputError(f"undo: {line['to']} is gone; put it back first (nothing was moved)")
        if exists(line["to"]):
            there[line["to"]], there[line["moved"]] = False, True
