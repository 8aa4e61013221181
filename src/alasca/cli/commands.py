"""The command line: `alasca demo | train | resume | report | list`. Torch is imported only where a command needs it."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import tomllib
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Dict, Toml

from alasca.cli.arguments import new_folder, value_of
from alasca.cli.codes import ENDED, INTERRUPTED, MISUSED
from alasca.cli.options import GROUPS, PlaceOptions, RecipeOptions, place_of, recipe_of
from alasca.errors import InputError
from alasca.published_recipes import RECIPES, named_settings
from alasca.recipe import RUN, TRAINING, Place, Recipe
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
    seeds: Annotated[int, Parameter(help="Runs of each method.")] = 3,
    epochs: Annotated[int, Parameter(help="Epochs of each run.")] = 60,
    noise: Annotated[str, Parameter(help="Label noise.")] = "symmetric:0.6",
    out: Annotated[Path | None, Parameter(help="New folder. Default: runs/demo-DATE.")] = None,
) -> int:
    """Watch ALASCA rescue a network from wrong labels: handwritten digits, 60% of the labels redrawn at random.

    Trains the same network with plain cross-entropy and with ALASCA, prints a table, writes a report.

    Example: alasca demo
    """
    from alasca.audit.report import write_report
    from alasca.cli.telling import ended_early, show_table
    from alasca.engine import Diverged, Progress, Stopped
    from alasca.training import prepare, train

    if seeds < 1:
        raise InputError(f"seeds: {seeds}, expected at least 1")
    folder = out or new_folder("demo")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"out: {folder} exists already and is no empty folder; choose another")
    plans = [
        Recipe(noise=noise, alasca=wrapped, epochs=epochs, batch_size=128, lr=0.1, seed=seed)
        for seed in range(seeds)
        for wrapped in (False, True)
    ]
    rate = prepare(plans[0]).split.noise_rate
    print(f"1,347 handwritten digits to train on, {noise} noise: {100 * (rate or 0):.0f}% of the labels are wrong.")
    runs = []
    for number, recipe in enumerate(plans, 1):
        name = f"{'alasca' if recipe.alasca else 'ce'}-seed{recipe.seed}"
        print(f"run {number}/{len(plans)}: {recipe.title}, seed {recipe.seed}", flush=True)
        try:
            runs.append(train(recipe, None, Place(), folder / name, Progress.for_terminal(announces=False)))
        except (Stopped, Diverged) as end:
            return ended_early(folder / name, end)
    report = write_report(runs, folder / "report.html")
    print()
    show_table(runs)
    print(f"\nReport: {report}")
    print("Next, your own data, a folder of pictures with a sub-folder a class:")
    print("  alasca train --data folder:PHOTOS --out runs/mine && alasca report runs/mine")
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
    run: Annotated[Path, Parameter(help="Folder of a run that was stopped.")],
    /,
    *,
    inexact: Annotated[bool, Parameter(help="Go on although this machine rounds differently.", negative="")] = False,
) -> int:
    """Go on with a run that was stopped or killed, from its newest whole checkpoint.

    Example: alasca resume runs/photos
    """
    from alasca.cli.telling import carry_out
    from alasca.engine import Progress
    from alasca.training import resume as resume_training

    return carry_out(run, lambda: resume_training(run, None, inexact, Progress.for_terminal()))


@app.command
def report(
    *runs: Annotated[Path, Parameter(help="Run folders, or folders that hold some.")],
    out: Annotated[Path | None, Parameter(help="HTML file. Default: report.html in the first folder.")] = None,
) -> int:
    """Write one HTML page about runs: accuracy, suspicious labels, suggestions; of a stopped run what there is.

    Example: alasca report runs/photos
    """
    from alasca.audit.report import write_report
    from alasca.runs import RunFolder

    if not runs:
        raise InputError("report: no run given; expected one or more run folders")
    found: list[Path] = []
    for path in runs:
        inside = sorted(entry.parent for entry in path.glob("*/run.json")) if path.is_dir() else []
        found += [path] if (path / "run.json").is_file() or not inside else inside
    opened = [RunFolder.open(path) for path in found]
    for run in (run for run in opened if not run.finished):
        print(f"{run.path} has not ended; continue it with: alasca resume {run.path}")
    target = out or runs[0] / "report.html"
    if not target.parent.is_dir():
        raise InputError(f"out: no such folder: {target.parent}")
    print(f"Report: {write_report(opened, target)}")
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


def one_line(error: CycloptsError) -> str:
    """A command-line mistake in one line."""
    error.console = None
    return " ".join(str(error).split())


def configure(arguments: list[str]) -> None:
    """Let ``--config FILE`` of train, and then ``--recipe NAME``, give settings that the command line leaves out."""
    file, found = value_of("--config", arguments), {}
    sources: list[Toml | Dict] = []
    if file is not None:
        try:
            found = tomllib.loads(Path(file).read_text())
            check_flat(file, found)
        except FileNotFoundError:
            raise InputError(f"config: no such file: {file}") from None
        except InputError:
            raise
        except (OSError, ValueError) as error:
            raise InputError(f"config: {file} can't be read as TOML ({error})") from error
        sources.append(Toml(file, must_exist=True, use_commands_as_keys=False))
    name = value_of("--recipe", arguments) or found.get("recipe")
    if name is not None:
        settings = {key: list(v) if isinstance(v, tuple) else v for key, v in named_settings(str(name)).items()}
        sources.append(Dict(settings, use_commands_as_keys=False, source=f"recipe {name}"))
    app["train"].config = tuple(sources)


def check_flat(file: str, found: dict[str, Any]) -> None:
    """Raise `InputError` for what a file of settings would only seem to set: sections, and options turned round."""

    for name, value in found.items():
        if isinstance(value, dict):
            raise InputError(f"config: {file} has a section [{name}]; write its settings at the top, as name = value")
        if name.startswith(("no-", "no_")):
            raise InputError(f"config: {file}: {name} is no setting; write {name[3:]} = false")


def main(arguments: list[str] | None = None) -> None:
    """Entry point: run a command and exit with its code; a mistake is one line and code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    shows = "--traceback" in arguments
    arguments = [argument for argument in arguments if argument != "--traceback"]
    try:
        configure(arguments)
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        print(f"alasca: {one_line(error)}", file=sys.stderr)
        code = MISUSED
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = INTERRUPTED
    except InputError as error:
        if shows:
            traceback.print_exception(error)
        print(f"alasca: {' '.join(str(error).split())}", file=sys.stderr)
        code = MISUSED
    sys.exit(code if isinstance(code, int) else ENDED)
