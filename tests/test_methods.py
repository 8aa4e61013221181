"""Methods against hand values and independent computations, with the options that the laws' defaults leave out."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import Tensor, nn

import alasca.functional as AF
from alasca import Alasca, InputError, create_method, list_methods
from alasca.core import Batch, Clock, LossMethod, Method, Problem, Stage, unwrapped
from alasca.functional.gradients import class_strengths, jacobian_norm
from alasca.methods import method_class, option_names, preset_options
from alasca.networks.small import Perceptron, SmallResNet
from alasca.surgery import OutputNet, opened
from alasca.testing import LAWS, LawNet, one_step, planted, settings, trained, trainer
from alasca.values import fits
from doors import read
from test_surgery import Encoder

CLOCK = Clock.at(0, 30, 60, 0, 4)
VARIANTS = {
    "truncated_gce": lambda: create_method("truncated_gce", k=0.3, start=1, every=1),
    "gjs, one weak view": lambda: create_method("gjs", num_views=1, view="weak"),
    "gjs, unscaled": lambda: create_method("gjs", scaled=False),
    "har, as in the code": lambda: create_method("har", norm="sum", batch_scaled=True),
    "cdr, l2": lambda: create_method("cdr", decay="l2", noise_rate=0.7),
    "byot, as in the code": lambda: create_method("byot", t_squared=True, masked_features=True, predict="ensemble"),
    "one, ensemble": lambda: create_method("one", ramp=80, predict="ensemble"),
    "aul, alone": lambda: create_method("aul", alpha=0.0),
    "lsr, others": lambda: create_method("lsr", off_target="others"),
    "ce + uniform smoothing": lambda: Alasca(create_method("ce"), confidence_from=0.5),
    "ce + smoothing of the main classifier": lambda: Alasca(create_method("ce"), warmup=1, smooths="main"),
    "mixup + smoothing of the main classifier": lambda: Alasca(create_method("mixup"), warmup=1, smooths="main"),
    "truncated_gce + ALASCA": lambda: Alasca(create_method("truncated_gce", k=0.3, start=1, every=1), warmup=1),
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("law", [name for name in LAWS if name[0] in "234568"])
def test_laws_hold_for_options(name: str, law: str):
    LAWS[law](VARIANTS[name])


def batch_of(logits: Tensor, labels: list[int]) -> Batch:
    rows = len(labels)
    return Batch((logits,), torch.tensor(labels), torch.arange(rows), torch.ones(rows))


def toy(rows: int = 6, classes: int = 4) -> tuple[Tensor, Batch]:
    logits = torch.randn(rows, classes, generator=torch.Generator().manual_seed(0))
    return logits, batch_of(logits, [k % classes for k in range(rows)])


LOSS_OF = {
    ("ce",): lambda z, y: AF.cross_entropy(z, y),
    ("early_stopping",): lambda z, y: AF.cross_entropy(z, y),
    ("mae",): lambda z, y: AF.mae(z, y),
    ("gce", ("q", 0.5)): lambda z, y: AF.gce(z, y, 0.5),
    ("sce", ("alpha", 6.0), ("beta", 0.1)): lambda z, y: AF.sce(z, y, 6.0, 0.1),
    ("apl", ("alpha", 10.0), ("beta", 0.1)): lambda z, y: AF.nce_rce(z, y, 10.0, 0.1),
    ("apl", ("passive", "mae"), ("alpha", 2.0)): lambda z, y: AF.nce_mae(z, y, 2.0, 1.0),
    ("apl", ("active", "focal")): lambda z, y: AF.normalized_focal(z, y) + AF.rce(z, y),
    ("agce",): lambda z, y: AF.nce_agce(z, y, 1.0, 4.0, 6.0, 1.5),
    ("aul",): lambda z, y: AF.nce_aul(z, y, 1.0, 4.0, 6.3, 1.5),
    ("ael", ("alpha", 0.0), ("beta", 1.0), ("a", 2.5)): lambda z, y: AF.ael(z, y, 2.5),
    ("bootstrapping",): lambda z, y: AF.bootstrapping(z, y, 0.95),
    ("bootstrapping", ("hard", True)): lambda z, y: AF.bootstrapping(z, y, 0.8, hard=True),
    ("lsr",): lambda z, y: AF.label_smoothing(z, y, 0.5),
    ("lsr", ("alpha", 0.3), ("off_target", "others")): lambda z, y: AF.smoothed_cross_entropy(z, y, 0.7, "others"),
    ("als",): lambda z, y: AF.als(z, y),
    ("als", ("warmup", 31)): lambda z, y: AF.cross_entropy(z, y),
    ("als", ("scale", "sum")): lambda z, y: AF.als(z, y, "sum"),
    ("tf_kd_code",): lambda z, y: AF.tf_kd(z, y, legacy=True),
    ("tf_kd", ("alpha", 0.3), ("a", 0.9), ("temperature", 5.0)): lambda z, y: AF.tf_kd(z, y, 0.3, 0.9, 5.0),
}


@pytest.mark.parametrize("case", LOSS_OF, ids=str)
def test_methods_that_are_a_loss(case: tuple):
    logits, batch = toy()
    method = create_method(case[0], **dict(case[1:]))
    assert isinstance(method, LossMethod)
    torch.testing.assert_close(method.loss(logits, batch, CLOCK), LOSS_OF[case](logits, batch.labels))


def test_weights_of_a_batch_count():
    logits, batch = toy()
    weighted = replace(batch, weight=torch.arange(6.0))
    identity = lambda x: OutputNet(nn.Identity())(x)  # noqa: E731
    step = create_method("ce").step([identity], {"all": weighted}, None, CLOCK)
    expected = (torch.arange(6.0) * AF.cross_entropy(logits, batch.labels)).mean()
    torch.testing.assert_close(step.loss, expected)


def test_weights_of_a_batch_count_while_dividemix_warms_up():
    logits, batch = toy()
    weighted = replace(batch, weight=torch.arange(6.0))
    method = create_method("dividemix", penalty=False)
    step = method.warm(0, OutputNet(nn.Identity()), weighted)
    torch.testing.assert_close(step.loss, (torch.arange(6.0) * AF.cross_entropy(logits, batch.labels)).mean())


def begun(method: Method, samples: int = 8, classes: int = 3) -> Method:
    method.begin([], Problem(samples, classes, torch.zeros(2, 3, 8, 8), 3, 0))
    return method


def test_elr_memory_by_hand():
    """Three visits with p = (.7, .2, .1) and beta .7 give t = (.4599, .1314, .0657), used after its update."""
    logits = torch.tensor([[0.7, 0.2, 0.1]]).log()
    method = begun(create_method("elr"))
    batch = replace(batch_of(logits, [0]), index=torch.tensor([5]))
    for visit in (1, 2, 3):
        loss = method.loss(logits, batch, CLOCK)
        t = (1 - 0.7**visit) * torch.tensor([[0.7, 0.2, 0.1]])
        expected = AF.cross_entropy(logits, batch.labels) + 3 * (1 - (t * logits.exp()).sum(1)).log()
        torch.testing.assert_close(loss, expected)
    assert method.memory.value[5].tolist() == pytest.approx([0.4599, 0.1314, 0.0657], abs=1e-6)
    assert method.memory.value.count_nonzero() == 3
    sure = begun(create_method("elr"))
    sure.loss(torch.tensor([[20.0, 0.0, 0.0]]), batch, CLOCK)
    assert sure.memory.value[5].sum().item() == pytest.approx(0.3, abs=1e-6), "clamped predictions add up to 1 again"
    plain = begun(create_method("elr", lam=0.0))
    torch.testing.assert_close(plain.loss(logits, batch, CLOCK), AF.cross_entropy(logits, batch.labels))


def test_gce_prunes_by_the_best_networks_and_drops_the_gradient():
    method = create_method("truncated_gce", k=0.5, start=12, every=2)
    looked: list[int] = []
    made = trainer(method, planted(16, held=16), settings(16))
    inner = type(method).plan

    def plan(nets, probe, clock):
        before = method.kept.clone()
        phases = inner(method, nets, probe, clock)
        if not torch.equal(before, method.kept):
            looked.append(clock.epoch)
        if clock.epoch == 12:
            assert probe.best is not None
            p = probe(probe.best[0], lambda out, batch: out.logits.softmax(1).gather(1, batch.labels[:, None])[:, 0])
            assert torch.equal(method.kept[:64], p > 0.5)
            assert 0 < int(method.kept[:64].sum()) < 64
        return phases

    method.plan = plan
    made.fit()
    assert looked
    assert set(looked) <= {12, 14}
    started = create_method("truncated_gce", k=0.5, start=0)
    trained(started, planted(), settings(1))
    assert started.kept.all(), "nothing is sure at the start: a look that leaves nothing is passed over"
    logits, batch = toy(6, 4)
    method.kept[:6] = torch.tensor([True, False] * 3)
    logits.requires_grad_()
    losses = method.loss(logits, batch, CLOCK)
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    assert (gradient.abs().amax(1) > 0).tolist() == [True, False] * 3
    assert losses[1].item() == pytest.approx((1 - 0.5**0.7) / 0.7)


class Looking:
    """A probe in which the best network is sure of even samples, the present one of odd samples."""

    def __init__(self, best: list[str] | None) -> None:
        self.best, self.index = best, torch.arange(8)

    def __call__(self, net: str, fn) -> Tensor:
        even = (self.index % 2 == 0).float()
        return 0.1 + 0.8 * (even if net == "best" else 1 - even)


def test_gce_looks_every_so_often_with_the_best_networks_it_has():
    for best, first in ((["best"], 0), (None, 1)):
        method = begun(create_method("truncated_gce", k=0.5, start=2, every=3))
        kept = {}
        for epoch in range(9):
            method.kept.fill_(True)
            method.plan(["now"], Looking(best), Clock.at(0, epoch, 9, 0, 1))
            kept[epoch] = method.kept.nonzero()[:, 0].tolist()
        looked = [epoch for epoch in kept if len(kept[epoch]) < 8]
        assert looked == [2, 5, 8]
        assert all(kept[epoch] == list(range(first, 8, 2)) for epoch in looked)


def test_the_best_networks_are_those_of_the_best_epoch():
    method = create_method("truncated_gce", k=0.5)
    made = trainer(method, planted(16, held=16), settings(5))
    seen: dict[int, dict[str, Tensor]] = {}
    at_best: list[tuple[int, dict[str, Tensor]]] = []

    def plan(nets, probe, clock):
        if probe.best is not None:
            at_best.append((clock.epoch, {k: v.clone() for k, v in probe.best[0].state_dict().items()}))
        seen[clock.epoch] = {k: v.clone() for k, v in nets[0].state_dict().items()}
        return type(method).plan(method, nets, probe, clock)

    method.plan = plan
    made.fit()
    accuracies = [record["val_accuracy"] for record in made.state.history]
    for epoch, tensors in at_best:
        best = max(range(epoch), key=lambda k: (accuracies[k], -k))
        assert all(torch.equal(tensors[name], seen[best + 1][name]) for name in tensors)
    bare = trained(create_method("ce"), planted(), settings(2))
    assert bare.bench.probe.best is None


def test_early_stopping_takes_the_earliest_best_epoch(monkeypatch: pytest.MonkeyPatch):
    accuracies = iter([50.0, 60.0, 40.0, 60.0, 55.0])
    monkeypatch.setattr(
        "alasca.engine.metrics.accuracies",
        lambda method, nets, split, held: {"{}_accuracy": next(accuracies) if held else 0.0},
    )
    made = trainer(create_method("early_stopping"), planted(8, held=16), settings(5))
    fitted = made.fit()
    assert (fitted.select, fitted.chosen_epoch) == ("noisy-val", 1)
    assert trainer(create_method("early_stopping"), planted(), settings(1, select="last")).job.select == "last"
    with pytest.raises(InputError, match="--val-fraction"):
        trainer(create_method("early_stopping"), planted(), settings(1))


def test_fresh_networks_forget_what_earlier_ones_reached(monkeypatch: pytest.MonkeyPatch):
    accuracies = iter([90.0, 95.0, 30.0, 60.0, 50.0, 40.0])
    monkeypatch.setattr(
        "alasca.engine.metrics.accuracies",
        lambda method, nets, split, held: {"{}_accuracy": next(accuracies) if held else 0.0},
    )
    made = trainer(create_method("har"), planted(8, held=16), settings(3, select="noisy-val"))
    assert made.fit().chosen_epoch == 3, "the best of the second stage, whose networks are fresh"


def test_closed_taps_hold_nothing():
    net = attached(SideBranch(), torch.randn(2, 6), at=["norm"])
    net.train()(torch.randn(4, 6))
    assert net.taps["norm"].edge is None
    with opened(net.taps) as edges:
        net(torch.randn(4, 6))
    assert list(edges) == ["norm"]
    assert net.taps["norm"].edge is None


def test_jensen_shannon_sees_its_views():
    method = create_method("gjs", label_weight=0.3)
    made, phase, batches, clock = one_step(method)
    batch = batches["all"]
    assert phase.streams["all"].views == ("randaugment", "randaugment")
    assert not torch.equal(*batch.views)
    torch.manual_seed(0)
    step = method.step(made.nets, batches, phase, clock)
    torch.manual_seed(0)
    both = made.nets[0](torch.cat(batch.views)).logits
    expected = AF.jensen_shannon([both[:16], both[16:]], batch.labels, (0.3, 0.35, 0.35)).mean()
    torch.testing.assert_close(step.loss, expected)
    torch.testing.assert_close(step.seen[0].output.logits, both[:16])


def test_mixup_is_cross_entropy_with_mixed_targets():
    method = create_method("mixup")
    made, phase, batches, clock = one_step(method)
    batch, inputs = batches["all"], []
    handle = made.nets[0].backbone.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    logits = []
    made.nets[0].backbone.register_forward_hook(lambda module, given, found: logits.append(found))
    step = method.step(made.nets, batches, phase, clock)
    handle.remove()
    (mixed,) = step.mixed
    lam, order = mixed.lam[0], mixed.second
    assert sorted(order.tolist()) == list(range(16))
    assert 0 < lam < 1
    torch.testing.assert_close(inputs[0], lam * batch.views[0] + (1 - lam) * batch.views[0][order])
    hot = torch.eye(4)[batch.labels]
    expected = AF.soft_cross_entropy(logits[0], lam * hot + (1 - lam) * hot[order]).mean()
    torch.testing.assert_close(step.loss, expected)
    weighted = replace(batch, weight=torch.arange(16.0))
    step = method.step(made.nets, {"all": weighted}, phase, clock)
    lam, order = step.mixed[0].lam[0], step.mixed[0].second
    first = weighted.weight * AF.cross_entropy(logits[-1], batch.labels)
    second = weighted.weight[order] * AF.cross_entropy(logits[-1], batch.labels[order])
    torch.testing.assert_close(step.loss, (lam * first + (1 - lam) * second).mean())
    same = replace(batch, labels=torch.full((16,), 2))
    step = method.step(made.nets, {"all": same}, phase, clock)
    torch.testing.assert_close(step.loss, AF.cross_entropy(logits[-1], same.labels).mean())
    draws = []
    for seed in range(20):
        torch.manual_seed(seed)
        mixup = create_method("mixup", alpha=0.01)
        drawn = clock._replace(draws=mixup.draws(phase, clock))
        draws.append(mixup.step(made.nets, batches, phase, drawn).mixed[0].lam[0].item())
    assert sum(min(lam, 1 - lam) < 1e-3 for lam in draws) > 15, "alpha near 0: one sample of the pair"
    assert any(lam > 0.5 for lam in draws)
    assert any(lam < 0.5 for lam in draws)


def test_cdr_by_hand():
    """Gradient (1, -2, .5, .1), weights (.1, .2, -3, .05), tau .5: keeps the second and third, times 1 - tau."""
    net = nn.Linear(4, 1)
    method = create_method("cdr", noise_rate=0.5, decay="l2")

    def edited(method: Method) -> Tensor:
        net.weight.data = torch.tensor([[0.1, 0.2, -3.0, 0.05]])
        net.weight.grad, net.bias.grad = torch.tensor([[1.0, -2.0, 0.5, 0.1]]), torch.tensor([7.0])
        method.on_gradients(net, CLOCK)
        assert net.bias.grad.item() == 7.0
        return net.weight.grad[0]

    assert edited(method).tolist() == pytest.approx([0, -1, 0.25, 0])
    assert edited(create_method("cdr", noise_rate=0.0, decay="l2")).tolist() == pytest.approx([1, -2, 0.5, 0.1])
    net.weight.data = torch.tensor([[1.0, 1.0, 1.0, 2.0]])
    net.weight.grad = torch.tensor([[3.0, 3.0, 3.0, 3.0]])
    method.on_gradients(net, CLOCK)
    assert net.weight.grad[0].tolist() == [1.5] * 4, "ties with the threshold stay"
    edited(create_method("cdr", noise_rate=0.5, strength=0.01))
    before = net.weight.data.clone()
    torch.optim.SGD([net.weight], lr=0.1).step()
    shrunk = (before - net.weight.data)[0]
    assert shrunk[[0, 3]].tolist() == pytest.approx([0.1 * 0.01] * 2, abs=1e-7), (
        "non-critical weights shrink by lr * strength"
    )
    assert edited(create_method("cdr", noise_rate=0.5, strength=0.01)).tolist() == pytest.approx(
        [0.01, -0.99, 0.24, 0.01]
    )


def test_cdr_has_one_threshold_over_the_network_and_leaves_heads_alone():
    method = Alasca(create_method("cdr", noise_rate=0.6, decay="l2"))
    made, phase, batches, clock = one_step(method)
    torch.autograd.backward(method.step(made.nets, batches, phase, clock).loss)
    net = made.nets[0]
    heads = [parameter.grad.clone() for parameter in net.branches.parameters()]
    method.on_gradients(net.backbone, clock)
    weights = [p for p in net.backbone.parameters() if p.dim() >= 2]
    kept = sum(int(p.grad.count_nonzero()) for p in weights) / sum(p.numel() for p in weights)
    assert kept == pytest.approx(0.4, abs=0.01)
    shares = {float((p.grad != 0).double().mean()) for p in weights}
    assert len(shares) > 1, "one threshold for all layers"
    assert all(torch.equal(h, p.grad) for h, p in zip(heads, net.branches.parameters(), strict=True))


class Embedded(nn.Module):
    """Parameters that are no weights of linear or convolution layers."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.ones(3, 4))
        self.norm, self.conv, self.last = nn.BatchNorm1d(4), nn.Conv1d(3, 2, 1), nn.Linear(4, 2)


