"""The loop: exact resume, signals, losses that are no numbers, schedules, accumulation, probes, selection."""

from __future__ import annotations

import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from alasca import Alasca, InputError, checkpoint, create_method
from alasca.core import Clock, Method, Output, Seen, Selection, Step, backbone, unwrapped
from alasca.distributed import first_alone
from alasca.engine import Diverged, Progress, Stopped, Workbench, lr_factor, resolve_device, seed_generators
from alasca.files import read_tensors
from alasca.functional import cross_entropy
from alasca.methods import method_class
from alasca.recipe import Recipe
from alasca.runs import RunFolder
from alasca.stores import Trace
from alasca.surgery import OutputNet
from alasca.testing import LawNet, everything, kept_in, one_step, planted, require_same, settings, trained, trainer


class Interrupting(Progress):
    """Sends a signal to this process after so many steps."""

    def __init__(self, number: int, after: int) -> None:
        self.number, self.after = number, after

    def step(self, epochs_done: float) -> None:
        self.after -= 1
        if self.after == 0:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_leave_a_run_that_resumes_exactly(tmp_path: Path, number: int):
    whole = everything(trained(Alasca(create_method("ce"), warmup=1), planted(8), settings(3)))
    run = kept_in(tmp_path / "run")
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match="epoch 2 after step 2") as stopped:
        trained(
            Alasca(create_method("ce"), warmup=1), planted(8), settings(3), run=run, progress=Interrupting(number, 6)
        )
    assert stopped.value.signal == number
    assert signal.getsignal(number) == before
    second = trainer(Alasca(create_method("ce"), warmup=1), planted(8), settings(3), run=run)
    second.fit(resume=True)
    require_same(whole, everything(second), "resumed")
    assert len(run.history()) == 3


class Poisoned(Method):
    """Its loss becomes NaN at the tenth step."""

    def step(self, nets, batches, phase, clock: Clock) -> Step:
        output = nets[0](batches["all"].views[0])
        loss = cross_entropy(output.logits, batches["all"].labels).mean()
        return Step(loss * float("nan") if clock.step == 9 else loss, (Seen(0, output, batches["all"]),))


def test_a_loss_that_is_no_number_stops_with_a_sound_checkpoint(tmp_path: Path):
    run = kept_in(tmp_path / "run")
    with pytest.raises(Diverged, match=r"epoch 3, step 2: try a lower learning rate \(now 0.1\)") as error:
        trained(Poisoned(), planted(), settings(4), run=run)
    assert "\n" not in str(error.value)
    made = trainer(Poisoned(), planted(), settings(4), run=run)
    with pytest.raises(Diverged):
        made.fit(resume=True)
    tensors, _ = checkpoint.load(run.checkpoints)
    assert all(value.isfinite().all() for value in tensors.values() if value.is_floating_point())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("options", [{"accumulate": 3}, {"precision": "bf16"}, {"clip": 0.5}, {"schedule": "step"}])
def test_resume_is_exact_under_every_setting(tmp_path: Path, optimizer: str, options: dict):
    training = settings(3, optimizer=optimizer, milestones=(1,), **options)
    whole = everything(trained(Alasca(create_method("ce"), warmup=1), planted(8), training))
    steps = 2 if "accumulate" in options else 4
    for stop in (1, steps, steps + 1, 2 * steps + 1):
        run = kept_in(tmp_path / str(stop))
        with pytest.raises(Stopped):
            trained(Alasca(create_method("ce"), warmup=1), planted(8), training, run=run, stop_after=stop)
        torch.manual_seed(99)
        second = trainer(Alasca(create_method("ce"), warmup=1), planted(8), training, run=run)
        second.fit(resume=True)
        require_same(whole, everything(second), f"stopped after {stop}")


def test_a_first_step_that_overflows_leaves_the_momentum_alone():
    made = trainer(create_method("ce"), planted(), settings(1, precision="fp16"))
    made.enter(0)
    for group in made.bench.update.optimizers.all[0].param_groups:
        assert not group["fused"], "fused SGD makes its momentum before it sees the overflow, and does not fill it"
    made = trainer(create_method("ce"), planted(), settings(1, precision="bf16"))
    made.enter(0)
    assert made.bench.update.optimizers.all[0].param_groups[0]["fused"]


