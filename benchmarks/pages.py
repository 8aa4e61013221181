"""Tables of the documentation, between markers that name the script which made them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "methods.md"


def put(name: str, text: str) -> None:
    """Put a table between the markers of a name in ``docs/methods.md``."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    page, count = re.subn(f"{begin}.*?{end}", lambda _: begin + text + end, PAGE.read_text(), flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{PAGE}: {count} places for {name}, expected 1")
    PAGE.write_text(page)


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
