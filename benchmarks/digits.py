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
COMMON = ["--data", "digits", "--epochs", "60", "--batch-size", "128", "--lr", "0.1",
          "--threads", "1", "--device", "cpu"]  # fmt: skip
CHOOSING = ("ce", "decoupling", "coteaching", "jocor", "crust", "fine", "dividemix", "elr_plus")
METHODS = {0.6: tuple(list_methods()), 0.4: CHOOSING, 0.8: CHOOSING}
VARIANTS = {"crust": "rest=true", "fine": "rest=true", "dividemix": "on=plain", "elr_plus": "on=plain"}
"""Options of the wrapper that are measured at 60% besides its defaults."""
FIGURES = ("memorised", "issue_auroc", "noise_rate", "selected", "selection_precision", "selection_recall",
           "selection_f1", "clean_auroc")  # fmt: skip


def plans(folder: Path, seeds: int) -> dict[Path, list[str]]:
    """Run folders and their commands: all at 60% first."""
    found = {}
    for rate, methods in METHODS.items():
        for seed in range(seeds):
            for name in methods:
                sides = {"": ["--no-alasca"]}
                if not method_class(name).owns_branches:
                    sides["-alasca"] = ["--alasca"]
                if rate == 0.6 and name in VARIANTS:
                    sides[f"-alasca-{VARIANTS[name]}"] = ["--alasca", "--set", f"alasca.{VARIANTS[name]}"]
                for side, options in sides.items():
                    found[folder / f"{name}{side}-{100 * rate:.0f}-seed{seed}"] = [
                        *COMMON, "--noise", f"symmetric:{rate}", "--method", name, *options, "--seed", str(seed),
                    ]  # fmt: skip
    return found


def train(out: Path, arguments: list[str]) -> None:
    """One run, unless it is there."""
    if (out / "done.json").is_file():
        return
    command = ["resume", str(out)] if (out / "run.json").is_file() else ["train", *arguments, "--out", str(out)]
    done = subprocess.run([sys.executable, "-m", "alasca.cli", *command], capture_output=True, text=True, check=False)
    print(out.name, "failed: " + done.stderr if done.returncode else "done", flush=True)


def figures(runs: list[RunFolder]) -> dict[str, float]:
    """What the tables need of one method's runs."""
    done = [run.done() for run in runs]
    accuracy = [
        one["test_accuracy_noisy_val" if one["select"] == "noisy-val" else "test_accuracy_last"] for one in done
    ]
    means = {name: statistics.fmean(one.get(name, math.nan) for one in done) for name in FIGURES}
    return {
        "accuracy": statistics.fmean(accuracy),
        "accuracy_std": statistics.stdev(accuracy) if len(accuracy) > 1 else 0.0,
        "epochs": done[0]["epochs"],
        "seeds": len(runs),
        **means,
    }


def collect(folder: Path) -> pd.DataFrame:
    """One row a method, bare and wrapped, at each noise rate."""
    groups: dict[tuple[float, str, bool, str], list[RunFolder]] = {}
    for entry in sorted(folder.glob("*/done.json")):
        run = RunFolder.open(entry.parent)
        settings = run.settings()["settings"]
        rate = float(settings["noise"].partition(":")[2])
        options = " ".join(f"{name}={value}" for name, value in settings["options"].items())
        groups.setdefault((rate, settings["method"], settings["alasca"], options), []).append(run)
    steps = pd.read_csv(ROOT / "results" / "steps.csv")
    ratios = steps[steps.data.str.startswith("digits")].set_index("method").whole
    rows = []
    for (rate, name, wrapped, options), runs in sorted(groups.items()):
        ratio = ratios.get(f"{name} + ALASCA" if wrapped else name, math.nan)
        rows.append({
            "noise": rate, "method": name, "alasca": wrapped, "options": options, **figures(runs), "time_ratio": ratio,
        })  # fmt: skip
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
