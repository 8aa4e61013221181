"""`alasca reproduce`: the paper's tables and figures as runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from alasca.cli.codes import ENDED
from alasca.cli.grids import show_grid
from alasca.cli.options import WHOLE
from alasca.cli.outcome import Ended, Ending
from alasca.cli.using import app as app
from alasca.errors import InputError
from alasca.recipe import Place
from alasca.terminal import say, typed

if TYPE_CHECKING:
    from alasca.paper import Cell
    from alasca.paper.experiments import Table
    from alasca.paper.protocols import Protocol

OUT = Path("results")


@app.command
def reproduce(
    *what: Annotated[
        str, Parameter(help="table2 to table9, figure1 to figure10, readings, or all; --show and --dry-run take all.")
    ],
    protocol: Annotated[
        Literal["paper", "small", "digits", "tiny"], Parameter(help="How large; see alasca reproduce --list.")
    ] = "paper",
    cells: Annotated[str, Parameter(help="Only cells of such names, such as 'cifar10/sym60/*'.")] = "*",
    seeds: Annotated[int, Parameter(help="Runs of each cell.", **WHOLE)] = 5,
    minutes: Annotated[
        float | None, Parameter(help="Stop by then; no cell is begun that takes longer, as finished ones say.")
    ] = None,
    out: Annotated[Path, Parameter(help="Folder; others may work there too. Results lie in OUT/PROTOCOL.")] = OUT,
    parallel: Annotated[int, Parameter(help="Cells at once on this machine.", **WHOLE)] = 1,
    listed: Annotated[bool, Parameter(name="--list", help="Show what there is.", negative="")] = False,
    dry_run: Annotated[bool, Parameter(help="Show cells with time and memory; needs no data.", negative="")] = False,
    show: Annotated[
        bool, Parameter(help="Show ours beside the paper's, draw figures; trains nothing.", negative="")
    ] = False,
    page: Annotated[Path | None, Parameter(help="With --show: Markdown file. Default: OUT/PROTOCOL/paper.md.")] = None,
    data_dir: Annotated[str | None, Parameter(help="Where published data are. Default: $ALASCA_DATA.")] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    threads: Annotated[int | None, Parameter(help="CPU threads of a cell.", **WHOLE)] = None,
    inexact: Annotated[
        bool, Parameter(help="Go on with cells that another kind of machine began.", negative="")
    ] = False,
    parent: Annotated[int | None, Parameter(show=False)] = None,
) -> int:
    """Train the paper's tables and figures, cell by cell, and show ours beside the paper's.

    A cell is one run: a method, bare or in ALASCA, on some data and noise, with a seed. Give the same command again, on
    this machine or on others that share the folder, and what is missing is trained.

    Example: alasca reproduce table4 --cells 'cifar10/sym60/*' --seeds 1 --minutes 30
    """
    from alasca.paper import PROTOCOLS, cells_of, tables_of

    check(
        seeds, parallel, minutes, [name for name, on in (("list", listed), ("dry-run", dry_run), ("show", show)) if on]
    )
    if page is not None and not show:
        raise InputError("page: nothing is shown; add --show")
    if show and cells != "*":
        raise InputError("cells: --show shows whole tables, with whatever cells and seeds there are; leave out --cells")
    if not what and not (listed or dry_run or show):
        raise InputError("reproduce: name a table or figure, such as table4; see alasca reproduce --list")
    asked = Asked(tables_of(what or ["all"]), PROTOCOLS[protocol], out)
    if out.exists() and not out.is_dir():
        raise InputError(f"out: {out} is a file, expected a folder")
    if listed:
        return tell_list(asked)
    if show:
        if page is None and not asked.folder.is_dir():
            raise InputError(f"show: {asked.folder} is not there; train cells first: {asked.command('table4', '')}")
        return tell_results(asked, page or asked.folder / "paper.md")
    if data_dir is not None:
        os.environ["ALASCA_DATA"] = data_dir
    place = Place(device=device, threads=threads)
    wanted = cells_of(asked.tables, asked.how, seeds, cells)
    if dry_run:
        return tell_plan(asked, wanted, place)
    if parallel > 1:
        side_by_side(parallel, threads)
        return compiled(asked, wanted, minutes is not None)
    return train_missing(asked, wanted, place, minutes, inexact, parent)


def check(seeds: int, parallel: int, minutes: float | None, modes: list[str]) -> None:
    """Raise `InputError` for numbers out of range, and for two things asked at once."""
    if not 1 <= seeds <= 50:
        raise InputError(f"seeds: {seeds}, expected at least 1 and at most 50")
    if not 1 <= parallel <= 64:
        raise InputError(f"parallel: {parallel}, expected at least 1 and at most 64")
    if minutes is not None and not minutes > 0:
        raise InputError(f"minutes: {minutes:g}, expected above 0")
    if len(modes) > 1:
        raise InputError(f"reproduce: --{' and --'.join(modes)} together; choose one")


@dataclass(frozen=True)
class Asked:
    """What a command is about: cells of some tables in a folder.

    Attributes:
        tables, how: which, and of which protocol.
        out: folder of all protocols.
    """

    tables: list[Table]
    how: Protocol
    out: Path

    @property
    def folder(self) -> Path:
        """Of the protocol."""
        return self.out / self.how.name

    def command(self, names: str = "", more: str = "--show") -> str:
        """What to type for the same tables, or for others, in the same place."""
        out = "" if self.out == OUT else f" --out {typed(self.out)}"
        names = names or ("all" if len(self.tables) > 3 else " ".join(table.name for table in self.tables))
        return f"alasca reproduce {names} --protocol {self.how.name}{out} {more}".rstrip()


def train_missing(asked: Asked, wanted: list[Cell], place: Place, minutes: float | None, inexact: bool,
                  parent: int | None) -> int:  # fmt: skip
    """Train what is missing; of several processes side by side each does that alone."""
    from alasca.engine import Stopped, borrowed_process
    from alasca.paper import Worker

    until = None if minutes is None else time.monotonic() + 60 * minutes
    try:
        with stopping(), borrowed_process(place):
            Worker(asked.folder, place, until, say, inexact, parent).work(wanted)
    except Stopped as stopped:
        raise Ended(Ending(f"{stopped}; the same command goes on from there", 128 + stopped.signal)) from stopped
    return ENDED if parent is not None else compiled(asked, wanted, minutes is not None)


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Between cells too SIGTERM ends a worker with a word; while one trains, its loop answers it."""
    from alasca.engine import Stopped

    def stop(number: int, frame: object) -> None:
        raise Stopped(f"stopped by {signal.Signals(number).name}", number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def compiled(asked: Asked, wanted: list[Cell], limited: bool) -> int:
    """Compile tables from what there is now, and say how far it is."""
    from alasca.paper import cells_of, compile_table, read_outcomes

    outcomes = read_outcomes(asked.folder)
    for table in asked.tables:
        cells = cells_of([table], asked.how, 1 + most_seed(outcomes))
        compile_table(asked.folder, table.name, cells, outcomes)
    done = sum(cell.id in outcomes for cell in wanted)
    say(f"{done} of {len(wanted)} cells are done, in {asked.folder}")
    if done < len(wanted):
        why = "The others need more time" if limited else "Another worker has the others, or they were begun elsewhere"
        say(f"{why}; the same command goes on")
    if done:
        say(f"Next: {asked.command()}")
    return ENDED


def most_seed(outcomes: Any) -> int:
    """The largest seed of finished cells."""
    return max((outcome["recipe"]["seed"] for outcome in outcomes.values()), default=0)


def side_by_side(count: int, threads: int | None) -> None:
    """The same command as several processes of this machine, which share its cores, and stop when this one is gone.

    Raises:
        Ended: one of them did not end well, or a signal stopped all.
    """
    arguments = [*sys.argv[1:]]
    for k, argument in enumerate(arguments):
        if argument == "--parallel":
            del arguments[k : k + 2]
            break
        if argument.startswith("--parallel="):
            del arguments[k]
            break
    each = threads or max(1, (os.cpu_count() or 1) // count)
    own = [] if threads else ["--threads", str(each)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(each)}
    command = [sys.executable, "-m", "alasca.cli", *arguments, *own, "--parent", str(os.getpid())]
    workers, got = [subprocess.Popen(command, env=environment) for _ in range(count)], []

    def pass_on(number: int, frame: object) -> None:
        got.append(number)
        for worker in workers:
            worker.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        codes = [worker.wait() for worker in workers]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if got:
        name = "Ctrl-C" if got[0] == signal.SIGINT else signal.Signals(got[0]).name
        raise Ended(Ending(f"stopped by {name}; the same command goes on from there", 128 + got[0]))
    worst = max((abs(code) + 128 if code < 0 else code for code in codes), default=ENDED)
    if any(code < 0 for code in codes):
        raise Ended(Ending("a worker was killed; the same command goes on from its checkpoint", worst))
    if worst != ENDED:
        raise Ended(Ending("", worst))


def tell_list(asked: Asked) -> int:
    """What there is, and what of it is done."""
    from alasca.paper import PROTOCOLS, cells_of, finished

    done = finished(asked.folder)
    rows = []
    for table in asked.tables:
        cells = cells_of([table], asked.how, 1)
        rows.append([table.name, table.title, str(len(cells)), str(sum(cell.id in done for cell in cells))])
    show_grid("", ["name", "what", "cells a seed", "done, seed 0"], rows)
    say("\nProtocols (--protocol), each with a folder of its own:")
    for each in PROTOCOLS.values():
        say(f"  {each.name:<8}{each.title}")
    return ENDED


def tell_plan(asked: Asked, wanted: list[Cell], place: Place) -> int:
    """Cells with what they take."""
    from alasca.engine import resolve_device
    from alasca.paper import Estimates, finished, read_outcomes
    from alasca.paper.estimate import in_words, plan_of

    plan = plan_of(wanted, Estimates(place, read_outcomes(asked.folder)), finished(asked.folder))
    show_grid("", ["cell", "seed", "time", "memory"], plan.rows)
    for why, count in plan.unknown.items():
        say(f"{count} can't be estimated here: {why}")
    takes = f": about {in_words(plan.seconds)} on {resolve_device(place.device)}, one at a time" if plan.seconds else ""
    say(f"{plan.left} of {len(wanted)} cells are left{takes}{' without these' if takes and plan.unknown else ''}")
    return ENDED


def tell_results(asked: Asked, page: Path) -> int:
    """Tables in the terminal; the page holds all that there is, whatever was asked for."""
    from alasca.files import make_folder, write_bytes
    from alasca.paper import ALL, cells_of, compile_table, draw_figure, read_outcomes
    from alasca.paper.drawings import DRAWINGS
    from alasca.paper.reading_choice import verdict
    from alasca.paper.show import listing, page_of, put_page

    how, folder = asked.how, asked.folder
    outcomes, every = read_outcomes(folder), list(ALL.values())
    for table in every:
        if outcomes:
            compile_table(folder, table.name, cells_of([table], how, 1 + most_seed(outcomes)), outcomes)
    for table in asked.tables:
        for grid in listing(table, how, outcomes):
            show_grid(grid.title, grid.heads, grid.rows)
            say()
        if table.name == "readings":
            say(f"{verdict(how, outcomes)}\n")
    pictures = page.parent / (page.stem if page.parent != folder else "figures")
    make_folder(pictures, "page")
    drawn = {}
    for name in (table.name for table in every if table.name.startswith("figure")):
        if (svg := draw_figure(name, how, outcomes)) is not None:
            write_bytes(pictures / f"{how.name}-{name}.svg", svg.encode())
            drawn[name] = f"{pictures.name}/{how.name}-{name}.svg"
    for name, make in DRAWINGS.items():
        write_bytes(pictures / f"{name}.svg", make().encode())
    put_page(page, how.name, page_of(every, how, outcomes, drawn))
    for table in (table for table in asked.tables if table.name.startswith("figure")):
        where = f"{pictures / f'{how.name}-{table.name}.svg'}" if table.name in drawn else "no run of it is there yet"
        say(f"{table.name}, {table.title}: {where}")
    say(f"Page, with all tables: {page}")
    say(f"Figures: {pictures} ({len(drawn)} from runs, and {len(DRAWINGS)} drawings)")
    return ENDED
