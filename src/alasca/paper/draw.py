"""The paper's figures, drawn from recorded runs with the paper's axes; means over the seeds that there are."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alasca.methods import method_of
from alasca.paper.catalogue import ALL
from alasca.paper.drawing import Line, Panel, bar_panel, histogram_panel, line_panel, sheet
from alasca.paper.experiments import Table
from alasca.paper.numbers import printed
from alasca.paper.outcomes import Outcome
from alasca.paper.protocols import Protocol
from alasca.paper.results import Measured, figure_of, gain, measured, partner
from alasca.recipe import Recipe

Runs = Mapping[tuple[str, str], Sequence[Outcome]]
"""Our runs by row and column."""


def draw_figure(name: str, protocol: Protocol, outcomes: Mapping[str, Outcome]) -> str | None:
    """A figure as SVG; None where no run of it is there yet, or none that kept what it needs."""
    table = ALL[name]
    runs = {key: measured(protocol, each, outcomes).outcomes for key, each in table.cells.items()}
    panels = DRAWN[name](table, {key: found for key, found in runs.items() if found}, protocol)
    return sheet(panels) if panels else None


def mean_of(runs: Sequence[Outcome], read: Callable[[dict[str, Any]], float | None]) -> tuple[list[float], list[float]]:
    """Epochs, counted from 1, and a figure of each look, mean over runs that have it."""
    found: dict[int, list[float]] = {}
    for run in runs:
        for look in run["looks"]:
            value = read(look)
            if value is not None:
                found.setdefault(look["epoch"] + 1, []).append(value)
    return [float(epoch) for epoch in sorted(found)], [statistics.fmean(found[epoch]) for epoch in sorted(found)]


def stages_in(runs: Runs) -> int:
    """How many stages the runs' networks have."""
    return max(
        (
            len(look["jacobian"].get("clean", ()))
            for found in runs.values()
            for run in found
            for look in run["looks"]
            if "jacobian" in look
        ),
        default=0,
    )


def norms(runs: Runs, stage: int | None, title: str) -> Panel:
    """Jacobian norms at a stage, or of all (None), of samples with right and with wrong labels."""
    lines = []
    for k, ((row, _), found) in enumerate(runs.items()):
        for group in ("clean", "noisy"):

            def read(look: dict[str, Any], group: str = group) -> float | None:
                values = look.get("total" if stage is None else "jacobian", {}).get(group)
                return None if values is None else float(values if stage is None else values[stage])

            xs, ys = mean_of(found, read)
            lines.append(Line(f"{row}, {group}", xs, ys, (), k, group == "noisy"))
    return line_panel(title, lines, "epoch", "mean Jacobian norm")


def final(found: Sequence[Outcome]) -> float | None:
    """Test accuracy of the main classifier after the last epoch; None where all runs diverged."""
    values = Measured(tuple(found)).values("last")
    return statistics.fmean(values) if values else None


def accuracies(runs: Runs) -> Panel:
    """Final test accuracies, a bar a row."""
    rows = [row for row, _ in runs]
    return bar_panel("Test accuracy", rows, [("last epoch", 0, [final(found) for found in runs.values()])], "%")


def last_stages(table: Table, runs: Runs, protocol: Protocol) -> list[Panel]:
    """Figure 1: the last two stages, and accuracy."""
    count = stages_in(runs)
    panels = [norms(runs, stage, f"Stage {stage + 1}") for stage in range(max(0, count - 2), count)]
    return [*panels, accuracies(runs)] if panels else []


def all_stages(table: Table, runs: Runs, protocol: Protocol) -> list[Panel]:
    """Figures 6 and 7: every stage, and all of them together."""
    count = stages_in(runs)
    panels = [norms(runs, stage, f"Stage {stage + 1}") for stage in range(count)]
    return [*panels, norms(runs, None, "All stages, R(x)")] if panels else []


def over_epochs(runs: Runs, name: str, title: str, y_label: str) -> Panel:
    """A figure of the main classifier on test samples over epochs."""
    lines = []
    for k, ((row, _), found) in enumerate(runs.items()):
        xs, ys = mean_of(found, lambda look: look[name][-1] if name in look else None)
        lines.append(Line(row, xs, ys, (), k))
    return line_panel(title, lines, "epoch", y_label)


def accuracy_over_epochs(runs: Runs) -> Panel:
    """Test accuracy of the main classifier over epochs, on the whole test set."""
    lines = []
    for k, ((row, _), found) in enumerate(runs.items()):
        values = [each for run in found if (each := main_accuracies(run))]
        count = min(map(len, values), default=0)
        ys = [statistics.fmean(each[epoch] for each in values) for epoch in range(count)]
        lines.append(Line(row, [float(epoch + 1) for epoch in range(count)], ys, (), k))
    return line_panel("Test accuracy", lines, "epoch", "%")


def main_accuracies(run: Outcome) -> list[float]:
    """Test accuracy of the main classifier after every epoch."""
    return run["epochs"].get("test_accuracy_main", run["epochs"].get("test_accuracy", []))


