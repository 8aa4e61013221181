"""Numbers of one's own in the place of the inputs: an embedding trains and judges, the data themselves are repaired."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from alasca import InputError, Place, Recipe, Task, train
from alasca.cli import main
from alasca.data import load_task

COUNT, CLASSES = 120, ("ant", "bee", "cat")


def labels_of(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True and given labels, a fifth of them wrong."""
    rng = np.random.default_rng(seed)
    true = np.arange(COUNT) % 3
    wrong = rng.permutation(COUNT)[: COUNT // 5]
    given = true.copy()
    given[wrong] = (given[wrong] + 1) % 3
    return true, given


def embedding(true: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (np.eye(8)[true] * 3 + rng.normal(size=(len(true), 8)) * 0.4).astype(np.float32)


def say(arguments: list[str], code: int = 0) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == code, arguments


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Pictures that show nothing, in folders of their given classes."""
    true, given = labels_of()
    noise = np.random.default_rng(2)
    for k in range(COUNT):
        path = tmp_path / "photos" / CLASSES[given[k]] / f"{k:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos", true


def test_an_embedding_judges_and_the_pictures_are_moved(photos, tmp_path: Path, capsys):
    root, true = photos
    ids = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.png"), reverse=True)]
    order = [int(Path(name).stem) for name in ids]
    points = np.vstack([embedding(true)[order], np.zeros((1, 8))])
    np.savez(tmp_path / "clip.npz", ids=np.array([*ids, "further"]), x=points)
    say(["clean", str(root), "--features", str(tmp_path / "clip.npz"), "--out", str(tmp_path / "run")])
    said = capsys.readouterr().out.replace("\n         ", " ")
    assert "clip.npz: read by 8 numbers a sample, not by the data's own inputs" in said
    tree = tmp_path / "run" / "repaired" / "photos"
    left = np.mean([path.parent.name != CLASSES[true[int(path.stem)]] for path in tree.rglob("*.png")])
    assert left < 0.05
    np.save(tmp_path / "new.npy", embedding(true)[:6])
    say(["predict", str(tmp_path / "run"), str(tmp_path / "new.npy"), "--out", str(tmp_path / "p.csv")])
    found = pd.read_csv(tmp_path / "p.csv")
    assert found["predicted_label"].tolist() == [CLASSES[k] for k in true[:6]]
    assert found["input"].tolist()[:2] == ["new.npy/0", "new.npy/1"]


def test_a_table_in_its_own_order(tmp_path: Path):
    true, given = labels_of()
    frame = pd.DataFrame({"text": ["the same words"] * COUNT, "label": [CLASSES[k] for k in given]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    np.save(tmp_path / "x.npy", embedding(true).astype(np.float64))
    recipe = Recipe(data=f"table:{tmp_path / 't.csv'}", features=str(tmp_path / "x.npy"))
    task = load_task(recipe)
    assert task.inputs.shape == (COUNT, 8)
    assert np.allclose(task.inputs.numpy(), embedding(true))
    assert task.columns == ()
    assert recipe.identity()["features"] == "array"
    assert "features" not in Recipe().identity()


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: np.save(path / "x.npy", np.zeros((7, 2))), "has 7 rows for 120 samples.*npz with ids and x"),
        (lambda path: np.save(path / "x.npy", np.zeros(120)), r"float64 \[120\]; expected numbers, samples by columns"),
        (lambda path: np.save(path / "x.npy", np.array(["a"] * 120)), "expected numbers, samples by columns"),
        (lambda path: np.save(path / "x.npy", np.full((120, 2), np.nan)), "x.npy.*row 0"),
        (lambda path: (path / "x.npy").write_text("no"), "is no NumPy file of plain numbers"),
        (lambda path: None, "x.npy"),
    ],
)
def test_wrong_features_are_one_line(tmp_path: Path, write, said: str, capsys):
    _, given = labels_of()
    frame = pd.DataFrame({"a": np.arange(COUNT) % 7, "label": [CLASSES[k] for k in given]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    write(tmp_path)
    say(["clean", str(tmp_path / "t.csv"), "--features", str(tmp_path / "x.npy"), "--out", str(tmp_path / "run")], 2)
    line = capsys.readouterr().err
    assert line.count("\n") <= 3
    assert not (tmp_path / "run").exists()
    assert re.search(said, line.replace("\n", " "))


def test_missing_ids_and_programs(photos, tmp_path: Path):
    root, true = photos
    np.savez(tmp_path / "some.npz", ids=np.array(["ant/000.png"]), x=np.zeros((1, 8)))
    with pytest.raises(InputError, match=r"has no '.*png', nor \d+ other samples of the data"):
        load_task(Recipe(data=f"folder:{root}", features=str(tmp_path / "some.npz")))
    np.savez(tmp_path / "odd.npz", x=np.zeros((1, 8)))
    with pytest.raises(InputError, match="has x; expected ids and x"):
        load_task(Recipe(data=f"folder:{root}", features=str(tmp_path / "odd.npz")))
    with pytest.raises(InputError, match="the task comes from a program"):
        train(Recipe(features="x.npy"), Task.from_arrays(embedding(true), true), Place(), tmp_path / "run")
