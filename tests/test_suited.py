"""What `clean` trains with, and how that is fitted into a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alasca import InputError, Place, Recipe, Task
from alasca.cli import main
from alasca.cli.arguments import data_of
from alasca.engine import multiplies_bf16
from alasca.engine.workbench import Workbench
from alasca.training import advice, prepare, suited, within


def numbers(count: int) -> Task:
    return Task.from_arrays(np.random.default_rng(0).normal(size=(count, 4)), np.arange(count) % 2)


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        (numbers(200), {"method": "elr", "epochs": 60, "batch_size": 32, "lr": 0.02, "val_fraction": 0.0}),
        (numbers(12_000), {"method": "elr", "epochs": 25, "val_fraction": 0.0}),
        (numbers(60_000), {"method": "elr", "epochs": 10, "val_fraction": 0.0}),
        (Task.from_arrays(["a b", "c d"] * 10, [0, 1] * 10), {"method": "elr", "epochs": 12, "val_fraction": 0.0}),
        (Task.from_arrays(np.zeros((20, 8, 8), np.uint8) + np.arange(20, dtype=np.uint8)[:, None, None], [0, 1] * 10),
         {"method": "elr", "epochs": 60, "val_fraction": 0.0}),
        (Task.from_arrays(np.zeros((20, 32, 32), np.uint8) + np.arange(20, dtype=np.uint8)[:, None, None], [0, 1] * 10),
         {"method": "ce", "epochs": 120, "val_fraction": 0.0, "augment": "strong"}),
    ],
)  # fmt: skip
def test_settings_suit_the_data(task: Task, settings: dict, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert suited(task) == settings


@pytest.mark.parametrize("name", ["_is_avx512_bf16_supported", "_is_amx_tile_supported"])
def test_a_processor_that_multiplies_bf16_does_so(name: str, monkeypatch):
    """Of pictures that are convolved; on another device nothing follows from what the processor can."""
    for each in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, each, lambda each=each: each == name)
    large, small = (Task.from_arrays(np.zeros((20, side, side), np.uint8), [0, 1] * 10) for side in (16, 8))
    assert suited(large, {}, "cpu")["precision"] == suited(large, {"augment": "weak"}, "cpu")["precision"] == "bf16"
    assert "precision" not in suited(small, {}, "cpu")
    assert "precision" not in suited(numbers(200), {}, "cpu")
    assert not multiplies_bf16(torch.device("cuda"))


def test_rare_classes_count_more():
    """Where one label is more than half as frequent again as another; settings that are given stay."""
    x = np.eye(10)
    assert suited(Task.from_arrays(x, [0] * 7 + [1] * 3))["balance"] == 0.5
    assert "balance" not in suited(Task.from_arrays(x, [0] * 6 + [1] * 4))


def test_classes_weigh_by_what_an_epoch_draws():
    """80 and 20 labels: at power 1 both weigh 50 in all; an epoch of 10 each needs no weights."""
    task = Task.from_arrays(np.random.default_rng(0).normal(size=(100, 3)), [0] * 80 + [1] * 20)
    recipe = Recipe(epochs=1, batch_size=4, val_fraction=0.0, balance=1.0)
    weights = Workbench(prepare(recipe, task, Place(device="cpu")).job).loader.class_weight
    assert weights is not None
    assert weights.tolist() == [0.625, 2.5]
    part = replace(recipe, epoch_samples=20)
    assert Workbench(prepare(part, task, Place(device="cpu")).job).loader.class_weight is None


def test_what_is_given_decides_what_suits():
    """Weak views have no budget of strong ones; a task whose epochs are balanced parts is not balanced twice."""
    task = Task.from_arrays(
        np.zeros((20, 32, 32), np.uint8) + np.arange(20, dtype=np.uint8)[:, None, None], [0, 1] * 10
    )
    assert suited(task, {"augment": "weak"})["epochs"] == 60
    assert "augment" not in suited(task, {"augment": "weak"})
    assert suited(task, {"augment": "randaugment"})["epochs"] == 120
    uneven = replace(Task.from_arrays(np.eye(10), [0] * 8 + [1] * 2), epoch_samples=4)
    assert "balance" not in suited(uneven)


def test_a_part_of_a_part_is_measured_by_itself(monkeypatch):
    """An epoch of 100 of 200 samples takes 2 steps; in a tenth of the time there are 10 of these 100, not 20 of 200."""
    task = numbers(200)
    recipe = Recipe(**suited(task) | {"epochs": 60, "batch_size": 2, "epoch_samples": 100})
    now = iter(np.arange(0, 100, 0.1).tolist())
    monkeypatch.setattr("alasca.training.defaults.Stopwatch.step", lambda self, done: self.times.append(next(now)))
    found, words = within(recipe, task, Place(device="cpu"), 0.505 * 5 / 0.9 / 60)  # 5 epochs of a tenth of 50 steps
    assert found.epoch_samples == 10
    assert "10 of 100 samples" in words


def test_who_holds_samples_out_is_not_overruled():
    x = np.eye(4)
    task = Task.from_arrays(x, [0, 1, 0, 1], val=(x, [0, 1, 0, 1]))
    assert "val_fraction" not in suited(task)


def test_epochs_fit_a_time(monkeypatch):
    """At a tenth of a second a step, 4 steps an epoch: 0.9 of 13 seconds is 29 epochs; of one second, less than 5."""
    task = numbers(200)
    recipe = Recipe(**suited(task) | {"epochs": 60, "batch_size": 50})
    now = iter(np.arange(0, 100, 0.1).tolist())
    monkeypatch.setattr("alasca.training.defaults.Stopwatch.step", lambda self, done: self.times.append(next(now)))
    found, words = within(recipe, task, Place(device="cpu"), 13 / 60)
    assert (found.epochs, found.epoch_samples) == (29, None)
    assert words.startswith("29 epochs fit 0.216667 minutes")
    short, words = within(recipe, task, Place(device="cpu"), 1 / 60)
    assert (short.epochs, short.epoch_samples) == (5, 90)  # 0.9 / 0.4 / 5 of 200
    assert "more would be better" in words
    long, _ = within(recipe, task, Place(device="cpu"), 60)
    assert long.epochs == 120  # twice what suits the data, no more


def test_what_a_path_is(tmp_path: Path):
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    for name in ("rows.csv", "a.npz", "odd.xyz"):
        (tmp_path / name).write_text("x")
    (tmp_path / "arrays").mkdir()
    (tmp_path / "arrays" / "x.npy").write_text("x")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.parquet").write_text("x")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_info.json").write_text("{}")
    for name, kind in (("photos", "folder"), ("rows.csv", "table"), ("a.npz", "npz"), ("arrays", "npy"),
                       ("parts", "table"), ("saved", "hf")):  # fmt: skip
        assert data_of(str(tmp_path / name)) == f"{kind}:{tmp_path / name}"
    assert data_of("digits") == "digits"
    assert data_of("table:x.csv") == "table:x.csv"
    with pytest.raises(InputError, match="expected a folder of pictures, a table"):
        data_of(str(tmp_path / "odd.xyz"))


def test_what_is_given_overrules_what_suits(tmp_path: Path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["clean", "digits", "--limit", "60", "--method", "gce", "--epochs", "6", "--no-alasca", "--minutes", "5",
              "--noise", "symmetric:0.2", "--out", str(tmp_path / "run")])  # fmt: skip
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "method   gce, " in said
    assert "epochs fit 5 minutes" in said
    assert "About " in said
    assert (tmp_path / "run" / "summary.html").is_file()
    with pytest.raises(SystemExit) as end:
        main(["clean", "digits", "--minutes", "0"])
    assert end.value.code == 2


def test_few_pictures_a_class_are_told_of_features():
    few = Task.from_arrays(np.zeros((60, 3, 20, 20), np.uint8), [0, 1] * 30)
    assert str(advice(few, Recipe())).startswith("30 pictures a class are few")
    assert advice(few, Recipe(pretrained=True)) is None
    assert advice(Task.from_arrays(np.zeros((400, 3, 8, 8), np.uint8), [0, 1] * 200), Recipe()) is None
    assert advice(Task.from_arrays(np.zeros((60, 3), np.float32), [0, 1] * 30), Recipe()) is None
