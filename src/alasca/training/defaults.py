"""Settings that suit data nobody has told us anything about: what ``alasca clean`` trains with.

The choices rest on ``benchmarks/audit.py``, whose table is in ``docs/audit.md``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch

from alasca.core import Phase, Stream
from alasca.data import Loader, Task, Texts
from alasca.engine import Progress, Stopped, Trainer, borrowed_process, multiplies_bf16, resolve_device
from alasca.recipe import Place, Recipe
from alasca.training.prepare import prepare

VISITS = 300_000
"""Samples that a training looks at, about: small data are looked at more often."""
FEWEST, MOST = 10, 60
"""Epochs, where nobody says how many minutes there are."""
MOST_STRONG = 120
"""The same of pictures in strong views, which take longer to learn by heart."""
SMALL_SIDE = 16
"""Side of pictures below which these are as easy to learn by heart as rows of numbers."""
SMALL_DATA = 1000
FEW = 100
"""Pictures a class below which a network that was trained on other data sees far more than one that starts anew."""
TEXT_EPOCHS = 12
"""A bag of words has learned by then, and goes on to learn wrong labels by heart."""
UNEVEN, BALANCE = 1.5, 0.5
"""How often the most frequent label is the rarest from where on classes are balanced, and how far: by the root of their
frequency. All the way, wrong labels of a rare class would count as much as right ones of a frequent class."""
LEAST = 5
"""Epochs below which a training says little of its labels."""


def suited(task: Task, given: Mapping[str, Any] = MappingProxyType({}), device: str = "auto") -> dict[str, Any]:
    """Settings of a recipe that suit a task.

    Nothing is held out, so that every label is judged by training. The method is ELR inside ALASCA where a network
    learns all labels by heart in a few epochs, wrong ones too (rows of numbers, small pictures, texts); elsewhere
    cross-entropy inside ALASCA, with strong views of pictures, in bf16 on a processor that has instructions for it.
    Rare classes count more than others.

    Args:
        task: the data.
        given: settings that a person chose, on which others depend.
        device: that it is trained on; see `Place`.
    """
    counts = task.labels[task.labels >= 0].bincount()
    count, there = int(counts.sum()), counts[counts > 0]
    found: dict[str, Any] = {"epochs": int(min(MOST, max(FEWEST, round(VISITS / count)))), "method": "ce"}
    if task.held is None:
        found["val_fraction"] = 0.0
    if len(there) and there.max() > UNEVEN * there.min() and task.epoch_samples is None:
        found["balance"] = BALANCE
    if isinstance(task.inputs, Texts):
        return {**found, "method": "elr", "epochs": TEXT_EPOCHS}
    pictures = task.inputs.dtype == torch.uint8
    if not pictures or min(task.inputs.shape[2:]) < SMALL_SIDE:
        found["method"] = "elr"
    elif given.get("augment", "strong") != "weak":
        found |= {"augment": "strong", "epochs": int(min(MOST_STRONG, max(FEWEST, round(VISITS / count))))}
    if pictures and min(task.inputs.shape[2:]) >= SMALL_SIDE and multiplies_bf16(resolve_device(device)):
        found["precision"] = "bf16"
    if not pictures and count < SMALL_DATA:
        found |= {"batch_size": 32, "lr": 0.02}
    return found


def advice(task: Task, recipe: Recipe) -> str | None:
    """What would help more than any setting: features of a trained network, where there are few pictures a class."""
    known = task.labels[task.labels >= 0]
    pictures = task.inputs.dtype == torch.uint8 if not isinstance(task.inputs, Texts) else False
    each = len(known) / max(1, int((known.bincount() > 0).sum()))
    if not pictures or recipe.pretrained or recipe.network.startswith("hf:") or each >= FEW:
        return None
    return (
        f"{each:.0f} pictures a class are few to learn from; features of a network that was trained on other pictures "
        "tell more: see alasca embed --help"
    )


class Stopwatch(Progress):
    """Notes when steps end."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def step(self, epochs_done: float) -> None:
        """A step is over."""
        self.times.append(time.monotonic())


def within(recipe: Recipe, task: Task, place: Place, minutes: float) -> tuple[Recipe, str]:
    """The recipe with as many epochs as fit a time, by the speed of ten steps; and what to say of it.

    Where not even `LEAST` epochs fit, an epoch takes a class-balanced part of the data.

    Args:
        recipe, task, place: of the training.
        minutes: all that there are; a tenth of them is left for what comes after training.
    """
    watch = Stopwatch()
    with borrowed_process(place):
        prepared = prepare(recipe, task, place)
        split = prepared.split
        with contextlib.suppress(Stopped):
            Trainer(prepared.job, progress=watch, stop_after=13).fit()
        loader = Loader(split.samples, split.pool(recipe.seed), recipe.batch_size, recipe.seed)
        steps = loader.steps(Phase((), {"all": Stream()}))
    times = watch.times[min(3, len(watch.times) - 2) :]
    each = (times[-1] - times[0]) / (len(times) - 1) * steps
    fit = 0.9 * 60 * minutes / each
    if fit >= LEAST:
        epochs = min(2 * recipe.epochs, int(fit))
        return replace(recipe, epochs=epochs), f"{epochs} epochs fit {minutes:g} minutes ({each:.1f} seconds each)"
    whole = loader.pool_size
    part = min(whole, max(len(task.classes), recipe.batch_size, int(whole * fit / LEAST)))
    return (
        replace(recipe, epochs=LEAST, epoch_samples=part),
        f"{LEAST} epochs of {part:,} of {whole:,} samples fit {minutes:g} minutes; more would be better",
    )
