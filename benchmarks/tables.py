"""Methods on two numeric tables with wrong labels, with the default perceptron and with one without dropout.

    python benchmarks/tables.py            # about ten minutes on 2 cores

The tables are scikit-learn's, a third of the rows being the test set; each run is ``alasca train --data table:...``
with the settings of `TRAINING`. The result goes to ``docs/tables.md``, the figures to ``results/tables.csv``.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from pages import ROOT, put, table
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn

from alasca import Place, Recipe, train

DATA = {
    "breast cancer, 379 x 30": (load_breast_cancer, "symmetric:0.4"),
    "digits, 1198 x 64": (load_digits, "symmetric:0.6"),
}  # fmt: skip
METHODS = ("ce", "gce", "elr", "fine")
TRAINING = {"epochs": 30, "batch_size": 32, "lr": 0.02}
SEEDS = 3


def without_dropout(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """`mlp` but for its dropout."""
    layers: list[nn.Module] = []
    width = shape[0]
    for size in (256, 256, 256):
        layers += [nn.Linear(width, size, bias=False), nn.BatchNorm1d(size), nn.ReLU()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, num_classes))


def main() -> None:
    """Train, then write the table."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number, (title, (load, noise)) in enumerate(DATA.items()):
            frame = load(as_frame=True).frame.rename(columns={"target": "label"})
            frame["split"] = np.where(np.arange(len(frame)) % 3 == 0, "test", "train")
            frame.to_csv(folder / f"{number}.csv", index=False)
            plans = [("mlp", method, wrapped) for method in METHODS for wrapped in (False, True)]
            plans += [
                ("tables:without_dropout", method, wrapped) for method in ("ce", "elr") for wrapped in (False, True)
            ]
            for network, method, wrapped in plans:
                for seed in range(SEEDS):
                    recipe = Recipe(
                        data=f"table:{folder / f'{number}.csv'}", noise=noise, network=network, method=method,
                        alasca=wrapped, seed=seed, **TRAINING,
                    )  # fmt: skip
                    done = train(recipe, None, Place(device="cpu", threads=1), folder / f"run{len(rows)}").done()
                    main = done.get("test_accuracy_main_last", done["test_accuracy_last"])
                    rows.append({
                        "data": title, "noise": noise, "network": network.removeprefix("tables:"), "method": method,
                        "alasca": wrapped, "seed": seed, "test_accuracy_last": main,
                        "test_accuracy_all": done.get("test_accuracy_all_last"),
                        "memorised": done["memorised"], "issue_auroc": done["issue_auroc"],
                    })  # fmt: skip
    found = pd.DataFrame(rows)
    found.round(3).to_csv(ROOT / "results" / "tables.csv", index=False)
    lines = []
    for (name, network, method), own in found.groupby(["data", "network", "method"], sort=False):
        sides = [own[own.alasca == wrapped] for wrapped in (False, True)]
        figures = [sides[0].test_accuracy_last, sides[1].test_accuracy_last, sides[1].test_accuracy_all]
        accuracy = [f"{values.mean():.1f} ± {statistics.stdev(values):.1f}" for values in figures]
        memorised = " / ".join(f"{side.memorised.mean():.0f}%" for side in sides)
        lines.append([str(name), str(network).replace("_", " "), str(method), *accuracy, memorised])
    heads = ["table", "network", "method", "bare", "in ALASCA", "all classifiers",
             "wrong labels memorised, bare / in ALASCA"]  # fmt: skip
    settings = ", ".join(f"{name} {value}" for name, value in TRAINING.items())
    words = (
        f"\nTest accuracy, last epoch, of the main classifier alone but where said, mean ± standard deviation "
        f"over {SEEDS} seeds; 40% (breast cancer) and 60% (digits) of the labels drawn anew; {settings}.\n"
    )
    put("tables", table(heads, lines) + words, "tables.md")


if __name__ == "__main__":
    main()
