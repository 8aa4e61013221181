"""The report: one self-contained HTML file about one run or several, made from run folders alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from alasca.audit.browser import browser, inline
from alasca.audit.charts import histogram, lines, matrix
from alasca.audit.comparison import comparisons, data_of, figures, grouped
from alasca.audit.layout import page_of
from alasca.errors import InputError
from alasca.files import write_bytes
from alasca.runs import Records, RunFolder
from alasca.terminal import typed

MATRIX_CLASSES = 25


def write_report(runs: Sequence[RunFolder], path: Path) -> Path:
    """Write the report on runs to `path`; of one that has not ended, what there is of it.

    Raises:
        InputError: no run, or one that has not ended its first epoch.
    """
    if not runs:
        raise InputError("report: no run given; expected one or more run folders")
    groups = grouped(runs)
    many = len(runs) > 1
    noise = runs[0].settings()["recipe"]["noise"]
    noise = "" if noise == "none" else f", {noise} noise"
    body = comparisons(runs) if many else []
    body += [section(label, members[0], many, k) for k, (label, members) in enumerate(groups.items())]
    page = page_of(
        f"Label noise report: {data_of(runs[0])}{noise}",
        f"{len(runs)} run{'s' if many else ''}, made by alasca {runs[0].settings()['alasca']}",
        "".join(body),
        files("alasca.audit").joinpath("report.js").read_text(),
    )
    write_bytes(path, page.encode(errors="backslashreplace"))
    return path


def section(label: str, run: RunFolder, many: bool, number: int = 0) -> str:
    """One run: settings, curves, confidence, suspicious samples, given against suggested labels."""
    history, described, done = run.history(), run.settings(), figures(run)
    heading = f"{label}, seed {described['recipe']['seed']}" if many else label
    notes = noted(described.get("notes", ()))
    cards = [
        card("Accuracy over epochs", curves(history)),
        *([card("Labels that training kept, over epochs", choices(history))] if "selected" in history[-1] else []),
    ]
    words = (
        f"It has ended {len(history)} of {described['recipe']['epochs']} epochs, and what it thinks of each label is "
        f"written at its end: <code>alasca resume {escape(typed(run.path))}</code> goes on."
    )
    if run.finished:
        records = run.records()
        words, pictures, excerpts = found_in(records), run.pictures(), run.excerpts()
        cards += [
            card("How sure the network was of the given labels", confidences(records)),
            card(
                "Labels that look wrong",
                browser(records, pictures, excerpts, number, suspects(records, pictures, excerpts)),
                wide=True,
            ),
            card("Given and suggested labels", matrix_of(records), wide=True),
        ]
    cards.append(card("Settings", settings_list(described, done), wide=True))
    return f'<h2>{escape(heading)}</h2><p>{words}</p>{notes}<div class="grid2">{"".join(cards)}</div>'


def found_in(records: Records) -> str:
    """How many labels look wrong and, where the truth is known, how right that is."""
    flagged, total = int(records.issue.sum()), int((records.given >= 0).sum())
    fix = int((records.decision == "fix").sum())
    known = ""
    if records.true is not None:
        wrong = (records.given != records.true) & records.judged
        hit = int((wrong & records.issue).sum())
        right = int(((records.suggested == records.true) & wrong & records.issue).sum())
        known = f" {int(wrong.sum())} are wrong in truth: {hit} of them were found, and {right} suggestions are right."
    if total < len(records.given):
        known += (
            f" {len(records.given) - total} of {len(records.given)} samples have no label: the network suggests one."
        )
    return (
        f"{flagged} of {total} labels look wrong: {fix} are sure enough to be changed (fix), {flagged - fix} doubtful "
        f"(review).{known} The whole table is in "
        "<code>samples.csv</code>."
    )


def card(title: str, content: str, wide: bool = False) -> str:
    """A titled box."""
    return f'<div class="card{" wide" if wide else ""}"><h3>{escape(title)}</h3>{content}</div>'


def curves(history: list[dict[str, Any]]) -> str:
    """Accuracies over epochs, against true and given labels."""
    names = (
        ("test, true labels", "a", "test_accuracy"), ("training, true labels", "c", "train_true_accuracy"),
        ("training, given labels", "d", "train_accuracy"), ("wrong labels memorised", "b", "memorised"),
    )  # fmt: skip
    if not any("test_accuracy" in record for record in history):
        names = (("held out, given labels", "a", "val_accuracy"), *names[1:])
    series = [(text, css, [record.get(key) for record in history]) for text, css, key in names]
    return lines("Accuracy", [one for one in series if any(value is not None for value in one[2])], "accuracy, %")


def choices(history: list[dict[str, Any]]) -> str:
    """What a method that chooses samples learned from, over epochs; how good that was where true labels are known."""
    names = (
        ("F-score of the kept labels", "a", "selection_f1"), ("right among the kept", "c", "selection_precision"),
        ("kept among the right", "d", "selection_recall"), ("all labels: kept", "b", "selected"),
    )  # fmt: skip
    series = [(text, css, [record.get(key) for record in history]) for text, css, key in names]
    return lines("Kept labels", [one for one in series if any(value is not None for value in one[2])], "percent")


def confidences(records: Records) -> str:
    """Histogram of confidence in the given label, split by truth where it is known."""
    confidence = records.extra.get("ema_confidence")
    values = records.extra["mean_probability"] if confidence is None else confidence
    name = "mean probability of the given label over training" if confidence is None else "EMA confidence"
    if records.true is None:
        return histogram("Confidence", [("all samples", "a", values[np.isfinite(values)])], name)
    wrong = records.given != records.true
    known = records.judged
    groups = [("rightly labelled", "a", values[~wrong & known]), ("wrongly labelled", "b", values[wrong & known])]
    return histogram("Confidence", groups, name)


def noted(notes: Sequence[str]) -> str:
    """What a person should know of how the data were read; folded away where it is much."""
    lines = "".join(f"<p class='soft'>{escape(note)}</p>" for note in notes)
    if sum(map(len, notes)) <= 300:
        return lines
    return f"<details><summary>How the data were read: {len(notes)} notes</summary>{lines}</details>"


def suspects(records: Records, pictures: Mapping[int, np.ndarray], excerpts: Mapping[int, str]) -> str:
    """The most suspicious samples: as pictures where the run kept them, else as a list."""
    ranking = records.ranking()
    if not pictures:
        return suspect_list(records, ranking[:24].tolist(), excerpts)
    shown = [k for k in ranking.tolist() if k in pictures][:36]
    figures = ""
    for k in shown:
        picture = f'<img alt="{escape(records.ids[k])}" src="{inline(pictures[k])}">'
        figures += f"<figure>{picture}{caption(records, k)}</figure>"
    return f'<div class="pictures">{figures}</div>'


def suspect_list(records: Records, rows: list[int], excerpts: Mapping[int, str]) -> str:
    """Some samples as a table, with the beginnings of their texts where there are such."""
    lines: list[dict[str, str]] = []
    for k in rows:
        text = {"text": excerpts.get(k, "")} if excerpts else {}
        given, suggested = records.name(records.given[k]), records.name(records.suggested[k])
        true = {} if records.true is None else {"true": records.name(records.true[k])}
        quality = f"{records.quality[k]:.3f}"
        lines.append(
            {"sample": records.ids[k], **text, "given": given, "suggested": suggested, **true, "quality": quality}
        )
    head = "".join(f'<th class="{name}">{name}</th>' for name in lines[0])
    body = "".join(
        "<tr>" + "".join(f'<td class="{n}" data-label="{n}">{escape(v)}</td>' for n, v in line.items()) + "</tr>"
        for line in lines
    )
    return f'<div class="scroll"><table class="results stacked"><tr>{head}</tr>{body}</table></div>'


def caption(records: Records, k: int) -> str:
    """Given and suggested label of one sample, and the true one where it is known."""
    given, suggested = records.name(records.given[k]), records.name(records.suggested[k])
    true = "" if records.true is None else f"<br>true {escape(records.name(records.true[k]))}"
    better = f"<br>suggested <b>{escape(suggested)}</b>" if records.issue[k] else "<br>kept"
    return f"<figcaption>given <b>{escape(given)}</b>{better}{true}</figcaption>"


def matrix_of(records: Records) -> str:
    """Counts of given against suggested labels; the classes with the most issues where there are many."""
    size = len(records.classes)
    counts = np.zeros((size, size), dtype=int)
    labelled = records.given >= 0
    np.add.at(counts, (records.given[labelled], records.suggested[labelled]), 1)
    if size <= MATRIX_CLASSES:
        return matrix(counts, records.classes, "given label", "suggested label")
    moved = counts - np.diag(np.diag(counts))
    top = np.sort(np.argsort(-(moved.sum(0) + moved.sum(1)), kind="stable")[:MATRIX_CLASSES])
    note = f"<p class='soft'>The {MATRIX_CLASSES} of {size} classes with the most issues.</p>"
    return note + matrix(counts[np.ix_(top, top)], [records.classes[k] for k in top], "given label", "suggested label")


def settings_list(described: Mapping[str, Any], done: dict[str, Any]) -> str:
    """The settings and final figures of a run."""
    settings = dict(described["recipe"])
    settings["options"] = ", ".join(f"{k} = {v}" for k, v in settings["options"].items()) or "defaults"
    rows = {**settings, **described["place"], **{f"machine: {k}": v for k, v in described["machine"].items()}}
    rows |= {name: round(value, 4) if isinstance(value, float) else value for name, value in done.items()}
    items = "".join(f"<dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd>" for k, v in rows.items() if v is not None)
    return f'<details><summary>All settings and figures</summary><dl class="settings">{items}</dl></details>'
