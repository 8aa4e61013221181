"""From recipe and task to a run that can begin: everything read, resolved and checked, nothing written."""

from __future__ import annotations

import hashlib
import platform
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alasca import __version__
from alasca.core import unwrapped
from alasca.data import Rows, Split, Task, Texts, load_task, make_split, relabelled
from alasca.data.transform import KINDS
from alasca.distributed import world
from alasca.engine import Job, computed_as, obstacle, precision_on, resolve_device
from alasca.errors import InputError
from alasca.functional import transition_counts
from alasca.methods import all_options, method_of
from alasca.networks import create_network, named_network
from alasca.recipe import Place, Recipe
from alasca.runs import FORMAT, own_tokenizer, tokens_of
from alasca.surgery import OutputNet
from alasca.values import written

MATRIX_CLASSES = 1000
"""Classes up to which a run keeps its transition matrix."""
"""Of run folders; a newer one is not read by older versions."""


@dataclass(frozen=True)
class Prepared:
    """A run that can begin.

    Attributes:
        recipe: nothing in it is left open.
        task: as it was read.
        split: what is trained and judged on.
        job: what the loop gets.
        notes: a line each for what a person should know.
        places: names of the modules that sub-classifiers are attached to.
        parameters: of all networks, sub-classifiers included.
        checkpoint_bytes: of one checkpoint, about.
    """

    recipe: Recipe
    task: Task
    split: Split
    job: Job
    notes: tuple[str, ...]
    places: tuple[str, ...]
    parameters: int
    checkpoint_bytes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample, as the network reads it."""
        return shape_of(self.split)


def resolve(recipe: Recipe, task: Task) -> Recipe:
    """The recipe with everything decided that it leaves to the data and the method.

    Raises:
        InputError: no such method, option, preset or network.
    """
    recipe = replace(recipe, options=all_options(recipe), preset=None)
    method = method_of(recipe)
    select = recipe.select or method.select
    fraction = recipe.val_fraction
    if fraction is None:
        fraction = 0.1 if method.uses_best or select == "noisy-val" or task.test_labels is None else 0.0
        fraction = 0.0 if task.held is not None else fraction
    elif fraction and task.held is not None:
        raise InputError(f"val-fraction: {fraction}, but the data have held-out samples of their own; leave it out")
    kind = "texts" if isinstance(task.inputs, Texts) else KINDS[task.inputs.dtype]
    check_sizes(recipe, task, kind)
    if recipe.epoch_samples is not None and recipe.epoch_samples > len(task.labels):
        raise InputError(f"epoch-samples: {recipe.epoch_samples}, but there are {len(task.labels)} samples")
    crops = recipe.crop is not None and task.crop is None  # its random place is all the shift there is
    return replace(
        recipe, network=named_network(recipe.network, kind), select=select, val_fraction=fraction,
        noise_seed=recipe.seed if recipe.noise_seed is None else recipe.noise_seed,
        epoch_samples=task.epoch_samples if recipe.epoch_samples is None else recipe.epoch_samples,
        shift=recipe.shift if recipe.shift is not None else 0 if crops else task.shift,
        flip=task.flip if recipe.flip is None else recipe.flip,
        image_size=task.size, crop=recipe.crop or task.crop,
    )  # fmt: skip


def check_sizes(recipe: Recipe, task: Task, kind: str) -> None:
    """Raise `InputError` for sizes that these samples can't be given."""
    if isinstance(task.inputs, Texts) or kind != "pictures":
        named = {
            "image-size": recipe.image_size, "crop": recipe.crop, "shift": recipe.shift, "flip": recipe.flip,
            "augment": None if recipe.augment == "weak" else recipe.augment,
        }  # fmt: skip
        for name, value in named.items():
            if value:
                raise InputError(f"{name}: {written(value)}, but the data are {kind}; leave it out")
        return
    if recipe.image_size is not None and recipe.image_size != task.size:
        mend = "resize the arrays" if task.size is None else f"make the task with image_size={recipe.image_size}"
        raise InputError(
            f"image-size: {recipe.image_size}, but these pictures are {'x'.join(map(str, task.inputs.shape[2:]))} "
            f"already; {mend}, or leave it out"
        )
    side = min(task.inputs.shape[2:])
    if recipe.shift is not None and recipe.shift >= side:
        raise InputError(f"shift: {recipe.shift}, expected less than the pictures' side ({side})")
    if recipe.crop is not None and recipe.crop > side:
        raise InputError(f"crop: {recipe.crop}, expected at most the pictures' side ({side})")


