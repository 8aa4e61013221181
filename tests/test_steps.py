"""One whole step of every method, loss and gradient, by arithmetic that shares no line with the package."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alasca import Alasca, create_method, list_methods
from alasca.core import Batch, Clock, LossMethod, Method, Phase, Problem, Seen, Step, Stream, backbone
from alasca.engine import Workbench
from alasca.methods import method_class
from alasca.testing import LawNet, job, one_step, planted, settings, trained

K = 5
LOG_ZERO = math.log(1e-4)


def nce(log_p: Tensor, y: Tensor) -> Tensor:
    return log_p[range(len(y)), y] / log_p.sum(1)


def ce(log_p: Tensor, y: Tensor) -> Tensor:
    return -log_p[range(len(y)), y]


def py(log_p: Tensor, y: Tensor) -> Tensor:
    return log_p.exp()[range(len(y)), y]


def elr(log_p: Tensor, y: Tensor, z: Tensor) -> Tensor:
    p = log_p.exp().clamp(1e-4, 1 - 1e-4)
    seen = 0.3 * (p / p.sum(1, keepdim=True)).detach()
    return ce(log_p, y) + 3 * (1 - (p * seen).sum(1)).log()


def teacher_free(log_p: Tensor, y: Tensor, z: Tensor) -> Tensor:
    made = torch.full_like(z, 0.01 / (K - 1)).scatter(1, y[:, None], 0.99)
    soft, own = (made.log() / 20).softmax(1), (z / 20).log_softmax(1)
    return 0.9 * ce(log_p, y) + 0.1 * (soft * (soft.log() - own)).sum(1)


def teacher_free_code(log_p: Tensor, y: Tensor, z: Tensor) -> Tensor:
    made = torch.full_like(z, 0.01 / (K - 1)).scatter(1, y[:, None], 0.99)
    soft = (made / 20).softmax(1)
    return 0.9 * ce(log_p, y) + 0.1 * 100 / K * (soft * (soft.log() - log_p)).sum(1)


def smoothing(log_p: Tensor, y: Tensor, z: Tensor) -> Tensor:
    sure = py(log_p, y).detach()
    return sure * ce(log_p, y) - (1 - sure) * log_p.mean(1)


FORMULAS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "ce": lambda g, y, z: ce(g, y),
    "early_stopping": lambda g, y, z: ce(g, y),
    "cdr": lambda g, y, z: ce(g, y),
    "lsr": lambda g, y, z: 0.5 * ce(g, y) - 0.5 * g.mean(1),
    "als": smoothing,
    "apl": lambda g, y, z: nce(g, y) - LOG_ZERO * (1 - py(g, y)),
    "sce": lambda g, y, z: 0.1 * ce(g, y) - LOG_ZERO * (1 - py(g, y)),
    "mae": lambda g, y, z: 2 * (1 - py(g, y)),
    "gce": lambda g, y, z: (1 - py(g, y) ** 0.7) / 0.7,
    "truncated_gce": lambda g, y, z: (1 - py(g, y) ** 0.7) / 0.7,
    "agce": lambda g, y, z: nce(g, y) + 4 * (7**1.5 - (6 + py(g, y)) ** 1.5) / 1.5,
    "aul": lambda g, y, z: nce(g, y) + 4 * ((6.3 - py(g, y)) ** 1.5 - 5.3**1.5) / 1.5,
    "ael": lambda g, y, z: nce(g, y) + 4 * (-py(g, y) / 5).exp(),
    "bootstrapping": lambda g, y, z: 0.95 * ce(g, y) - 0.05 * (g.exp() * g).sum(1),
    "elr": elr,
    "tf_kd": teacher_free,
    "tf_kd_code": teacher_free_code,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_losses_of_one_network(name: str):
    torch.manual_seed(0)
    z = torch.randn(6, K, dtype=torch.float64, requires_grad=True)
    y, index = torch.tensor([0, 4, 2, 1, 1, 3]), torch.arange(6)
    weight = torch.tensor([1.0, 2.0, 0.5, 1.0, 0.0, 3.0], dtype=torch.float64)
    method = create_method(name)
    method.begin([], Problem(6, K, torch.zeros(2, 1), 60, 0))
    batch = Batch((torch.zeros(6, 1),), y, index, weight)

    def net(x: Tensor) -> Any:
        from alasca.core import Output

        return Output(z)

    step = method.step([net], {"all": batch}, Phase((0,), {"all": Stream()}), Clock.at(0, 59, 60))
    expected = (weight * FORMULAS[name](z.log_softmax(1), y, z)).mean()
    torch.testing.assert_close(step.loss, expected, rtol=1e-6, atol=1e-8)
    for ours, theirs in zip(torch.autograd.grad(step.loss, z), torch.autograd.grad(expected, z), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)


def test_every_method_has_a_whole_step_here():
    here = {*FORMULAS, *(name.removeprefix("test_step_of_") for name in globals() if name.startswith("test_step_of_"))}
    elsewhere = {"har"}  # tests/test_methods.py: its penalty has a second derivative, taken by hand there
    assert here | elsewhere >= set(list_methods())
    assert all(issubclass(method_class(name), LossMethod) for name in FORMULAS)


def parameters(nets: Sequence[nn.Module]) -> list[nn.Parameter]:
    return [parameter for net in nets for parameter in net.parameters() if parameter.requires_grad]


def compare(method: Method, expected: Callable[..., Tensor], late: int = 3, **options: Any) -> Step:
    """A step of a method against `expected(nets, batches, clock, method as it was)`, both from the same draws."""
    bench, phase, batches, clock = one_step(method, epoch=late, **options)
    before, nets = copy.deepcopy(method), copy.deepcopy(bench.nets)
    torch.manual_seed(5)
    step = method.step(bench.nets, batches, phase, clock)
    torch.manual_seed(5)
    loss = expected(nets, batches, clock, before)
    torch.testing.assert_close(step.loss, loss, rtol=1e-5, atol=1e-6)
    ours = torch.autograd.grad(step.loss, parameters(bench.nets), allow_unused=True)
    theirs = torch.autograd.grad(loss, parameters(nets), allow_unused=True)
    for own, other in zip(ours, theirs, strict=True):
        assert (own is None) == (other is None)
        if own is not None:
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)
    return step


def small(losses: Tensor, keep: int) -> Tensor:
    return losses.detach().argsort(stable=True)[:keep]


def test_step_of_coteaching():
    """Each learns from the 11 of 16 that are easiest for the other."""

    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        batch = batches["all"]
        losses = [F.cross_entropy(net(batch.views[0]).logits, batch.labels, reduction="none") for net in nets]
        return losses[0][small(losses[1], 11)].mean() + losses[1][small(losses[0], 11)].mean()

    compare(create_method("coteaching", noise_rate=0.3, warmup=0, ramp=1), expected)


def test_step_of_coteaching_plus():
    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        batch = batches["all"]
        logits = [net(batch.views[0]).logits for net in nets]
        rows = (logits[0].argmax(1) != logits[1].argmax(1)).nonzero()[:, 0]
        assert 2 < len(rows) < 16
        losses = [F.cross_entropy(z[rows], batch.labels[rows], reduction="none") for z in logits]
        keep = math.floor(0.7 * len(rows) + 1e-6)
        return losses[0][small(losses[1], keep)].mean() + losses[1][small(losses[0], keep)].mean()

    compare(create_method("coteaching_plus", noise_rate=0.3, warmup=0, ramp=1), expected)


def test_step_of_jocor():
    """The joint loss of the 8 of 16 whose joint loss is smallest: a mean over these, not over all."""

    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        batch = batches["all"]
        g = [net(batch.views[0]).logits.log_softmax(1) for net in nets]
        cross = ce(g[0], batch.labels) + ce(g[1], batch.labels)
        apart = (g[0].exp() * (g[0] - g[1])).sum(1) + (g[1].exp() * (g[1] - g[0])).sum(1)
        losses = 0.3 * cross + 0.7 * apart
        return losses[small(losses, 8)].mean()

    compare(create_method("jocor", co_lambda=0.7, noise_rate=0.5, warmup=0, ramp=1), expected)


def test_step_of_decoupling():
    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        batch = batches["all"]
        logits = [net(batch.views[0]).logits for net in nets]
        rows = logits[0].argmax(1) != logits[1].argmax(1)
        assert 2 <= int(rows.sum()) < 16
        return sum(F.cross_entropy(z[rows], batch.labels[rows]) for z in logits)

    compare(create_method("decoupling", warmup=0), expected)


def test_step_of_fine():
    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        return F.cross_entropy(nets[0](batches["all"].views[0]).logits, batches["all"].labels)

    compare(create_method("fine", warmup=1, every=1), expected)


def test_step_of_crust():
    """lam of the medoid, 1 - lam of its partner; the medoid's label and weight."""

    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        medoid, partner, lam = batches["coreset"], batches["partners"], clock.draws["lam"]
        assert not torch.equal(medoid.weight, torch.ones(16))
        logits = nets[0](lam * medoid.views[0] + (1 - lam) * partner.views[0]).logits
        losses = F.cross_entropy(logits, medoid.labels, reduction="none")
        return (medoid.weight * losses).sum() / medoid.weight.sum()

    method = create_method("crust", start=0)
    method.draws = lambda phase, clock: {"lam": torch.tensor(0.7)}  # type: ignore[method-assign]  # Beta(1, 0.1) is near 1
    compare(method, expected, noise=32)


