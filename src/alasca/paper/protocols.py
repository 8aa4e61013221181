"""How experiments are run: at the paper's size, or smaller. A protocol makes recipes of experiments.

Results of different protocols are never mixed: each has a folder of its own, and ids of recipes differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from alasca.methods import WRAPPER, load, method_class
from alasca.paper.experiments import Experiment
from alasca.published_recipes import named_settings
from alasca.recipe import Recipe

USUAL = 120
"""Epochs that options of experiments count in."""
SEMI = ("dividemix", "elr_plus")
"""Methods that the paper trains as Li et al. (2020) do."""
TOLD = ("coteaching", "jocor", "cdr")
"""Methods that their papers tell the noise rate."""
CLASSES = {"cifar10": 10, "cifar100": 100, "clothing1m": 14}
NOISES = {
    "cifar10": {"sym": "symmetric:{}", "asym": "asymmetric:{}:sequential", "inst": "instance:{}"},
    "cifar100": {"sym": "symmetric:{}", "asym": "asymmetric:{}:id_block", "inst": "instance:{}"},
}
"""The noise of the published numbers: symmetric with a label's own class among those drawn, asymmetric as the code of
the papers makes it."""


@dataclass(frozen=True)
class Protocol:
    """How experiments are run.

    Attributes:
        name, title: for people.
        compares: whether its figures stand beside the paper's.
        sources: what is trained on in the place of each of the paper's data sets; of one that is not named, itself.
        noises: by data set and kind, with ``{}`` for the rate.
        network: in the place of all networks; None: the paper's.
        epochs: of every run; None: the published ones.
        stages: all of that network's, for sub-classifiers after the last one too.
        settings: of every recipe, over the published ones.
        semi: of semi-supervised methods, over those.
        dividemix: options of DivideMix, whose published ones are for large data.
    """

    name: str
    title: str
    compares: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)
    noises: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: NOISES)
    network: str | None = None
    epochs: int | None = None
    stages: tuple[str, ...] = ("layer1", "layer2", "layer3", "layer4")
    settings: Mapping[str, Any] = field(default_factory=dict)
    semi: Mapping[str, Any] = field(default_factory=dict)
    dividemix: Mapping[str, Any] = field(default_factory=dict)

    def recipe(self, of: Experiment, seed: int) -> Recipe:
        """The recipe of an experiment."""
        found = published(of)
        if self.epochs is not None:
            third = max(1, self.epochs // 3)
            found |= {"epochs": self.epochs, "milestones": (third, 2 * third), "schedule": "step"}
        found |= {"data": self.sources.get(of.data, of.data), "noise": self.noise(of), **self.settings}
        if of.method in SEMI:
            found |= self.semi
        found |= of.settings
        if self.network is not None:
            found |= {"network": self.network, "pretrained": False, "epoch_samples": None}
        network = found["network"]
        if of.network.endswith("-kaiming"):
            network = f"{network.removesuffix('-kaiming')}-kaiming"
        preset, own = preset_of(of)
        if of.method == "elr_plus" and of.data != "clothing1m":
            if self.epochs is None:
                own["decay_steps"] = 40_000
            elif of.data == "cifar100":  # two fifths of all steps, as the published 40,000 are
                own["ramp_steps"] = max(1, round(0.4 * self.epochs * steps_of(found)))
        if of.method in TOLD and of.noise:
            own["noise_rate"] = realised_rate(found["noise"], CLASSES[of.data if self.sources != DIGITS else "cifar10"])
        options = self.scaled(of, {**own, **of.options}, found["epochs"])
        options |= self.dividemix if of.method == "dividemix" else {}
        if of.alasca and options.get("alasca.smooths", "sub") == "sub":
            options.setdefault("alasca.predict", "main")  # the paper's text; the others are columns of their own
        return Recipe(**{
            **found, "network": network, "method": of.method, "alasca": of.alasca, "preset": preset,
            "options": options, "seed": seed,
        })  # fmt: skip

    def noise(self, of: Experiment) -> str:
        """What ``--noise`` takes."""
        if not of.noise:
            return self.noises.get(of.data, {}).get("own", "none")
        kind = of.noise.rstrip("0123456789")
        return self.noises[of.data][kind].format(int(of.noise[len(kind) :]) / 100)

    def named(self, data: str) -> str:
        """A data set's name, or what stands for it here."""
        where = self.sources.get(data, data)
        return DATA[data] if where == data else f"{where} in the place of {DATA[data]}"

    def scaled(self, of: Experiment, options: Mapping[str, Any], epochs: int) -> dict[str, Any]:
        """Options that count epochs of a run of 120, for a run of another length."""
        share, found = min(1.0, epochs / USUAL), dict(options)
        counted = set(method_class(of.method).epoch_options)
        counted |= {f"alasca.{name}" for name in load(WRAPPER).epoch_options}
        for name, value in options.items():
            if name in counted and value and share < 1:
                found[name] = max(1, round(value * share))
            elif name in ("alasca.ramp", "alasca.momentum") and isinstance(value, tuple):
                found[name] = (*value[:-1], value[-1] * epochs / USUAL)
            elif name == "alasca.at":
                found[name] = self.stages
        return found


