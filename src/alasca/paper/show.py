"""Tables for people: in a terminal, and as a page in Markdown. Every figure in them comes from a finished cell."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from alasca.errors import InputError
from alasca.files import reason, write_bytes
from alasca.paper.experiments import EAGER, Table
from alasca.paper.numbers import printed
from alasca.paper.outcomes import Outcome
from alasca.paper.protocols import Protocol
from alasca.paper.reading_choice import readings_grid, verdict
from alasca.paper.readings import READINGS
from alasca.paper.results import (
    FIGURES,
    LEAST,
    Measured,
    difference,
    figure_of,
    gain_told,
    measured,
    paper_told,
    told,
)

WORDS = {"sym": "symmetric", "asym": "asymmetric", "inst": "instance"}


class Grid(NamedTuple):
    """A small table of texts: what it is of, heads, rows."""

    title: str
    heads: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """As Markdown."""
        lines = [self.heads, ["---"] * len(self.heads), *self.rows]
        body = "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n" for cells in lines)
        return f"**{self.title}**\n\n{body}\n" if self.title else f"{body}\n"


def grids(table: Table, protocol: Protocol, outcomes: Mapping[str, Outcome]) -> list[Grid]:
    """A table as people read it: a grid for each data set, then all that is known of the cells that were run."""
    if table.name == READINGS.name:
        return [Grid(*grid) for grid in readings_grid(protocol, outcomes)]
    found = []
    for data in dict.fromkeys(column.partition("/")[0] for column in table.columns):
        columns = [column for column in table.columns if column.partition("/")[0] == data]
        if not protocol.compares:
            columns = [column for column in columns if ran(table, column, protocol, outcomes)]
        if columns:
            found.append(matrix(table, data, columns, protocol, outcomes))
    if table.name == "table7" and (protocol.compares or ran(table, "cifar10/sym40", protocol, outcomes)):
        found.append(efficiency(table, protocol, outcomes))
    if (rest := details(table, protocol, outcomes)).rows:
        found.append(rest)
    return found


def ran(table: Table, column: str, protocol: Protocol, outcomes: Mapping[str, Outcome]) -> bool:
    """Whether any cell of a column was run."""
    cells = (each for (_, at), each in table.cells.items() if at == column)
    return any(measured(protocol, each, outcomes).outcomes for each in cells)


def matrix(
    table: Table, data: str, columns: Sequence[str], protocol: Protocol, outcomes: Mapping[str, Outcome]
) -> Grid:  # fmt: skip
    """Ours / the paper's, a row a method and a column a kind of noise; of a smaller protocol ours alone."""
    numbers, rows = printed(table.name), []
    best = {column: best_row(table, column, protocol, outcomes) for column in columns}
    for row in table.rows:
        cells = [row]
        for column in columns:
            if (row, column) not in table.cells:
                cells.append("")
                continue
            ours = measured(protocol, table.cells[row, column], outcomes)
            text = ended(ours, figure_of(row))
            text = f"**{text}**" if best[column] == row else text
            cells.append(f"{text} / {paper_told(numbers.get((row, column)))}" if protocol.compares else text)
        rows.append(cells)
    names = [column.partition("/")[2] or "last epoch" for column in columns]
    return Grid(f"{protocol.named(data)}{', ours / the paper' if protocol.compares else ''}", ["", *names], rows)


def listing(table: Table, protocol: Protocol, outcomes: Mapping[str, Outcome]) -> list[Grid]:
    """A table for a terminal: a row a cell, and what was not run yet as such."""
    if not table.name.startswith("table"):
        return grids(table, protocol, outcomes) if table.name == READINGS.name else []
    numbers, found = printed(table.name), []
    for data in dict.fromkeys(column.partition("/")[0] for column in table.columns):
        rows = []
        for column in (column for column in table.columns if column.partition("/")[0] == data):
            ours = {row: measured(protocol, table.cells[row, column], outcomes) for row in table.rows}
            for row, one in ours.items():
                values, of = one.values(figure_of(row)), numbers.get((row, column))
                cells = [row, column.partition("/")[2] or "own", ended(one, figure_of(row))]
                adds = gain_told(table, row, column, ours)
                rows.append([*cells, *([paper_told(of), difference(values, of)] if protocol.compares else adds)])
        heads = ["the paper", "difference"] if protocol.compares else ["ALASCA adds", "the paper's"]
        if not any(cell for row in rows for cell in row[3:]):  # a table without pairs
            heads, rows = [], [row[:3] for row in rows]
        found.append(Grid(f"{table.title}: {protocol.named(data)}", ["row", "noise", "ours", *heads], rows))
    return found


