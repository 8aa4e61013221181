"""How a run ended, told in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from alasca.audit.report import grouped, table_rows
from alasca.cli.codes import ENDED, FAILED, INTERRUPTED
from alasca.distributed import join, leave, world
from alasca.engine import Diverged, Stopped
from alasca.runs import RunFolder


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
    done = run.done()
    names = {
        "test_accuracy_last": "test accuracy, last epoch",
        "val_accuracy_last": "held-out accuracy (noisy labels), last epoch",
        "test_accuracy_noisy_val": "test accuracy, epoch chosen on noisy held-out labels",
    }  # fmt: skip
    for key, text in names.items():
        if key in done:
            print(f"{text}: {done[key]:.1f}%")
    samples = run.settings()["train_samples"]
    print(f"labels that look wrong: {done['label_issues']} of {samples} (see {run.path}/samples.csv)")
    print(f"Next: alasca report {run.path}")


def show_table(runs: list[RunFolder]) -> None:
    """The comparison of runs as a table for the terminal."""
    from rich.console import Console
    from rich.table import Table

    heads, rows = table_rows(grouped(runs))
    table = Table(show_edge=False)
    for k, head in enumerate(heads):
        table.add_column(head, justify="right" if k else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
