"""Methods that choose samples or guess labels, against hand values, with sets that are empty or tiny."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.metrics import f1_score
from torch import Tensor, nn

import alasca.functional as AF
from alasca import Alasca, create_method, sample_selection
from alasca.core import Batch, Clock, Method, Output, Problem, Selection, backbone
from alasca.engine.metrics import selection_quality
from alasca.methods import preset_options
from alasca.methods.crust import gram_root
from alasca.methods.elr_plus import reweighted, rising
from alasca.sample_selection import ForgetRate
from alasca.surgery import EmaWeights
from alasca.testing import LAWS, one_step, planted, settings, stores, trained, trainer

LATE = Clock.at(0, 50, 60, 0, 4)
VARIANTS = {
    "coteaching_plus": lambda: create_method("coteaching_plus", noise_rate=0.3, warmup=0, ramp=1),
    "jocor, given rate": lambda: create_method("jocor", noise_rate=0.3, warmup=1, ramp=1),
    "crust, centrality, unmixed": lambda: create_method("crust", start=1, selection="centrality", mix=False),
    "crust, stochastic": lambda: create_method("crust", start=1, epsilon=0.1),
    "fine, squared": lambda: create_method("fine", warmup=1, every=1, squared=True),
    "dividemix, penalty": lambda: create_method("dividemix", warmup=2, penalty=True),
    "elr_plus, reweighted": lambda: create_method("elr_plus", reweight=True, ramp_steps=5, decay_steps=4),
    "fine with rest": lambda: Alasca(create_method("fine", warmup=1, every=1), warmup=1, rest=True),
    "crust with rest": lambda: Alasca(create_method("crust", start=1), warmup=1, rest=True),
    "dividemix on plain": lambda: Alasca(create_method("dividemix", warmup=1), warmup=1, on="plain"),
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("law", [name for name in LAWS if name[0] in "234568"])
def test_laws_hold_for_options(name: str, law: str):
    LAWS[law](VARIANTS[name])


def batch_of(rows: int, labels: list[int]) -> Batch:
    return Batch((torch.zeros(rows, 1),), torch.tensor(labels), torch.arange(rows), torch.ones(rows))


def begun(name: str, samples: int = 4, **options) -> Method:
    method = create_method(name, **options)
    method.begin([None] * method.networks, Problem(samples, 2, torch.zeros(2, 1), 60, 0))
    return method


def giving(logits: Tensor):
    return lambda x: Output(logits)


def with_losses(losses: list[float]) -> Tensor:
    """Two-class logits whose cross-entropy for label 0 is given."""
    p = (-torch.tensor(losses)).exp()
    return torch.stack([p, 1 - p], 1).clamp(min=1e-12).log()


def test_coteaching_by_hand():
    """Losses (3, 1, 2, 0) and (0, 3, 1, 2), two kept: each network's loss is the mean over the other's choice, 2.5."""
    nets = [giving(with_losses([3, 1, 2, 0])), giving(with_losses([0, 3, 1, 2]))]
    batch = batch_of(4, [0] * 4)
    method = begun("coteaching", noise_rate=0.5, warmup=0, ramp=1)
    assert method.step(nets, {"all": batch}, None, LATE).loss.item() == pytest.approx(5.0, abs=1e-5)
    assert method.selected().kept.T.tolist() == [[True, False, True, False], [False, True, False, True]]
    plain = begun("coteaching", noise_rate=0.0, warmup=0)
    assert plain.step(nets, {"all": batch}, None, LATE).loss.item() == pytest.approx(3.0, abs=1e-5)
    early = begun("coteaching", noise_rate=0.5, warmup=51)
    assert early.step(nets, {"all": batch}, None, LATE).loss.item() == pytest.approx(3.0, abs=1e-5)


def test_coteaching_plus_chooses_where_networks_disagree():
    batch = batch_of(4, [0] * 4)
    plus = begun("coteaching_plus", noise_rate=0.5, warmup=0, ramp=1)
    plain = begun("coteaching", noise_rate=0.5, warmup=0, ramp=1)
    disjoint = [giving(with_losses([0.1, 0.2, 2, 3])), giving(with_losses([2, 3, 0.1, 0.2]))]
    full = [m.step(disjoint, {"all": batch}, None, LATE).loss for m in (plus, plain)]
    torch.testing.assert_close(*full)
    same = [giving(with_losses([0.1, 0.2, 0.3, 0.4])), giving(with_losses([0.2, 0.1, 0.3, 0.4]))]
    none = [m.step(same, {"all": batch}, None, LATE).loss for m in (plus, plain)]
    torch.testing.assert_close(*none)
    one = [giving(with_losses([0.1, 0.2, 0.3, 2])), giving(with_losses([0.1, 0.2, 0.3, 0.4]))]
    assert plus.step(one, {"all": batch}, None, LATE).loss.item() == pytest.approx(2.4, abs=1e-5)
    ramping = begun("coteaching_plus", noise_rate=0.5, warmup=1, ramp=2)  # whole batches until the ramp has ended
    differ, logits = [False, False, False, True], [net(None).logits for net in one]
    for epoch, pool in ((1, [True] * 4), (2, [True] * 4), (3, differ), (4, differ)):
        assert ramping.pool(*logits, LATE._replace(epoch=epoch)).tolist() == pool


@pytest.mark.parametrize("name", ["coteaching", "coteaching_plus", "jocor"])
def test_methods_that_forget_estimate_how_much_in_training(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sample_selection, "estimated_noise_rate", lambda net, probe: 0.25)
    for warmup in (1, 0):  # a network that has learned nothing can't tell
        made = trained(create_method(name, warmup=warmup, ramp=1), planted(8), settings(3))
        assert [record["noise_rate"] for record in made.state.history] == [0.0, 0.25, 0.25]
    assert (made.job.method.selected().kept.float().mean() == 0.75) == (name != "coteaching_plus")


def test_forget_rate():
    forget = ForgetRate(0.5, warmup=2, ramp=10)
    losses, everyone = torch.arange(20.0), torch.ones(20, dtype=torch.bool)
    kept = [int(forget.kept(losses, everyone, Clock.at(0, epoch, 60, 0, 4)).sum()) for epoch in (0, 1, 2, 7, 11, 40)]
    assert kept == [20, 20, 20, 14, 10, 10]
    some = torch.arange(20) % 2 == 1
    mask = forget.kept(losses, some, LATE)
    assert mask.nonzero()[:, 0].tolist() == [1, 3, 5, 7, 9]
    assert forget.kept(losses, torch.zeros(20, dtype=torch.bool), LATE).sum() == 0


@pytest.mark.parametrize(("rate", "batch", "kept"), [
    (0.6, 45, 18), (0.8, 85, 17), (0.3, 90, 63), (0.4, 170, 102), (0.2, 340, 272), (0.8, 100, 20), (0.9, 130, 13),
])  # fmt: skip
def test_forget_rate_keeps_what_the_fraction_says(rate: float, batch: int, kept: int):
    everyone = torch.ones(batch, dtype=torch.bool)
    assert ForgetRate(rate, 0, 1).kept(torch.rand(batch), everyone, LATE).sum() == kept


def test_forget_rate_is_estimated_when_the_warm_up_ends():
    """16 of 64 labels disagree with one network, 32 with the other: 25% and 50% wrong."""
    forget = ForgetRate(None, warmup=2, ramp=1)
    labels = torch.arange(64) % 4
    shown = [labels.clone(), labels.clone()]
    for given, wrong in zip(shown, (16, 32), strict=True):  # the first `wrong` of 64 samples look like another class
        given[:wrong] = (given[:wrong] + 1) % 4

    class Seeing(nn.Module):
        def __init__(self, given: Tensor) -> None:
            super().__init__()
            self.given = given

    class Looking:
        def reduce(self, net: Seeing, fn) -> Tensor:
            parts = []
            for rows in torch.arange(64).split(20):
                logits = 9 * nn.functional.one_hot(net.given[rows], 4).float()
                parts.append(fn(Output(logits), Batch((rows,), labels[rows], rows, torch.ones(len(rows)))))
            return torch.stack(parts).sum(0)

    nets = [Seeing(given) for given in shown]
    forget.look(nets, Looking(), Clock.at(0, 1, 60, 0, 4))
    assert forget.rate == 0
    forget.look(nets, Looking(), Clock.at(0, 2, 60, 0, 4))
    assert forget.rate.item() == pytest.approx((0.25 + 0.5) / 2, abs=1e-6)
    forget.rate.zero_()
    forget.look(nets, Looking(), Clock.at(0, 3, 60, 0, 4))
    assert forget.rate == 0, "once"
    given = ForgetRate(0.1, warmup=2, ramp=1)
    given.look(nets, Looking(), Clock.at(0, 2, 60, 0, 4))
    assert given.rate.item() == pytest.approx(0.1)


def test_decoupling_by_hand():
    """Predictions (0, 1, 2, 1) against (0, 2, 2, 0): the second and fourth samples count, the divisor is 2."""
    first, second = 5 * torch.eye(3)[[0, 1, 2, 1]], 3 * torch.eye(3)[[0, 2, 2, 0]]
    labels = [0, 1, 2, 2]
    batch, method = batch_of(4, labels), begun("decoupling", 40)
    found = method.step([giving(first), giving(second)], {"all": batch}, None, LATE).loss
    losses = [AF.cross_entropy(z, batch.labels) for z in (first, second)]
    torch.testing.assert_close(found, sum((own[1] + own[3]) / 2 for own in losses))
    assert method.selected().kept[:4].tolist() == [[False] * 2, [True] * 2, [False] * 2, [True] * 2]
    logits = first.clone().requires_grad_()
    same = method.step([giving(logits), giving(logits)], {"all": batch}, None, LATE).loss
    assert torch.autograd.grad(same, logits)[0].abs().max() == 0
    early = method.step([giving(logits), giving(logits)], {"all": batch}, None, LATE._replace(epoch=0)).loss
    torch.testing.assert_close(early, 2 * losses[0].mean())
    for epoch, loss in ((29, 2 * losses[0].mean()), (30, torch.zeros(()))):
        now = method.step([giving(logits), giving(logits)], {"all": batch}, None, LATE._replace(epoch=epoch)).loss
        torch.testing.assert_close(now, loss)
    many = batch_of(40, [0] * 40)
    one = torch.zeros(40, 2)
    one[0, 1] = 1.0
    floor = method.step([giving(one), giving(torch.zeros(40, 2))], {"all": many}, None, LATE).loss
    expected = (AF.cross_entropy(one, many.labels)[0] + torch.tensor(2.0).log()) / 4
    torch.testing.assert_close(floor, expected)


def test_distances_of_gradients_in_k_columns():
    weight, residual = torch.randn(5, 40), torch.randn(9, 5)
    expected = torch.cdist(residual @ weight, residual @ weight)
    found = torch.cdist(residual @ gram_root(weight).float(), residual @ gram_root(weight).float())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_crust_covers_every_predicted_class():
    method = create_method("crust", start=0, fraction=0.25)
    made, phase, batches, _ = one_step(method)
    stream = phase.streams["coreset"]
    predicted = made.probe(made.nets[0], lambda output, batch: output.logits.argmax(1))
    for k in predicted.unique():
        own = int((predicted == k).sum())
        chosen = predicted[stream.index] == k
        assert int(chosen.sum()) == -(-own // 4)
        assert stream.weight[chosen].sum() == own, "weights of a class add up to its size"
    assert torch.equal(batches["partners"].labels, batches["coreset"].labels)


def test_rest_is_what_the_coreset_leaves_out():
    for mix in (True, False):
        method = Alasca(create_method("crust", start=0, fraction=0.25, mix=mix), rest=True)
        made, phase, batches, clock = one_step(method)
        chosen, rest = phase.streams["coreset"].index, phase.streams["rest"].index
        assert phase.observe == ("rest",)
        assert sorted(torch.cat([chosen, rest]).tolist()) == list(range(64))
        method.step(made.nets, batches, phase, clock)
        assert bool(stores(method)[0].visits[batches["rest"].index].all()), "sub-classifiers saw them"


def test_copies_of_medoids_are_left_out():
    """Data with eight distinct rows: half of it as medoids would be copies of weight 0, and a batch of them 0 / 0."""
    data = planted(0)
    same = data.samples.inputs[torch.arange(64) % 8]
    data = replace(data, samples=replace(data.samples, inputs=same))
    made = trained(create_method("crust", start=0, mix=False), data, settings(3))
    stream = made.bench.plan(LATE)[0].streams["coreset"]
    assert (stream.weight > 0).all()
    assert stream.weight.sum() == 64


class Probing:
    """Gives the losses of a network by its number."""

    def __init__(self, losses: list[Tensor]) -> None:
        self.losses, self.index = losses, torch.arange(len(losses[0]))

    def __call__(self, net: int, fn) -> Tensor:
        return self.losses[net]


def test_fine_tells_narrow_heaps_apart(monkeypatch: pytest.MonkeyPatch):
    """A mixture of its own for every class, fitted as finely as the authors': scores that differ by .02."""
    draw = torch.Generator().manual_seed(0)
    scores = torch.cat(
        [0.995 + 0.002 * torch.randn(70, generator=draw), 0.975 + 0.004 * torch.randn(30, generator=draw)]
    )

    class Scoring(Probing):
        labels = torch.zeros(100, dtype=torch.int64)

        def reduce(self, net: int, fn) -> Tensor:
            return torch.eye(3).expand(2, 3, 3)

    monkeypatch.setattr(
        "alasca.methods.fine.evaluated", lambda net, example: Output(torch.zeros(2, 2), torch.zeros(2, 3))
    )
    method = begun("fine", 100)
    method.look(0, Scoring([scores]))
    kept = method.selected().kept[:, 0]
    assert (kept == (torch.arange(100) < 70)).double().mean() > 0.97


