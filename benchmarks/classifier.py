"""`RobustClassifier` beside a plain network of the same budget and scikit-learn's own, on digits with wrong labels.

    python benchmarks/classifier.py --seeds 0 1 2 3 4

Three quarters of the digits are trained on, with made noise; accuracy is that of true labels on the last quarter. The
plain network is ``RobustClassifier(method="ce", alasca=False)``: the same network, epochs and batches, cross-entropy.
Writes ``results/classifier.csv`` and the table of ``docs/python.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
from pages import ROOT, put, table
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from alasca import RobustClassifier

NOISES = ("none", "symmetric:0.2", "symmetric:0.4", "symmetric:0.6", "pair:0.4")


def noisy(labels: np.ndarray, noise: str, seed: int) -> np.ndarray:
    """Labels, some of them replaced: by any class, drawn evenly (symmetric), or by the next one (pair)."""
    kind, _, rate = noise.partition(":")
    if kind == "none":
        return labels
    rng = np.random.default_rng(seed)
    replaced = rng.random(len(labels)) < float(rate)
    others = rng.integers(0, 10, len(labels)) if kind == "symmetric" else (labels + 1) % 10
    return np.where(replaced, others, labels)


def models(as_numbers: bool, seed: int) -> Iterator[tuple[str, ClassifierMixin]]:
    """Name and classifier."""
    yield "RobustClassifier", RobustClassifier(random_state=seed)
    yield "plain network", RobustClassifier(method="ce", alasca=False, random_state=seed)
    if as_numbers:
        yield "KNeighborsClassifier(5)", make_pipeline(StandardScaler(), KNeighborsClassifier(5))
        yield "MLPClassifier", make_pipeline(StandardScaler(), MLPClassifier(max_iter=400, random_state=seed))


def main() -> None:
    """Fit all, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    given = parser.parse_args()
    pixels, labels = load_digits(return_X_y=True)
    rows = []
    for seed in given.seeds:
        for noise in NOISES:
            for form in ("64 numbers", "pictures"):
                inputs = pixels.astype(np.float32) if form == "64 numbers" else (pixels / 16).reshape(-1, 8, 8)
                x, x_test, y, y_test = train_test_split(
                    inputs, labels, test_size=0.25, stratify=labels, random_state=seed
                )
                given_labels = noisy(y, noise, seed)
                for name, model in models(form == "64 numbers", seed):
                    score = float((model.fit(x, given_labels).predict(x_test) == y_test).mean())
                    rows.append({"form": form, "noise": noise, "seed": seed, "classifier": name, "accuracy": score})
                    print(*rows[-1].values(), flush=True)
    found = pd.DataFrame(rows)
    found.round(4).to_csv(ROOT / "results" / "classifier.csv", index=False)
    text = written(found)
    put("classifier", text, "python.md")
    print(text)


def written(found: pd.DataFrame) -> str:
    """The table: mean accuracy and standard deviation."""
    names = list(dict.fromkeys(found.classifier))
    lines = []
    for (form, noise), own in found.groupby(["form", "noise"], sort=False):
        cells = []
        for name in names:
            scores = 100 * own[own.classifier == name].accuracy
            cells.append(f"{scores.mean():.1f} ± {scores.std():.1f}" if len(scores) else "")
        lines.append([str(form), str(noise), *cells])
    return "\n".join([table(["digits as", "noise", *names], lines), ""])


if __name__ == "__main__":
    main()
