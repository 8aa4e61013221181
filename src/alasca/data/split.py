"""From a task to what a run trains and is judged on: limits, wrong labels, token ids, what is held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from alasca.data.balance import balanced_part
from alasca.data.noise import apply_noise, labels_from_file
from alasca.data.pool import Pool
from alasca.data.samples import Samples, subset
from alasca.data.seeds import generator
from alasca.data.task import Task
from alasca.data.text import PADDING, UNKNOWN, Texts, Vocabulary, encoded
from alasca.data.transform import KINDS, Transform
from alasca.errors import InputError
from alasca.recipe import Recipe


class Tokenizer(NamedTuple):
    """How texts become token ids.

    Attributes:
        tokens: token ids of a text.
        size: how many different ones there are.
        padding: the one that is none.
        words: the vocabulary, where it was made from the training texts.
        unknown: the one of whatever is not known; None: everything is.
    """

    tokens: Callable[[str], list[int]]
    size: int
    padding: int
    words: tuple[str, ...] | None = None
    unknown: int | None = None

    @classmethod
    def of_words(cls, words: tuple[str, ...]) -> Tokenizer:
        """By a vocabulary."""
        vocabulary = Vocabulary(words)
        return cls(vocabulary.tokens, len(vocabulary), PADDING, words, UNKNOWN)


@dataclass(frozen=True)
class Split:
    """What a run trains and is judged on, every sample by its position in `samples`.

    `truth` and `test` serve evaluation only; no method can reach them.

    Attributes:
        samples: all samples, trained on or held out, with given labels.
        num_classes: K.
        train: positions that are trained on ``[M]``.
        held: positions that are held out, with given (noisy) labels; None: none.
        test: samples whose labels are true, or None.
        truth: true labels ``[N]``, or None.
        epoch_samples: samples of an epoch's class-balanced subset, drawn anew each time; None: all.
        ids: names of the samples.
        texts: of the samples, where they are such.
        groups: see `Task`.
    """

    samples: Samples
    num_classes: int
    train: Tensor
    held: Tensor | None = None
    test: Samples | None = None
    truth: Tensor | None = None
    epoch_samples: int | None = None
    ids: tuple[str, ...] = ()
    texts: Texts | None = None
    groups: Tensor | None = None

    def pool(self, seed: int) -> Pool:
        """What epochs draw from."""
        return Pool(self.train, self.samples.labels.cpu(), self.epoch_samples, seed)

    def to(self, device: torch.device) -> Split:
        """The same on a device; positions and true labels stay on the CPU."""
        return replace(self, samples=self.samples.to(device), test=None if self.test is None else self.test.to(device))

    @property
    def noise_rate(self) -> float | None:
        """Share of wrong labels, where the truth is known."""
        if self.truth is None:
            return None
        given = self.samples.labels.cpu()
        known = (given >= 0) & (self.truth >= 0)
        return float((given != self.truth)[known].double().mean()) if bool(known.any()) else None


def make_split(task: Task, recipe: Recipe, tokenizer: Tokenizer | None = None) -> tuple[Split, tuple[str, ...]]:
    """What a recipe makes of a task.

    Args:
        task: as it was read.
        recipe: resolved: nothing in it is left to the data.
        tokenizer: the network's own; None: words of the training texts.

    Returns:
        The split, and a line for each thing that a person should know of it.

    Raises:
        InputError: noise, limit, shares or views that do not suit the data.
    """
    task = with_noise(task, recipe)
    given, truth, texts = task.labels, task.truth, task.inputs
    held = held_out(recipe, task)
    everything = torch.arange(len(given))
    train = everything[trainable(task, given) & ~torch.isin(everything, held)]
    if len(train) < 2:
        raise InputError(f"data: {len(train)} training samples are left; expected at least 2")
    task, transform = tokenised(task, recipe, tokenizer, train, held)
    assert not isinstance(task.inputs, Texts)
    assert not isinstance(task.test_inputs, Texts)
    samples = Samples(task.inputs, given, transform)
    if task.mean is not None and task.std is not None:
        samples = replace(
            samples, transform=replace(transform, mean=torch.tensor(task.mean), std=torch.tensor(task.std))
        )
    else:
        samples = samples.fitted(train)
    test = None
    if task.test_inputs is not None and task.test_labels is not None:
        test = Samples(task.test_inputs, task.test_labels, samples.transform)
    classes = len(task.classes)
    if recipe.epoch_samples is not None and recipe.epoch_samples < classes:
        raise InputError(f"epoch-samples: {recipe.epoch_samples}, expected at least one a class ({classes})")
    split = Split(
        samples, classes, train, held if len(held) else None, test, truth, recipe.epoch_samples, task.ids,
        texts if isinstance(texts, Texts) else None, task.groups,
    )  # fmt: skip
    return split, task.notes


def with_noise(task: Task, recipe: Recipe) -> Task:
    """The task, limited, its labels under the recipe's noise, and true labels where they are known."""
    kind, _, name = recipe.noise.partition(":")
    if kind == "file":
        found = labels_from_file(name, task.whole or len(task.labels), len(task.classes))
        place = torch.arange(len(task.labels)) if task.kept is None else task.kept
        known = place < len(found)
        if not bool(known.all()):
            note = f"{name} holds {len(found):,} labels: the other {int((~known).sum()):,} samples are left out"
            task = taken(replace(task, notes=(*task.notes, note)), known.nonzero()[:, 0])
        right = task.labels if task.truth is None else task.truth
        return limited(replace(task, labels=found[place[known]], truth=right), recipe)
    task = limited(task, recipe)
    if recipe.noise == "none":
        return task
    inputs = task.inputs if isinstance(task.inputs, Tensor) else None
    seed = recipe.seed if recipe.noise_seed is None else recipe.noise_seed
    known = task.labels >= 0
    given = task.labels.clone()
    given[known] = apply_noise(
        recipe.noise,
        task.labels[known],
        len(task.classes),
        seed,
        task.maps,
        inputs if inputs is None or bool(known.all()) else inputs[known],
    )
    return replace(task, labels=given, truth=task.labels if task.truth is None else task.truth)