def main_or_sub(table: Table, runs: Runs, protocol: Protocol) -> list[Panel]:
    """Figure 2: Jacobian norms, accuracy, and how smooth the main classifier becomes."""
    if not stages_in(runs):
        return []
    return [
        norms(runs, None, "All stages, R(x)"), accuracy_over_epochs(runs),
        over_epochs(runs, "test_entropy", "Entropy of the main classifier", "nats"),
        over_epochs(runs, "test_calibration", "Calibration error of the main classifier", "expected error"),
    ]  # fmt: skip


def confidences(table: Table, runs: Runs, protocol: Protocol) -> list[Panel]:
    """Figures 3 and 9: confidence in the given label of one visit, and averaged, mean ± standard deviation."""
    panels = []
    for (_, column), found in runs.items():
        for name, title in (("instant", "one visit"), ("ema", "averaged")):
            lines = []
            for k, group in enumerate(("clean", "noisy")):

                def read(look: dict[str, Any], part: int, name: str = name, group: str = group) -> float | None:
                    values = look.get(name, {}).get(group)
                    return None if values is None else float(values[part])

                xs, ys = mean_of(found, lambda look: read(look, 0))  # used at once
                spread = mean_of(found, lambda look: read(look, 1))[1]  # likewise
                lines.append(Line(group, xs, ys, spread, k))
            if len(lines[0].xs) > 1:
                panels.append(line_panel(f"{column}, {title}", lines, "epoch", "confidence", (0.0, 1.0)))
    return panels


def agreement(table: Table, runs: Runs, protocol: Protocol) -> list[Panel]:
    """Figure 4: confidence in right and wrong targets, without and with agreement, before correction begins."""
    panels = []
    for found in runs.values():
        run = found[0]
        begins = warmup_of(run)
        look = next((look for look in run["looks"] if look["epoch"] >= begins - 1 and "target" in look), None)
        if look is not None:
            for name in ("without", "with"):
                counts = [(kind, k, look["target"][name][kind]) for k, kind in enumerate(("right", "wrong"))]
                title = f"{name.capitalize()} agreement, epoch {look['epoch'] + 1}, seed {run['recipe']['seed']}"
                panels.append(histogram_panel(title, counts, "confidence"))
    return panels


def warmup_of(run: Outcome) -> int:
    """The first epoch in which labels are corrected."""
    smoothing = getattr(method_of(Recipe.from_json(run["recipe"])), "smoothing", None)
    return 0 if smoothing is None else smoothing.warmup or 0


def gains(table: Table, runs: Runs, protocol: Protocol) -> list[Panel]:
    """Figure 5: what ALASCA adds to each method, by noise: ours, and the paper's at its own size."""
    panels = []
    for name in ("table4", "table5", "table6"):
        part, numbers = ALL[name], printed(name)
        places = dict.fromkeys((row, column.partition("/")[0]) for row, column in part.cells)
        for row, data in (place for place in places if figure_of(place[0]) == "last"):
            noises, ours, theirs = [], [], []
            for column in (column for column in part.columns if column.startswith(f"{data}/")):
                other = partner(part, row, column)
                if other is None or (row, column) not in runs or (other, column) not in runs:
                    continue
                found = gain(Measured(tuple(runs[row, column])), Measured(tuple(runs[other, column])))
                paper = [numbers[key, column].mean if (key, column) in numbers else None for key in (row, other)]
                noises.append(column.partition("/")[2])
                ours.append(None if found is None else found[0])
                theirs.append(None if paper[0] is None or paper[1] is None else paper[0] - paper[1])
            if noises:
                bars = [("ours", 0, ours), ("the paper's, at its own size", 5, theirs)]
                panels.append(bar_panel(f"{row}, {protocol.named(data)}", noises, bars, "points of accuracy"))
    return panels


def selection(table: Table, runs: Runs, protocol: Protocol) -> list[Panel]:
    """Figure 10: F-score of what Co-teaching keeps, AUC of DivideMix's clean probability, over epochs."""
    panels = []
    for names, figure, title, scale in (
        (("Co-teaching", "A-Coteaching"), "selection_f1", "F-score of the kept labels", 1.0),
        (("DivideMix", "A-DivideMix"), "clean_auroc", "AUC of the clean probability", 100.0),
    ):
        lines = []
        for k, ((row, _), found) in enumerate((key, each) for key, each in runs.items() if key[0] in names):
            values = [run["epochs"][figure] for run in found if figure in run["epochs"]]
            epochs = [k for k in range(min(map(len, values), default=0)) if all(each[k] is not None for each in values)]
            ys = [scale * statistics.fmean(each[k] for each in values) for k in epochs]
            lines.append(Line(row, [float(k + 1) for k in epochs], ys, (), k))
        if any(line.xs for line in lines):
            panels.append(line_panel(title, lines, "epoch", "%"))
    return panels


DRAWN: dict[str, Callable[[Table, Runs, Protocol], list[Panel]]] = {
    "figure1": last_stages, "figure2": main_or_sub, "figure3": confidences, "figure4": agreement, "figure5": gains,
    "figure6": all_stages, "figure7": all_stages, "figure9": confidences, "figure10": selection,
}  # fmt: skip
"""How each figure is drawn."""
