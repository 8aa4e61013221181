"""Sources and their errors, splits, noise, views, and the stream of batches."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alasca import InputError
from alasca.core import Phase, Stream
from alasca.data import Loader, Pool, Samples, Transform
from alasca.data.balance import balanced_part, class_weights
from alasca.data.noise import apply_noise
from alasca.data.seeds import fold, mix, uniform
from alasca.data.views import COLOURS, MOVES, crop_and_flip, cutout, randaugment
from doors import read

NUMBERS = Transform("numbers")


def test_splitmix_reference_values():
    """The first outputs of splitmix64 from state 1234567 (Vigna's reference implementation)."""
    state, found = 1234567, []
    for _ in range(3):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        found.append(mix(state))
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_draws_are_uniform_and_depend_on_position_alone():
    draws = uniform(fold(1, "x"), torch.arange(100_000), 3)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert (draws.mean(0) - 0.5).abs().max() < 0.005
    assert (draws.var(0) - 1 / 12).abs().max() < 0.002
    assert torch.corrcoef(draws.T).fill_diagonal_(0).abs().max() < 0.02
    assert torch.corrcoef(torch.stack([draws[:-1, 0], draws[1:, 0]]))[0, 1].abs() < 0.02
    order = torch.randperm(100_000)
    assert torch.equal(uniform(fold(1, "x"), order, 3), draws[order])
    assert not torch.equal(uniform(fold(2, "x"), torch.arange(10), 3), draws[:10])


def test_shift_and_flip_by_hand():
    picture = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3)
    seen = set()
    for seed in range(300):
        moved = crop_and_flip(picture, None, 1, True, seed, torch.tensor([0]))[0, 0]
        seen.add(tuple(moved.flatten().tolist()))
    expected = set()
    padded = np.pad(picture[0, 0].numpy(), 1)
    for top in range(3):
        for left in range(3):
            for mirrored in (padded[:, :], np.pad(picture[0, 0].numpy()[:, ::-1], 1)):
                crop = mirrored[top : top + 3, left : left + 3]
                expected.add(tuple(crop.flatten().tolist()))
    assert len(expected) == 18
    assert seen <= expected | {tuple(np.array(e).reshape(3, 3)[:, ::-1].flatten().tolist()) for e in expected}
    assert len(seen) == 18


def test_views_do_not_depend_on_the_batch():
    pictures = torch.randint(0, 255, (12, 3, 8, 8), dtype=torch.uint8)
    samples = Samples(pictures, torch.arange(12) % 3, Transform("pictures", shift=2, flip=True)).fitted()
    for name in ("weak", "strong"):
        together = samples.view(name, torch.arange(12), 5)
        alone = torch.cat([samples.view(name, torch.tensor([k]), 5) for k in reversed(range(12))]).flip(0)
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
        assert not torch.equal(together, samples.view(name, torch.arange(12), 6))
    assert torch.equal(samples.view("plain", torch.arange(12), 5), samples.view("plain", torch.arange(12), 6))
    with pytest.raises(InputError, match="view: 'mild'"):
        samples.view("mild", torch.arange(2))


def test_strong_operations_stay_in_range_and_all_occur():
    pictures = torch.rand(2000, 3, 8, 8)
    changed = randaugment(pictures, 1, 1.0, 3, torch.arange(2000))
    assert changed.min() >= 0
    assert changed.max() <= 1
    same = (changed == pictures).flatten(1).all(1).double().mean().item()
    assert same < 0.2, "most pictures are left as they were"
    assert same > 0.5 / (1 + len(MOVES) + len(COLOURS)), "the identity never came"
    holes = cutout(torch.ones(500, 1, 8, 8), 2, 1, torch.arange(500)).eq(0).sum((1, 2, 3))
    assert holes.max() == 4
    assert holes.min() >= 1