class Overflowing(Method):
    """Its second step's gradient is beyond all numbers; it notes which steps were taken."""

    def begin(self, nets, problem) -> None:
        self.taken: list[int] = []

    def step(self, nets, batches, phase, clock: Clock) -> Step:
        output = nets[0](batches["all"].views[0])
        return Step(output.logits.square().mean() * (torch.inf if clock.step == 1 else 1.0))

    def on_updated(self, nets, phase, clock: Clock) -> None:
        self.taken.append(int(clock.step))


def test_a_step_that_is_skipped_for_an_overflow_is_no_update():
    method = Overflowing()
    bench, clock = trainer(method, planted(), settings(1, precision="fp16")).enter(0), Clock.at(0, 0, 1, 0, 4)
    phase = bench.plan(clock)[0]
    batches = next(bench.batches(phase))
    scaler = bench.update.scaler
    for step in range(4):
        before = scaler.get_scale()
        bench.update(phase, batches, clock._replace(step=torch.tensor(step)))
        assert (scaler.get_scale() < before) == (step == 1)
    assert method.taken == [0, 2, 3]


def test_a_fresh_stage_begins_with_networks_of_its_own():
    for name, fresh in (("har", True), ("ce", False)):
        first = trainer(create_method(name), planted(), settings(1)).enter(0)
        after = Workbench(first.job, len(first.stages) - 1, first.trace, first)
        assert (after.nets[0] is not first.nets[0]) == fresh
        assert (after.update is not first.update) == fresh


def test_a_scaler_passes_over_an_optimiser_without_gradients():
    """An optimiser of per-sample variables has none before they are used; a scaler refuses to step such a one."""
    made = trainer(create_method("ce"), planted(), settings(1))
    made.enter(0)
    optimizers = made.bench.update.optimizers
    rows = torch.nn.Parameter(torch.zeros(3))
    optimizers.all.append(torch.optim.SGD([rows], 0.1))
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    used = optimizers.all[0].param_groups[0]["params"][0]
    before = used.detach().clone()
    scaler.scale(used.sum()).backward()
    optimizers.unscale(scaler)
    assert torch.equal(used.grad, torch.ones_like(used))
    optimizers.step(scaler)
    assert not torch.equal(used, before)
    assert torch.equal(rows, torch.zeros(3))


def test_accumulation_averages_gradients():
    """Four micro-batches of 16 take the step of one batch of 64, on a network without BatchNorm and dropout."""
    plain = trained(create_method("ce"), planted(), Recipe(epochs=1, batch_size=64, lr=0.1), net=lambda: LawNet(False))
    parts = trained(create_method("ce"), planted(), settings(1, accumulate=4), net=lambda: LawNet(False))
    for (name, first), second in zip(
        plain.bench.nets[0].named_parameters(), parts.bench.nets[0].parameters(), strict=True
    ):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5, msg=name)


class Falling(Method):
    """Two phases an epoch; a loss whose gradient is one everywhere, and what the loop made of it."""

    def begin(self, nets, problem) -> None:
        self.gradients: list[float] = []

    def plan(self, nets, probe, clock: Clock):
        return super().plan(nets, probe, clock) * 2

    def step(self, nets, batches, phase, clock: Clock) -> Step:
        output = nets[0](batches["all"].views[0])
        return Step(sum(parameter.sum() for parameter in nets[0].parameters()), (Seen(0, output, batches["all"]),))

    def on_gradients(self, backbone, clock: Clock) -> None:
        self.gradients.append(next(backbone.parameters()).grad.flatten()[0].item())


def test_the_last_micro_batches_of_a_phase_count_in_full():
    """Three a step, and one is left at the end of four: its gradient is not divided by three."""
    method = trained(Falling(), planted(), settings(1, accumulate=3)).job.method
    assert method.gradients == pytest.approx([1.0] * 4)


