"""What README shows of ``alasca clean``: ``python docs/demo_clean.py FOLDER`` makes the pictures, runs it, counts.

The pictures are scikit-learn's digits in a folder a class, a fifth of them in a wrong one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

README = Path(__file__).parent.parent / "README.md"
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def main(folder: Path) -> None:
    """Make pictures, clean them, put what was said into the README, and say how right it was."""
    bunch, rng = load_digits(), np.random.default_rng(0)
    given = bunch.target.copy()
    wrong = rng.permutation(len(given))[: len(given) // 5]
    given[wrong] = (given[wrong] + rng.integers(1, 10, len(wrong))) % 10
    for k, (pixels, label) in enumerate(zip(bunch.images, given, strict=True)):
        path = folder / "photos" / NAMES[label] / f"{k:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15.9).astype(np.uint8)).save(path)
    command = [sys.executable, "-m", "alasca.cli", "clean", "photos/", "--out", "runs/photos"]
    said = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    told = said[said.index("About ") :]
    begin, end = "<!-- clean:begin -->\n", "<!-- clean:end -->"
    text, count = re.subn(
        f"{begin}.*?{end}", lambda _: f"{begin}```\n{told}```\n{end}", README.read_text(), flags=re.DOTALL
    )
    if count != 1:
        raise ValueError("README.md has no place for it")
    README.write_text(text)
    tree = folder / "runs" / "photos" / "repaired" / "photos"
    left = [path for path in tree.rglob("*.png") if NAMES[bunch.target[int(path.stem)]] != path.parent.name]
    print(said, f"wrong before: {len(wrong)}, after: {len(left)} of {len(given)}", sep="\n")


main(Path(sys.argv[1]))