def test_cdr_ranks_weights_of_linear_and_convolution_layers_alone(monkeypatch: pytest.MonkeyPatch):
    net, method = Embedded(), create_method("cdr", noise_rate=0.9, decay="l2")
    grads = []
    for deterministic in (False, True):
        monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda now=deterministic: now)
        for k, parameter in enumerate(net.parameters()):
            parameter.grad = torch.linspace(1, 2, parameter.numel()).view(parameter.shape) + k
        before = [parameter.grad.clone() for parameter in net.parameters()]
        method.on_gradients(net, CLOCK)
        changed = [not torch.equal(p.grad, old) for p, old in zip(net.parameters(), before, strict=True)]
        names = [name for (name, _), was in zip(net.named_parameters(), changed, strict=True) if was]
        assert names == ["conv.weight", "last.weight"]
        grads.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
        assert sum(int(m.weight.grad.count_nonzero()) for m in (net.conv, net.last)) == 2
    assert torch.equal(*grads)
    method.on_gradients(nn.BatchNorm1d(3), CLOCK)


def test_class_strengths_by_hand():
    """Errors (.8, .2) and counts (1000, 4000) give strengths (1, .25)."""
    labels = torch.tensor([0] * 10 + [1] * 10)
    wrong = torch.tensor([1.0] * 8 + [0.0] * 2 + [1.0] * 2 + [0.0] * 8)
    found = class_strengths(wrong, labels, torch.tensor([1000, 4000]))
    assert found.tolist() == pytest.approx([1, 0.25], rel=1e-5)
    absent = class_strengths(wrong, labels, torch.tensor([1000, 4000, 0, 1000]))
    assert absent[2] == 0
    assert 0 < absent[3] < 1
    assert class_strengths(wrong * 0, labels, torch.tensor([5, 5])).tolist() == [0, 0]


