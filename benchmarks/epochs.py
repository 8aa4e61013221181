"""What a method that chooses samples costs, as a ratio to cross-entropy: whole epochs with their scoring passes.

    python benchmarks/epochs.py

All runs train side by side on the digits with 60% noise, one epoch of each in turn, so that a busy machine slows all
alike; the ratio is the median over the last third of the epochs, when every method chooses. Cross-entropy runs twice
(A/A). Writes ``results/epochs.csv``.
"""

from __future__ import annotations

import argparse
import statistics
import time

import pandas as pd
import torch
from digits import CHOOSING
from pages import ROOT

from alasca import Place, Recipe
from alasca.engine import Trainer
from alasca.training import prepare


def main() -> None:
    """Race, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=18)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    others = [name + plus for name in CHOOSING for plus in ("", " + ALASCA")]
    names = ["ce", "ce again (A/A)", *others[1:]]
    runs: dict[str, Trainer] = {}
    for name in names:
        method, wrapped = name.split()[0], name.endswith("ALASCA")
        recipe = Recipe(
            noise="symmetric:0.6", method=method, alasca=wrapped, epochs=given.epochs, batch_size=128, lr=0.1
        )
        runs[name] = Trainer(prepare(recipe, None, Place(device="cpu")).job)
        runs[name].enter(0)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(given.epochs):
        for name, made in runs.items():
            begun = time.perf_counter()
            made.epoch()
            seconds[name].append(time.perf_counter() - begun)
    last = slice(-(given.epochs // 3), None)
    base = seconds["ce"][last]
    rows = [
        {"method": name, "seconds": statistics.median(own[last]),
         "whole": statistics.median(a / b for a, b in zip(own[last], base, strict=True))}
        for name, own in seconds.items()
    ]  # fmt: skip
    table = pd.DataFrame(rows).assign(epochs=given.epochs, threads=given.threads).round(3)
    table.to_csv(ROOT / "results" / "epochs.csv", index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
