"""Folders of pictures: a sub-folder a class, in parts to train, hold out and test on where their names say so."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import torch

from alasca.data.pictures import SUFFIXES, PictureFiles
from alasca.data.sources.base import shortened
from alasca.data.sources.labels import Labels, assign, read_labels
from alasca.data.sources.pictures import picture_source
from alasca.data.sources.splits import HELD, SYSTEM, TEST, TRAIN, by_part, part_in, parts_among
from alasca.data.task import Reading, Task
from alasca.errors import InputError
from alasca.recipe import Recipe

ANYWAY = "add --classes-are-splits where they are classes"


@dataclass
class Found:
    """Pictures of one part, each with its class, and how many files were left out for which reason."""

    paths: list[Path] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def note(self) -> str:
        """How many files were found and left out."""
        reasons = ", ".join(f"{count:,} {why}" for why, count in sorted(self.left_out.items()))
        return f"{len(self.paths):,} pictures found{f'; left out: {reasons}' if reasons else ''}"


def folder(argument: str, reading: Reading) -> Task:
    """A folder of pictures, a sub-folder a class; or train/, test/, valid/ with such, in any case"""
    root = Path(argument)
    if not argument or not root.is_dir():
        raise InputError(
            f"data: no such folder: {argument or '(empty)'}; expected folder:DIR with a sub-folder a class"
        )
    parts, notes = find_parts(root, reading.recipe.classes_are_splits)
    whole, found = (
        Found(),
        {part: pictures_in(place, reading.recipe.classes_are_splits) for part, place in parts.items()},
    )
    for each in found.values():
        whole.left_out += each.left_out
        whole.paths += each.paths
    train = found.pop(TRAIN)
    empty = [
        name for name in subfolders(parts[TRAIN]) if name not in train.classes and not set_aside(name, parts, root)
    ]
    if not train.paths:
        beside = ", ".join(sorted({path.suffix.lower() or path.name for path in files_in(parts[TRAIN])})[:6])
        raise InputError(
            f"data: {parts[TRAIN]} has no sub-folder with pictures in it; expected one for each class, with files "
            f"in .jpg, .png or another of {len(SUFFIXES)} endings"
            + (f" (there are files in {beside})" if beside else "")
        )
    if not (found.get(TEST) or found.get(HELD) or train).paths:
        raise InputError(f"data: {parts.get(TEST) or parts[HELD]} holds no pictures; add some, or remove the folder")
    tests = found.pop(TEST, None)
    held = found.pop(HELD, None)
    read = {
        name: labels_of(each, reading.recipe.missing_label)
        for name, each in (("given", train), ("held", held), ("test", tests))
        if each
    }
    assigned = assign(read, reading.recipe)
    paths, labels = list(train.paths), assigned.labels["given"]
    ids = [picture_id(path, parts[TRAIN]) for path in paths]
    if held is not None:
        paths, labels = paths + held.paths, torch.cat([labels, assigned.labels["held"]])
        ids += [picture_id(path, root) for path in held.paths]
    test = None if tests is None else (PictureFiles(tuple(tests.paths)), assigned.labels["test"])
    task = picture_source(
        PictureFiles(tuple(paths)), labels, ids, assigned.classes, reading, 32, test,
        held=None if held is None else torch.arange(len(train.paths), len(paths)),
    )  # fmt: skip
    nested = {name: subfolders(parts[TRAIN] / name) for name in dict.fromkeys(train.classes)}
    if deep := [
        f"{printable(name)} ({shortened(list(map(printable, inside)), 3)})" for name, inside in nested.items() if inside
    ]:
        notes.append(f"pictures in folders inside of class folders are of that class: {shortened(deep, 3)}")
    if len(nested) == 1 and nested[train.classes[0]]:
        notes.append(
            f"one class folder only; its own folders are the classes of --data folder:{parts[TRAIN] / train.classes[0]}"
        )
    if empty:
        notes.append(f"folders without pictures are no classes: {shortened(list(map(printable, empty)))}")
    return replace(task, notes=(whole.note, *notes, *assigned.notes, *task.notes))


def picture_id(path: Path, home: Path) -> str:
    """What a picture goes by: its place under a folder."""
    return printable(path.relative_to(home).as_posix())


class Place(NamedTuple):
    """Where a picture lies: its file, the folder that holds the classes, and the name of its class's folder there."""

    path: Path
    home: Path
    folder: str


def pictures_by_id(root: Path, recipe: Recipe) -> dict[str, Place]:
    """Every picture that `folder` trains on or holds out, by its id."""
    parts, _ = find_parts(root, recipe.classes_are_splits)
    found = {}
    for part in (TRAIN, HELD):
        if part in parts:
            inside = pictures_in(parts[part], recipe.classes_are_splits)
            for path, name in zip(inside.paths, inside.classes, strict=True):
                found[picture_id(path, parts[TRAIN] if part == TRAIN else root)] = Place(path, parts[part], name)
    return found


def labels_of(found: Found, missing: str | None) -> Labels:
    """Class names of pictures as labels."""
    names = [printable(name) for name in found.classes]
    return read_labels("folder", names, lambda row: str(found.paths[row]), missing or "\0")


