"""Every source on data in its published layout, and every way in which such data are wrong, through the command line."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import lookalikes
from alasca import InputError, Place, Recipe
from alasca.cli import main
from alasca.data import Task, Texts
from alasca.data.legacy import read_batch, read_labels
from doors import parts, read

CIFAR = os.environ.get("ALASCA_DATA")
"""Where the official files are, if anywhere: the same tests then run on them too."""


def load(spec: str, root: Path, **changes: object) -> Task:
    return read(spec, data_dir=str(root), checksums=False, workers=0, **changes)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize("release", [lookalikes.cifar10_python, lookalikes.cifar10_binary])
def test_cifar10(release: Callable[[Path], Path], tmp_path: Path):
    source = load("cifar10", release(tmp_path))
    assert source.inputs.shape == (50, 3, 32, 32)
    assert source.classes == lookalikes.TEN
    assert source.labels.tolist() == [k % 10 for k in range(50)]
    expected = torch.from_numpy(lookalikes.pixels(10, 1)[3].reshape(3, 32, 32))
    assert torch.equal(source.inputs[13], expected), "batch 2, picture 3; red, green and blue planes"
    assert source.test_labels is not None
    assert len(source.test_labels) == 10
    assert (source.shift, source.flip) == (4, True)
    assert list(source.maps) == ["both", "one_way", "sequential"]
    again = load("cifar10", tmp_path / "cifar-10-batches-py") if release is lookalikes.cifar10_python else source
    assert again.digest() == source.digest(), "the folder itself will do"


@pytest.mark.parametrize("release", [lookalikes.cifar100_python, lookalikes.cifar100_binary])
def test_cifar100(release: Callable[[Path], Path], tmp_path: Path):
    source = load("cifar100", release(tmp_path))
    assert source.labels.tolist() == [k % 100 for k in range(200)], "fine labels, not coarse ones"
    assert source.maps["superclass"] == {k: (k + 20) % 100 for k in range(100)}
    assert source.maps["id_block"][4] == 0
    assert torch.equal(source.inputs[7], torch.from_numpy(lookalikes.pixels(200, 0)[7].reshape(3, 32, 32)))


@pytest.mark.skipif(CIFAR is None, reason="the official files are where ALASCA_DATA says")
@pytest.mark.parametrize(("name", "rates"), [("cifar10", {"both": 0.2, "sequential": 0.184, "one_way": 0.16}), ("cifar100", {"superclass": 0.4, "id_block": 0.4})])  # fmt: skip
def test_the_official_files(name: str, rates: dict[str, float]):
    from alasca.data.noise import apply_noise

    source = read(name, data_dir=CIFAR)
    assert source.inputs.shape == (50_000, 3, 32, 32)
    assert source.labels.bincount().tolist() == [50_000 // len(source.classes)] * len(source.classes)
    for kind, rate in rates.items():
        noisy = apply_noise(f"asymmetric:0.4:{kind}", source.labels, len(source.classes), 0, source.maps)
        assert (noisy != source.labels).double().mean().item() == pytest.approx(rate, abs=0.004)
    if name == "cifar100":
        names = source.classes
        assert names[source.maps["superclass"][names.index("beaver")]] == "dolphin", "two aquatic mammals"


@pytest.mark.parametrize("suffix", ["pt", "npz"])
def test_human_labels(suffix: str, tmp_path: Path):
    lookalikes.cifar10_python(tmp_path)
    clean = np.arange(50) % 10
    arrays = {"clean_label": clean, "worse_label": (clean + 1) % 10, "aggre_label": clean}
    arrays |= {f"random_label{k}": clean for k in (1, 2, 3)}
    path = tmp_path / f"CIFAR-10_human.{suffix}"
    torch.save(arrays, path) if suffix == "pt" else np.savez(path, **arrays)
    source = load("cifar10n:worse", tmp_path)
    assert source.labels.tolist() == ((clean + 1) % 10).tolist()
    assert source.truth is not None
    assert source.truth.tolist() == clean.tolist()
    assert load("cifar10n:aggre", tmp_path).labels.tolist() == clean.tolist()
    with pytest.raises(InputError, match="no labels 'best'; expected one of aggre, worse, random1"):
        load("cifar10n:best", tmp_path)
    arrays["clean_label"] = np.roll(clean, 1)
    torch.save(arrays, path) if suffix == "pt" else np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"row 0: its clean label is 9, CIFAR's 0; expected the order"):
        load("cifar10n", tmp_path)


@pytest.mark.parametrize(("texts", "images"), [(".", "images"), ("annotations", "images"), (".", "")])
def test_clothing1m(texts: str, images: str, tmp_path: Path):
    source = load("clothing1m", lookalikes.clothing1m(tmp_path, texts, images), image_size=32, crop=28)
    assert source.inputs.shape == (42, 3, 32, 32)
    assert source.labels.tolist() == [k % 14 for k in range(42)]
    assert source.ids[3] == "images/3/03/noisy_train3.jpg"
    assert source.epoch_samples == 128_000
    assert source.crop == 28
    assert source.test_labels is not None
    assert len(source.test_labels) == 42
    assert source.mean == (0.6959, 0.6537, 0.6371)
    on_val = load("clothing1m:val", tmp_path, image_size=32)
    assert on_val.test_inputs is not None
    assert not torch.equal(on_val.test_inputs[0], source.test_inputs[0]), "the other clean list"
    assert on_val.crop is None, "a crop of 224 does not fit"


def test_webvision_keeps_fifty_classes(tmp_path: Path):
    source = load("webvision", lookalikes.webvision(tmp_path), image_size=16)
    assert len(source.classes) == 50
    assert source.classes[7] == "name7"
    assert len(source.labels) == 100
    assert source.ids[0] == "google/q0000/0.jpg"
    assert source.test_labels is not None
    assert source.test_labels.tolist() == list(range(50))


def rows(count: int = 12) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    return pd.DataFrame({
        "a": draw.normal(size=count), "b": draw.normal(size=count), "label": [f"c{k % 3}" for k in range(count)],
        "true_label": [f"c{k % 3}" for k in range(count)], "id": [f"s{k}" for k in range(count)],
        "split": ["train"] * (count - 3) + ["test"] * 3,
    })  # fmt: skip


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_tables_of_numbers(suffix: str, tmp_path: Path):
    frame = rows()
    frame.loc[0, "label"] = "c1"
    source = read(f"table:{write(frame, tmp_path / f't.{suffix}')}")
    assert isinstance(source.inputs, torch.Tensor)
    torch.testing.assert_close(source.inputs, torch.tensor(frame[["a", "b"]].to_numpy()[:9], dtype=torch.float32))
    assert source.classes == ("c0", "c1", "c2")
    assert source.labels.tolist() == [1, 1, 2, 0, 1, 2, 0, 1, 2]
    assert source.truth is not None
    assert source.truth.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2]
    assert source.test_labels is not None
    assert source.test_labels.tolist() == [0, 1, 2]
    assert source.ids[:2] == ("s0", "s1")
    shuffled = read(f"table:{write(frame.iloc[::-1], tmp_path / f'u.{suffix}')}")
    assert dict(zip(shuffled.ids, shuffled.labels.tolist(), strict=True)) == dict(
        zip(source.ids, source.labels.tolist(), strict=True)
    ), "ids survive another order"


def test_a_digest_sees_ids_and_truth(tmp_path: Path):
    before = read(f"table:{write(rows(), tmp_path / 't.csv')}").digest()
    for column, value in (("id", "other"), ("true_label", "c1"), ("label", "c1"), ("a", 7.0)):
        frame = rows()
        frame.loc[0, column] = value
        assert read(f"table:{write(frame, tmp_path / 't.csv')}").digest() != before, column


def test_a_table_says_which_columns_it_read(tmp_path: Path):
    frame = rows().assign(city="Ulm")
    source = read(f"table:{write(frame, tmp_path / 't.csv')}")
    assert source.notes == ("t.csv: numbers in a, b; not read: city (always the same)",)


def test_a_name_without_its_kind_is_guessed(tmp_path: Path):
    write(rows(), tmp_path / "t.csv")
    for spec, words in ((tmp_path / "t.csv", "did you mean --data table:"), (tmp_path, "did you mean --data folder:")):
        with pytest.raises(InputError, match=words):
            read(str(spec))


@pytest.mark.parametrize("name", ["test", "val"])
def test_a_folder_to_test_on(name: str, tmp_path: Path):
    for split in ("train", name):
        for label in "ab":
            for k in range(2):
                lookalikes.picture(tmp_path / split / label / f"{k}.png", k)
    source = read(f"folder:{tmp_path}", image_size=8, workers=0)
    assert source.classes == ("a", "b")
    assert source.test_labels is not None
    assert source.test_labels.tolist() == [0, 0, 1, 1]


def test_tables_by_column_names(tmp_path: Path):
    frame = rows().rename(columns={"label": "y", "true_label": "t", "id": "name", "split": "part"})
    frame["y"] = np.arange(12) % 3 + 9
    frame["t"] = frame["y"]
    names = {"label": "y", "true": "t", "id": "name", "split": "part", "input": "b"}
    source = read(f"table:{write(frame, tmp_path / 't.csv')}", **names)
    assert source.classes == ("9", "10", "11"), "by number, not by text"
    assert source.inputs.shape == (9, 1)
    assert source.ids[0] == "s0"
    texts = pd.DataFrame({"text": ["good, very", 'so "bad"', "fine"] * 4, "label": [1, 0, 1] * 4})
    found = read(f"table:{write(texts, tmp_path / 'texts.csv')}")
    assert isinstance(found.inputs, Texts)
    assert found.inputs.values[:2] == ("good, very", 'so "bad"')
    assert found.ids[:2] == ("texts.csv/0", "texts.csv/1")
    for k in range(6):
        lookalikes.picture(tmp_path / "p" / f"{k}.png", k)
    pictures = pd.DataFrame({"path": [f"p/{k}.png" for k in range(6)], "label": ["x", "y"] * 3})
    seen = read(f"table:{write(pictures, tmp_path / 'pictures.csv')}", image_size=8, workers=0)
    assert seen.inputs.shape == (6, 3, 8, 8)


def test_odd_but_sound_tables(tmp_path: Path):
    (tmp_path / "q.csv").write_text('\ufefftext,label\n"two\nlines, here",a\n\n"said ""yes""",b\n')
    source = read(f"table:{tmp_path / 'q.csv'}")
    assert isinstance(source.inputs, Texts)
    assert source.inputs.values == ("two\nlines, here", 'said "yes"')
    (tmp_path / "u.jsonl").write_text('{"text": "a\u2028b", "label": "NA"}\n{"text": "c", "label": "no"}\n\n')
    assert read(f"table:{tmp_path / 'u.jsonl'}").classes == ("NA", "no")
    (tmp_path / "z.csv").write_text("a,label\n7,01\n2,1\n3,2\n4,02\n")
    assert read(f"table:{tmp_path / 'z.csv'}").classes == ("01", "1", "02", "2"), "in every process"
    (tmp_path / "r.csv").write_text("a,label,true_label,weak\n9,0,0,1\n2,1,0,0\n3,0,0,0\n4,1,1,1\n")
    weak = read(f"table:{tmp_path / 'r.csv'}", label="weak", true="label")
    assert weak.inputs.shape == (4, 1), "columns of labels are never inputs"
    assert read(f"table:{tmp_path / 'r.csv'}", input="true_label,a").inputs.shape == (4, 2)


