"""The doors: recipes and digests, tasks from what a program holds, runs that predict elsewhere, own parameters."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import alasca
import alasca.functional as AF
from alasca import Alasca, InputError, MethodWrapper, Place, Recipe, Task, create_method, train
from alasca.cli.options import PlaceOptions, RecipeOptions, recipe_of
from alasca.core import Clock, LossMethod, Method, Trained, own_tensors
from alasca.data.sources import HEEDED
from alasca.engine import Stopped, predictions
from alasca.runs import RunFolder
from alasca.testing import everything, kept_in, one_step, planted, require_same, settings, trained, trainer
from alasca.training import prepare, resume
from doors import ran, read, ready
from lookalikes import bert, picture

OTHER: dict[str, Any] = {
    "data": "cifar10", "labels": "a.csv", "group": "g", "features": "f.npy", "noise": "pair:0.4", "noise_seed": 3,
    "limit": 7, "epoch_samples": 9,
    "val_fraction": 0.3,
    "shift": 2, "flip": True, "augment": "strong", "balance": 0.5,
    "image_size": 64, "crop": 24, "on_bad_image": "skip", "input": "x", "label": "y",
    "true": "t", "id": "i", "split": "s", "missing_label": "-1", "normalise_labels": True,
    "classes_are_splits": True, "train_split": "a", "test_split": "b", "max_length": 9,
    "method": "elr", "alasca": False, "options": {"lam": 2.0},
    "preset": "cifar10", "network": "mlp", "pretrained": True,
    "restart_epochs": 3, "lr_min": 0.01, "epochs": 3, "batch_size": 5, "optimizer": "adamw",
    "lr": 0.5, "momentum": 0.8, "weight_decay": 0.1, "schedule": "step", "milestones": (3,), "lr_decay": 0.5,
    "clip": 2.0, "accumulate": 2, "precision": "bf16", "select": "last", "seed": 5,
}  # fmt: skip
"""Another value of every setting."""


def test_every_setting_that_decides_a_result_is_in_the_digest():
    plain = Recipe()
    assert OTHER.keys() == {each.name for each in dataclasses.fields(Recipe)}
    digests = [dataclasses.replace(plain, **{name: value}).digest() for name, value in OTHER.items()]
    assert len({plain.digest(), *digests}) == len(OTHER) + 1


def test_a_digest_knows_no_folder_and_no_machine():
    first, second = (
        Recipe(data=f"table:{place}/t.csv", noise=f"file:{place}/n.npz#k", options={"alasca.store_dir": place})
        for place in ("/a", "/b")
    )
    assert first != second
    assert first.digest() == second.digest() != Recipe(data="npz:/a/t.npz").digest()
    mine, yours, other, named = (
        Recipe(network=f"hf:{name}").digest() for name in ("/a/bert", "/b/c/bert/", "/a/gpt", "bert")
    )
    assert mine == yours
    assert len({mine, other, named}) == 3
    command = "from alasca.recipe import Recipe; print(Recipe(epochs=7).digest())"
    other = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd="/")
    assert other.stdout.strip() == Recipe(epochs=7).digest()


def test_whole_numbers_and_fractions_are_one_recipe():
    assert Recipe(lr=1, clip=5).digest() == Recipe(lr=1.0, clip=5.0).digest()
    assert isinstance(Recipe(lr=1).lr, float)
    assert Recipe(lr=np.float64(0.5), seed=np.int64(3)) == Recipe(lr=0.5, seed=3)
    for wrong, words in (
        ({"lr": 10**400}, "expected a number"),
        ({"options": {1: 2}}, "expected the name of an option"),
    ):
        with pytest.raises(InputError, match=words):
            Recipe(**wrong)
    kept = [ready(limit=40, options={"alasca.aux_weight": two}).recipe for two in (2, 2.0)]
    assert kept[0].digest() == kept[1].digest()
    for options in ({"name": 1}, {"method": 1}, {"alasca.method": 1}):
        with pytest.raises(InputError, match="has no such option"):
            ready(limit=40, options=options)


def test_what_a_run_keeps_is_resolved_once(tmp_path: Path):
    given = {"epochs": 6, "limit": 60, "batch_size": 16, "method": "coteaching", "preset": "paper"}
    kept = ready(**given).recipe
    assert kept.network == "small-resnet"
    assert (kept.noise_seed, kept.val_fraction, kept.shift, kept.flip, kept.select) == (0, 0.0, 1, False, "last")
    inside = {"alasca.warmup": 1, "alasca.at": ("block1", "block2"), "alasca.predict": "all"}
    assert kept.options == {"warmup": 0, "ramp": 1, **inside}
    assert ready(**{name: getattr(kept, name) for name in kept.as_json()}).recipe == kept, "resolved twice, it stays"
    run = ran(tmp_path / "run", **given)
    described = run.settings()
    assert run.recipe() == kept
    assert described["recipe_sha256"] == kept.digest()
    elsewhere = train(Recipe(**given), None, Place(device="cpu", threads=1, workers=0), tmp_path / "b")
    assert elsewhere.settings()["recipe_sha256"] == kept.digest()
    assert elsewhere.settings()["data_sha256"] == described["data_sha256"]
    assert ran(tmp_path / "c", **{**given, "noise": "pair:0.2"}).settings()["data_sha256"] != described["data_sha256"]


def test_command_line_and_file_offer_what_recipe_and_place_have(tmp_path: Path, capsys, monkeypatch):
    """No setting is written twice: names, defaults and types of the options are those of the classes."""
    for options, settings_class in ((RecipeOptions, Recipe), (PlaceOptions, Place)):
        ours = {each.name: each for each in dataclasses.fields(settings_class)}
        theirs = {each.name: each for each in dataclasses.fields(options)}
        assert ours.keys() == theirs.keys()
        for name, each in ours.items():
            assert each.metadata["help"]
            if name != "options":
                assert theirs[name].default == each.default
    assert recipe_of(RecipeOptions()) == Recipe()
    monkeypatch.chdir(tmp_path)
    values = {**OTHER, "data": "digits", "network": "small-resnet", "method": "sce", "preset": "cifar100",
              "limit": 40, "crop": None, "image_size": None, "options": {"beta": 0.5}, "pretrained": False,
              "noise": "pair:0.4", "epoch_samples": 20, "epochs": 1, "batch_size": 8, "labels": "a.csv",
              "features": None}  # fmt: skip
    Path("a.csv").write_text("id,label\ndigits/447,3\n")
    values |= {each.name: each.default for each in dataclasses.fields(Recipe) if each.name in HEEDED}
    lines = [
        f"{name} = {json.dumps(value)}" for name, value in values.items() if value is not None and name != "options"
    ]
    Path("all.toml").write_text("\n".join([*lines, 'set = ["beta=0.5"]']) + "\n")
    from alasca.cli import main

    with pytest.raises(SystemExit) as end:
        main(["train", "--config", "all.toml", "--device", "cpu", "--out", "r"])
    assert end.value.code == 0, capsys.readouterr().err
    kept = RunFolder.open(Path("r")).recipe()
    expected = dataclasses.replace(Recipe(**values), preset=None, options={"alpha": 6.0, "beta": 0.5})
    assert kept == expected


@pytest.mark.parametrize("kind", ["pictures", "texts", "hf", "table", "arrays", "one"])
def test_a_run_predicts_elsewhere_what_it_predicted_here(kind: str, tmp_path: Path):
    given: dict[str, Any] = {"epochs": 2, "batch_size": 8}
    draw = np.random.default_rng(0)
    raw: Any
    if kind == "pictures":
        for k in range(24):
            picture(tmp_path / "p" / "ab"[k % 2] / f"{k}.png", k, (20, 14))
        given |= {"data": f"folder:{tmp_path / 'p'}", "image_size": 16, "crop": 12, "workers": 0}
        raw = [tmp_path / "p" / "ab"[k % 2] / f"{k}.png" for k in (0, 2, 4, 1, 3)]
    elif kind in ("texts", "hf"):
        if kind == "hf":
            (tmp_path / "bert").mkdir()
            given |= {"network": bert(tmp_path / "bert")}
        rows = [{"text": f"word{k % 5} and word{k % 3}", "label": k % 2} for k in range(40)]
        pd.DataFrame(rows).to_json(tmp_path / "t.jsonl", orient="records", lines=True)
        given |= {"data": f"table:{tmp_path / 't.jsonl'}"}
        raw = [str(rows[k]["text"]) for k in range(6)]
    elif kind == "table":
        frame = pd.DataFrame({"a": draw.normal(size=40), "town": ["x", "y", "z", "x"] * 10, "label": [0, 1] * 20})
        frame.to_csv(tmp_path / "t.csv", index=False)
        given |= {"data": f"table:{tmp_path / 't.csv'}", "method": "coteaching"}
        raw = frame.drop(columns="label").iloc[:7]
    else:
        pixels = draw.integers(0, 255, (40, 8, 8)).astype(np.uint8)
        np.savez(tmp_path / "x.npz", x=pixels, y=np.arange(40) % 4)
        given |= {"data": f"npz:{tmp_path / 'x.npz'}"}
        own = {"method": "one", "alasca": False, "options": {"predict": "ensemble"}}
        given |= own if kind == "one" else {"method": "fine"}
        raw = pixels[:9]
    prepared = ready(**given)
    made = alasca.engine.Trainer(prepared.job)  # the training process
    fitted = made.fit()
    run = ran(tmp_path / "run", **given)
    shutil.move(run.path, tmp_path / "elsewhere")
    assert str(tmp_path) not in (tmp_path / "elsewhere" / "model.json").read_text()
    if kind == "hf":
        shutil.rmtree(tmp_path / "bert")
    if kind == "pictures":
        shutil.copytree(tmp_path / "p", tmp_path / "q")
        raw = [Path(str(path).replace("/p/", "/q/")) for path in raw]
    model = alasca.load(tmp_path / "elsewhere")
    ids = prepared.split.ids
    rows_at = (
        torch.arange(len(raw))
        if kind != "pictures"
        else torch.tensor([ids.index(f"{path.parent.name}/{path.name}") for path in raw])
    )
    here = predictions(fitted.method, fitted.nets, prepared.split.samples, rows_at)
    (kept,) = predictions(fitted.method, fitted.nets, prepared.split.samples, rows_at, only="main").items()
    assert kept[0] == "main"
    assert torch.equal(kept[1], here["main"])
    assert set(here) == ({"main", "ensemble"} if kind == "one" else {"main", "average", "all", "sub"})
    for name, log_p in here.items():
        np.testing.assert_array_equal(model.predict(raw, name), log_p.exp().numpy(), err_msg=name)
    np.testing.assert_array_equal(model.predict(raw), here[fitted.method.prediction].exp().numpy())
    assert set(model.labels(raw)) <= set(prepared.task.classes)
    with pytest.raises(InputError, match="predict: 'best', expected one of main"):
        model.predict(raw, "best")


def test_a_folder_of_another_version_is_told(tmp_path: Path):
    from alasca.audit.report import write_report

    run = ran(tmp_path / "run", epochs=1, limit=40, batch_size=16)
    reads = {
        "run.json": lambda: resume(run.path), "done.json": lambda: write_report([run], tmp_path / "r.html"),
        "model.json": lambda: alasca.load(run.path),
    }  # fmt: skip
    (run.path / "done.json").rename(run.path / "kept")
    for name, read_it in reads.items():
        if name == "done.json":
            (run.path / "kept").rename(run.path / "done.json")
        path = run.path / name
        before = path.read_text()
        path.write_text(before.replace('"format": 4', '"format": 99'))
        with pytest.raises(InputError, match=rf"{name}: format 99, expected 4; it is another version's run"):
            read_it()
        path.write_text(before)


@pytest.mark.parametrize("method", ["fine", "crust"])
def test_a_method_that_reads_features_says_at_once_that_there_are_none(method: str, tmp_path: Path, monkeypatch):
    (tmp_path / "all_convolutions.py").write_text(
        "from torch import nn\n"
        "def make(num_classes, shape):\n"
        "    parts = nn.Conv2d(shape[0], 8, 3), nn.ReLU(), nn.Conv2d(8, num_classes, 3)\n"
        "    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="has no linear layer whose output is the logits"):
        ready(method=method, network="all_convolutions:make", limit=40)


def test_wrong_inputs_to_a_model_are_one_line(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 8, 8)).astype(np.uint8)
    run = train(
        Recipe(epochs=1, batch_size=8), Task.from_arrays(pixels, np.arange(40) % 4), Place(device="cpu"), tmp_path / "r"
    )
    model = alasca.load(run.path)
    for wrong, words in (
        (pixels.astype(np.float32) * 3 - 1, "expected pictures as uint8"), (np.zeros((2, 5)), "trained on pictures"),
        (np.zeros((2, 3, 8, 8), np.uint8), "have 3 channels or columns, not 1"), (["a.png"], "pass arrays"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            model.predict(wrong)
    (run.path / "model.json").unlink()
    with pytest.raises(InputError, match=r"model\.json: no such file"):
        alasca.load(run.path)


def test_tasks_from_what_a_program_holds(tmp_path: Path):
    x, y = torch.randn(30, 4), ["cat", "dog", "cat"] * 10
    task = Task.from_arrays(x, y, test=(x[:6], y[:6]), truth=y, ids=[f"s{k}" for k in range(30)])
    assert (task.classes, task.ids[3]) == (("cat", "dog"), "s3")
    assert task.labels[:3].tolist() == [0, 1, 0]
    assert torch.equal(task.inputs, x)
    held = Task.from_arrays(x.numpy(), torch.arange(30) % 3, val=(x[:4], [0, 1, 2, 0]))
    assert held.held is not None
    assert held.held.tolist() == [30, 31, 32, 33]
    split = prepare(Recipe(select="noisy-val", epochs=1), held, Place(device="cpu")).split
    assert split.train.tolist() == list(range(30))
    assert split.held is not None
    assert split.held.tolist() == [30, 31, 32, 33]
    frame = pd.DataFrame({"age": [1.0, 2, 3, 4], "town": ["a", "b", "a", "a"]})
    rows = Task.from_arrays(frame, [0, 1, 0, 1])
    assert rows.inputs.tolist() == [[1, 1, 0], [2, 0, 1], [3, 1, 0], [4, 1, 0]]
    texts = Task.from_arrays(["good film", "bad film"], ["pos", "neg"])
    assert texts.inputs.values == ("good film", "bad film")
    picture(tmp_path / "a.png", 0)
    picture(tmp_path / "b.png", 1)
    assert Task.from_arrays([tmp_path / "a.png", str(tmp_path / "b.png")], [0, 1]).inputs.shape == (2, 3, 32, 32)
    data = torch.utils.data.TensorDataset(torch.randint(0, 255, (10, 3, 8, 8)).byte(), torch.arange(10) % 2)
    assert Task.from_dataset(data, test=data).test_labels.tolist() == [0, 1] * 5
    for arguments, words in (
        ((x, y[:7]), "30 inputs and 7 labels"), ((x, [None] * 30), "0 labelled samples of 0 class"),
        (([torch.zeros(2), torch.zeros(3)], [0, 1]), "expected samples of one shape"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            Task.from_arrays(*arguments)
    with pytest.raises(InputError, match="class 'bird' has no training row, only cat, dog"):
        Task.from_arrays(x, y, test=(x[:1], ["bird"]))


def test_library_calls_leave_the_caller_as_they_found_it(tmp_path: Path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), list(sys.path)
    place = Place(device="cpu", threads=2, deterministic=True)
    task = Task.from_arrays(torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2)
    train(Recipe(epochs=1, batch_size=8), task, place, tmp_path / "run")
    alasca.load(tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), list(sys.path)) == before


def test_a_run_of_arrays_goes_on_with_the_same_arrays(tmp_path: Path):
    x, y = torch.randn(40, 4), torch.arange(40) % 2
    run = train(Recipe(epochs=2, batch_size=8), Task.from_arrays(x, y), Place(device="cpu"), tmp_path / "run")
    (run.path / "done.json").unlink()
    with pytest.raises(InputError, match=r"is not what .* was started on"):
        resume(run.path, Task.from_arrays(x + 1, y))
    assert resume(run.path, Task.from_arrays(x, y)).finished


class Scaled(LossMethod):
    """Cross-entropy of logits times a factor a sample, learned at a rate of its own, and an offset a class."""

    def begin(self, nets, problem) -> None:
        self.factors = nn.Parameter(torch.ones(problem.num_samples))
        self.offset = nn.Parameter(torch.zeros(problem.num_classes))

    def trained(self):
        return [Trained([self.factors], lr=5.0, per_sample=True), Trained([self.offset], lr=0.01)]

    def loss(self, logits: Tensor, batch, clock: Clock) -> Tensor:
        return AF.cross_entropy(self.factors[batch.index, None] * logits + self.offset, batch.labels)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_method_trains_parameters_of_its_own(tmp_path: Path, optimizer: str, wrapped: bool):
    def make() -> Method:
        return Alasca(Scaled(), warmup=1) if wrapped else Scaled()

    recipe = settings(3, optimizer=optimizer, lr=0.1 if optimizer == "sgd" else 0.01)
    whole = trained(make(), planted(8), recipe)
    tensors = everything(whole)
    names = [name for name in tensors if name.endswith("factors")]
    assert names == [f"method/{'method.' if wrapped else ''}factors"]
    assert (tensors[names[0]] != 1).all(), "every sample's factor learned"
    for stop in (1, 6, 9):
        run = kept_in(tmp_path / str(stop))
        with pytest.raises(Stopped):
            trained(make(), planted(8), recipe, run=run, stop_after=stop)
        second = trainer(make(), planted(8), recipe, run=run)
        second.fit(resume=True)
        require_same(tensors, everything(second), f"stopped after {stop}")


def test_a_step_changes_only_its_own_rows_and_by_its_own_rate():
    method = Scaled()
    bench, phase, batches, clock = one_step(method)
    index, twin = batches["all"].index, method.factors.detach().clone().requires_grad_()
    before, offset = method.factors.detach().clone(), method.offset.detach().clone()
    torch.manual_seed(3)
    output = bench.nets[0](batches["all"].views[0])
    logits = output.logits.detach()
    AF.cross_entropy(twin[index, None] * logits, batches["all"].labels).mean().backward()
    torch.manual_seed(3)
    bench.update(phase, batches, clock, 0.5)
    rest = torch.ones(len(before), dtype=torch.bool)
    rest[index] = False
    assert torch.equal(method.factors.detach()[rest], before[rest]), "no momentum, no decay, no other row"
    torch.testing.assert_close(method.factors.detach(), before - 0.5 * 5.0 * twin.grad)
    moved = method.offset.detach() - offset
    shift = torch.zeros(4, requires_grad=True)
    AF.cross_entropy(logits + shift, batches["all"].labels).mean().backward()
    torch.testing.assert_close(moved, -0.5 * 0.01 * shift.grad, rtol=1e-3, atol=1e-7)
    after, other = (
        method.factors.detach().clone(),
        dataclasses.replace(batches["all"], index=rest[:64].nonzero()[:16, 0]),
    )
    bench.update(phase, {"all": other}, clock, 0.5)
    assert torch.equal(method.factors.detach()[index], after[index]), "nor does a later step move them"


def test_what_predicts_is_kept_with_the_best_networks():
    """The epoch that noisy labels choose gives its method's own parameters too."""
    offsets: list[Tensor] = []
    weights: list[Tensor] = []

    class Watch(alasca.engine.Progress):
        def epoch(self, record) -> None:
            offsets.append(made.job.method.offset.detach().clone())
            weights.append(next(made.bench.nets[0].parameters()).detach().clone())

    made = trainer(Scaled(), planted(8, 16), settings(4, lr=0.3, select="noisy-val"), progress=Watch())
    fitted = made.fit()
    assert fitted.chosen_epoch < 3, "the last epoch is not what this is about"
    assert torch.equal(next(fitted.nets[0].parameters()), weights[fitted.chosen_epoch])
    assert torch.equal(fitted.method.offset, offsets[fitted.chosen_epoch])
    assert not torch.equal(fitted.method.offset, offsets[-1])


