"""Command lines that are wrong: a line, exit code 2, nothing written."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alasca.methods import WRAPPER, list_methods, load, method_class, option_names
from alasca.recipe import Place, Recipe, types_of
from breaking import Attempt, here, require_line

WHOLE = (
    "1.5",
    "8.7",
    "nan",
    "inf",
    "-inf",
    "-1",
    "-1e3",
    "x",
    "",
    "1e999",
    "0x10",
    "1,5",
    "1e400",
    "2e30",
    "١.٥",
    "true",
)
NUMBER = ("nan", "inf", "-inf", "x", "", "1e999", "1,5", "-1e300", "true", "[1]")
OTHERS = [
    ["--bogus"], ["--epochs"], ["--epochs", "3", "--epochs", "4"], ["--epochz=3"], ["extra"], ["--", "x"], ["--crop", "4"],
    ["--label", "x"], ["--true", "x"], ["--id", "x"], ["--split", "x"], ["--max-length", "9"], ["--on-bad-image", "skip"],
    ["--input", "x"], ["--shift", "8"], ["--shift", "1e3"], ["--threads", "4096"], ["--image-size", "1e6"], ["--limit", "1"],
    ["--milestones", "0"], ["--milestones", "-3"], ["--data", "digits:3"], ["--data", ""], ["--data", ":"], ["--data", "npz"],
    ["--data", "folder:/dev/null"], ["--data", "table:/dev/zero"], ["--data", "table:/"], ["--data", "npz:/"],
    ["--noise", "symmetric:nan"], ["--noise", "symmetric:-1"], ["--noise", "symmetric:2"], ["--noise", "symmetric:"],
    ["--noise", "symmetric:inf"], ["--noise", "matrix:/dev/zero"], ["--noise", "file:/dev/zero#x"], ["--noise", ""],
    ["--network", "os:system"], ["--network", "nothing:here"], ["--network", ":"], ["--network", "a:b:c"], ["--network", ""],
    ["--network", "timm:"], ["--network", "hf:nothing/here"], ["--network", "torchvision:x"], ["--network", "alasca"],
    ["--config", "/dev/zero"], ["--config", "/"], ["--config", "none.toml"], ["--recipe", "none"], ["--preset", "none"],
    ["--set", ""], ["--set", "="], ["--set", "a"], ["--set", "alasca.=1"], ["--set", "\x1b[2J=1"], ["--set", "x\ny=1"],
    ["--device", "cuda:99"], ["--device", ""], ["--device", "cpu:x"], ["--data-dir", "/none", "--data", "cifar10"],
    ["--out", "/dev/null/x"], ["--out", "/proc/x"], ["--pretrained"], ["--select", ""], ["--precision", "float8"],
    ["--batch-size", "100000", "--accumulate", "0"], ["--epoch-samples", "1"],
]  # fmt: skip
COMMANDS = [
    [], ["--bogus"], ["bogus"], ["resume"], ["resume", "none"], ["resume", "."], ["resume", "/dev/null"], ["resume", "a", "b"],
    ["report"], ["report", "none"], ["report", "."], ["report", "/dev/null"], ["report", "none", "--out", "/none/x"],
    ["list", "bogus"], ["list", "methods", "more"], ["demo", "--seeds", "0"], ["demo", "--seeds", "1.5"], ["demo", "--epochs", "0"],
    ["demo", "--noise", "x"], ["demo", "--seeds", "nan"], ["demo", "--out", "/dev/null"], ["resume", "none", "--epochs", "1.5"],
    ["resume", "none", "--threads", "x"], ["resume", "none", "--lr", "1"],
    ["clean"], ["clean", "none"], ["clean", "/dev/null"], ["clean", "digits", "--minutes", "0"],
    ["clean", "digits", "--minutes", "nan"], ["clean", "digits", "--minutes", "x"], ["clean", "digits", "--epochs", "1.5"],
    ["clean", "digits", "--noise", "x"], ["clean", "digits", "more"], ["clean", "digits", "--out", "/dev/null"],
    ["clean", "digits", "--labels", "none.csv"], ["clean", "digits", "--labels", "/dev/null"],
    ["train", "--labels", "none.csv"], ["train", "--labels", "/"], ["audit"], ["audit", "none"], ["audit", "."],
    ["audit", "none", "--sample", "x"], ["audit", "none", "--checked", "none"], ["repair"], ["repair", "none"],
    ["repair", "."], ["repair", "none", "--undo"], ["repair", "none", "--apply", "none"], ["predict"], ["predict", "none"],
    ["predict", "none", "x"], ["predict", "."], ["export"], ["export", "none"], ["export", "."], ["export", "none", "--to", "keras"], ["find"], ["find", "none"], ["find", "none", "--features", "none"],
    ["find", "/dev/null"], ["find", "/"], ["find", "none", "--bogus"], ["find", "none", "--group", "g"], ["embed"],
    ["embed", "none"], ["embed", "none", "--network", "timm:resnet18", "--out", "none"],
    ["embed", "none", "--network", "none", "--out", "none.npz"], ["embed", "none", "--network", "timm:", "--out", "o.npz"],
    ["embed", "none", "--network", "timm:resnet18", "--weights", "none", "--out", "o.npz"], ["clean", "none", "--auto"],
    ["clean", "none", "--auto", "--minutes", "none"], ["clean", "none", "--balance", "2"], ["clean", "none", "--augment", "none"],
]  # fmt: skip


def attempts() -> Iterator[Attempt]:
    """Every option with values of other kinds and ranges, every option of every method, and what people mistype."""
    for settings in (Recipe, Place):
        for each in dataclasses.fields(settings):
            for text in wrong_for(types_of(settings)[each.name], each.metadata):
                yield attempt("train", f"--{each.name.replace('_', '-')}={text}")
    for name in [*list_methods(), "alasca"]:
        cls = load(WRAPPER) if name == "alasca" else method_class(name)
        prefix, line = ("alasca.", ["--method", "ce"]) if name == "alasca" else ("", ["--method", name, "--no-alasca"])
        hints = typing.get_type_hints(cls.__init__)
        for option in option_names(cls):
            for text in (
                ("nan", "inf") if float in members(hints[option]) else ("1.5", "nan") if hints[option] is int else ()
            ):
                yield attempt("train", *line, "--set", f"{prefix}{option}={text}")
        yield attempt("train", *line, "--set", f"{prefix}bogus=1")
    for rest in OTHERS:
        yield attempt("train", *rest)
    for rest in COMMANDS[1:]:
        yield attempt(*rest)


def members(hint: Any) -> tuple[Any, ...]:
    """A type, or those that it is made of."""
    return typing.get_args(hint) or (hint,)


def wrong_for(hint: Any, limits: Any) -> tuple[str, ...]:
    """Texts that an option of a type can't take."""
    if "among" in limits:
        return ("bogus", "", "1", "LAST")
    if int in members(hint) and float not in members(hint):
        signed = "least" not in limits and "above" not in limits
        return tuple(text for text in WHOLE if not (signed and text in ("-1", "-1e3")))
    if float in members(hint):
        return NUMBER
    return ("yes please", "2") if bool in members(hint) else ()


def attempt(*arguments: str) -> Attempt:
    """A wrong command line."""

    def refused(own: Path) -> None:
        said = here(*arguments, cwd=own)
        require_line(said, 2)
        assert not list(own.iterdir()), f"something was written: {list(own.iterdir())}"

    return " ".join(map(repr, arguments)), refused