def test_arrays_of_every_type(tmp_path: Path):
    for kind in (">f4", "<f8", ">i2", "u1", "bool"):
        (tmp_path / "x").mkdir(exist_ok=True)
        np.save(tmp_path / "x" / "x.npy", np.arange(24).reshape(12, 2).astype(kind))
        np.save(tmp_path / "x" / "y.npy", np.array([b"cat", b"dog"] * 6))
        if kind == "bool":
            with pytest.raises(InputError, match="expected uint8 pictures"):
                read(f"npy:{tmp_path / 'x'}")
            continue
        source = read(f"npy:{tmp_path / 'x'}")
        assert source.inputs.dtype == torch.float32
        assert source.inputs[torch.tensor([3])].tolist() == [[6, 7]]  # type: ignore[index]  # not texts
        assert source.classes == ("cat", "dog")
    np.savez(tmp_path / "rgba.npz", x=np.zeros((4, 8, 8, 4), np.uint8), y=[0, 1, 0, 1])
    assert read(f"npz:{tmp_path / 'rgba.npz'}").inputs.shape == (4, 4, 8, 8)


@pytest.fixture
def hub(tmp_path: Path) -> Callable[[dict], str]:
    datasets = pytest.importorskip("datasets")

    def saved(columns: dict, **features: object) -> str:
        made = datasets.Dataset.from_dict(columns)
        for name, feature in features.items():
            made = made.cast_column(name, feature)
        datasets.DatasetDict({"train": made, "test": made}).save_to_disk(str(tmp_path / "set"))
        return f"hf:{tmp_path / 'set'}"

    return saved


