"""How a run ended, told in a terminal."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path

from alasca.audit.report import grouped, table_rows
from alasca.cli.codes import ENDED, FAILED, INTERRUPTED
from alasca.distributed import join, leave, world
from alasca.engine import Diverged, Stopped
from alasca.methods import list_methods, method_class, option_names
from alasca.runs import RunFolder
from alasca.values import written


def carry_out(folder: Path, work: Callable[[], RunFolder]) -> int:
    """Run training, and say how it ended and what to type next."""
    joined = join()
    try:
        run = work()
        if world()[0] == 0:
            tell(run)
        return ENDED
    except (Stopped, Diverged) as end:
        return ended_early(folder, end)
    finally:
        if joined:
            leave()


def ended_early(folder: Path, end: Stopped | Diverged) -> int:
    """Say why training stopped and what to type next; the exit code."""
    if isinstance(end, Diverged):
        print(f"alasca: {end}", file=sys.stderr)
        return FAILED
    print(f"{end}. Continue it with: alasca resume {folder}", file=sys.stderr)
    return 128 + end.signal if end.signal else INTERRUPTED


def tell(run: RunFolder) -> None:
    """The final figures of a run, and the next command."""
    done, described = run.done(), run.settings()
    names = {
        "test_accuracy_last": "test accuracy, last epoch",
        "val_accuracy_last": "held-out accuracy (noisy labels), last epoch",
        "test_accuracy_noisy_val": "test accuracy, epoch chosen on noisy held-out labels",
    }  # fmt: skip
    for key, text in names.items():
        if key in done:
            alone = key.replace("_accuracy", "_accuracy_main")
            beside = f" (main classifier alone: {done[alone]:.1f}%)" if alone in done else ""
            print(f"{text}: {done[key]:.1f}%{beside if done['prediction'] != 'main' else ''}")
    if described.get("reads_files"):
        print(f"time that training waited for files: {done['waited']:.1f}%")
    if "store_error_p99" in done:
        mean, most = done["store_error_mean"], done["store_error_p99"]
        print(f"error of the store's confidence: mean {mean:.4f}, 99% of samples below {most:.4f}")
    if (rate := described["noise_rate"]) is not None:
        print(f"labels that are wrong in truth: {100 * rate:.1f}% (noise: {described['recipe']['noise']})")
    samples = described["train_samples"] + described["val_samples"]
    print(f"labels that look wrong: {done['label_issues']} of {samples} (see {run.path}/samples.csv)")
    if held := described["val_samples"]:
        print(f"{held} samples were held out: what is said of them is the trained network's look at them")
    print(f"Next: alasca report {run.path}")


def show_table(runs: list[RunFolder]) -> None:
    """The comparison of runs as a table for the terminal: a column a method, which fits narrow ones."""
    from rich.console import Console
    from rich.table import Table

    heads, rows = table_rows(grouped(runs))
    table = Table(show_edge=False)
    for k, head in enumerate([heads[0], *(row[0] for row in rows)]):
        table.add_column(head, justify="right" if k else "left")
    for figure in list(zip(heads, *rows, strict=True))[1:]:
        table.add_row(*figure)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def show_methods() -> None:
    """Every method with its options, their defaults, and its presets with their source."""
    print("Methods (--method), options (--set NAME=VALUE) and presets (--preset NAME)")
    for name in list_methods():
        cls = method_class(name)
        print(f"\n  {name}: {str((cls.__doc__ or '').strip().splitlines()[0]).replace('`', '')}")
        defaults = {option: inspect.signature(cls).parameters[option].default for option in option_names(cls)}
        for preset in cls.presets:
            values = {**defaults, **preset.options}
            shown = values if preset.data == "default" else preset.options
            texts = ", ".join(f"{option}={written(value)}" for option, value in shown.items()) or "no options"
            print(f"    {preset.data:<20}{texts}  [{preset.source}]")
        if cls.epoch_options:
            print(f"    {'':<20}below 120 epochs the default shrinks with them: {', '.join(cls.epoch_options)}")