def test_a_method_and_its_wrapper_name_what_is_their_own():
    for method, expected in (
        (Scaled(), {"offset"}), (Alasca(Scaled()), {"method.offset"}),
        (create_method("one"), {f"gate.layers.{name}" for name in GATE}), (Alasca(create_method("elr")), set()),
    ):  # fmt: skip
        assert set(own_tensors(trainer(method, planted(8), settings(2)).enter(0).job.method)) == expected


class Projecting(Scaled):
    """Predicts by a head of its own, whose bias is fixed, behind a layer that no step trains."""

    def begin(self, nets, problem) -> None:
        super().begin(nets, problem)
        self.head = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 4))
        self.head[0].requires_grad_(False)
        self.head[2].bias.requires_grad_(False)
        self.table = nn.Linear(3, 3).requires_grad_(False)

    def trained(self):
        return [*super().trained(), Trained([self.head[2].weight])]


def test_all_that_lies_beside_a_trained_parameter_is_its_methods_own():
    for method, prefix in ((Projecting(), ""), (Alasca(Projecting()), "method.")):
        ready = trainer(method, planted(8), settings(2)).enter(0).job.method
        kept = {name.removeprefix(prefix) for name in own_tensors(ready)}
        state = {f"head.{name}" for name in ready.get_submodule(f"{prefix}head").state_dict()}
        assert kept == {"offset", *state}


