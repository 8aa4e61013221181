"""Recorded steps are the eager ones; what can't be recorded is told, and runs all the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from alasca import Recipe, Task, create_method
from alasca.core import Batch, Clock, LossMethod
from alasca.engine import Stopped, Trainer, workbench
from alasca.engine.capture import EAGER, obstacle
from alasca.engine.graphs import CudaGraph, TapeGraph
from alasca.engine.tape import Tape, difference
from alasca.functional import cross_entropy
from alasca.methods import wrap
from alasca.surgery import recompute_maps
from alasca.testing import LawNet, everything, job, kept_in, planted, require_same, settings, trained, trainer


class Restoring(TapeGraph):
    """Like a CUDA graph: recording computes nothing, and only a replay does."""

    executes = False
    state: Callable[[], Mapping[str, Tensor]]

    def record(self, work: Callable[[], object], tape: Tape) -> None:
        before, drawn = {name: value.clone() for name, value in type(self).state().items()}, torch.get_rng_state()
        try:
            super().record(work, tape)
        finally:
            torch.set_rng_state(drawn)
            for name, value in type(self).state().items():
                value.detach().copy_(before[name])


def state_of(made: Trainer) -> dict[str, Tensor]:
    bench = made.bench
    return {**everything(made), **bench.update.sums, "finite": bench.update.watch.finite}


@pytest.mark.parametrize("name", ["ce", "elr", "cdr", "mixup", "dividemix"])
def test_a_recording_that_computes_nothing_is_replayed(name: str):
    data, recipe = planted(8), settings(4, batch_size=8)
    eager = trained(wrap(create_method(name)), data, recipe)
    recorded = trainer(wrap(create_method(name)), data, recipe, graph=Restoring)
    Restoring.state = staticmethod(lambda: state_of(recorded))
    recorded.fit()
    assert not recorded.notes
    assert recorded.stepper.replayed
    require_same(everything(eager), everything(recorded), "replayed steps")
    assert [each["loss"] for each in eager.state.history] == [each["loss"] for each in recorded.state.history]


def test_how_many_steps_are_replayed():
    made = trained(create_method("ce"), planted(), settings(3, batch_size=8), graph=TapeGraph)
    eight = 64 // 8
    assert made.stepper.replayed == (eight - EAGER - 1) + 2 * (eight - 2)


@pytest.mark.parametrize("step", [1, 4, 6, 11])
def test_a_recorded_run_resumes_within_an_epoch(tmp_path: Path, step: int):
    data, recipe = planted(8), settings(3, batch_size=8)
    whole = everything(trained(wrap(create_method("ce")), data, recipe))
    run = kept_in(tmp_path / "run")
    with pytest.raises(Stopped):
        trainer(wrap(create_method("ce")), data, recipe, run=run, stop_after=step, graph=TapeGraph).fit()
    second = trainer(wrap(create_method("ce")), data, recipe, run=run, graph=TapeGraph)
    second.fit(resume=True)
    assert second.stepper.replayed
    require_same(whole, everything(second), "resumed")


class Told(LossMethod):
    """Cross-entropy with something in its step that no graph repeats."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.count = 0

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        return self.factor(logits) * cross_entropy(logits, batch.labels)

    def factor(self, logits: Tensor) -> float | Tensor:
        return 1.0


class Reads(Told):
    def factor(self, logits: Tensor) -> float | Tensor:
        return 1 + 1e-3 * float(logits.detach().mean())


class Masks(Told):
    def factor(self, logits: Tensor) -> float | Tensor:
        return 1 + 1e-3 * logits.detach()[logits > 0].mean()


class Counts(Told):
    def factor(self, logits: Tensor) -> float | Tensor:
        self.count += 1
        return 1 / self.count


class Alternates(Told):
    def factor(self, logits: Tensor) -> float | Tensor:
        self.count += 1
        return logits.detach().mean() if self.count % 2 else 1.0


class Rebinds(Told):
    def factor(self, logits: Tensor) -> float | Tensor:
        self.seen = self.seen + logits.detach().mean()
        return 1 + 1e-3 * self.seen


class DrawsInPython(Told):
    def factor(self, logits: Tensor) -> float | Tensor:
        return logits.new_ones(()) * (1 + (random.random() > 2))


class DrawsInNumpy(Told):
    def factor(self, logits: Tensor) -> float | Tensor:
        return logits.new_ones(()) * (1 + (np.random.rand() > 2))  # noqa: NPY002  # as users do


