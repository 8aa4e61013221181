"""Tables of the documentation, between markers that name the script which made them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs"


def put(name: str, text: str, page_name: str = "methods.md") -> None:
    """Put a table between the markers of a name in a page of ``docs/``."""
    path = PAGES / page_name
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    page, count = re.subn(f"{begin}.*?{end}", lambda _: begin + text + end, path.read_text(), flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{path}: {count} places for {name}, expected 1")
    path.write_text(page)


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