def test_har_learns_strengths_from_counts_of_all_and_errors_of_the_rest():
    """Class 0 has 6 samples, 2 of them left out and both wrong; class 1 has 4, 3 left out and one wrong."""
    method = begun(create_method("har"), classes=2)
    assert method.stages(7) == [Stage(7, part=0.5), Stage(7, fresh=True)]
    rest = lambda net, fn: torch.tensor([1.0, 1, 1, 0, 0])  # noqa: E731
    rest.labels = torch.tensor([0, 0, 1, 1, 1])
    method.end_stage([None], SimpleNamespace(labels=torch.tensor([0, 0, 0, 0, 1]), rest=rest), CLOCK)
    strengths = torch.tensor([1.0 / 6**0.4, (1 / 3) ** 0.6 / 4**0.4])
    torch.testing.assert_close(method.tau, strengths / strengths.max())
    before = method.tau.clone()
    method.end_stage([None], SimpleNamespace(labels=None, rest=None), CLOCK)
    begun(method, classes=2)
    assert torch.equal(method.tau, before), "it survives the second stage's begin"
    net = SmallResNet(3, 4)
    norms = [name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert list(attached(net, torch.randn(2, 3, 16, 16)).taps) == norms[1:]


def linear_network() -> OutputNet:
    """A linear head on a layer whose output is the input: R is |V^T (p - e_y)|."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Identity(), nn.Linear(6, 4))
    return OutputNet(net, example=torch.randn(2, 6), num_classes=4)


def test_jacobian_of_a_linear_head():
    net, (_, batch) = linear_network(), toy()
    net.tap(["0"])
    x = torch.randn(6, 6, requires_grad=True)
    with opened(net.taps) as edges:
        output = net(x)
    loss = AF.cross_entropy(output.logits, batch.labels).sum()
    gradients = torch.autograd.grad(loss, list(edges.values()), create_graph=True)
    hot = torch.eye(4)[batch.labels]
    expected = ((output.logits.softmax(1) - hot) @ net.backbone[1].weight).norm(dim=1)
    torch.testing.assert_close(jacobian_norm(gradients, [None]), expected)


class TwoLayers(nn.Module):
    """Conv, BatchNorm, ReLU in place, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu_(self.norm(self.conv(x))).mean((2, 3)))


