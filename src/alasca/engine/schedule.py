"""The learning rate over a run."""

from __future__ import annotations

import math

from alasca.core import Clock
from alasca.recipe import Recipe

RISE = 0.3
"""Share of a one-cycle schedule in which the learning rate rises."""


def lr_factor(recipe: Recipe, clock: Clock, step: int = 0) -> float:
    """What the learning rate is multiplied by at a step, counted from 0 in its epoch.

    ``"cosine"`` falls to `lr_min`, ``"restarts"`` does so every `restart_epochs` (SGDR, Loshchilov and Hutter, 2017),
    ``"step"`` is times `lr_decay` after each of `milestones`, ``"onecycle"`` (Smith and Topin,
    2019) goes from 1 / 25 to 1 in three tenths, then to 0. Epochs differ in length where a method chooses samples: the
    schedule goes by epochs and shares of them.

    >>> lr_factor(Recipe(schedule="step"), Clock.at(0, 40, 120))
    0.01
    """
    if recipe.schedule == "constant":
        return 1.0
    if recipe.schedule == "step":
        return float(recipe.lr_decay ** sum(clock.epoch >= milestone for milestone in recipe.milestones))
    epochs = clock.epoch + step / max(1, clock.steps_per_epoch)
    done = (clock.epoch * clock.steps_per_epoch + step) / max(1, clock.epochs * clock.steps_per_epoch)
    if recipe.schedule == "restarts":
        done = epochs % recipe.restart_epochs / recipe.restart_epochs
    if recipe.schedule == "onecycle":
        if done < RISE:
            return 1 - (1 - 1 / 25) * 0.5 * (1 + math.cos(math.pi * done / RISE))
        done = (done - RISE) / (1 - RISE)
    lowest = 0.0 if recipe.schedule == "onecycle" else recipe.lr_min / recipe.lr
    return lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * done))
