"""Cross-entropy and ALASCA on CIFAR-10 pictures with 60% symmetric noise, in two budgets: when ALASCA helps.

    python benchmarks/budgets.py runs/budgets --data-dir DIR              # trains what is missing
    python benchmarks/budgets.py runs/budgets --data-dir DIR --jobs 0     # the table only

Each run is ``alasca train`` with the settings of `COMMON` and `BUDGETS` in a folder of its own; finished ones are kept.
The table goes to ``docs/which.md``, the figures with all settings to ``results/budgets.csv``.
"""

from __future__ import annotations

import argparse
import math
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from digits import train
from pages import ROOT, put, table

from alasca.runs import RunFolder

COMMON = ["--data", "cifar10", "--noise", "symmetric:0.6", "--network", "resnet18-narrow", "--schedule", "onecycle",
          "--precision", "bf16", "--shift", "2", "--device", "cpu", "--threads", "1"]  # fmt: skip
BUDGETS = {
    "memorising": ["--limit", "4000", "--epochs", "50", "--batch-size", "64", "--lr", "0.05"],
    "short": ["--limit", "10000", "--epochs", "24", "--batch-size", "128", "--lr", "0.1"],
}
SIDES = {"ce": "--no-alasca", "alasca": "--alasca"}


def figures(budget: str, side: str, run: RunFolder, seed: int) -> dict[str, object]:
    """One run's accuracies, of the main classifier but where said, and what it memorised along the way."""
    history = run.history()
    accuracy = [record.get("test_accuracy_main", record["test_accuracy"]) for record in history]
    at = {name: history[round(len(history) * share) - 1] for name, share in (("third", 1 / 3), ("two_thirds", 2 / 3))}
    return {
        "budget": budget, "side": side, "seed": seed, "noise_rate": run.done()["noise_rate"],
        "test_accuracy_last": accuracy[-1], "test_accuracy_highest": max(accuracy),
        "test_accuracy_all": history[-1].get("test_accuracy_all"),
        **{f"memorised_{name}": record["memorised"] for name, record in at.items()},
        "memorised_last": history[-1]["memorised"],
        "minutes": sum(record["seconds"] for record in history) / 60, "settings": " ".join([*COMMON, *BUDGETS[budget]]),
    }  # fmt: skip


def mean(values: pd.Series) -> str:
    """Mean and standard deviation."""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def page(found: pd.DataFrame) -> str:
    """The table, and the difference with its standard error."""
    rows, words = [], []
    for budget, own in found.groupby("budget", sort=False):
        sides = {str(side): rows_of for side, rows_of in own.groupby("side", sort=False)}
        for side, runs in sides.items():
            rows.append([
                str(budget), "ALASCA" if side == "alasca" else "cross-entropy", mean(runs.test_accuracy_last),
                mean(runs.test_accuracy_highest), "-" if side == "ce" else mean(runs.test_accuracy_all),
                " / ".join(f"{runs[f'memorised_{at}'].mean():.0f}" for at in ("third", "two_thirds", "last")),
            ])  # fmt: skip
        if len(sides) == 2 and all(len(runs) > 1 for runs in sides.values()):
            last = {side: runs.test_accuracy_last for side, runs in sides.items()}
            gain = last["alasca"].mean() - last["ce"].mean()
            error = math.sqrt(sum(statistics.variance(values) / len(values) for values in last.values()))
            words.append(f"{budget}: {gain:+.1f} points, {abs(gain) / error:.1f} standard errors of the difference")
    memorised = "wrong labels memorised, %: after a third / two thirds / all"
    heads = ["budget", "method", "test accuracy, last epoch", "highest of any epoch",
             "all classifiers, last epoch", memorised]  # fmt: skip
    settings = "\n".join(f"- {name}: `alasca train {' '.join([*COMMON, *BUDGETS[name]])}`" for name in BUDGETS)
    return (
        table(heads, rows)
        + f"\nMean ± standard deviation over {found.seed.nunique()} seeds, each with its own part of the data, noise "
        f"and weights; of the main classifier alone but where said. ALASCA less cross-entropy, last epoch: "
        f"{'; '.join(words)}.\n\n{settings}\n"
    )


def main() -> None:
    """Train, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    plans = [(budget, seed, side) for budget in BUDGETS for seed in range(given.seeds) for side in SIDES]

    def one(plan: tuple[str, int, str]) -> None:
        budget, seed, side = plan
        arguments = [*COMMON, "--data-dir", given.data_dir, *BUDGETS[budget], SIDES[side], "--seed", str(seed)]
        train(given.folder / f"{budget}-{side}-seed{seed}", arguments)

    if given.jobs:
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(one, plans))
    rows = [
        figures(budget, side, RunFolder.open(path), seed)
        for budget, seed, side in plans
        if (path := given.folder / f"{budget}-{side}-seed{seed}").joinpath("done.json").is_file()
    ]
    found = pd.DataFrame(rows)
    found.round(3).to_csv(ROOT / "results" / "budgets.csv", index=False)
    put("budgets", page(found), "which.md")


if __name__ == "__main__":
    main()
