"""What every error means to a person: one line and an exit code, or nothing, where it is a mistake of ours.

Torch is looked at only where it was imported.
"""

from __future__ import annotations

import signal
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

from cyclopts import CycloptsError

from alasca.cli.codes import FAILED, INTERRUPTED, MISUSED
from alasca.errors import InputError, OutsideError
from alasca.files import reason
from alasca.terminal import typed, warn

REPORT = (
    "this is a mistake in alasca, or in a network or method of your own that the lines above name; please report the "
    "first with these lines, your command, and what alasca --version says"
)


class Ending(NamedTuple):
    """A line for people, empty where nothing is to be said any more, and the exit code."""

    line: str
    code: int


class Ended(Exception):
    """A command's end, with all that there is to say of it."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.line)
        self.ending = ending


def ending(error: BaseException, folder: Path | None = None) -> Ending | None:
    """How an error ends a command.

    Args:
        error: what was raised.
        folder: of the run that it stopped, if it was one.

    Returns:
        None for what nobody outside can have caused.
    """
    begun = folder is not None and (folder / "run.json").is_file()
    more = f". Continue it with: {again(folder)}" if folder is not None and begun else ""
    if isinstance(error, Ended):
        return error.ending
    if isinstance(error, CycloptsError):
        error.console = None
        return Ending(" ".join(str(error).split()), MISUSED)
    if isinstance(error, InputError):
        return Ending(str(error), MISUSED)
    if isinstance(error, KeyboardInterrupt):
        return Ending(f"stopped at once{more}", INTERRUPTED)
    if isinstance(error, BrokenPipeError):
        return Ending("", 128 + getattr(signal, "SIGPIPE", 13))
    if isinstance(error, OutsideError):
        return Ending(f"{error}{more}", FAILED)
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename is not None else ""
        return Ending(f"{reason(error)}{where}{more}", FAILED)
    if isinstance(error, MemoryError):
        return Ending(f"out of memory: try a smaller --batch-size{more}", FAILED)
    return of_training(error, folder, more) if "torch" in sys.modules else None


def again(folder: Path) -> str:
    """What to type for a run to go on: with as many processes, and a network of one's own named again."""
    line = f"alasca resume {typed(folder)}"
    if "torch" not in sys.modules:
        return line
    from alasca.networks import is_own
    from alasca.runs import RunFolder

    try:
        settings = RunFolder(folder).settings()
    except InputError:  # told when it is tried
        return line
    network, count = settings["recipe"]["network"], settings["machine"]["processes"]
    line += f" --network {typed(network)}" if is_own(network) else ""
    return line if count == 1 else f"torchrun --nproc-per-node {count} -m alasca.cli {line.partition(' ')[2]}"


def show(error: BaseException, found: Ending | None, shows: bool = False) -> None:
    """Print what an error means; where `shows`, or where it is a mistake of ours, with its traceback."""
    if shows or found is None:
        traceback.print_exception(error)
    if found is None:
        warn(REPORT)
    elif found.line:
        warn(found.line)


def of_training(error: BaseException, folder: Path | None, more: str) -> Ending | None:
    """How what only training raises ends a command; see `ending`."""
    import torch

    from alasca.distributed import lost_another
    from alasca.engine import Diverged, Stopped

    if isinstance(error, Stopped):
        kept = "" if folder is None else f". Continue it with: {again(folder)}"
        return Ending(f"{error}{kept}", 128 + error.signal if error.signal else INTERRUPTED)
    if isinstance(error, Diverged):
        return Ending(str(error), FAILED)
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return Ending(f"out of memory: try a smaller --batch-size{more}", FAILED)
    if "DataLoader worker" in str(error):
        return Ending(f"a process that decodes pictures was ended from outside, maybe for want of memory{more}", FAILED)
    if lost_another(error):
        return Ending(f"another process of this run has gone away{more}", FAILED)
    return None
