"""Which classifiers should vote: main, main and deepest sub-classifier, all, or the sub-classifiers alone.

    python benchmarks/predictions.py runs/predictions --data-dir DIR            # trains what is missing
    python benchmarks/predictions.py runs/predictions --jobs 0                  # the tables only

Every run is ``alasca train`` of a method inside ALASCA with a tenth of the noisy labels held out; each of its epochs
measures every kind of prediction, so that one run serves all. A kind is chosen on the *noisy held-out* labels of the
sets in `CHOSEN_ON`, and confirmed by the test accuracy on the sets in `CONFIRMED_ON`, which took no part. `CONTROLS`
trains the sub-classifiers in other ways: is it ALASCA, or the company of classifiers? Writes
``results/predictions.csv`` and tables of ``docs/methods.md``. CIFAR-10 runs need ``--data-dir``, and are left out
without it.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from budgets import BUDGETS
from budgets import COMMON as CIFAR
from digits import COMMON as DIGITS
from digits import train
from pages import ROOT, put, table
from sklearn.datasets import load_breast_cancer, load_digits

from alasca.runs import RunFolder

KINDS = ("main", "average", "all", "sub")
METHODS = ("ce", "gce", "elr", "coteaching", "dividemix")
NOISES = ("none", "symmetric:0.2", "symmetric:0.4", "symmetric:0.6", "symmetric:0.8", "pair:0.4")
TABLES = {"digits-table": (load_digits, "symmetric:0.6"), "breast-cancer": (load_breast_cancer, "symmetric:0.4")}
ROWS = ["--epochs", "30", "--batch-size", "32", "--lr", "0.02", "--threads", "1", "--device", "cpu"]
CHOSEN_ON = ("digits", "digits-table")
CONFIRMED_ON = ("breast-cancer", "cifar memorising", "cifar short")
CONTROLS = {
    "cross-entropy": "1.0", "uniform smoothing of one half": "0.5", "ALASCA": "main",
}  # fmt: skip
"""What sub-classifiers learn from, as ``alasca.confidence_from``; cross-entropy and smoothing correct no label."""
SEEDS = 3


def write_tables(folder: Path) -> None:
    """The numeric tables, a third of the rows to test on."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (load, _) in TABLES.items():
        frame = load(as_frame=True).frame.rename(columns={"target": "label"})
        frame["split"] = np.where(np.arange(len(frame)) % 3 == 0, "test", "train")
        frame.to_csv(folder / f"{name}.csv", index=False)


def plans(folder: Path, data_dir: str | None) -> Iterator[tuple[dict[str, object], Path, list[str]]]:
    """What a run is, its folder and its command: seed by seed, the digits first."""
    for seed in range(SEEDS):
        for noise in NOISES:
            for method in METHODS:
                yield plan(folder, "digits", noise, method, seed, DIGITS)
        for name, (_, noise) in TABLES.items():
            for method in METHODS[:4]:
                yield plan(folder, name, noise, method, seed, ["--data", f"table:{folder / name}.csv", *ROWS])
        for title, source in CONTROLS.items():
            options = ["--set", f"alasca.confidence_from={source}"]
            options += [] if source == "main" else ["--set", "alasca.warmup=none"]
            yield plan(folder, f"control: {title}", "symmetric:0.6", "ce", seed, [*DIGITS, *options], "0")
    for seed in range(SEEDS if data_dir else 0):
        for budget, own in BUDGETS.items():
            what, path, command = plan(folder, f"cifar {budget}", "symmetric:0.6", "ce", seed, [*CIFAR, *own])
            yield what, path, [*command, "--data-dir", str(data_dir)]


def plan(
    folder: Path, data: str, noise: str, method: str, seed: int, command: list[str], held: str = "0.1"
) -> tuple[dict[str, object], Path, list[str]]:
    """One run."""
    name = f"{data}-{noise}-{method}-seed{seed}".replace(" ", "_").replace(":", "_")
    words = " ".join(command).replace(str(folder), "FOLDER")
    what = {"data": data, "noise": noise, "method": method, "seed": seed, "command": words}
    own = [] if "--noise" in command else ["--noise", noise]
    own += ["--method", method, "--val-fraction", held, "--seed", str(seed)]
    return what, folder / name, [*command, *own]