def test_losses_are_scaled_before_they_are_split():
    mixture = sample_selection.LossMixture(4, 2)
    mixture.look([0, 1], Probing([torch.tensor([2.0, 3.0, 4.0, 2.5]), torch.tensor([0.0, 0.0, 10.0, 5.0])]), 0)
    assert mixture.losses[0].T.tolist() == [[0.0, 0.5, 1.0, 0.25], [0.0, 0.0, 1.0, 0.5]]


def test_losses_of_several_looks_are_averaged(monkeypatch: pytest.MonkeyPatch):
    """The third sample is in one look of the two alone."""
    seen: list[Tensor] = []
    monkeypatch.setattr(
        sample_selection, "two_component_posterior", lambda losses, **options: seen.append(losses) or losses
    )
    mixture = sample_selection.LossMixture(3, 1, average=2)
    mixture.look([0], Probing([torch.tensor([0.0, 1.0])]), 0)
    mixture.look([0], Probing([torch.tensor([4.0, 0.0, 2.0])]), 1)
    assert seen[-1].tolist() == [0.5, 0.5, 0.5]


def test_dividemix_gives_each_network_the_others_split():
    low, high = torch.linspace(0.1, 0.12, 6), torch.linspace(2.0, 2.1, 4)
    losses = [torch.cat([low, high]), torch.cat([high, low])]
    method = begun("dividemix", 10, warmup=1)
    first, second = method.plan([0, 1], Probing(losses), LATE)
    assert (first.train, second.train) == ((0,), (1,))
    assert first.streams["clean"].index.tolist() == [4, 5, 6, 7, 8, 9], "network 0 learns from network 1's split"
    assert first.streams["noisy"].index.tolist() == [0, 1, 2, 3]
    assert second.streams["clean"].index.tolist() == [0, 1, 2, 3, 4, 5]
    kept, clean, _ = method.selected()
    assert kept.T.tolist() == [[False] * 4 + [True] * 6, [True] * 6 + [False] * 4]
    assert torch.equal(clean > 0.5, kept)
    swapped = method.plan([0, 1], Probing(losses[::-1]), LATE)
    assert swapped[0].streams["clean"].index.tolist() == second.streams["clean"].index.tolist()
    assert [phase.train for phase in method.plan([0, 1], Probing(losses), LATE._replace(epoch=0))] == [(0,), (1,)]


