"""How well the share of wrong labels is estimated from a network in training, without true labels, on digits.

    python benchmarks/noise_rate.py

Trains by plain cross-entropy, with the settings of ``benchmarks/digits.py``, and looks after some epochs at the
training samples: a mixture of two components on the losses, and the confident joint. Writes ``results/noise_rate.csv``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import pages
import pandas as pd
import torch

from alasca import Place, Recipe
from alasca.core import Clock, Net, Phase, Probe
from alasca.engine import Trainer
from alasca.functional import cross_entropy
from alasca.functional.selection import mixture_noise_rate
from alasca.methods.ce import CrossEntropy
from alasca.sample_selection import estimated_noise_rate
from alasca.training import prepare

EPOCHS, LOOKS, RATES = 60, (5, 10, 15, 30, 59), (0.2, 0.4, 0.6, 0.8)


class Estimating(CrossEntropy):
    """Cross-entropy that notes both estimates."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, float]] = []

    def plan(self, nets: Sequence[Net], probe: Probe, clock: Clock) -> list[Phase]:
        if clock.epoch in LOOKS:
            losses = probe(nets[0], lambda output, batch: cross_entropy(output.logits, batch.labels))
            self.found.append({
                "epochs": clock.epoch, "mixture": mixture_noise_rate(losses),
                "joint": estimated_noise_rate(nets[0], probe),
            })  # fmt: skip
        return super().plan(nets, probe, clock)


def estimates(rate: float, seed: int) -> pd.DataFrame:
    """Both estimates after some epochs of one run."""
    torch.set_num_threads(1)
    recipe = Recipe(noise=f"symmetric:{rate}", alasca=False, epochs=EPOCHS, batch_size=128, lr=0.1, seed=seed)
    prepared, method = prepare(recipe, None, Place(device="cpu")), Estimating()
    Trainer(replace(prepared.job, method=method)).fit()
    return pd.DataFrame(method.found).assign(noise=rate, true=prepared.split.noise_rate, seed=seed)


def main() -> None:
    """All rates and seeds, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="from the figures that are there")
    results = pages.ROOT / "results" / "noise_rate.csv"
    if not parser.parse_args().table:
        found = pd.concat([estimates(rate, seed) for rate in RATES for seed in range(3)])
        found.round(4).to_csv(results, index=False)
    found = pd.read_csv(results)
    for name in ("mixture", "joint"):
        found[name] = (found[name] - found.true).abs()
    error = found.groupby(["epochs", "noise"])[["joint", "mixture"]].mean()
    rows = [
        [str(after), *(" / ".join(f"{value:.2f}" for value in error.loc[(after, rate)]) for rate in RATES)]
        for after in LOOKS
    ]
    text = pages.table(["epochs", *(f"{100 * rate:.0f}%" for rate in RATES)], rows)
    pages.put("noise-rate", text)
    print(text)


if __name__ == "__main__":
    main()
