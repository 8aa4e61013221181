"""What choosing samples costs between epochs, as a share of training: 50,000 samples, 10 classes, CIFAR's ResNet-34.

    python benchmarks/selection.py

Every round times one training step of batch 32 (1563 of them are an epoch), one scoring batch (a pass over the data
that every choice needs first; stated, not counted), and each choice on planted scores: the two-component mixture of
losses, FINE on 512 features, facility location of half of each class (one class of 5,000, times ten), exactly and
stochastically. Interleaved; medians. Writes ``results/selection.csv``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import pages
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from alasca.functional import facility_location, two_component_posterior
from alasca.functional.selection import alignment, class_directions, class_grams
from alasca.networks.small import ResidualBlock

SAMPLES, CLASSES, WIDTH, BATCH = 50_000, 10, 512, 32


def resnet34() -> nn.Sequential:
    """ResNet-34 for pictures of 32 by 32."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    before = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for k in range(blocks):
            layers.append(ResidualBlock(before, width, 2 if k == 0 and width > 64 else 1))
            before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES))


def planted(draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features ``[N, D]``, labels 60% of which are right, losses, and CRUST's gradients of one class."""
    true = torch.randint(CLASSES, (SAMPLES,), generator=draw)
    wrong = torch.rand(SAMPLES, generator=draw) < 0.4
    labels = torch.where(wrong, torch.randint(CLASSES, (SAMPLES,), generator=draw), true)
    centres = torch.randn(CLASSES, WIDTH, generator=draw)
    features = centres[true] + 0.5 * torch.randn(SAMPLES, WIDTH, generator=draw)
    logits = 4 * one_hot(true, CLASSES) + torch.randn(SAMPLES, CLASSES, generator=draw)
    losses = cross_entropy(logits, labels, reduction="none")
    gradients = (logits.softmax(1) - one_hot(labels, CLASSES)) @ torch.randn(CLASSES, CLASSES, generator=draw)
    return features, labels, losses, gradients[: SAMPLES // CLASSES]


def fine(features: Tensor, labels: Tensor) -> None:
    """Gram matrices, eigenvectors, scores and a mixture for each class."""
    scores = alignment(features, labels, class_directions(class_grams(features, labels, CLASSES)))
    for k in range(CLASSES):
        two_component_posterior(scores[labels == k], "high", tol=1e-6, reg=1e-6)


def main() -> None:
    """Race, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    draw = torch.Generator().manual_seed(0)
    features, labels, losses, gradients = planted(draw)
    net, pictures = resnet34(), torch.randn(BATCH, 3, 32, 32, generator=draw)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        torch.autograd.backward(cross_entropy(net(pictures), labels[:BATCH]))
        optimizer.step()
        optimizer.zero_grad()

    def score() -> None:
        with torch.no_grad():
            net(pictures)

    half = len(gradients) // 2
    steps = SAMPLES / BATCH
    tasks: dict[str, tuple[Callable[[], object], float]] = {
        "epoch of training": (step, steps),
        "scoring pass": (score, steps),
        "mixture of losses": (lambda: two_component_posterior(losses, max_iter=10, tol=1e-2), 1),
        "FINE": (lambda: fine(features, labels), 1),
        "facility location": (lambda: facility_location(gradients, half), CLASSES),
        "facility location, epsilon 0.1": (lambda: facility_location(gradients, half, 0.1), CLASSES),
    }
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(given.rounds + 1):
        for name, (task, times) in tasks.items():
            begun = time.perf_counter()
            task()
            if turn:
                seconds[name].append(times * (time.perf_counter() - begun))
    epoch = seconds["epoch of training"]
    rows = [
        {
            "task": name,
            "seconds": round(statistics.median(own), 2),
            "share of an epoch": f"{100 * statistics.median(a / b for a, b in zip(own, epoch, strict=True)):.2f}%",
        }
        for name, own in seconds.items()
    ]
    found = pd.DataFrame(rows)
    found.assign(threads=given.threads, rounds=given.rounds).to_csv(
        pages.ROOT / "results" / "selection.csv", index=False
    )
    text = pages.table([*found], [[str(value) for value in row] for row in found.to_numpy().tolist()])
    pages.put("selection", text)
    print(text)


if __name__ == "__main__":
    main()
