"""How well the share of wrong labels is estimated from a network in training, without true labels, on digits.

    python benchmarks/noise_rate.py

Trains by plain cross-entropy, with the settings of ``benchmarks/digits.py``, and looks after some epochs at the
training samples: a mixture of two components on the losses, and the confident joint. Writes ``results/noise_rate.csv``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from torch import nn

from alasca.core import Clock, Phase, Probe
from alasca.engine import Trainer, Training
from alasca.experiment import Settings
from alasca.experiment.prepare import prepare
from alasca.functional import cross_entropy
from alasca.functional.selection import mixture_noise_rate
from alasca.methods.ce import CrossEntropy
from alasca.stores import estimated_noise_rate

ROOT = Path(__file__).parent.parent
EPOCHS, LOOKS = 60, (5, 10, 15, 30, 59)


class Estimating(CrossEntropy):
    """Cross-entropy that notes both estimates."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, float]] = []

    def plan(self, nets: Sequence[nn.Module], probe: Probe, clock: Clock) -> list[Phase]:
        if clock.epoch in LOOKS:
            losses = probe(nets[0], lambda output, batch: cross_entropy(output.logits, batch.labels))
            self.found.append({
                "epochs": clock.epoch, "mixture": mixture_noise_rate(losses),
                "joint": estimated_noise_rate(nets[0], probe),
            })  # fmt: skip
        return super().plan(nets, probe, clock)


def estimates(rate: float, seed: int) -> pd.DataFrame:
    """Both estimates after some epochs of one run."""
    training = Training(epochs=EPOCHS, batch_size=128, lr=0.1, device="cpu", seed=seed)
    prepared = prepare(Settings(data="digits", noise=f"symmetric:{rate}", method="ce", training=training, threads=1))
    method = Estimating()
    Trainer(method, prepared.make_network, prepared.data, training).fit()
    return pd.DataFrame(method.found).assign(noise=rate, true=prepared.noise_rate, seed=seed)


def main() -> None:
    """All rates and seeds, then the table."""
    rates, seeds = (0.2, 0.4, 0.6, 0.8), range(3)
    table = pd.concat([estimates(rate, seed) for rate in rates for seed in seeds])
    table.round(4).to_csv(ROOT / "results" / "noise_rate.csv", index=False)
    shown = table.groupby(["noise", "epochs"])[["true", "mixture", "joint"]].mean()
    print(shown.round(3).to_string())


if __name__ == "__main__":
    main()
