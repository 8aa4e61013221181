"""`--data`: where samples come from. Each source gives a `Source`; wrong input is one line naming file and row."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from alasca.core import InputError
from alasca.data.sources.arrays import digits, npy, npz
from alasca.data.sources.base import BAD_IMAGE as BAD_IMAGE
from alasca.data.sources.base import Reading as Reading
from alasca.data.sources.base import Source as Source
from alasca.data.sources.base import check_source
from alasca.data.sources.cifar import cifar10, cifar10n, cifar100, cifar100n
from alasca.data.sources.hub import hf
from alasca.data.sources.pictures import folder
from alasca.data.sources.tables import table
from alasca.data.sources.web import clothing1m, webvision


class Form(NamedTuple):
    """How a source is written, and the function that reads it: called with what follows the colon."""

    written: str
    read: Callable[[str, Reading], Source]


SOURCES = {
    "digits": Form("digits", digits),
    "cifar10": Form("cifar10", cifar10),
    "cifar100": Form("cifar100", cifar100),
    "cifar10n": Form("cifar10n:LABELS", cifar10n),
    "cifar100n": Form("cifar100n", cifar100n),
    "clothing1m": Form("clothing1m", clothing1m),
    "webvision": Form("webvision", webvision),
    "folder": Form("folder:DIR", folder),
    "table": Form("table:FILE", table),
    "npz": Form("npz:FILE", npz),
    "npy": Form("npy:DIR", npy),
    "hf": Form("hf:NAME", hf),
}


def load_source(spec: str, reading: Reading | None = None) -> Source:
    """The data set that `spec` names, checked.

    Args:
        spec: a name of `SOURCES`, with an argument after a colon where it takes one, such as ``folder:photos/``.
        reading: how files are read; None: the defaults.

    Raises:
        InputError: no such source, file or folder; a picture that can't be read; labels that don't fit; fewer than
            two classes or two samples, a class without samples, two samples under one id.
    """
    kind, _, argument = spec.partition(":")
    if kind not in SOURCES:
        if Path(spec).exists():
            guess = "folder" if Path(spec).is_dir() else "npz" if spec.endswith(".npz") else "table"
            raise InputError(f"data: {spec!r} needs to be told what it is; did you mean --data {guess}:{spec}?")
        near = difflib.get_close_matches(kind, SOURCES, 1)
        forms = ", ".join(form.written for form in SOURCES.values())
        raise InputError(
            f"data: {spec!r} is unknown; "
            + (f"did you mean {SOURCES[near[0]].written!r}?" if near else f"expected one of {forms}")
        )
    source = SOURCES[kind].read(argument, reading or Reading())
    check_source(source, spec)
    return source