def test_step_of_mixup():
    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        batch, lam = batches["all"], clock.draws["lam"]
        order = torch.randperm(16)
        x = batch.views[0]
        logits = nets[0](lam * x + (1 - lam) * x[order]).logits
        return lam * F.cross_entropy(logits, batch.labels) + (1 - lam) * F.cross_entropy(logits, batch.labels[order])

    compare(create_method("mixup"), expected)


def test_step_of_gjs():
    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        batch = batches["all"]
        first, second = nets[0](torch.cat(batch.views)).logits.softmax(1).chunk(2)
        hot = F.one_hot(batch.labels, 4).float()
        middle = 0.3 * hot + 0.35 * first + 0.35 * second
        own = -0.3 * middle[range(16), batch.labels].log()
        parts = [0.35 * (p * (p / middle).log()).sum(1) for p in (first, second)]
        return (own + parts[0] + parts[1]).mean() / -(0.7 * math.log(0.7))

    compare(create_method("gjs"), expected)


def test_step_of_byot():
    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        batch = batches["all"]
        output = nets[0](batch.views[0])
        loss = F.cross_entropy(output.logits, batch.labels)
        teacher = (output.logits.detach() / 2).softmax(1)
        for z, feature in zip(output.aux, output.aux_features, strict=True):
            apart = (teacher * (teacher.log() - (z / 2).log_softmax(1))).sum(1).mean()
            distance = (feature - output.feature.detach()).square().sum(1).mean()
            loss = loss + 0.7 * F.cross_entropy(z, batch.labels) + 0.3 * 4 * apart + 0.2 * distance
        return loss

    compare(create_method("byot", alpha=0.3, temperature=2.0, feature_weight=0.2, t_squared=True), expected)


