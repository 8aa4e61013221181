"""What commands make of their arguments."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from alasca.errors import InputError
from alasca.terminal import processes
from alasca.values import option_value


def new_folder(kind: str) -> Path:
    """A fresh name under ``runs/``; processes under torchrun could not agree on one."""
    if processes()[1] > 1:
        raise InputError("out: processes under torchrun must agree on the run folder; give --out DIR")
    stem = Path("runs") / f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}"
    name, k = stem, 1
    while name.exists():
        k += 1
        name = Path(f"{stem}-{k}")
    return name


def parse_options(given: list[str]) -> dict[str, Any]:
    """``name=value`` texts as a dict."""
    options: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"set: {text!r}, expected name=value, e.g. --set alasca.momentum=0.9")
        options[name.strip()] = option_value(value.strip())
    return options


def data_of(text: str) -> str:
    """What ``--data`` takes, from that or from the path of a folder, a table or an archive.

    Raises:
        InputError: neither.
    """
    from alasca.data import SOURCES
    from alasca.data.sources.table_files import SUFFIXES, suffix_of

    path = Path(text)
    if text.partition(":")[0] in SOURCES or not text:
        return text
    if not path.exists():
        if any(mark in text for mark in "/\\."):
            raise InputError(f"data: no such file or folder: {text}")
        return text
    if path.is_dir():
        inside = {entry.name for entry in path.iterdir()}
        if inside & {"dataset_dict.json", "dataset_info.json"}:
            return f"hf:{text}"
        arrays = inside & {"x.npy", "x_train.npy"}
        tables = [name for name in inside if suffix_of(Path(name)) in SUFFIXES]
        pictures = any(entry.is_dir() and not entry.name.startswith(".") for entry in path.iterdir())
        return f"{'npy' if arrays else 'table' if tables and not pictures else 'folder'}:{text}"
    if suffix_of(path) in SUFFIXES or path.suffix == ".npz":
        return f"{'npz' if path.suffix == '.npz' else 'table'}:{text}"
    raise InputError(f"data: {text}: expected a folder of pictures, a table ({', '.join(SUFFIXES)}) or an .npz archive")


def value_of(option: str, arguments: list[str]) -> str | None:
    """What follows an option, if it is there."""
    for k, argument in enumerate(arguments):
        if argument == option and k + 1 < len(arguments):
            return arguments[k + 1]
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
    return None
