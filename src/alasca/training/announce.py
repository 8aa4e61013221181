"""What a run is about to do, in a few lines, so that a wrong column or class is seen before hours are spent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from alasca.core import Phase, Stream
from alasca.data import Loader
from alasca.data.balance import class_weights
from alasca.engine import resolve_device
from alasca.training.prepare import Prepared


def announce(prepared: Prepared, folder: Path) -> list[tuple[str, str]]:
    """Heads and texts: samples, classes, what was read, labels, network, method, machine, folder."""
    split, recipe, place = prepared.split, prepared.recipe, prepared.job.place
    kind = {"texts": "texts of up to {} tokens", "pictures": "pictures of {}", "numbers": "rows of {} numbers"}
    shape = "x".join(map(str, prepared.shape))
    counts = f"{len(split.train):,} to train on"
    counts += f", {len(split.held):,} held out" if split.held is not None else ""
    counts += f", {len(split.test):,} to test on" if split.test is not None else ", none to test on"
    found = [
        ("samples", f"{counts}; {kind[split.samples.transform.kind].format(shape)}"),
        ("classes", class_counts(prepared.task.classes, split.samples.labels)),
    ]
    drawn = split.samples.labels.cpu()[split.pool(recipe.seed).draw(0, 0)]
    weights = class_weights(drawn, split.num_classes, recipe.balance)
    if weights is not None:
        found.append(("balance", balance_told(prepared.task.classes, weights)))
    if split.noise_rate is not None:
        made = "" if recipe.noise == "none" else f" ({recipe.noise})"
        found.append(("labels", f"{100 * split.noise_rate:.1f}% wrong in truth{made}, which training can't see"))
    found += [("read", note) for note in prepared.notes]
    places = f"; sub-classifiers after {', '.join(prepared.places)}" if prepared.places and recipe.alasca else ""
    found.append(("network", f"{recipe.network}, {prepared.parameters:,} parameters{places}"))
    steps = Loader(split.samples, split.pool(recipe.seed), recipe.batch_size, recipe.seed)
    each = steps.steps(Phase((), {"all": Stream()}))
    found.append(("method", f"{recipe.title}, {recipe.epochs} epochs of {each:,} steps of {recipe.batch_size}"))
    found.append(("machine", f"{resolve_device(place.device)}, {recipe.precision}"))
    found.append(("folder", str(folder)))
    return found


def balance_told(classes: Sequence[str], weights: Tensor) -> str:
    """How much samples of the rarest and of the most frequent class count.

    >>> import torch
    >>> balance_told(("cat", "dog"), torch.tensor([3.2, 0.5]))
    'rare classes count more for the main classifier: a sample of cat 3.2 times, one of dog 0.5'
    """
    high, low = int(weights.argmax()), int(weights.argmin())
    return (
        f"rare classes count more for the main classifier: a sample of {classes[high]} {weights[high]:.2g} times, "
        f"one of {classes[low]} {weights[low]:.2g}"
    )


def class_counts(classes: Sequence[str], labels: Tensor, most: int = 10) -> str:
    """Classes with their counts; of many the largest and the smallest.

    >>> import torch
    >>> class_counts(("cat", "dog"), torch.tensor([0, 1, 1]))
    '2: cat (1), dog (2)'
    """
    counts = labels[labels >= 0].bincount(minlength=len(classes)).tolist()
    named = [f"{name} ({count:,})" for name, count in zip(classes, counts, strict=True)]
    if len(named) <= most:
        return f"{len(named)}: {', '.join(named)}"
    order = sorted(range(len(named)), key=lambda k: -counts[k])
    large, small = order[: most // 2], order[-(most // 2) :]
    return f"{len(named):,}: {', '.join(named[k] for k in large)}, ..., {', '.join(named[k] for k in small)}"
