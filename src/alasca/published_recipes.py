"""How to train, as published: named values of a recipe's training settings, for `--recipe` and `Recipe` alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from alasca.errors import InputError
from alasca.recipe import Recipe
from alasca.values import nearest


class Named(NamedTuple):
    """Settings of a published recipe, and where they come from."""

    settings: Mapping[str, Any]
    source: str


RECIPES = {
    "paper": Named(
        {"network": "resnet34", "epochs": 120, "batch_size": 128, "lr": 0.02, "weight_decay": 5e-4, "schedule": "step",
         "milestones": (40, 80), "lr_decay": 0.01, "val_fraction": 0.1},
        "CIFAR, one network: Ko et al. (2022), section D.1.2",
    ),
    "elr": Named(
        {"network": "resnet34", "epochs": 150, "batch_size": 128, "lr": 0.02, "weight_decay": 1e-3,
         "schedule": "restarts", "restart_epochs": 10, "lr_min": 1e-3, "val_fraction": 0.1},
        'CIFAR-10 with cosine restarts, the "ELR*" rows: Liu et al. (2020), authors\' configuration',
    ),
    "dividemix": Named(
        {"network": "preact-resnet18", "epochs": 300, "batch_size": 64, "lr": 0.02, "weight_decay": 5e-4,
         "schedule": "step", "milestones": (150,), "lr_decay": 0.1, "val_fraction": 0.0},
        "CIFAR, two networks: Li et al. (2020), authors' code",
    ),
    "clothing1m": Named(
        {"data": "clothing1m", "network": "timm:resnet50", "pretrained": True, "epochs": 10, "batch_size": 64,
         "lr": 2e-3, "weight_decay": 1e-3, "schedule": "step", "milestones": (5,), "lr_decay": 0.01},
        "Clothing1M, one network: Kim et al. (2021), authors' code, which the ALASCA paper follows",
    ),
}  # fmt: skip


def named_settings(name: str) -> dict[str, Any]:
    """The settings of a published recipe.

    Raises:
        InputError: there is none of that name.
    """
    if name not in RECIPES:
        raise InputError(f"recipe: {name!r} is unknown; {nearest(name, RECIPES)}")
    return dict(RECIPES[name].settings)


def named_recipe(name: str, **settings: Any) -> Recipe:
    """A published recipe, some of its settings changed.

    >>> named_recipe("paper", noise="symmetric:0.6", epochs=3).milestones
    (40, 80)
    """
    return Recipe(**{**named_settings(name), **settings})
