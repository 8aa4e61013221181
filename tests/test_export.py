"""Exported models predict as the run does, and hold no more than that takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import alasca
from alasca import InputError, Place, Recipe, Task, train
from alasca.export import export, writing
from alasca.export.deployed import Deployed, farthest, trial
from alasca.files import digest
from alasca.networks import create_network
from alasca.runs import RunFolder
from lookalikes import bert

N = 96
TEXTS = ["good film of note", "bad one", "so so", "a film"]


class Choosy(nn.Module):
    """A network whose way depends on values: no program can be made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, values: Tensor) -> Tensor:
        hidden = self.first(values).relu()
        return self.last(hidden) if float(hidden.detach().sum()) > -1 else self.last(-hidden)


def choosy(num_classes: int) -> nn.Module:
    """Named in a recipe."""
    return Choosy()


def rows(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N, 5)).astype(np.float32)


def pictures(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (N, 3, 8, 8), dtype=np.uint8)


LABELS = np.arange(N) % 3


@pytest.mark.parametrize("form", ["torch", "onnx", "safetensors"])
def test_a_network_of_transformers_brings_its_tokenizer(tmp_path: Path, form: str):
    (tmp_path / "bert").mkdir()
    texts = ["hello friend" if k % 2 else "free money now" for k in range(N)]
    task = Task.from_arrays(texts, np.arange(N) % 2)
    run = train(Recipe(epochs=1, network=bert(tmp_path / "bert")), task, Place(threads=1), tmp_path / "run")
    wrote = export(run, form, tmp_path / "out")
    assert wrote.difference < 1e-6
    assert (wrote.folder / "network" / "tokenizer.json").is_file()


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, RunFolder]:
    """Runs of every kind of input, of two networks, of a method with weights of its own, and in half precision."""
    home = tmp_path_factory.mktemp("runs")
    texts = [f"{TEXTS[k % 4]} {k}" for k in range(N)]
    plans = {
        "pictures": (Recipe(epochs=1, network="small-resnet"), Task.from_arrays(pictures(), LABELS)),
        "numbers": (Recipe(epochs=1), Task.from_arrays(rows(), LABELS)),
        "texts": (Recipe(epochs=1), Task.from_arrays(texts, LABELS)),
        "two": (Recipe(epochs=1, method="coteaching"), Task.from_arrays(rows(), LABELS)),
        "gated": (
            Recipe(epochs=1, method="one", alasca=False, options={"predict": "ensemble"}),
            Task.from_arrays(pictures(), LABELS),
        ),
        "half": (Recipe(epochs=1, precision="bf16"), Task.from_arrays(rows(), LABELS)),
        "choosy": (Recipe(epochs=1, network="test_export:choosy", alasca=False), Task.from_arrays(rows(), LABELS)),
    }
    return {name: train(recipe, task, Place(threads=1), home / name) for name, (recipe, task) in plans.items()}


def raw(name: str) -> object:
    return TEXTS if name == "texts" else pictures(1)[:9] if name in ("pictures", "gated") else rows(1)[:9]


PROGRAMS = [
    pytest.param(form, name, marks=[pytest.mark.long] if name in ("two", "gated", "half") else [])
    for form in ("torch", "onnx") for name in ("pictures", "numbers", "texts", "two", "gated", "half")
]  # fmt: skip


@pytest.mark.parametrize(("form", "name"), PROGRAMS)
def test_programs_predict_as_the_run_does(runs, tmp_path: Path, name: str, form: str):
    inputs = alasca.load(runs[name].path).read(raw(name))
    kinds = ("main", None)
    for prediction in kinds:
        wrote = export(runs[name], form, tmp_path / f"{form}-{prediction}", prediction)
        model = alasca.load(runs[name].path)
        for net in model.nets:
            net.autocast = None
        expected = model.predict(raw(name), prediction)
        for count in (1, 2, len(inputs)):
            if form == "torch":
                program = torch.export.load(wrote.folder / "model.pt2").module()
                found = program(inputs[:count]).detach().numpy()
            else:
                session = onnxruntime.InferenceSession(str(wrote.folder / "model.onnx"))
                (found,) = session.run(None, {"inputs": inputs[:count].numpy()})
            np.testing.assert_allclose(found, expected[:count], atol=1e-5)
        described = json.loads((wrote.folder / "config.json").read_text())
        assert described["classes"] == list(model.classes)
        assert described["inputs"]["shape"] == ["samples", *inputs.shape[1:]]
        assert described["checked"]["largest_difference"] == wrote.difference < 1e-5
        assert described["files"] == {FORM_FILES[form]: digest(wrote.folder / FORM_FILES[form])}
    sizes = [(tmp_path / f"{form}-{kind}" / FORM_FILES[form]).stat().st_size for kind in kinds]
    assert sizes[0] < sizes[1]  # the main classifier alone leaves the sub-classifiers out


FORM_FILES = {"torch": "model.pt2", "onnx": "model.onnx"}


