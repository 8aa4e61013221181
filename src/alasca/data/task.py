"""A task: samples with the labels that were given to them, as they were read, before noise, limits and splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from alasca.data.rows import Rows
from alasca.data.text import Texts
from alasca.data.transform import Column
from alasca.recipe import Place, Recipe

Inputs = Tensor | Rows | Texts


class Reading(NamedTuple):
    """How files are read: the recipe says what of them, the place where they are and with how many hands."""

    recipe: Recipe = Recipe()
    place: Place = Place()


@dataclass(frozen=True)
class Task:
    """What there is to learn from. Read by `alasca.data.load_task` or made by `from_arrays`.

    Attributes:
        inputs: pictures ``[N, C, H, W]`` uint8, rows of numbers ``[N, D]`` float32, or texts.
        labels: ``[N]``, int64, as they were given; -1 where none was: such samples are scored and never trained on.
        ids: one string a sample, stable between runs.
        classes: class names; a label is a position in them.
        test_inputs, test_labels: a test set whose labels are taken for true, or None.
        truth: true labels ``[N]``, for evaluation only, -1 where not known; or None.
        held: positions of samples that are held out, with their given labels; None: as the recipe says.
        shift, flip, crop: what views of these pictures may do; see `alasca.data.Transform`.
        size, keep_ratio, span: how pictures were made of files, or None, False and None.
        columns: what became of a table's columns.
        mean, std: published statistics of the channels, in [0, 1]; None: measured on the training set.
        maps: published confusions for asymmetric noise, by name, the usual one first.
        blank: positions of pictures that can't be read and are never trained on.
        epoch_samples: samples of an epoch's class-balanced subset, drawn anew each time; None: all.
        notes: a line each for what a person should know about how it was read.
        groups: a number for each sample ``[N]``: those of one group are held out and judged together; or None.
        kept: positions, in the order of all `whole` samples that the source names, of those that are left; None: all.
        whole: how many the source names; None: as many as there are.
    """

    inputs: Inputs
    labels: Tensor
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    test_inputs: Inputs | None = None
    test_labels: Tensor | None = None
    truth: Tensor | None = None
    held: Tensor | None = None
    shift: int = 0
    flip: bool = False
    crop: int | None = None
    size: int | None = None
    keep_ratio: bool = False
    span: tuple[float, float] | None = None
    columns: tuple[Column, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    maps: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    blank: tuple[int, ...] = ()
    epoch_samples: int | None = None
    notes: tuple[str, ...] = ()
    groups: Tensor | None = None
    kept: Tensor | None = None
    whole: int | None = None

    @classmethod
    def from_arrays(
        cls,
        inputs: Any,
        labels: Any,
        *,
        test: tuple[Any, Any] | None = None,
        val: tuple[Any, Any] | None = None,
        truth: Any = None,
        ids: Sequence[Any] | None = None,
        classes: Sequence[str] | None = None,
        image_size: int | None = None,
        groups: Sequence[Any] | None = None,
    ) -> Task:
        """A task from what is in memory.

        Args:
            inputs: pictures (uint8, or floats from 0 to 1) ``[N, C, H, W]``, ``[N, H, W, C]`` or ``[N, H, W]``, or rows
                of numbers ``[N, D]``, as a tensor or array; a data frame; a list of texts or of paths of pictures.
            labels: one a sample: whole numbers, strings, or anything else that can be written.
            test: inputs and true labels of a test set.
            val: inputs and given (noisy) labels of samples to hold out.
            truth: true labels of `inputs`, for evaluation only.
            ids: names of the samples; default: their positions.
            classes: class names in order; labels that are whole numbers are then positions in them. Default: the
                labels, by number where all are whole numbers, else by text.
            image_size: side to which pictures from paths are resized; None: 32.
            groups: a value for each of `inputs`, such as the product that a picture shows: samples of one group are
                held out together, and do not vouch for each other's labels.

        Raises:
            InputError: what does not fit together, in one line.
        """
        from alasca.data.sources.memory import grouped, task_from_arrays

        task = task_from_arrays(inputs, labels, test, val, truth, ids, classes, image_size)
        return task if groups is None else grouped(task, groups)

    @classmethod
    def from_dataset(cls, dataset: Any, *, test: Any = None, classes: Sequence[str] | None = None) -> Task:
        """A task from map-style torch `Dataset`s whose items are (input, label); all are read into memory.

        Args:
            dataset: the training set; its inputs are tensors, arrays or pictures of one size.
            test: a test set.
            classes: class names; default: the data set's `classes`, where it has such, else as in `from_arrays`.

        Raises:
            InputError: items of other kinds or shapes.
        """
        from alasca.data.sources.memory import read_dataset

        inputs, labels = read_dataset(dataset)
        names = classes if classes is not None else getattr(dataset, "classes", None)
        tested = None if test is None else read_dataset(test)
        return cls.from_arrays(inputs, labels, test=tested, classes=names)

    def digest(self) -> str:
        """sha256 over inputs, labels, ids and class names."""
        state = hashlib.sha256("\n".join(self.classes).encode())
        for name in self.ids:
            state.update(name.encode() + b"\0")
        for part in (self.inputs, self.labels, self.truth, self.test_inputs, self.test_labels):
            for piece in fingerprint(part):
                state.update(piece)
        return state.hexdigest()


def fingerprint(part: Inputs | None) -> Iterator[bytes | memoryview]:
    """The bytes that tell whether inputs or labels are still the same."""
    if isinstance(part, Tensor):
        yield str(tuple(part.shape)).encode()
        yield np.ascontiguousarray(part.numpy()).data
    elif part is not None:
        yield from part.fingerprint()
