"""The command line: `alasca demo | train | resume | report | list`; torch is imported only where a command needs it."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from alasca.cli.arguments import new_folder
from alasca.cli.codes import ENDED
from alasca.cli.options import GROUPS, WHOLE, PlaceOptions, RecipeOptions, place_of, recipe_of
from alasca.errors import InputError
from alasca.published_recipes import RECIPES
from alasca.recipe import RUN, TRAINING, Place, Recipe
from alasca.terminal import say
from alasca.values import written

app = App(
    name="alasca",
    help="Train any PyTorch classifier on data whose labels are partly wrong, find those labels, and repair them.\n\n"
    "Every command takes --traceback: where a mistake was found, for those who write networks or methods.",
    help_format="plaintext",
    version=lambda: __import__("alasca").__version__,
)


@app.command
def demo(
    *,
    seeds: Annotated[int, Parameter(help="Runs of each method.", **WHOLE)] = 3,
    epochs: Annotated[int, Parameter(help="Epochs of each run.", **WHOLE)] = 60,
    noise: Annotated[str, Parameter(help="Label noise.")] = "symmetric:0.6",
    out: Annotated[Path | None, Parameter(help="New folder. Default: runs/demo-DATE.")] = None,
) -> int:
    """Watch ALASCA rescue a network from wrong labels: handwritten digits, 60% of the labels redrawn at random.

    Trains the same network with plain cross-entropy and with ALASCA, prints a table, writes a report.

    Example: alasca demo
    """
    from alasca.audit.report import write_report
    from alasca.cli.telling import resumable, show_table
    from alasca.engine import Progress
    from alasca.training import prepare, train

    if not 1 <= seeds <= 100:
        raise InputError(f"seeds: {seeds}, expected at least 1 and at most 100")
    folder = out or new_folder("demo")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"out: {folder} exists already and is no empty folder; choose another")
    plans = [
        Recipe(noise=noise, alasca=wrapped, epochs=epochs, batch_size=128, lr=0.1, seed=seed)
        for seed in range(seeds)
        for wrapped in (False, True)
    ]
    rate = prepare(plans[0]).split.noise_rate
    say(f"1,347 handwritten digits to train on, {noise} noise: {100 * (rate or 0):.0f}% of the labels are wrong.")
    runs = []
    for number, recipe in enumerate(plans, 1):
        name = f"{'alasca' if recipe.alasca else 'ce'}-seed{recipe.seed}"
        say(f"run {number}/{len(plans)}: {recipe.title}, seed {recipe.seed}")
        with resumable(folder / name):
            runs.append(train(recipe, None, Place(), folder / name, Progress.for_terminal(announces=False)))
    report = write_report(runs, folder / "report.html")
    say()
    show_table(runs)
    say(f"\nReport: {report}")
    say("Next, your own data, a folder of pictures with a sub-folder a class:")
    say("  alasca clean PHOTOS --out runs/mine")
    return ENDED


@app.command
def train(
    *,
    settings: RecipeOptions = RecipeOptions(),  # noqa: B008  # frozen
    place: PlaceOptions = PlaceOptions(),  # noqa: B008
    recipe: Annotated[
        str | None,
        Parameter(group=GROUPS[TRAINING], help="Published settings that the others overrule; see alasca list recipes."),
    ] = None,
    out: Annotated[Path | None, Parameter(group=GROUPS[RUN], help="New run folder. Default: runs/train-DATE.")] = None,
    config: Annotated[
        Path | None, Parameter(group=GROUPS[RUN], help="TOML file with these settings; the command line wins.")
    ] = None,
) -> int:
    """Train on data whose labels are partly wrong.

    Example: alasca train --data folder:PHOTOS --epochs 100 --out runs/photos
    """
    made, where = recipe_of(settings), place_of(place)
    folder = out or new_folder("train")
    from alasca.cli.telling import carry_out
    from alasca.engine import Progress
    from alasca.training import train as run_training

    return carry_out(folder, lambda: run_training(made, None, where, folder, Progress.for_terminal()))


@app.command
def resume(
    run: Annotated[Path, Parameter(help="Folder of a run that was stopped, or that is to go on.")],
    /,
    *,
    epochs: Annotated[int | None, Parameter(help="More epochs than it was to have.", **WHOLE)] = None,
    device: Annotated[str | None, Parameter(help="Another device.")] = None,
    threads: Annotated[int | None, Parameter(help="Another number of CPU threads.", **WHOLE)] = None,
    workers: Annotated[int | None, Parameter(help="Another number of processes that decode.", **WHOLE)] = None,
    network: Annotated[
        str | None, Parameter(help="The run's network, where that is package.module:callable: your consent to run it.")
    ] = None,
    inexact: Annotated[bool, Parameter(help="Go on although this machine rounds differently.", negative="")] = False,
) -> int:
    """Go on with a run that was stopped or killed, from its newest whole checkpoint.

    Example: alasca resume runs/photos
    """
    from alasca.cli.telling import carry_out
    from alasca.engine import Progress
    from alasca.training import resume as resume_training

    changes: dict[str, Any] = {
        "network": network,
        "epochs": epochs,
        "device": device,
        "threads": threads,
        "workers": workers,
    }
    return carry_out(run, lambda: resume_training(run, None, inexact, Progress.for_terminal(), **changes))


@app.command
def report(
    *runs: Annotated[Path, Parameter(help="Run folders, or folders that hold some.")],
    out: Annotated[Path | None, Parameter(help="HTML file. Default: report.html in the first folder.")] = None,
    spreadsheet: Annotated[
        Path | None,
        Parameter(help="Also write the samples as CSV for a spreadsheet: no cell is taken for a formula. Of one run."),
    ] = None,
) -> int:
    """Write one HTML page about runs: accuracy, suspicious labels, suggestions; of a stopped run what there is.

    Example: alasca report runs/photos
    """
    from alasca.audit.report import write_report
    from alasca.audit.spreadsheet import write_spreadsheet
    from alasca.runs import RunFolder
    from alasca.runs.claim import ending

    if not runs:
        raise InputError("report: no run given; expected one or more run folders")
    found: list[Path] = []
    for path in runs:
        inside = sorted(entry.parent for entry in path.glob("*/run.json")) if path.is_dir() else []
        found += [path] if (path / "run.json").is_file() or not inside else inside
    opened = [RunFolder.open(path) for path in found]
    for run in (run for run in opened if not run.finished):
        say(f"{run.path} has not ended; {ending(run.path)}")
    target = out or runs[0] / "report.html"
    for option, file in (("out", target), ("spreadsheet", spreadsheet)):
        if file is not None and (file.is_dir() or not file.parent.is_dir()):
            raise InputError(f"{option}: {file} is no file in a folder that exists")
    if spreadsheet is not None and len(opened) > 1:
        raise InputError(f"spreadsheet: {len(opened)} runs are given; expected one")
    say(f"Report: {write_report(opened, target)}")
    if spreadsheet is not None:
        write_spreadsheet(opened[0], spreadsheet)
        say(f"Spreadsheet: {spreadsheet}")
    return ENDED


@app.command(name="list")
def list_(
    what: Annotated[
        Literal["all", "methods", "recipes", "data", "noise", "networks"], Parameter(help="Which.")
    ] = "all",
    /,
    *,
    verbose: Annotated[
        bool, Parameter(help="Options of every method, and its presets with their source.", negative="")
    ] = False,
) -> int:
    """List methods, published recipes, data sources, label noise and networks.

    Example: alasca list methods --verbose
    """
    from alasca.data import NOISES, SOURCES
    from alasca.methods import WRAPPER as wrapper
    from alasca.methods import list_methods, load, method_class, option_names
    from alasca.networks import NETWORKS, OTHERS

    width = max(60, shutil.get_terminal_size((120, 24)).columns)

    def block(title: str, rows: dict[str, str]) -> None:
        print(title)
        for name, text in rows.items():
            print(textwrap.fill(f"  {name:<23} {text}", width, subsequent_indent=" " * 26, break_on_hyphens=False))

    if what in ("all", "methods"):
        if verbose:
            from alasca.cli.telling import show_methods

            show_methods()
        else:
            block("Methods (--method)", {name: summary(method_class(name)) for name in list_methods()})
        options = f"options (--set alasca.NAME=VALUE): {', '.join(option_names(load(wrapper)))}"
        block("Wrapper (--alasca, on by default)", {"alasca": summary(load(wrapper)), "": options})
    if what in ("all", "recipes"):
        rows = {
            name: f"{' '.join(f'{key}={written(value)}' for key, value in known.settings.items())} [{known.source}]"
            for name, known in RECIPES.items()
        }
        block("Recipes (--recipe)", rows)
    if what in ("all", "data"):
        block("Data (--data)", {form.written: summary(form.read) for form in SOURCES.values()})
    if what in ("all", "data", "noise"):
        block("Label noise (--noise)", NOISES)
    if what in ("all", "networks"):
        networks = {name: summary(make) for name, make in NETWORKS.items()}
        block("Networks (--network)", networks | OTHERS)
    return ENDED


def summary(thing: Any) -> str:
    """First line of a docstring, without its quotes of code."""
    return str((thing.__doc__ or "").strip().splitlines()[0]).replace("`", "").removesuffix(".")
