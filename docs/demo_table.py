"""Put the demo's table and a picture's source into the README: ``python docs/demo_table.py runs/demo-...``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from alasca.audit.comparison import grouped, table_rows
from alasca.runs import RunFolder

README = Path(__file__).parent.parent / "README.md"


def main(folder: Path) -> None:
    """Rewrite what stands between the README's markers."""
    runs = [RunFolder.open(entry.parent) for entry in sorted(folder.glob("*/run.json"))]
    heads, rows = table_rows(grouped(runs))
    lines = [" | ".join(cells) for cells in (heads, ["---"] * len(heads), *rows)]
    table = "".join(f"| {line} |\n" for line in lines)
    text = README.read_text()
    begin, end = "<!-- demo:begin -->\n", "<!-- demo:end -->"
    README.write_text(re.sub(f"{begin}.*?{end}", lambda _: begin + table + end, text, flags=re.DOTALL))
    print(table)


main(Path(sys.argv[1]))
