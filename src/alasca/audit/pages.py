"""What an audit writes: the table of all labels, and one page to print."""

from __future__ import annotations

import importlib.util
import io
from html import escape
from pathlib import Path

import pandas as pd

from alasca.audit.comparison import data_of
from alasca.audit.layout import page_of
from alasca.audit.summary import PAIRS, Summary, told
from alasca.files import digest, write_bytes
from alasca.runs import Records, RunFolder

ISSUES, PAGE = "issues.csv", "summary.html"
WRITTEN = ".issues.sha256"
"""Digest of issues.csv as it was written: another one says that a person edited it."""
SHOWN = 25
"""Rows of each table on the page."""


def write_issues(records: Records, folder: Path) -> list[Path]:
    """Write issues.csv, a row a sample in the order of the data, and, where pyarrow is there, issues.parquet.

    Where a person edited issues.csv since it was written, nothing is written, and nothing returned.

    cleanlab's four columns come first, labels in them as whole numbers; then ours, with the classes' names.
    """
    table = records.table().drop(columns="true_label", errors="ignore")  # for evaluation only
    names = {name: table.pop(f"{name}_label") for name in ("given", "predicted", "suggested")}
    table.insert(2, "given_label", records.given)
    table.insert(3, "predicted_label", records.predicted)
    for place, name in enumerate(names, 5):
        table.insert(place, name, names[name])
    mark = folder / WRITTEN
    if (folder / ISSUES).is_file() and mark.is_file() and digest(folder / ISSUES) != mark.read_text().strip():
        return []
    write_bytes(folder / ISSUES, table.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode())
    write_bytes(mark, digest(folder / ISSUES).encode())
    found = [folder / ISSUES]
    if importlib.util.find_spec("pyarrow") is not None:
        content = io.BytesIO()
        table.to_parquet(content, index=False)
        write_bytes(folder / "issues.parquet", content.getvalue())
        found.append(folder / "issues.parquet")
    return found


def write_page(run: RunFolder, summary: Summary, records: Records, path: Path, samples: bool = True) -> Path:
    """Write one page to print: the share of wrong labels, the work that a review is, the worst classes and slices.

    Args:
        run: whose.
        summary, records: of it.
        path: of the page.
        samples: whether the most suspicious samples are named.
    """
    lines = "".join(f"<p>{escape(line)}</p>" for line in told(summary, records))
    body = [f'<div class="card wide">{lines}</div>']
    body.append(block("Classes that are confused", summary.pairs.head(PAIRS)))
    body.append(block("By class", summary.classes))
    body += [block(f"By {name}", table) for name, table in summary.slices.items()]
    if samples and summary.fix + summary.review:
        ranking = [k for k in records.ranking().tolist() if records.issue[k]][:SHOWN]
        body.append(block("Most suspicious labels", pd.DataFrame({
            "sample": [records.ids[k] for k in ranking],
            "given": [records.name(records.given[k]) for k in ranking],
            "suggested": [records.name(records.suggested[k]) for k in ranking],
            "decision": [records.decision[k] for k in ranking],
            "right with probability, at most": [max(0.001, round(float(records.quality[k]), 3)) for k in ranking],
        })))  # fmt: skip
    settings = run.settings()
    page = page_of(
        f"Labels of {data_of(run)}",
        f"{summary.labels:,} labels, judged by alasca {settings['alasca']}, {settings['title']}",
        f'<div class="grid2">{"".join(body)}</div>',
    )
    write_bytes(path, page.encode(errors="backslashreplace"))
    return path


def block(title: str, table: pd.DataFrame) -> str:
    """A titled table; of a long one its first rows."""
    if not len(table):
        return ""
    heads = [str(name).replace("_", " ") for name in table.columns]
    texts = [k for k, name in enumerate(table.columns) if not pd.api.types.is_numeric_dtype(table[name])]
    head = "".join(f"<th{' class=text' if k in texts else ''}>{escape(name)}</th>" for k, name in enumerate(heads))
    body = []
    for row in table.head(SHOWN).itertuples(index=False):
        cells = (
            f'<td{" class=text" if k in texts else ""} data-label="{escape(heads[k])}">{escape(shown(cell))}</td>'
            for k, cell in enumerate(row)
        )
        body.append(f"<tr>{''.join(cells)}</tr>")
    rest = (
        f"<p class='soft'>{SHOWN} of {len(table):,} rows; the others are in the table.</p>"
        if len(table) > SHOWN
        else ""
    )
    return (
        f'<div class="card wide"><h3>{escape(title)}</h3><div class="scroll"><table class="results stacked">'
        f"<tr>{head}</tr>{''.join(body)}</table></div>{rest}</div>"
    )


def shown(cell: object) -> str:
    """A cell for people.

    >>> shown(1234), shown(0.5), shown("cat")
    ('1,234', '0.5', 'cat')
    """
    return f"{cell:,}" if isinstance(cell, (int, float)) else str(cell)
