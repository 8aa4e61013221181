"""Runs beside each other: what is known of each, in a table, and their accuracy over epochs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from alasca.audit.charts import lines
from alasca.errors import InputError
from alasca.runs import RunFolder
from alasca.runs.claim import ending

TESTED = (
    "Mean ± standard deviation over seeds. Every figure is from the last epoch: no epoch was chosen by looking at test "
    "labels. AUROC: how often a wrong label ranks as more suspicious than a right one, 0.5 by chance, 1 at best."
)
OWN = (
    "No true labels are known here, so nothing says which run is right. Held-out labels are partly wrong themselves. "
    "In common: labels that look wrong to this run and to the first, of those that look wrong to either."
)
COMPARED = (
    "test_accuracy_last", "test_accuracy_main_last", "val_accuracy_last", "memorised", "issue_auroc",
    "seconds_per_epoch",
)  # fmt: skip
"""Figures that a comparison of methods shows."""


def grouped(runs: Sequence[RunFolder]) -> dict[str, list[RunFolder]]:
    """Runs that differ by seed only, under one name; unwrapped methods first."""
    groups: dict[str, list[RunFolder]] = {}
    keys: dict[str, list[str]] = {}
    for run in sorted(runs, key=lambda run: bool(run.settings()["recipe"]["alasca"])):
        described = run.settings()
        key = str({**described["recipe"], "seed": None, "noise_seed": None})
        known = keys.setdefault(described["title"], [])
        if key not in known:
            known.append(key)
        number = known.index(key) + 1
        groups.setdefault(described["title"] + (f" ({number})" if number > 1 else ""), []).append(run)
    return groups


def summarise(members: Sequence[RunFolder]) -> dict[str, tuple[float, float] | None]:
    """Mean and standard deviation over seeds of the final figures."""
    found: dict[str, tuple[float, float] | None] = {}
    done = [figures(run) for run in members]
    for name in COMPARED:
        values = [one[name] for one in done if one.get(name) is not None]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        found[name] = (statistics.fmean(values), spread) if values else None
    return found


def figures(run: RunFolder) -> dict[str, Any]:
    """The final figures of a run; of one that has not ended, those of its last epoch."""
    if run.finished:
        return run.done()
    history = run.history()
    if not history:
        raise InputError(f"run: {run.path} has not ended an epoch; {ending(run.path)}")
    last = history[-1]
    shown = ("test_accuracy", "test_accuracy_main", "val_accuracy")
    found = {f"{name}_last": last[name] for name in shown if name in last}
    seconds = statistics.median(record["seconds"] for record in history)
    return {"epochs": len(history), "seconds_per_epoch": seconds, "memorised": last.get("memorised"), **found}


def table_rows(groups: dict[str, list[RunFolder]]) -> tuple[list[str], list[list[str]]]:
    """The comparison as text: heads and rows. Bare methods have a main classifier alone, so theirs is shown of all."""
    heads = ["method", "seeds", "test accuracy, last epoch", "main classifier alone", "memorised wrong labels",
             "wrong labels found, AUROC", "time per epoch", "ratio"]  # fmt: skip
    rows, base = [], None
    for label, members in groups.items():
        figures = summarise(members)
        seconds = figures["seconds_per_epoch"]
        base = base or seconds
        accuracy = figures["test_accuracy_last"]
        main = figures["test_accuracy_main_last"] or accuracy
        rows.append([
            label, str(len(members)),
            text(accuracy, 1, "%"), text(main, 1, "%"), text(figures["memorised"], 1, "%"),
            text(figures["issue_auroc"], 3),
            f"{seconds[0]:.2f} s" if seconds else "-", f"{seconds[0] / base[0]:.2f}" if seconds and base else "-",
        ])  # fmt: skip
    return heads, rows


def text(figure: tuple[float, float] | None, digits: int, unit: str = "") -> str:
    """Mean and standard deviation for people.

    >>> text((91.66, 1.2), 1, "%")
    '91.7 ± 1.2%'
    """
    return "-" if figure is None else f"{figure[0]:.{digits}f} ± {figure[1]:.{digits}f}{unit}"


def data_of(run: RunFolder) -> str:
    """What a run was trained on, for people."""
    described = run.settings()
    return "data from a program" if described["from_program"] else str(described["recipe"]["data"])


def comparisons(runs: Sequence[RunFolder]) -> list[str]:
    """A comparison for each data set that more than one run is of."""
    by_data: dict[str, list[RunFolder]] = {}
    for run in runs:
        by_data.setdefault(run.settings()["data_sha256"], []).append(run)
    found = []
    for members in by_data.values():
        if len(by_data) > 1:
            found.append(f"<h2>{escape(data_of(members[0]))}</h2>")
        if len(members) > 1:
            found.append(comparison(grouped(members)))
    return found


def own_data_rows(groups: dict[str, list[RunFolder]]) -> tuple[list[str], list[list[str]]]:
    """The comparison of runs on data without a test set or true labels: what is known all the same."""
    heads = ["method", "runs", "agrees with held-out labels", "share of wrong labels", "look wrong", "of them fix",
             "in common with the first run"]  # fmt: skip
    rows: list[list[str]] = []
    first: set[str] = set()
    for label, members in groups.items():
        done = [figures(run) for run in members]
        finished = next((run for run in members if run.finished), None)
        records = finished.records() if finished else None
        issues = {records.ids[k] for k in np.flatnonzero(records.issue)} if records else set()
        first = first or issues
        common = f"{len(issues & first):,} of {len(issues | first):,}" if rows and records else "-"

        def mean(key: str, done: list[dict[str, Any]] = done) -> float | None:
            values = [one[key] for one in done if one.get(key) is not None]
            return statistics.fmean(values) if values else None

        share, held = mean("wrong_share"), mean("val_accuracy_last")
        rows.append([
            label, str(len(members)), "-" if held is None else f"{held:.1f}%",
            "-" if share is None else f"{100 * share:.0f}%", f"{len(issues):,}" if records else "-",
            f"{int((records.decision == 'fix').sum()):,}" if records else "-", common,
        ])  # fmt: skip
    return heads, rows


def comparison(groups: dict[str, list[RunFolder]]) -> str:
    """The table of all methods, and their test accuracy over epochs."""
    tested = any(
        figures(run).get(name) is not None
        for members in groups.values() for run in members for name in ("test_accuracy_last", "issue_auroc")
    )  # fmt: skip
    heads, rows = table_rows(groups) if tested else own_data_rows(groups)
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = ""
    for row in rows:
        cells = (f'<td data-label="{escape(h)}">{escape(c)}</td>' for h, c in zip(heads, row, strict=True))
        body += f"<tr>{''.join(cells)}</tr>"
    curves = [
        (label, "abcd"[k % 4], mean_curve(members, "test_accuracy"))
        for k, (label, members) in enumerate(groups.items())
    ]
    drawn = [curve for curve in curves if any(value is not None for value in curve[2])]
    chart = lines("Test accuracy", drawn, "test accuracy, %") if drawn else ""
    return (
        '<div class="grid2"><div class="card wide"><div class="scroll">'
        f'<table class="results stacked"><tr>{head}</tr>{body}'
        f"</table></div><p class='soft'>{TESTED if tested else OWN}</p></div>"
        + (f'<div class="card wide"><h3>Accuracy on the test set, mean over seeds</h3>{chart}</div>' if chart else "")
        + "</div>"
    )


def mean_curve(members: Sequence[RunFolder], name: str) -> list[float | None]:
    """A metric over epochs, averaged over runs."""
    histories = [run.history() for run in members]
    epochs = min(len(history) for history in histories)
    found: list[float | None] = []
    for k in range(epochs):
        values = [history[k][name] for history in histories if name in history[k]]
        found.append(statistics.fmean(values) if values else None)
    return found