def test_step_of_one():
    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        batch = batches["all"]
        output = nets[0](batch.views[0])
        gates = before.gate.train().layers(output.shown[0]).softmax(1)
        branches = [output.logits, *output.aux]
        ensemble = sum(gates[:, k, None] * z for k, z in enumerate(branches))
        teacher, weight = (ensemble.detach() / 3).softmax(1), math.exp(-5 * 0.5**2)
        loss = F.cross_entropy(ensemble, batch.labels)
        for z in branches:
            apart = (teacher * (teacher.log() - (z / 3).log_softmax(1))).sum(1).mean()
            loss = loss + F.cross_entropy(z, batch.labels) + weight * 9 * apart
        return loss

    compare(create_method("one", ramp=6), expected)


def test_step_of_dividemix():
    """Labelled cross-entropy, lambda_u times the unlabelled squares, and the prior: on MixMatch's mixed rows."""

    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        k = 1
        clean, noisy, lam = batches["clean"], batches["noisy"], clock.draws["lam"]
        size, count = len(clean.labels), len(noisy.labels)
        views = [*clean.views, *noisy.views]
        with torch.no_grad():
            own = nets[k](torch.cat(views)).logits.softmax(1).split([size, size, count, count])
            peer = nets[1 - k].eval()(torch.cat(noisy.views)).logits.softmax(1).split(count)
        nets[1 - k].train()
        w, hot = clean.weight[:, None], F.one_hot(clean.labels, 4)
        refined = (w * hot + (1 - w) * (own[0] + own[1]) / 2) ** 2
        guessed = ((own[2] + own[3] + peer[0] + peer[1]) / 4) ** 2
        refined, guessed = (t / t.sum(1, keepdim=True) for t in (refined, guessed))
        targets = torch.cat([refined, refined, guessed, guessed])
        x = torch.cat(views)
        order = torch.randperm(len(x))
        logits = nets[k](lam * x + (1 - lam) * x[order]).logits
        mixed = lam * targets + (1 - lam) * targets[order]
        p, half = logits.softmax(1), 2 * size
        labelled = -(mixed[:half] * logits[:half].log_softmax(1)).sum(1).mean()
        unlabelled = (p[half:] - mixed[half:]).square().mean()
        prior = (0.25 * (0.25 / p.mean(0)).log()).sum()
        return labelled + 30.0 * 0.5 * unlabelled + prior

    method = create_method("dividemix", warmup=1, ramp=4, lambda_u=30.0)
    step = compare(method, expected, noise=32)
    assert [seen.net for seen in step.seen] == [1, 1]


