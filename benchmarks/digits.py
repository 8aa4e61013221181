"""Every method, bare and inside ALASCA, on handwritten digits with wrong labels: trains, then writes tables.

    python benchmarks/digits.py runs/digits              # trains what is missing, one process a run
    python benchmarks/digits.py runs/digits --jobs 0     # tables only

Each run is ``alasca train`` with the settings of `COMMON` in a folder of its own; finished ones are kept. The table
goes to ``docs/methods.md``, between its markers, and the figures with all settings to ``results/digits.csv``. The ratio
of time is that of ``results/steps.csv``, which ``benchmarks/steps.py`` measures in one process.
"""

from __future__ import annotations

import argparse
import math
import re
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from alasca.methods import list_methods, method_class
from alasca.runs import RunFolder

ROOT = Path(__file__).parent.parent
COMMON = ["--data", "digits", "--noise", "symmetric:0.6", "--epochs", "60", "--batch-size", "128", "--lr", "0.1",
          "--threads", "1", "--device", "cpu"]  # fmt: skip


def plans(folder: Path, seeds: int) -> dict[Path, list[str]]:
    """Run folders and their commands, seed by seed."""
    return {
        folder / f"{name}{'-alasca' if wrapped else ''}-seed{seed}": [
            *COMMON, "--method", name, "--alasca" if wrapped else "--no-alasca", "--seed", str(seed),
        ]
        for seed in range(seeds)
        for name in list_methods()
        for wrapped in ([False] if method_class(name).owns_branches else [False, True])
    }  # fmt: skip


def train(out: Path, arguments: list[str]) -> None:
    """One run, unless it is there."""
    if (out / "done.json").is_file():
        return
    command = ["resume", str(out)] if (out / "run.json").is_file() else ["train", *arguments, "--out", str(out)]
    done = subprocess.run([sys.executable, "-m", "alasca.cli", *command], capture_output=True, text=True, check=False)
    print(out.name, "failed: " + done.stderr if done.returncode else "done", flush=True)


def figures(runs: list[RunFolder]) -> dict[str, float]:
    """What the table needs of one method's runs."""
    chosen = [
        "test_accuracy_noisy_val" if run.done()["select"] == "noisy-val" else "test_accuracy_last" for run in runs
    ]
    accuracy = [run.done()[key] for run, key in zip(runs, chosen, strict=True)]
    return {
        "accuracy": statistics.fmean(accuracy),
        "accuracy_std": statistics.stdev(accuracy) if len(accuracy) > 1 else 0.0,
        "memorised": statistics.fmean(run.done().get("memorised", math.nan) for run in runs),
        "auroc": statistics.fmean(run.done()["issue_auroc"] for run in runs),
        "epochs": runs[0].done()["epochs"],
        "seeds": len(runs),
    }


def collect(folder: Path) -> pd.DataFrame:
    """One row a method, bare and wrapped."""
    groups: dict[tuple[str, bool], list[RunFolder]] = {}
    for entry in sorted(folder.glob("*/done.json")):
        run = RunFolder.open(entry.parent)
        settings = run.settings()["settings"]
        groups.setdefault((settings["method"], settings["alasca"]), []).append(run)
    rows = [{"method": name, "alasca": wrapped, **figures(runs)} for (name, wrapped), runs in sorted(groups.items())]
    steps = pd.read_csv(ROOT / "results" / "steps.csv")
    ratios = steps[steps.data.str.startswith("digits")].set_index("method").whole
    for row in rows:
        row["time_ratio"] = ratios[f"{row['method']}{' + ALASCA' if row['alasca'] else ''}"]
    return pd.DataFrame(rows).assign(settings=" ".join(COMMON))


def share(percent: float) -> str:
    """A share for people; mixup predicts no plain sample in training, so that nothing is known."""
    return "-" if math.isnan(percent) else f"{percent:.0f}%"


def markdown(table: pd.DataFrame) -> str:
    """The table of the documentation."""
    lines = [
        "| method | bare | in ALASCA | gain | wrong labels memorised, bare / in ALASCA | time, bare / in ALASCA |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    losing = []
    for name, rows in table.groupby("method"):
        bare, inside = (rows[rows.alasca == wrapped].to_dict("records") for wrapped in (False, True))
        own = bare[0]
        first = f"| {name} | {own['accuracy']:.1f} ± {own['accuracy_std']:.1f} |"
        if not inside:
            lines.append(f"{first} has branches of its own | | {share(own['memorised'])} | {own['time_ratio']:.2f} |")
            continue
        other = inside[0]
        gain = other["accuracy"] - own["accuracy"]
        losing += [f"{name} ({gain:+.1f})"] if gain < 0 else []
        lines.append(
            f"{first} {other['accuracy']:.1f} ± {other['accuracy_std']:.1f} | {gain:+.1f} "
            f"| {share(own['memorised'])} / {share(other['memorised'])} "
            f"| {own['time_ratio']:.2f} / {other['time_ratio']:.2f} |"
        )
    seeds = int(table.seeds.min())
    words = f"ALASCA does not help here: {', '.join(losing)}." if losing else "ALASCA helps every method here."
    return "\n".join([
        *lines, "",
        "Test accuracy in percent, last epoch (early_stopping: the epoch it chose), mean ± standard deviation over "
        f"{seeds} seeds; time of the whole training, as a ratio to bare `ce`. {words}", "",
        f"Settings: `alasca train {' '.join(COMMON)}`, methods with their defaults.", "",
    ])  # fmt: skip


def main() -> None:
    """Train, then write both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    if given.jobs:
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(lambda plan: train(*plan), plans(given.folder, given.seeds).items()))
    table = collect(given.folder)
    results = ROOT / "results" / "digits.csv"
    results.parent.mkdir(exist_ok=True)
    table.round(3).to_csv(results, index=False)
    page = ROOT / "docs" / "methods.md"
    begin, end = "<!-- digits:begin -->\n", "<!-- digits:end -->"
    text = re.sub(f"{begin}.*?{end}", lambda _: begin + markdown(table) + end, page.read_text(), flags=re.DOTALL)
    page.write_text(text)
    print(markdown(table))


if __name__ == "__main__":
    main()
