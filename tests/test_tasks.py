"""Tasks of what a program holds: labels and class names, inputs that do not fit together, sizes, names in tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import alasca
from alasca import InputError, Place, Recipe, Task, train
from alasca.training import prepare, resume, run
from lookalikes import picture

X, Y = torch.arange(12.0).reshape(6, 2), torch.tensor([0, 1, 2, 0, 1, 2])
PICTURES = np.random.default_rng(0).integers(0, 255, (40, 12, 10)).astype(np.uint8)
PLACE = Place(device="cpu")


def prepared(task: Task, **given: Any):
    return prepare(Recipe(**{"epochs": 1, "batch_size": 8, **given}), task, PLACE)


@pytest.mark.parametrize("labels", [
    Y, Y.numpy(), Y.tolist(), Y.double(), list(Y.numpy()), list(Y), list(Y.numpy().astype(np.float32)),
    pd.Series(Y.numpy()).astype("Int64"), Y.numpy().astype(object), ["0", "1", "10", "0", "1", "10"],
])  # fmt: skip
def test_whole_numbers_are_positions_in_the_class_names(labels):
    """The third class is called 10: a label 2 means it, and a label "10" too."""
    task = Task.from_arrays(X, labels, classes=["0", "1", "10"], truth=labels, test=(X, labels), val=(X, labels))
    assert task.labels.tolist() == [*Y.tolist(), *Y.tolist()]
    assert task.truth is not None
    assert task.test_labels is not None
    assert task.truth.tolist() == task.labels.tolist()
    assert task.test_labels.tolist() == Y.tolist()


def test_labels_of_a_data_set_are_positions_in_its_classes():
    class Digits(torch.utils.data.Dataset):
        classes = ("10", "1", "0")

        def __len__(self) -> int:
            return len(X)

        def __getitem__(self, k: int):
            return X[k], int(Y[k])

    task = Task.from_dataset(Digits())
    assert task.classes == ("10", "1", "0")
    assert task.labels.tolist() == Y.tolist()


@pytest.mark.parametrize("classes", [
    ("cat", "dog", "eel"), np.array(["cat", "dog", "eel"]), pd.Series(["cat", "dog", "eel"], index=[2, 0, 1]),
    {0: "cat", 1: "dog", 2: "eel"}.values(), (name for name in ("cat", "dog", "eel")),
])  # fmt: skip
def test_class_names_are_taken_in_their_order_whatever_holds_them(classes):
    task = Task.from_arrays(X, ["0", "1", "eel", 0, 1, 2], classes=classes, truth=Y)
    assert task.classes == ("cat", "dog", "eel")
    assert task.labels.tolist() == Y.tolist()


def test_numbers_among_classes_that_are_numbers_are_names():
    task = Task.from_arrays(X, [7, 3, 7, 3, 7, 3], classes=[7, 3])
    assert task.classes == ("7", "3")
    assert task.labels.tolist() == [0, 1, 0, 1, 0, 1]


def frame(*names: str) -> pd.DataFrame:
    return pd.DataFrame(np.arange(6.0 * len(names)).reshape(6, -1), columns=list(names))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"labels": [0, 1, 3, 0, 1, 2], "classes": ["a", "b", "c"]}, "row 2: label 3, expected 0 to 2, a position"),
        ({"labels": [0, 1, 2, 0, 1, np.inf], "classes": ["a", "b", "c"]}, "row 5: label: class 'inf' has no training"),
        ({"labels": torch.tensor(3)}, "train labels: 3; expected one label a sample"),
        ({"labels": [0, 1, [2], 0, 1, 2]}, "row 2: label is a list; expected one label a sample"),
        ({"labels": [0, 1, "d", 0, 1, 2], "classes": ["a", "b", "c"]}, "row 2: label: class 'd' has no training row"),
        ({"labels": ["a\r", "b", "c", "a\r", "b", "c"]}, r"row 0: label 'a\\r' has a line break in it"),
        ({"labels": ["a\ud800", "b", "c", "a", "b", "c"]}, "holds half of a character"),
        ({"ids": ["a\nb", *"bcdef"]}, r"id 'a\\nb' has a line break in it"),
        ({"ids": ["\udfff", *"bcdef"]}, "id .* holds half of a character"),
        ({"test": (X[:, :1], Y)}, r"test inputs are rows of numbers \[1\], training inputs rows of numbers \[2\]"),
        ({"test": (["a text"] * 6, Y)}, r"test inputs are texts, training inputs rows of numbers \[2\]"),
        ({"val": (["a text"] * 6, Y)}, "val inputs are texts"),
        ({"val": (PICTURES[:6], Y)}, r"val inputs are pictures \[1, 12, 10\]"),
        ({"test": ([], [])}, "test inputs: there are none"),
        ({"inputs": np.float32(3)}, "train inputs: there are none"),
        ({"inputs": None}, "train inputs: there are none"),
        ({"val": (X, Y, 3)}, r"val: expected two, \(inputs, labels\)"),
        ({"inputs": [Path("a.png"), *map(Path, "bcdef")]}, "train inputs: b is no picture by its name"),
        ({"inputs": np.array([[1, "x"]] * 6, dtype=object)}, r"data: train inputs: array is object \[6, 2\]; expected"),
        ({"image_size": 48}, "image-size: 48, but the inputs are no paths"),
        ({"inputs": frame("a", "a")}, "two columns 'a'"),
        ({"inputs": frame("a", "b"), "test": (frame("a", "c"), Y)}, "test inputs has no column 'b', only a, c"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(arguments, words: str):
    with pytest.raises(InputError, match=words) as error:
        Task.from_arrays(**{"inputs": X, "labels": Y, **arguments})
    assert "\n" not in str(error.value)


def test_arrays_of_pictures_are_cropped_and_never_resized(tmp_path: Path):
    task = Task.from_arrays(PICTURES, np.arange(40) % 4)
    ready = prepared(task, crop=8)
    assert (ready.shape, ready.recipe.crop, ready.recipe.shift) == ((1, 8, 8), 8, 0)
    assert prepared(task, crop=8, shift=2).recipe.shift == 2
    assert prepared(task).shape == (1, 12, 10)
    done = train(Recipe(epochs=1, batch_size=8, crop=8), task, PLACE, tmp_path / "run")
    model = alasca.load(done.path)
    assert model.predict(PICTURES[:3]).shape == (3, 4)
    with pytest.raises(InputError, match=r"samples are \[1, 8, 8\], but those of the run were \[1, 12, 10\]"):
        model.predict(PICTURES[:3, :8, :8])  # the network would take them
    for given, words in (
        ({"crop": 11}, r"crop: 11, expected at most the pictures' side \(10\)"),
        ({"image_size": 24}, "image-size: 24, but these pictures are 12x10 already"),
    ):
        with pytest.raises(InputError, match=words):
            prepared(task, **given)
        with pytest.raises(InputError, match="the data are numbers"):
            prepared(Task.from_arrays(X, Y), **given)
    with pytest.raises(InputError, match="image-size: 24, but these pictures are 8x8"):
        prepare(Recipe(data="digits", image_size=24))


def test_pictures_from_paths_have_the_size_that_is_asked_for(tmp_path: Path):
    paths = [tmp_path / f"{k}.png" for k in range(8)]
    for k, path in enumerate(paths):
        picture(path, k)
    task = Task.from_arrays(paths, [0, 1] * 4, image_size=48)
    assert task.inputs.shape == (8, 3, 48, 48)  # type: ignore[union-attr]  # pictures have a shape
    assert prepared(task, image_size=48).recipe.image_size == 48
    with pytest.raises(InputError, match="are 48x48 already; make the task with image_size=64"):
        prepared(task, image_size=64)
    with pytest.raises(InputError, match="image-size: -1, expected at least 4"):
        Task.from_arrays(paths, [0, 1] * 4, image_size=-1)
    paths[2].write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"2.png can't be read as a picture .*; mend or remove it$"):
        Task.from_arrays(paths, [0, 1] * 4)


def test_texts_may_end_like_pictures():
    task = Task.from_arrays(["see a.png", "hear"], [0, 1], test=(["look at x.png"], [0]))
    assert task.test_inputs.values == ("look at x.png",)  # type: ignore[union-attr]  # texts


def test_held_out_samples_of_ones_own_leave_no_share_to_hold_out():
    task = Task.from_arrays(X, Y, val=(X, Y))
    assert prepared(task).recipe.val_fraction == 0.0
    with pytest.raises(InputError, match=r"val-fraction: 0.2, but the data have held-out samples of their own"):
        prepared(task, val_fraction=0.2)


def test_statistics_are_those_of_the_training_samples_alone():
    task = Task.from_arrays(X, Y, val=(X + 1000, Y), test=(X - 1000, Y))
    transform = prepared(task).split.samples.transform
    assert transform.mean is not None
    torch.testing.assert_close(transform.mean, X.mean(0))


@pytest.mark.parametrize("seed", range(4))
def test_a_limit_leaves_some_held_out(seed: int):
    task = Task.from_arrays(torch.arange(80.0).reshape(40, 2), [0, 1] * 20, val=(X[:4], [0, 1, 0, 1]))
    split = prepared(task, limit=2, select="noisy-val", seed=seed, batch_size=2).split
    assert split.held is not None
    assert (len(split.train), len(split.held)) == (2, 2)
    assert split.samples.labels[split.held].sort().values.tolist() == [0, 1]


def test_a_model_predicts_none_and_paths_in_any_list(tmp_path: Path):
    table = pd.DataFrame({"a": np.arange(20.0), "town": ["x", "y"] * 10})
    done = train(Recipe(epochs=1, batch_size=8), Task.from_arrays(table, [0, 1] * 10), PLACE, tmp_path / "table")
    model = alasca.load(done.path)
    assert model.predict(table[:0]).shape == (0, 2)
    for nothing in (None, 5):
        with pytest.raises(InputError, match="expected several samples"):
            model.predict(nothing)
    paths = [str(tmp_path / f"{k}.png") for k in range(8)]
    for k, path in enumerate(paths):
        picture(Path(path), k)
    done = train(Recipe(epochs=1, batch_size=4), Task.from_arrays(paths, [0, 1] * 4), PLACE, tmp_path / "pictures")
    model = alasca.load(done.path)
    for several in (np.array(paths), pd.Series(paths)):
        np.testing.assert_array_equal(model.predict(several), model.predict(paths))


def test_a_run_of_a_task_says_that_it_needs_it(tmp_path: Path):
    done = train(Recipe(epochs=1, batch_size=8), Task.from_arrays(PICTURES, np.arange(40) % 4), PLACE, tmp_path / "run")
    (done.path / "done.json").unlink()
    with pytest.raises(InputError, match=r"was started on a task made in Python; pass it: resume\(folder, task\)"):
        resume(done.path)


def test_several_processes_need_a_folder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run, "world", lambda: (1, 2))
    with pytest.raises(InputError, match="several processes need one that they share"):
        train(Recipe(epochs=1), Task.from_arrays(X, Y), PLACE)


def test_a_model_remembers_no_folder_of_the_machine_that_trained(tmp_path: Path):
    options = {"alasca.store_dir": str(tmp_path / "rows")}
    task = Task.from_arrays(PICTURES, np.arange(40) % 4)
    (tmp_path / "rows").mkdir()
    done = train(Recipe(epochs=1, batch_size=8, options=options), task, PLACE, tmp_path / "run")
    kept = {path: path.read_bytes() for path in (tmp_path / "rows").iterdir()}
    assert str(tmp_path) not in (done.path / "model.json").read_text()
    alasca.load(done.path)
    assert {path: path.read_bytes() for path in (tmp_path / "rows").iterdir()} == kept


def test_file_names_with_line_breaks_are_ids_of_one_line(tmp_path: Path):
    for k in range(8):
        picture(tmp_path / "p" / "ab"[k % 2] / f"{k}\r\n.png", k)
    done = train(Recipe(data=f"folder:{tmp_path / 'p'}", epochs=1, batch_size=4), None, PLACE, tmp_path / "run")
    assert done.records().ids[0] == r"a/0\x0d\x0a.png"
    assert len(done.records().ids) == 8


def test_held_out_test_and_blank_samples_have_no_part_in_mean_and_deviation():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    far = torch.full((5, 3), 1000.0)
    task = Task.from_arrays(x, torch.arange(40) % 2, val=(far, torch.arange(5) % 2), test=(far, torch.arange(5) % 2))
    split = prepared(task).split
    assert split.test is not None
    for samples in (split.samples, split.test):
        torch.testing.assert_close(samples.transform.mean.flatten(), x.mean(0))
        torch.testing.assert_close(samples.transform.std.flatten(), x.std(0, correction=0))
