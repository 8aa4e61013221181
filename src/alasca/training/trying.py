"""A few settings tried on labels that are held out, wrong ones among them, and the best of them taken.

Where wrong labels don't follow from the inputs, who agrees more with noisy labels of other samples also agrees more
with the true ones: what is wrong takes as much from every classifier. ``alasca clean --auto`` does it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import torch

from alasca.data import Task, Texts
from alasca.engine import Diverged, Progress, Trainer, borrowed_process
from alasca.errors import InputError
from alasca.recipe import Place, Recipe
from alasca.training.defaults import MOST, SMALL_SIDE
from alasca.training.prepare import prepare

METHODS = ("ce", "elr", "gce")
"""Methods that are tried; each costs little more than cross-entropy."""
SLOWER = 0.25
"""Times the learning rate, the last that is tried."""
HELD = 0.2
"""Share of samples that are held out meanwhile, where the data hold none out themselves."""


@dataclass(frozen=True)
class Trial:
    """What came of one try.

    Attributes:
        change: settings in which it differs from those that suit the data.
        agreement: share of held-out labels that it predicts, 0 to 1; None: its loss was not finite.
        error: standard error of that.
    """

    change: dict[str, Any]
    agreement: float | None
    error: float

    @property
    def title(self) -> str:
        """What was changed, in words.

        >>> Trial({"method": "ce", "lr": 0.0125}, 0.9, 0.01).title, Trial({}, 0.9, 0.01).title
        ('method ce, lr 0.0125', 'as it is')
        """
        return ", ".join(f"{name} {value}" for name, value in self.change.items()) or "as it is"


def choices(recipe: Recipe, task: Task, given: Collection[str]) -> list[list[dict[str, Any]]]:
    """Rounds of changes to try, each on top of what won before it; nothing that was given is changed.

    Args:
        recipe: settings that suit the data.
        task: the data.
        given: names of settings that a person chose.
    """
    rounds: list[list[dict[str, Any]]] = []
    if not {"method", "options", "preset"} & set(given):  # options are a method's
        rounds.append([{"method": name} for name in METHODS if name != recipe.method])
    rest: list[dict[str, Any]] = []
    inputs = task.inputs
    large = not isinstance(inputs, Texts) and inputs.dtype == torch.uint8 and min(inputs.shape[2:]) >= SMALL_SIDE
    if large and "augment" not in given:
        weak = {"augment": "weak"} if "epochs" in given else {"augment": "weak", "epochs": min(MOST, recipe.epochs)}
        rest.append(weak if recipe.augment != "weak" else {"augment": "strong"})
    if "lr" not in given and recipe.lr * SLOWER >= recipe.lr_min:
        rest.append({"lr": recipe.lr * SLOWER})
    return [*rounds, *([rest] if rest else [])]


def chosen(
    recipe: Recipe, task: Task, place: Place, given: Collection[str], progress: Progress | None = None
) -> tuple[Trial, list[Trial]]:
    """The best try, whose changes are better by more than chance, and all tries.

    Args:
        recipe: settings that suit the data, with the epochs of a try.
        task, place: see `alasca.train`.
        given: names of settings that a person chose.
        progress: who is told.
    """
    best = tried(recipe, {}, task, place, progress)
    trials = [best]
    for changes in choices(recipe, task, given):
        before = best
        for change in changes:
            trials.append(tried(recipe, {**before.change, **change}, task, place, progress))
            best = better(best, trials[-1], before)
    return best, trials


def better(best: Trial, trial: Trial, before: Trial) -> Trial:
    """The trial, where it is ahead of the best one, and of the one before this round by more than a standard error.

    >>> before, good = Trial({}, 0.80, 0.01), Trial({"lr": 1.0}, 0.82, 0.01)
    >>> better(before, good, before) is good, better(before, Trial({}, 0.805, 0.01), before) is before
    (True, True)
    >>> better(good, Trial({}, 0.815, 0.01), before) is good, better(before, Trial({}, None, 0.0), before) is before
    (True, True)
    """
    if trial.agreement is None:
        return best
    ahead = best.agreement is None or trial.agreement > best.agreement
    sure = before.agreement is None or trial.agreement > before.agreement + before.error
    return trial if ahead and sure else best


def tried(recipe: Recipe, change: dict[str, Any], task: Task, place: Place, progress: Progress | None) -> Trial:
    """One try, of which nothing is kept but how it did at its end."""
    share = None if task.held is not None else recipe.val_fraction or HELD
    own = replace(recipe, select="last", val_fraction=share, **change)
    with borrowed_process(place):
        job = prepare(own, task, place).job
        held = job.split.held
        if held is None or not bool((job.split.samples.labels[held] >= 0).any()):
            raise InputError("auto: no sample with a label can be held out; leave --auto out")
        try:
            history = Trainer(job, progress=progress).fit().history
        except Diverged:
            return Trial(change, None, 0.0)
    agreement = history[-1]["val_accuracy"] / 100
    return Trial(change, agreement, float(agreement * (1 - agreement) / len(held)) ** 0.5)


def told(recipe: Recipe, best: Trial, trials: list[Trial]) -> str:
    """One line about all tries of a recipe.

    >>> first, other = Trial({}, 0.8, 0.01), Trial({"method": "gce"}, None, 0.0)
    >>> told(Recipe(method="elr"), first, [first, other])
    'elr + ALASCA agrees with 80.0% of held-out labels; method gce: loss not finite; takes it as it is'
    """
    parts = [
        f"{trial.title}: {'loss not finite' if trial.agreement is None else f'{100 * trial.agreement:.1f}%'}"
        for trial in trials
    ]
    if trials[0].agreement is not None:
        parts[0] = f"{recipe.title} agrees with {100 * trials[0].agreement:.1f}% of held-out labels"
    return f"{'; '.join(parts)}; takes {f'it {best.title}' if best is trials[0] else best.title}"