def test_dividemix_with_sets_that_are_empty():
    same = Probing([torch.ones(10), torch.ones(10)])
    phases = begun("dividemix", 10, warmup=1).plan([0, 1], same, LATE)
    assert all(set(phase.streams) == {"clean"} for phase in phases), "all alike: all clean"
    strict = begun("dividemix", 10, warmup=1)
    strict.threshold = 1.0
    phases = strict.plan([0, 1], Probing([torch.rand(10), torch.rand(10)]), LATE)
    assert all(set(phase.streams) == {"all"} for phase in phases), "none clean: cross-entropy on all"
    assert bool(strict.selected().kept.all())
    weights = [create_method("dividemix").weight(LATE._replace(epoch=epoch)) for epoch in (10, 18, 26, 40)]
    assert weights == [0, 12.5, 25, 25]


def test_dividemix_averages_losses_of_the_last_epochs():
    """Sample 3 looks clean in one epoch alone: with an average of three epochs that does not count."""
    usual = torch.tensor([0.1, 0.1, 0.1, 2.0, 2.0, 2.0])
    once = torch.tensor([0.1, 0.1, 0.1, 0.1, 2.0, 2.0])
    found = {}
    for average in (1, 3):
        method = begun("dividemix", 6, warmup=1, average=average)
        for epoch, losses in enumerate([usual, usual, once], start=1):
            method.plan([0, 1], Probing([losses, losses]), LATE._replace(epoch=epoch))
        found[average] = method.selected().kept[:, 0].tolist()
    assert found == {1: [True] * 4 + [False] * 2, 3: [True] * 3 + [False] * 3}
    early = begun("dividemix", 6, warmup=1, average=3)
    early.plan([0, 1], Probing([once, once]), LATE._replace(epoch=1))
    assert early.selected().kept[:, 0].tolist() == found[1], "epochs that were never looked at do not count"