def steps_of(settings: Mapping[str, Any]) -> int:
    """Steps of an epoch of a small protocol's recipe."""
    count = min(settings.get("limit") or 1 << 40, 1_347 if settings["data"] == "digits" else 50_000)
    steps: int = math.ceil(count * (1 - settings["val_fraction"]) / settings["batch_size"])
    return steps


def published(of: Experiment) -> dict[str, Any]:
    """Settings of the paper's own runs."""
    if of.data == "clothing1m":
        found = named_settings("clothing1m")
        if of.method in SEMI:
            found |= {"epochs": 15, "milestones": (7,), "epoch_samples": 64 * 3000}
        if of.method == "elr_plus" and not of.alasca:
            found |= {"lr_decay": 0.1}
        if of.method == "dividemix" and not of.alasca:
            found |= {"epochs": 80, "milestones": (40,), "lr_decay": 0.1, "batch_size": 32, "epoch_samples": 32 * 1000}
        return {**found, "precision": "bf16"}
    if of.method in SEMI:
        found = named_settings("dividemix")
        if of.method == "elr_plus":
            long = of.data == "cifar100"
            found |= {"epochs": 250 if long else 200, "milestones": (200 if long else 150,), "batch_size": 128}
        return {**found, "network": of.network, "precision": "bf16"}
    return {**named_settings("paper"), "network": of.network, "precision": "bf16"}


def preset_of(of: Experiment) -> tuple[str | None, dict[str, Any]]:
    """A method's published options for some data and noise: a preset, and what the experiment itself decides."""
    known = [preset.data for preset in method_class(of.method).presets]
    exact = f"{of.data}-{of.noise}"
    asymmetric = f"{of.data}-asymmetric" if of.noise.startswith("asym") else ""
    preset = next((name for name in (exact, asymmetric, of.data) if name in known), None)
    own: dict[str, Any] = {}
    if of.method == "dividemix" and exact == "cifar100-asym40":  # no published setting: CIFAR-10's asymmetric one
        own |= {"lambda_u": 0.0, "penalty": True}
    return preset, own


def realised_rate(noise: str, classes: int) -> float:
    """Share of labels that a kind of noise makes wrong.

    >>> [realised_rate(noise, 10) for noise in ("symmetric:0.6", "asymmetric:0.4:sequential", "pair:0.4")]
    [0.54, 0.184, 0.4]
    """
    kind, _, rest = noise.partition(":")
    value, _, variant = rest.partition(":")
    rate = float(value)
    if kind == "symmetric":
        return round(rate * (classes - 1) / classes, 4)
    if variant == "sequential":  # four of ten classes lose a share; cats that became dogs may come back
        return round((4 * rate + rate * (1 - rate)) / 10, 4)
    return rate


DATA = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "clothing1m": "Clothing1M"}
"""The paper's data."""
DIGITS = {"cifar10": "digits", "cifar100": "digits", "clothing1m": "digits"}
SMALL = MappingProxyType(
    {"limit": 10_000, "lr": 0.1, "lr_decay": 0.1, "batch_size": 128, "shift": 0, "val_fraction": 0.1}
)
BLOCKS = ("block1", "block2", "block3")
DIGIT_NOISES = {
    "cifar10": {"sym": "symmetric:{}", "asym": "asymmetric:{}", "inst": "instance:{}"},
    "cifar100": {"sym": "symmetric:{}", "asym": "asymmetric:{}", "inst": "instance:{}"},
    "clothing1m": {"own": "instance:0.4"},
}
PROTOCOLS = {
    each.name: each
    for each in (
        Protocol("paper", "The paper's own size: for GPUs.", compares=True),
        Protocol(
            "small", "10,000 pictures, one narrow network for all, 20 epochs: minutes of a processor for a cell.",
            sources={"clothing1m": "cifar10n:worse"}, network="resnet10-narrow", epochs=20, settings=SMALL,
            semi={"limit": 2_500, "batch_size": 64, "lr": 0.05, "milestones": (14,)},
            dividemix={"warmup": 8, "warmup_batch": 1, "ramp": 4},
        ),
        Protocol(
            "digits", "Handwritten digits, no download, one small network for all: a minute of a processor for a cell.",
            sources=DIGITS, noises=DIGIT_NOISES, network="small-resnet", epochs=60, stages=BLOCKS,
            settings={"lr": 0.1, "lr_decay": 0.1, "batch_size": 128, "val_fraction": 0.1, "precision": "float32"},
        ),
        Protocol(
            "tiny", "Two epochs on 100 digits: that everything runs. Its figures say nothing.",
            sources=DIGITS, noises=DIGIT_NOISES, network="small-resnet", epochs=2, stages=BLOCKS,
            settings={"limit": 100, "lr": 0.1, "batch_size": 32, "val_fraction": 0.2, "precision": "float32"},
        ),
    )
}  # fmt: skip
"""By name."""
