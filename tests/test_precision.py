"""What numbers a run computes with: chosen by the device, said in run.json, and the caller's settings left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from alasca import InputError, Recipe, Task, load, train
from alasca.engine import computed_as, precision_on
from alasca.engine.device import arithmetic
from alasca.engine.graphs import TapeGraph
from alasca.methods import create_method
from alasca.testing import planted, settings, trained, trainer

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")


@pytest.fixture
def task() -> Task:
    return Task.from_arrays(torch.randn(60, 3), torch.arange(60) % 2)


def test_auto_is_bf16_where_a_gpu_multiplies_it(monkeypatch: pytest.MonkeyPatch):
    for able, expected in ((True, "bf16"), (False, "float32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, able=able: able)
        assert precision_on(GPU, "auto") == expected
        assert precision_on(CPU, "auto") == "float32"
        assert precision_on(GPU, "float32") == "float32"
        assert precision_on(CPU, "bf16") == "bf16"


def test_a_run_keeps_what_auto_was_and_how_it_computed(tmp_path: Path, task: Task):
    run = train(Recipe(epochs=1, batch_size=8), task, folder=tmp_path / "run")
    kept = run.settings()
    assert kept["recipe"]["precision"] == "float32"
    assert kept["arithmetic"] == {"precision": "float32", "tf32": False, "autotuner": False}
    assert kept["eager_because"] == "cpu launches nothing"
    named = train(Recipe(epochs=1, batch_size=8, precision="float32"), task, folder=tmp_path / "named")
    assert named.settings()["recipe_sha256"] == kept["recipe_sha256"]
    assert (named.path / "model.safetensors").read_bytes() == (run.path / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="precision: 'half', expected one of auto, float32, bf16, fp16"):
        Recipe(precision="half")


def test_a_run_of_before_is_read(tmp_path: Path, task: Task):
    """Runs were made without what run.json says of arithmetic, and without these settings of a place."""
    from alasca.runs import RunFolder

    run = train(Recipe(epochs=1, batch_size=8), task, folder=tmp_path / "run")
    old = json.loads((run.path / "run.json").read_text())
    for name in ("arithmetic", "eager_because", "sha256"):
        del old[name]
    for name in ("capture", "compile"):
        del old["place"][name]
    run.write_settings(old)
    assert RunFolder(run.path).settings()["place"] == old["place"]
    assert load(run.path).predict(torch.randn(2, 3)).shape == (2, 2)


@pytest.mark.parametrize(("precision", "tf32"), [("float32", False), ("bf16", True), ("fp16", True)])
@pytest.mark.parametrize("deterministic", [False, True])
def test_tf32_and_the_autotuner_go_with_the_precision(precision: str, tf32: bool, deterministic: bool):
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, cudnn.benchmark
    told = {"precision": precision, "tf32": tf32, "autotuner": not deterministic}
    assert computed_as(GPU, precision, deterministic) == told
    with arithmetic(GPU, precision, deterministic):
        assert (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark) == (tf32, tf32, not deterministic)
    assert (matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, cudnn.benchmark) == before
    with arithmetic(CPU, precision, deterministic):
        assert (matmul.fp32_precision, cudnn.conv.fp32_precision) == before[:2]


def test_settings_that_a_caller_mixed_come_back():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = matmul.fp32_precision, cudnn.conv.fp32_precision
    try:
        matmul.fp32_precision, cudnn.conv.fp32_precision = "tf32", "ieee"
        with arithmetic(GPU, "float32", False):
            assert not matmul.allow_tf32
        assert (matmul.fp32_precision, cudnn.conv.fp32_precision) == ("tf32", "ieee")
    finally:
        matmul.fp32_precision, cudnn.conv.fp32_precision = before


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "step"])
def test_the_learning_rate_of_a_recorded_step_is_a_tensor_that_is_filled(optimizer: str, schedule: str):
    recipe = settings(3, batch_size=8, optimizer=optimizer, schedule=schedule, milestones=(1,), lr=0.01)
    made = trainer(create_method("ce"), planted(8), recipe, graph=TapeGraph)
    rates: list[float] = []
    fill: Callable[[float], None] = (optimizers := made.enter(0).update.optimizers).set_lr
    (rate,) = (group["lr"] for group in optimizers.all[0].param_groups)
    optimizers.set_lr = lambda factor: (fill(factor), rates.append(float(rate)))[0]  # type: ignore[method-assign]
    for _ in range(3):
        made.epoch()
    assert isinstance(rate, Tensor)
    assert all(group["lr"] is rate for group in optimizers.all[0].param_groups)
    assert len(rates) == 24
    assert len(set(rates)) == (2 if schedule == "step" else 24)
    eager = trained(create_method("ce"), planted(8), recipe)
    first = next(eager.bench.nets[0].parameters())
    assert torch.equal(first, next(made.bench.nets[0].parameters()))