GATE = ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked")


def test_a_model_without_the_parameters_of_its_method_is_refused(tmp_path: Path):
    options = {"method": "one", "alasca": False, "options": {"predict": "ensemble"}}
    run = ran(tmp_path / "run", epochs=1, limit=40, batch_size=8, **options)
    tensors, described = run.model()
    del tensors["method/gate.layers.0.weight"]
    done = {name: value for name, value in run.done().items() if name not in ("run", "files")}
    run.write_model(tensors, dict(described))
    run.write_done(done)
    with pytest.raises(InputError, match=r"does not fit model.json \(lacks or should not have gate.layers.0.weight\)"):
        alasca.load(run.path)


def test_a_rate_of_zero_is_a_rate():
    class Still(Scaled):
        def trained(self):
            return [Trained([self.factors], lr=0.0, per_sample=True), Trained([self.offset], lr=0.0)]

    method = trained(Still(), planted(8), settings(2)).job.method
    assert (method.factors == 1).all()
    assert (method.offset == 0).all()


def test_the_gate_of_one_trains_and_is_saved():
    made = trained(create_method("one"), planted(8), settings(2))
    fresh = trainer(create_method("one"), planted(8), settings(2)).enter(0).job.method.gate.layers[0].weight
    gate = made.job.method.gate.layers[0].weight
    assert not torch.equal(gate, fresh)
    assert "optimizer/method/gate.layers.0.weight/momentum_buffer" in everything(made)


