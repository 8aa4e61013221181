"""Who may write to a folder: one process at a time, whatever dies, sleeps or comes back.

A claim is a file ``claim/N`` that nobody but its maker can have made. It names host, process and when that started;
while it is held its time moves on. A claim that is stale (its process is dead, or on another host its time stands
still) is taken over by making ``N + 1``; who comes back to an old one finds that it is no longer the newest, and stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from alasca.errors import InputError, OutsideError
from alasca.files import numbered, parse_json, read_bytes
from alasca.terminal import typed

FOLDER = "claim"
BEAT, STALE = 10.0, 120.0
"""Seconds between two signs of life, and after how many without one a process on another host is taken for dead."""
TRIES = 1000
CLOCKS = 2.0
"""Seconds by which two looks at when a process started may differ."""


@dataclass(frozen=True)
class Claim:
    """A folder that this process holds.

    Attributes:
        file: of the claim.
        mark: that nobody else writes into it.
    """

    file: Path
    mark: str

    def require(self) -> None:
        """Raise `OutsideError` unless the folder is still this process's: to be asked before anything is published."""
        newest = numbered(self.file.parent)[:1]
        if newest != [int(self.file.name)] or read(self.file).get("mark") != self.mark:
            raise OutsideError(
                f"{self.file.parent.parent} was taken over by another process while this one did not answer"
            )


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[Claim]:
    """Hold a folder that exists.

    Raises:
        InputError: another process holds it.
    """
    claim = take(folder)
    over = threading.Event()
    beating = threading.Thread(target=beat, args=(claim, over), daemon=True, name="alasca-claim")
    beating.start()
    try:
        yield claim
    finally:
        over.set()
        beating.join()
        with contextlib.suppress(OutsideError, OSError):  # whoever took it over, or a full disk: it goes stale instead
            claim.require()
            claim.file.write_text(json.dumps({"mark": claim.mark, "released": True}))


def take(folder: Path) -> Claim:
    """Make the next claim on a folder; errors as `claimed`."""
    inside = folder / FOLDER
    if inside.is_symlink():
        raise InputError(f"run: {inside} is a link, and a run writes into its own folder only; remove it")
    inside.mkdir(exist_ok=True)
    mark = uuid.uuid4().hex
    content = json.dumps({"mark": mark, "folder": folder.stat().st_ino, **identity()}).encode()
    for _ in range(TRIES):
        newest = next(iter(numbered(inside)), 0)
        if newest and (holder := held_by(inside / f"{newest:08d}")) is not None:
            raise InputError(f"run: {folder} is in use by {holder}; wait for its end, or stop it first")
        file = inside / f"{newest + 1:08d}"
        try:
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            continue  # another was quicker; look again at who that is
        try:
            os.write(handle, content)
        except OSError:  # a full disk: nobody may take the empty file for a claim
            file.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        if numbered(inside)[0] > newest + 1:  # others came and went since we looked
            file.unlink(missing_ok=True)
            continue
        for old in numbered(inside)[1:]:
            (inside / f"{old:08d}").unlink(missing_ok=True)
        return Claim(file, mark)
    raise OutsideError(f"{inside} can't be claimed: others do so all the time, or what lies there is no claim")


def beat(claim: Claim, over: threading.Event) -> None:
    """Give signs of life until it is over."""
    while not over.wait(BEAT):
        with contextlib.suppress(OSError):  # a disk that is away for a while; the next one tells
            os.utime(claim.file)


def read(file: Path) -> dict[str, Any]:
    """What a claim says; nothing where it was only begun, or is gone."""
    try:
        found = parse_json(read_bytes(file))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def held_by(file: Path) -> str | None:
    """Who holds a claim, in words; None where nobody does any more."""
    found = read(file)
    for _ in range(30):  # its maker writes it next; one that died just then never does
        if found:
            break
        time.sleep(0.1)
        found = read(file)
    if found.get("released") or not found or found.get("folder") not in (None, file.parent.parent.stat().st_ino):
        return None  # the last: of a folder that this is a copy of
    process, host, started = found.get("process"), found.get("host"), found.get("started")
    if host == here() and type(process) is int and type(started) is float:
        return f"process {process}" if runs(process, started) else None
    try:
        age = now_at(file.parent) - file.stat().st_mtime
    except FileNotFoundError:
        return None
    name = str(host).partition(" ")[0]
    return None if age > STALE else f"process {process} on {name}, last seen {age:.0f} s ago"


def ending(folder: Path) -> str:
    """What to do about a folder's run that has not ended: wait where a process goes on with it, else continue it."""
    newest = next(iter(numbered(folder / FOLDER)), 0)
    try:
        who = held_by(folder / FOLDER / f"{newest:08d}") if newest else None
    except OSError:  # of another machine, and nothing can be written there to compare its clock with
        who = "a process on another machine"
    return f"it is in use by {who}; wait for its end" if who else f"continue it with: alasca resume {typed(folder)}"


def now_at(folder: Path) -> float:
    """The time where a folder's files are kept, which may be another machine's."""
    probe = folder / f".{uuid.uuid4().hex}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def identity() -> dict[str, Any]:
    """This process for others to look up."""
    return {"host": here(), "process": os.getpid(), "started": psutil.Process().create_time()}


def here() -> str:
    """This host, in this boot and, in a container, with its own numbers of processes."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # no Linux
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return " ".join(parts)


def runs(process: int, started: float) -> bool:
    """Whether a process of this host still runs, and is no later one of the same number."""
    try:
        found = psutil.Process(process)
        return bool(found.status() != psutil.STATUS_ZOMBIE and abs(found.create_time() - started) < CLOCKS)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