def test_dividemix_penalises_sure_predictions_in_its_warm_up():
    """Asymmetric noise: the mean of sum p log p is added, the negative entropy."""

    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        log_p = nets[1](batches["all"].views[0]).logits.log_softmax(1)
        return ce(log_p, batches["all"].labels).mean() + (log_p.exp() * log_p).sum(1).mean()

    compare(create_method("dividemix", warmup=9, penalty=True), expected)


def test_step_of_elr_plus():
    """The memory averages the *peer's* averaged network on unmixed pictures."""

    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        k, batch, lam = 1, batches["all"], clock.draws["lam"]
        with torch.no_grad():
            seen = 0.3 * before.averages[0].net.train()(batch.views[0]).softmax(1)
            own = 0.3 * before.averages[1].net(batch.views[0]).softmax(1)
            assert not torch.allclose(seen, own)
        order = torch.randperm(16)
        x, hot = batch.views[0], F.one_hot(batch.labels, 4).float()
        logits = nets[k](lam * x + (1 - lam) * x[order]).logits
        target, q = (lam * t + (1 - lam) * t[order] for t in (hot, seen))
        wanted = target * q / (target * q).sum(1, keepdim=True)
        p = logits.softmax(1).clamp(1e-4, 1 - 1e-4)
        regular = math.exp(-5 * (1 - 1 / 4) ** 2) * 3 * (1 - (p * q).sum(1)).log()
        return (-(wanted * logits.log_softmax(1)).sum(1) + regular).mean()

    method = create_method("elr_plus", reweight=True, ramp_steps=4)
    quiet = {"net": lambda: LawNet(False)}
    bench = Workbench(job(method, planted(8), settings(4), **quiet))
    clock = Clock.at(0, 3, 4, 0, 4)
    phase = bench.plan(clock)[1]
    batches = next(bench.batches(phase))
    clock = clock._replace(draws={"lam": torch.tensor(0.8)})
    before, nets = copy.deepcopy(method), copy.deepcopy(bench.nets)
    torch.manual_seed(5)
    step = method.step(bench.nets, batches, phase, clock)
    torch.manual_seed(5)
    loss = expected(nets, batches, clock, before)
    torch.testing.assert_close(step.loss, loss, rtol=1e-5, atol=1e-6)
    ours = torch.autograd.grad(step.loss, parameters(bench.nets), allow_unused=True)
    theirs = torch.autograd.grad(loss, parameters(nets), allow_unused=True)
    assert [own is None for own in ours] == [other is None for other in theirs]
    for own, other in zip(ours, theirs, strict=True):
        if own is not None:
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def penalty(aux: Any, y: Tensor, gamma: Tensor) -> Tensor:
    """Two times the sum over sub-classifiers of CE with ``gamma e_y + (1 - gamma) / K``."""
    parts = [gamma * ce(q.log_softmax(1), y) - (1 - gamma) * q.log_softmax(1).mean(1) for q in aux]
    return 2 * sum(parts)


def test_alasca_around_cross_entropy_with_correction():
    """First visit: z = 0.3 logits, gamma = softmax(3 z)_y^; where main and sub-classifier agree, y^ is theirs."""

    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        batch = batches["all"]
        output = nets[0](batch.views[0])
        main, deep = output.logits.detach().argmax(1), output.aux[-1].detach().argmax(1)
        y = torch.where(main == deep, main, batch.labels)
        assert bool((y != batch.labels).any())
        gamma = (0.9 * output.logits.detach()).softmax(1)[range(16), y]
        return F.cross_entropy(output.logits, batch.labels) + penalty(output.aux, y, gamma).mean()

    compare(Alasca(create_method("ce"), warmup=1), expected)