@pytest.mark.parametrize("name", ["decoupling", "coteaching", "jocor", "crust", "fine", "dividemix"])
def test_choice_is_measured_every_epoch(name: str):
    data = planted(24)
    method = create_method(name, **dict.fromkeys(type(create_method(name)).epoch_options, 1))
    made = trained(Alasca(method, warmup=1), data, settings(4))
    kept, clean, _ = method.selected()
    assert kept.shape == (64, method.networks)
    assert kept.dtype == torch.bool
    last = made.state.history[-1]
    assert last["selected"] == pytest.approx(100 * kept.float().mean().item())
    right = data.samples.labels == data.truth
    f1 = [f1_score(right, column) for column in kept.T]
    assert last["selection_f1"] == pytest.approx(100 * sum(f1) / len(f1))
    assert ("clean_auroc" in last) == (clean is not None) == (name in ("fine", "dividemix"))
    first = made.state.history[0]
    assert first["selected"] == pytest.approx(100), "all of it in the warm-up"
    assert first["selection_precision"] == pytest.approx(100 * right.float().mean().item())
    blind = trained(Alasca(create_method("crust", start=1), warmup=1), replace(data, truth=None), settings(2))
    assert "selection_f1" not in blind.state.history[-1]
    assert blind.state.history[-1]["selected"] < 100


