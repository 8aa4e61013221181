"""What cells take, before any was trained: a step of their networks is timed on this machine, on random inputs."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from alasca.engine import resolve_device
from alasca.errors import InputError
from alasca.functional import cross_entropy
from alasca.methods import method_class
from alasca.networks import create_network
from alasca.paper.catalogue import Cell
from alasca.paper.outcomes import Outcome
from alasca.paper.work import expected
from alasca.recipe import Place, Recipe
from alasca.surgery import OutputNet, set_arithmetic
from alasca.training import machine_of

SHAPES = {"digits": (1, 8, 8), "clothing1m": (3, 224, 224)}
"""Of pictures; all others are 3x32x32."""
SAMPLES = {"digits": 1_347, "clothing1m": 64 * 2000}
"""Samples of an epoch; of all others 50,000."""
TESTS = {"digits": 450, "clothing1m": 10_526}
"""Test samples, which every epoch ends with; of all others 10,000."""
FACTORS = {"har": 3.5, "dividemix": 4.5, "elr_plus": 3.1, "cdr": 1.3, "crust": 1.2, "one": 1.8, "byot": 1.3}
"""Time of a whole training without ALASCA as a ratio to cross-entropy's; others: one for each network."""


@dataclass
class Estimates:
    """Seconds and bytes of cells on a device: by finished ones of the method, else of the network, else by a step.

    Attributes:
        place: the device.
        outcomes: finished cells.
    """

    place: Place
    outcomes: Mapping[str, Outcome]
    steps: dict[tuple[object, ...], tuple[float, float]] = field(default_factory=dict)

    def seconds(self, cell: Cell) -> float:
        """Of a whole cell."""
        device = str(machine_of(resolve_device(self.place.device))["device"])
        known = expected(cell, self.outcomes, device)
        if known is not None:
            return known
        rates = [
            each["wall"] / passes(recipe)
            for each in self.outcomes.values()
            if each["machine"]["device"] == device and each["failed"] is None
            if network_of(recipe := Recipe.from_json(each["recipe"])) == network_of(cell.recipe)
        ]
        return passes(cell.recipe) * (statistics.median(rates) if rates else self.step(cell.recipe)[0])

    def memory(self, cell: Cell) -> float:
        """Bytes of a GPU, or of what networks take on a processor, about."""
        return self.step(cell.recipe)[1] * (2 if method_class(cell.recipe.method).networks > 1 else 1)

    def step(self, recipe: Recipe) -> tuple[float, float]:
        """Seconds a sample of a forward and backward of one network, and bytes of its batch and weights."""
        data, key = source_of(recipe), network_of(recipe)
        if key not in self.steps:
            classes = {"cifar100": 100, "clothing1m": 14}.get(data, 10)
            shape = SHAPES.get(data, (3, 32, 32))
            net = OutputNet(create_network(recipe.network, shape, classes), example=torch.zeros(2, *shape))
            if recipe.alasca:
                net.attach(None, torch.zeros(2, *shape))
            device = resolve_device(self.place.device)
            set_arithmetic(net.to(device), recipe.precision, True)
            rows = recipe.batch_size if device.type == "cuda" else 8
            self.steps[key] = timed(net, torch.randn(rows, *shape, device=device), recipe.batch_size)
        return self.steps[key]


def source_of(recipe: Recipe) -> str:
    """Data without their variant."""
    return recipe.data.partition(":")[0]


def network_of(recipe: Recipe) -> tuple[object, ...]:
    """What the time of one network's step depends on."""
    return (recipe.network, source_of(recipe), recipe.batch_size, recipe.precision, recipe.alasca)


def passes(recipe: Recipe) -> float:
    """Samples that one network is trained on in a whole training, a test sample as a third of one."""
    data = source_of(recipe)
    count = min(recipe.limit or 1 << 40, recipe.epoch_samples or SAMPLES.get(data, 50_000))
    trained = count * (1 - (recipe.val_fraction or 0.0))
    factor = FACTORS.get(recipe.method, float(method_class(recipe.method).networks))
    return recipe.epochs * (trained * factor + TESTS.get(data, 10_000) / 3)


def timed(net: OutputNet, inputs: Tensor, batch: int) -> tuple[float, float]:
    """Seconds a sample of a forward and backward, and bytes of what a batch saves, weights, gradients and momentum."""
    labels = torch.zeros(len(inputs), dtype=torch.int64, device=inputs.device)
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.dim() and len(tensor) == len(inputs):  # of samples; weights are counted below
            saved[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    def step() -> None:
        output = net(inputs)
        losses = [cross_entropy(logits, labels).mean() for logits in (output.logits, *output.aux)]
        torch.autograd.backward(torch.stack(losses).sum())

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    took: list[float] = []
    while len(took) < 2 or (sum(took) < 0.5 and len(took) < 20):
        begun = time.monotonic()
        step()
        if inputs.is_cuda:
            torch.cuda.synchronize()
        took.append(time.monotonic() - begun)
    weights = sum(parameter.numel() * 4 for parameter in net.parameters())
    return min(took) / len(inputs), 3 * weights + sum(saved.values()) * batch / len(inputs)


def in_words(seconds: float) -> str:
    """A time for people.

    >>> in_words(0.3), in_words(95), in_words(4000), in_words(400_000)
    ('1 s', '2 min', '1.1 h', '4.6 days')
    """
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    if seconds < 3600:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


class Plan(NamedTuple):
    """What cells take.

    Attributes:
        rows: name, seed, time and memory of each, done ones marked.
        left: cells that are not done.
        seconds: of all that are left, one at a time, but for those of `unknown`.
        unknown: why nothing is known of some: their networks can't be made here; how many of each.
    """

    rows: list[list[str]]
    left: int
    seconds: float
    unknown: Counter[str]


def plan_of(cells: Sequence[Cell], estimates: Estimates, done: set[str]) -> Plan:
    """What cells take, those that are done left out."""
    rows, total, unknown = [], 0.0, Counter[str]()
    for cell in cells:
        when = memory = "-"
        if cell.id in done:
            when = "done"
        else:
            try:
                seconds = estimates.seconds(cell)
                when, memory = in_words(seconds), f"{estimates.memory(cell) / 2**20:,.0f} MiB"
                total += seconds
            except InputError as error:
                unknown[str(error)] += 1
        rows.append([cell.name, str(cell.seed), when, memory])
    return Plan(rows, sum(cell.id not in done for cell in cells), total, unknown)
