"""The Alasca wrapper around methods of every shape: selecting, mixing, silent ones, two networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

import alasca.functional as AF
from alasca import Alasca, InputError, Method, create_method, list_methods
from alasca.core import Batch, Clock, Mixed, Output, Phase, Seen, Stage, Step, Stream
from alasca.methods import wrap
from alasca.surgery import OutputNet
from alasca.testing import LAWS, everything, one_step, planted, require_same, settings, stores, trained


class Selecting(Method):
    """Learns from the first half of the samples only."""

    def plan(self, nets, probe, clock: Clock) -> list[Phase]:
        confidences = probe(nets[0], lambda output, batch: output.logits.softmax(1).amax(1))
        assert confidences.shape == probe.index.shape
        return [Phase((0,), {"kept": Stream(torch.arange(32))})]

    def step(self, nets, batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        assert not phase.observe
        assert set(batches) == {"kept"}
        output = nets[0](batches["kept"].views[0])
        loss = AF.cross_entropy(output.logits, batches["kept"].labels).mean()
        return Step(loss, (Seen(0, output, batches["kept"]),))


class Mixing(Method):
    """mixup; reports what it saw, its mixed forward, or neither."""

    mixes = True

    def __init__(self, reports: str) -> None:
        super().__init__()
        self.reports = reports

    def step(self, nets, batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch = batches["all"]
        lam = torch.rand(())
        order = torch.randperm(len(batch.labels))
        x = batch.views[0]
        output = nets[0](lam * x + (1 - lam) * x[order])
        loss = AF.cross_entropy(output.logits, batch.labels)
        loss = (lam * loss + (1 - lam) * AF.cross_entropy(output.logits, batch.labels[order])).mean()
        if self.reports == "nothing":
            return Step(loss)
        lams = lam.expand(len(order))
        return Step(loss, mixed=(Mixed(0, output.aux, torch.arange(len(order)), order, lams),))


class Silent(Method):
    """Reports an output without gradient."""

    def step(self, nets, batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch = batches["all"]
        output = nets[0](batch.views[0])
        return Step(AF.cross_entropy(output.logits, batch.labels).mean(), (Seen(0, output.detach(), batch),))


class TwoNetworks(Method):
    """Two networks in two phases, the second stage on fresh networks after a first on half the data."""

    networks = 2

    def stages(self, epochs: int) -> list[Stage]:
        return [Stage(1, part=0.5), Stage(epochs - 1, fresh=True)]

    def begin(self, nets, problem) -> None:
        if not hasattr(self, "held_out"):
            self.register_buffer("held_out", torch.zeros(()))

    def plan(self, nets, probe, clock: Clock) -> list[Phase]:
        views = ("weak", "strong")
        return [
            Phase((0,), {"a": Stream(views=views), "b": Stream(probe.index[:20], draw=1, batch=8)}),
            Phase((1,), {"a": Stream(draw=2), "same": Stream(follows="a")}),
        ]

    def step(self, nets, batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        (k,) = phase.train
        output = nets[k](batches["a"].views[0])
        loss = AF.cross_entropy(output.logits, batches["a"].labels).mean()
        if "same" in batches:
            assert torch.equal(batches["same"].labels, batches["a"].labels)
        else:
            assert len(batches["b"].labels) == 8
            loss = loss + AF.cross_entropy(nets[k](batches["a"].views[1]).logits, batches["a"].labels).mean()
        return Step(loss, (Seen(k, output, batches["a"]),))

    def end_stage(self, nets, probe, clock: Clock) -> None:
        if probe.rest is not None:
            wrong = probe.rest(nets[0], lambda output, batch: (output.logits.argmax(1) != batch.labels).float())
            assert len(wrong) == 32
            self.held_out.copy_(wrong.mean())


class Branches(Method):
    """Attaches classifiers of its own."""

    owns_branches = True


TOYS = {
    "selecting": Selecting,
    "mixing": lambda: Mixing("mixed"),
    "mixing, reports nothing": lambda: Mixing("nothing"),
    "two networks, stages, phases": TwoNetworks,
    "selecting + ALASCA": lambda: Alasca(Selecting(), warmup=1),
    "selecting + ALASCA with rest": lambda: Alasca(Selecting(), warmup=1, rest=True),
    "mixing + ALASCA": lambda: Alasca(Mixing("mixed"), warmup=1),
    "mixing + ALASCA on plain": lambda: Alasca(Mixing("mixed"), warmup=1, on="plain"),
    "mixing + ALASCA, averaged prediction": lambda: Alasca(Mixing("mixed"), warmup=1, predict="average"),
    "mixing, reports nothing + ALASCA": lambda: Alasca(Mixing("nothing"), warmup=1),
    "two networks + ALASCA, own confidence": lambda: Alasca(TwoNetworks(), warmup=1, confidence_from="own"),
}
CHECKED = ("2", "3", "4", "5", "6", "8")


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("law", [name for name in LAWS if name[0] in CHECKED])
def test_laws_hold_for_methods_of_every_shape(name: str, law: str):
    LAWS[law](TOYS[name])


def test_rest_brings_what_the_method_left_out():
    method = Alasca(Selecting(), rest=True)
    _, phase, batches, _ = one_step(method)
    assert phase.observe == ("rest",)
    assert set(batches["kept"].index.tolist()) <= set(range(32))
    assert set(batches["rest"].index.tolist()) <= set(range(32, 64))
    without = trained(Alasca(Selecting()), planted(), settings(2))
    with_rest = trained(Alasca(Selecting(), rest=True), planted(), settings(2))
    assert stores(without.job.method)[0].visits[32:].sum() == 0
    assert (stores(with_rest.job.method)[0].visits == 2).all()


def test_mixed_targets_are_linear_in_the_pictures_own():
    """lam CE(q, s_i) + (1 - lam) CE(q, s_j) = CE(q, lam s_i + (1 - lam) s_j)."""
    method = Alasca(Mixing("mixed"), warmup=None)
    made, phase, batches, clock = one_step(method)
    torch.manual_seed(0)
    step = method.step(made.nets, batches, phase, clock)
    (mixed,) = step.mixed
    batch = batches["all"]
    gamma = AF.confidence(stores(method)[0].read(batch.index), batch.labels)[:, None]
    own = gamma * torch.eye(4)[batch.labels] + (1 - gamma) / 4
    lam = mixed.lam[:, None]
    target = lam * own[mixed.first] + (1 - lam) * own[mixed.second]
    expected = sum(AF.soft_cross_entropy(q, target) for q in mixed.aux).mean()
    torch.testing.assert_close(step.log["aux_loss"], expected.detach())


def test_stores_are_fed_where_a_method_reports_nothing():
    wrapped = trained(Alasca(Mixing("nothing"), warmup=None), planted(), settings(2))
    assert (stores(wrapped.job.method)[0].visits == 2).all()


def test_a_penalty_that_trains_nothing_names_the_method():
    method = Alasca(Silent())
    made, phase, batches, clock = one_step(method)
    with pytest.raises(RuntimeError, match="Silent gave sub-classifiers' logits without gradient"):
        method.step(made.nets, batches, phase, clock)


def test_wrapping_twice_or_a_method_with_branches_is_refused():
    with pytest.raises(InputError, match="wrap once"):
        Alasca(Alasca(create_method("ce")))
    with pytest.raises(InputError, match="Branches attaches classifiers of its own"):
        Alasca(Branches())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"aux_weigth": 1}, "did you mean 'aux_weight'"),
        ({"zzz": 1}, "has no such option"),
        ({"aux_weight": -1}, "aux_weight: -1"),
        ({"head": "big"}, "head: 'big', expected one of bottleneck, pooled, linear"),
        ({"on": "both"}, "on: 'both'"),
        ({"predict": "best"}, "predict: 'best', expected one of main, average, all, sub"),
        ({"momentum": "fast"}, "momentum: 'fast', expected a number or"),
        ({"momentum": (0.7,)}, "momentum: "),
        ({"rest": "False"}, "rest: 'False', expected true or false"),
        ({"warmup": 2.5}, "warmup: 2.5, expected a whole number or none"),
        ({"aux_weight": float("nan")}, "aux_weight: nan"),
    ],
)
def test_wrong_options_are_one_line(options: dict, words: str):
    with pytest.raises(InputError, match=words) as error:
        wrap(create_method("ce"), **options)
    assert "\n" not in str(error.value)


def test_registry():
    assert list_methods() == sorted(list_methods())
    with pytest.raises(InputError, match="'cee' is unknown; did you mean 'ce'"):
        create_method("cee")
    with pytest.raises(InputError, match="ce has no such option"):
        create_method("ce", q=0.7)


def test_the_penalty_is_the_sum_over_networks_and_sub_classifiers():
    """Eq. 3 with a confidence of one half: two networks with two sub-classifiers each, four cross-entropies."""
    inner = create_method("coteaching", noise_rate=0.0, warmup=0, ramp=1)
    method = Alasca(inner, aux_weight=3.0, at=("stage1.0", "stage1.2"), confidence_from=0.5, warmup=None)
    bench, phase, batches, clock = one_step(method)
    torch.manual_seed(3)
    found = method.step(bench.nets, batches, phase, clock).loss
    torch.manual_seed(3)
    outputs = [net(batches["all"].views[0]) for net in bench.nets]
    labels = batches["all"].labels[:, None]
    expected = torch.zeros(())
    for output in outputs:
        expected = expected - output.logits.log_softmax(1).gather(1, labels).mean()
        for logits in output.aux:
            log_q = logits.log_softmax(1)
            expected = expected - 3.0 * (0.5 * log_q.gather(1, labels)[:, 0] + 0.5 * log_q.mean(1)).mean()
    assert [len(output.aux) for output in outputs] == [2, 2]
    torch.testing.assert_close(found, expected)


def test_labels_are_not_corrected_where_the_main_classifier_alone_is_smoothed():
    """It would agree with itself: whatever the warm-up, the same training."""
    first, second = (
        everything(trained(Alasca(create_method("ce"), smooths="main", warmup=warmup), planted(24), settings(3)))
        for warmup in (0, 5)
    )
    require_same(first, second, "correction began")


def test_all_classifiers_predict_where_nobody_says_otherwise():
    for options, kind in (({}, "all"), ({"predict": "main"}, "main"), ({"smooths": "main"}, "main")):
        made = trained(Alasca(create_method("ce"), **options), planted(), settings(1))
        assert made.job.method.prediction == kind
        record = made.state.history[-1]
        assert record["test_accuracy"] == record.get(f"test_accuracy_{kind}", record["test_accuracy"])


def test_predict_average_uses_the_deepest_sub_classifier():
    made = trained(Alasca(create_method("ce"), predict="average"), planted(), settings(1))
    output = made.bench.nets[0].eval()(torch.randn(5, 3, 8, 8))
    main, (sub,) = output.logits.softmax(1), (q.softmax(1) for q in output.aux)
    found = made.job.method.predictions([output])
    torch.testing.assert_close(found[made.job.method.prediction].exp(), (main + sub) / 2)
    torch.testing.assert_close(found["main"].exp(), main)
    torch.testing.assert_close(found["sub"].exp(), sub)
    other = Output(torch.randn(5, 4), aux=(torch.randn(5, 4), torch.randn(5, 4)))
    two = [output._replace(aux=(output.aux[0], other.aux[1])), other]
    found = Alasca(create_method("coteaching")).predictions(two)
    deep = [q.softmax(1) for each in two for q in (each.logits, each.aux[1])]
    torch.testing.assert_close(found["average"].exp(), torch.stack(deep).mean(0))
    every = [q.softmax(1) for each in two for q in (each.logits, *each.aux)]
    torch.testing.assert_close(found["all"].exp(), torch.stack(every).mean(0))


def test_at_and_head_are_passed_on():
    made = trained(Alasca(create_method("ce"), at="stage2", head="linear"), planted(), settings(1))
    net = made.bench.nets[0]
    assert isinstance(net, OutputNet)
    assert net.places == ["stage2"]
    assert not [m for m in net.branches.modules() if isinstance(m, nn.Conv2d)]


def test_two_networks_differ_and_share_nothing():
    made = trained(TwoNetworks(), planted(), settings(2))
    first, second = made.bench.nets
    pointers: Sequence[set[int]] = [{p.data_ptr() for p in net.parameters()} for net in (first, second)]
    assert not pointers[0] & pointers[1]
    assert not torch.equal(next(first.parameters()), next(second.parameters()))


def test_runs_repeat_bit_for_bit():
    first = trained(Alasca(create_method("ce"), warmup=1), planted(8), settings(3))
    torch.randn(17)
    second = trained(Alasca(create_method("ce"), warmup=1), planted(8), settings(3))
    require_same(everything(first), everything(second), "two runs of one seed")
    other = trained(Alasca(create_method("ce"), warmup=1), planted(8), settings(3, seed=1))
    assert not torch.equal(next(first.bench.nets[0].parameters()), next(other.bench.nets[0].parameters()))


class Reversed(Method):
    """Mixes; reports what it saw in another order than its streams'."""

    mixes = True

    def plan(self, nets, probe, clock: Clock) -> list[Phase]:
        return [Phase((0,), {"a": Stream(probe.index[:32]), "b": Stream(probe.index[32:])})]

    def step(self, nets, batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        outputs = {name: nets[0](batch.views[0]) for name, batch in batches.items()}
        loss = sum(AF.cross_entropy(outputs[name].logits, batches[name].labels).mean() for name in batches)
        rows = torch.arange(32)
        mixed = Mixed(0, outputs["a"].aux, rows[:16], rows[:16], torch.ones(16))
        return Step(loss, tuple(Seen(0, outputs[name], batches[name]) for name in ("b", "a")), (mixed,))


def test_plain_penalties_pair_pictures_with_their_own_targets():
    method = Alasca(Reversed(), on="plain", warmup=None)
    made, phase, batches, clock = one_step(method)
    step = method.step(made.nets, batches, phase, clock)
    expected = []
    made.nets[0].train()
    for name in ("b", "a"):
        batch = batches[name]
        gamma = AF.confidence(stores(method)[0].read(batch.index), batch.labels)
        aux = made.nets[0](batch.views[0]).aux
        expected.append(sum(AF.smoothed_cross_entropy(q, batch.labels, gamma) for q in aux))
    torch.testing.assert_close(step.log["aux_loss"], torch.cat(expected).mean().detach(), rtol=0.005, atol=0)


@pytest.mark.parametrize(("on", "name", "forwards"), [
    ("mixed", "mixup", 2), ("plain", "mixup", 2), ("plain", "ce", 1), ("plain", "elr_plus", 2),
])  # fmt: skip
def test_a_plain_forward_is_made_once(on: str, name: str, forwards: int):
    """It serves the stores, the trace and the penalty."""
    method = Alasca(create_method(name), on=on)
    made, phase, batches, clock = one_step(method)
    seen = []
    for net in made.nets:
        net.register_forward_hook(lambda *_: seen.append(1))
    step = method.step(made.nets, batches, phase, clock)
    assert len(seen) == forwards
    learned = {item.net for item in step.seen if item.output.logits.requires_grad}
    assert learned == (set() if on == "mixed" else set(phase.train)), "a forward that nothing learns from has no graph"


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="what is mapped is read from Linux's /proc")
def test_averaged_logits_lie_in_the_folder_that_is_named(tmp_path: Path):
    one_step(held := Alasca(create_method("ce"), store_dir=str(tmp_path)))
    assert str(tmp_path / "alasca-store-") in Path("/proc/self/maps").read_text()
    assert stores(held)


class Nearly(Method):
    """Learns from all samples but one."""

    def plan(self, nets, probe, clock: Clock) -> list[Phase]:
        return [Phase((0,), {"all": Stream(probe.index[1:])})]

    def step(self, nets, batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        output = nets[0](batches["all"].views[0])
        return Step(AF.cross_entropy(output.logits, batches["all"].labels).mean(), (Seen(0, output, batches["all"]),))


def test_a_rest_of_one_sample_makes_no_batch():
    _, phase, _, _ = one_step(Alasca(Nearly(), rest=True))
    assert not phase.observe
