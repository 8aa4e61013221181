"""What a terminal is told: shown as it is, and no reason to stop where nobody listens any more."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from typing import TextIO

from alasca.errors import InputError


def visible(text: str) -> str:
    r"""A text that a terminal shows as it is: what would steer it, or turn reading round, is written as a code.

    >>> visible("a\x1b[2J\u202eb")
    'a\\x1b[2J\\u202eb'
    """
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode()
        for letter in text
    )


def typed(path: object) -> str:
    """A path as a shell takes it.

    >>> typed("runs/a b"), typed("-d")
    ("'runs/a b'", './-d')
    """
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def processes() -> tuple[int, int]:
    """This process's rank and how many there are, as torchrun's environment says; ``(0, 1)`` without that.

    Raises:
        InputError: it says no number.
    """
    found = []
    for name, usual in (("RANK", "0"), ("WORLD_SIZE", "1")):
        text = os.environ.get(name) or usual
        if not (text.isascii() and text.isdecimal()):
            raise InputError(
                f"{name}: {text!r} in the environment, expected a number; unset it, or start with torchrun"
            )
        found.append(int(text))
    return (found[0], found[1]) if found[1] > 1 else (0, 1)


def say(text: str = "", to: TextIO | None = None) -> None:
    """Print a text to standard output, or to another stream; where nobody listens any more, to nobody.

    Work of hours is not lost for a terminal that was closed, or a pipe that was.
    """
    stream = sys.stdout if to is None else to
    try:
        print(visible(text), file=stream, flush=True)
    except (OSError, ValueError):  # a closed pipe, a terminal that is gone, a closed stream
        hush(stream)


def warn(text: str) -> None:
    """A line on standard error, under the program's name."""
    say(f"alasca: {' '.join(text.split())}", sys.stderr)


def hush(stream: TextIO) -> None:
    """Send what else is written to a stream nowhere, so that it can't fail again when the program ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
