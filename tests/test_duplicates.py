"""Copies and groups: found, kept together, and told where their labels differ."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from alasca import InputError, Place, Recipe, Task, train
from alasca.audit.duplicates import conflicts, duplicate_sets, groups_with
from alasca.data import load_task, make_split
from alasca.data.split import whole_groups
from alasca.training import resolve


def scene(seed: int, side: int = 32) -> np.ndarray:
    """A smooth picture in colour, unlike any other."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def saved(picture: np.ndarray, quality: int) -> np.ndarray:
    """As JPEG, and read again."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content))


def bytes_of(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def test_a_picture_saved_anew_is_a_copy_and_another_is_not():
    pictures = [scene(k) for k in range(300)]
    darker = (scene(12) * 0.7).astype(np.uint8)
    pictures += [saved(scene(7), 70), saved(scene(200), 60), scene(11), darker]
    found = duplicate_sets(bytes_of(pictures).split(64))
    sets = [set(np.flatnonzero(found == k).tolist()) for k in range(found.max() + 1)]
    assert sorted(map(sorted, sets)) == [[7, 300], [11, 302], [200, 301]]  # light and dark tell pictures apart
    flat = [np.full((32, 32, 3), k, dtype=np.uint8) for k in (0, 0, 9, 200)]
    assert duplicate_sets([bytes_of(flat)]).tolist() == [0, 0, -1, -1]  # nothing is seen on them: only equal ones
    mirrored = [scene(1), scene(1)[:, ::-1].copy()]
    assert duplicate_sets([bytes_of(mirrored)]).tolist() == [-1, -1]


def test_colour_and_light_tell_pictures_apart():
    """One disc on black, in three colours, bright and dark: what differs in them may be all that there is to tell."""
    y, x = np.mgrid[:32, :32]
    disc = ((y - 16) ** 2 + (x - 16) ** 2 < 80)[:, :, None]
    shades = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (85, 0, 0), (250, 5, 0)]
    found = duplicate_sets([bytes_of([(disc * np.array(shade)).astype(np.uint8) for shade in shades])])
    assert found.tolist() == [0, -1, -1, -1, 0]


@pytest.mark.long
def test_very_many_copies_take_no_time():
    rng = np.random.default_rng(0)
    frames = np.clip(scene(5) + rng.normal(0, 1.5, (2000, 32, 32, 3)), 0, 255).astype(np.uint8)
    start = time.monotonic()
    assert set(duplicate_sets(torch.from_numpy(frames).permute(0, 3, 1, 2).split(500)).tolist()) == {0}
    assert time.monotonic() - start < 20


def test_many_copies_in_a_chain_are_one_set():
    steps = [np.clip(scene(3).astype(int) + 2 * k, 0, 255).astype(np.uint8) for k in range(5)]
    assert len(set(duplicate_sets([bytes_of([scene(9), *steps])]).tolist())) == 2


def test_texts_and_rows():
    texts = ["Buy now!", "buy  NOW !", "buy now", "Buy, now!", "hello"]
    assert duplicate_sets([], texts).tolist() == [0, 0, -1, -1, -1]
    rows = torch.tensor([[1.0, 2.0], [1.0, 2.0 + 1e-6], [1.0, 2.0], [0.0, 0.0]])
    assert duplicate_sets(rows.split(2)).tolist() == [0, -1, 0, -1]
    small = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    assert duplicate_sets([small]).tolist() == [0, 0, 0]
    assert duplicate_sets([]).tolist() == []


def test_conflicts_and_groups_by_hand():
    sets = np.array([0, 0, 1, 1, -1, 2, 2])
    assert conflicts(sets, np.array([1, 2, 3, 3, 4, 5, -1])).tolist() == [True, True] + [False] * 5
    assert groups_with(np.full(4, -1), None) is None
    joined = groups_with(np.array([0, -1, 0, -1, -1]), np.array([5, 5, 6, 6, 7]))
    assert joined is not None
    assert len(set(joined[:4].tolist())) == 1  # copies 0 and 2 tie their groups together
    assert joined[4] not in joined[:4]


def planted(copies: int = 20) -> tuple[list[np.ndarray], list[int]]:
    """Pictures of two kinds, the last ones saved anew, every other with the other label."""
    rng = np.random.default_rng(0)
    pictures, labels = [], []
    for k in range(160):
        picture = (scene(k) * 0.5).astype(np.uint8)
        picture[4 : 12 if k % 2 else 28, 4:12] += 100
        pictures.append(rng.permuted(picture, axis=2))
        labels.append(k % 2)
    for k in range(copies):
        pictures.append(saved(pictures[k], 95))
        labels.append((labels[k] + k) % 2)
    return pictures, labels


@pytest.mark.long
def test_copies_with_different_labels_are_an_issue_of_their_own(tmp_path: Path):
    pictures, labels = planted()
    run = train(Recipe(epochs=6), Task.from_arrays(np.stack(pictures), labels), Place(threads=1), tmp_path / "run")
    records = run.records()
    sets = records.extra["copies"]
    odd = [k for k in range(20) if k % 2]
    assert np.isfinite(sets).sum() == 40
    assert all(sets[k] == sets[160 + k] for k in range(20))
    differing = {*odd, *(160 + k for k in odd)}
    assert set(np.flatnonzero(records.extra["copies_differ"] == 1).tolist()) == differing
    assert np.isnan(records.extra["copies_differ"][100])
    line = "40 samples are copies of each other, in 20 sets; in 10 of them the copies have different labels"
    assert any(found.startswith(line) for found in run.done()["findings"])


def test_groups_are_held_out_whole(tmp_path: Path):
    rng, count = np.random.default_rng(0), 200
    frame = pd.DataFrame(rng.normal(size=(count, 3)), columns=["a", "b", "c"])
    frame["label"], frame["product"] = np.arange(count) // 4 % 2, [f"p{k // 4}" for k in range(count)]
    frame.to_csv(tmp_path / "t.csv", index=False)
    recipe = Recipe(data=f"table:{tmp_path / 't.csv'}", group="product", val_fraction=0.2)
    task = load_task(recipe)
    assert task.groups is not None
    assert [column.name for column in task.columns] == ["a", "b", "c"]  # a group is no feature
    split, _ = make_split(task, resolve(recipe, task))
    assert split.held is not None
    held, rest = ({frame["product"][int(k)] for k in part} for part in (split.held, split.train))
    assert not held & rest
    assert len(split.held) == 40
    inputs, labels = frame[["a", "b", "c"]].to_numpy(), frame["label"].to_numpy()
    own = Task.from_arrays(inputs, labels, groups=frame["product"].tolist())
    assert torch.equal(own.groups, task.groups)
    with pytest.raises(InputError, match="groups: 3 for 200 samples"):
        Task.from_arrays(inputs, labels, groups=["a", "b", "c"])
    with pytest.raises(InputError, match="group: product, which means nothing for --data digits"):
        load_task(Recipe(group="product"))
    with pytest.raises(InputError, match="did you mean 'product'"):
        load_task(Recipe(data=recipe.data, group="produkt"))


def test_groups_of_all_sizes_and_none():
    """What is held out is about a share of the samples, never more, and never the last of a class."""
    sizes = [90, *[1] * 10]
    groups = torch.repeat_interleave(torch.arange(11), torch.tensor(sizes))
    labels, positions = torch.arange(100) % 2, torch.arange(100)
    for seed in range(10):
        assert len(whole_groups(groups, labels, 0.1, seed, positions)) == 10
    few = torch.arange(4).repeat_interleave(3)
    for seed in range(10):
        held = whole_groups(few, few.clamp(max=2), 0.5, seed, torch.arange(12))
        assert set(few.clamp(max=2).tolist()) == set(np.delete(few.clamp(max=2).numpy(), held.numpy()).tolist())
    with pytest.raises(InputError, match=r"no group can be held out whole for val-fraction 0\.1"):
        whole_groups(torch.zeros(20, dtype=torch.int64), torch.arange(20) % 2, 0.1, 0, torch.arange(20))
    x, y = np.random.default_rng(0).normal(size=(8, 2)), [0, 1] * 4
    values = [None, "a", "", "a", float("nan"), float("nan"), None, "b"]
    assert Task.from_arrays(x, y, groups=values).groups.unique().numel() == 7  # who has none is alone
    numbers = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    assert torch.equal(Task.from_arrays(x, y, groups=numbers).groups, numbers)
    with pytest.raises(InputError, match=r"groups: .*expected one text or number a sample"):
        Task.from_arrays(x, y, groups=np.zeros((8, 2)))


def test_one_group_does_not_vouch_for_itself(tmp_path: Path):
    """Each product's photos have one look and one label; a wrong one is backed by the others of its product only."""
    rng, products = np.random.default_rng(0), 60
    true = np.arange(products) % 3
    given = true.copy()
    given[:9] = (true[:9] + 1) % 3
    centres = np.eye(3)[true] * 4 + rng.normal(size=(products, 3)) * 0.3
    points = np.repeat(centres, 6, axis=0) + rng.normal(size=(products * 6, 3)) * 0.02
    task = Task.from_arrays(points.astype(np.float32), np.repeat(given, 6))
    grouped = Task.from_arrays(
        points.astype(np.float32), np.repeat(given, 6), groups=np.repeat(np.arange(products), 6).tolist()
    )
    wrong = np.repeat(given != true, 6)
    backed = {}
    for name, each in (("alone", task), ("grouped", grouped)):
        recipe = Recipe(epochs=6, val_fraction=0.0, method="elr")
        records = train(recipe, each, Place(threads=1), tmp_path / name).records()
        backed[name] = records.extra["out_of_sample"][wrong].mean()
    assert backed["grouped"] < 0.2 < backed["alone"] - 0.2


def test_a_run_without_groups_is_named_as_before():
    assert "group" not in Recipe().identity()
    assert Recipe(group="a").identity()["group"] == "a"
    assert Recipe.from_json(Recipe().identity()) == Recipe()