def test_hugging_face_sets(hub: Callable[..., str], tmp_path: Path):
    import datasets

    names = datasets.ClassLabel(names=["neg", "pos"])
    texts = read(hub({"text": ["a b", "c", "d", "e"], "label": [1, 0, 1, 0]}, label=names))
    assert texts.classes == ("neg", "pos")
    assert texts.labels.tolist() == [1, 0, 1, 0]
    assert isinstance(texts.inputs, Texts)
    numbers = read(hub({"x": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "y": ["b", "a", "b"]}), label="y")
    assert numbers.labels.tolist() == [1, 0, 1]
    assert numbers.inputs.shape == (3, 2)
    for k in range(4):
        lookalikes.picture(tmp_path / f"{k}.png", k)
    columns = {"image": [str(tmp_path / f"{k}.png") for k in range(4)], "fine": [0, 1, 0, 1]}
    pictures = read(hub(columns, image=datasets.Image(), fine=names), image_size=8, workers=0)
    assert pictures.inputs.shape == (4, 3, 8, 8)
    assert pictures.test_labels is not None
    for columns, words in (
        ({"text": ["a", "b", "c"], "label": [0, 0, 0]}, "1 class"),
        ({"text": ["a", "b"], "other": [0, 1]}, "no column 'label', only text, other"),
        ({"x": [[1.0], [float("nan")], [2.0]], "label": [0, 1, 0]}, "row 1: x holds NaN"),
        ({"x": [[1.0], [1.0, 2.0], [2.0]], "label": [0, 1, 0]}, "no lists of numbers of one length"),
    ):
        with pytest.raises(InputError, match=words):
            read(hub(columns))
    with pytest.raises(InputError, match="has no column 'nope', only text, label"):
        read(hub({"text": ["a", "b"], "label": [0, 1]}), true="nope")


