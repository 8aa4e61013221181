"""Every method, bare and inside ALASCA, on handwritten digits with wrong labels: trains, then writes tables.

    python benchmarks/digits.py runs/digits              # trains what is missing, one process a run
    python benchmarks/digits.py runs/digits --jobs 0     # tables only

Each run is ``alasca train`` with the settings of `COMMON` in a folder of its own; finished ones are kept. The tables
go to ``docs/methods.md``, and the figures with all settings to ``results/digits.csv``. The ratios
of time are those of ``results/steps.csv`` and, for methods that choose samples, ``results/epochs.csv``, which
``benchmarks/steps.py`` and ``benchmarks/epochs.py`` measure in one process.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from pages import ROOT, put, table

from alasca.methods import list_methods, method_class
from alasca.runs import RunFolder

COMMON = ["--data", "digits", "--epochs", "60", "--batch-size", "128", "--lr", "0.1",
          "--threads", "1", "--device", "cpu"]  # fmt: skip
CHOOSING = ("ce", "decoupling", "coteaching", "jocor", "crust", "fine", "dividemix", "elr_plus")
RATES = (0.4, 0.6, 0.8)
METHODS = {0.6: tuple(list_methods()), 0.4: CHOOSING, 0.8: CHOOSING}
VARIANTS = {
    "crust": ("alasca.rest=true", "selection=centrality"), "fine": ("alasca.rest=true",),
    "dividemix": ("alasca.on=plain",), "elr_plus": ("alasca.on=plain",),
}  # fmt: skip
"""Options that are measured at 60% besides the defaults; the wrapper's have no bare side."""
FIGURES = ("memorised", "issue_auroc", "noise_rate", "selected", "selection_precision", "selection_recall",
           "selection_f1", "selection_weight", "clean_auroc")  # fmt: skip


class Side(NamedTuple):
    """What the runs of one row of the figures have in common."""

    noise: float
    method: str
    alasca: bool
    options: str


def plans(folder: Path, seeds: int) -> dict[Path, tuple[Side, list[str]]]:
    """Run folders, what each belongs to, and their commands: all at 60% first."""
    order = sorted(itertools.product(METHODS, range(seeds)), key=lambda at: (at[0] != 0.6, at[1]))
    found = {}
    for rate, seed in order:
        for name in METHODS[rate]:
            sides = {"": (Side(rate, name, False, ""), ["--no-alasca"])}
            if not method_class(name).owns_branches:
                sides["-alasca"] = (Side(rate, name, True, ""), ["--alasca"])
            for option in VARIANTS.get(name, ()) if rate == 0.6 else ():
                sides[f"-alasca-{option}"] = (Side(rate, name, True, option), ["--alasca", "--set", option])
                if not option.startswith("alasca."):
                    sides[f"-{option}"] = (Side(rate, name, False, option), ["--no-alasca", "--set", option])
            for suffix, (side, options) in sides.items():
                command = [*COMMON, "--noise", f"symmetric:{rate}", "--method", name, *options, "--seed", str(seed)]
                found[folder / f"{name}{suffix}-{100 * rate:.0f}-seed{seed}"] = (side, command)
    return found


def train(out: Path, arguments: list[str]) -> None:
    """One run, unless it is there."""
    if (out / "done.json").is_file():
        return
    command = ["resume", str(out)] if (out / "run.json").is_file() else ["train", *arguments, "--out", str(out)]
    done = subprocess.run([sys.executable, "-m", "alasca.cli", *command], capture_output=True, text=True, check=False)
    print(out.name, "failed: " + done.stderr if done.returncode else "done", flush=True)


def final(done: dict[str, object], kind: str) -> float:
    """A run's test accuracy by a kind of prediction; a bare method has the main classifier's alone."""
    when = "noisy_val" if done["select"] == "noisy-val" else "last"
    plain = done[f"test_accuracy_{when}"] if kind == "main" else math.nan
    return float(done.get(f"test_accuracy_{kind}_{when}", plain))  # type: ignore[arg-type]  # a figure


def figures(runs: list[RunFolder]) -> dict[str, float]:
    """What the tables need of one method's runs."""
    done = [run.done() for run in runs]
    accuracy = [final(one, "main") for one in done]
    means = {name: statistics.fmean(one.get(name, math.nan) for one in done) for name in FIGURES}
    return {
        "accuracy": statistics.fmean(accuracy),
        "accuracy_std": statistics.stdev(accuracy) if len(accuracy) > 1 else 0.0,
        **{kind: statistics.fmean(final(one, kind) for one in done) for kind in ("average", "all", "sub")},
        "epochs": done[0]["epochs"],
        "seeds": len(runs),
        **means,
    }


def collect(folder: Path, seeds: int) -> pd.DataFrame:
    """One row a method, bare and wrapped, at each noise rate."""
    groups: dict[Side, list[RunFolder]] = {}
    for path, (side, _) in plans(folder, seeds).items():
        if (path / "done.json").is_file():
            groups.setdefault(side, []).append(RunFolder.open(path))
    steps, epochs = (pd.read_csv(ROOT / "results" / name) for name in ("steps.csv", "epochs.csv"))
    ratios = steps[steps.data.str.startswith("digits")].set_index("method").whole
    choosing = epochs[epochs.method.str.removesuffix(" + ALASCA").isin(CHOOSING[1:])].set_index("method").whole
    ratios = choosing.combine_first(ratios)
    rows = []
    for side, runs in sorted(groups.items()):
        ratio = ratios.get(f"{side.method} + ALASCA" if side.alasca else side.method, math.nan)
        rows.append({**side._asdict(), **figures(runs), "time_ratio": ratio})
    return pd.DataFrame(rows).assign(settings=" ".join(COMMON))