def test_alasca_around_mixup_smooths_each_picture_for_itself():
    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        batch, lam = batches["all"], clock.draws["lam"]
        order = torch.randperm(16)
        x, y = batch.views[0], batch.labels
        mixed = nets[0](lam * x + (1 - lam) * x[order])
        loss = lam * F.cross_entropy(mixed.logits, y) + (1 - lam) * F.cross_entropy(mixed.logits, y[order])
        with torch.no_grad():
            plain = nets[0](x).logits
        gamma = (0.9 * plain).softmax(1)[range(16), y]
        first, second = penalty(mixed.aux, y, gamma), penalty(mixed.aux, y[order], gamma[order])
        return loss + (lam * first + (1 - lam) * second).mean()

    step = compare(Alasca(create_method("mixup"), warmup=None), expected)
    assert [seen.net for seen in step.seen] == [0], "the plain forward is told, and not thrown away"


def test_alasca_around_crust_smooths_medoid_and_partner_each_for_itself():
    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        medoid, partner, lam = batches["coreset"], batches["partners"], clock.draws["lam"]
        mixed = nets[0](lam * medoid.views[0] + (1 - lam) * partner.views[0])
        losses = F.cross_entropy(mixed.logits, medoid.labels, reduction="none")
        table, rows = torch.zeros(80, 4), []
        for batch in (medoid, partner):  # a sample that comes twice is averaged twice; twice in one batch, by its mean
            with torch.no_grad():
                plain = nets[0](batch.views[0]).logits
            for k in batch.index.unique():
                table[k] = 0.7 * table[k] + 0.3 * plain[batch.index == k].mean(0)
        for batch in (medoid, partner):
            gamma = (3 * table[batch.index]).softmax(1)[range(16), batch.labels]
            rows.append(penalty(mixed.aux, batch.labels, gamma))
        assert not torch.allclose(*rows)
        both = lam * rows[0] + (1 - lam) * rows[1]
        return (medoid.weight * losses).sum() / medoid.weight.sum() + both.mean()

    inner = create_method("crust", start=0)
    inner.draws = lambda phase, clock: {"lam": torch.tensor(0.7)}  # type: ignore[method-assign]  # as above
    compare(Alasca(inner, warmup=None), expected, noise=32)


def test_alasca_with_rest_adds_what_was_left_out():
    """The penalty is a mean over the rows of the method's own batch and of the rest."""

    def expected(nets: Any, batches: Any, clock: Any, before: Any) -> Tensor:
        own, rest = batches["all"], batches["rest"]
        first = nets[0](own.views[0])
        second = nets[0](rest.views[0])
        rows = []
        for output, batch in ((first, own), (second, rest)):
            gamma = (0.9 * output.logits.detach()).softmax(1)[range(len(batch.labels)), batch.labels]
            rows.append(penalty(output.aux, batch.labels, gamma))
        return F.cross_entropy(first.logits, own.labels) + torch.cat(rows).mean()

    method = Alasca(create_method("fine", warmup=1, every=1), warmup=None, rest=True)
    step = compare(method, expected, noise=32)
    assert len(step.seen) == 2


class Watching(Method):
    """Trains its first network only, and says what it saw of both."""

    networks = 2

    def plan(self, nets: Any, probe: Any, clock: Clock) -> list[Phase]:
        return [Phase((0,), {"all": Stream()})]

    def step(self, nets: Any, batches: Any, phase: Phase, clock: Clock) -> Step:
        outputs = [net(batches["all"].views[0]) for net in nets]
        loss = F.cross_entropy(outputs[0].logits, batches["all"].labels)
        return Step(loss, tuple(Seen(k, output, batches["all"]) for k, output in enumerate(outputs)))


def test_what_is_seen_of_an_untrained_network_feeds_its_own_store():
    method = Alasca(Watching(), warmup=1)
    bench, phase, batches, clock = one_step(method)
    torch.manual_seed(0)
    method.step(bench.nets, batches, phase, clock)
    torch.manual_seed(0)
    outputs = [net(batches["all"].views[0]) for net in bench.nets]
    for k in (0, 1):
        (store,) = method.objectives[k].all_stores()
        torch.testing.assert_close(store.value[batches["all"].index], 0.3 * outputs[k].logits)
        assert store.visits[batches["all"].index].tolist() == [1] * 16