def test_class_labels_are_read_by_the_names_of_their_own_column(hub: Callable[..., str], tmp_path: Path):
    import datasets

    there, turned = datasets.ClassLabel(names=["x", "y"]), datasets.ClassLabel(names=["y", "x"])
    columns = {"text": ["a", "b", "c"], "label": [0, 1, 0], "gold": [1, 1, 1]}
    source = read(hub(columns, label=there, gold=turned), true="gold")
    assert source.labels.tolist() == [0, 1, 0]
    assert source.truth is not None
    assert source.truth.tolist() == [0, 0, 0]


def test_mapped_arrays(tmp_path: Path):
    pictures = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "x.npy", pictures)
    np.save(tmp_path / "y.npy", np.arange(20) % 4)
    source = read(f"npy:{tmp_path}")
    assert source.inputs.shape == (20, 3, 8, 8)
    rows = torch.tensor([7, 3, 7])
    assert torch.equal(source.inputs[rows], torch.from_numpy(pictures)[rows])  # type: ignore[index]  # not texts
    before = source.digest()
    assert read(f"npy:{tmp_path}").digest() == before
    pictures[7, 0, 0, 0] ^= 1
    np.save(tmp_path / "x.npy", pictures)
    assert read(f"npy:{tmp_path}").digest() != before


# --- what is wrong, one line each: a mutation of good data, and words that the message must have ---


def edit(path: Path, old: str, new: str, count: int = 1) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def shorten(path: Path, by: int) -> None:
    path.write_bytes(path.read_bytes()[:-by])


def batch(root: Path, name: str, **changes: object) -> None:
    path = next(root.rglob(name))
    path.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), **changes}, protocol=4))  # noqa: S301  # made here