def tokenised(
    task: Task, recipe: Recipe, tokenizer: Tokenizer | None, train: Tensor, held: Tensor
) -> tuple[Task, Transform]:  # fmt: skip
    """The task with token ids where it has texts, and how its samples are shown; words come from `train`."""
    if not isinstance(task.inputs, Texts):
        shift, flip = task.shift if recipe.shift is None else recipe.shift, recipe.flip
        crop = task.crop if recipe.crop is None else recipe.crop
        return task, Transform(
            KINDS[task.inputs.dtype], shift=shift, flip=task.flip if flip is None else flip, crop=crop,
            size=task.size, keep_ratio=task.keep_ratio, span=task.span, columns=task.columns,
        )  # fmt: skip
    if tokenizer is None:
        tokenizer = Tokenizer.of_words(Vocabulary.of(task.inputs.subset(train).values).known)
    inputs = encoded(task.inputs, tokenizer.tokens, recipe.max_length, tokenizer.padding)
    used = int((inputs != tokenizer.padding).any(0).sum())
    test = task.test_inputs
    tested = encoded(test, tokenizer.tokens, used, tokenizer.padding) if isinstance(test, Texts) else None
    notes = [
        f"{share:.0%} of the tokens of the {part} texts are unknown: training never met them"
        for part, ids in (("held-out", inputs[held]), ("test", tested))
        if ids is not None and len(ids) and (share := unknown_share(ids, tokenizer)) > 0.5
    ]  # fmt: skip
    task = replace(task, inputs=inputs[:, :used], test_inputs=tested, notes=(*task.notes, *notes))
    return task, Transform(
        "texts", words=tokenizer.words, tokens=tokenizer.size, padding=tokenizer.padding, length=used
    )