def test_weights_by_the_networks_own_names(runs, tmp_path: Path):
    run = runs["pictures"]
    model = alasca.load(run.path)
    folder = export(run, "safetensors", tmp_path / "weights").folder
    net = create_network("small-resnet", (3, 8, 8), 3)
    net.load_state_dict(load_file(folder / "model.safetensors"))
    mean, std = (
        torch.tensor(json.loads((folder / "config.json").read_text())["preprocessing"][k]) for k in ("mean", "std")
    )
    view = (torch.from_numpy(pictures(1)[:9]).float() / 255 - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        found = net.eval()(view).softmax(1).numpy()
    np.testing.assert_allclose(found, model.predict(pictures(1)[:9], "main"), atol=1e-6)
    heads = load_file(folder / "sub_classifiers.safetensors")
    branches = model.nets[0].branches.state_dict()
    assert heads.keys() == branches.keys()
    assert all(torch.equal(heads[name], branches[name]) for name in heads)
    assert not (export(run, "safetensors", tmp_path / "main", "main").folder / "sub_classifiers.safetensors").exists()
    two = export(runs["two"], "safetensors", tmp_path / "two").folder
    assert {"model.safetensors", "model-2.safetensors"} < {path.name for path in two.iterdir()}


def test_the_card_says_what_the_model_is(runs, tmp_path: Path):
    card = (export(runs["numbers"], "onnx", tmp_path / "card").folder / "README.md").read_text()
    share = runs["numbers"].done()["wrong_share"]
    for words in (
        "pipeline_tag: tabular-classification", "3 classes",
        'InferenceSession("model.onnx")', "`inputs`: float32 [N, 5]",
        f"about {100 * share:.0f}%", "96 labelled samples", "0 (32) and 0 (32)", "mlp", "ce + ALASCA, 1 epochs",
    ):  # fmt: skip
        assert words in card, words
    assert "held out: " in card
    assert str(tmp_path) not in card


def test_the_card_makes_the_inputs_of_a_table_of_numbers(tmp_path: Path, monkeypatch):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)).round(3), columns=["a", "b", "c"])
    frame.loc[3, "b"] = np.nan
    frame.assign(label=["x", "y"] * 20).to_csv(tmp_path / "t.csv", index=False)
    run = train(Recipe(data=f"table:{tmp_path / 't.csv'}", epochs=1, val_fraction=0.0), folder=tmp_path / "run")
    expected = alasca.load(run.path).predict(frame, "main")
    for form in ("torch", "onnx", "safetensors"):
        folder = export(run, form, tmp_path / form, "main").folder
        use, columns = [block.split("```")[0] for block in (folder / "README.md").read_text().split("```python\n")[1:]]
        monkeypatch.chdir(folder)
        made: dict = {"frame": frame, "net": create_network("mlp", (4,), 2)}
        exec(columns, made)  # noqa: S102  # what the card tells people to run
        exec(use, made)  # noqa: S102
        found = made["probabilities"] if "probabilities" in made else made["logits"].softmax(1)
        found = found.detach().numpy() if isinstance(found, Tensor) else found
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=form)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"form": "keras"}, "to: 'keras', expected one of torch, onnx, safetensors"),
        ({"prediction": "best"}, "prediction: 'best', expected one of main, average, all, sub"),
        ({"to": Path(__file__)}, "is there already"),
        ({"to": Path("/nowhere/at/all")}, "/nowhere/at is no folder"),
    ],
)
def test_what_cannot_be_exported_is_said(runs, arguments, said):
    with pytest.raises(InputError, match=said):
        export(runs["numbers"], **{"form": "torch", **arguments})


def test_a_network_that_is_no_program_keeps_its_weights(runs, tmp_path: Path):
    for form in ("torch", "onnx"):
        with pytest.raises(InputError, match=rf"can't be written as {form} \(.*--to safetensors keeps its weights"):
            export(runs["choosy"], form, tmp_path / "no", network="test_export:choosy")
    assert not list(tmp_path.iterdir())  # nothing half written
    wrote = export(runs["choosy"], "safetensors", tmp_path / "yes", network="test_export:choosy")
    assert set(load_file(wrote.folder / "model.safetensors")) == set(Choosy().state_dict())
    with pytest.raises(InputError, match="prediction: 'ensemble' takes weights of the method"):
        export(runs["gated"], "safetensors", tmp_path / "gated")


@pytest.mark.parametrize("form", ["torch", "onnx", "safetensors"])
def test_a_model_that_predicts_otherwise_is_refused(runs, tmp_path: Path, form: str, monkeypatch):
    def otherwise(model, kind, inputs, expected, path):
        return WRITERS[form](model, kind, inputs, expected + 0.001, path)

    monkeypatch.setattr(writing, WRITERS[form].__name__, otherwise)
    with pytest.raises(InputError, match=r"differ from the run's by 0\.001"):
        export(runs["numbers"], form, tmp_path / "no")
    assert not list(tmp_path.iterdir())


WRITERS = {"torch": writing.write_program, "onnx": writing.write_onnx, "safetensors": writing.write_weights}


def test_trial_inputs_are_such_as_the_model_reads(runs):
    texts = trial(alasca.load(runs["texts"].path))
    padding = alasca.load(runs["texts"].path).transform.padding
    assert len({int(k) for k in (texts != padding).sum(1)}) > 1  # texts of several lengths
    assert trial(alasca.load(runs["pictures"].path)).dtype == torch.uint8
    assert farthest(np.array([0.2, np.nan]), np.array([0.2, 0.3])) == np.inf
    assert farthest(np.array([0.2, 0.5]), np.array([0.2, 0.3])) == pytest.approx(0.2)
    model = alasca.load(runs["pictures"].path)
    assert not list(Deployed(model, "main").nets[0].branches)