def test_quality_of_a_choice_by_hand():
    """Six of eight labels are right; network 0 keeps four, three of them right, network 1 all."""
    data = planted(0)
    truth = data.truth.clone()
    truth[:2] = (truth[:2] + 1) % 4
    kept = torch.zeros(64, 2, dtype=torch.bool)
    kept[[0, 2, 3, 4], 0] = True
    kept[:, 1] = True
    clean = torch.rand(64, 2)
    clean[:8, 0] = torch.tensor([0.1, 0.5, 0.2, 0.6, 0.7, 0.8, 0.9, 1.0])
    clean[:8, 1] = 0.5
    index = torch.arange(8)
    found = selection_quality(Selection(kept, clean), index, replace(data, truth=truth))
    assert found == pytest.approx({
        "selected": 75, "selection_precision": 75, "selection_recall": (50 + 100) / 2,
        "selection_f1": 100 * (2 * 3 / 10 + 2 * 6 / 14) / 2, "clean_auroc": (11 / 12 + 1 / 2) / 2,
    })  # fmt: skip
    assert selection_quality(None, index, data) == {}
    weight = torch.ones(64, 2)
    weight[0] = 5.0
    weighed = selection_quality(Selection(kept, weight=weight), index, replace(data, truth=truth))
    assert weighed["selection_weight"] == pytest.approx(100 * (3 / 8 + 6 / 12) / 2)
    assert "clean_auroc" not in selection_quality(Selection(kept, clean), index, data), "no wrong label, no ranking"


def test_dividemix_targets_by_hand():
    """w = 1 keeps the label; the guess for the others is the sharpened mean of both networks on both views."""
    method = create_method("dividemix", warmup=1)
    made, _, _, _ = one_step(method)
    net, peer = made.nets
    x = torch.randn(4, 3, 8, 8)
    clean = Batch((x[:2], x[:2] + 0.1), torch.tensor([0, 3]), torch.arange(2), torch.tensor([1.0, 0.25]))
    noisy = Batch((x[2:], x[2:] + 0.1), torch.tensor([1, 1]), torch.arange(2, 4), torch.ones(2))
    views = torch.cat([*clean.views, *noisy.views])
    torch.manual_seed(0)
    with torch.no_grad():
        targets, seen = method.guess(0, made.nets, [clean, noisy])
    torch.manual_seed(0)
    own = net(views).logits.softmax(1)
    other = peer.eval()(torch.cat(noisy.views)).logits.softmax(1)
    peer.train()
    assert targets[0].tolist() == [1, 0, 0, 0]
    mean = (own[1] + own[3]) / 2
    torch.testing.assert_close(targets[1], AF_sharpen(0.25 * torch.eye(4)[3] + 0.75 * mean))
    torch.testing.assert_close(targets[4], AF_sharpen((own[4] + own[6] + other[0] + other[2]) / 4))
    torch.testing.assert_close(targets[4:6], targets[6:])
    torch.testing.assert_close(targets[:2], targets[2:4])
    torch.testing.assert_close(seen[0].output.logits.softmax(1), own[:2])
    torch.testing.assert_close(seen[1].output.logits.softmax(1), own[4:6])
    assert all(module.training for module in peer.modules())