def find_parts(root: Path, classes_are_splits: bool) -> tuple[dict[int, Path], list[str]]:
    """Where the pictures of each part are, and what to say of it.

    Raises:
        InputError: class folders beside a folder to train on, none to train on, or two that mean one part.
    """
    names = subfolders(root)
    known = {} if classes_are_splits else by_part(names)
    classes = [name for name in names if not any(name in several for several in known.values())]
    for part, several in known.items():
        if len(several) > 1 and part == TRAIN:
            raise InputError(f"data: {root} has {' and '.join(several)}; keep one of them, or {ANYWAY}")
    if not known:
        return {TRAIN: root}, []
    if TRAIN in known:
        train, stray = root / known[TRAIN][0], [name for name in classes if any(walk(root / name, Counter()))]
        if stray:
            raise InputError(
                f"data: {root} has {known[TRAIN][0]}/ and folders of pictures beside it ({shortened(stray)}); move "
                f"these into it, write --data folder:{train}, or {ANYWAY}"
            )
    elif classes:
        train = root
        for name in (name for several in known.values() for name in several):
            if not subfolders(root / name) and any(True for _ in walk(root / name, Counter())):
                raise InputError(
                    f"data: {root / name} holds pictures, but no class folders; add some, move it away, or {ANYWAY}"
                )
    else:
        raise InputError(
            f"data: all folders of {root} are named as parts of a data set ({shortened(names)}), none of them to "
            f"train on; name that one train, or {ANYWAY}"
        )
    parts, notes = {TRAIN: within(train, TRAIN) if TRAIN in known else train}, []
    for part in (HELD, TEST):
        usable = [name for name in known.get(part, ()) if subfolders(root / name)]
        for name in known.get(part, ()):
            if name not in usable[:1]:
                why = f"{usable[0]}/ is read" if usable else "it has no class folders"
                count = sum(1 for _ in walk(root / name, Counter()))
                notes.append(f"{name}/ is not read ({count:,} pictures): {why}")
        if usable:
            parts[part] = within(root / usable[0], part)
    if HELD in parts and TEST not in parts:  # the only one there is to judge on
        parts[TEST] = parts.pop(HELD)
        notes.append(f"{parts[TEST].name}/ is tested on")
    return parts, notes


def within(root: Path, part: int) -> Path:
    """The folder that holds the classes of a part: some are packed in another of the same name."""
    inside = subfolders(root)
    return within(root / inside[0], part) if len(inside) == 1 and part_in(inside[0]) == part else root


def set_aside(name: str, parts: dict[int, Path], root: Path) -> bool:
    """Whether a folder beside class folders is a part of its own."""
    return parts[TRAIN] == root and name in parts_among(subfolders(root))


def pictures_in(root: Path, classes_are_splits: bool) -> Found:
    """The pictures under each class folder of a folder.

    Raises:
        InputError: links that lead in a circle, or parts of a data set inside of class folders.
    """
    found = Found()
    names = subfolders(root)
    aside = {} if classes_are_splits else parts_among(names)
    for name in names:
        if name in aside:
            continue
        inside = list(parts_among(subfolders(root / name)))
        if (
            inside
            and not classes_are_splits
            and any(True for part in inside for _ in walk(root / name / part, Counter()))
        ):
            raise InputError(
                f"data: {root / name} holds {shortened(inside)}, which are parts of a data set: put these above the "
                f"classes ({inside[0]}/{name}), or {ANYWAY}"
            )
        for path in walk(root / name, found.left_out):
            found.paths.append(path)
            found.classes.append(name)
    beside = sum(path.suffix.lower() in SUFFIXES for path in files_in(root))
    if beside:
        found.left_out["pictures beside the class folders"] += beside
    skipped = [entry.name for entry in os.scandir(root) if is_folder(entry) and set_apart(entry.name)]
    for name in skipped:
        found.left_out[set_apart(name) or ""] += sum(1 for _ in every_file(root / name))
    return found


def set_apart(name: str) -> str | None:
    """Why a file or folder is no picture or class of anybody's, by its name; None for others."""
    if name.casefold() in SYSTEM:
        return "of other programs"
    return "hidden" if name.startswith(".") else None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or leads to one; a link to itself leads nowhere."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def subfolders(root: Path) -> list[str]:
    """Names of the folders in a folder, those of links included; hidden ones and other programs' left out."""
    return sorted(entry.name for entry in os.scandir(root) if is_folder(entry) and set_apart(entry.name) is None)


def files_in(root: Path) -> list[Path]:
    """Files right in a folder, hidden ones and other programs' left out."""
    return [Path(entry.path) for entry in os.scandir(root) if not is_folder(entry) and set_apart(entry.name) is None]


def walk(root: Path, left_out: Counter[str], above: Sequence[str] = ()) -> Iterator[Path]:
    """Pictures under a folder in the order of their names, links followed; what is left out is counted by reason.

    Raises:
        InputError: a link that leads back to a folder that holds it.
    """
    here = os.path.realpath(root)
    if here in above:
        raise InputError(f"data: {root} is a link back to {here}, which holds it; remove the link")
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        path, why = Path(entry.path), set_apart(entry.name)
        if is_folder(entry):
            if why is None:
                yield from walk(path, left_out, (*above, here))
            else:
                left_out[why] += sum(1 for _ in every_file(path))
        elif why is not None:
            left_out[why] += 1
        elif path.suffix.lower() not in SUFFIXES:
            left_out[f"no pictures ({path.suffix.lower() or 'no ending'})"] += 1
        else:
            yield path


def every_file(root: Path) -> Iterator[str]:
    """Names of all files under a folder, no links followed."""
    for _, _, names in os.walk(root):
        yield from names


def printable(name: str) -> str:
    """A file name, its line breaks and bytes that are no UTF-8 as ``\\xNN``, so that any table can hold it."""
    text = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return re.sub(r"[\r\n\0]", lambda found: f"\\x{ord(found[0]):02x}", text)
