"""Which settings suit data of each kind: what ``alasca clean`` and `RobustClassifier` would train with, and others.

    python benchmarks/defaults.py runs/defaults --wrench DIR --jobs 2
    python benchmarks/defaults.py runs/defaults --wrench DIR --jobs 0        # the tables only

Every setting trains on the same labels, as long, and with the same network. Accuracy is that of true labels of samples
that were kept apart, every class counting alike; "wrong left" is the share of wrong labels after every change marked
``fix``. True labels are read by this file alone. Digits as pictures are in ``benchmarks/classifier.py``. Writes
``results/defaults.csv`` and the tables of ``docs/which.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from audit import MADE, TABLES, TEXTS, texts
from pages import ROOT, put, table
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from alasca import Place, Recipe, Task, load, train
from alasca.data import make_split
from alasca.training import resolve, suited

SETTINGS = {
    "ce": {"method": "ce", "alasca": False},
    "elr": {"method": "elr", "alasca": False},
    "ce + ALASCA": {"method": "ce"},
    "elr + ALASCA": {"method": "elr"},
    "gce + ALASCA": {"method": "gce"},
}
EVEN = {"elr + ALASCA, balance 0": {"method": "elr", "balance": 0.0}}
"""Beside these where classes are not equally frequent."""
CHEAP = "cheap"
"""TF-IDF and logistic regression for texts, five nearest neighbours elsewhere."""


def cases(given: argparse.Namespace) -> list[tuple[str, str]]:
    """Data sets and the noise of their labels."""
    names = ["digits as numbers", "uneven digits", *TABLES, *(TEXTS if given.wrench else ())]
    return [(name, noise) for name in names for noise in (*MADE, *(["weak"] if name in TEXTS else []))]


def data_of(name: str, noise: str, seed: int, given: argparse.Namespace) -> tuple[Task, object, np.ndarray, str]:
    """What is trained on, inputs and true labels that were kept apart, and the noise that is to be made."""
    if name in TEXTS:
        folder = Path(given.wrench) / name
        task, made = texts(folder / "train.json", seed, noise)
        rows = json.loads((folder / "test.json").read_text()).values()
        return task, [row["data"]["text"] for row in rows], np.array([int(row["label"]) for row in rows]), made
    x, y = TABLES.get(name, load_digits)(return_X_y=True)
    x = (x / 16).reshape(-1, 8, 8) if name == "uneven digits" else x.astype(np.float32)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.25, stratify=y, random_state=seed)
    if name == "uneven digits":  # of each class 0.7 of the one before: 22 times as many zeros as nines
        rank = pd.Series(y).groupby(y).cumcount().to_numpy()
        kept = rank < np.maximum(5, 130 * 0.7**y)
        x, y = x[kept], y[kept]
    return Task.from_arrays(x, y, truth=y), x_test, y_test, noise


def one(name: str, noise: str, seed: int, setting: str, given: argparse.Namespace) -> dict[str, float]:
    """The figures of one setting."""
    task, x_test, y_test, made = data_of(name, noise, seed, given)
    own = suited(task, {}, "cpu") | {"noise": made, "seed": seed} | (SETTINGS | EVEN).get(setting, {})
    if setting == CHEAP:
        split, _ = make_split(task, resolve(Recipe(**own), task))
        labels = split.samples.labels.numpy()
        if name in TEXTS:
            model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
            model.fit(list(task.inputs.values), labels)
        else:
            model = make_pipeline(StandardScaler(), KNeighborsClassifier(5))
            model.fit(task.inputs.numpy().reshape(len(labels), -1), labels)
            x_test = Task.from_arrays(x_test, y_test).inputs.numpy().reshape(len(y_test), -1)
        return {"accuracy": balanced_accuracy_score(y_test, model.predict(x_test))}
    folder = place_of(given.folder, name, noise, seed, setting)
    run = train(Recipe(**own), task, Place(threads=1), folder / "run")
    records = run.records()
    mended = np.where(records.decision == "fix", records.suggested, records.given)
    return {
        "accuracy": balanced_accuracy_score(y_test, load(run.path).predict(x_test).argmax(1)),
        "wrong": float((records.given != records.true).mean()),
        "left": float((mended != records.true).mean()),
    }


def place_of(folder: Path, *case: object) -> Path:
    """Where figures, and a run, lie."""
    return folder / "-".join(map(str, case)).replace(" ", "_").replace(":", "_").replace(",", "")


def main() -> None:
    """Train what is missing, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--wrench", help="folder with youtube/train.json, youtube/test.json, sms/..., trec/...")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        name, noise, seed, setting = given.one
        found = one(name, noise, int(seed), setting, given)
        path = place_of(given.folder, *given.one) / "figures.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
        return
    todo = [
        (name, noise, seed, setting) for seed in given.seeds for name, noise in cases(given)
        for setting in (*SETTINGS, CHEAP, *(EVEN if name in ("uneven digits", "sms", "trec") else ()))
    ]  # fmt: skip
    missing = [case for case in todo if not (place_of(given.folder, *case) / "figures.json").is_file()]

    def start(case: tuple[str, str, int, str]) -> None:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--one", *map(str, case)], check=True)
        print(*case, flush=True)

    if given.jobs:
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(start, missing))
    rows = []
    for name, noise, seed, setting in todo:
        path = place_of(given.folder, name, noise, seed, setting) / "figures.json"
        if path.is_file():
            figures = json.loads(path.read_text())
            rows.append({"data": name, "noise": noise, "seed": seed, "setting": setting, **figures})
    found = pd.DataFrame(rows)
    found.round(4).to_csv(ROOT / "results" / "defaults.csv", index=False)
    text = f"{written(found, 'accuracy')}\nShare of wrong labels that are left:\n\n{written(found, 'left')}"
    put("defaults", text, "which.md")
    print(text)


def written(found: pd.DataFrame, figure: str) -> str:
    """One table: means over seeds, in percent, and the means of all sets."""
    own = found.dropna(subset=[figure])
    wide = 100 * own.pivot_table(index=["data", "noise"], columns="setting", values=figure, sort=False)
    heads = [each for each in (*SETTINGS, *EVEN, CHEAP) if each in wide]
    rows = [[*map(str, key), *(cell(line[head]) for head in heads)] for key, line in wide.iterrows()]
    full = [head for head in heads if head not in EVEN]
    rows.append(["mean", "", *(cell(wide[head].mean()) if head in full else "" for head in heads)])
    return table(["data", "noise", *heads], rows)


def cell(value: float) -> str:
    """A percentage, nothing where there is none."""
    return f"{value:.1f}" if value == value else ""


if __name__ == "__main__":
    main()