def final(recipe: dict[str, Any], method: str = "ce") -> list[Tensor]:
    made = trained(create_method(method), planted(8), settings(2, **recipe))
    return [value.detach().clone() for value in made.bench.nets[0].parameters()]


ENGINE = {
    "clip": {"clip": 0.05}, "decay of AdamW": {"optimizer": "adamw", "weight_decay": 0.5},
    "decay of SGD": {"weight_decay": 0.5}, "momentum": {"momentum": 0.0}, "precision": {"precision": "bf16"},
    "lr": {"lr": 0.01}, "schedule": {"schedule": "constant"}, "accumulate": {"accumulate": 2}, "seed": {"seed": 1},
    "batch size": {"batch_size": 8}, "milestones": {"schedule": "step", "milestones": (1,)},
    "lr_decay": {"schedule": "step", "milestones": (1,), "lr_decay": 0.5}, "lr_min": {"lr_min": 0.05},
    "restarts": {"schedule": "restarts", "restart_epochs": 1},
}  # fmt: skip
BESIDE = {
    "decay of AdamW": {"optimizer": "adamw", "weight_decay": 0.0}, "lr_decay": {"schedule": "step", "milestones": (1,)},
    "milestones": {"schedule": "step"},
}  # fmt: skip
"""What a setting is compared with; the others, with the defaults."""


@pytest.mark.parametrize("name", ENGINE)
def test_every_setting_of_the_loop_changes_what_a_run_ends_in(name: str):
    first, second = final(BESIDE.get(name, {})), final(ENGINE[name])
    assert not all(map(torch.equal, first, second))


def test_clipping_bounds_the_step_of_every_network():
    """SGD without momentum and decay: the first step is lr times the gradient, whose norm is at most the bound."""
    recipe = settings(1, clip=0.05, momentum=0.0, weight_decay=0.0)
    bench = Workbench(job(create_method("coteaching", warmup=9), planted(8), recipe))
    before = copy.deepcopy(bench.nets)
    phase = bench.plan(Clock.at(0, 0, 1, 0, 4))[0]
    bench.update(phase, next(bench.batches(phase)), Clock.at(0, 0, 1, 0, 4))
    for old, new in zip(before, bench.nets, strict=True):
        moved = torch.cat([(a - b).flatten() for a, b in zip(old.parameters(), new.parameters(), strict=True)])
        assert moved.detach().norm().item() == pytest.approx(0.1 * 0.05, rel=1e-3)


def test_decay_of_adamw_is_decoupled():
    """Where the gradient is zero a weight shrinks by lr times decay."""
    made = trained(
        create_method("ce"), planted(), settings(1, optimizer="adamw", weight_decay=0.5, lr=0.01, batch_size=64)
    )
    plain = trained(
        create_method("ce"), planted(), settings(1, optimizer="adamw", weight_decay=0.0, lr=0.01, batch_size=64)
    )
    before = job(create_method("ce"), planted(), settings(1)).networks(0)[0][0]
    for old, with_decay, without in zip(
        backbone(before).parameters(), backbone(made.bench.nets[0]).parameters(),
        backbone(plain.bench.nets[0]).parameters(), strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(with_decay, without - 0.01 * 0.5 * old, rtol=1e-4, atol=1e-6)


def test_mixed_precision_computes_in_bfloat16():
    kinds = []
    for precision in ("float32", "bf16"):
        bench = Workbench(job(create_method("ce"), planted(), settings(1, precision=precision)))
        handle = bench.nets[0].backbone.stage1[0].register_forward_hook(lambda m, i, out: kinds.append(out.dtype))
        phase = bench.plan(Clock.at(0, 0, 1, 0, 4))[0]
        step = bench.update(phase, next(bench.batches(phase)), Clock.at(0, 0, 1, 0, 4))
        handle.remove()
        assert step.loss.dtype == torch.float32
    assert kinds == [torch.float32, torch.bfloat16]


def test_fine_keeps_a_class_that_no_sample_has_whole():
    """An empty class gives no direction and no split, and harms no other."""
    method = create_method("fine", warmup=0)
    bench, *_ = one_step(method)
    labels = bench.probe.labels
    labels[labels == 2] = 1
    bench.job.split.samples.labels[bench.job.split.samples.labels == 2] = 1
    method.look(bench.nets[0], bench.probe)
    kept = method.selected().kept[:64, 0]
    assert all(bool(kept[labels[:64] == k].any()) for k in (0, 1, 3))
    assert method.clean[:64].isfinite().all()
