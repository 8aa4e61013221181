"""How a run ended, told in a terminal."""

from __future__ import annotations

import contextlib
import inspect
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from alasca.audit.comparison import grouped, table_rows
from alasca.cli.codes import ENDED, FAILED
from alasca.cli.outcome import Ended, Ending, ending, show
from alasca.distributed import Followed, join, leave, saying, world
from alasca.methods import list_methods, method_class, option_names
from alasca.runs import RunFolder
from alasca.terminal import say, typed, visible
from alasca.values import written


def carry_out(folder: Path, work: Callable[[], RunFolder], tells: bool = True) -> int:
    """Run training, and say how it ended and what to type next; without `tells`, `work` says so itself."""
    joined = join()
    try:
        with resumable(folder):
            run = work()
            if tells and world()[0] == 0:
                tell(run)
            return ENDED
    finally:
        if joined:
            leave()


@contextlib.contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """What ends a run in the block also says how it goes on; of several processes one says so.

    Raises:
        Ended: in the place of every error, but for mistakes of ours where there is one process.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        found = ending(error, folder)
        if world()[1] > 1:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher's, once one of us has ended
            with saying(isinstance(error, Followed)) as mine:
                if mine:
                    show(error, found)
            raise Ended(Ending("", FAILED if found is None else found.code)) from error
        if found is None:
            raise
        raise Ended(found) from error


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
            say(f"{text}: {done[key]:.1f}%{beside if done['prediction'] != 'main' else ''}")
    if described.get("reads_files"):
        say(f"time that training waited for files: {done['waited']:.1f}%")
    if "store_error_p99" in done:
        mean, most = done["store_error_mean"], done["store_error_p99"]
        say(f"error of the store's confidence: mean {mean:.4f}, 99% of samples below {most:.4f}")
    if (rate := described["noise_rate"]) is not None:
        say(f"labels that are wrong in truth: {100 * rate:.1f}% (noise: {described['recipe']['noise']})")
    samples = described["train_samples"] + described["val_samples"]
    say(f"labels that look wrong: {done['label_issues']} of {samples} (see {run.path}/samples.csv)")
    if held := described["val_samples"]:
        say(f"{held} samples were held out: what is said of them is the trained network's look at them")
    say(f"Next: alasca report {typed(run.path)}")
    if described["place"].get("history"):
        say(f"      alasca analyze {typed(run.path)}")


def show_table(runs: list[RunFolder]) -> None:
    """The comparison of runs as a table for the terminal: a column a method, which fits narrow ones."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    heads, rows = table_rows(grouped(runs))
    table = Table(show_edge=False)
    for k, head in enumerate([heads[0], *(row[0] for row in rows)]):
        table.add_column(Text(visible(head)), justify="right" if k else "left")
    for figure in list(zip(heads, *rows, strict=True))[1:]:
        table.add_row(*(Text(visible(cell)) for cell in figure))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def show_methods() -> None:
    """Every method with its options, their defaults, and its presets with their source."""
    say("Methods (--method), options (--set NAME=VALUE) and presets (--preset NAME)")
    for name in list_methods():
        cls = method_class(name)
        say(f"\n  {name}: {str((cls.__doc__ or '').strip().splitlines()[0]).replace('`', '')}")
        defaults = {option: inspect.signature(cls).parameters[option].default for option in option_names(cls)}
        for preset in cls.presets:
            values = {**defaults, **preset.options}
            shown = values if preset.data == "default" else preset.options
            texts = ", ".join(f"{option}={written(value)}" for option, value in shown.items()) or "no options"
            say(f"    {preset.data:<20}{texts}  [{preset.source}]")
        if cls.epoch_options:
            say(f"    {'':<20}below 120 epochs the default shrinks with them: {', '.join(cls.epoch_options)}")
