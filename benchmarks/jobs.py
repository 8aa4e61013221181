"""What the pages about pictures, texts and tables show: every command is run, and what it says goes into the page.

    python benchmarks/jobs.py FOLDER                    # pictures and tables: scikit-learn's digits and wine
    python benchmarks/jobs.py FOLDER --wrench DIR       # texts too: comments of YouTube, from the WRENCH benchmark

A fifth of the labels are made wrong. Counts of what is right are made here, from the true labels.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from pages import put
from PIL import Image
from sklearn.datasets import load_digits, load_wine

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def spoiled(labels: np.ndarray, classes: int, rate: float | np.ndarray = 0.2) -> np.ndarray:
    """The labels, a share of them replaced by another class."""
    rng = np.random.default_rng(0)
    wrong = rng.random(len(labels)) < rate
    return np.where(wrong, (labels + rng.integers(1, classes, len(labels))) % classes, labels)


def pictures(folder: Path) -> Mapping[str, str]:
    """Digits in a folder a class, and 200 new ones in one folder; true classes by the name of the file."""
    bunch = load_digits()
    given = spoiled(bunch.target, 10)
    for k, (pixels, label) in enumerate(zip(bunch.images, given, strict=True)):
        path = folder / ("new" if k >= 1597 else f"photos/{DIGITS[label]}") / f"{k:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15.9).astype(np.uint8)).save(path)
    return {f"{k:04d}.png": DIGITS[label] for k, label in enumerate(bunch.target)}


def tables(folder: Path) -> Mapping[str, str]:
    """Wine with the labels of two laboratories, of which one errs in 5% and the other in 35%; true ones by the id."""
    x, y = load_wine(return_X_y=True, as_frame=True)
    lab = np.where(np.arange(len(y)) % 2, "north", "south")
    given = spoiled(y.to_numpy(), 3, np.where(lab == "north", 0.05, 0.35))
    ids = [f"w{k:03d}" for k in range(len(y))]
    x = x.assign(lab=lab, sample=ids, label=np.array(["Barolo", "Grignolino", "Barbera"])[given])
    x.to_csv(folder / "wine.csv", index=False)
    x.head(20).drop(columns=["label", "sample"]).to_csv(folder / "new.csv", index=False)
    return dict(zip(ids, np.array(["Barolo", "Grignolino", "Barbera"])[y], strict=True))


def texts(folder: Path, source: Path) -> Mapping[str, str]:
    """Comments, a fifth with the other label; true ones by the row."""
    rows = list(json.loads(source.read_text()).values())
    names = np.array(["ham", "spam"])
    true = np.array([int(row["label"]) for row in rows])
    found = pd.DataFrame({"text": [row["data"]["text"] for row in rows], "label": names[spoiled(true, 2)]})
    found.to_csv(folder / "comments.csv", index=False)
    return {str(k): names[label] for k, label in enumerate(true)}


def commands(job: str) -> list[str]:
    """What is typed, in order."""
    if job == "pictures":
        return [
            "alasca clean photos/ --out runs/photos",
            "alasca repair runs/photos --dry-run | head -4",
            "alasca audit runs/photos --sample 100",
            "alasca predict runs/photos new/ --out new.csv",
            "head -3 new.csv | cut -c1-72",
            "alasca export runs/photos",
            "ls runs/photos/export-torch",
        ]
    if job == "texts":
        return [
            "alasca clean comments.csv --input text --out runs/comments",
            "head -4 runs/comments/repaired/changes.csv",
            'alasca predict runs/comments "check out my channel" "this song is so sad"',
        ]
    return [
        "alasca clean wine.csv --id sample --out runs/wine",
        "alasca audit runs/wine --by lab",
        "head -4 runs/wine/repaired/changes.csv",
        "alasca predict runs/wine new.csv --out predicted.csv",
        "head -3 predicted.csv",
    ]


def shown(folder: Path, command: str) -> str:
    """A command and what it says, as in a terminal of 100 columns."""
    environment = {**os.environ, "COLUMNS": "100", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, check=True, capture_output=True, text=True, env=environment
    )
    said = done.stdout
    if " clean " in command:
        said = said[said.index("About ") :]
    return f"$ {command}\n{said}"


def right(folder: Path, run: str, truth: Mapping[str, str]) -> str:
    """How right the changes are."""
    with (folder / run / "issues.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    true = [truth[Path(row["id"]).name] for row in rows]
    wrong = [row["given"] != name for row, name in zip(rows, true, strict=True)]
    fixed = [row["suggested"] if row["decision"] == "fix" else row["given"] for row in rows]
    left = sum(found != name for found, name in zip(fixed, true, strict=True))
    return f"{sum(wrong)} of these {len(rows):,} labels were wrong; of those in the new copy {left}.\n"


def main() -> None:
    """Make data, run commands, write pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wrench", type=Path, help="folder with youtube/train.json")
    parser.add_argument("--only", choices=["pictures", "texts", "tables"])
    given = parser.parse_args()
    jobs: dict[str, Callable[[Path], Mapping[str, str]]] = {"pictures": pictures, "tables": tables}
    if given.wrench:
        jobs["texts"] = lambda folder: texts(folder, given.wrench / "youtube" / "train.json")
    for job, make in jobs.items():
        if given.only not in (None, job):
            continue
        folder = given.folder / job
        folder.mkdir(parents=True)
        truth = make(folder)
        for k, command in enumerate(commands(job)):
            put(f"{job}-{k}", f"```\n{shown(folder, command)}```\n", f"{job}.md")
        run = shlex.split(commands(job)[0])[-1]
        put(f"{job}-right", right(folder, run, truth), f"{job}.md")


if __name__ == "__main__":
    main()
