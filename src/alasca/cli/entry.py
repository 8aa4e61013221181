"""Where commands begin and where they end: settings from files, and what becomes of every error."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclopts.config import Dict, Toml

from alasca.cli.analyzing import app
from alasca.cli.arguments import value_of
from alasca.cli.codes import ENDED, FAILED
from alasca.cli.outcome import ending, show
from alasca.errors import InputError
from alasca.files import read_bytes, reason
from alasca.published_recipes import named_settings
from alasca.terminal import hush, processes, warn

WORD = 2.0
"""Seconds in which the first process says why all of them end, before the launcher ends it."""


class Lines(logging.Handler):
    """What the library logs, as lines on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        warn(record.getMessage())


@contextlib.contextmanager
def plain_streams() -> Iterator[None]:
    """Streams that take every letter, and warnings and logs as single lines; as they were afterwards."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed before we began
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # for as long as the program runs
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="backslashreplace")
    handler, log = Lines(), logging.getLogger("alasca")
    log.addHandler(handler)
    propagates, log.propagate = log.propagate, False
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.showwarning = lambda message, *rest, **more: warn(str(message))
            yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagates


def main(arguments: list[str] | None = None) -> None:
    """Entry point: run a command and exit with its code; what is no mistake of ours is one line."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    shows = "--traceback" in arguments
    arguments = [argument for argument in arguments if argument != "--traceback"]
    with plain_streams():
        try:
            configure(arguments)
            code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
            sys.stdout.flush()
        except (Exception, KeyboardInterrupt) as error:
            code = ended(error, shows)
    sys.exit(code if isinstance(code, int) else ENDED)


def ended(error: BaseException, shows: bool) -> int:
    """Say what ended a command, where that is not said yet, and give the exit code."""
    found = ending(error)
    try:
        sys.stdout.flush()
    except OSError:
        hush(sys.stdout)
    with contextlib.suppress(InputError):
        if processes()[0] and found is not None:  # before they meet, all of them make the same mistake
            time.sleep(WORD)
            return found.code
    show(error, found, shows)
    return FAILED if found is None else found.code


def configure(arguments: list[str]) -> None:
    """Let ``--config FILE`` of train, and then ``--recipe NAME``, give settings that the command line leaves out."""
    file, found = value_of("--config", arguments), {}
    sources: list[Toml | Dict] = []
    if file is not None:
        try:
            found = tomllib.loads(read_bytes(Path(file)).decode())
            check_flat(file, found)
        except FileNotFoundError:
            raise InputError(f"config: no such file: {file}") from None
        except InputError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"config: {file} can't be read as TOML ({reason(error)})") from error
        sources.append(Toml(file, must_exist=True, use_commands_as_keys=False))
    name = value_of("--recipe", arguments) or found.get("recipe")
    if name is not None:
        settings = {key: list(v) if isinstance(v, tuple) else v for key, v in named_settings(str(name)).items()}
        sources.append(Dict(settings, use_commands_as_keys=False, source=f"recipe {name}"))
    app["train"].config = tuple(sources)


def check_flat(file: str, found: dict[str, Any]) -> None:
    """Raise `InputError` for what a file of settings would only seem to set: sections, and options turned round."""

    for name, value in found.items():
        if name == "config":
            raise InputError(f"config: {file} names another file; write its settings here")
        if isinstance(value, dict):
            raise InputError(f"config: {file} has a section [{name}]; write its settings at the top, as name = value")
        if name.startswith(("no-", "no_")):
            raise InputError(f"config: {file}: {name} is no setting; write {name[3:]} = false")