def number(value: float, digits: int = 0) -> str:
    """A number for people; "-" where there is none."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def cell(rows: pd.DataFrame, column: str = "accuracy") -> str:
    """Mean and standard deviation of one row, or "-" where none was run."""
    if rows.empty or math.isnan(rows[column].item()):
        return "-"
    spread = f" ± {rows.accuracy_std.item():.1f}" if column == "accuracy" and rows.seeds.item() > 1 else ""
    return f"{rows[column].item():.1f}{spread}"


def everything(found: pd.DataFrame) -> str:
    """All methods at 60%."""
    rows, losing = [], []
    for name, own in found[(found.noise == 0.6) & (found.options == "")].groupby("method"):
        bare, inside = own[~own.alasca], own[own.alasca]
        figures = [bare, inside] if len(inside) else [bare]
        gain = inside.accuracy.item() - bare.accuracy.item() if len(inside) else math.nan
        losing += [f"{name} ({gain:+.1f})"] if gain < 0 else []
        rows.append([
            str(name), cell(bare), cell(inside) if len(inside) else "has branches of its own",
            "" if math.isnan(gain) else f"{gain:+.1f}",
            " / ".join(number(inside[kind].item(), 1) for kind in ("average", "all")) if len(inside) else "",
            " / ".join(number(one.memorised.item()) + "%" * bool(one.memorised.notna().all()) for one in figures),
            " / ".join(number(each.time_ratio.item(), 2) for each in figures),
        ])  # fmt: skip
    heads = ["method", "bare", "in ALASCA", "gain", "main + deepest / all classifiers",
             "wrong labels memorised, bare / in ALASCA", "time, bare / in ALASCA"]  # fmt: skip
    words = f"ALASCA does not help here: {', '.join(losing)}." if losing else "ALASCA helps every method here."
    return "\n".join([
        table(heads, rows),
        "Test accuracy in percent, last epoch (early_stopping: the epoch it chose), of the main classifier alone but "
        "where said, mean ± standard deviation over "
        f"{found[found.noise == 0.6].seeds.min()} seeds; time of the whole training, as a ratio to bare `ce` (methods "
        f"that choose samples: of an epoch, with scoring and evaluation). {words}",
        "", f"Settings: `alasca train {' '.join(COMMON)} --noise symmetric:0.6`, methods with their defaults.", "",
    ])  # fmt: skip


def choosing(found: pd.DataFrame) -> str:
    """The methods that choose samples, at every rate: accuracy, F-score of the kept labels, options of the wrapper."""
    accuracy: list[list[str]] = []
    quality: list[list[str]] = []
    options: list[list[str]] = []
    for name in CHOOSING:
        own = found[(found.method == name) & (found.options == "")]
        for column, into in (("accuracy", accuracy), ("selection_f1", quality)):
            cells = [
                f"{cell(at[~at.alasca], column)} / {cell(at[at.alasca], column)}"
                for at in (own[own.noise == rate] for rate in RATES)
            ]
            if any(text != "- / -" for text in cells):
                into.append([name, *cells])
        at = found[(found.method == name) & (found.noise == 0.6)]
        for option in ("", *VARIANTS[name]) if name in VARIANTS else ():
            one = at[at.options.str.lower() == option]
            sides = (one[~one.alasca], one[one.alasca])
            options.append([
                name, f"`{option}`" if option else "defaults", *(cell(side) for side in sides),
                *(" / ".join(cell(side, column) for side in sides) for column in ("selection_f1", "selection_weight")),
            ])  # fmt: skip
    seeds = found[found.method.isin(CHOOSING)].groupby("noise").seeds.min()
    counts = ", ".join(f"{seeds[rate]} at {100 * rate:.0f}%" for rate in RATES)
    levels = [f"{100 * rate:.0f}%" for rate in RATES]
    return "\n".join([
        "Test accuracy, bare / in ALASCA:", "", table(["method", *levels], accuracy),
        "F-score of the kept labels in the last epoch (right labels kept), bare / in ALASCA:", "",
        table(["method", *levels], quality),
        "With other options, at 60%: test accuracy, F-score, and the share of the kept labels' weight that is on right "
        "ones where weights differ (bare / in ALASCA):", "",
        table(["method", "option", "bare", "in ALASCA", "F-score", "weight on right labels"], options),
        f"Seeds: {counts}; a difference of one seed, without ±, is no more than a hint.", "",
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
            list(pool.map(lambda plan: train(plan[0], plan[1][1]), plans(given.folder, given.seeds).items()))
    found = collect(given.folder, given.seeds)
    found.round(3).to_csv(ROOT / "results" / "digits.csv", index=False)
    for name, text in (("digits", everything(found)), ("choosing", choosing(found))):
        put(name, text)
        print(text)


if __name__ == "__main__":
    main()