TEN_BATCH, HUNDRED_BATCH = "data_batch_2", "train"
CSV = rows().to_csv(index=False)
WRONG: list[tuple[str, str, Callable[[Path], object], str]] = [
    ("cifar10", "cifar10", lambda r: next(r.rglob(TEN_BATCH)).unlink(), r"no such file: .*data_batch_2; get the whole"),
    ("cifar10", "cifar10", lambda r: shutil.rmtree(r / "cifar-10-batches-py"), "has neither cifar-10-batches-py nor"),
    ("cifar10", "cifar10", lambda r: halve(next(r.rglob(TEN_BATCH))), r"data_batch_2 can't be read as a CIFAR batch"),
    ("cifar10", "cifar10", lambda r: batch(r, TEN_BATCH, labels=[3, 10] * 5), r"data_batch_2 row 1: label 10, expected"),
    ("cifar10", "cifar10", lambda r: batch(r, TEN_BATCH, labels=[0]), r"data_batch_2: 1 labels for 10 pictures"),
    ("cifar10", "cifar10", lambda r: batch(r, TEN_BATCH, data=lookalikes.pixels(10)[:, :99]), r"uint8 \[10, 99\]"),
    ("cifar10", "cifar10", lambda r: batch(r, "batches.meta", label_names=[*lookalikes.TEN, "eel"]), "class 'eel' has no"),
    ("cifar10", "cifar10", lambda r: [batch(r, f"data_batch_{k}", labels=[0] * 10) for k in range(1, 6)], "of 1 class"),
    ("cifar10", "cifar10", lambda r: [batch(r, f"data_batch_{k}", labels=[], data=lookalikes.pixels(0)) for k in range(1, 6)], "has 0 samples"),
    ("cifar10b", "cifar10", lambda r: shorten(next(r.rglob("data_batch_2.bin")), 100), r"data_batch_2.bin has .* it was cut"),
    ("cifar10b", "cifar10", lambda r: next(r.rglob("batches.meta.txt")).unlink(), "no such file: .*batches.meta.txt"),
    ("cifar100", "cifar100", lambda r: next(r.rglob("meta")).unlink(), "meta can't be read"),
    ("cifar100", "cifar100", lambda r: batch(r, "train", fine_labels=[101] * 200), r"train row 0: label 101, expected 0 to 99"),
    ("cifar10", "cifar10n", lambda r: None, "has none of CIFAR-10_human.pt"),
    ("clothing1m", "clothing1m", lambda r: (r / "noisy_label_kv.txt").unlink(), "has no noisy_label_kv.txt"),
    ("clothing1m", "clothing1m", lambda r: (r / "clean_test_key_list.txt").unlink(), "no such file: .*clean_test_key_list"),
    ("clothing1m", "clothing1m", lambda r: halve(r / "images/3/03/noisy_train3.jpg"), r"noisy_train3.jpg can't be read as a pic"),
    ("clothing1m", "clothing1m", lambda r: (r / "images/3/03/noisy_train3.jpg").unlink(), r"noisy_train3.jpg can't be read"),
    ("clothing1m", "clothing1m", lambda r: edit(r / "noisy_label_kv.txt", "noisy_train3.jpg 3", "noisy_train3.jpg 14"), "row 3: label 14, expected 0 to 13"),
    ("clothing1m", "clothing1m", lambda r: edit(r / "noisy_label_kv.txt", "noisy_train3.jpg 3", "noisy_train3.jpg three"), "row 3: .*expected a picture's name"),
    ("clothing1m", "clothing1m", lambda r: edit(r / "noisy_train_key_list.txt", "noisy_train3.jpg", "noisy_train4.jpg"), "noisy_train_key_list.txt row 3: .* has no label"),
    ("clothing1m", "clothing1m", lambda r: edit(r / "noisy_train_key_list.txt", "images/3/03/noisy_train3.jpg", "images/4/04/noisy_train4.jpg"), "row 4: .* comes twice"),
    ("clothing1m", "clothing1m", lambda r: (r / "noisy_train_key_list.txt").write_text(""), "has 0 samples"),
    ("clothing1m", "clothing1m", lambda r: edit(r / "category_names_eng.txt", "class 13", "class 13\nclass 14"), "class 'class 14' has no training sample"),
    ("clothing1m", "clothing1m", lambda r: (r / "noisy_label_kv.txt").write_bytes(b"\xff"), "noisy_label_kv.txt is no UTF-8"),
    ("webvision", "webvision", lambda r: (r / "info/val_filelist.txt").unlink(), "no such file: .*val_filelist.txt"),
    ("webvision", "webvision", lambda r: edit(r / "info/train_filelist_google.txt", "q0003/3.jpg 3", "q0003/3.jpg -3"), "row 3: "),
    ("webvision", "webvision", lambda r: halve(r / "google/q0003/3.jpg"), r"3.jpg can't be read as a picture"),
    ("webvision", "webvision", lambda r: (r / "info/train_filelist_google.txt").write_text(""), "has 0 samples"),
    ("folder", "folder:{}/photos", lambda r: shutil.rmtree(r / "photos"), "no such folder"),
    ("folder", "folder:{}/photos", lambda r: (r / "photos/a/0.png").write_bytes(b"no picture"), r"a/0.png can't be read"),
    ("folder", "folder:{}/photos", lambda r: shutil.rmtree(r / "photos/b"), "of 1 class"),
    ("table", "table:{}/t.csv", lambda r: (r / "t.csv").unlink(), "no such file: .*t.csv; expected table:FILE"),
    ("table", "table:{}/t.csv", lambda r: (r / "t.csv").write_text("a,label\n"), "has no rows"),
    ("table", "table:{}/t.csv", lambda r: (r / "t.csv").write_text(""), "can't be read as CSV"),
    ("table", "table:{}/t.csv", lambda r: (r / "t.csv").write_bytes(CSV.replace("s4", "s\xe9").encode("latin1")), r"t.csv line 6 is no UTF-8 \(byte 0xe9\)"),
    ("table", "table:{}/t.csv", lambda r: edit(r / "t.csv", ",s4,", ",s3,"), r"t.csv line 6: id 's3' is that of .*t.csv line 5 already"),
    ("table", "table:{}/t.csv", lambda r: edit(r / "t.csv", "c1,c1,s4", "c1,c9,s4"), r"t.csv line 6: true_label: class 'c9'"),
    ("table", "table:{}/t.csv", lambda r: edit(r / "t.csv", "s11,test", "s11,tset"), r"t.csv line 13: split is 'tset'; expected train, validation or test"),
    ("table", "table:{}/t.csv", lambda r: edit(r / "t.csv", "c2,c2,s11", "c7,c7,s11"), r"line 13: label: class 'c7' has no training row, only c0, c1, c2"),
    ("table", "table:{}/t.csv", lambda r: [edit(r / "t.csv", old, "c0", 99) for old in ("c1", "c2")], "of 1 class"),
    ("table", "table:{}/t.csv", lambda r: (r / "t.csv").write_text("label,text\nspam,win money, now\nham,you\n"), "t.csv line 2 has 3 cells, the first line 2"),
    ("table", "table:{}/t.csv", lambda r: (r / "t.csv").write_text("label,a,label\n0,1,2\n"), "two columns 'label'"),
    ("table", "table:{}/t.csv", lambda r: (r / "t.csv").write_text('label,a\n0,"1\n'), "t.csv line 2 can't be read as CSV"),
    ("table", "table:{}/t.csv", lambda r: (r / "t.csv").write_text('label,a\n"x\ny",1\nz,2\n'), r"line 2: label 'x\\ny' has a line break"),
    ("table", "table:{}/t.csv", lambda r: (r / "t.csv").write_text("label,a\n0,1e39\n1,1e40\n2,inf\n"), r"none to learn from \(its column a \(no finite number\)"),
    ("table", "table:{}/t.jsonl", lambda r: (r / "t.jsonl").write_text('{"text": "x", "label": "\\ud800a"}\n'), r"line 1: label .* holds half of a character"),
    ("table", "table:{}/t.jsonl", lambda r: (r / "t.jsonl").write_text('{"text": "x", "label": [1]}\n'), "line 1: label is a list"),
    ("table", "table:{}/t.jsonl", lambda r: (r / "t.jsonl").write_text('{"a": ' + "[" * 99999 + "\n"), "line 1 is no JSON"),
    ("table", "table:{}/t.parquet", lambda r: pd.DataFrame({"a": [1.0, 2.0], "label": pd.array([1, None], "Int64")}).to_parquet(r / "t.parquet"), "1 labelled samples of 1 class"),
    ("npz", "npz:{}/t.npz", lambda r: np.savez(r / "t.npz", x=np.ones((4, 2)), y=["1", "2", "1", "2"], y_test=[1, 3], x_test=np.ones((2, 2))), "row 1: y_test: class '3' has no training row"),
    ("npz", "npz:{}/big/x.npy", lambda r: None, "is no NumPy archive"),
    ("npz", "npz:{}/t.npz", lambda r: np.savez(r / "t.npz", x=np.ones((4, 0)), y=[0, 1, 0, 1]), "expected numbers"),
    ("npy", "npy:{}/big", lambda r: np.save(r / "big/x.npy", np.zeros((12, 8, 8, 3), np.uint8)), r"expected uint8 pictures .*transpose\(0, 3, 1, 2\)"),
    ("table", "table:{}/t.csv", lambda r: (r / "t.csv").write_text("a,class\n1.5,x\n2,y\n"), "no column 'label', only a, class"),
    ("table", "table:{}/t.csv", lambda r: (r / "t.csv").write_text("path,label\nq.png,x\nr.png,y\n"), "q.png can't be read as a picture"),
    ("table", "table:{}/t.jsonl", lambda r: (r / "t.jsonl").write_text('{"a": 1, "label": 0}\n{"a": 1, '), r"t.jsonl line 2 is no JSON"),
    ("table", "table:{}/t.parquet", lambda r: (r / "t.parquet").write_bytes(b"PAR1 no"), "can't be read as Parquet"),
    ("table", "table:{}/t.xlsx", lambda r: (r / "t.xlsx").write_bytes(b""), "expected a table in .csv"),
    ("npz", "npz:{}/t.npz", lambda r: halve(r / "t.npz"), "is no NumPy archive"),
    ("npz", "npz:{}/t.npz", lambda r: np.savez(r / "t.npz", x=np.ones((4, 2)), y=[0, 1, 0, 1], classes=["a", "b", "c"]), "class 'c' has no training"),
    ("npy", "npy:{}/big", lambda r: (r / "big/y.npy").unlink(), "no such file: .*y.npy"),
    ("npy", "npy:{}/big", lambda r: halve(r / "big/x.npy"), "x.npy is no whole NumPy file"),
    ("npy", "npy:{}/big", lambda r: np.save(r / "big/y.npy", np.arange(3)), r"y has shape \[3\]; expected \[12\]"),
    ("npy", "npy:{}/big", lambda r: np.save(r / "big/x.npy", np.full((12, 2), np.nan)), "x.npy row 0 holds NaN"),
    ("npy", "npy:{}/big", lambda r: np.save(r / "big/x.npy", np.zeros((12, 8, 8), np.uint8)), "expected uint8 pictures"),
    ("npy", "npy:{}/big", lambda r: np.save(r / "big/y.npy", np.zeros(12, int)), "of 1 class"),
    ("npy", "npy:{}/big", lambda r: np.save(r / "big/x.npy", np.zeros((0, 2))), "expected uint8 pictures"),
]  # fmt: skip