def AF_sharpen(p: Tensor) -> Tensor:
    return p**2 / (p**2).sum()


@pytest.mark.parametrize("name", ["dividemix", "coteaching", "jocor", "decoupling", "fine", "crust", "elr_plus"])
@pytest.mark.parametrize("labels", ["alone", "all clean", "all wrong"])
def test_odd_data_neither_crash_nor_divide_by_zero(name: str, labels: str):
    """A class with one sample, labels all right, labels all wrong; a last batch of less than a batch."""
    data = planted(64 if labels == "all wrong" else 0)
    if labels == "alone":
        given = data.samples.labels.clone()
        given[given == 3] = 0
        given[0] = 3
        data = replace(data, samples=replace(data.samples, labels=given))
    options = dict.fromkeys(type(create_method(name)).epoch_options, 1)
    for method in (create_method(name, **options), Alasca(create_method(name, **options), warmup=1)):
        made = trained(method, data, settings(4))
        assert all(value.isfinite().all() for net in made.bench.nets for value in net.parameters())


def test_elr_plus_with_itself_as_peer_is_elr():
    """lam_mix 1, decay 0: memory, loss and gradient are ELR's, fed by a second forward pass."""
    method, plain = create_method("elr_plus", decay=0.0), create_method("elr")
    made, phase, batches, clock = one_step(method)
    net, batch = made.nets[0], batches["all"]
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    method.averages[1] = EmaWeights(net)
    for average in method.averages:
        for layer in average.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
    plain.begin([net], Problem(80, 4, batch.views[0][:2], 4, 0))
    phase = phase._replace(train=(0,))
    clock = clock._replace(draws={"lam": torch.tensor(1.0)})
    for _ in range(3):
        found = method.step(made.nets, {"all": batch}, phase, clock).loss
        expected = plain.step([net], {"all": batch}, phase, clock).loss
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(method.memories[0].value, plain.memory.value, rtol=1e-3, atol=1e-4)


def test_elr_plus_counts_steps_from_one_as_the_code_does():
    method = create_method("elr_plus", decay=0.9, decay_steps=100)
    made, phase, _, clock = one_step(method)
    average, decays = method.averages[1], []
    average.update = lambda net, decay: decays.append(decay)
    method.on_updated(made.nets, phase, clock)
    assert decays == [0.9 * rising(torch.tensor(2 / 100))]
    assert create_method("elr_plus", ramp_steps=10).ramp(torch.tensor(0)) == rising(torch.tensor(1 / 10))
    assert create_method("elr_plus").ramp(torch.tensor(0)) == 1


def test_elr_plus_ramps_and_averages():
    ends = rising(torch.tensor([0, 0.5, 1, 2]))
    assert ends.tolist() == pytest.approx([0.006738, 0.286505, 1, 1], abs=1e-6)
    decays = 0.997 * rising(torch.tensor([1.0, 2, 20001, 40000]) / 40000)
    assert decays.tolist() == pytest.approx([0.0067194, 0.0067211, 0.285681, 0.997], abs=3e-5)
    net = nn.Linear(3, 2)
    average = EmaWeights(net)
    average.update(net, torch.tensor(0.9))
    assert torch.equal(average.net.weight, net.weight), "the average of constant weights is constant"
    old = net.weight.detach().clone()
    net.weight.data += 1
    average.update(net, torch.tensor(0.9))
    torch.testing.assert_close(average.net.weight, old + 0.1)
    assert average.updates == 2
    assert not any(parameter.requires_grad for parameter in average.parameters())
    y, q = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.2, 0.6, 0.2]])
    assert reweighted(y, q)[0].tolist() == pytest.approx([0.25, 0.75, 0])
    assert torch.equal(reweighted(y, 0 * q), y)


