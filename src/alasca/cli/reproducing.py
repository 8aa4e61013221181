"""`alasca reproduce | analyze`: the paper's tables and figures as runs, and what the theory says of a run of yours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from alasca.cli.codes import ENDED
from alasca.cli.options import WHOLE
from alasca.cli.outcome import Ended, Ending
from alasca.cli.using import app as app
from alasca.errors import InputError
from alasca.recipe import Place
from alasca.terminal import say

if TYPE_CHECKING:
    from alasca.paper import Cell
    from alasca.paper.analysis import Analysis
    from alasca.paper.experiments import Table
    from alasca.paper.protocols import Protocol


@app.command
def reproduce(
    *what: Annotated[str, Parameter(help="table2 to table9, figure1 to figure10, readings, or all.")],
    protocol: Annotated[
        Literal["paper", "small", "digits", "tiny"], Parameter(help="How large; see alasca reproduce --list.")
    ] = "paper",
    cells: Annotated[str, Parameter(help="Only cells of such names, such as 'cifar10/sym60/*'.")] = "*",
    seeds: Annotated[int, Parameter(help="Runs of each cell.", **WHOLE)] = 5,
    minutes: Annotated[
        float | None, Parameter(help="Stop by then; no cell is begun that would not end in time.")
    ] = None,
    out: Annotated[Path, Parameter(help="Folder; others may work there too. Results lie in OUT/PROTOCOL.")] = Path(
        "results"
    ),
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
) -> int:
    """Train the paper's tables and figures, cell by cell, and show ours beside the paper's.

    A cell is one run: a method, bare or in ALASCA, on some data and noise, with a seed. Give the same command again, on
    this machine or on others that share the folder, and what is missing is trained.

    Example: alasca reproduce table4 --cells 'cifar10/sym60/*' --seeds 1 --minutes 30
    """
    from alasca.paper import PROTOCOLS, cells_of, tables_of

    if not 1 <= seeds <= 50:
        raise InputError(f"seeds: {seeds}, expected at least 1 and at most 50")
    if not 1 <= parallel <= 64:
        raise InputError(f"parallel: {parallel}, expected at least 1 and at most 64")
    if minutes is not None and not minutes > 0:
        raise InputError(f"minutes: {minutes:g}, expected above 0")
    if page is not None and not show:
        raise InputError("page: nothing is shown; add --show")
    if not what and not (listed or dry_run or show):
        raise InputError("reproduce: name a table or figure, such as table4; see alasca reproduce --list")
    how, folder = PROTOCOLS[protocol], out / protocol
    tables = tables_of(what or ["all"])
    if listed:
        return tell_list(tables, how, folder)
    if show:
        if page is None and not folder.is_dir():
            train_first = f"alasca reproduce table4 --protocol {how.name}"
            raise InputError(f"show: {folder} is not there; train cells first: {train_first}")
        return tell_results(tables, how, folder, page or folder / "paper.md")
    if data_dir is not None:
        os.environ["ALASCA_DATA"] = data_dir
    place = Place(device=device, threads=threads)
    wanted = cells_of(tables, how, seeds, cells)
    if dry_run:
        return tell_plan(wanted, folder, place)
    if parallel > 1:
        return side_by_side(parallel, threads)
    return carry_on(wanted, tables, how, folder, place, minutes, inexact)


@app.command
def analyze(
    run: Annotated[Path, Parameter(help="Folder of a run, best one with --history 1.")],
    /,
    *,
    out: Annotated[
        Path | None, Parameter(help="Folder for figures and numbers. Default: analysis in the run's.")
    ] = None,
    data_dir: Annotated[str | None, Parameter(help="Where published data are. Default: $ALASCA_DATA.")] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    network: Annotated[
        str | None, Parameter(help="The run's network, where that is package.module:callable: your consent to run it.")
    ] = None,
) -> int:
    """Show what the paper's theory says of a run: Jacobian norms, smoothness, confidence, of right and wrong labels.

    A run that was trained with --history N is drawn over its epochs; of another finished run the end is looked at.

    Example: alasca analyze runs/photos
    """
    from alasca.files import write_bytes, write_json
    from alasca.paper import analyse

    found = analyse(run, Place(data_dir=data_dir, device=device), network)
    folder = out or run / "analysis"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"out: {folder} is no folder")
    folder.mkdir(parents=True, exist_ok=True)
    tell_analysis(found)
    write_json(folder / "analysis.json", {"judged_by": found.judged_by, "looks": found.looks})
    for name, svg in found.figures().items():
        write_bytes(folder / f"{name}.svg", svg.encode())
    say(f"\nNumbers: {folder / 'analysis.json'}")
    if found.over_epochs:
        say(f"Figures: {', '.join(f'{folder / name}.svg' for name in found.figures())}")
    else:
        say("Over epochs: nothing was kept; train with --history 1")
    return ENDED


def tell_analysis(found: Analysis) -> None:
    """The last look, in tables."""
    last = found.looks[-1]
    say(f"{found.title}, epoch {last['epoch'] + 1}; clean and noisy by {found.judged_by}")
    if "jacobian" in last:
        clean, noisy = (last["jacobian"].get(group, []) for group in ("clean", "noisy"))
        slopes, rows = last.get("slope", [None] * found.stages), []
        for k in range(found.stages):
            both = k < len(clean) and k < len(noisy)
            ratio = f"{clean[k] / noisy[k]:.2f}" if both and noisy[k] else "-"
            cells = [f"{each[k]:.4g}" if k < len(each) else "-" for each in (clean, noisy)]
            rows.append([f"stage {k + 1}", *cells, ratio, "-" if slopes[k] is None else f"{slopes[k]:.3g}"])
        show_grid("Jacobian norms", ["", "clean", "noisy", "clean / noisy", "slope"], rows)
    heads = len(last["entropy"])
    rows = []
    for k in range(heads):
        name = "main" if k == heads - 1 else f"sub-classifier {k + 1}"
        test = [
            f"{last[key][k]:.4g}" if key in last else "-"
            for key in ("test_accuracy", "test_entropy", "test_calibration")
        ]
        rows.append([name, f"{last['entropy'][k]:.3g}", f"{last['omega'][k]:.3g}", *test])
    show_grid("Classifiers", ["", "entropy", "Omega / K", "test accuracy", "test entropy", "calibration error"], rows)
    rows = []
    for key, name in (("instant", "of one visit"), ("ema", "averaged")):
        if key in last:
            one = last[key]
            cells = [
                f"{one[group][0]:.3f} ± {one[group][1]:.3f}" if group in one else "-" for group in ("clean", "noisy")
            ]
            ranks = f"{one['auroc']:.3f}" if "auroc" in one else "-"
            rows.append([name, *cells, ranks, f"{one['change']:.3f}" if "change" in one else "-"])
    if rows:
        heads_of = ["", "clean", "noisy", "AUROC", "change an epoch"]
        show_grid("Confidence in the given label", heads_of, rows)


def carry_on(
    wanted: list[Cell], tables: list[Table], how: Protocol, folder: Path, place: Place, minutes: float | None,
    inexact: bool,
) -> int:  # fmt: skip
    """Train what is missing, and compile what there is."""
    from alasca.engine import Stopped, borrowed_process
    from alasca.paper import Worker, cells_of, compile_table, read_outcomes

    until = None if minutes is None else time.monotonic() + 60 * minutes
    try:
        with borrowed_process(place):
            left = Worker(folder, place, until, say, inexact).work(wanted)
    except Stopped as stopped:
        raise Ended(Ending(f"{stopped}; the same command goes on from there", 128 + stopped.signal)) from stopped
    outcomes = read_outcomes(folder)
    for table in tables:
        compile_table(folder, table.name, cells_of([table], how, 1 + most_seed(outcomes)), outcomes)
    say(f"{len(wanted) - len(left)} of {len(wanted)} cells are done, in {folder}")
    if left:
        say("The others are being trained by another worker, or need more time; the same command goes on")
    say(f"Next: alasca reproduce {' '.join(table.name for table in tables[:3])} --protocol {how.name} --show")
    return ENDED


def most_seed(outcomes: Any) -> int:
    """The largest seed of finished cells."""
    return max((outcome["recipe"]["seed"] for outcome in outcomes.values()), default=0)


def side_by_side(count: int, threads: int | None) -> int:
    """The same command as several processes of this machine, which share its cores."""
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
    command = [sys.executable, "-m", "alasca.cli", *arguments, *own]
    workers = [subprocess.Popen(command, env=environment) for _ in range(count)]

    def pass_on(number: int, frame: object) -> None:
        for worker in workers:
            worker.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        codes = [worker.wait() for worker in workers]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    worst = max((abs(code) + 128 if code < 0 else code for code in codes), default=ENDED)
    if any(code < 0 for code in codes):
        raise Ended(Ending("a worker was killed; the same command goes on from its checkpoint", worst))
    return worst


def tell_list(tables: list[Table], how: Protocol, folder: Path) -> int:
    """What there is, and what of it is done."""
    from alasca.paper import PROTOCOLS, cells_of, finished

    done = finished(folder)
    rows = []
    for table in tables:
        cells = cells_of([table], how, 1)
        rows.append([table.name, table.title, str(len(cells)), str(sum(cell.id in done for cell in cells))])
    show_grid("", ["name", "what", "cells a seed", "done, seed 0"], rows)
    say("\nProtocols (--protocol), each with a folder of its own:")
    for each in PROTOCOLS.values():
        say(f"  {each.name:<8}{each.title}")
    return ENDED


def tell_plan(wanted: list[Cell], folder: Path, place: Place) -> int:
    """Cells with what they take."""
    from alasca.engine import resolve_device
    from alasca.paper import Estimates, finished, read_outcomes
    from alasca.paper.estimate import in_words, plan_of

    done, estimates = finished(folder), Estimates(place, read_outcomes(folder))
    show_grid("", ["cell", "seed", "time", "memory"], [[*row] for row in plan_of(wanted, estimates, done)])
    left = [cell for cell in wanted if cell.id not in done]
    total = in_words(sum(estimates.seconds(cell) for cell in left)) if left else "no time"
    say(f"{len(left)} of {len(wanted)} cells are left: about {total} on {resolve_device(place.device)}, one at a time")
    return ENDED


def tell_results(tables: list[Table], how: Protocol, folder: Path, page: Path) -> int:
    """Tables in the terminal; all of them, and figures, as files."""
    from alasca.files import write_bytes
    from alasca.paper import cells_of, compile_table, draw_figure, read_outcomes
    from alasca.paper.drawings import DRAWINGS
    from alasca.paper.reading_choice import verdict
    from alasca.paper.show import listing, page_of, put_page

    outcomes = read_outcomes(folder)
    for table in tables:
        if outcomes:
            compile_table(folder, table.name, cells_of([table], how, 1 + most_seed(outcomes)), outcomes)
        for grid in listing(table, how, outcomes):
            show_grid(grid.title, grid.heads, grid.rows)
            say()
        if table.name == "readings":
            say(f"{verdict(how, outcomes)}\n")
    pictures = page.parent / (page.stem if page.parent != folder else "figures")
    pictures.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for name in (table.name for table in tables if table.name.startswith("figure")):
        if (svg := draw_figure(name, how, outcomes)) is not None:
            write_bytes(pictures / f"{how.name}-{name}.svg", svg.encode())
            drawn[name] = f"{pictures.name}/{how.name}-{name}.svg"
    for name, make in DRAWINGS.items():
        write_bytes(pictures / f"{name}.svg", make().encode())
    put_page(page, how.name, page_of(tables, how, outcomes, drawn))
    say(f"Page:    {page}")
    say(f"Figures: {pictures} ({len(drawn)} drawn from runs)")
    return ENDED


def show_grid(title: str, heads: list[str], rows: list[list[str]]) -> None:
    """A table in the terminal."""
    from rich.console import Console
    from rich.table import Table as Shown
    from rich.text import Text

    shown = Shown(show_edge=False, title=title or None, title_justify="left")
    for k, head in enumerate(heads):
        shown.add_column(Text(head), justify="left" if k < 2 else "right", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 110).print(shown)
