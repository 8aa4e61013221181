"""Data as people have them: read as they are meant, told, or refused with what to type; nothing in silence."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import alasca
from alasca import InputError, Place, Recipe, Task, train
from alasca.data import Texts
from alasca.data.sources.cells import date_form, kind_of_cells, numbers_of
from alasca.data.sources.delimited import find_delimiter
from alasca.data.sources.giveaways import is_row_number
from alasca.data.sources.labels import class_order, spellings
from alasca.data.text import words
from alasca.training import prepare, resume
from doors import read
from lookalikes import picture

PLACE = Place(device="cpu", workers=0)
R = np.random.default_rng(0)


def told(task: Task) -> str:
    return " | ".join(task.notes)


def photos(root: Path, *names: str, count: int = 3) -> Path:
    for k, name in enumerate(names):
        for j in range(count):
            picture(root / name / f"{j}.png", 10 * k + j)
    return root


def table(path: Path, text: str) -> str:
    path.write_text(text)
    return f"table:{path}"


# --- 1: names of splits are no classes ---


@pytest.mark.parametrize(("train_name", "other"), [("train", "valid"), ("Train", "Test"), ("TRAINING", "dev"), ("train", "validation")])  # fmt: skip
def test_split_names_are_no_classes(train_name: str, other: str, tmp_path: Path):
    photos(tmp_path, *(f"{part}/{name}" for part in (train_name, other) for name in ("cat", "dog")))
    task = read(f"folder:{tmp_path}", workers=0, image_size=8)
    assert task.classes == ("cat", "dog")
    assert len(task.labels) == 6
    assert task.test_labels is not None
    assert task.test_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert ("is tested on" in told(task)) == (other.lower() != "test"), "validation for test is told"
    if (train_name, other) == ("Train", "Test"):
        anyway = read(f"folder:{tmp_path}", workers=0, image_size=8, classes_are_splits=True)
        assert anyway.classes == ("Test", "Train")


def test_a_part_to_hold_out_and_one_to_test_on(tmp_path: Path):
    photos(tmp_path, *(f"{part}/{name}" for part in ("train", "val", "test") for name in ("cat", "dog")))
    task = read(f"folder:{tmp_path}", workers=0, image_size=8)
    assert (len(task.labels), task.held.tolist()) == (12, list(range(6, 12)))  # type: ignore[union-attr]  # there is one
    assert task.ids[6] == "val/cat/0.png"
    assert task.test_labels is not None
    assert len(task.test_labels) == 6
    split = prepare(Recipe(data=f"folder:{tmp_path}", image_size=8, epochs=1), None, PLACE).split
    assert split.held is not None
    assert (len(split.train), len(split.held)) == (6, 6)


def test_a_lone_folder_to_train_on_and_parts_beside_classes(tmp_path: Path):
    photos(tmp_path / "lone", "train/cat", "train/dog")
    assert read(f"folder:{tmp_path / 'lone'}", workers=0, image_size=8).classes == ("cat", "dog")
    photos(tmp_path / "beside", "cat", "dog", "Valid/cat", "Valid/dog")
    task = read(f"folder:{tmp_path / 'beside'}", workers=0, image_size=8)
    assert (task.classes, len(task.labels)) == (("cat", "dog"), 6)
    assert task.test_labels is not None
    photos(tmp_path / "bare", "cat", "dog", "test")
    with pytest.raises(
        InputError, match="test holds pictures, but no class folders; add some, move it away, or add --cl"
    ):
        read(f"folder:{tmp_path / 'bare'}", workers=0, image_size=8)
    assert len(read(f"folder:{tmp_path / 'bare'}", workers=0, image_size=8, classes_are_splits=True).classes) == 3
    photos(tmp_path / "flat", "train/cat", "train/dog", "test")
    assert "test/ is not read (3 pictures): it has no class folders" in told(
        read(f"folder:{tmp_path / 'flat'}", workers=0, image_size=8)
    )


@pytest.mark.parametrize(("names", "words_"), [
    (("test/cat", "test/dog", "valid/cat"), "none of them to train on; name that one train, or add --classes-are-splits"),
    (("train/cat", "train/dog", "eel"), r"has train/ and folders of pictures beside it \(eel\)"),
    (("train/cat", "Training/cat"), "has Training and train; keep one of them"),
    (("cat/train", "cat/test", "dog/train"), r"cat holds test, train, which are parts of a data set: .*\(test/cat\)"),
    (("train/cat", "train/dog", "test/eel"), "folder: class 'eel' has no training row, only cat, dog"),
])  # fmt: skip
def test_parts_that_are_not_clear_are_refused(names: tuple[str, ...], words_: str, tmp_path: Path):
    photos(tmp_path, *names)
    with pytest.raises(InputError, match=words_):
        read(f"folder:{tmp_path}", workers=0, image_size=8)


def test_a_split_column_in_any_words(tmp_path: Path):
    rows = "\n".join(
        f"{R.normal():.3f},{k % 2},{part}" for k, part in enumerate(["Train"] * 8 + ["VAL"] * 4 + ["test "] * 2)
    )
    task = read(table(tmp_path / "t.csv", f"x,label,split\n{rows}\n"))
    assert (len(task.labels), task.held.tolist()) == (12, [8, 9, 10, 11])  # type: ignore[union-attr]  # there is one
    assert task.test_labels.tolist() == [0, 1]  # type: ignore[union-attr]  # there are some


# --- 2: row numbers are no features ---


@pytest.mark.parametrize(("cells", "counts"), [
    ([0, 1, 2, 3], True), ([4, 3, 2, 1], True), ([3, 1, 2, 0], True), ([3, 1, 2], True), ([4, 2, 3], False), ([10, 20, 30], True), ([5, 6, 8], False),
    ([0.5, 1.5, 2.5], False), ([k * k for k in range(20)], False), ([1, 2], False),
    (["2020-01-01", "2020-01-02", "2020-01-03"], True), ([1, 1, 1], False), (["1", "2", "3"], True),
])  # fmt: skip
def test_what_counts_rows(cells: list, counts: bool):
    kind, form = kind_of_cells(cells)
    assert is_row_number("x", numbers_of(cells, form), kind) is counts


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "Id", "index", "ROW", "row_number", "level_0"])
def test_names_that_count_rows(name: str, tmp_path: Path):
    rows = "\n".join(
        f"{value},{a:.3f},{k % 2}"
        for k, (value, a) in enumerate(zip(R.permutation(99)[:30] * 7, R.normal(size=30), strict=True))
    )
    task = read(table(tmp_path / "t.csv", f"{name},a,label\n{rows}\n"))
    assert task.inputs.shape == (30, 1)  # type: ignore[union-attr]  # numbers
    shown = name or "Unnamed: 0"
    assert f"{shown} (counts the rows)" in told(task) or name == "Id"
    if name not in ("", "Id"):
        assert read(f"table:{tmp_path / 't.csv'}", input=f"{shown},a").inputs.shape == (30, 2), "--input decides"


def test_a_column_that_says_the_label_is_left_out(tmp_path: Path):
    rows = "\n".join(f"{R.normal():.3f},{k % 3},{'abc'[k % 3]},{'xyz'[k % 3]}" for k in range(30))
    task = read(table(tmp_path / "t.csv", f"v,label,label_name,town\n{rows}\n"))
    assert "label_name (says the label)" in told(task)
    assert [column.name for column in task.columns] == ["v", "town"]


# --- 3: languages without spaces ---


def test_words_of_languages_without_spaces():
    assert words("ありがとう")[:4] == ["あ", "あり", "り", "りが"]
    assert words("ขอบคุณ")[0] == "ข"
    assert words("Ｆｕｌｌ ok 很好") == ["full", "ok", "很", "很好", "好"]
    assert words("co\u0301mo") == words("cómo") == ["cómo"]


def test_chinese_is_known_and_what_is_not_is_told(tmp_path: Path):
    good, bad = ["很好", "喜欢", "推荐"], ["太差", "失望", "退货"]
    rows = [{"text": f"这个{R.choice(good if k % 2 else bad)}东西我买了{k}次", "label": k % 2} for k in range(40)]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    ready = prepare(Recipe(data=f"table:{tmp_path / 't.jsonl'}", epochs=1), None, PLACE)
    assert {"很好", "失望"} <= {*(ready.split.samples.transform.words or ())}
    assert not any("unknown" in note for note in ready.notes)
    strange = [(f"w{k} v{k} good bad", k % 2) for k in range(40)]
    task = Task.from_arrays(
        [text for text, _ in strange], [label for _, label in strange], test=(["q1 q2 q3 good"], [0])
    )
    notes = prepare(Recipe(epochs=1), task, PLACE).notes
    assert "75% of the tokens of the test texts are unknown: training never met them" in notes


# --- 4: pictures ---


def test_alpha_is_on_white_and_deep_pictures_are_scaled_by_their_sets_span(tmp_path: Path):
    for c, name in enumerate(("a", "b")):
        for k in range(4):
            path = tmp_path / "alpha" / name / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            icon = Image.new("RGBA", (8, 8))
            icon.putalpha(Image.fromarray(((np.arange(64).reshape(8, 8) % (c + 2 + k)) * 60).astype(np.uint8)))
            icon.save(path)
            deep = tmp_path / "deep" / name / f"{k}.tif"
            deep.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((8, 8), 100 + 50 * c, np.uint16)
            pixels[0, k] = 90 + 80 * c
            Image.fromarray(pixels).save(deep)
    clear = read(f"folder:{tmp_path / 'alpha'}", workers=0, image_size=8)
    assert clear.inputs.max() == 255  # type: ignore[union-attr]  # pictures
    assert clear.inputs.min() < 100  # type: ignore[union-attr]  # pictures
    task = read(f"folder:{tmp_path / 'deep'}", workers=0, image_size=8)
    assert task.span == (90, 170)
    assert task.inputs[0, 0, 0, 0] == 0  # type: ignore[index]  # pictures
    assert task.inputs[0, 0, 1, 1] == round(255 * 10 / 80)  # type: ignore[index]  # pictures
    assert task.inputs[4, 0, 1, 1] == round(255 * 60 / 80)  # type: ignore[index]  # pictures
    assert "8 pictures have more than 8 bits: 90 is shown as black, 170 as white" in told(task)
    recipe = Recipe(data=f"folder:{tmp_path / 'deep'}", epochs=1, image_size=8, batch_size=4)
    done = train(recipe, None, PLACE, tmp_path / "run")
    model = alasca.load(done.path)
    assert model.transform.span == (90, 170), "predicting scales as training did"
    array = task.inputs.numpy()  # type: ignore[union-attr]  # pictures
    paths = [tmp_path / "deep" / each for each in task.ids]
    np.testing.assert_allclose(model.predict(paths), model.predict(array), atol=1e-6)
    photos(tmp_path / "eight", "a", "b")
    eight = train(
        Recipe(data=f"folder:{tmp_path / 'eight'}", epochs=1, image_size=8, batch_size=4), None, PLACE, tmp_path / "r8"
    )
    with pytest.raises(InputError, match="pictures of more than 8 bits, but the run was trained on pictures of 8"):
        alasca.load(eight.path).predict(paths)


def test_pictures_that_teach_nothing_are_told(tmp_path: Path):
    flat = np.zeros((8, 1, 4, 4), np.uint8)
    assert (
        told(Task.from_arrays(flat, [0, 1] * 4))
        == "all 8 pictures are the same | all 8 pictures are of one colour each"
    )
    mixed = R.integers(0, 255, (8, 1, 4, 4)).astype(np.uint8)
    mixed[::2] = mixed[0]
    assert told(Task.from_arrays(mixed, ["x", "y"] * 4)) == "all pictures are the same in 'x' (4)"
    mixed = R.integers(0, 255, (8, 1, 4, 4)).astype(np.uint8)
    mixed[3] = 7
    assert told(Task.from_arrays(mixed, ["x", "y"] * 4)) == "1 pictures are of one colour: 3"
    photos(tmp_path, "a", "b")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a" / "9.png")
    assert "1 pictures are of one colour: " in told(read(f"folder:{tmp_path}", workers=0, image_size=8))


# --- 5: folders ---


def test_every_ending_links_and_what_is_left_out(tmp_path: Path):
    root, store = photos(tmp_path / "d", "cat", "dog"), photos(tmp_path, "store")
    for ending in (".jfif", ".ppm", ".tif", ".JPEG", ".bmp"):
        Image.open(root / "cat" / "0.png").save(
            root / "cat" / f"z{ending}", format="JPEG" if ending == ".jfif" else None
        )
    (root / "dog" / "linked").symlink_to(store / "store")
    for hidden in (
        "cat/.ipynb_checkpoints/0.png",
        "dog/@eaDir/0.jpg/THUMB.png",
        "__MACOSX/cat/0.png",
        "cat/.hidden.png",
    ):
        picture(root / hidden, 1)
    for other in ("cat/Thumbs.db", "cat/notes.txt", "dog/a.txt"):
        (root / other).write_text("x")
    picture(root / "beside.png", 1)
    task = read(f"folder:{root}", workers=0, image_size=8)
    assert Counter(name.split("/")[0] for name in task.ids) == {"cat": 8, "dog": 6}
    assert "dog/linked/2.png" in task.ids
    assert task.notes[0] == (
        "14 pictures found; left out: 2 hidden, 2 no pictures (.txt), 3 of other programs, 1 pictures beside the class folders"
    )
    (store / "store" / "loop").symlink_to(root / "dog")
    with pytest.raises(InputError, match="loop is a link back to .*dog, which holds it; remove the link"):
        read(f"folder:{root}", workers=0, image_size=8)


# --- 6: labels ---


def numbers(path: Path, labels: list[object], name: str = "t.csv") -> str:
    frame = pd.DataFrame({"a": R.normal(size=len(labels)), "b": R.normal(size=len(labels)), "label": labels})
    frame.to_csv(path / name, index=False)
    return f"table:{path / name}"


def test_spellings_are_named_and_joined(tmp_path: Path):
    labels: list[object] = ["dog", "cat"] * 10 + ["dog ", "DOG", "Cat"]
    task = read(numbers(tmp_path, labels))
    assert task.classes == ("Cat", "DOG", "cat", "dog", "dog ")
    assert "'Cat' (1), 'cat' (10), 'DOG' (1), 'dog' (10), 'dog ' (1); --normalise-labels joins them" in told(task)
    joined = read(numbers(tmp_path, labels), normalise_labels=True)
    assert joined.classes == ("cat", "dog")
    assert joined.labels.bincount().tolist() == [11, 12]
    assert "joined spellings: 'DOG', 'dog', 'dog ' as 'dog'" in told(joined)
    ones = read(numbers(tmp_path, ["1", "0"] * 10 + ["1.0", "0.0"]))
    assert ones.classes == ("0", "0.0", "1", "1.0")
    assert read(f"table:{tmp_path / 't.csv'}", normalise_labels=True).classes == ("0", "1")
    assert spellings(["\u212b", "\u00e5", "Stra\u00dfe", "STRASSE", "x"]) == [
        ["STRASSE", "Stra\u00dfe"],
        ["\u00e5", "\u212b"],
    ]


def test_missing_labels_are_scored_and_never_trained_on(tmp_path: Path):
    labels: list[object] = ["dog", "cat"] * 12 + ["", "NaN", "None", "N/A"]
    frame = pd.DataFrame(
        {"a": np.where(np.arange(28) % 2, 3.0, -3.0) + R.normal(size=28), "b": R.normal(size=28), "label": labels}
    )
    frame["true_label"] = ["dog", "cat"] * 13 + ["", "dog"]
    frame.to_csv(tmp_path / "t.csv", index=False)
    task = read(f"table:{tmp_path / 't.csv'}")
    assert task.labels[24:].tolist() == [-1] * 4
    assert task.truth[26:].tolist() == [-1, 1]  # type: ignore[index]  # there are some
    assert "4 of 28 samples have no label: they are scored, never trained on" in told(task)
    recipe = Recipe(
        data=f"table:{tmp_path / 't.csv'}", epochs=12, batch_size=8, val_fraction=0.0, noise="symmetric:0.2"
    )
    run = train(recipe, None, PLACE, tmp_path / "run")
    settings = run.settings()
    assert (settings["train_samples"], settings["val_samples"]) == (24, 0)
    rows = list(csv.DictReader((tmp_path / "run" / "samples.csv").read_text().splitlines()))
    assert len(rows) == 28
    for row in rows[24:]:
        assert (row["given_label"], row["label_quality"], row["is_label_issue"], row["visits"]) == (
            "",
            "",
            "False",
            "0",
        )
        assert row["suggested_label"] == row["predicted_label"] != ""
        assert (row["ema_confidence"], row["mean_margin"]) == ("", "")
    assert rows[26]["true_label"] == ""
    records = run.records()
    assert (records.given[24:] == -1).all()
    assert records.judged.sum() == 24
    from alasca.audit.report import write_report

    page = write_report([run], tmp_path / "report.html").read_text()
    assert "4 of 28 samples have no label: the network suggests one" in page
    assert 0.05 < settings["noise_rate"] < 0.35  # type: ignore[operator]  # of those with both labels


@pytest.mark.parametrize(("labels", "words_"), [
    (list(R.normal(size=20)), "a number with a fraction: classes can't be told from them .*regression"),
    ([f"name {k}" for k in range(30)] + ["name 0"] * 5, "more than half of the 30 classes have one sample each.*regression"),
    (["a", "", "", "a"], "has 2 labelled samples of 1 class"),
])  # fmt: skip
def test_labels_that_are_no_classes_are_refused(labels: list[object], words_: str, tmp_path: Path):
    with pytest.raises(InputError, match=words_):
        read(numbers(tmp_path, labels), limit=10)


def test_doubtful_labels_are_noted_and_a_text_decides(tmp_path: Path):
    labels: list[object] = [1, 0, -1] * 6
    task = read(numbers(tmp_path, labels))
    assert task.classes == ("-1", "0", "1")
    assert "class '-1' has 6 samples; where it means that there is no label, add --missing-label=-1" in told(task)
    assert read(numbers(tmp_path, labels), missing_label="-1").labels.tolist() == [1, 0, -1] * 6
    named = read(numbers(tmp_path, ["None", "some", "?"] * 4), missing_label="?")
    assert named.classes == ("None", "some"), "then None is a class"


def test_true_labels_are_read_as_given_ones(tmp_path: Path):
    frame = pd.DataFrame({"a": R.normal(size=12), "label": np.arange(12) % 2 * 1.0, "true_label": np.arange(12) % 2})
    frame.to_csv(tmp_path / "t.csv", index=False)
    task = read(f"table:{tmp_path / 't.csv'}")
    assert task.classes == ("0", "1")
    assert task.truth.tolist() == task.labels.tolist()  # type: ignore[union-attr]  # there are some
    frame.assign(label=["dog", "cat"] * 6, true_label=["DOG", "cat"] * 6).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        InputError, match="line 2: true_label: class 'DOG' has .*; --normalise-labels reads it as 'dog'"
    ):
        read(f"table:{tmp_path / 't.csv'}")
    assert read(f"table:{tmp_path / 't.csv'}", normalise_labels=True).truth.tolist() == [1, 0] * 6  # type: ignore[union-attr]


# --- 7: Hugging Face ---


def test_hugging_face_sets_are_read_as_tables_are(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    two = datasets.ClassLabel(names=["neg", "pos"])
    features = datasets.Features({"text": datasets.Value("string"), "label": two})

    def made(count: int, labels: list[int] | None = None):
        columns = {"text": ["good film", "bad film"] * (count // 2), "label": labels or [1, 0] * (count // 2)}
        return datasets.Dataset.from_dict(columns, features=features)

    parts = {"train": made(8), "validation": made(4), "test": made(6, [-1] * 6), "other": made(2)}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "glue"))
    task = read(f"hf:{tmp_path / 'glue'}")
    assert (len(task.labels), task.test_labels.tolist()) == (8, [1, 0, 1, 0])  # type: ignore[union-attr]
    assert "validation is tested on (the set has no labels for test)" in told(task)
    assert "splits that are not read: other" in told(task)
    other = read(f"hf:{tmp_path / 'glue'}", train_split="validation", test_split="other")
    assert (len(other.labels), len(other.test_labels)) == (4, 2)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="test-split: .* has no split 'tets', only train, validation, test, other"):
        read(f"hf:{tmp_path / 'glue'}", test_split="tets")

    def saved(columns: dict, **of: object):
        datasets.Dataset.from_dict(columns, **of).save_to_disk(str(tmp_path / "s"))
        return f"hf:{tmp_path / 's'}"

    rows = read(saved({"a": list(R.normal(size=30)), "n": list(range(30)), "label": [k % 2 for k in range(30)]}))
    assert rows.inputs.shape == (30, 1)  # type: ignore[union-attr]  # numbers
    assert "n (counts the rows)" in told(rows)
    with pytest.raises(InputError, match="row 0: label is a list; expected one label a sample"):
        read(saved({"text": ["a", "b"] * 4, "label": [[0], [1]] * 4}))
    four = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["d", "c", "b", "a"])}
    )
    task = read(saved({"text": ["x y", "z w"] * 4, "label": [0, 2] * 4}, features=four))
    assert task.classes == ("d", "b"), "declared order"
    assert "classes that no sample has are left out: c, a" in told(task)
    assert task.labels.tolist() == [0, 1] * 4


# --- 8: tables ---

ROWS = [{"text": text, "label": label} for text, label in (("good film", "pos"), ("bad film", "neg"))] * 3


def test_json_however_it_is_written(tmp_path: Path):
    file = tmp_path / "t.json"
    columns = {"text": [row["text"] for row in ROWS], "label": [row["label"] for row in ROWS]}
    by_row = {name: dict(enumerate(cells)) for name, cells in columns.items()}
    lines = "\n".join(map(json.dumps, ROWS))
    for text in (
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        lines,
        json.dumps(columns),
        json.dumps(by_row),
        json.dumps({"data": ROWS}),
    ):
        file.write_text(text)
        task = read(f"table:{file}")
        assert task.classes == ("neg", "pos"), text
        assert task.inputs.values[:2] == ("good film", "bad film")  # type: ignore[union-attr]  # texts
    file.write_text(json.dumps([*ROWS, {"text": "x", "label": ["pos"]}], indent=1))
    with pytest.raises(InputError, match="t.json line 26: label is a list"):
        read(f"table:{file}")
    for broken, line in (
        (json.dumps(ROWS, indent=1)[:-20], 24),
        ('[{"a": 1}\n\n{"a": 2}]', 3),
        ("[\n1]", 2),
        ("[{}] x", 1),
    ):
        file.write_text(broken)
        with pytest.raises(InputError, match=f"t.json line {line} "):
            read(f"table:{file}")


def task_of(number: int, *choices: str) -> dict:
    results = [
        {"from_name": "mood", "to_name": "t", "type": "choices", "value": {"choices": [each]}} for each in choices
    ]
    return {"id": number, "data": {"text": f"text {number}"}, "annotations": [{"result": results}]}


def test_exports_of_label_studio(tmp_path: Path):
    tasks = [task_of(k, ("pos", "neg")[k % 2]) for k in range(10, 16)] + [task_of(16), {**task_of(17, "pos")}]
    tasks[-1]["annotations"][0]["was_cancelled"] = True
    (tmp_path / "t.json").write_text(json.dumps(tasks))
    task = read(f"table:{tmp_path / 't.json'}")
    assert (task.classes, task.labels.tolist()) == (("neg", "pos"), [1, 0] * 3 + [-1, -1])
    assert task.ids[0] == "10"
    (tmp_path / "t.json").write_text(json.dumps([*tasks, task_of(18, "pos", "neg")]))
    with pytest.raises(InputError, match=r"mood has several choices \('pos', 'neg'\); keep one a task"):
        read(f"table:{tmp_path / 't.json'}")


def test_cells_delimiters_and_headers(tmp_path: Path):
    long = table(tmp_path / "long.csv", "text,label\n" + "good,1\nbad,0\n" * 4 + "word " * 40_000 + ",1\n")
    assert len(read(long).inputs.values[-1]) == 200_000  # type: ignore[union-attr]  # texts
    spaced = read(table(tmp_path / "h.csv", "a, b, label\n" + "1.0, 2.5, x\n3.0, 1.0, y\n" * 4))
    assert (spaced.classes, spaced.inputs.shape) == (("x", "y"), (8, 2))  # type: ignore[union-attr]  # numbers
    for delimiter, shown in ((";", "';'"), ("\t", "tabs"), ("|", "'|'")):
        rows = f"a{delimiter}label\n" + f"1,5{delimiter}x\n3{delimiter}y\n" * 4
        task = read(table(tmp_path / "d.csv", rows))
        assert task.inputs[0, 0] == 1.5  # type: ignore[index]  # numbers
        assert f"cells are separated by {shown}" in told(task)
        assert "decimal commas in a" in told(task)
    with gzip.open(tmp_path / "z.csv.gz", "wt") as file:
        file.write("text,label\ngood,1\nbad,0\n")
    assert isinstance(read(f"table:{tmp_path / 'z.csv.gz'}").inputs, Texts)
    (tmp_path / "half.csv.gz").write_bytes((tmp_path / "z.csv.gz").read_bytes()[:-9])
    with pytest.raises(InputError, match="half.csv.gz can't be read"):
        read(f"table:{tmp_path / 'half.csv.gz'}")
    excel = read(table(tmp_path / "e.csv", "a,label,\n1.5,x,\n2,y,\n,,\n2,x,\n"))
    assert (len(excel.labels), excel.inputs.shape) == (3, (3, 1))  # type: ignore[union-attr]  # numbers
    assert "1 rows without a cell left out" in told(excel)
    with pytest.raises(InputError, match="b.csv line 6 has 3 cells"):
        read(table(tmp_path / "b.csv", 'text,label\n"two\nlines",x\n\nz,y\nq,w,e\n'))
    money = read(table(tmp_path / "m.csv", 'a,b,label\n"1,234.5","1,5",x\n"17","2",y\n"2,000","7,25",x\n'))
    assert money.inputs[:, 0].tolist() == [1234.5, 17, 2000]  # type: ignore[index]  # numbers
    assert money.inputs[:, 1].tolist() == [1.5, 2, 7.25]  # type: ignore[index]  # numbers
    assert "commas at thousands in a | decimal commas in b" in told(money)
    assert find_delimiter("a;b;c,d\n1;2;3,4") == ",", "the ending's own where several fit"
    assert find_delimiter('"a;b";c\n"d;e";f') == ";"


def test_paths_of_pictures_however_they_lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    photos(tmp_path, "p/cat", "p/dog")
    (tmp_path / "lists").mkdir()
    monkeypatch.chdir(tmp_path)
    for place, text, way in (
        (tmp_path, "p/{}/{}.png", None), (tmp_path, "p\\{}\\{}.png", "table's folder, \\ for /"),
        (tmp_path / "lists", "p/{}/{}.png", "from the current folder"), (tmp_path / "lists", "p\\{}\\{}.png", "current folder, \\"),
    ):  # fmt: skip
        rows = "\n".join(f"{text.format(name, k)},{name}" for name in ("cat", "dog") for k in range(3))
        task = read(table(place / "t.csv", f"path,label\n{rows}\n"), workers=0, image_size=8)
        assert task.inputs.shape == (6, 3, 8, 8)  # type: ignore[union-attr]  # pictures
        assert way is None or way in told(task)


def people(count: int = 40) -> pd.DataFrame:
    frame = pd.DataFrame({
        "Unnamed: 0": range(count), "age": R.normal(40, 5, count).round(1), "town": R.choice(["Ulm", "Bonn"], count),
        "when": [f"{1 + k % 28:02d}.{1 + (7 * k) % 12:02d}.2020" for k in range(count)], "ok": R.choice([True, False], count),
        "note": [f"note {k} of {'good' if k % 2 else 'bad'} work" for k in range(count)], "label": np.arange(count) % 2,
    })  # fmt: skip
    frame["ok"] = frame["ok"].astype(object)
    frame.loc[3, "age"], frame.loc[4, "town"], frame.loc[:9, "ok"] = np.nan, None, None
    return frame


def test_missing_cells_dates_booleans_and_texts_in_one_table(tmp_path: Path):
    frame = people()
    frame.to_csv(tmp_path / "t.csv", index=False)
    task = read(f"table:{tmp_path / 't.csv'}")
    kinds = {column.name: column.kind for column in task.columns}
    assert kinds == {"age": "number", "town": "levels", "when": "date", "ok": "levels"}
    age, town, _, ok = task.columns
    assert age.fill == pytest.approx(frame.age.median(), abs=1e-4)
    assert (town.levels, ok.levels) == (("", "Bonn", "Ulm"), ("", "False", "True"))
    inputs = task.inputs
    assert isinstance(inputs, torch.Tensor)
    assert inputs.shape == (40, 2 + 3 + 1 + 3)
    assert inputs[3, :2].tolist() == [pytest.approx(age.fill), 1]
    assert inputs[5, :2].tolist() == [pytest.approx(frame.age[5], abs=1e-4), 0]
    assert inputs[4, 2:5].tolist() == [1, 0, 0]
    days = (pd.to_datetime(frame.when, format="%d.%m.%Y") - pd.Timestamp("1970-01-01")).dt.days
    assert inputs[:, 5].tolist() == days.tolist()
    for part in (
        "Unnamed: 0 (counts the rows)",
        "note (40 different texts)",
        "when (date, DD.MM.YYYY)",
        "missing ones: the median",
    ):
        assert part in told(task)
    both = read(f"table:{tmp_path / 't.csv'}", input="age,town,note")
    assert {column.kind for column in both.columns} == {"number", "levels", "words"}
    assert "good" in both.columns[2].levels
    done = train(Recipe(data=f"table:{tmp_path / 't.csv'}", epochs=1, batch_size=8), None, PLACE, tmp_path / "run")
    model = alasca.load(done.path)
    assert model.predict(frame.head(5)).shape == (5, 2)
    new = frame.head(3).assign(age=[1.0, np.nan, 3.0], town=["Köln", "", "Ulm"])
    assert np.isfinite(model.predict(new)).all()
    with pytest.raises(InputError, match="row 1: when is None; expected a date: none was missing in training"):
        model.predict(new.assign(when=["01.02.2020", np.nan, "03.02.2020"]))


def test_what_cells_hold():
    assert date_form(["31/12/2020", "01/01/2021"]) == "%d/%m/%Y"
    assert date_form(["12/31/2020", "01/01/2021"]) == "%m/%d/%Y"
    assert date_form(["2020-01-01T10:00:00+02:00"]) == "ISO"
    for cells, kind in (
        (["1", "2", "12a", *"345678901234567890"], "number"), (["1", "2", "A", "B"] * 20, "category"), (["", None], "empty"),
        ([True, False], "category"), (["", "", "x", "y", "x"], "category"), ([[1, 2], [3, 4]], "list"), ([{"a": 1}], "object"),
        ([f"t {k}" for k in range(9)], "text"), ([f"{k % 40} x" for k in range(200)], "category"),
        ([f"{k % 150} x" for k in range(200)], "text"),
    ):  # fmt: skip
        assert kind_of_cells(cells)[0] == kind, cells


def test_a_cell_that_is_no_number_is_told(tmp_path: Path):
    rows = "\n".join(f"{'12a' if k == 7 else R.normal()},{k % 2}" for k in range(30))
    task = read(table(tmp_path / "t.csv", f"a,label\n{rows}\n"))
    assert "line 9: a is '12a', no number: 1 such cells are taken as missing" in told(task)
    assert task.inputs[7, 1] == 1  # type: ignore[index]  # numbers


def test_many_parquet_files(tmp_path: Path):
    pytest.importorskip("pyarrow")
    for k in range(3):
        frame = pd.DataFrame({"a": R.normal(size=6), "label": ["x", "y"] * 3})
        (tmp_path / "p").mkdir(exist_ok=True)
        frame.to_parquet(tmp_path / "p" / f"{k}.parquet")
    for spec in (f"table:{tmp_path / 'p'}", f"table:{tmp_path / 'p'}/*.parquet"):
        task = read(spec)
        assert len(task.labels) == 18
        assert "3 files: 0.parquet, 1.parquet, 2.parquet" in told(task)
    pd.DataFrame({"a": [1.0, 2.0], "label": ["x", ["y"]]}, dtype=object).tail(0).to_parquet(
        tmp_path / "p" / "9.parquet"
    )
    pd.DataFrame({"a": [1.0], "other": [1]}).to_parquet(tmp_path / "p" / "9.parquet")
    with pytest.raises(InputError, match=r"9.parquet has other columns than .*0.parquet \(label, other\)"):
        read(f"table:{tmp_path / 'p'}")


# --- 9: the order of classes ---


def test_one_order_of_classes_for_all_sources(tmp_path: Path):
    expected = ("2", "10", "a")
    assert class_order({"a", "10", "2"}) == expected
    assert read(f"folder:{photos(tmp_path / 'd', 'a', '10', '2')}", workers=0, image_size=8).classes == expected
    labels = ["a", "10", "2", "2"]
    assert read(numbers(tmp_path, [*labels])).classes == expected
    np.savez(tmp_path / "t.npz", x=R.normal(size=(4, 2)), y=np.array(labels))
    assert read(f"npz:{tmp_path / 't.npz'}").classes == expected
    assert Task.from_arrays(R.normal(size=(4, 2)), labels).classes == expected
    np.savez(tmp_path / "t.npz", x=R.normal(size=(4, 2)), y=np.array([0, 1, 1, 0]), classes=np.array(["b", "a"]))
    assert read(f"npz:{tmp_path / 't.npz'}").classes == ("b", "a"), "declared"
    run = train(
        Recipe(data=f"folder:{tmp_path / 'd'}", image_size=8, epochs=1, batch_size=4), None, PLACE, tmp_path / "run"
    )
    assert tuple(run.settings()["classes"]) == expected


# --- 11: runs and archives ---


def test_archives_with_half_a_test_set_and_objects(tmp_path: Path):
    x, file = R.normal(size=(4, 2)), tmp_path / "t.npz"
    np.savez(file, x=x, y=np.array([0, 1, 0, 1]), x_test=x, z=x)
    task = read(f"npz:{file}")
    assert task.test_inputs is None
    assert "x_test is not read: there is no y_test" in told(task)
    assert "arrays that are not read: z" in told(task)
    np.savez(file, x=np.array(["a b", "c", "d", "e"], dtype=object), y=np.array(["x", "y", None, "x"], dtype=object))
    task = read(f"npz:{file}")
    assert task.inputs.values[0] == "a b"  # type: ignore[union-attr]  # texts
    assert (task.classes, task.labels.tolist()) == (("x", "y"), [0, 1, -1, 0])
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.array(["x", "y"] * 2, dtype=object))
    assert read(f"npy:{tmp_path}").classes == ("x", "y")


@pytest.mark.parametrize("moved", [False, True])
def test_a_run_goes_on_from_another_folder(moved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    spec = numbers(Path(), ["a", "b"] * 12)
    run = train(Recipe(data=spec, epochs=2, batch_size=8), None, PLACE, "run")
    monkeypatch.chdir(tmp_path / "here")
    if moved:
        os.rename(tmp_path / "there" / "t.csv", "t.csv")
    else:
        Path("t.csv").write_text("a,b,label\n1,2,x\n3,4,y\n")  # another table by the same name
    for epochs in (3, 4):
        again = resume(tmp_path / "there" / "run", epochs=epochs)
        assert again.done()["epochs"] == epochs
        assert again.settings()["recipe"]["data"] == spec, "as it was typed"
    assert run.path == Path("run")
    if not moved:
        os.unlink("t.csv")
    os.rename("t.csv" if moved else tmp_path / "there" / "t.csv", tmp_path / "gone.csv")
    with pytest.raises(InputError, match="no such file: .*there/t.csv"):
        resume(tmp_path / "there" / "run", epochs=9)


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_before_training_eight_lines_say_what_was_read(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from alasca.cli import main

    spec = f"folder:{photos(tmp_path / 'd', 'cat', 'dog')}"
    if kind == "table":
        numbers(tmp_path, ["a", "b"] * 6)
        spec = f"table:{tmp_path / 't.csv'}"
    with pytest.raises(SystemExit):
        main(["train", "--data", spec, "--noise", "symmetric:0.2", "--epochs", "1", "--batch-size", "4", "--workers", "0",
              "--device", "cpu", "--out", str(tmp_path / "run")])  # fmt: skip
    block = capsys.readouterr().out.partition("\n\n")[0]
    lines = [line for line in block.splitlines() if not line.startswith(" ")]
    assert len(lines) <= 8, block
    assert "classes" in block
    assert "cat (3), dog (3)" in block or "a (" in block


# --- further things that people have ---


def test_folders_that_are_parts_by_more_words(tmp_path: Path):
    photos(
        tmp_path / "kaggle", *(f"{part}/{name}" for part in ("training_set", "Test Data") for name in ("cat", "dog"))
    )
    task = read(f"folder:{tmp_path / 'kaggle'}", workers=0, image_size=8)
    assert (task.classes, len(task.test_labels)) == (("cat", "dog"), 6)  # type: ignore[arg-type]  # there are some
    photos(
        tmp_path / "intel", *(f"{part}/{part}/{name}" for part in ("seg_train", "seg_test") for name in ("sea", "sky"))
    )
    assert read(f"folder:{tmp_path / 'intel'}", workers=0, image_size=8).classes == ("sea", "sky")
    photos(tmp_path / "deep", "animals/cat", "animals/dog", "cars/vw", "cars/bmw")
    task = read(f"folder:{tmp_path / 'deep'}", workers=0, image_size=8)
    assert "are of that class: animals (cat, dog), cars (bmw, vw)" in told(task)
    photos(tmp_path / "wrapped", "data/cat", "data/dog")
    with pytest.raises(
        InputError, match="one class folder only; its own folders are the classes of --data folder:.*/data"
    ):
        read(f"folder:{tmp_path / 'wrapped'}", workers=0, image_size=8)
    os.symlink("loop.png", tmp_path / "deep" / "cars" / "loop.png")
    with pytest.raises(InputError, match="loop.png can't be read as a picture"):
        read(f"folder:{tmp_path / 'deep'}", workers=0, image_size=8)


def test_files_that_are_parts_by_their_names(tmp_path: Path):
    for name, rows in (("train-00000-of-00001", 8), ("test-00000-of-00001", 4)):
        pd.DataFrame({"a": R.normal(size=rows), "label": ["x", "y"] * (rows // 2)}).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    task = read(f"table:{tmp_path}")
    assert (len(task.labels), len(task.test_labels)) == (8, 4)  # type: ignore[arg-type]  # there are some
    assert task.ids[0] == "train-00000-of-00001.csv/0"
    pd.DataFrame({"a": [1.0], "label": ["x"]}).to_csv(tmp_path / "more.csv", index=False)
    with pytest.raises(InputError, match="more.csv is no part by its name, as others are; write a pattern"):
        read(f"table:{tmp_path}")


def test_columns_of_paths_splits_and_labels_by_any_name(tmp_path: Path):
    photos(tmp_path, "p/cat", "p/dog")
    names = [f"p/{name}/{k}.png" for name in ("cat", "dog") for k in range(3)]
    frame = pd.DataFrame({"filename": names, "width": [3, 1, 4, 1, 5, 9], "label": ["cat"] * 3 + ["dog"] * 3})
    frame.to_csv(tmp_path / "t.csv", index=False)
    task = read(f"table:{tmp_path / 't.csv'}", workers=0, image_size=8)
    assert task.inputs.shape == (6, 3, 8, 8)  # type: ignore[union-attr]  # pictures
    assert "not read: width" in told(task)
    with pytest.raises(InputError, match="filename holds pictures, which are read alone"):
        read(f"table:{tmp_path / 't.csv'}", input="filename,width")
    texts = pd.DataFrame({"text": ["a b", "c d"] * 3, "file": [f"log{k}.txt" for k in range(6)], "label": [0, 1] * 3})
    texts.to_csv(tmp_path / "t.csv", index=False)
    assert isinstance(read(f"table:{tmp_path / 't.csv'}").inputs, Texts)
    rows = pd.DataFrame({"a": R.normal(size=30), "Split": ["train"] * 20 + ["Test"] * 10, "label": [0, 1] * 15})
    rows.to_csv(tmp_path / "t.csv", index=False)
    assert len(read(f"table:{tmp_path / 't.csv'}").labels) == 20
    rows.rename(columns={"Split": "subset"}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        InputError,
        match="column 'subset' says Test, train; add --split subset where it is for that, or --input without it",
    ):
        read(f"table:{tmp_path / 't.csv'}")
    assert len(read(f"table:{tmp_path / 't.csv'}", split="subset").labels) == 20


def test_labels_in_other_columns_are_left_out_or_told(tmp_path: Path):
    label = np.array(["cat", "dog"])[np.arange(40) % 2]
    near = label.copy()
    near[:3] = ["dog", "cat", "dog"]
    frame = pd.DataFrame({
        "a": R.normal(size=40), "label_id": np.arange(40) % 2, "species": [name.upper() for name in label], "gold_label": near,
        "annotator": near, "kind": np.array(["K", "H"])[np.arange(40) % 2], "yes": R.choice(["cat", "dog"], 40), "label": label,
    })  # fmt: skip
    frame.to_csv(tmp_path / "t.csv", index=False)
    task = read(f"table:{tmp_path / 't.csv'}")
    assert [column.name for column in task.columns] == ["a", "kind", "yes"]
    for name in ("label_id", "species", "gold_label", "annotator"):
        assert f"{name} (says the label)" in told(task)
    assert "kind tells every label by itself" in told(task)
    with pytest.raises(InputError, match="input: label is the column of labels"):
        read(f"table:{tmp_path / 't.csv'}", input="a,label")
    other = read(f"table:{tmp_path / 't.csv'}", label="species", input="a")
    assert "label" in told(other).partition("not read: ")[2], "a usual name that is not used is told"


def test_who_labelled_and_which_row_it_is_teach_nothing(tmp_path: Path):
    frame = pd.DataFrame({
        "a": R.normal(size=40), "annotator": np.array(["kim", "lee"])[R.integers(0, 2, 40)], "labelledBy": R.integers(0, 3, 40),
        "serial": R.permutation(9000)[:40], "order_id": R.permutation(9000)[:40], "rooms": R.permutation(9000)[:40],
        "operator": np.array(["x", "y"])[R.integers(0, 2, 40)], "order_total": R.permutation(9000)[:40],
        "SKU": [None, *R.permutation(9000)[:39]], "label": np.array(["cat", "dog"])[np.arange(40) % 2],
    })  # fmt: skip
    frame.to_csv(tmp_path / "t.csv", index=False)
    task = read(f"table:{tmp_path / 't.csv'}")
    assert [column.name for column in task.columns] == ["a", "rooms", "operator", "order_total"]
    for name in ("annotator", "labelledBy"):
        assert f"{name} (tells of the labelling)" in told(task)
    for name in ("serial", "order_id", "SKU"):
        assert f"{name} (names the rows)" in told(task)
    assert len(read(f"table:{tmp_path / 't.csv'}", input="a,annotator,serial").columns) == 3, "--input decides"
    texts = pd.DataFrame({"annotated_text": [f"word {k} of many" for k in range(40)], "label": ["x", "y"] * 20})
    texts.to_csv(tmp_path / "u.csv", index=False)
    assert isinstance(read(f"table:{tmp_path / 'u.csv'}").inputs, Texts)


def test_json_by_columns_goes_by_key(tmp_path: Path):
    (tmp_path / "t.json").write_text('{"text": {"0": "a b", "1": "c d"}, "label": {"1": "y", "0": "x"}}')
    task = read(f"table:{tmp_path / 't.json'}")
    assert [task.classes[k] for k in task.labels] == ["x", "y"]
    frame = pd.DataFrame(ROWS)
    for orient in ("index", "split", "table", "columns", "records"):
        frame.to_json(tmp_path / "t.json", orient=orient)
        task = read(f"table:{tmp_path / 't.json'}")
        assert task.inputs.values[:2] == ("good film", "bad film"), orient  # type: ignore[union-attr]  # texts


def test_an_annotation_is_the_label_whatever_the_data_call_so(tmp_path: Path):
    tasks = [task_of(k, ("pos", "neg")[k % 2]) for k in range(6)]
    for k, each in enumerate(tasks):
        each["data"] |= {"label": "old", "mood": f"unknown {k}"}
    (tmp_path / "t.json").write_text(json.dumps(tasks))
    task = read(f"table:{tmp_path / 't.json'}")
    assert task.classes == ("neg", "pos")
    assert "tasks of Label Studio, one choice each, of mood (not the data's own label and mood)" in told(task)


def test_what_says_that_there_is_no_label(tmp_path: Path):
    assert read(numbers(tmp_path, [-1.0, 0.0, 1.0] * 4), missing_label="-1").labels.tolist() == [-1, 0, 1] * 4
    assert "--missing-label: no sample has the label 'unknown'" in told(
        read(numbers(tmp_path, ["a", "b"] * 4), missing_label="unknown")
    )
    photos(tmp_path / "d", "cat", "dog", "unlabeled")
    assert "add --missing-label=unlabeled" in told(read(f"folder:{tmp_path / 'd'}", workers=0, image_size=8))
    task = read(f"folder:{tmp_path / 'd'}", workers=0, image_size=8, missing_label="unlabeled")
    assert (task.classes, task.labels.tolist()) == (("cat", "dog"), [0] * 3 + [1] * 3 + [-1] * 3)
    rows = "\n".join(
        f"{R.normal():.3f},{'' if k in (10, 11) else k % 2},{'valid' if k > 7 else 'train'}" for k in range(12)
    )
    task = read(table(tmp_path / "v.csv", f"a,label,split\n{rows}\n"))
    assert len(task.test_labels) == 2  # type: ignore[arg-type]  # there are some
    assert "2 rows to test on have no label and are left out" in told(task)
    np.savez(tmp_path / "t.npz", x=np.ones((4, 2)), y=[0.5, 1.5, 0, 1], classes=["a", "b"])
    with pytest.raises(InputError, match="row 0: y is 0.5, expected 0 to 1"):
        read(f"npz:{tmp_path / 't.npz'}")


def test_sixteen_bits_a_colour_are_refused(tmp_path: Path):
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + struct.pack(">12H", *range(k, k + 12)) for k in range(4))
    head = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    photos(tmp_path, "a", "b")
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a" / "deep.png").write_bytes(content)
    with pytest.raises(InputError, match="deep.png can't be read as a picture .*16 bits each, of which Pillow reads 8"):
        read(f"folder:{tmp_path}", workers=0, image_size=8)


def test_hugging_face_sets_in_any_format_and_their_split_column(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    columns = {
        "vec": [[0.5, float(k)] for k in range(8)],
        "label": [k % 2 for k in range(8)],
        "split": ["train"] * 6 + ["test"] * 2,
    }
    datasets.Dataset.from_dict(columns).with_format("torch").save_to_disk(str(tmp_path / "s"))
    task = read(f"hf:{tmp_path / 's'}")
    assert (task.classes, task.inputs.shape) == (("0", "1"), (6, 2))  # type: ignore[union-attr]  # numbers
    assert task.test_labels.tolist() == [0, 1]  # type: ignore[union-attr]  # there are some


def test_a_declared_order_in_parquet_and_its_index(tmp_path: Path):
    pytest.importorskip("pyarrow")
    kind = pd.CategoricalDtype(["low", "mid", "high"], ordered=True)
    frame = pd.DataFrame(
        {"label": pd.Categorical(["high", "low", "mid"] * 4, dtype=kind)},
        index=pd.Index(R.normal(size=12), name="dose"),
    )
    frame.to_parquet(tmp_path / "t.parquet")
    task = read(f"table:{tmp_path / 't.parquet'}")
    assert task.classes == ("low", "mid", "high")
    assert task.inputs.shape == (12, 1)  # type: ignore[union-attr]  # numbers


def test_a_model_reads_columns_in_any_form(tmp_path: Path):
    frame = pd.DataFrame({"a": R.normal(size=20), "town": ["x", "y"] * 10})
    model = alasca.load(
        train(Recipe(epochs=1, batch_size=8), Task.from_arrays(frame, [0, 1] * 10), PLACE, tmp_path / "r").path
    )
    expected = model.predict(frame)
    for form in (frame.to_dict("list"), frame.to_dict("records")):
        np.testing.assert_array_equal(model.predict(form), expected)


def test_words_keep_their_signs():
    assert words("नमस्ते दुनिया") == ["नमस्ते", "दुनिया"]
    assert words("مُحَمَّد") == ["مُحَمَّد"]


# --- what is of the training set alone ---


def test_medians_words_and_spans_are_of_the_training_rows(tmp_path: Path):
    cells = [*R.normal(size=10).round(3).tolist(), "", *[1000.5] * 9]
    rows = "\n".join(f"{cell},{k % 2},{'train' if k < 11 else 'test'}" for k, cell in enumerate(cells))
    task = read(table(tmp_path / "t.csv", f"a,label,split\n{rows}\n"))
    assert task.columns[0].fill == pytest.approx(np.median([float(cell) for cell in cells[:10]]), abs=1e-6)
    held = Task.from_arrays(["good good", "bad bad"] * 4, [0, 1] * 4, val=(["secret secret"] * 2, [0, 1]))
    assert prepare(Recipe(epochs=1), held, PLACE).split.samples.transform.words == ("bad", "good")
    for part, high in (("train", 100), ("test", 400)):
        for c, name in enumerate(("a", "b")):
            for k in range(2):
                path = tmp_path / "deep" / part / name / f"{k}.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.full((4, 4), c * 10, np.uint16)
                pixels[0] = [0, high, k, 0]
                Image.fromarray(pixels).save(path)
    deep = read(f"folder:{tmp_path / 'deep'}", workers=0, image_size=4)
    assert deep.span == (0, 100)
    assert deep.test_inputs[2, 0, 3, 0] == round(255 * 10 / 100), "by the training set's span"  # type: ignore[index]


def test_the_label_of_a_test_row_is_its_true_one(tmp_path: Path):
    rows = "\n".join(
        f"{R.normal():.3f},{k % 2},{'' if k == 11 else (k + 1) % 2},{'train' if k < 8 else 'test'}" for k in range(12)
    )
    task = read(table(tmp_path / "t.csv", f"a,label,true_label,split\n{rows}\n"))
    assert task.test_labels.tolist() == [1, 0, 1, 1], "but where it is not known, the given one"  # type: ignore[union-attr]


def test_declared_names_are_kept_as_they_are(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["dog ", "dog", "cat"])}
    )
    columns = {"text": [f"a {k} b" for k in range(9)], "label": [0, 1, 2] * 3}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(tmp_path / "s"))
    assert read(f"hf:{tmp_path / 's'}").classes == ("dog ", "dog", "cat")
    only = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["dog ", "cat"])})
    more = {"text": ["a", "b"] * 3, "label": [0, 1] * 3, "gold": ["dog", "cat"] * 3}
    datasets.Dataset.from_dict(
        {**more}, features=datasets.Features({**only, "gold": datasets.Value("string")})
    ).save_to_disk(str(tmp_path / "t"))
    task = read(f"hf:{tmp_path / 't'}", true="gold", normalise_labels=True)
    assert task.classes == ("dog ", "cat")
    assert task.truth.tolist() == [0, 1] * 3  # type: ignore[union-attr]  # there are some


def test_figures_count_known_truth_alone():
    from alasca.core import Selection
    from alasca.engine.metrics import selection_quality, training_accuracies
    from alasca.stores import Trace

    task = Task.from_arrays(R.normal(size=(6, 2)), [0, 1, 0, 1, 0, 1], truth=[0, 1, 1, 0, None, None])
    split = prepare(Recipe(epochs=1, batch_size=2, val_fraction=0.0), task, PLACE).split
    assert split.noise_rate == pytest.approx(0.5)
    trace = Trace(6)
    trace.prediction[:] = torch.tensor([0, 1, 0, 0, 0, 0], dtype=trace.prediction.dtype)
    found = training_accuracies(trace, split)
    assert found["train_true_accuracy"] == pytest.approx(75.0)
    assert found["memorised"] == pytest.approx(50.0)
    kept = torch.tensor([[True], [True], [True], [False], [True], [False]])
    quality = selection_quality(Selection(kept), torch.arange(6), split)
    assert quality["selected"] == pytest.approx(100 * 4 / 6)
    assert quality["selection_precision"] == pytest.approx(100 * 2 / 3), "of those whose truth is known"


# --- exports of other programs ---


@pytest.mark.parametrize("names", [
    ("mnist_train.csv", "mnist_test.csv"), ("train.csv.gz", "test.csv.gz"), ("fashion-mnist_train.csv", "fashion-mnist_test.csv"),
    ("train-00000-of-00001-a09b74b3ef9c3b56.csv", "test-00000-of-00001-7e1dcafe.csv"), ("train/0.csv", "test/0.csv"),
])  # fmt: skip
def test_pairs_of_files_as_they_are_published(names: tuple[str, str], tmp_path: Path):
    for name, rows in zip(names, (8, 4), strict=True):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        frame = pd.DataFrame(
            {
                "a": R.normal(size=rows),
                "label": ["x", "y"] * (rows // 2),
                "fold": ["train", "train", "val", "val"] * (rows // 4),
            }
        )
        frame.to_csv(tmp_path / "d" / name, index=False)
    for hidden in (".ipynb_checkpoints/c.csv", "~$train.csv"):
        (tmp_path / "d" / hidden).parent.mkdir(exist_ok=True)
        frame.to_csv(tmp_path / "d" / hidden, index=False)
    task = read(f"table:{tmp_path / 'd'}", input="a")
    assert (len(task.labels), len(task.test_labels)) == (8, 4)  # type: ignore[arg-type]  # there are some
    assert (len(read(f"table:{tmp_path / 'd'}", input="a", split="fold").labels)) == 6, "--split decides"


def test_sibling_folders_that_differ_by_a_part(tmp_path: Path):
    photos(tmp_path, *(f"mnist_{part}/{name}" for part in ("train", "test") for name in "01"))
    task = read(f"folder:{tmp_path}", workers=0, image_size=8)
    assert (task.classes, len(task.test_labels)) == (("0", "1"), 6)  # type: ignore[arg-type]  # there are some


def test_marks_of_other_programs_for_no_label(tmp_path: Path):
    labels: list[object] = ["a", "b"] * 6 + ["#N/A", "\\N", "Null", "NAN"]
    task = read(numbers(tmp_path, labels))
    assert (task.classes, int((task.labels < 0).sum())) == (("a", "b"), 4)
    for mark in ("?", " Unknown", ".", "NA", "-999", "Unlabeled"):
        assert f"add --missing-label={mark.strip()}" in told(read(numbers(tmp_path, [*labels, mark, mark]))), mark


def test_several_labels_in_one_are_told(tmp_path: Path):
    task = read(numbers(tmp_path, ["cat", "dog", "cat|dog", "['cat']"] * 4))
    assert "classes that hold several others are classes of their own here: \"['cat']\", 'cat|dog'" in told(task)
    assert "several" not in told(read(numbers(tmp_path, ["a/b", "c", "d"] * 4)))


def test_spellings_that_look_the_same():
    for pair in (("01", "1"), ("+1", "1"), ("dog", "dog\u200b"), ("it's", "it\u2019s"), ("a-b", "a\u2010b"), ("'dog'", "dog"),
                 ("golden_retriever", "Golden retriever"), ("<=50K", "<=50K."), ("100000", "1E5")):  # fmt: skip
        assert len(spellings(pair)) == 1, pair
    assert spellings(["a-b", "a b", "1.5", "1.25", "-1", "1"]) == []


def test_categories_that_training_never_met_are_told(tmp_path: Path):
    rows = "\n".join(
        f"{R.normal():.3f},{('yes' if k % 3 else 'no') if k < 20 else 'Yes'},{k % 2},{'train' if k < 20 else 'test'}"
        for k in range(24)
    )
    task = read(table(tmp_path / "t.csv", f"a,answer,label,split\n{rows}\n"))
    assert "answer: 4 rows have categories that training has not (read as none): 'Yes'" in told(task)
    frame = pd.DataFrame({"a": R.normal(size=9), "ok": [True, False, True] * 3})
    both = Task.from_arrays(frame, [0, 1, 1] * 3, test=(frame.assign(ok=[0, 1, 0] * 3), [0, 1, 1] * 3))
    assert "ok: 9 rows have categories that training has not" in told(both)


def test_a_data_frame_says_what_it_is_read_as():
    label = ["cat", "dog"] * 10
    frame = pd.DataFrame(
        {"Unnamed: 0": range(20), "a": [*R.normal(size=19), None], "label": label, "town": ["x", "y", "z", "x"] * 5}
    )
    task = Task.from_arrays(frame, label)
    assert "numbers in a (missing ones: the median, " in told(task)
    assert "not read: Unnamed: 0 (counts the rows), label (says the label)" in told(task)
    with pytest.raises(InputError, match=r"path holds paths of pictures; pass these: frame\['path'\].tolist\(\)"):
        Task.from_arrays(pd.DataFrame({"path": [f"{k}.png" for k in range(20)]}), label)
    with pytest.raises(InputError, match="test inputs: expected a data frame where the training inputs are one"):
        Task.from_arrays(frame, label, test=(R.normal(size=(2, 5)), ["cat", "dog"]))
    some = Task.from_arrays(R.normal(size=(20, 2)), label, test=(R.normal(size=(3, 2)), ["cat", None, "dog"]))
    assert some.test_labels.tolist() == [0, 1]  # type: ignore[union-attr]  # there are some
    assert "1 samples to test on have no label and are left out" in told(some)


@pytest.mark.parametrize("text", [
    "5.1,3.5,Iris-setosa\n4.9,3.0,Iris-setosa\n6.2,3.1,Iris-virginica\n", "39,Private,<=50K\n50,Private,<=50K\n38,State,<=50K\n",
])  # fmt: skip
def test_a_table_without_names_is_refused(text: str, tmp_path: Path):
    with pytest.raises(
        InputError, match="t.csv line 1 looks like data .*; add a line of names above it, such as c0, c1, .*label"
    ):
        read(table(tmp_path / "t.csv", text * 3), label="Iris-setosa")


def test_names_that_count_columns_are_names(tmp_path: Path):
    frame = pd.DataFrame(R.normal(size=(12, 3)))
    frame["label"] = ["x", "y"] * 6
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert read(f"table:{tmp_path / 't.csv'}").inputs.shape == (12, 3)  # type: ignore[union-attr]  # numbers


def test_columns_that_hold_parts_or_scores_of_classes(tmp_path: Path):
    rows = [(R.normal(), "train" if k < 8 else "holdout", k % 2) for k in range(12)]
    frame = pd.DataFrame(rows, columns=["a", "set", "label"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InputError, match="column 'set' says holdout, train; add --split set"):
        read(f"table:{tmp_path / 't.csv'}")
    frame.assign(set=1).rename(columns={"set": "is_train"}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        InputError, match="column 'is_train' says what rows are for; write train and test into a column split"
    ):
        read(f"table:{tmp_path / 't.csv'}")
    label = np.array(["cat", "dog"])[np.arange(30) % 2]
    scores = pd.DataFrame({"a": R.normal(size=30), "prob_cat": (np.arange(30) % 2 == 0) * 0.5 + 0.2, "prob_dog": (np.arange(30) % 2) * 0.5 + 0.3, "label_cat": np.arange(30) % 2,
                           "label_dog": 1 - np.arange(30) % 2, "ground_truth": np.where(np.arange(30) % 4, label, "cat"), "label": label})  # fmt: skip
    scores.to_csv(tmp_path / "t.csv", index=False)
    task = read(f"table:{tmp_path / 't.csv'}")
    assert [column.name for column in task.columns] == ["a"]
    assert "prob_cat (one for each class)" in told(task)
    assert "ground_truth (says the label)" in told(task)


def test_european_numbers_and_lines_of_spreadsheets(tmp_path: Path):
    rows = "a;b;c;label\n1.234;1,5;1.234,50;x\n999;2,5;7;y\n12.500;3,0;2,25;x\n"
    task = read(table(tmp_path / "t.csv", rows))
    assert task.inputs.tolist() == [[1234, 1.5, 1234.5], [999, 2.5, 7], [12500, 3, 2.25]]  # type: ignore[union-attr]
    assert "decimal commas in b | points at thousands in a, c" in told(task)
    points = read(table(tmp_path / "t.csv", "a;label\n1.234;x\n2.345;y\n1.111;x\n"))
    assert points.inputs[0, 0] == pytest.approx(1.234), "nothing says that these are thousands"  # type: ignore[index]
    excel = read(table(tmp_path / "t.csv", "sep=;\na;label\n1,5;x\n2,7;y\n"))
    assert excel.inputs[0, 0] == 1.5  # type: ignore[index]  # numbers
    with pytest.raises(InputError, match="t.csv line 4 has 1 cells"):
        read(table(tmp_path / "t.csv", "sep=;\na;label\n1,5;x\n2,7\n"))
    (tmp_path / "u.csv").write_bytes("a,label\n1.5,x\n2.5,y\n".encode("utf-16"))
    assert read(f"table:{tmp_path / 'u.csv'}").classes == ("x", "y")
    twice = read(table(tmp_path / "t.csv", "a,label\n1.5,x\n2,y\na,label\n7,x\n"))
    assert (len(twice.labels), twice.classes) == (3, ("x", "y"))
    assert "1 rows that repeat the names of the columns left out" in told(twice)


def test_pictures_of_several_pages_are_told(tmp_path: Path):
    photos(tmp_path, "a", "b")
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    first.putpixel((0, 0), (0, 0, 0))
    first.save(tmp_path / "a" / "pages.tif", save_all=True, append_images=[second])
    task = read(f"folder:{tmp_path}", workers=0, image_size=8)
    assert "1 pictures have several frames or pages, of which the first is read" in told(task)
    assert task.inputs[3, 0, 4, 4] == 255  # type: ignore[index]  # the first, which is red


# --- ordinary data are no trouble ---


def kept(frame: pd.DataFrame, path: Path, **given: object) -> list[str]:
    frame.to_csv(path / "k.csv", index=False)
    return [column.name for column in read(f"table:{path / 'k.csv'}", **given).columns]


def test_sound_columns_are_kept(tmp_path: Path):
    few = np.random.default_rng(1)
    rare = pd.DataFrame(
        {name: (few.random(200) < 0.04).astype(int) for name in ("foreign", "night", "chargeback", "label")}
    )
    assert kept(rare, tmp_path) == ["foreign", "night", "chargeback"], "rare things agree by chance"
    yes = pd.DataFrame(
        {name: few.choice(["yes", "no"], 60) for name in ("first_class", "on_target", "truthful", "label")}
    )
    assert kept(yes, tmp_path) == ["first_class", "on_target", "truthful"]
    pixels = pd.DataFrame(few.random((40, 12)), columns=[f"pixel{k}" for k in range(12)]).assign(
        label=np.arange(40) % 10
    )
    assert len(kept(pixels, tmp_path)) == 12
    dummies = pd.get_dummies(
        pd.DataFrame({"sex": few.integers(0, 2, 40), "smoker": few.integers(0, 2, 40)}),
        columns=["sex", "smoker"],
        dtype=int,
    )
    assert len(kept(dummies.assign(label=few.integers(0, 2, 40)), tmp_path)) == 4
    ages = pd.DataFrame({"age": np.sort(few.permutation(80)[:30]), "index": few.normal(100, 5, 30).round(1), "row": [1, 2, 3] * 10,
                         "transport": few.choice(["train", "bus", "car"], 30), "is_valid": few.integers(0, 2, 30), "label": few.integers(0, 2, 30)})  # fmt: skip
    assert kept(ages, tmp_path) == ["age", "index", "row", "transport", "is_valid"]
    assert "age only grows from row to row: where it counts them" in told(read(f"table:{tmp_path / 'k.csv'}"))
    assert kept(ages.rename(columns={"age": "PassengerId"}), tmp_path)[0] == "index"
    fever = few.integers(0, 2, 100)
    predictor = pd.DataFrame(
        {"a": few.normal(size=100), "fever": fever, "label": np.where(few.random(100) < 0.05, 1 - fever, fever)}
    )
    assert kept(predictor, tmp_path) == ["a", "fever"], "a strong feature is a feature"


def test_counters_that_begin_anew_in_each_part(tmp_path: Path):
    frame = pd.DataFrame(
        {
            "count": [*range(20), *range(10)],
            "a": R.normal(size=30),
            "split": ["train"] * 20 + ["test"] * 10,
            "label": [0, 1] * 15,
        }
    )
    assert kept(frame, tmp_path) == ["a"]


def test_signs_and_units_are_told(tmp_path: Path):
    frame = pd.DataFrame(
        {"a": R.normal(size=30), "price": [f"${k % 5 + 1},{100 + k % 7}.50" for k in range(30)], "label": [0, 1] * 15}
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert "price looks like numbers with '$': without it they are read as numbers" in told(
        read(f"table:{tmp_path / 't.csv'}")
    )


def test_labels_of_two_axes_say_what_to_write():
    x = R.normal(size=(4, 2))
    for y, words_ in (
        (np.zeros((4, 1)), r"pass y.ravel\(\) of \[N, 1\]"),
        (pd.DataFrame({"a": [0] * 4, "b": [1] * 4}), "a data frame of 2 columns"),
    ):
        with pytest.raises(InputError, match=words_):
            Task.from_arrays(x, y)
    assert Task.from_arrays(x, pd.DataFrame({"label": ["a", "b"] * 2})).classes == ("a", "b")


@pytest.mark.parametrize(
    "names", [("test tube", "training shoes"), ("valid_id", "devil"), ("passed test", "failed test"), ("0", "unknown")]
)
def test_class_folders_whose_names_only_sound_like_parts(names: tuple[str, str], tmp_path: Path):
    assert set(read(f"folder:{photos(tmp_path, *names)}", workers=0, image_size=8).classes) == set(names)
