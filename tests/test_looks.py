"""Looks at a network while it trains: what they see is right, and they change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from alasca.cli import main
from alasca.data import Samples, Split, Transform
from alasca.engine.looks import STEP, Looks, due
from alasca.errors import InputError
from alasca.functional import cross_entropy
from alasca.networks import create_network
from alasca.paper import analyse
from alasca.paper.dynamics import (
    BINS,
    by_group,
    calibration_error,
    confidence_of,
    dynamics,
    histogram,
    instant_confidence,
    targets,
)
from alasca.recipe import Place
from alasca.runs import RunFolder, Seen
from alasca.surgery import OutputNet
from alasca.surgery.stages import FEATURES, stage_names, stages_of
from doors import ran

DIGITS = {"data": "digits", "noise": "symmetric:0.6", "limit": 200, "batch_size": 50, "lr": 0.1, "threads": 1}


def numbers(count: int = 12, width: int = 5, classes: int = 3) -> Split:
    torch.manual_seed(0)
    samples = Samples(torch.randn(count, width), torch.arange(count) % classes, Transform("numbers"))
    test = Samples(torch.randn(7, width), torch.arange(7) % classes, samples.transform)
    truth = (torch.arange(count) // 2) % classes
    return Split(samples, classes, torch.arange(count), test=test, truth=truth)


def perceptron() -> OutputNet:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    return OutputNet(net.float(), example=torch.zeros(2, 5), num_classes=3)


# ------------------------------------------------------------------------------------------------------------ stages


def test_stages_end_with_the_last_one():
    net = OutputNet(create_network("resnet34", (3, 32, 32), 10), example=torch.zeros(2, 3, 32, 32))
    assert stage_names(net, torch.zeros(2, 3, 32, 32)) == ("layer1", "layer2", "layer3", "layer4")
    assert stage_names(perceptron(), torch.zeros(2, 5)) == ("1", FEATURES)


def test_a_network_without_stages_is_looked_at_all_the_same():
    net = OutputNet(nn.Linear(5, 3), example=torch.zeros(2, 5), num_classes=3)
    assert stage_names(net, torch.zeros(2, 5)) == ()
    found = Looks.of(numbers(), net, 0)(None, net, None)
    assert "jacobian" not in found
    assert found["confidence"].shape == (1, 12)


def test_stages_are_seen_as_they_were_returned():
    """A ReLU that writes into its input changes nothing of what the layer before it returned."""
    layer = nn.Linear(5, 6)
    net = OutputNet(
        nn.Sequential(layer, nn.ReLU(inplace=True), nn.Linear(6, 3)), example=torch.zeros(2, 5), num_classes=3
    )
    x = torch.randn(4, 5)
    with stages_of(net, ["0"]) as stages:
        net(x)
    assert torch.equal(stages["0"].value, layer(x))
    assert not layer._forward_hooks


# ------------------------------------------------------------------------------------------------- what a look sees


def test_jacobian_norms_are_those_of_each_sample_alone():
    split, net = numbers(), perceptron().eval()
    found = Looks.of(split, net, 0)(None, net, None)
    first, second = net.backbone[:2], net.backbone[2:4]
    for row in range(12):
        hidden = first(split.samples.view("plain", torch.tensor([row])))
        hidden.retain_grad()
        feature = second(hidden)
        feature.retain_grad()
        cross_entropy(net.backbone[4](feature), split.samples.labels[row : row + 1]).sum().backward()
        assert found["jacobian"][0, row] == pytest.approx(float(hidden.grad.norm()), rel=1e-4)
        assert found["jacobian"][1, row] == pytest.approx(float(feature.grad.norm()), rel=1e-4)


def test_slopes_of_a_linear_layer_are_those_of_its_matrix():
    split = numbers()
    net = OutputNet(
        nn.Sequential(nn.Linear(5, 5, bias=False), nn.Linear(5, 3)), example=torch.zeros(2, 5), num_classes=3
    )
    nn.init.orthogonal_(net.backbone[0].weight)
    with torch.no_grad():
        net.backbone[0].weight.mul_(3.0)
    looks = Looks(split, torch.arange(12), None, ("0",), 0)
    assert looks(None, net, None)["slope"] == pytest.approx(torch.full((1, 12), 3.0), rel=1e-3)
    assert 0 < STEP < 0.2


def test_classifiers_are_told_one_by_one_the_main_one_last():
    split, net = numbers(), perceptron()
    net.attach(["1"], torch.zeros(2, 5))
    net.eval()
    found = Looks.of(split, net, 0)(None, net, None)
    output = net(split.samples.view("plain", torch.arange(12)))
    for k, logits in enumerate((*output.aux, output.logits)):
        p = logits.softmax(1)
        assert torch.allclose(found["confidence"][k], p[torch.arange(12), split.samples.labels], atol=1e-6)
        assert torch.equal(found["predicted"][k].long(), p.argmax(1))
        assert torch.allclose(found["entropy"][k], -(p * p.log()).sum(1), atol=1e-5)
        assert torch.allclose(found["omega"][k], -logits.log_softmax(1).mean(1), atol=1e-5)
    assert found["test_predicted"].shape == (2, 7)


def test_a_look_leaves_gradients_modes_and_precision_alone():
    split, net = numbers(), perceptron()
    net.autocast = torch.bfloat16
    net.train()
    state = torch.get_rng_state()
    found = Looks.of(split, net, 0)(None, net, None)
    assert net.training
    assert net.autocast is torch.bfloat16
    net.autocast = None
    whole = Looks.of(split, net, 0)(None, net, None)  # looks are in float32, whatever training multiplies
    assert all(torch.equal(found[name], whole[name]) for name in found.keys() | whole.keys())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "method", ["coteaching", *(pytest.param(name, marks=pytest.mark.long) for name in ("ce", "har"))]
)
def test_a_run_that_looks_ends_in_the_same_bits(method: str, tmp_path: Path):
    given = {**DIGITS, "epochs": 3, "method": method}
    looking, blind = ran(tmp_path / "a", **given, history=2), ran(tmp_path / "b", **given)
    one, other = (run.path / "model.safetensors" for run in (looking, blind))
    assert one.read_bytes() == other.read_bytes()
    assert list(looking.looks().looks) == [0, 1, 2] if method == "ce" else len(looking.looks().looks) >= 3
    assert not blind.looked.exists()
    assert blind.looks() == Seen({}, {})


def test_looks_are_bounded():
    assert len(Looks.of(numbers(3000), perceptron(), 0).rows) == 1000
    assert [epoch for epoch in range(100) if due(epoch, 100, 0)] == []


def test_looks_of_a_finished_run_are_its_own(tmp_path: Path):
    run = ran(tmp_path / "run", **DIGITS, epochs=1, history=1)
    path = run.looked / "00000000.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match="was changed after it was written"):
        run.looks()


# ---------------------------------------------------------------------------------------------------------- dynamics


def test_confidence_of_one_visit_is_the_difference_of_sums():
    before = {"visits": torch.tensor([2, 2, 1]), "probability": torch.tensor([0.5, 1.0, 0.2])}
    now = {"visits": torch.tensor([3, 4, 1]), "probability": torch.tensor([1.4, 1.2, 0.2])}
    found = instant_confidence(now, before)
    assert found[:2].tolist() == pytest.approx([0.9, 0.1])
    assert bool(found[2].isnan())


def test_confidence_by_group():
    groups = {"clean": torch.tensor([True, True, False, False]), "noisy": torch.tensor([False, False, True, True])}
    found = confidence_of(torch.tensor([0.9, 0.5, 0.6, 0.1]), torch.tensor([0.8, 0.5, 0.4, 0.2]), groups)
    assert found["clean"][0] == pytest.approx(0.7)
    assert found["clean"][1] == pytest.approx(0.4 / 2**0.5, abs=1e-3)
    assert found["auroc"] == 0.75  # one of four pairs is the wrong way round
    assert found["change"] == pytest.approx(0.1)


def test_targets_are_those_that_the_deepest_sub_classifier_shares():
    look = {
        "predicted": torch.tensor([[0, 1, 2, 2], [0, 1, 0, 2]]),  # the deepest, the main one
        "top": torch.tensor([[0.0] * 4, [0.31, 0.52, 0.73, 0.97]]),
    }
    found = targets(look, torch.tensor([0, 2, 0, -1]))
    assert sum(found["without"]["right"]) == 2  # 0 and 2
    assert sum(found["without"]["wrong"]) == 1  # 1
    assert sum(found["with"]["right"]) == 1
    assert found["with"]["wrong"][10] == 1
    assert histogram(torch.tensor([0.0, 1.0]))[0] == histogram(torch.tensor([0.0, 1.0]))[BINS - 1] == 1


def test_calibration_error_is_that_of_bins():
    top, right = torch.tensor([0.65, 0.65, 0.99, 0.99]), torch.tensor([True, False, True, True])
    assert float(calibration_error(top, right)) == pytest.approx((2 * 0.15 + 2 * 0.01) / 4)


def test_groups_follow_true_labels():
    norms = torch.tensor([[1.0, 2.0, 3.0, 9.0]])
    look = {"jacobian": norms, "entropy": torch.ones(1, 4), "omega": torch.ones(1, 4), "predicted": torch.zeros(1, 4)}
    seen = Seen(
        {"rows": torch.arange(4), "given": torch.tensor([0, 1, 1, 0]), "true": torch.tensor([0, 0, 1, -1])}, {5: look}
    )
    (found,) = dynamics(seen)
    assert found["epoch"] == 5
    assert found["jacobian"] == {"clean": [2.0], "noisy": [2.0]}


def test_the_norm_of_all_stages_is_that_of_their_gradients_together():
    norms = torch.tensor([[3.0, 0.0, 6.0], [4.0, 1.0, 8.0]])
    groups = {"clean": torch.tensor([True, False, True]), "noisy": torch.tensor([False, True, False])}
    assert by_group({"jacobian": norms}, groups) == {
        "jacobian": {"clean": [4.5, 6.0], "noisy": [0.0, 1.0]}, "total": {"clean": 7.5, "noisy": 1.0}
    }  # fmt: skip


def test_one_visit_and_change_are_told_only_where_the_epoch_before_was_looked_at():
    rows = torch.arange(4)
    samples = {"rows": rows, "given": torch.tensor([0, 0, 1, 1]), "true": torch.tensor([0, 1, 1, 0])}

    def look(epoch: int) -> dict[str, torch.Tensor]:
        found = {name: torch.full((2, 4), 0.5) for name in ("entropy", "omega", "top", "confidence")}
        visits = torch.full((4,), epoch + 1)
        at = torch.tensor([0.9, 0.1, 0.8, 0.2]) * visits
        return {**found, "predicted": torch.zeros(2, 4).int(), "visits": visits, "probability": at,
                "ema_confidence": torch.full((4,), 0.1 * epoch)}  # fmt: skip

    found = {each["epoch"]: each for each in dynamics(Seen(samples, {epoch: look(epoch) for epoch in (0, 1, 4, 5)}))}
    assert [epoch for epoch in found if "instant" in found[epoch]] == [0, 1, 5]
    assert [epoch for epoch in found if "change" in found[epoch]["ema"]] == [1, 5]
    assert found[5]["ema"]["change"] == pytest.approx(0.1)
    assert found[5]["instant"]["clean"][0] == pytest.approx(0.85)


# ----------------------------------------------------------------------------------------------------------- analyze


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_analyze_reads_what_a_run_kept(tmp_path: Path, capsys):
    ran(tmp_path / "run", **DIGITS, epochs=4, history=1)
    assert code_of("analyze", str(tmp_path / "run"), "--device", "cpu") == 0
    told = capsys.readouterr().out
    for words in ("by true labels", "clean / noisy", "sub 2", "averaged", "AUROC"):
        assert words in told
    folder = tmp_path / "run" / "analysis"
    assert {path.name for path in folder.iterdir()} == {
        "analysis.json",
        "jacobian.svg",
        "confidence.svg",
        "smoothness.svg",
    }
    assert [look["epoch"] for look in json.loads((folder / "analysis.json").read_text())["looks"]] == [0, 1, 2, 3]


@pytest.mark.long
def test_analyze_looks_at_the_end_of_a_run_that_kept_nothing(tmp_path: Path, capsys):
    given = {**DIGITS, "epochs": 2}
    kept, bare = ran(tmp_path / "a", **given, history=1), ran(tmp_path / "b", **given)
    one, other = (analyse(run.path, Place(device="cpu")).looks[-1] for run in (kept, bare))
    assert one["jacobian"] == other["jacobian"]
    assert one["ema"]["clean"] == pytest.approx(other["ema"]["clean"], abs=1e-3)
    assert code_of("analyze", str(bare.path), "--device", "cpu") == 0
    assert "nothing was kept; train with --history 1" in capsys.readouterr().out


def test_analyze_takes_the_runs_own_verdict_where_nobody_knows_the_truth(tmp_path: Path):
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int) ^ (rng.random(120) < 0.2)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    run = ran(tmp_path / "run", data=f"npz:{tmp_path / 'data.npz'}", epochs=15, batch_size=20, threads=1, history=5)
    found = analyse(run.path, Place(device="cpu"))
    assert found.judged_by == "what the run itself takes for right and wrong"
    assert found.looks[-1]["jacobian"]["noisy"]
    assert "clean" in found.looks[-1]["ema"]
    assert not any("auroc" in look.get(name, {}) for look in found.looks for name in ("instant", "ema"))


def test_analyze_misses_a_look_that_a_finished_run_kept(tmp_path: Path, capsys):
    run = ran(tmp_path / "run", **DIGITS, epochs=3, history=1)
    (run.looked / "00000001.safetensors").unlink()
    assert code_of("analyze", str(run.path), "--device", "cpu") == 2
    told = capsys.readouterr().err
    assert "history/00000001.safetensors is not there" in told
    assert told.count("\n") == 1


def test_analyze_leaves_no_figure_of_an_earlier_analysis(tmp_path: Path, capsys):
    run = ran(tmp_path / "run", **DIGITS, epochs=1, history=1)
    old = tmp_path / "out" / "jacobian.svg"
    old.parent.mkdir()
    old.write_text("old")
    assert code_of("analyze", str(run.path), "--out", str(old.parent)) == 0
    assert "Over epochs: one was looked at" in capsys.readouterr().out
    assert not old.exists()
    for folder in (run.path, run.path / "run.json"):
        assert code_of("analyze", str(run.path), "--out", str(folder)) == 2
        assert "out: " in capsys.readouterr().err


def test_analyze_says_that_a_run_has_not_ended(tmp_path: Path, capsys):
    run = ran(tmp_path / "run", **DIGITS, epochs=2, history=1)
    (run.path / "done.json").unlink()
    assert code_of("analyze", str(run.path)) == 0
    assert "epoch 2 of 2, which has not ended" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("folder", "message"), [("nowhere", "is no run folder"), ("half", "has not ended and keeps no looks")]
)
def test_analyze_says_what_it_needs(folder: str, message: str, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if folder == "half":
        run = ran(tmp_path / "half", **DIGITS, epochs=1)
        (run.path / "done.json").unlink()
    assert code_of("analyze", folder) == 2
    assert message in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- the theory, on digits


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, list[RunFolder]]:
    """Digits with 60% of the labels redrawn, three seeds: cross-entropy, label smoothing, adaptive, ALASCA."""
    settings = {
        "ce": {"method": "ce", "alasca": False},
        **{
            f"ls{part}": {"method": "lsr", "alasca": False, "options": {"alpha": part}} for part in (0.1, 0.3, 0.5, 0.9)
        },
        "als": {"method": "als", "alasca": False},
        "als on sub-classifiers": {
            "options": {"alasca.momentum": 0.0, "alasca.temperature": 1.0, "alasca.warmup": None}
        },
        "alasca": {},
    }
    common = {"data": "digits", "noise": "symmetric:0.6", "batch_size": 128, "lr": 0.1, "threads": 1, "epochs": 30}
    folder = tmp_path_factory.mktemp("theory")
    return {
        name: [
            ran(folder / f"{name}-{seed}", **common, **given, seed=seed, history=1 if name == "alasca" else 30)
            for seed in range(3)
        ]
        for name, given in settings.items()
    }


def norms(runs: list[RunFolder], group: str) -> float:
    """R(x) at the end, mean over runs."""
    return sum(dynamics(run.looks())[-1]["total"][group] for run in runs) / len(runs)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_jacobian_norms_fall_as_the_smoothing_factor_rises(runs):
    for group in ("clean", "noisy"):
        found = [norms(runs[name], group) for name in ("ce", "ls0.3", "ls0.5", "ls0.9")]
        assert found == sorted(found, reverse=True)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_adaptive_smoothing_spares_right_labels_more_than_uniform_smoothing_does(runs):
    """Of the main classifier (figure 1); on sub-classifiers alone the ratio stays about that of cross-entropy."""
    ratio = {name: norms(each, "clean") / norms(each, "noisy") for name, each in runs.items()}
    assert ratio["als"] > ratio["ls0.3"] > ratio["ce"]
    assert abs(ratio["als on sub-classifiers"] - ratio["ce"]) < 0.05 < ratio["ls0.3"] - ratio["ce"]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_averaged_confidence_moves_less_and_ranks_better(runs):
    for run in runs["alasca"]:
        late = dynamics(run.looks())[10:]
        assert sum(each["ema"]["change"] for each in late) < sum(each["instant"]["change"] for each in late)
        assert sum(each["ema"]["auroc"] for each in late) > sum(each["instant"]["auroc"] for each in late)