def ended(ours: Measured, figure: str) -> str:
    """A figure over seeds, or how many runs have none because their loss left the numbers."""
    return f"{ours.failed} of {len(ours.outcomes)} diverged" if ours.failed else told(ours.values(figure))


def best_row(table: Table, column: str, protocol: Protocol, outcomes: Mapping[str, Outcome]) -> str | None:
    """The row with the highest mean, once all that are there have enough seeds; rows of best epochs do not count."""
    means = {}
    for row in table.rows:
        if (row, column) in table.cells and figure_of(row) == "last":
            ours = measured(protocol, table.cells[row, column], outcomes)
            values = ours.values("last")
            if len(values) < LEAST or ours.failed:
                return None
            means[row] = statistics.fmean(values)
    return max(means, key=lambda row: means[row]) if len(means) > 1 else None


def details(table: Table, protocol: Protocol, outcomes: Mapping[str, Outcome]) -> Grid:
    """A row for each cell that was run: all figures, the difference, what ALASCA adds."""
    numbers, rows = printed(table.name), []
    for column in table.columns:
        ours = {
            row: measured(protocol, table.cells[row, column], outcomes)
            for row in table.rows if (row, column) in table.cells
        }  # fmt: skip
        for row, one in ours.items():
            if not one.outcomes:
                continue
            primary = one.values(figure_of(row))
            cells = [column, row, ended(one, figure_of(row))]
            if protocol.compares:
                of = numbers.get((row, column))
                cells += [paper_told(of), difference(primary, of)]
            cells += [told(one.values(name)).partition(" (")[0] for name in ("chosen", "last20", "average", "all")]
            cells += [*gain_told(table, row, column, ours), noise_told(one)]
            rows.append(cells)
    paper = ["the paper", "difference"] if protocol.compares else []
    more = [FIGURES[name] for name in ("chosen", "last20", "average", "all")]
    heads = ["data and noise", "row", FIGURES["last"], *paper, *more, "ALASCA adds", "the paper's", "labels wrong"]
    short = protocol.epochs is not None and protocol.epochs < 40  # the last 20 are most of it
    used = [
        k for k, head in enumerate(heads)
        if any(row[k] not in ("", "-") for row in rows) and not (short and head == FIGURES["last20"])
    ]  # fmt: skip
    return Grid("All cells that were run", [heads[k] for k in used], [[row[k] for k in used] for row in rows])