def test_statistics_normalise():
    pictures = torch.randint(0, 255, (200, 3, 8, 8), dtype=torch.uint8)
    samples = Samples(pictures, torch.zeros(200, dtype=torch.int64), Transform("pictures")).fitted()
    plain = samples.view("plain", torch.arange(200))
    assert plain.mean((0, 2, 3)).abs().max() < 1e-4
    assert (plain.std((0, 2, 3)) - 1).abs().max() < 1e-3
    rows = Samples(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), torch.tensor([0, 1]), NUMBERS).fitted()
    assert rows.view("strong", torch.arange(2)).tolist() == [[-1, 0], [1, 0]]


def test_statistics_of_many_rows_that_drift():
    """Read in parts whose means differ, far from zero: the same as at once."""
    rows = 1e4 + torch.arange(10_000.0)[:, None] * torch.tensor([1.0, 0.01]) + torch.randn(10_000, 2)
    samples = Samples(rows, torch.zeros(10_000, dtype=torch.int64), NUMBERS).fitted()
    torch.testing.assert_close(samples.transform.mean, rows.double().mean(0).float())
    torch.testing.assert_close(samples.transform.std, rows.double().std(0, correction=0).float())


@given(st.lists(st.integers(0, 30), min_size=2, max_size=6), st.integers(1, 100), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_balanced_parts(sizes: list[int], count: int, seed: int):
    labels = torch.cat([torch.full((size,), k) for k, size in enumerate(sizes)]).long()
    if not len(labels):
        return
    part = balanced_part(labels, count, seed)
    assert len(part) == min(count, len(labels))
    assert len(set(part.tolist())) == len(part)
    shares = torch.bincount(labels[part], minlength=len(sizes))
    exact = torch.tensor(sizes) * len(part) / len(labels)
    if exact.min() >= 1:
        assert ((shares - exact).abs() < 1).all()
    if count >= len(sizes):
        assert ((shares > 0) | (torch.tensor(sizes) == 0)).all()
    assert torch.equal(part, balanced_part(labels, count, seed))


def test_noise_is_seeded_and_checked():
    labels = torch.arange(1000) % 10
    first = apply_noise("symmetric:0.6", labels, 10, 0)
    assert torch.equal(first, apply_noise("symmetric:0.6", labels, 10, 0))
    assert not torch.equal(first, apply_noise("symmetric:0.6", labels, 10, 1))
    assert (first != labels).double().mean().item() == pytest.approx(0.54, abs=0.04)
    exclusive = apply_noise("symmetric-exclusive:0.6", labels, 10, 0)
    assert (exclusive != labels).double().mean().item() == pytest.approx(0.6)
    assert torch.equal(apply_noise("none", labels, 10, 0), labels)
    for spec, words in (("symetric:0.3", "unknown"), ("symmetric:x", "no number"), ("symmetric:1.1", "0 to 1")):
        with pytest.raises(InputError, match=words):
            apply_noise(spec, labels, 10, 0)


def samples_of(count: int) -> Samples:
    return Samples(torch.randn(count, 2), torch.arange(count) % 3, NUMBERS)


def test_what_only_a_wrapper_sees_spreads_over_the_phase():
    loader = Loader(samples_of(100), Pool(torch.arange(100)), 10, 0)
    for used, seen in ((60, 36), (20, 80), (96, 4)):
        streams = {"all": Stream(torch.arange(used)), "rest": Stream(torch.arange(used, 100))}
        found = indices(loader, Phase((0,), streams, ("rest",)), "rest")
        visited = [index for batch in found for index in batch]
        assert len(found) == used // 10
        if used == 96:  # two rows at least, so that these few come again
            assert len(visited) == 2 * len(found)
        else:
            assert len(visited) == len(set(visited)) == seen


def test_a_single_sample_is_doubled():
    """BatchNorm needs two rows; a stream of one sample comes as two of it."""
    loader = Loader(samples_of(20), Pool(torch.arange(20)), 8, 0)
    phase = Phase((0,), {"one": Stream(torch.tensor([7]), torch.tensor([0.5]))})
    (batch,) = [batches["one"] for batches in loader.batches(phase, (0, 0, 0))]
    assert batch.index.tolist() == [7, 7]
    assert batch.weight.tolist() == [0.5, 0.5]


def test_rare_classes_weigh_more():
    """9 and 1 of 10: at power 1 both weigh 5 in all; at one half 9 / 3 and 1, times 10 / (3 + 1)."""
    labels = torch.tensor([0] * 9 + [1])
    assert class_weights(labels, 3, 0.0) is None
    assert class_weights(torch.tensor([2, 0, 0, 2]), 3, 1.0) is None, "as many of each class that is there"
    torch.testing.assert_close(class_weights(labels, 2, 1.0), torch.tensor([5 / 9, 5.0]))
    torch.testing.assert_close(class_weights(labels, 2, 0.5), torch.tensor([10 / 3 / 4, 10 / 4]))


def test_a_class_weighs_in_streams_that_weigh_nothing_themselves():
    loader = Loader(samples_of(12), Pool(torch.arange(12)), 4, 0, class_weight=torch.tensor([0.5, 1.0, 2.0]))
    streams = {"all": Stream(), "own": Stream(torch.arange(12), torch.full((12,), 0.25))}
    for batches in loader.batches(Phase((0,), streams), (0, 0, 0)):
        assert batches["all"].weight.tolist() == [[0.5, 1.0, 2.0][label] for label in batches["all"].labels.tolist()]
        assert batches["own"].weight.tolist() == [0.25] * 4


def test_weak_views_may_be_made_stronger():
    """Only where a method asks for a weak view: plain ones, and those it chose itself, stay."""
    pictures = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    samples = Samples(pictures, torch.arange(8) % 2, Transform("pictures", shift=2))
    phase = Phase((0,), {"all": Stream(views=("weak", "plain", "strong"))})
    views = {}
    for name in ("weak", "strong", "randaugment"):
        loader = Loader(samples, Pool(torch.arange(8)), 8, 0, augment=name)
        (batches,) = loader.batches(phase, (0, 0, 0))
        views[name], index = batches["all"].views, batches["all"].index
        seed = fold(fold(0, 0, 0, 0, "all", 0, 0), "view", 0)
        assert torch.equal(views[name][0], samples.transform.view(pictures[index], name, index, seed))
    assert len({tuple(found[0].flatten().tolist()) for found in views.values()}) == 3
    for name in ("strong", "randaugment"):
        assert torch.equal(views[name][1], views["weak"][1])
        assert torch.equal(views[name][2], views["weak"][2])


def indices(loader: Loader, phase: Phase, name: str, start: int = 0, epoch: int = 0) -> list[list[int]]:
    return [batches[name].index.tolist() for batches in loader.batches(phase, (0, epoch, 0), start)]


def test_batches_are_full_and_hold_no_sample_twice():
    loader = Loader(samples_of(50), Pool(torch.arange(50)), 16, 0)
    phase = Phase((0,), {"all": Stream()})
    assert loader.steps(phase) == 3
    found = indices(loader, phase, "all")
    flat = [k for batch in found for k in batch]
    assert [len(batch) for batch in found] == [16] * 3
    assert len(set(flat)) == 48
    assert indices(loader, phase, "all", start=2) == found[2:], "a later start changes nothing"
    assert indices(loader, phase, "all", epoch=1) != found
    few = Loader(samples_of(5), Pool(torch.arange(5)), 16, 0)
    assert [sorted(batch) for batch in indices(few, phase, "all")] == [[0, 1, 2, 3, 4]]


def test_later_streams_start_again_in_a_new_order():
    loader = Loader(samples_of(48), Pool(torch.arange(48)), 8, 0)
    weight = torch.linspace(0, 1, 20)
    phase = Phase((0,), {"first": Stream(), "second": Stream(torch.arange(20), weight)})
    second = indices(loader, phase, "second")
    assert [len(batch) for batch in second] == [8] * 6
    passes = [second[2 * k] + second[2 * k + 1] for k in range(3)]
    assert all(len(set(turn)) == 16 for turn in passes)
    assert passes[0] != passes[1] != passes[2]
    for batches in loader.batches(phase, (0, 0, 0)):
        torch.testing.assert_close(batches["second"].weight, weight[batches["second"].index])
    assert indices(loader, phase, "second", start=3) == second[3:]


def test_partners_have_the_same_label():
    loader = Loader(samples_of(60), Pool(torch.arange(60)), 12, 0)
    phase = Phase((0,), {"core": Stream(torch.arange(0, 60, 2)), "partner": Stream(follows="core")})
    for batches in loader.batches(phase, (0, 0, 0)):
        assert torch.equal(batches["partner"].labels, batches["core"].labels)
        assert not torch.equal(batches["partner"].index, batches["core"].index)


def test_digits():
    source = read("digits")
    assert source.inputs.shape == (1347, 1, 8, 8)
    assert source.test_labels is not None
    assert len(source.test_labels) == 450
    assert source.inputs.max() == 255
    assert len(set(source.ids)) == 1347
    assert source.digest() == read("digits").digest()


def write_folder(root: Path, classes: dict[str, int], size: int = 6) -> Path:
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for k in range(count):
            pixels = np.random.default_rng(k).integers(0, 255, (size, size + 2, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{k}.png")
    return root


def test_folder(tmp_path: Path):
    source = read(f"folder:{write_folder(tmp_path / 'a', {'cat': 3, 'dog': 2})}", image_size=8)
    assert source.inputs.shape == (5, 3, 8, 8)
    assert source.classes == ("cat", "dog")
    assert source.labels.tolist() == [0, 0, 0, 1, 1]
    assert source.ids == ("cat/0.png", "cat/1.png", "cat/2.png", "dog/0.png", "dog/1.png")
    assert source.flip
    for split in ("train", "test"):
        write_folder(tmp_path / "b" / split, {"cat": 2, "dog": 2})
    split_source = read(f"folder:{tmp_path / 'b'}", image_size=8)
    assert split_source.test_inputs is not None
    assert len(split_source.test_inputs) == 4


def test_npz(tmp_path: Path):
    path = tmp_path / "a.npz"
    pictures = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), dtype=np.uint8)
    np.savez(path, x_train=pictures, y_train=np.array(list("abcabc")), x_test=pictures[:2], y_test=np.array(["a", "b"]))
    source = read(f"npz:{path}")
    assert source.inputs.shape == (6, 3, 8, 8)
    assert source.inputs[0, 2, 1, 5] == pictures[0, 1, 5, 2]
    assert source.classes == ("a", "b", "c")
    assert source.labels.tolist() == [0, 1, 2, 0, 1, 2]
    np.savez(path, x=np.ones((4, 3)), y=np.array([0.0, 1.0, 2.0, 0.0]), y_true=np.array([0, 1, 2, 2]))
    rows = read(f"npz:{path}")
    assert rows.inputs.dtype == torch.float32
    assert rows.truth is not None
    assert rows.truth.tolist() == [0, 1, 2, 2]


X = np.ones((4, 3))
Y = np.array([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": Y}, "no array 'x'"),
        ({"x": X}, "no array 'y'"),
        ({"x": X, "y": Y[:3]}, r"y has shape \[3\]; expected \[4\]"),
        ({"x": X, "y": np.array([0, 1, 1, 5]), "classes": np.array(["a", "b"])}, "row 3: y is 5, expected 0 to 1"),
        ({"x": X, "y": np.array(["a", "b", "z", "a"]), "classes": np.array(["a", "b"])}, "row 2: y: class 'z'"),
        ({"x": X, "y": np.array([0.5, 1, 2, 0])}, "row 0: y is 0.5, a number with a fraction"),
        ({"x": X, "y": np.array([np.inf, 1, 2, 0])}, "row 0: y 'inf' is no class"),
        ({"x": X, "y": Y * 1j}, "y is complex128; expected whole numbers or strings"),
        ({"x": np.where(np.eye(4, 3) > 0, np.nan, X), "y": Y}, "row 0 holds NaN"),
        ({"x": X[:, :, None, None] * 900.0, "y": Y}, "expected pictures as uint8"),
        ({"x": np.ones(4), "y": Y}, "expected numbers"),
        ({"x": X[:0], "y": Y[:0]}, "expected numbers"),
        ({"x": X, "y": Y * 0}, "4 samples of 1 class"),
        ({"x": X, "y": Y, "x_test": np.ones((2, 5)), "y_test": Y[:2]}, "x_test is"),
    ],
)
def test_wrong_archives_name_file_and_row(tmp_path: Path, arrays: dict, words: str):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=words) as error:
        read(f"npz:{path}")
    assert "\n" not in str(error.value)


