"""What training with a method costs, as a ratio to cross-entropy: one process, interleaved, medians.

    python benchmarks/steps.py                           # every method, bare and inside ALASCA
    python benchmarks/steps.py har cdr --rounds 100      # these, bare

Every round times one step of each method on the same batch, in an order that rotates; cross-entropy runs twice, and the
ratio of its two clocks (A/A) says what the machine can tell apart. ``whole`` is the whole procedure: stages in their
length and on their part of the data (HAR trains twice). Writes ``results/steps.csv``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import pandas as pd
import torch

from alasca import Place, Recipe
from alasca.core import Clock
from alasca.data import Samples, Split, Transform
from alasca.engine import Job, Workbench
from alasca.methods import create_method, list_methods, method_class, wrap
from alasca.networks.small import SmallResNet

ROOT = Path(__file__).parent.parent
SIZES = {"digits: 1x8x8, batch 128": (1, 8, 128), "pictures: 3x32x32, batch 32": (3, 32, 32)}
EPOCHS = 60


def pictures(channels: int, size: int, rows: int) -> Split:
    """Random pictures: only the time counts."""
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (rows, channels, size, size), generator=draw).to(torch.uint8)
    samples = Samples(inputs, torch.randint(10, (rows,), generator=draw), Transform("pictures", shift=1)).fitted()
    return Split(samples, 10, torch.arange(rows))


class Clocked:
    """A method in one of its stages, on one batch."""

    def __init__(self, name: str, stage: int, shape: tuple[int, int, int], device: str) -> None:
        channels, size, rows = shape
        plain, plus, _ = name.partition(" + ALASCA")
        method = wrap(create_method(plain)) if plus else create_method(plain)
        recipe = Recipe(epochs=EPOCHS, batch_size=rows, lr=1e-3, select="last")
        split, place = pictures(channels, size, 2 * rows), Place(device=device)
        job = Job(method, lambda: SmallResNet(channels, 10), split.to(torch.device(device)), recipe, place)
        self.name, self.stage, self.bench = name, stage, Workbench(job, stage)
        self.clock = Clock.at(stage, EPOCHS - 1, EPOCHS, 0, 2)
        self.phase = self.bench.plan(self.clock)[-1]
        self.batches = next(self.bench.batches(self.phase))
        self.seconds: list[float] = []

    def step(self, keep: bool) -> None:
        """One optimiser step."""
        begun = time.perf_counter()
        self.bench.update(self.phase, self.batches, self.clock)
        if self.bench.device.type == "cuda":
            torch.cuda.synchronize()
        if keep:
            self.seconds.append(time.perf_counter() - begun)


def race(names: list[str], shape: tuple[int, int, int], rounds: int, device: str) -> list[dict[str, object]]:
    """Median ratios of each method's step, and of its whole procedure, to cross-entropy's."""
    everyone = [Clocked("ce", 0, shape, device), Clocked("ce", 0, shape, device)]
    for name in names:
        first = Clocked(name, 0, shape, device)
        everyone += [first, *(Clocked(name, stage, shape, device) for stage in range(1, len(first.bench.stages)))]
    for turn in range(-3, rounds):
        for k in range(len(everyone)):
            everyone[(turn + k) % len(everyone)].step(turn >= 0)
    base = everyone[0].seconds

    def ratios(each: Clocked) -> list[float]:
        return sorted(own / first for own, first in zip(each.seconds, base, strict=True))

    rows: list[dict[str, object]] = []
    for name in ["ce again (A/A)", *names]:
        parts = [everyone[1]] if "A/A" in name else [each for each in everyone[2:] if each.name == name]
        last = ratios(parts[-1])
        whole = sum(statistics.median(ratios(p)) * p.bench.stage.epochs * (p.bench.stage.part or 1) for p in parts)
        rows.append({
            "method": name, "milliseconds": 1000 * statistics.median(parts[-1].seconds),
            "step": statistics.median(last), "low": last[rounds // 10], "high": last[-1 - rounds // 10],
            "whole": whole / EPOCHS,
        })  # fmt: skip
    return rows


def main() -> None:
    """Race, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    names = given.methods or [
        name + plus
        for name in list_methods()
        for plus in ([""] if method_class(name).owns_branches else ["", " + ALASCA"])
    ]
    parts = []
    for label, shape in SIZES.items():
        rows = race(names, shape, given.rounds, given.device)
        parts.append(pd.DataFrame(rows).assign(data=label, threads=given.threads, rounds=given.rounds))
    table = pd.concat(parts).round(3)
    print(table.to_string(index=False))
    if not given.methods:
        results = ROOT / "results" / "steps.csv"
        results.parent.mkdir(exist_ok=True)
        table.to_csv(results, index=False)


if __name__ == "__main__":
    main()
