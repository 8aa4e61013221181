"""What a training step of a method costs, as a ratio to cross-entropy's: one process, interleaved, medians.

    python benchmarks/steps.py har cdr elr

Every round times one step of each method on the same batch, in an order that rotates; cross-entropy runs twice, and the
ratio of its two clocks (A/A) says what the machine can tell apart. Writes ``results/steps.csv``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import pandas as pd
import torch

from alasca.core import Clock
from alasca.data.samples import Samples
from alasca.engine import Data, Trainer, Training
from alasca.methods import create_method, wrap
from alasca.networks.small import SmallResNet

ROOT = Path(__file__).parent.parent
SIZES = {"digits: 1x8x8, batch 128": (1, 8, 128), "pictures: 3x32x32, batch 32": (3, 32, 32)}


def pictures(channels: int, size: int, rows: int) -> Data:
    """Random pictures: only the time counts."""
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (rows, channels, size, size), generator=draw).to(torch.uint8)
    return Data(Samples(inputs, torch.randint(10, (rows,), generator=draw), shift=1).with_statistics(), 10)


class Clocked:
    """A method in its last stage, on one batch."""

    def __init__(self, name: str, channels: int, size: int, rows: int, device: str) -> None:
        plain, plus, _ = name.partition("+alasca")
        method = wrap(create_method(plain)) if plus else create_method(plain)
        training = Training(batch_size=rows, lr=1e-3, device=device)
        data = pictures(channels, size, 2 * rows)
        self.made = Trainer(method, lambda: SmallResNet(channels, 10), data, training)
        last = len(self.made.stages) - 1
        self.made.state.position.stage = last
        self.made._enter(self.made.stages[last], None)
        self.clock = Clock(last, 1, 60, 0, 2)
        self.phase = method.plan(self.made.nets, self.made.probe, self.clock)[-1]
        self.batches = next(self.made.loader.batches(self.phase, (last, 0, 0)))
        self.seconds: list[float] = []

    def step(self, keep: bool) -> None:
        """One optimiser step."""
        begun = time.perf_counter()
        self.made._micro_batch(self.phase, self.batches, self.clock, True, 1)
        if self.made.device.type == "cuda":
            torch.cuda.synchronize()
        if keep:
            self.seconds.append(time.perf_counter() - begun)


def race(names: list[str], shape: tuple[int, int, int], rounds: int, device: str) -> list[dict[str, object]]:
    """Median ratios of each method's step to cross-entropy's."""
    everyone = [Clocked(name, *shape, device) for name in ["ce", "ce", *names]]
    for turn in range(-5, rounds):
        for k in range(len(everyone)):
            everyone[(turn + k) % len(everyone)].step(turn >= 0)
    base = everyone[0].seconds
    rows = []
    for name, each in zip(["ce", "ce again (A/A)", *names], everyone, strict=True):
        ratios = sorted(own / first for own, first in zip(each.seconds, base, strict=True))
        rows.append({
            "method": name, "milliseconds": 1000 * statistics.median(each.seconds),
            "step_ratio": statistics.median(ratios), "low": ratios[rounds // 10], "high": ratios[-rounds // 10],
        })  # fmt: skip
    return rows


def main() -> None:
    """Race, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="+")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    parts = []
    for label, shape in SIZES.items():
        rows = race(given.methods, shape, given.rounds, given.device)
        parts.append(pd.DataFrame(rows).assign(data=label, threads=given.threads, rounds=given.rounds))
    table = pd.concat(parts)
    results = ROOT / "results" / "steps.csv"
    results.parent.mkdir(exist_ok=True)
    table.round(3).to_csv(results, index=False)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
