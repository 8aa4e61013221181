"""What a sample costs as the training set grows: synthetic 32x32 pictures in a file that is mapped into memory.

    python benchmarks/scale.py FOLDER                     # writes 10,000, 100,000 and 1,000,000 pictures there, trains
    python benchmarks/scale.py FOLDER --samples 10000

Each size is one ``alasca train --data npy:...`` of one epoch with ALASCA in a process of its own. Its anonymous memory
(``RssAnon``: the mapped file's own pages are not in it) is read five times a second from /proc, so that this needs
Linux. The table goes to ``docs/data.md``, the figures to ``results/scale.csv``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from pages import ROOT, put, table
from torch import Tensor, nn

SIZES = (10_000, 100_000, 1_000_000)
CLASSES = 10


class Tiny(nn.Module):
    """Two strided convolutions and a linear layer: the cost of a sample is the data's, not the network's."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), nn.ReLU())
        self.stage2 = nn.Sequential(nn.Conv2d(8, 16, 2, 2), nn.BatchNorm2d(16), nn.ReLU())
        self.classifier = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.stage2(self.stage1(x)).mean((2, 3)))
        return logits


def write(folder: Path, samples: int) -> None:
    """Pictures of noise with a bright row that tells the class, and labels of which 30% are drawn anew."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "y.npy").is_file():
        return
    draw = np.random.default_rng(0)
    labels = draw.integers(0, CLASSES, samples)
    pictures = np.lib.format.open_memmap(folder / "x.npy", "w+", np.uint8, (samples, 3, 32, 32))
    for start in range(0, samples, 10_000):
        part = labels[start : start + 10_000]
        block = draw.integers(0, 200, (len(part), 3, 32, 32), dtype=np.uint8)
        for k in range(CLASSES):
            block[part == k, :, 3 * k : 3 * k + 3] += 50
        pictures[start : start + len(part)] = block
    pictures.flush()
    noisy = np.where(draw.random(samples) < 0.3, draw.integers(0, CLASSES, samples), labels)
    np.save(folder / "y_true.npy", labels)
    np.save(folder / "y.npy", noisy)


def anonymous(process: int) -> float:
    """Anonymous memory of a process now, in MiB."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def measure(folder: Path, samples: int, batch: int) -> dict[str, float]:
    """One run: memory, time a sample in training and in all, and the share of it that was waiting."""
    data = folder / str(samples)
    write(data, samples)
    out = folder / f"run-{samples}-{time.time_ns()}"
    command = [
        sys.executable, "-m", "alasca.cli", "train", "--data", f"npy:{data}", "--network", "scale:Tiny",
        "--epochs", "1", "--batch-size", str(batch), "--val-fraction", "0.01", "--device", "cpu", "--out", str(out),
    ]  # fmt: skip
    begun, peak = time.monotonic(), 0.0
    with subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    whole = time.monotonic() - begun
    record = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    return {
        "samples": samples, "peak_anonymous_mib": peak, "training_us_a_sample": 1e6 * record["seconds"] / samples,
        "whole_us_a_sample": 1e6 * whole / samples, "waited_percent": record["waited"],
        "checkpoint_mib": sum(f.stat().st_size for f in (out / "checkpoint").rglob("*") if f.is_file()) / 2**21,
    }  # fmt: skip


def main() -> None:
    """Measure, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, nargs="+", default=SIZES)
    parser.add_argument("--batch-size", type=int, default=256)
    given = parser.parse_args()
    found = pd.DataFrame([measure(given.folder.resolve(), count, given.batch_size) for count in given.samples])
    print(found.round(1).to_string(index=False))
    if tuple(given.samples) != SIZES:
        return
    found.round(1).to_csv(ROOT / "results" / "scale.csv", index=False)
    heads = ["samples", "peak anonymous memory", "training, a sample", "from start to end, a sample", "waited for data"]
    rows = [
        [f"{row.samples:,.0f}", f"{row.peak_anonymous_mib:,.0f} MiB", f"{row.training_us_a_sample:.0f} µs",
         f"{row.whole_us_a_sample:.0f} µs", f"{row.waited_percent:.0f}%"]
        for row in found.itertuples()
    ]  # fmt: skip
    put("scale", table(heads, rows), "data.md")


if __name__ == "__main__":
    main()
