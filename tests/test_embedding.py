"""`alasca embed`: numbers of samples by frozen networks, and what reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from alasca import InputError
from alasca.cli import main
from alasca.training import backbone
from alasca.training.embedding import load_weights
from lookalikes import bert

NAME = "timm:test_resnet.r160_in1k"
"""A small network of timm's own tests, which reads 160 x 160."""


def say(arguments: list[str], code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its weights with a classifier of a thousand classes, as they are published."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(timm.create_model(NAME[5:], pretrained=False).state_dict(), path)
    return path


def photos(folder: Path, count: int = 24) -> list[Path]:
    rng, found = np.random.default_rng(0), []
    for k in range(count):
        path = folder / ("red" if k % 2 else "blue") / f"{k:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 60, (40, 50, 3), dtype=np.uint8)
        pixels[:, :, 0 if k % 2 else 2] += 150
        Image.fromarray(pixels).save(path)
        found.append(path)
    return found


def test_pictures_are_read_as_the_network_was_trained(weights: Path):
    """Against timm's own transform of its own data configuration, on a picture that needs no resizing."""
    timm = pytest.importorskip("timm")
    used = backbone(NAME, weights, "cpu")
    assert (used.kind, used.side) == ("pictures", 160)
    pixels = np.random.default_rng(1).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    net = timm.create_model(NAME[5:], pretrained=False, num_classes=0).eval()
    load_weights(net, weights, NAME)
    known = timm.data.resolve_model_data_config(net) | {"crop_pct": 1.0}
    look = timm.data.create_transform(**known, is_training=False)
    with torch.inference_mode():
        expected = net(look(Image.fromarray(pixels))[None])
        found = used.embed(torch.from_numpy(pixels).permute(2, 0, 1)[None])
        grey = used.embed(torch.full((2, 1, 20, 20), 128, dtype=torch.uint8))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert grey.shape == (2, expected.shape[1])
    with pytest.raises(InputError, match="pictures have 4 channels"):
        used.embed(torch.zeros(1, 4, 20, 20, dtype=torch.uint8))


def test_texts_are_the_mean_of_their_tokens(tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    name = bert(tmp_path)
    used = backbone(name, device="cpu")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    net = transformers.AutoModel.from_pretrained(str(tmp_path)).eval()
    with torch.inference_mode():
        one = net(**tokenizer(["free money"], return_tensors="pt")).last_hidden_state[0].mean(0)
        found = used.embed(["free money", "hello friend now money free"])
    torch.testing.assert_close(found[0], one, rtol=1e-4, atol=1e-5)


def test_from_pictures_to_predictions(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    photos(Path("photos"))
    new = photos(Path("new"), 4)
    options = ["--network", NAME, "--weights", str(weights)]
    say(["embed", "photos", *options, "--out", "p.npz"])
    said = capsys.readouterr().out
    assert "p.npz (24 samples by" in said
    assert "Next:     alasca clean photos --features p.npz" in said
    made = np.load("p.npz")
    assert made["x"].dtype == np.float32
    assert sorted(made["ids"].tolist())[0] == "blue/00.png"
    say(["clean", "photos", "--features", "p.npz", "--epochs", "5", "--out", "run"])
    say(["embed", *map(str, new), "--new", *options, "--out", "n.npz"])
    assert np.load("n.npz")["ids"].tolist() == [str(path) for path in new]
    say(["predict", "run", "n.npz", "--out", "n.csv"])
    assert pd.read_csv("n.csv")["input"].tolist() == [str(path) for path in new]
    by_name = dict(zip(made["ids"].tolist(), made["x"], strict=True))
    first = np.load("n.npz")["x"][0]
    assert by_name["blue/00.png"] == pytest.approx(first, abs=1e-4), "the same picture, labelled or new"


def test_texts_from_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = bert(tmp_path)
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(
        {"text": ["free money", "hello friend"] * 3, "label": ["spam", "ham"] * 3, "id": list("abcdef")}
    )
    frame.to_csv("t.csv", index=False)
    say(["embed", "t.csv", "--network", name, "--input", "text", "--out", "t.npz"])
    made = np.load("t.npz")
    assert made["ids"].tolist() == list("abcdef")
    assert made["x"].shape == (6, 16)
    assert made["x"][0] == pytest.approx(made["x"][2], abs=1e-5)
    say(["embed", "free money", "--new", "--network", name, "--out", "n.npz"])
    assert np.load("n.npz")["x"][0] == pytest.approx(made["x"][0], abs=1e-4)


def test_what_is_wrong_is_said(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    photos(Path("photos"), 4)
    Path("t.csv").write_text("a,label\n1,x\n2,y\n")
    Path("bad.safetensors").write_bytes(b"nothing")
    save_file({"conv1.weight": torch.zeros(2, 2)}, "other.safetensors")
    known = ["--weights", str(weights), "--out", "o.npz"]
    for arguments, words in (
        (["photos", "--network", "timm:nope", *known], "timm has no model 'nope'"),
        (["photos", "--network", "resnet18", *known], "expected timm:NAME for pictures, or hf:NAME for texts"),
        (["photos", "--network", NAME, "--weights", "no.pt", "--out", "o.npz"], "weights: no such file: no.pt"),
        (["photos", "--network", NAME, "--weights", "bad.safetensors", "--out", "o.npz"], "is no file of safetensors"),
        (["photos", "--network", NAME, "--weights", "other.safetensors", "--out", "o.npz"], "expected a state of that"),
        (["photos", "--network", "hf:x", *known], "weights: only for timm networks"),
        (["t.csv", "--network", NAME, *known], "it reads pictures, but the data are rows of numbers"),
        (["photos", "photos", "--network", NAME, *known], "one data set at a time"),
        (["photos", "--network", NAME, "--weights", str(weights), "--out", "o.csv"], "expected a new .npz file"),
    ):
        say(["embed", *arguments], 2)
        error = capsys.readouterr().err
        assert words in error, error
        assert len(error.strip().splitlines()) == 1
    assert not Path("o.npz").exists()