def prepare(recipe: Recipe, task: Task | None = None, place: Place = Place()) -> Prepared:  # noqa: B008  # frozen
    """Read the data, make the noise and the splits, and check every setting.

    Args:
        recipe: what is to be done.
        task: on what; None: what the recipe names.
        place: where.

    Raises:
        InputError: something in it is wrong.
    """
    recipe = replace(recipe, precision=precision_on(resolve_device(place.device), recipe.precision))
    method_of(recipe)  # what can be known to be wrong is said before anything is read
    task = load_task(recipe, place) if task is None else task
    task = task if recipe.labels is None else relabelled(task, recipe.labels)
    recipe = resolve(recipe, task)
    split, notes = make_split(task, recipe, own_tokenizer(recipe) if isinstance(task.inputs, Texts) else None)
    tokens, shape = tokens_of(split.samples.transform), shape_of(split)

    def make_network() -> nn.Module:
        return create_network(recipe.network, shape, split.num_classes, tokens, recipe.pretrained)

    rehearsal = Job(method_of(recipe), make_network, split, recipe, place)
    rehearsed = rehearsal.rehearse()
    size = rehearsal.checkpoint_bytes(rehearsed)
    first = unwrapped(rehearsed[0])
    places = tuple(first.places) if isinstance(first, OutputNet) else ()
    if recipe.alasca and places:
        chosen = {"alasca.at": places, "alasca.predict": method_of(recipe).prediction}
        recipe = replace(recipe, options={**recipe.options, **chosen})
    parameters = sum(parameter.numel() for net in rehearsed for parameter in net.parameters())
    job = Job(method_of(recipe), make_network, split, recipe, place)
    return Prepared(recipe, task, split, job, notes, places, parameters, size)


def shape_of(split: Split) -> tuple[int, ...]:
    """Shape of one sample, as the network reads it."""
    return tuple(split.samples.view("plain", split.train[:2]).shape[1:])


def describe(prepared: Prepared) -> dict[str, Any]:
    """What goes into run.json."""
    split, place = prepared.split, prepared.job.place
    device = resolve_device(place.device)
    labels = hashlib.sha256(split.samples.labels.numpy().tobytes()).hexdigest()
    return {
        "format": FORMAT,
        "alasca": __version__,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "started_in": str(Path.cwd()),
        "title": prepared.recipe.title,
        "recipe": prepared.recipe.as_json(),
        "place": place.as_json(),
        "recipe_sha256": prepared.recipe.digest(),
        "data_sha256": hashlib.sha256((prepared.task.digest() + labels).encode()).hexdigest(),
        "classes": list(prepared.task.classes),
        "train_samples": len(split.train),
        "val_samples": 0 if split.held is None else len(split.held),
        "test_samples": 0 if split.test is None else len(split.test),
        "noise_rate": split.noise_rate,
        "places": list(prepared.places),
        "notes": list(prepared.notes),
        "reads_files": isinstance(split.samples.inputs, Rows),
        "machine": machine_of(device),
        "exact_resume": device.type == "cpu" or place.deterministic,
        "arithmetic": computed_as(device, prepared.job.precision, place.deterministic),
        "eager_because": obstacle(prepared.job),
    }


def machine_of(device: torch.device) -> dict[str, Any]:
    """What the bits of a result depend on, beside recipe and data."""
    return {
        "machine": platform.machine(),
        "torch": str(torch.__version__),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "processes": world()[1],
    }


def transitions(prepared: Prepared) -> torch.Tensor | None:
    """How many samples of true class i are labelled j ``[K, K]``, where the truth is known."""
    split = prepared.split
    if split.truth is None or split.num_classes > MATRIX_CLASSES:
        return None
    known = (split.truth >= 0) & (split.samples.labels >= 0)
    return transition_counts(split.truth[known], split.samples.labels[known], split.num_classes)