def figures(run: RunFolder) -> dict[str, float]:
    """Accuracies of the last epoch by kind: test, and held-out noisy labels."""
    last = run.history()[-1]
    return {
        f"{part}_{kind}": last.get(f"{part}_accuracy_{kind}", float("nan"))
        for part in ("test", "val")
        for kind in KINDS
    }


def mean_and_spread(values: pd.Series) -> str:
    """Mean and standard deviation."""
    return f"{values.mean():.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def main() -> None:
    """Train, choose, confirm, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data-dir")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    write_tables(given.folder)
    todo = list(plans(given.folder, given.data_dir))
    if given.jobs:
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(lambda one: train(one[1], one[2]), todo))
    done = [{**what, **figures(RunFolder.open(path))} for what, path, _ in todo if (path / "done.json").is_file()]
    found = pd.DataFrame(done)
    found.round(3).to_csv(ROOT / "results" / "predictions.csv", index=False)
    text = everything(found)
    put("predictions", text)
    print(text)


def everything(found: pd.DataFrame) -> str:
    """The tables, and what they say."""
    plain = found[~found.data.str.startswith("control")]
    rows = []
    for (data, noise), own in plain.groupby(["data", "noise"], sort=False):
        cells = [" / ".join(f"{own[f'{part}_{kind}'].mean():.1f}" for part in ("val", "test")) for kind in KINDS]
        rows.append([str(data), str(noise), str(len(own)), *cells])
    heads = ["data", "noise", "runs", *KINDS]
    choosing = plain[plain.data.isin(CHOSEN_ON)]
    groups = choosing.groupby(["data", "noise"])[[f"val_{kind}" for kind in KINDS]].mean()
    best = max(KINDS, key=lambda kind: groups[f"val_{kind}"].mean())
    by_kind = ", ".join(f"{kind} {groups[f'val_{kind}'].mean():.2f}" for kind in KINDS)
    behind = ", ".join(
        f"{kind} {gap.mean():.2f} ± {gap.std() / len(gap) ** 0.5:.2f}"
        for kind in KINDS
        if kind != best
        for gap in [groups[f"val_{best}"] - groups[f"val_{kind}"]]
    )
    confirming = plain[plain.data.isin(CONFIRMED_ON)]
    gains = []
    for data, own in confirming.groupby("data", sort=False):
        less = [f"{kind} {mean_and_spread(own[f'test_{kind}'] - own.test_main)}" for kind in KINDS[1:]]
        gains.append(f"{data}: {', '.join(less)}")
    each = [
        [str(method), *(mean_and_spread(own[f"test_{kind}"]) for kind in KINDS)]
        for method, own in plain[(plain.data == "digits") & (plain.noise == "symmetric:0.6")].groupby(
            "method", sort=False
        )
    ]
    control = [
        [str(name).removeprefix("control: "), *(mean_and_spread(own[f"test_{kind}"]) for kind in KINDS)]
        for name, own in found[found.data.str.startswith("control")].groupby("data", sort=False)
    ]
    return "\n".join([
        "Accuracy on held-out noisy labels / on the test set, last epoch, mean over methods and seeds:", "",
        table(heads, rows),
        f"Noisy held-out labels of {', '.join(CHOSEN_ON)}, mean over their rows: {by_kind}. {best} is ahead by (± "
        f"standard error over rows): {behind}. On the sets that took no part, test accuracy less that of main, in "
        f"points: {'; '.join(gains) or 'not run'}.", "",
        "Digits, 60% symmetric, by method:", "", table(["method", *KINDS], each),
        "Digits, 60% symmetric, cross-entropy on the main classifier, nothing held out; what the sub-classifiers learn "
        "from:", "", table(["sub-classifiers", *KINDS], control),
        f"{int(plain.groupby(['data', 'noise', 'method']).seed.nunique().min())} to "
        f"{found.seed.nunique()} seeds. Left out: DivideMix on tables, other methods than cross-entropy on CIFAR.", "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