def test_wrong_folders_name_the_file(tmp_path: Path):
    root = write_folder(tmp_path / "a", {"cat": 2, "dog": 1})
    whole = (root / "cat" / "0.png").read_bytes()
    (root / "cat" / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cat/1\.png can't be read as a picture"):
        read(f"folder:{root}", image_size=8)
    (tmp_path / "empty").mkdir()
    for spec, words in (
        (f"folder:{tmp_path / 'none'}", "no such folder"),
        (f"folder:{tmp_path / 'empty'}", "no sub-folder with pictures"),
        ("folder:", "no such folder"),
        ("npz:", "no such file"),
        ("digist", "did you mean 'digits'"),
        ("digits:3", "takes no argument"),
        ("zzz", "expected one of digits, cifar10, .*folder:DIR"),
    ):
        with pytest.raises(InputError, match=words):
            read(spec, image_size=8)
    with pytest.raises(InputError, match="1 class"):
        read(f"folder:{write_folder(tmp_path / 'one', {'cat': 3})}", image_size=8)


def test_held_out_samples_leave_one_of_every_class():
    labels = torch.tensor([0] * 50 + [1, 2])
    held = balanced_part(labels, 10, 0, "val", leave=1)
    assert set(labels[held].tolist()) == {0}
    assert set(labels[balanced_part(labels, 10, 0)].tolist()) == {0, 1, 2}


def test_file_names_that_are_no_utf8_are_named_in_ascii(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for k in range(2):
            Image.fromarray(np.full((8, 8, 3), 40 * k, np.uint8)).save(tmp_path / name / f"{k}.png")
    os.rename(tmp_path / "b" / "1.png", os.fsencode(tmp_path / "b") + b"/\xff1.png")
    source = read(f"folder:{tmp_path}", image_size=8)
    assert source.ids[-1] == "b/\\xff1.png"
    "".join(source.ids).encode()


def test_whole_numbers_as_floats_are_labels(tmp_path: Path):
    np.savez(tmp_path / "t.npz", x=np.random.default_rng(0).normal(size=(6, 2)), y=np.array([0.0, 1, 2, 0, 1, 2]))
    assert read(f"npz:{tmp_path / 't.npz'}").labels.tolist() == [0, 1, 2, 0, 1, 2]
    for bad, words in ((np.inf, "row 2: y 'inf' is no class"), (0.5, "row 2: y is 0.5, a number with a fraction")):
        np.savez(tmp_path / "t.npz", x=np.zeros((3, 2)), y=np.array([0.0, 1, bad]))
        with pytest.raises(InputError, match=words):
            read(f"npz:{tmp_path / 't.npz'}")
    np.savez(tmp_path / "t.npz", x=np.zeros((4, 2)), y=np.array([0.0, 1, np.nan, 0]))
    assert read(f"npz:{tmp_path / 't.npz'}").labels.tolist() == [0, 1, -1, 0]


def test_the_view_of_gjs_is_gentler_and_hides_half_the_side():
    """RandAugment with N = 1 and M = 3 of 30, Cutout of 16 on 32 pixels; "strong" hides 8."""
    pictures = torch.full((64, 3, 32, 32), 128, dtype=torch.uint8)
    transform = Transform("pictures")
    hidden = {}
    for name in ("randaugment", "strong"):
        view = transform.view(pictures, name, torch.arange(64), seed=3)
        black = (view == 0).all(1)
        hidden[name] = int(black.flatten(1).sum(1).max())
    assert hidden["randaugment"] == 16 * 16
    assert hidden["strong"] >= 8 * 8
    gentle = transform.view(pictures, "randaugment", torch.arange(64), seed=3)
    seen = gentle[(gentle > 0)]
    moved = (seen - 128 / 255).abs() > 0.12
    assert moved.double().mean() < 0.02, "a tenth of an operation's range; the borders of moved pictures are black"