@pytest.mark.parametrize("name", ["dividemix", "coteaching", "jocor", "decoupling", "elr_plus"])
def test_two_networks_share_nothing_and_differ_by_seed_only(name: str):
    made = trainer(create_method(name), planted(), settings(1))
    made.enter(0)
    first, second = (backbone(net) for net in made.bench.nets)
    pointers = [{tensor.data_ptr() for tensor in net.state_dict().values()} for net in (first, second)]
    assert not pointers[0] & pointers[1]
    assert not torch.equal(first.classifier.weight, second.classifier.weight)
    assert [(n, p.shape) for n, p in first.named_parameters()] == [(n, p.shape) for n, p in second.named_parameters()]
    if name == "elr_plus":
        for net, average in zip(made.bench.nets, made.job.method.averages, strict=True):
            assert all(map(torch.equal, backbone(net).parameters(), average.net.parameters()))
            assert not {p.data_ptr() for p in average.parameters()} & {p.data_ptr() for p in net.parameters()}


def test_the_averages_decay_rises_over_a_quarter_of_the_steps():
    clock = LATE._replace(epochs=10, steps_per_epoch=8)
    usual, said = (create_method("elr_plus", decay=0.9, decay_steps=steps) for steps in (None, 20))
    for done in (0, 5, 17, 40):
        assert usual.momentum(torch.tensor(done), clock) == said.momentum(torch.tensor(done), clock)
    assert said.momentum(torch.tensor(0), clock) < 0.9 * 0.1


def test_elr_plus_for_clothing1m_averages_all_steps_alike():
    """The authors' file: min(1 - 1 / (s + 1), 0.9999), s = 1 at the first step: halves, then thirds, ..."""
    method = create_method("elr_plus", decay=0.9999, averaging="counted")
    found = [method.momentum(torch.tensor(done), LATE).item() for done in (0, 1, 2, 98, 10**6)]
    assert found == pytest.approx([1 / 2, 2 / 3, 3 / 4, 0.99, 0.9999])


def test_dividemix_as_published_warms_up_with_batches_twice_as_large():
    bench, *_ = one_step(create_method("dividemix", **preset_options("dividemix", "cifar10")))
    phases = bench.plan(LATE._replace(epoch=0))
    assert [len(next(bench.batches(phase))["all"].labels) for phase in phases] == [32, 32]
    single, *_ = one_step(create_method("dividemix", warmup=10))
    assert len(next(single.batches(single.plan(LATE._replace(epoch=0))[0]))["all"].labels) == 16


def test_crust_may_choose_by_given_label():
    """Each given class keeps its half; by predicted class it does not."""
    shares = {}
    for group in ("given", "predicted"):
        method = create_method("crust", start=0, mix=False, group_by=group, selection="centrality")
        bench, *_ = one_step(method, noise=32)
        index, _ = method.coreset(bench.nets[0], bench.probe)
        shares[group] = bench.job.split.samples.labels[index].bincount(minlength=4).tolist()
    counts = bench.job.split.samples.labels[:64].bincount(minlength=4)
    assert shares["given"] == (counts / 2).ceil().long().tolist()
    assert shares["predicted"] != shares["given"]


def test_fine_by_class_blocks_chooses_the_same(monkeypatch: pytest.MonkeyPatch):
    import alasca.methods.fine as module

    found, passes = [], []
    for held in (1 << 27, 2 * 16 * 16):
        monkeypatch.setattr(module, "GRAMS", held)
        method = create_method("fine", warmup=0)
        bench, *_ = one_step(method)
        inner = bench.probe.reduce
        calls: list[int] = []
        bench.probe.reduce = lambda net, fn, inner=inner, calls=calls: (calls.append(1), inner(net, fn))[1]
        method.look(bench.nets[0], bench.probe)
        found.append(method.clean.clone())
        passes.append(len(calls))
    torch.testing.assert_close(found[0], found[1])
    assert passes == [1, 2], "two classes at once, of four"


def test_jocor_notes_whom_it_learned_from():
    method = create_method("jocor", noise_rate=0.5, warmup=0, ramp=1)
    bench, phase, batches, clock = one_step(method)
    index = batches["all"].index
    torch.manual_seed(0)
    method.step(bench.nets, batches, phase, clock)
    torch.manual_seed(0)
    first, second = (net(batches["all"].views[0]).logits for net in bench.nets)
    easy = AF.jocor(first, second, batches["all"].labels, 0.1).argsort(stable=True)[:8]
    kept = method.selected().kept[index]
    assert torch.equal(kept[:, 0], kept[:, 1])
    assert set(kept[:, 0].nonzero()[:, 0].tolist()) == set(easy.tolist())