@pytest.mark.parametrize(("accumulate", "count"), [(1, 8), (3, 4)])
def test_the_learning_rate_falls_through_all_phases_of_an_epoch(accumulate: int, count: int, monkeypatch):
    rates: list[float] = []
    monkeypatch.setattr("alasca.engine.update.Optimizers.set_lr", lambda self, factor: rates.append(factor))
    trained(Falling(), planted(), settings(2, accumulate=accumulate))
    steps = range(2 * count)
    assert rates == pytest.approx([(1 + math.cos(math.pi * step / (2 * count))) / 2 for step in steps])


def test_a_partial_stage_leaves_the_rest_to_another_probe():
    bench = trainer(create_method("har"), planted(), settings(1)).enter(0)
    seen, rest = set(bench.probe.index.tolist()), set(bench.rest.index.tolist())
    assert (len(seen), len(rest), seen | rest) == (32, 32, set(range(64)))


class Contrary(method_class("ce")):
    """Predicts the class after the likeliest, and keeps the main classifier's beside it."""

    prediction = "contrary"

    def predictions(self, outputs) -> dict[str, torch.Tensor]:
        (found,) = super().predictions(outputs).values()
        return {"main": found, "contrary": found.roll(1, 1)}


def test_accuracy_is_that_of_the_prediction_in_force():
    record = trained(Contrary(), planted(0, 16), settings(10)).state.history[-1]
    for part in ("test", "val"):
        assert record[f"{part}_accuracy"] == record[f"{part}_accuracy_contrary"] != record[f"{part}_accuracy_main"]