class Plain(MethodWrapper):
    """A wrapper that changes nothing."""


def test_a_wrapper_of_no_lines_forwards_every_hook():
    for name in ("har", "dividemix", "truncated_gce", "cdr", "one", "fine", "early_stopping"):
        bare, wrapped = (
            trained(make(), planted(8, 16), settings(3))
            for make in (lambda name=name: create_method(name), lambda name=name: Plain(create_method(name)))
        )
        ours = {key.replace("/method.", "/"): value for key, value in everything(wrapped).items()}
        require_same(everything(bare), ours, name)
        kept = [{k: v for k, v in record.items() if k not in ("seconds", "waited")} for record in wrapped.state.history]
        assert kept == [
            {k: v for k, v in record.items() if k not in ("seconds", "waited")} for record in bare.state.history
        ]
    inner = create_method("one", predict="ensemble")
    for trait in ("networks", "select", "uses_best", "owns_branches", "mixes", "prediction"):
        assert getattr(Plain(inner), trait) == getattr(inner, trait)
    missing = [name for name in vars(Method) if not name.startswith("_") and name not in vars(MethodWrapper)]
    assert set(missing) == {"presets", "epoch_options"}


@pytest.mark.parametrize("name", ["mixup", "crust", "elr_plus", "dividemix", "fine", "truncated_gce", "har"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_every_sample_is_seen_in_every_epoch(name: str, wrapped: bool):
    """And what was seen of it is this epoch's: a network that learned it says so."""
    options = {"crust": {"start": 1}, "fine": {"warmup": 1, "every": 1}, "dividemix": {"warmup": 1}}.get(name, {})
    method = create_method(name, **options)
    made = trained(Alasca(method, warmup=1) if wrapped else method, planted(8, 16), settings(4))
    visits = made.trace.visits
    assert (visits[:64] >= len(made.state.history)).all()
    assert (visits[64:] == 0).all()
    assert all("train_accuracy" in record for record in made.state.history)
    assert ((made.trace.sub_visits > 0) == (visits > 0 if wrapped else torch.zeros(80, dtype=torch.bool))).all()


def test_what_was_not_held_out_or_seen_has_a_row_all_the_same(tmp_path: Path):
    run = ran(tmp_path / "run", epochs=2, limit=100, batch_size=16, val_fraction=0.2, noise="symmetric:0.3")
    records = run.records()
    assert len(records.ids) == 100
    assert records.held.sum() == 20
    assert (records.visits[records.held] == 0).all()
    assert (records.visits[~records.held] == 2).all()
    assert np.isfinite(records.quality).all()
    assert np.isnan(records.extra["sub_probability"][records.held]).all()
    assert np.isnan(records.extra["ema_confidence"][records.held]).all()
    model, task = alasca.load(run.path), read("digits")
    row = {name: k for k, name in enumerate(task.ids)}
    held = [row[records.ids[k]] for k in np.nonzero(records.held)[0]]
    own = model.predict(task.inputs[held])[np.arange(20), records.given[records.held]]
    np.testing.assert_allclose(records.extra["mean_probability"][records.held], own, atol=1e-5)


def test_published_recipes_give_what_the_command_line_leaves_out(tmp_path: Path, capsys, monkeypatch):
    from alasca.cli import main

    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text('recipe = "elr"\nepochs = 2\n')
    for arguments, expected in (
        (["--recipe", "paper", "--epochs", "3"], {"epochs": 3, "schedule": "step", "lr_decay": 0.01, "lr": 0.02}),
        (["--config", "a.toml"], {"epochs": 2, "schedule": "restarts", "lr_min": 1e-3, "weight_decay": 1e-3}),
        (["--config", "a.toml", "--lr", "0.1"], {"lr": 0.1, "restart_epochs": 10}),
    ):
        out = f"r{len(list(Path().iterdir()))}"
        with pytest.raises(SystemExit) as end:
            main(["train", *arguments, "--network", "small-resnet", "--limit", "60", "--device", "cpu", "--out", out])
        assert end.value.code == 0, capsys.readouterr().err
        kept = RunFolder.open(Path(out)).recipe()
        assert {name: getattr(kept, name) for name in expected} == expected
    assert alasca.named_recipe("dividemix", noise="pair:0.4").milestones == (150,)
    with pytest.raises(InputError, match="recipe: 'papr' is unknown; did you mean 'paper'"):
        alasca.named_recipe("papr")
