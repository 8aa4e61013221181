"""Every option of every method has a say in training, and what counts epochs begins in the epoch that it names."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from alasca import create_method, list_methods
from alasca.core import Method
from alasca.engine import Progress
from alasca.methods import WRAPPER, load, method_class, option_names, wrap
from alasca.testing import everything, planted, settings, trainer
from alasca.testing.laws import same

COMMON: dict[str, dict[str, Any]] = {
    "als": {"warmup": 1}, "coteaching": {"noise_rate": 0.3, "warmup": 1, "ramp": 1}, "crust": {"start": 1},
    "coteaching_plus": {"noise_rate": 0.3, "warmup": 1, "ramp": 1}, "decoupling": {"warmup": 1},
    "dividemix": {"warmup": 1, "ramp": 1}, "elr_plus": {"decay": 0.9}, "fine": {"warmup": 1, "every": 1},
    "har": {"at": ("stage1.1", "stage2.1")}, "jocor": {"noise_rate": 0.3, "warmup": 1, "ramp": 1},
    "truncated_gce": {"k": 0.27, "start": 1, "every": 1},
    "ALASCA": {"warmup": 1},
}  # fmt: skip
"""What the other options keep while one of them changes."""
OTHER: dict[str, dict[str, Any]] = {
    "ael": {"alpha": 0.5, "beta": 2.0, "a": 2.0}, "agce": {"alpha": 0.5, "beta": 2.0, "a": 2.0, "q": 0.5},
    "als": {"warmup": 2, "scale": "sum"}, "apl": {"active": "focal", "passive": "mae", "alpha": 0.5, "beta": 0.5},
    "aul": {"alpha": 0.5, "beta": 2.0, "a": 2.0, "q": 0.5},
    "bootstrapping": {"hard": True, "beta": 0.5, "detach": True},
    "byot": {"alpha": 0.5, "temperature": 1.0, "feature_weight": 1.0, "t_squared": True,
             "at": "stage1.0"},
    "cdr": {"noise_rate": 0.1, "decay": "l2", "strength": 0.1},
    "coteaching": {"noise_rate": 0.6, "warmup": 2, "ramp": 2},
    "coteaching_plus": {"noise_rate": 0.6, "warmup": 2, "ramp": 2},
    "crust": {"fraction": 0.2, "start": 2, "selection": "centrality", "group_by": "given", "epsilon": 0.5,
              "mix": False},
    "decoupling": {"warmup": 2, "floor": 1.0},
    "dividemix": {"threshold": 0.9, "lambda_u": 1.0, "temperature": 1.0, "alpha": 0.5, "warmup": 2, "warmup_batch": 2,
                  "ramp": 2, "penalty": True, "average": 2},
    "elr": {"lam": 1.0, "beta": 0.9},
    "elr_plus": {"lam": 1.0, "beta": 0.9, "alpha": 0.2, "decay": 0.5, "averaging": "counted", "decay_steps": 1000,
                 "ramp_steps": 5, "reweight": True},
    "fine": {"threshold": 0.9, "warmup": 2, "every": 2, "squared": True}, "gce": {"q": 0.3},
    "gjs": {"label_weight": 0.6, "num_views": 1, "view": "strong", "scaled": False},
    "har": {"weight": 1.0, "norm": "sum", "batch_scaled": True, "at": "stage1"},
    "jocor": {"co_lambda": 0.5, "noise_rate": 0.6, "warmup": 2, "ramp": 2},
    "lsr": {"alpha": 0.1, "off_target": "others"}, "mae": {"scale": 1.0}, "mixup": {"alpha": 0.1},
    "one": {"branches": 2, "temperature": 1.0, "ramp": 3, "at": "stage1.0"},
    "sce": {"alpha": 1.0, "beta": 0.1, "log_zero": -4.0},
    "tf_kd": {"alpha": 0.5, "a": 0.5, "temperature": 2.0},
    "tf_kd_code": {"alpha": 0.5, "a": 0.5, "temperature": 2.0, "multiplier": 1.0},
    "truncated_gce": {"q": 0.3, "k": 0.9, "start": 2},
    "ALASCA": {"aux_weight": 1.0, "at": "stage1.0", "head": "linear", "smooths": "main", "momentum": 0.1,
               "temperature": 1.0, "warmup": 2, "off_target": "others", "ramp": ("mix", 0.0, 1.0, 2),
               "confidence_from": "own", "store": "float16"},
}  # fmt: skip
ELSEWHERE = {
    "byot": {"predict", "masked_features"}, "one": {"predict"}, "truncated_gce": {"every"},
    "ALASCA": {"predict", "on", "rest", "agreement", "store_dir"},
}  # fmt: skip
"""Options that change no step of the run here, and have tests of their own."""


def made(name: str, **options: Any) -> Method:
    """A method with the options that stay, and these."""
    given = {**COMMON.get(name, {}), **options}
    return wrap(create_method("ce"), **given) if name == "ALASCA" else create_method(name, **given)


def states(method: Method, epochs: int) -> list[dict[str, Tensor]]:
    """All that a short run holds after each epoch."""
    found: list[dict[str, Tensor]] = []

    class Watch(Progress):
        def epoch(self, record: dict[str, Any]) -> None:
            found.append({name: value.clone() for name, value in everything(run).items()})

    run = trainer(method, planted(24, 16), settings(epochs, momentum=0.5), progress=Watch())
    run.fit()
    return found


def first_difference(first: list[dict[str, Tensor]], second: list[dict[str, Tensor]]) -> int:
    """The epoch after which two runs are no longer the same, from 0; as many as they have where they stay the same."""
    for epoch, (one, other) in enumerate(zip(first, second, strict=True)):
        if one.keys() != other.keys() or not all(same(one[name], other[name]) for name in one):
            return epoch
    return len(first)


def test_every_option_is_here():
    classes = {name: method_class(name) for name in list_methods()} | {"ALASCA": load(WRAPPER)}
    for name, known in ((name, option_names(cls)) for name, cls in classes.items()):
        assert {*OTHER.get(name, {}), *ELSEWHERE.get(name, ())} == {*known}, name


@pytest.mark.parametrize("name", OTHER)
def test_every_option_changes_what_is_learned(name: str):
    usual = states(made(name), 4)
    for option, value in OTHER[name].items():
        assert first_difference(usual, states(made(name, **{option: value}), 4)) < len(usual), option


@pytest.mark.parametrize("name", [name for name in OTHER if name in COMMON])
def test_what_counts_epochs_begins_in_the_epoch_that_it_names(name: str):
    """One epoch of warm-up and two are the same until the second epoch, which only two still warm up."""
    for option in COMMON[name].keys() & {"warmup", "start"}:
        assert first_difference(states(made(name), 3), states(made(name, **{option: 2}), 3)) == 1, option