def test_the_loop_is_plain_sgd():
    """One epoch of the engine against torch.optim by hand, on the engine's own batches."""
    made = trainer(create_method("ce"), planted(), settings(1), net=lambda: LawNet(False))
    made.enter(0)
    net = LawNet(False)
    net.load_state_dict(made.bench.nets[0].backbone.state_dict())
    optimizer = torch.optim.SGD(net.parameters(), 0.1, 0.9, weight_decay=5e-4)
    phase = made.bench.plan(Clock.at(0, 0, 1, 0, 4))[0]
    for k, batches in enumerate(made.bench.batches(phase)):
        optimizer.param_groups[0]["lr"] = settings(1).lr * lr_factor(settings(1), Clock.at(0, 0, 1, k, 4), k)
        loss = nn.functional.cross_entropy(net(batches["all"].views[0]), batches["all"].labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    made = trained(create_method("ce"), planted(), settings(1), net=lambda: LawNet(False))
    for (name, first), second in zip(net.named_parameters(), made.bench.nets[0].backbone.parameters(), strict=True):
        torch.testing.assert_close(first, second, msg=name)


def test_schedules_by_hand():
    cosine = Recipe(epochs=10)
    assert lr_factor(cosine, Clock.at(0, 0, 10, 0, 5)) == 1
    assert lr_factor(cosine, Clock.at(0, 5, 10, 25, 5)) == pytest.approx(0.5)
    assert lr_factor(cosine, Clock.at(0, 9, 10, 50, 5), 5) == pytest.approx(0)
    assert lr_factor(cosine, Clock.at(0, 5, 10, 100, 2), 1) == pytest.approx(0.5 * (1 + math.cos(math.pi * 5.5 / 10)))
    step = Recipe(epochs=120, schedule="step")
    factors = [lr_factor(step, Clock.at(0, epoch, 120, 0, 1)) for epoch in (0, 39, 40, 79, 80)]
    assert factors == pytest.approx([1, 1, 0.01, 0.01, 0.0001])


def test_cosine_restarts_by_hand():
    """Half way down after five of ten epochs, at the lowest rate before the tenth, and back at the top with it."""
    recipe = Recipe(schedule="restarts", restart_epochs=10, lr=0.02, lr_min=1e-3, epochs=30)
    at = [
        0.02 * lr_factor(recipe, Clock.at(0, epoch, 30, 0, 4), step)
        for epoch, step in ((0, 0), (5, 0), (10, 0), (25, 0))
    ]
    assert at == pytest.approx([0.02, 0.0105, 0.02, 0.0105])
    assert 0.02 * lr_factor(recipe, Clock.at(0, 9, 30, 0, 4), 2) == pytest.approx(
        1e-3 + 0.019 * 0.5 * (1 + math.cos(math.pi * 0.95))
    )
    short = replace(recipe, restart_epochs=4)
    for epoch, rate in ((2, 0.0105), (4, 0.02), (6, 0.0105)):
        assert 0.02 * lr_factor(short, Clock.at(0, epoch, 30, 0, 4), 0) == pytest.approx(rate)
    falling = Recipe(schedule="cosine", lr=0.02, lr_min=1e-3, epochs=30)
    assert 0.02 * lr_factor(falling, Clock.at(0, 29, 30, 0, 1), 1) == pytest.approx(1e-3)


def test_metrics_are_those_of_the_run(tmp_path: Path):
    run = kept_in(tmp_path / "run")
    made = trained(create_method("ce"), planted(16, held=16), settings(30), run=run)
    last = run.history()[-1]
    assert [record["epoch"] for record in run.history()] == list(range(30))
    assert last["test_accuracy"] > 50
    prediction, data = made.trace.prediction.long()[:64], planted(16)
    assert (made.trace.prediction[64:] == -1).all(), "held-out samples are not trained on"
    assert last["train_accuracy"] == pytest.approx(100 * (prediction == data.samples.labels).double().mean().item())
    wrong = data.samples.labels != data.truth
    assert wrong.sum() == 16
    assert last["memorised"] == pytest.approx(
        100 * (prediction[wrong] == data.samples.labels[wrong]).double().mean().item()
    )


class Numbered(Method):
    """Its loss is the number of the step, and its log twice that."""

    def step(self, nets, batches, phase, clock: Clock) -> Step:
        output = nets[0](batches["all"].views[0])
        number = clock.step.float()
        return Step(output.logits.sum() * 0 + number, (Seen(0, output, batches["all"]),), log={"twice": 2 * number})


def test_losses_and_logs_of_an_epoch_are_means_over_its_steps():
    history = trained(Numbered(), planted(), settings(2)).state.history
    assert [(record["loss"], record["twice"]) for record in history] == [(1.5, 3.0), (5.5, 11.0)]


def test_a_method_that_mixes_is_seen_once_an_epoch():
    """Partners that it blends in are not looked at beside their own turn."""
    for method in (create_method("mixup"), create_method("crust", start=0)):
        visits = trained(method, planted(), settings(3)).trace.visits
        assert visits[:64].tolist() == [3] * 64


def test_selection_on_noisy_held_out_labels_keeps_that_epoch():
    training = settings(6, select="noisy-val", schedule="constant")
    made = trainer(create_method("ce"), planted(8, held=16), training)
    fitted = made.fit(resume=False)
    accuracies = [record["val_accuracy"] for record in fitted.history]
    assert fitted.chosen_epoch == accuracies.index(max(accuracies))
    again = trained(create_method("ce"), planted(8, held=16), replace(training, select="last"))
    assert [r["val_accuracy"] for r in again.state.history] == accuracies


def test_selection_without_held_out_samples_is_refused():
    with pytest.raises(InputError, match="--val-fraction"):
        trainer(create_method("ce"), planted(), settings(1, select="noisy-val"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs: 0"),
        ({"lr": 0.0}, "lr: 0"),
        ({"lr": float("nan")}, "lr: nan"),
        ({"batch_size": 1}, "batch-size: 1"),
        ({"momentum": 1.0}, "momentum"),
        ({"optimizer": "adam"}, "optimizer: 'adam', expected one of sgd, adamw"),
        ({"schedule": "linear"}, "schedule"),
        ({"precision": "half"}, "precision"),
        ({"select": "best"}, "select: 'best', expected one of last, noisy-val"),
        ({"clip": 0.0}, "clip"),
        ({"weight_decay": -1.0}, "weight-decay"),
    ],
)
def test_settings_out_of_range_are_named(changes: dict, words: str):
    with pytest.raises(InputError, match=words):
        Recipe(**changes)


def test_probe_covers_every_sample_in_order():
    made, *_ = one_step(create_method("ce"))
    probe = made.probe
    index = probe(made.nets[0], lambda output, batch: batch.index.double())
    assert index.tolist() == list(range(64))
    logits = probe(made.nets[0], lambda output, batch: output.logits)
    total = probe.reduce(made.nets[0], lambda output, batch: output.logits.sum(0))
    torch.testing.assert_close(total, logits.sum(0))
    assert made.nets[0].training, "the probe left another mode behind"
    assert probe.rest is None
    assert torch.equal(probe.labels, planted(8).samples.labels)
    held = trainer(create_method("ce"), planted(held=16), settings(1)).enter(0).probe.holdout
    assert held is not None
    assert held.index.tolist() == list(range(64, 80))


def test_trace_by_hand():
    """Sample 0 is given class 0: visits predict 1, 1, 0, 1, 2; its rival is 1."""
    trace = Trace(2)
    for k in (1, 1, 0, 1, 2):
        logits = torch.zeros(1, 3)
        logits[0, k] = 2.0
        trace.update(torch.tensor([0]), Output(logits), torch.tensor([0]))
    high, low = torch.tensor([2.0, 0, 0]).softmax(0)[:2].tolist()
    assert trace.visits.tolist() == [5, 0]
    assert trace.differing.tolist() == [4, 0]
    assert trace.rival[0].item() == 1
    assert trace.votes.tolist() == [2, 0], "three for class 1, one against"
    assert trace.prediction.tolist() == [2, -1]
    assert trace.probability[0].item() == pytest.approx(high + 4 * low)
    assert trace.margin[0].item() == pytest.approx(2 - 8)
    for k in (1, 1, 2):
        trace.update(torch.tensor([1]), Output(2.0 * torch.eye(3)[[k]]), torch.tensor([0]))
    assert trace.rival[1].item() == 1, "twice against once"
    trace.update(torch.tensor([1]), Output(torch.zeros(1, 3)), torch.tensor([0]))
    assert trace.differing.tolist() == [4, 3], "a tie does not differ"


def test_the_trace_keeps_sums_of_the_sub_classifiers_of_their_own():
    """Main classifier (.7, .2, .1); sub-classifiers (.2, .5, .3), (.4, .5, .1), mean (.3, .5, .2); label 0, twice."""
    main, first, second = (torch.tensor([p]).log() for p in ((0.7, 0.2, 0.1), (0.2, 0.5, 0.3), (0.4, 0.5, 0.1)))
    trace = Trace(1)
    for _ in range(2):
        trace.update(torch.tensor([0]), Output(main, aux=(first, second)), torch.tensor([0]))
    found = trace.read(torch.tensor([0]))
    assert (found.visits.item(), found.sub_visits.item()) == (2, 2)
    assert found.probability.item() == pytest.approx(1.4)
    assert found.margin.item() == pytest.approx(2 * math.log(0.7 / 0.2))
    assert found.sub_probability.item() == pytest.approx(0.6)
    assert found.sub_margin.item() == pytest.approx(2 * math.log(0.3 / 0.5))


def batchnorm_counts(net: torch.nn.Module) -> set[int]:
    """How many batches the BatchNorm layers of a network have counted."""
    return {int(value) for name, value in net.named_buffers() if name.endswith("num_batches_tracked")}


def test_looks_at_plain_pictures_leave_batchnorm_to_the_method():
    """Four steps; the wrapper's look at plain pictures trains sub-classifiers, whose own BatchNorm counts it."""
    made = trained(create_method("mixup"), planted(), settings(1))
    assert batchnorm_counts(made.bench.nets[0].backbone) == {4}
    made = trained(Alasca(create_method("mixup"), on="plain"), planted(), settings(1))
    assert batchnorm_counts(made.bench.nets[0].backbone) == {4}
    assert batchnorm_counts(made.bench.nets[0].branches) == {8}


def test_what_was_chosen_is_told_as_a_share_of_the_networks():
    class Choosing(Method):
        def selected(self) -> Selection:
            return Selection(torch.tensor([[True, False], [True, True]]), torch.tensor([[0.2, 0.4], [1.0, 0.5]]))

    columns = Choosing().columns(torch.zeros(2))
    assert columns["selected"].tolist() == [0.5, 1.0]
    torch.testing.assert_close(columns["clean_probability"], torch.tensor([0.3, 0.75]))


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path):
    run = kept_in(tmp_path / "run")
    with pytest.raises(Stopped):
        trained(create_method("ce"), planted(), settings(2), run=run, stop_after=2)
    with pytest.raises(InputError, match="does not fit these settings") as error:
        trainer(Alasca(create_method("ce")), planted(), settings(2), run=run).fit(resume=True)
    assert "\n" not in str(error.value)