@pytest.mark.parametrize(
    ("method", "note"),
    [
        (Reads, "aten._local_scalar_dense.default waits for the device"),
        (Masks, "aten.index.Tensor waits for the device"),
        (Counts, "aten.mul.Tensor is given 0.25 in one step, 0.2 in the next"),
        (Alternates, "in the next"),
        (Rebinds, "Rebinds 0, seen is another tensor after a step; write into it (copy_, add_)"),
        (DrawsInPython, "a step draws random numbers on the host; see Method.draws"),
        (DrawsInNumpy, "a step draws random numbers on the host; see Method.draws"),
    ],
)
def test_what_cannot_be_recorded_is_told_and_trains_as_ever(
    method: type[Told], note: str, caplog: pytest.LogCaptureFixture
):
    eager = trained(method(), planted(8), settings(3, batch_size=8))
    made = trained(method(), planted(8), settings(3, batch_size=8), graph=TapeGraph)
    assert len(made.notes) == 1
    assert made.notes[0].endswith(note)
    assert made.notes[0].startswith("steps are launched one by one, which is slower: ")
    assert made.notes[0] in caplog.text
    assert not made.stepper.replayed
    assert not made.stepper.graphs  # nor is memory kept for what is never replayed
    require_same(everything(eager), everything(made), "eager steps")


class Once(Told):
    """Another factor in the very step that would be recorded first."""

    def factor(self, logits: Tensor) -> float | Tensor:
        self.count += 1
        return 2.0 if self.count == EAGER + 1 else 1.0


@pytest.mark.parametrize("graph", [TapeGraph, Restoring])
def test_a_recording_that_is_another_step_is_not_replayed(graph: type[TapeGraph]):
    data, recipe = planted(8), settings(3, batch_size=8)
    made = trainer(Once(), data, recipe, graph=graph)
    Restoring.state = staticmethod(lambda: state_of(made))
    made.fit()
    assert not made.notes  # the second recording was like the steps before it
    assert made.stepper.replayed
    if graph is TapeGraph:  # where a recording is no step, the one that follows is the next count
        require_same(everything(trained(Once(), data, recipe)), everything(made), "replayed steps")


class Interrupted(Restoring):
    """Recording fails in the middle, with gradients in place."""

    on = False

    def record(self, work: Callable[[], object], tape: Tape) -> None:
        Interrupted.on = True
        try:
            super().record(work, tape)
        finally:
            Interrupted.on = False


class Fails(Told):
    def on_gradients(self, backbone: nn.Module, clock: Clock) -> None:
        if Interrupted.on:
            raise RuntimeError("CUDA error: it is broken")


def test_a_recording_that_breaks_off_leaves_no_gradient():
    data, recipe = planted(8), settings(2, batch_size=8)
    made = trainer(Fails(), data, recipe, graph=Interrupted)
    Restoring.state = staticmethod(lambda: state_of(made))
    made.fit()
    assert made.notes[0].endswith("recording failed (CUDA error: it is broken)")
    require_same(everything(trained(Fails(), data, recipe)), everything(made), "eager steps")


class Broken(TapeGraph):
    executes = False

    def record(self, work: Callable[[], object], tape: Tape) -> None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nand more")


def test_a_recording_that_fails_is_a_note_and_no_crash(tmp_path: Path):
    task = Task.from_arrays(torch.randn(60, 3), torch.arange(60) % 2)
    run = make_run(task, tmp_path / "run", Broken)
    notes = run.settings()["notes"]
    why = "recording failed (CUDA error: operation not permitted when stream is capturing)"
    assert notes[-1] == f"steps are launched one by one, which is slower: {why}"
    plain = make_run(task, tmp_path / "plain", CudaGraph)
    assert not plain.settings()["notes"]
    assert (run.path / "model.safetensors").read_bytes() == (plain.path / "model.safetensors").read_bytes()


def make_run(task: Task, folder: Path, graph: Any) -> Any:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trainer.__init__, "__defaults__", (None, None, None, graph))
        from alasca import train

        return train(Recipe(epochs=2, batch_size=8), task, folder=folder)


def test_when_steps_are_eager():
    method = create_method("ce")
    assert obstacle(job(method, planted(), settings(2))) == "cpu launches nothing"
    for reason, changes in (
        ("--no-capture", {"capture": False}),
        ("fp16 looks at every gradient", {"precision": "fp16"}),
        ("several micro-batches a step", {"accumulate": 2}),
    ):
        recipe = {name: value for name, value in changes.items() if name != "capture"}
        place = {name: value for name, value in changes.items() if name == "capture"}
        assert obstacle(job(method, planted(), settings(2, **recipe), **place), TapeGraph) == reason
    method.captures = False  # type: ignore[misc]  # as a class of one's own would say
    assert obstacle(job(method, planted(), settings(2)), TapeGraph) == "CrossEntropy can't be recorded"
    assert not trained(method, planted(), settings(2), graph=TapeGraph).stepper.replayed


