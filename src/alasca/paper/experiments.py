"""What stands behind one number of the paper: method, wrapped or not, data, noise, network, what else it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Experiment:
    """One experiment in the paper's own terms; a protocol makes a recipe of it.

    Attributes:
        method: of the registry.
        data: ``cifar10``, ``cifar100`` or ``clothing1m``.
        noise: ``sym60``, ``asym40``, ``inst40``; empty: the data's own.
        network: of the registry.
        alasca: wrapped.
        options: of the method, and of the wrapper as ``alasca.name``, beside what is published for these data; what
            counts epochs counts those of a run of 120.
        settings: further ones of the recipe.
        eager: no step is recorded and replayed.
        looks: what figures are drawn from is kept.
    """

    method: str
    data: str
    noise: str
    network: str
    alasca: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    eager: bool = False
    looks: bool = False

    @property
    def place(self) -> str:
        """Data and noise, as columns are called: ``cifar10/sym60``."""
        return f"{self.data}/{self.noise}" if self.noise else self.data

    def on(self, place: str) -> Experiment:
        """The same on other data: ``cifar100/asym40``, or ``clothing1m``."""
        data, _, noise = place.partition("/")
        return replace(self, data=data, noise=noise)

    def wrapped(self, **options: Any) -> Experiment:
        """The same inside ALASCA, with options of the wrapper."""
        return replace(self, alasca=True, options={**self.options, **{f"alasca.{k}": v for k, v in options.items()}})

    def having(self, **options: Any) -> Experiment:
        """The same with options of the method."""
        return replace(self, options={**self.options, **options})

    def using(self, network: str | None = None, **settings: Any) -> Experiment:
        """The same with another network, or other settings of the recipe."""
        return replace(self, network=network or self.network, settings={**self.settings, **settings})

    def looking(self) -> Experiment:
        """The same, and what figures are drawn from is kept."""
        return replace(self, looks=True)


def bare(method: str, network: str = "resnet34") -> Experiment:
    """A method as it is, at CIFAR-10 with symmetric noise of 60%."""
    return Experiment(method, "cifar10", "sym60", network)


CE, GCE, SCE, ELR = map(bare, ("ce", "gce", "sce", "elr"))
DECOUPLING, COTEACHING, CRUST = map(bare, ("decoupling", "coteaching", "crust"))
DIVIDEMIX, ELR_PLUS = (bare(name, "preact-resnet18") for name in ("dividemix", "elr_plus"))
JOCOR, FINE, ONE, BYOT = map(bare, ("jocor", "fine", "one", "byot"))
LSR, MIXUP, HAR, CDR, ALS = map(bare, ("lsr", "mixup", "har", "cdr", "als"))
ALASCA = CE.wrapped()


EAGER = "eager"
"""The column of runs whose steps are launched one by one, for their time and memory."""


@dataclass(frozen=True)
class Table:
    """A table of the paper, or what a figure is drawn from: experiments by row and column.

    Attributes:
        name: ``table4``.
        title: in words.
        cells: experiments by row and column; several rows may show figures of one and the same run.
        first: rows that are trained before the others.
        notes: what a person should know.
    """

    name: str
    title: str
    cells: Mapping[tuple[str, str], Experiment]
    first: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> list[str]:
        """Names of rows, in order."""
        return list(dict.fromkeys(row for row, _ in self.cells))

    @property
    def columns(self) -> list[str]:
        """Names of columns with accuracies, in order."""
        return list(dict.fromkeys(column for _, column in self.cells if column != EAGER))


def grid(rows: Mapping[str, Experiment], columns: tuple[str, ...]) -> dict[tuple[str, str], Experiment]:
    """Every row's experiment on the data and noise of every column."""
    return {(row, column): each.on(column) for row, each in rows.items() for column in columns}