class Drawing(Method):
    """Notes what the default generator gives in each step and each plan, and when its stage ends."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[float] = []

    def plan(self, nets, probe, clock: Clock):
        self.drawn.append(torch.rand(()).item())
        return super().plan(nets, probe, clock) * 2

    def step(self, nets, batches, phase, clock: Clock) -> Step:
        self.drawn.append(torch.rand(()).item())
        output = nets[0](batches["all"].views[0])
        return Step(cross_entropy(output.logits, batches["all"].labels).mean())

    def end_stage(self, nets, probe, clock: Clock) -> None:
        self.drawn.append(torch.rand(()).item())


def test_every_step_and_plan_has_draws_of_its_own(tmp_path: Path):
    first, again, other = Drawing(), Drawing(), Drawing()
    trained(first, planted(), settings(3))
    assert len(first.drawn) == 3 * (1 + 2 * 4) + 1
    assert len(set(first.drawn)) == len(first.drawn)
    trained(again, planted(), settings(3))
    assert again.drawn == first.drawn
    with pytest.raises(Stopped):
        trained(Drawing(), planted(), settings(3), run=RunFolder(tmp_path), stop_after=23)
    torch.manual_seed(8)
    late = trainer(Drawing(), planted(), settings(3), run=RunFolder(tmp_path))
    late.fit(resume=True)
    assert late.job.method.drawn == first.drawn[-2:]  # type: ignore[attr-defined]  # a Drawing
    between = kept_in(tmp_path / "between")
    with pytest.raises(Stopped):
        trained(Drawing(), planted(), settings(3), run=between, stop_after=16)
    torch.manual_seed(9)
    late = trainer(Drawing(), planted(), settings(3), run=between)
    late.fit(resume=True)
    assert late.job.method.drawn == first.drawn[-10:], "the third epoch's plan, its steps, the stage's end"
    trained(other, planted(), settings(3, seed=1))
    assert not set(other.drawn) & set(first.drawn)


class PoisonedGradient(Method):
    """A sound loss whose gradient is NaN at the tenth step, the last but two of the run."""

    def step(self, nets, batches, phase, clock: Clock) -> Step:
        output = nets[0](batches["all"].views[0])
        loss = cross_entropy(output.logits, batches["all"].labels).mean()
        if clock.step == 9:
            zero = output.logits.sum() * 0
            loss = loss + (zero.sqrt() * 0).nan_to_num()  # d sqrt(0) is infinite, times zero
        return Step(loss, (Seen(0, output, batches["all"]),))


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_a_gradient_that_is_no_number_is_never_saved(tmp_path: Path, seconds: float):
    run = kept_in(tmp_path / "run")
    training = settings(4)
    with pytest.raises(Diverged, match="is not finite at epoch 3"):
        trained(PoisonedGradient(), planted(), training, run=run, checkpoint_seconds=seconds)
    for entry in run.checkpoints.iterdir():
        assert all(
            value.isfinite().all()
            for value in read_tensors(entry / "tensors.safetensors").values()
            if value.is_floating_point()
        )


def test_a_run_killed_before_its_first_checkpoint_starts_from_the_start(tmp_path: Path):
    run = kept_in(tmp_path / "run")
    whole = everything(trained(create_method("ce"), planted(), settings(1)))
    made = trainer(create_method("ce"), planted(), settings(1), run=run)
    made.fit(resume=True)
    require_same(whole, everything(made), "resumed from nothing")


class Counting(Method):
    """Notes the steps an epoch that its clock tells."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, int]] = []

    def plan(self, nets, probe, clock: Clock):
        self.told.append(("plan", clock.steps_per_epoch))
        assert probe.index.device == probe.labels.device
        return super().plan(nets, probe, clock)

    def step(self, nets, batches, phase, clock: Clock) -> Step:
        self.told.append(("step", clock.steps_per_epoch))
        return Step(cross_entropy(nets[0](batches["all"].views[0]).logits, batches["all"].labels).mean())

    def end_stage(self, nets, probe, clock: Clock) -> None:
        self.told.append(("end", clock.steps_per_epoch))


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 4), (3, 2)])
def test_the_clock_tells_the_steps_of_an_epoch_everywhere(accumulate: int, steps: int):
    method = Counting()
    trained(method, planted(), settings(1, accumulate=accumulate))
    assert {name for name, _ in method.told} == {"plan", "step", "end"}
    assert {count for _, count in method.told} == {steps}