class Drops(nn.Module):
    """Leaves a layer out at random, as the host decides."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.count = LawNet(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        found: Tensor = self.net(x if self.count % 3 else x.flip(-1))
        return found


def test_a_network_that_the_host_changes_is_not_recorded():
    data, recipe = planted(8), settings(3, batch_size=8)
    made = trained(create_method("ce"), data, recipe, net=Drops, graph=TapeGraph)
    assert len(made.notes) == 1
    assert "aten.flip" in made.notes[0]
    require_same(everything(trained(create_method("ce"), data, recipe, net=Drops)), everything(made), "eager steps")


def test_a_tape_replays_with_the_numbers_of_now():
    x, total = torch.tensor([1.0, 2.0]), torch.zeros(())
    with Tape(keep=True) as tape:
        total.add_((x * 3).sum())
    x.fill_(10.0)
    tape.replay()
    assert total.item() == 9 + 60
    assert tape.obstacle(torch.device("cpu")) is None
    assert tape.obstacle(torch.device("cuda")) == "aten.mul.Tensor moves numbers between host and device"


def test_what_waits_and_what_lends_is_known():
    x, mask = torch.randn(4), torch.tensor([True, False, True, False])
    gpu, other, twos = torch.device("cuda"), x.clone(), torch.full((2,), 2.0)
    for work, why in (
        (lambda: other.__setitem__(mask, twos), "aten.index_put_.default waits for the device"),
        (lambda: x.nonzero(), "aten.nonzero.default waits for the device"),
        (lambda: x[torch.tensor([1, 2])], "a step makes a tensor of a number (torch.tensor)"),
        (lambda: torch.zeros(3, device="cpu"), "aten.zeros.default moves numbers between host and device"),
    ):
        with Tape() as tape:
            work()
        assert tape.obstacle(gpu) == why
    rows = torch.tensor([1, 2])
    with Tape() as tape:
        x[rows] = x[rows] + 1
        x.index_add_(0, rows, x[rows])
    assert tape.obstacle(torch.device("cpu")) is None


def test_tapes_of_different_length_differ():
    tapes = []
    for turns in (1, 2):
        with Tape() as tape:
            for _ in range(turns):
                torch.ones(2).add_(1)
        tapes.append(tape)
    assert difference(*tapes) == "2 operators in one step, 4 in the next"
    assert difference(tapes[0], tapes[0]) is None


@pytest.mark.parametrize("name", ["ce", "har", "mixup"])
def test_maps_that_are_made_again_are_recorded_too(name: str, monkeypatch: pytest.MonkeyPatch):
    """A processor keeps them; a GPU does not."""
    data, recipe = planted(8), settings(3, batch_size=8)
    kept = trained(wrap(create_method(name)), data, recipe)
    monkeypatch.setattr(workbench, "recompute_maps", lambda net, on: recompute_maps(net, True))
    for graph in (CudaGraph, TapeGraph):
        made = trained(wrap(create_method(name)), data, recipe, graph=graph)
        assert bool(made.stepper.replayed) == (graph is TapeGraph)
        require_same(everything(kept), everything(made), "made again")


def test_compiled_networks_train_alike_and_are_looked_at_as_they_are(monkeypatch: pytest.MonkeyPatch):
    compiled: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        def run(*values: Tensor) -> Any:
            compiled.append(len(graph.graph.nodes))
            return graph.forward(*values)

        return run

    original = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: original(self, backend=backend))
    data, recipe = planted(8, 16), settings(2, batch_size=8, select="noisy-val")
    trained(create_method("ce"), data, recipe, compile=True)  # whose code is not that of a network with sub-classifiers
    compiled.clear()
    made = trained(wrap(create_method("ce"), warmup=1), data, recipe, compile=True)
    assert len(compiled) == 2 * 64 // 8
    assert not made.stepper.looks  # who notes operators gets the network as it is
    plain = trained(wrap(create_method("ce"), warmup=1), data, recipe)
    for name, value in everything(plain).items():
        torch.testing.assert_close(everything(made)[name], value, rtol=1e-3, atol=1e-4)