def test_har_penalty_and_its_second_order_gradient():
    """Against ``h`` made by hand, and finite differences, in float64 with BatchNorm in eval mode."""
    torch.manual_seed(0)
    net = TwoLayers().double()
    net.norm.weight.data, net.norm.bias.data = torch.tensor([0.5, 2.0, 1.5]).double(), torch.randn(3).double()
    x, labels = torch.randn(5, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    method = begun(create_method("har", weight=2.0), classes=4).double()
    method.tau.copy_(torch.tensor([1.0, 0.5, 0.25, 0.0]))
    wrapped = method.attach(OutputNet(net, example=x[:2], num_classes=4), Problem(5, 4, x[:2], 3, 0))
    wrapped.eval()
    batch = Batch((x,), labels, torch.arange(5), torch.ones(5, dtype=torch.float64))

    def loss(stage: int = 1) -> Tensor:
        return method.step([wrapped], {"all": batch}, None, CLOCK._replace(stage=stage)).loss

    normalised = (net.conv(x) - net.norm.running_mean.view(1, 3, 1, 1)) / (
        net.norm.running_var.view(1, 3, 1, 1) + net.norm.eps
    ).sqrt()
    scaled = net.norm.weight.view(1, 3, 1, 1) * normalised + net.norm.bias.view(1, 3, 1, 1)
    ce = AF.cross_entropy(net.last(scaled.relu().mean((2, 3))), labels)
    (by_hand,) = torch.autograd.grad(ce.sum(), normalised)
    norms = by_hand.flatten(1).norm(dim=1)
    torch.testing.assert_close(loss(), ce.mean() + 2.0 * (method.tau[labels] * norms).mean())
    torch.testing.assert_close(loss(0), ce.mean())
    method.weight = 0.0
    torch.testing.assert_close(loss(), ce.mean())
    method.weight = 2.0
    parameters = [net.conv.weight, net.norm.weight, net.last.weight]
    found = torch.autograd.grad(loss(), parameters)
    for parameter, gradient in zip(parameters, found, strict=True):
        flat = parameter.data.view(-1)
        for k in range(0, len(flat), 5):
            values = []
            for shift in (1e-6, -1e-6):
                flat[k] += shift
                values.append(loss().item())
                flat[k] -= shift
            assert (values[0] - values[1]) / 2e-6 == pytest.approx(gradient.flatten()[k].item(), abs=1e-6)


def test_har_measures_each_class_on_the_half_it_did_not_train_on():
    method = create_method("har")
    made = trained(method, planted(24), settings(2))
    assert [record["stage"] for record in made.state.history] == [0, 0, 1, 1]
    assert len(made.state.history) == made.epochs == 4
    tau = method.tau
    assert tau.max() == 1
    assert (tau >= 0).all()
    assert len(set(tau.tolist())) > 1
    with pytest.raises(InputError, match="no BatchNorm layer in LawNet; name modules"):
        trainer(create_method("har"), planted(), settings(1), net=lambda: LawNet(False)).fit()
    trained(create_method("har", at=["stage1"]), planted(), settings(1), net=lambda: LawNet(False))


class SideBranch(nn.Module):
    """BatchNorm on a side branch that the logits do not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.side, self.last = (
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.BatchNorm1d(8), nn.Linear(8, 4),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.first(x))
        self.side(h)
        return self.last(h)


def attached(net: nn.Module, example: Tensor, **options) -> OutputNet:
    wrapped = OutputNet(net, example=example)
    create_method("har", **options).attach(wrapped, Problem(8, wrapped.num_classes, example, 3, 0))
    return wrapped


def test_har_runs_on_networks_of_many_kinds_or_says_why_not():
    attached(SideBranch(), torch.randn(2, 6), at=["norm", "side"])
    tokens = torch.randint(20, (4, 7))
    net = attached(Encoder(), tokens, at=["encoder.layers.1"])
    norms = create_method("har").jacobian(net.train(), tokens, torch.tensor([0, 1, 2, 0]))[2]
    torch.autograd.backward(norms.sum())
    assert net.backbone.encoder.layers[2].self_attn.in_proj_weight.grad.abs().max() > 0
    frozen = SideBranch()
    for parameter in (*frozen.first.parameters(), *frozen.norm.parameters()):
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match="at: nothing that norm returns is trained"):
        attached(frozen, torch.randn(2, 6), at=["norm"])
    with pytest.raises(ValueError, match="no module 'nrom'; did you mean 'norm'"):
        attached(SideBranch(), torch.randn(2, 6), at=["nrom"])


def test_options_of_har_are_the_codes_scaling(monkeypatch: pytest.MonkeyPatch):
    gradients = [torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]])]
    assert jacobian_norm(gradients, [None, None]).item() == pytest.approx(5)
    assert jacobian_norm(gradients, [None, None], summed=True).item() == pytest.approx(7)
    assert jacobian_norm(gradients, [torch.tensor([2.0, 1.0]), None]).item() == pytest.approx(math.sqrt(52))
    steps = {}
    for scaled in (False, True):
        method = create_method("har", weight=1.0, batch_scaled=scaled)
        made, phase, batches, clock = one_step(method)
        torch.manual_seed(0)
        steps[scaled] = method.step(made.nets, batches, phase, clock).log["jacobian"]
    assert steps[False].item() == pytest.approx(16 * steps[True].item(), rel=1e-4)
    monkeypatch.setattr("alasca.methods.har.world", lambda: (0, 2))
    torch.manual_seed(0)
    halved = method.step(made.nets, batches, phase, clock).log["jacobian"]
    assert steps[True].item() == pytest.approx(2 * halved.item(), rel=1e-4), "the batch is that of all processes"
    norms = {}
    for norm in ("root", "sum"):
        method = create_method("har", norm=norm, at=("stage1.1", "stage2.1"))
        made, phase, batches, clock = one_step(method)
        torch.manual_seed(0)
        norms[norm] = method.step(made.nets, batches, phase, clock).log["jacobian"].item()
    assert norms["root"] < norms["sum"] <= math.sqrt(2) * norms["root"] * (1 + 1e-4), "of two layers"


def test_byot_by_hand():
    method = create_method("byot", alpha=0.3, temperature=2.0, feature_weight=0.1)
    made, phase, batches, clock = one_step(method)
    batch, net = batches["all"], made.nets[0]
    torch.manual_seed(0)
    step = method.step(made.nets, batches, phase, clock)
    torch.manual_seed(0)
    output = net(batch.views[0])
    expected = AF.cross_entropy(output.logits, batch.labels)
    teacher = (output.logits / 2).softmax(1)
    for logits, feature in zip(output.aux, output.aux_features, strict=True):
        kl = (teacher * (teacher.log() - (logits / 2).log_softmax(1))).sum(1)
        distance = (feature - output.feature).square().sum(1)
        expected = expected + 0.7 * AF.cross_entropy(logits, batch.labels) + 0.3 * kl + 0.1 * distance
    torch.testing.assert_close(step.loss, expected.mean())
    assert [feature.shape[1] for feature in output.aux_features] == [net.classifier.in_features] * len(output.aux)


def test_byot_teaches_without_moving_the_teacher():
    """The gradient at the deepest classifier is that of its own cross-entropy."""
    method = create_method("byot", alpha=0.9, feature_weight=1.0)
    made, phase, batches, clock = one_step(method)
    net, batch = made.nets[0], batches["all"]
    deepest = [net.classifier.weight, net.backbone.stage2[0].weight]  # sub-classifiers hang on stage 1
    torch.manual_seed(0)
    found = torch.autograd.grad(method.step(made.nets, batches, phase, clock).loss, deepest)
    torch.manual_seed(0)
    own = torch.autograd.grad(AF.cross_entropy(net(batch.views[0]).logits, batch.labels).mean(), deepest)
    torch.testing.assert_close(found, own)
    plain = create_method("byot", alpha=0.0, feature_weight=0.0)
    torch.manual_seed(0)
    loss = plain.step(made.nets, batches, phase, clock).loss
    torch.manual_seed(0)
    output = net(batch.views[0])
    sums = sum(AF.cross_entropy(z, batch.labels) for z in (output.logits, *output.aux)).mean()
    torch.testing.assert_close(loss, sums)


def test_byot_masks_entries_where_neither_feature_is_positive():
    method = create_method("byot", masked_features=True)
    student, teacher = torch.tensor([[-1.0, -2.0, 3.0]]), torch.tensor([[-3.0, 1.0, -1.0]])
    assert method.distance(student, teacher).item() == pytest.approx(9 + 16)
    assert create_method("byot").distance(student, teacher).item() == pytest.approx(4 + 9 + 16)


def test_one_by_hand_and_with_identical_branches():
    method = create_method("one", temperature=2.0)
    made, phase, batches, clock = one_step(method)
    batch, net = batches["all"], made.nets[0]
    torch.manual_seed(0)
    step = method.step(made.nets, batches, phase, clock)
    torch.manual_seed(0)
    output = net(batch.views[0])
    (shown,) = output.shown
    gates = method.gate.layers(shown).softmax(1)
    torch.testing.assert_close(gates.sum(1), torch.ones(16))
    logits = [output.logits, *output.aux]
    assert not torch.allclose(logits[0], logits[1])
    ensemble = sum(gates[:, k : k + 1] * z for k, z in enumerate(logits))
    expected = AF.cross_entropy(ensemble, batch.labels)
    for z in logits:
        teacher = (ensemble / 2).softmax(1)
        kl = (teacher * (teacher.log() - (z / 2).log_softmax(1))).sum(1)
        expected = expected + AF.cross_entropy(z, batch.labels) + 4 * kl
    torch.testing.assert_close(step.loss, expected.mean())
    same = output._replace(aux=(output.logits, output.logits))
    loss = method.step([lambda x: same], batches, phase, clock).loss
    torch.testing.assert_close(loss, 4 * AF.cross_entropy(output.logits, batch.labels).mean())


def test_one_distils_without_moving_the_gate():
    method = create_method("one")
    made, phase, batches, clock = one_step(method)
    gate, batch = method.gate.layers[0].weight, batches["all"]
    found = []
    for temperature in (1.0, 50.0):
        torch.manual_seed(0)
        method.temperature = temperature
        found.append(torch.autograd.grad(method.step(made.nets, batches, phase, clock).loss, gate)[0])
    torch.testing.assert_close(found[0], found[1])
    assert found[0].abs().max() > 0
    assert create_method("one", ramp=80).weight(Clock.at(0, 0, 100, 0, 1)) == pytest.approx(math.exp(-5))
    assert create_method("one", ramp=80).weight(Clock.at(0, 40, 100, 0, 1)) == pytest.approx(math.exp(-1.25))
    assert create_method("one", ramp=80).weight(Clock.at(0, 90, 100, 0, 1)) == 1
    assert len(batch.labels) == 16


@pytest.mark.parametrize(
    ("make", "example", "place"),
    [
        (lambda: torchvision.models.resnet18(num_classes=3), torch.randn(2, 3, 64, 64), "layer3"),
        (lambda: SmallResNet(3, 3), torch.randn(2, 3, 16, 16), None),
        (lambda: Perceptron(6, 3), torch.randn(2, 6), None),
        (Encoder, torch.randint(20, (2, 7)), "encoder.layers.2"),
    ],
)
def test_tails_are_what_follows_a_module(make, example: Tensor, place: str | None):
    """Each tail starts from the trunk's output; with the network's own weights it gives its logits."""
    net = OutputNet(make(), example=example, num_classes=3)
    before = {name: value.clone() for name, value in net.backbone.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    net.replicate(place, 2, example, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, net.backbone.state_dict()[name]) for name, value in before.items())
    if place is not None:
        assert net.places == [place] * 2
    own = sum(p.numel() for p in net.backbone.parameters())
    for branch in net.branches:
        assert 0 < sum(p.numel() for p in branch.parameters()) < own
        tail = dict(branch.head.net.named_parameters())
        for name, value in tail.items():
            assert value.shape == net.backbone.get_parameter(name).shape
    net.eval()
    net.heads_in_eval = True
    for branch in net.branches:
        for name, value in branch.head.net.state_dict().items():
            value.copy_(net.backbone.state_dict()[name])
    output = net(example)
    for logits in output.aux:
        torch.testing.assert_close(logits, output.logits, rtol=1e-4, atol=1e-5)


class Placed(nn.Module):
    """A position embedding on the root, and attention, whose in_proj_weight has no reset_parameters()."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, 7, 16))
        self.net = Encoder()

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.net.embed(tokens) + self.position
        for layer in self.net.encoder.layers:
            hidden = layer(hidden)
        return self.net.classifier(hidden.mean(1))


def test_branches_start_anew_and_hold_nothing_that_is_not_trained():
    """DDP waits for every parameter that asks for a gradient."""
    tokens = torch.randint(20, (4, 7))
    net = OutputNet(Placed(), example=tokens)
    net.replicate("net.encoder.layers.1", 2, tokens)
    output = net.train()(tokens)
    torch.autograd.backward(output.aux[0].sum() + output.aux[1].sum() + output.logits.sum())
    for parameter in net.parameters():
        assert (parameter.grad is not None) == parameter.requires_grad
    tails = [dict(branch.head.net.named_parameters()) for branch in net.branches]
    assert not tails[0]["position"].requires_grad
    own = dict(net.backbone.named_parameters())
    for name, value in tails[0].items():
        if value.requires_grad and value.dim() > 1:
            assert not torch.equal(value, own[name]), name
            assert not torch.equal(value, tails[1][name]), name


class Skipping(nn.Module):
    """Reads its input again at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x) + x)


def test_a_tail_that_needs_more_than_its_trunk_is_refused():
    net = OutputNet(Skipping(), example=torch.randn(2, 6), num_classes=3)
    with pytest.raises(ValueError, match="what follows module 'first'"):
        net.replicate("first", 1, torch.randn(2, 6))


@pytest.mark.parametrize("name", ["byot", "one"])
def test_methods_with_branches_cannot_be_wrapped(name: str):
    with pytest.raises(InputError, match="attaches classifiers of its own to intermediate layers: it can't be wrapped"):
        Alasca(create_method(name))


def test_the_main_classifier_is_not_corrected_by_itself():
    method = Alasca(create_method("ce"), smooths="main", warmup=0)
    made, _, batches, _ = one_step(method)
    output = made.nets[0](batches["all"].views[0])
    objective = method.objectives[0]
    given = torch.zeros(16, dtype=torch.int64)
    targets = objective.targets(output._replace(aux=(output.logits,)), given, batches["all"].index, 9)
    assert torch.equal(targets.labels, given)
    with pytest.raises(InputError, match="need sub-classifiers"):
        Alasca(create_method("ce"), smooths="main", at="stage1")
    with pytest.raises(ValueError, match="confidence_from"):
        Alasca(create_method("ce"), confidence_from=True)


def test_adaptive_and_uniform_smoothing_of_either_classifier():
    """Table 9's parts, as options of the one wrapper, by hand."""
    for options, gamma in (
        ({"confidence_from": 0.7, "warmup": None}, lambda z, y: torch.full((16,), 0.7)),
        ({"momentum": 0.0, "temperature": 1.0, "warmup": None}, lambda z, y: AF.confidence(z, y, 1.0)),
    ):
        for smooths in ("sub", "main"):
            method = Alasca(create_method("ce"), smooths=smooths, **options)
            made, phase, batches, clock = one_step(method)
            batch, net = batches["all"], made.nets[0]
            assert bool(len(net.branches)) == (smooths == "sub")
            torch.manual_seed(0)
            step = method.step(made.nets, batches, phase, clock)
            torch.manual_seed(0)
            output = net(batch.views[0])
            heads = output.aux if smooths == "sub" else (output.logits,)
            g = gamma(output.logits, batch.labels)
            penalty = sum(AF.smoothed_cross_entropy(z, batch.labels, g) for z in heads).mean()
            torch.testing.assert_close(step.loss, AF.cross_entropy(output.logits, batch.labels).mean() + 2 * penalty)


def test_an_active_loss_may_stand_alone():
    logits, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    batch = Batch((logits,), labels, torch.arange(5), torch.ones(5))
    torch.testing.assert_close(create_method("apl", beta=0.0).loss(logits, batch, CLOCK), AF.nce(logits, labels))


WRONG = [
    ("mae", {"scale": 0.0}), ("gce", {"q": 0.0}), ("gce", {"q": 2.0}), ("truncated_gce", {"k": 1.0}),
    ("truncated_gce", {"every": 0}),
    ("sce", {"alpha": -1.0}), ("sce", {"log_zero": 1.0}), ("sce", {"log_zero": 0.0}),
    ("apl", {"active": "ce"}), ("apl", {"beta": -1.0}),
    ("agce", {"alpha": -1.0}), ("aul", {"a": 1.0}), ("agce", {"q": 0.0}), ("gjs", {"label_weight": 1.0}),
    ("gjs", {"num_views": 0}), ("gjs", {"view": "plain"}), ("bootstrapping", {"beta": 2.0}), ("elr", {"beta": 1.0}),
    ("elr", {"lam": -1.0}), ("lsr", {"alpha": 2.0}), ("lsr", {"off_target": "x"}), ("als", {"scale": "x"}),
    ("als", {"warmup": -1}), ("tf_kd", {"a": 0.0}), ("tf_kd", {"temperature": 0.0}), ("mixup", {"alpha": 0.001}),
    ("har", {"weight": -1.0}), ("har", {"norm": "x"}), ("cdr", {"noise_rate": 1.0}), ("cdr", {"decay": "l3"}),
    ("cdr", {"strength": -1.0}), ("byot", {"alpha": 2.0}), ("byot", {"predict": "x"}),
    ("byot", {"feature_weight": -1.0}),
    ("coteaching", {"noise_rate": 1.0}), ("coteaching", {"warmup": -1}), ("coteaching", {"ramp": 0}),
    ("crust", {"fraction": 0.0}), ("crust", {"selection": "x"}), ("crust", {"start": -1}), ("fine", {"threshold": 1.0}),
    ("fine", {"every": 0}), ("decoupling", {"floor": 0.0}), ("decoupling", {"warmup": -1}),
    ("dividemix", {"lambda_u": -1.0}), ("dividemix", {"threshold": 1.0}), ("dividemix", {"temperature": 0.0}),
    ("dividemix", {"ramp": 0}), ("elr_plus", {"beta": 1.0}), ("elr_plus", {"decay": 1.0}),
    ("elr_plus", {"decay_steps": 0}), ("jocor", {"co_lambda": 2.0}), ("jocor", {"noise_rate": -0.1}),
    ("one", {"at": ""}), ("one", {"branches": 1}), ("one", {"temperature": 0.0}), ("one", {"ramp": -1}),
    ("one", {"predict": "x"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), WRONG, ids=str)
def test_options_out_of_range_name_the_option(name: str, options: dict):
    option = list(options)[-1]
    with pytest.raises(ValueError, match=rf"\b{option}\b.*expected"):
        method_class(name)(**options)
    with pytest.raises(InputError, match=rf"^option .*{option}"):
        create_method(name, **options)


@pytest.mark.parametrize("name", list_methods())
def test_numbers_that_are_none_are_refused(name: str):
    hints = inspect.signature(method_class(name)).parameters
    for option in option_names(method_class(name)):
        if isinstance(hints[option].default, float):
            for number in (float("nan"), float("inf"), -float("inf")):
                with pytest.raises(InputError, match=option):
                    create_method(name, **{option: number})
            with pytest.raises(InputError, match=f"{option}: 'x', expected a number"):
                create_method(name, **{option: "x"})


@pytest.mark.parametrize("name", list_methods())
def test_presets_are_options_with_a_source(name: str):
    cls = method_class(name)
    assert cls.presets[-1].data == "default" or name == "bootstrapping"
    assert "default" in {preset.data for preset in cls.presets}
    assert len({preset.data for preset in cls.presets}) == len(cls.presets)
    for preset in cls.presets:
        assert preset.source
        assert isinstance(create_method(name, **preset_options(name, preset.data)), cls)
    with pytest.raises(InputError, match="has no preset 'mars'; expected one of"):
        preset_options(name, "mars")
    for option in cls.epoch_options:
        assert fits(inspect.signature(cls).parameters[option].default, int)


def test_labels_outside_the_classes_are_refused_where_data_enter(tmp_path):
    import numpy as np

    np.savez(tmp_path / "t.npz", x=np.zeros((4, 2)), y=np.array([0, 1, 5, 1]), classes=np.array(["a", "b"]))
    with pytest.raises(InputError, match="row 2: y is 5, expected 0 to 1"):
        read(f"npz:{tmp_path / 't.npz'}")


def test_no_step_waits_for_a_device():
    """Operators that read a value back, over one step of every method, bare and wrapped."""
    from alasca.testing.ranks import registered
    from test_criterion import Operators

    for name, make in registered().items():
        method = make()
        made, phase, batches, clock = one_step(method)
        with Operators() as operators:
            torch.autograd.backward(method.step(made.nets, batches, phase, clock).loss)
            for k in phase.train:
                method.on_gradients(unwrapped(made.nets[k]).backbone, clock)
        assert not operators.waits, f"{name}: {operators.waits}"


def test_trainer_runs_all_stages():
    made = trained(create_method("har"), planted(), settings(1))
    assert [record["stage"] for record in made.state.history] == [0, 1]


@pytest.mark.parametrize("summed", [False, True])
def test_jacobian_norms_have_a_gradient_at_zero(summed: bool):
    zero = torch.zeros(2, 3, requires_grad=True)
    torch.autograd.backward(jacobian_norm([zero, zero], [None, None], summed).sum())
    assert zero.grad.isfinite().all()


def test_truncated_gce_says_what_it_kept():
    made = trained(create_method("truncated_gce", k=0.3, start=1, every=1), planted(), settings(3))
    kept = made.job.method.get_buffer("kept")
    assert 0 < kept.sum() < len(kept)
    selection = made.job.method.selected()
    assert selection is not None
    assert torch.equal(selection.kept, kept[:, None])


def test_every_process_gets_the_statistics_of_the_gate_of_one(monkeypatch: pytest.MonkeyPatch):
    """Each has seen samples of its own."""
    sent: list[nn.Module] = []
    monkeypatch.setattr("alasca.methods.one.broadcast_buffers", sent.extend)
    made = trained(create_method("one"), planted(), settings(1))
    assert sent
    assert all(each is made.job.method.gate for each in sent)