def looks_grid(table: Table, protocol: Protocol, outcomes: Mapping[str, Outcome]) -> Grid:
    """What a figure of Jacobian norms or confidence comes to at the end, right and wrong labels apart."""
    rows = []
    for (row, column), each in table.cells.items():
        runs = [run for run in measured(protocol, each, outcomes).outcomes if run["looks"] and each.looks]
        ends = [run["looks"][-1] for run in runs if "noisy" in run["looks"][-1].get("total", {})]
        if not ends:
            continue
        clean, noisy = ([end["total"][group] for end in ends] for group in ("clean", "noisy"))
        cells = [mean_of([a / b for a, b in zip(clean, noisy, strict=True)])]
        cells += [mean_of([end[name][-1] for end in ends]) for name in ("test_entropy", "test_calibration")]
        for name in ("instant", "ema"):
            late = [look[name] for run in runs for look in run["looks"][len(run["looks"]) // 2 :] if name in look]
            cells += [mean_of([one[key] for one in late if key in one]) for key in ("auroc", "change")]
        rows.append([row, column, mean_of(clean), mean_of(noisy), *cells, str(len(ends))])
    heads = ["", "data and noise", "R(x), clean", "R(x), noisy", "clean / noisy", "entropy", "calibration error",
             "AUROC, one visit", "its change an epoch", "AUROC, averaged", "its change", "runs"]  # fmt: skip
    used = [k for k in range(len(heads)) if any(row[k] != "-" for row in rows)]
    return Grid("At the end, mean over runs", [heads[k] for k in used], [[row[k] for k in used] for row in rows])


def mean_of(values: Sequence[float]) -> str:
    """A mean of three digits; "-" of nothing."""
    return f"{statistics.fmean(values):.3g}" if values else "-"


def noise_told(one: Measured) -> str:
    """Share of labels that were wrong."""
    rates = [outcome["noise_rate"] for outcome in one.outcomes if outcome["noise_rate"] is not None]
    return f"{100 * statistics.fmean(rates):.1f}%" if rates else "-"


def efficiency(table: Table, protocol: Protocol, outcomes: Mapping[str, Outcome]) -> Grid:
    """Memory and time of whole trainings, as ratios to Standard's on such a device; eager and recorded ones apart."""
    numbers = printed(table.name)
    sources = {"memory, eager": (EAGER, "peak_bytes", "memory"), "time, eager": (EAGER, "seconds", "time"),
               "time": ("cifar10/sym40", "seconds", "time")}  # fmt: skip
    rows: list[list[str]] = []
    base: dict[str, dict[str, float]] = {}
    for row in table.rows:
        cells = [row]
        for head, (column, name, theirs) in sources.items():
            runs = measured(protocol, table.cells[row, column], outcomes).outcomes
            if head == "time" and protocol.compares:
                runs = tuple(run for run in runs if run["eager_because"] is None)
            values: dict[str, list[float]] = {}
            for run in runs:
                if run[name]:  # type: ignore[literal-required]  # both are fields
                    values.setdefault(run["machine"]["device"], []).append(float(run[name]))  # type: ignore[literal-required]
            means = {device: statistics.fmean(found) for device, found in values.items()}
            base.setdefault(head, means)
            ratios = [means[device] / base[head][device] for device in means if device in base[head]]
            text = f"{statistics.fmean(ratios):.2f}" if ratios else "-"
            cells.append(f"{text} / {paper_told(numbers.get((row, theirs)))}" if protocol.compares else text)
        rows.append(cells)
    return Grid("Whole trainings, as ratios", ["", *sources], rows)


def page_of(
    tables: Sequence[Table], protocol: Protocol, outcomes: Mapping[str, Outcome], figures: Mapping[str, str]
) -> str:  # fmt: skip
    """All tables and figures as Markdown.

    Args:
        tables: what is shown.
        protocol, outcomes: ours.
        figures: drawn ones: paths of SVG files by name, as the page refers to them.
    """
    parts, none = [f"{protocol.title}\n\n"], []
    for table in tables:
        title = re.sub(r"^(table|figure)(\d+)$", r"\1 \2", table.name)
        run = any(measured(protocol, each, outcomes).outcomes for each in table.cells.values())
        picture = f"![{table.title}]({figures[table.name]})\n\n" if table.name in figures else ""
        if table.name.startswith("figure") and not picture:
            none += [title]
            continue
        if not run and not protocol.compares:
            none += [title]
            continue
        notes = "".join(f"{note}\n\n" for note in table.notes)
        shown = grids(table, protocol, outcomes) if not picture else [looks_grid(table, protocol, outcomes)]
        body = "".join(grid.markdown() for grid in shown if grid.rows)
        said = f"{verdict(protocol, outcomes)}\n\n" if table.name == READINGS.name else ""
        parts.append(f"### {title.capitalize()}. {table.title}\n\n{notes}{said}{picture}{body}")
    if none:
        parts.append(f"Not run at this size yet: {', '.join(none)}.\n")
    return "".join(parts)


def put_page(path: Path, protocol: str, text: str) -> None:
    """Put a protocol's part into a page between its markers; a page that is not there yet is made.

    Raises:
        InputError: a page without such markers, which is somebody's own.
    """
    begin, end = f"<!-- {protocol}:begin -->\n", f"<!-- {protocol}:end -->"
    try:
        known = path.read_text(encoding="utf-8") if path.exists() else f"# The paper's tables\n\n{begin}{end}\n"
    except (OSError, ValueError) as error:
        raise InputError(f"page: {path} can't be read ({reason(error)})") from error
    page, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}{text}{end}", known, flags=re.DOTALL)
    if count != 1:
        raise InputError(f"page: {path} has {count} places for {protocol}, expected one: {begin.strip()} and {end}")
    write_bytes(path, page.encode())
