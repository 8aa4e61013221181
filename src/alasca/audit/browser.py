"""Every issue of a run, to look through in the report: filters, order, pages, a larger view, a list to copy."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from alasca.runs import Records

LISTED = 20_000
"""Issues in a page, at most."""
SIDE = 96
"""Pixels of the longer side of a picture in the page, at most."""


def browser(
    records: Records, pictures: Mapping[int, np.ndarray], excerpts: Mapping[int, str], number: int, still: str
) -> str:
    """The part of a page that lists the labels that look wrong, most suspicious first.

    Args:
        records: of a finished run.
        pictures, excerpts: of samples, by row.
        number: of the part in its page.
        still: what is shown where scripts do not run, and in print.
    """
    marked = records.issue | (records.given < 0)
    rows = [k for k in records.ranking().tolist() if marked[k]]
    listed = [entry(records, k, pictures, excerpts) for k in rows[:LISTED]]
    name = f"issues-{number}"
    data = json.dumps({"classes": list(records.classes), "rows": listed}, allow_nan=False)
    more = f"<p class='soft'>The {LISTED:,} most suspicious of {len(rows):,}.</p>" if len(rows) > LISTED else ""
    without = sum("picture" not in row for row in listed) if pictures else 0
    if without:
        more += f"<p class='soft'>{without:,} of them without a picture: a run keeps those of the most suspicious.</p>"
    return (
        f'<script type="application/json" id="{name}">{data.replace("<", chr(92) + "u003c")}</script>'
        f'<div class="issues" data-issues="{name}"><div class="controls">'
        + choice("given", "given", [("", "any class")])
        + choice("suggested", "suggested", [("", "any class")])
        + choice("decision", "decision", [("", "fix and review"), ("fix", "fix"), ("review", "review")])
        + choice("order", "order", [
            ("quality", "most suspicious"), ("sure", "surest suggestion"), ("pair", "classes"), ("id", "name"),
        ])
        + '<label>find <input name="search" type="search" placeholder="name or text"></label>'
        '<button name="copy">Copy the list</button></div>'
        f'<div class="shown"></div><div class="still">{still}</div>'
        '<div class="pager"><button name="back">Back</button> <span class="said"></span> <button name="on">On</button>'
        f"</div></div>{more}"
    )  # fmt: skip


def entry(records: Records, k: int, pictures: Mapping[int, np.ndarray], excerpts: Mapping[int, str]) -> dict[str, Any]:
    """What the page knows of a sample."""
    quality, sure = records.quality[k], records.suggested_probability[k]
    found: dict[str, Any] = {
        "id": records.ids[k],
        "given": int(records.given[k]),
        "suggested": int(records.suggested[k]),
        "decision": str(records.decision[k]),
        "quality": round(float(quality), 4) if np.isfinite(quality) else 0.0,
        "sure": round(float(sure), 4) if np.isfinite(sure) else 0.0,
    }
    if records.true is not None and records.true[k] >= 0:
        found["true"] = int(records.true[k])
    if k in pictures:
        found["picture"] = inline(pictures[k])
    if k in excerpts:
        found["text"] = excerpts[k]
    return found


def choice(name: str, label: str, options: list[tuple[str, str]]) -> str:
    """A list to choose one of."""
    listed = "".join(f'<option value="{value}">{escape(text)}</option>' for value, text in options)
    return f'<label>{label} <select name="{name}">{listed}</select></label>'


def inline(picture: np.ndarray) -> str:
    """A picture ``[C, H, W]`` uint8 as a URL that holds it: exact where it is small, else shrunk and compressed."""
    from PIL import Image

    pixels = picture[0] if picture.shape[0] < 3 else picture[:3].transpose(1, 2, 0)
    made, file = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    kind = "png" if max(made.size) <= SIDE // 2 else "jpeg"
    made.thumbnail((SIDE, SIDE))
    made.save(file, kind, **({"quality": 82} if kind == "jpeg" else {}))
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