def build(kind: str, root: Path) -> None:
    if kind in ("folder", "table", "npz", "npy"):
        for name in ("a", "b"):
            for k in range(2):
                lookalikes.picture(root / "photos" / name / f"{k}.png", k)
        (root / "t.csv").write_text(CSV)
        np.savez(root / "t.npz", x=np.ones((4, 2)), y=[0, 1, 0, 1])
        (root / "big").mkdir()
        np.save(root / "big" / "x.npy", np.ones((12, 2)))
        np.save(root / "big" / "y.npy", np.arange(12) % 3)
        return
    makers: dict[str, Callable[[Path], object]] = {
        "cifar10": lookalikes.cifar10_python, "cifar10b": lookalikes.cifar10_binary,
        "cifar100": lookalikes.cifar100_python, "clothing1m": lookalikes.clothing1m, "webvision": lookalikes.webvision,
    }  # fmt: skip
    makers[kind](root)


@pytest.mark.parametrize(("kind", "spec", "mutate", "words"), WRONG, ids=[f"{w[0]}-{k}" for k, w in enumerate(WRONG)])
def test_wrong_data_are_one_line_and_leave_nothing(
    kind: str,
    spec: str,
    mutate: Callable[[Path], object],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    data = tmp_path / "data"
    data.mkdir()
    build(kind, data)
    mutate(data)
    out = tmp_path / "run"
    options = ["--data-dir", str(data), "--no-checksums", "--workers", "0", "--image-size", "16", "--device", "cpu"]
    with pytest.raises(SystemExit) as end:
        main(["train", "--data", spec.format(data), *options, "--epochs", "1", "--out", str(out)])
    said = capsys.readouterr().err
    assert end.value.code == 2, said
    assert said.count("\n") == 1
    import re

    assert re.search(words, said), said
    assert not out.exists()


def test_a_changed_official_file_is_told_by_its_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lookalikes.cifar10_python(tmp_path)
    with pytest.raises(InputError, match=r"batches.meta has .* md5 .*, the official file 5ff9c5.*--no-checksums"):
        read("cifar10", data_dir=str(tmp_path))
    monkeypatch.delenv("ALASCA_DATA", raising=False)
    with pytest.raises(InputError, match=r"--data-dir DIR, or set \$ALASCA_DATA"):
        read("cifar10")


class Payload:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return (Path.write_text, (self.trace, "executed"))


class Builder(Payload):
    """The same through `os.system`, as a module function."""

    def __reduce__(self) -> tuple:
        return (os.system, (f"touch {self.trace}",))


@pytest.mark.parametrize("kind", [Payload, Builder])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_planted_pickles_do_not_execute(kind: type[Payload], protocol: int, tmp_path: Path):
    trace = tmp_path / "trace"
    lookalikes.cifar10_python(tmp_path)
    original = {path: path.read_bytes() for path in (tmp_path / "cifar-10-batches-py").iterdir()}
    for path, content in original.items():
        for value in (
            kind(trace),
            {"data": kind(trace), "labels": [0]},
            {"data": np.array([kind(trace)], dtype=object)},
        ):
            path.write_bytes(pickle.dumps(value, protocol=protocol))
            with pytest.raises(InputError, match=r"can't be read as a CIFAR batch .*it asks for"):
                load("cifar10", tmp_path)
        path.write_bytes(content)
    human = tmp_path / "CIFAR-10_human.pt"
    torch.save({"clean_label": kind(trace)}, human, pickle_protocol=max(2, protocol))
    with pytest.raises(InputError, match="can't be read as arrays"):
        load("cifar10n", tmp_path)
    human.write_bytes(pickle.dumps(kind(trace), protocol=protocol))
    with pytest.raises(InputError, match="can't be read as arrays"):
        load("cifar10n", tmp_path)
    np.savez(tmp_path / "labels.npz", bad=np.array([kind(trace)], dtype=object))
    with pytest.raises(InputError, match="can't be read as arrays"):
        read_labels(tmp_path / "labels.npz")
    assert not trace.exists()
    pickle.loads(pickle.dumps(kind(trace), protocol=protocol))  # noqa: S301  # shows that the payload works
    assert trace.exists()


class Records:
    """A type with parts in it: one of objects would take the bytes of an array for pointers."""

    def __reduce__(self) -> tuple:
        state = (3, "|", None, ("f",), {"f": (np.dtype("i8"), 0)}, 8, 1, 1)
        return (np.dtype, ("i8", False, True), state)


def test_the_unpickler_knows_arrays_only(tmp_path: Path):
    path = tmp_path / "x"
    for content in (b"cbuiltins\neval\n(S'1'\ntR.", b"cnumpy\nload\n(S'x'\ntR.", b"ccodecs\nencode\n(S'x'\ntR."):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"it asks for .*, which no array needs"):
            read_batch(path)
    for order in (">", "<"):
        array = np.arange(6, dtype=f"{order}i4").reshape(2, 3)
        path.write_bytes(pickle.dumps({"data": array, "turned": array.T, "n": 1}, protocol=4))
        assert read_batch(path)["data"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert read_batch(path)["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    for value, words in (
        ([1], "holds a list; expected CIFAR's dict"),
        ({"data": np.array(["a"])}, "which are no whole numbers"),
        ({"data": np.array([1.5])}, "which are no whole numbers"),
        ({"data": Records()}, "an array of records"),
        ({"data": np.zeros(2, dtype=[("a", "i8")])}, "which are no whole numbers"),
    ):
        path.write_bytes(pickle.dumps(value, protocol=4))
        with pytest.raises(InputError, match=words):
            read_batch(path)
    path.write_bytes(pickle.dumps({"data": np.arange(8)}, protocol=4).replace(b"K\x08", b"K\x09"))
    with pytest.raises(InputError, match=r"an array of shape \[9\] has 64 bytes"):
        read_batch(path)
    human = tmp_path / "x.pt"
    torch.save({"a": np.arange(3), "b": torch.arange(3), "c": torch.tensor([1.0], requires_grad=True)}, human)
    assert {name: array.tolist() for name, array in read_labels(human).items()} == {
        "a": [0, 1, 2],
        "b": [0, 1, 2],
        "c": [1],
    }
    torch.save({"a": Records()}, human)
    with pytest.raises(InputError, match="can't be read as arrays"):
        read_labels(human)


def test_json_of_a_run_names_every_option(tmp_path: Path):
    """Reading survives run.json, so that resume reads the same data the same way."""
    recipe, place = parts(data_dir="d", image_size=64, crop=56, label="y", on_bad_image="skip")
    assert Recipe.from_json(json.loads(json.dumps(recipe.as_json()))) == recipe
    assert Place.from_json(json.loads(json.dumps(place.as_json()))) == place
    for wrong, words in (
        ({"on_bad_image": "ignore"}, "expected one of fatal, skip, blank"),
        ({"image_size": 2}, "image-size: 2, expected at least 4"),
        ({"image_size": 32, "crop": 64}, r"crop: 64, expected at most image-size \(32\)"),
    ):
        with pytest.raises(InputError, match=words):
            Recipe(**wrong)


def test_a_folder_of_tables_that_can_t_be_looked_through_is_one_line(tmp_path: Path, monkeypatch):
    def gone(self, pattern):
        raise FileNotFoundError(2, "No such file or directory", "/proc/1")

    monkeypatch.setattr(Path, "rglob", gone)
    with pytest.raises(InputError, match=r"can't be looked through \(No such file or directory"):
        read(f"table:{tmp_path}")