def test_each_averaged_network_of_elr_plus_follows_its_own():
    method = create_method("elr_plus", decay=0.0)
    bench, phase, _, clock = one_step(method)
    (k,) = phase.train
    method.on_updated(bench.nets, phase, clock)
    for mine, theirs in zip(method.averages[k].net.parameters(), backbone(bench.nets[k]).parameters(), strict=True):
        assert torch.equal(mine, theirs), "decay 0: a copy"
    others = zip(method.averages[k].net.parameters(), backbone(bench.nets[1 - k]).parameters(), strict=True)
    assert not all(torch.equal(mine, theirs) for mine, theirs in others)
    with torch.no_grad():
        for parameter in backbone(bench.nets[k]).parameters():
            parameter += 1
    method.on_updated(bench.nets, phase, clock)
    for mine, theirs in zip(method.averages[k].net.parameters(), backbone(bench.nets[k]).parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_crusts_coreset_by_whole_gradients():
    """Centrality over distances of ``(p - e_y) W``, class by predicted class, written out."""
    method = create_method("crust", start=0, selection="centrality")
    bench, *_ = one_step(method, noise=32)
    net, samples = bench.nets[0], bench.job.split.samples
    with torch.no_grad():
        output = net.eval()(samples.view("plain", torch.arange(64)))
        net.train()
        p, labels = output.logits.softmax(1), samples.labels[:64]
        gradients = (p - torch.nn.functional.one_hot(labels, 4)) @ net.classifier.weight
    expected = set()
    for k in output.logits.argmax(1).unique():
        own = (output.logits.argmax(1) == k).nonzero()[:, 0]
        apart = torch.cdist(gradients[own].double(), gradients[own].double())
        closest = (apart.max() - apart).sum(1).argsort(descending=True, stable=True)
        expected |= set(own[closest[: -(-len(own) // 2)]].tolist())
    index, _ = method.coreset(net, bench.probe)
    assert len(set(index.tolist()) ^ expected) <= 2, "ties aside"


def test_crust_tells_what_its_medoids_weigh():
    method = create_method("crust", start=0)
    _, phase, *_ = one_step(method, noise=16)
    stream = phase.streams["coreset"]
    weight = method.selected().weight[:, 0]
    torch.testing.assert_close(weight[stream.index], stream.weight)
    assert weight[stream.index].sum() == 64, "every sample lies nearest to one medoid"
    assert method.selected().kept[:, 0].nonzero()[:, 0].tolist() == sorted(stream.index.tolist())


def test_fine_keeps_a_class_whole_in_which_no_sample_is_sure():
    method = create_method("fine", warmup=0, threshold=1 - 1e-9)
    bench, *_ = one_step(method)
    bench.probe.labels[0] = 3
    method.look(bench.nets[0], bench.probe)
    for k in range(4):
        own = bench.probe.index[bench.probe.labels == k]
        sure = method.clean[own] > 1 - 1e-9
        assert torch.equal(method.kept[own], sure if bool(sure.any()) else torch.ones_like(sure))
    hopeless = create_method("fine", warmup=0, threshold=1 - 1e-9)
    hopeless.begin(bench.nets, bench.job.problem())
    import alasca.methods.fine as module

    original, module.two_component_posterior = module.two_component_posterior, lambda scores, *a, **k: scores * 0
    try:
        hopeless.look(bench.nets[0], bench.probe)
    finally:
        module.two_component_posterior = original
    assert hopeless.kept.all()


def test_fine_looks_along_directions_of_those_it_chose_before():
    """The second look's eigenvectors come from kept samples: rows of another direction, once dropped, turn nothing."""
    features = torch.cat([torch.eye(3)[0].expand(6, 3), torch.eye(3)[1].expand(10, 3)]) + 0.01 * torch.randn(16, 3)
    labels, classes = torch.zeros(16, dtype=torch.int64), 1
    kept = torch.arange(16) < 6
    first = directions_of(features, labels, classes, None)
    second = directions_of(features, labels, classes, kept)
    assert first[0].abs().argmax() == 1
    assert second[0].abs().argmax() == 0
    method = create_method("fine", warmup=0)
    bench, *_ = one_step(method)
    method.kept[bench.probe.index[::2]] = False
    seen = []
    import alasca.methods.fine as module

    original = module.class_grams
    module.class_grams = lambda *arguments: (seen.append(arguments[3].sum().item()), original(*arguments))[1]
    try:
        method.look(bench.nets[0], bench.probe)
    finally:
        module.class_grams = original
    assert sum(seen) == 32


def directions_of(features: Tensor, labels: Tensor, classes: int, kept: Tensor | None) -> Tensor:
    from alasca.functional.selection import class_directions, class_grams

    return class_directions(class_grams(features, labels, classes, kept))