def test_only_the_devices_that_are_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert resolve_device("cuda:1") == torch.device("cuda", 1) == resolve_device("cuda")
    with pytest.raises(InputError, match="'cuda:7', but this machine's last is cuda:1"):
        resolve_device("cuda:7")


def test_the_training_devices_generator_is_seeded_not_the_current_ones(monkeypatch: pytest.MonkeyPatch):
    seeded = []
    current = [0]

    class On:
        def __init__(self, device: torch.device) -> None:
            self.index = device.index

        def __enter__(self) -> None:
            current.append(self.index)

        def __exit__(self, *_: object) -> None:
            current.pop()

    monkeypatch.setattr(torch.cuda, "device", On)
    monkeypatch.setattr(torch.cuda, "manual_seed", lambda seed: seeded.append((current[-1], seed)))
    seed_generators(torch.device("cuda", 1), 5)
    assert seeded == [(1, 5)]
    assert torch.default_generator.initial_seed() == 5


class Trunk(nn.Module):
    """A network whose own parts are called backbone and module."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.module = nn.Linear(8, 4)

    def forward(self, x):
        return self.module(self.backbone(x).mean((2, 3)))


def test_a_networks_own_backbone_is_one_of_its_parts():
    net = Trunk()
    assert backbone(net) is unwrapped(net) is net
    wrapped = OutputNet(net, example=torch.zeros(2, 3, 8, 8))
    assert backbone(wrapped) is net
    assert unwrapped(wrapped) is wrapped
    made = trained(create_method("ce"), planted(), settings(1), net=Trunk)
    assert any(name.startswith("module") for name in made.bench.nets[0].backbone.state_dict())


def test_a_batch_needs_two_rows_in_every_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alasca.engine.setup.world", lambda: (0, 16))
    with pytest.raises(InputError, match="1 samples of a batch for each of 16 processes"):
        trainer(create_method("ce"), planted(), settings(1))


def test_one_process_in_trouble_stops_all(monkeypatch: pytest.MonkeyPatch):
    for rank in (0, 1):
        monkeypatch.setattr("alasca.distributed.world", lambda rank=rank: (rank, 2))
        monkeypatch.setattr("alasca.distributed.any_rank", lambda flag, device: True)  # as process 0 tells it

        def enter() -> None:
            with first_alone() as first:
                if first:
                    raise InputError("out: taken")

        with pytest.raises(InputError, match="out: taken" if rank == 0 else "process 0 stopped"):
            enter()


def test_one_cycle_by_hand():
    """lr / 25 at the start, lr after three tenths, half of it midway down, 0 at the end; half of the rise midway up."""
    recipe = Recipe(schedule="onecycle")
    factors = [lr_factor(recipe, Clock.at(0, epoch, 100, 0, 1)) for epoch in (0, 15, 30, 65, 100)]
    assert factors == pytest.approx([1 / 25, 0.52, 1.0, 0.5, 0.0], abs=1e-9)
