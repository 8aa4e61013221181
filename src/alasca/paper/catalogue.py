"""All that can be reproduced: tables and figures as cells, and which of them a pattern names."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from alasca.errors import InputError
from alasca.paper.experiments import EAGER, Experiment, Table
from alasca.paper.figures import FIGURES
from alasca.paper.protocols import Protocol
from alasca.paper.readings import READINGS
from alasca.paper.tables import TABLES
from alasca.recipe import Recipe
from alasca.values import nearest

ALL: dict[str, Table] = {**TABLES, **FIGURES, READINGS.name: READINGS}
"""Tables, figures and readings by name."""
NOISES = ("sym60", "sym40", "sym80", "asym40")
"""The order in which noise is needed."""


@dataclass(frozen=True)
class Cell:
    """One run: an experiment under a protocol, with a seed. Equal ids are the same run, whatever table asks for it.

    Attributes:
        name: data, noise and row, such as ``cifar10/sym60/gce+alasca``.
        experiment, recipe: what is run.
        id: of the recipe; of an eager run another.
        looks: whether what figures are drawn from is kept.
    """

    name: str
    experiment: Experiment
    recipe: Recipe
    id: str
    looks: bool

    @property
    def seed(self) -> int:
        """Of the recipe."""
        return self.recipe.seed


def id_of(recipe: Recipe, eager: bool = False) -> str:
    """What names a cell's files: the digest of its recipe, shortened."""
    digest = recipe.digest()
    return hashlib.sha256(f"{digest} eager".encode()).hexdigest()[:20] if eager else digest[:20]


def slug(row: str) -> str:
    """A row's name as it is typed: ``gce+alasca`` for "GCE + ALASCA"."""
    return row.lower().replace(" + ", "+").replace("+ ", "+").replace(": ", ":").replace(", ", ",").replace(" ", "-")


def tables_of(names: Sequence[str]) -> list[Table]:
    """Tables and figures by name; ``all`` is every one.

    Raises:
        InputError: there is none of that name.
    """
    if "all" in names:
        return list(ALL.values())
    for name in names:
        if name in ("figure1a", "figure8"):
            raise InputError(f"reproduce: {name} is a drawing, not a run; alasca reproduce figure1 --show makes it")
        if name not in ALL:
            raise InputError(f"reproduce: {name!r} is unknown; {nearest(name, ALL, 'see alasca reproduce --list')}")
    return [ALL[name] for name in dict.fromkeys(names)]


def cells_of(tables: Sequence[Table], protocol: Protocol, seeds: int, pattern: str = "*") -> list[Cell]:
    """The runs that tables need, each once, in the order in which they are needed.

    The first seed of all rows comes before the second of any; rows that a table wants first, and frequent noise, come
    before others.

    Args:
        tables: what is to be filled.
        protocol: how.
        seeds: runs of each experiment.
        pattern: of names, with * and ?.

    Raises:
        InputError: no name fits.
    """
    looked = {id_of(protocol.recipe(each, seed), each.eager) for each in all_looks() for seed in range(seeds)}
    found: dict[str, Cell] = {}
    ranks: dict[str, tuple[int, ...]] = {}
    for number, table in enumerate(tables):
        for k, ((row, column), each) in enumerate(table.cells.items()):
            name = f"{each.place if column in (each.place, EAGER) else column}/{slug(row)}"
            name += f",{EAGER}" if each.eager else ""
            if not fnmatch.fnmatch(name, pattern):
                continue
            if each.eager and not protocol.compares:
                continue  # on a processor all steps are
            for seed in range(1 if each.eager else seeds):
                recipe = protocol.recipe(each, seed)
                cell_id = id_of(recipe, each.eager)
                rank = (seed, number, *need(table, row, each), k)
                if cell_id not in found or rank < ranks[cell_id]:
                    found[cell_id] = Cell(name, each, recipe, cell_id, cell_id in looked)
                    ranks[cell_id] = rank
    if not found:
        names = " ".join(table.name for table in tables)
        raise InputError(
            f"cells: {pattern!r} fits no whole name in {names}; '*sym60*' fits a part, and all names are in: "
            f"alasca reproduce {names} --protocol {protocol.name} --dry-run"
        )
    return sorted(found.values(), key=lambda cell: ranks[cell.id])


def all_looks() -> list[Experiment]:
    """Experiments whose runs figures are drawn from."""
    return [each for table in FIGURES.values() for each in table.cells.values() if each.looks]


def need(table: Table, row: str, each: Experiment) -> tuple[int, ...]:
    """How soon a table needs an experiment: CIFAR-10 first, then rows that it wants first, in pairs, then noise."""
    first = table.first.index(row) // 2 if row in table.first else len(table.first)
    noise = NOISES.index(each.noise) if each.noise in NOISES else len(NOISES)
    return (int(each.data != "cifar10"), first, noise)
