"""What goes wrong outside of this package. Imports nothing of it, so that every room may use it."""

from __future__ import annotations

import importlib.util


class InputError(ValueError):
    """Something the user gave is wrong. The message is one line: what, where, what would be right."""


class OutsideError(RuntimeError):
    """Something around the program gave way: a disk, memory, another process. The message is one line."""


def missing(library: str, extra: str, error: BaseException) -> str:
    """What to say of an optional library that can't be imported: what installs it, or what is broken in it."""
    why = " ".join(str(error).split())[:160]
    if importlib.util.find_spec(library) is None:
        return f"{library} is not installed; type: pip install 'alasca[{extra}]'"
    return f"{library} is installed but broken ({why}); mend what it names, or install both of them anew"