def unknown_share(ids: Tensor, tokenizer: Tokenizer) -> float:
    """The share of unknown ones among the tokens of some texts ``[N, T]``."""
    if tokenizer.unknown is None:
        return 0.0
    return float((ids == tokenizer.unknown).sum() / (ids != tokenizer.padding).sum().clamp(min=1))


def held_out(recipe: Recipe, task: Task) -> Tensor:
    """Positions that are held out, with their noisy labels."""
    if task.held is not None:
        return task.held[trainable(task, task.labels)[task.held]]
    fraction = recipe.val_fraction or 0.0
    everything = torch.arange(len(task.labels))
    sound = everything[trainable(task, task.labels)]
    if task.groups is not None and fraction:
        return whole_groups(task.groups[sound], task.labels[sound], fraction, recipe.seed, sound)
    return sound[balanced_part(task.labels[sound], round(fraction * len(sound)), recipe.seed, "val", leave=1)]


def whole_groups(groups: Tensor, labels: Tensor, fraction: float, seed: int, positions: Tensor) -> Tensor:
    """Positions of samples in groups that are held out whole: about a share of all samples.

    Groups are drawn in turn; one that would hold out more than was asked for, or the last samples of a class that
    training has, stays.

    Raises:
        InputError: no group can be held out.
    """
    _, number = torch.unique(groups, return_inverse=True)
    sizes, left = torch.bincount(number), torch.bincount(labels)
    wanted, held, chosen = round(fraction * len(groups)), 0, []
    for group in torch.randperm(len(sizes), generator=generator(seed, "val")).tolist():
        if held + int(sizes[group]) > wanted:
            continue
        gone = torch.bincount(labels[number == group], minlength=len(left))
        if bool(((gone > 0) & (left - gone < 1)).any()):
            continue
        chosen.append(group)
        held, left = held + int(sizes[group]), left - gone
    if wanted and not chosen:
        raise InputError(
            f"group: no group can be held out whole for val-fraction {fraction:g} ({len(sizes):,} groups of "
            f"{int(sizes.min())} to {int(sizes.max())} samples); give another val-fraction"
        )
    return positions[torch.isin(number, torch.tensor(chosen, dtype=torch.int64))]


def trainable(task: Task, labels: Tensor) -> Tensor:
    """Which samples could be read and have a label, bool ``[N]``."""
    found = labels >= 0
    found[torch.tensor(task.blank, dtype=torch.int64)] = False
    return found


def limited(task: Task, recipe: Recipe) -> Task:
    """At most `limit` training samples, class-balanced, and at most as many that are held out or to test on."""
    limit = recipe.limit
    if limit is None:
        return task
    if limit < len(task.classes):
        raise InputError(f"limit: {limit}, expected at least one sample a class ({len(task.classes)})")
    everything = torch.arange(len(task.labels))
    held = everything[:0] if task.held is None else task.held
    train = everything[(task.labels >= 0) & ~torch.isin(everything, held)]
    held = held[task.labels[held] >= 0]
    rows = train[balanced_part(task.labels[train], limit, recipe.seed, "limit")]
    more = held[balanced_part(task.labels[held], limit, recipe.seed, "limit-val")]
    task = taken(task, torch.cat([rows, more]).sort().values)
    if task.test_inputs is None or task.test_labels is None:
        return task
    test = balanced_part(task.test_labels, limit, recipe.seed, "limit-test")
    return replace(task, test_inputs=subset(task.test_inputs, test), test_labels=task.test_labels[test])


def taken(task: Task, rows: Tensor) -> Task:
    """Some of the samples."""
    blank = torch.isin(rows, torch.tensor(task.blank, dtype=torch.int64)).nonzero()[:, 0]
    return replace(
        task, inputs=subset(task.inputs, rows), labels=task.labels[rows],
        ids=tuple(task.ids[k] for k in rows.tolist()), blank=tuple(blank.tolist()),
        truth=None if task.truth is None else task.truth[rows],
        held=None if task.held is None else torch.isin(rows, task.held).nonzero()[:, 0],
        kept=None if task.kept is None else task.kept[rows],
        groups=None if task.groups is None else task.groups[rows],
    )  # fmt: skip
