"""Folders of pictures with repaired labels: a new tree of links, or files moved where they lie."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from alasca.data.sources.base import shortened
from alasca.data.sources.folders import pictures_by_id
from alasca.errors import InputError
from alasca.files import reason
from alasca.recipe import Recipe
from alasca.repair.changes import Change
from alasca.runs import Records


class Move(NamedTuple):
    """A picture, and where it belongs; None: nowhere."""

    path: Path
    to: Path | None


def moves_of(
    recipe: Recipe, root: Path, records: Records, changes: Sequence[Change], rename: bool = False
) -> list[Move]:  # fmt: skip
    """Where pictures go whose label is changed: into the folder of the new class, under their old name; with `rename`,

    where that is taken, with the old class's folder before it.

    Raises:
        InputError: the folder is not the one that the run read, or two pictures would have one name.
    """
    places = pictures_by_id(root, recipe)
    if odd := [change.id for change in changes if change.id not in places]:
        raise InputError(f"repair: {root} has no picture {odd[0]!r} any more; put the run's folder back")
    folders: dict[tuple[Path, str], Counter[str]] = {}
    for sample, label in zip(records.ids, records.given.tolist(), strict=True):
        if sample in places and label >= 0:
            home, folder = places[sample].home, places[sample].folder
            folders.setdefault((home, records.name(label)), Counter())[folder] += 1
    leaving = {places[change.id].path for change in changes}
    found, taken, clashes = [], set[Path](), list[Path]()
    for change in changes:
        path, home, own = places[change.id]
        if change.fixed is None:
            found.append(Move(path, None))
            continue
        known = folders.get((home, change.fixed))
        to = home / (known.most_common(1)[0][0] if known else change.fixed) / path.relative_to(home / own)
        for place in (to, to.with_name(f"{own}-{to.name}")) if rename else (to,):
            if place not in taken and (place in leaving or not os.path.lexists(place)):
                break
        else:
            clashes.append(to)
        taken.add(place)
        found.append(Move(path, place))
    if clashes:
        raise InputError(
            f"repair: {len(clashes)} pictures would take a name that is there already "
            f"({shortened(list(map(str, clashes)), 3)}); "
            + ("rename them" if rename else "add --rename, which puts the old class before such names")
        )
    return found


def link_tree(root: Path, moves: Sequence[Move], to: Path) -> None:
    """A new tree of a folder's files, the moved ones in their new places: hard links, copies where these can't be.

    Raises:
        InputError: a file can't be linked or copied.
    """
    leaving = {move.path: move.to for move in moves}
    for path in every_path(root):
        target: Path | None = leaving.get(path, path)
        if target is None:
            continue
        place = to / target.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            link(path, place)
        except OSError as error:
            raise InputError(f"repair: {path} can't be linked or copied to {place} ({reason(error)})") from error
    for folder, names, _ in os.walk(root):  # classes may be empty now
        for name in names:
            (to / Path(folder).relative_to(root) / name).mkdir(parents=True, exist_ok=True)


def link(path: Path, place: Path) -> None:
    """A hard link to a file, or its copy on another disk; of a link, a copy of what it leads to."""
    if path.is_symlink():
        shutil.copy2(path, place)
        return
    try:
        os.link(path, place)
    except OSError:
        shutil.copy2(path, place)


def every_path(root: Path) -> Iterator[Path]:
    """All files under a folder, links to folders followed."""
    for folder, names, files in os.walk(root, followlinks=True):
        names.sort()
        for name in sorted(files):
            yield Path(folder) / name
