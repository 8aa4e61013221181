"""Robust losses against hand values of the literature, identities, finite differences and extreme logits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import alasca.functional as AF
from test_functional import LABEL, random_logits

TOY = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64).log()
VIEW = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).log()
P = 0.7

LOSSES = {
    "mae": AF.mae,
    "mae, scale 1": lambda z, y: AF.mae(z, y, scale=1.0),
    "rce": AF.rce,
    "gce": AF.gce,
    "gce, q 1": lambda z, y: AF.gce(z, y, q=1.0),
    "truncated_gce": AF.truncated_gce,
    "sce": lambda z, y: AF.sce(z, y, 6.0, 0.1),
    "nce": AF.nce,
    "normalized_focal": AF.normalized_focal,
    "nce_rce": lambda z, y: AF.nce_rce(z, y, 10.0, 0.1),
    "nce_mae": lambda z, y: AF.nce_mae(z, y, 10.0, 1.0),
    "agce": lambda z, y: AF.agce(z, y, 0.6, 0.6),
    "aul": lambda z, y: AF.aul(z, y, 5.5, 3.0),
    "ael": lambda z, y: AF.ael(z, y, 2.5),
    "nce_agce": lambda z, y: AF.nce_agce(z, y, 1.0, 4.0, 6.0, 1.5),
    "nce_aul": lambda z, y: AF.nce_aul(z, y, 1.0, 4.0, 6.3, 1.5),
    "nce_ael": lambda z, y: AF.nce_ael(z, y, 1.0, 4.0, 5.0),
    "js": lambda z, y: AF.jensen_shannon([z], y, (0.3, 0.7)),
    "gjs": lambda z, y: AF.jensen_shannon([z, z.flip(0)], y, (0.3, 0.35, 0.35)),
    "bootstrapping, soft": lambda z, y: AF.bootstrapping(z, y, 0.95),
    "bootstrapping, hard": lambda z, y: AF.bootstrapping(z, y, 0.8, hard=True),
    "label_smoothing": lambda z, y: AF.label_smoothing(z, y, 0.5),
    "negative smoothing": lambda z, y: AF.label_smoothing(z, y, -2.0),
    "tf_kd": AF.tf_kd,
    "tf_kd, legacy": lambda z, y: AF.tf_kd(z, y, legacy=True),
    "elr": lambda z, y: AF.elr_regularizer(z, torch.full_like(z, 0.1, dtype=torch.float32)),
    "distillation": lambda z, y: AF.distillation(z, torch.zeros_like(z), 3.0),
}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (AF.mae(TOY, LABEL), 0.6),
        (AF.mae(TOY, LABEL, scale=1.0), 0.3),
        (AF.gce(TOY, LABEL, 0.01), 0.356040),
        (AF.gce(TOY, LABEL), 0.315634),
        (AF.gce(torch.tensor([[0.5, 0.5]]).log(), LABEL), 0.549183),
        (AF.truncated_gce(TOY, LABEL), 0.315634),
        (AF.truncated_gce(TOY, torch.tensor([1])), 0.549183),
        (AF.rce(TOY, LABEL), 2.763102),
        (AF.rce(TOY, LABEL, -4.0), 1.2),
        (AF.sce(TOY, LABEL, 6.0, 0.1), 6 * 0.356675 + 0.1 * 2.763102),
        (AF.nce(TOY, LABEL), 0.083556),
        (AF.nce(TOY, torch.tensor([1])), 0.377033),
        (AF.nce(TOY, torch.tensor([2])), 0.539412),
        (AF.mae(TOY, LABEL) / sum(AF.mae(TOY, torch.tensor([k])) for k in range(3)), 0.15),
        (AF.nce_rce(TOY, LABEL, 10.0, 0.1), 10 * 0.083556 + 0.1 * 2.763102),
        (AF.nce_mae(TOY, LABEL, 10.0, 1.0), 10 * 0.083556 + 0.3),
        (AF.agce(TOY, LABEL, 0.6, 0.6), 0.258827),
        (AF.aul(TOY, LABEL, 5.5, 3), 6.489),
        (AF.ael(TOY, LABEL, 2.5), 0.755784),
        (AF.nce_agce(TOY, LABEL, 2.0, 3.0, 0.6, 0.6), 2 * 0.083556 + 3 * 0.258827),
        (AF.nce_aul(TOY, LABEL, 2.0, 3.0, 5.5, 3), 2 * 0.083556 + 3 * 6.489),
        (AF.nce_ael(TOY, LABEL, 2.0, 3.0, 2.5), 2 * 0.083556 + 3 * 0.755784),
        (AF.jensen_shannon([TOY], LABEL, (0.5, 0.5)), 0.338390),
        (AF.jensen_shannon([TOY], LABEL, (1e-5, 1 - 1e-5)), 0.356675),
        (AF.jensen_shannon([TOY, VIEW], LABEL, (0.3, 0.35, 0.35)), 0.549424),
        (AF.bootstrapping(TOY, LABEL, 0.95), 0.378932),
        (AF.bootstrapping(TOY, torch.tensor([1]), 0.8, hard=True), 1.358885),
        (AF.elr_regularizer(TOY, torch.tensor([[0.1, 0.8, 0.1]])), math.log(1 - 0.24)),
    ],
)
def test_hand_values(found: Tensor, expected: float):
    assert found.item() == pytest.approx(expected, abs=4e-6)


def test_jensen_shannon_near_its_upper_limit():
    """It tends to 1 - p_y only logarithmically."""
    found = AF.jensen_shannon([TOY], LABEL, (1 - 1e-6, 1e-6))
    assert found.item() == pytest.approx(0.303638, abs=1e-4)


def test_limits_and_identities():
    logits, labels = random_logits()
    p = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    ce = AF.cross_entropy(logits, labels)
    torch.testing.assert_close(AF.gce(logits, labels, 1e-6), ce, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(AF.gce(logits, labels, 1.0), AF.mae(logits, labels) / 2)
    torch.testing.assert_close(AF.rce(logits, labels) / -math.log(1e-4), AF.mae(logits, labels) / 2)
    torch.testing.assert_close(AF.sce(logits, labels, 1.0, 0.0), ce)
    torch.testing.assert_close(AF.agce(logits, labels, 0.6, 1.0), 1 - p)
    torch.testing.assert_close(AF.aul(logits, labels, 5.5, 1.0), 1 - p)
    torch.testing.assert_close(AF.normalized_focal(logits, labels, 0.0), AF.nce(logits, labels))
    torch.testing.assert_close(AF.bootstrapping(logits, labels, 1.0), ce)
    entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
    torch.testing.assert_close(AF.bootstrapping(logits, labels, 0.6), 0.6 * ce + 0.4 * entropy)
    focal = (1 - logits.softmax(1)) ** 0.5 * logits.log_softmax(1)
    by_formula = focal.gather(1, labels[:, None])[:, 0] / focal.sum(1)
    torch.testing.assert_close(AF.normalized_focal(logits, labels), by_formula)


def test_more_identities():
    logits, labels = random_logits()
    powers = logits.log_softmax(1) / math.log(2)
    torch.testing.assert_close(AF.nce(logits, labels), powers.gather(1, labels[:, None])[:, 0] / powers.sum(1))
    torch.testing.assert_close(AF.label_smoothing(logits, labels, 0.0), AF.cross_entropy(logits, labels))
    entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
    torch.testing.assert_close(AF.soft_cross_entropy(logits, logits.softmax(1)), entropy)
    logits.requires_grad_()
    for alpha in (0.5, -1.0):
        (gradient,) = torch.autograd.grad(AF.label_smoothing(logits, labels, alpha).sum(), logits)
        assert gradient.sum(1).abs().max() < 1e-12


def test_focal_weights_may_carry_no_gradient():
    """The authors' code: with w = (1 - p)^g held fixed, the loss is a ratio of w log p."""
    logits, labels = random_logits()
    logits.requires_grad_()
    (found,) = torch.autograd.grad(AF.normalized_focal(logits, labels, detach=True).sum(), logits)
    focal = (1 - logits.detach().softmax(1)) ** 0.5 * logits.log_softmax(1)
    by_hand = torch.autograd.grad((focal.gather(1, labels[:, None])[:, 0] / focal.sum(1)).sum(), logits)[0]
    torch.testing.assert_close(found, by_hand)
    (through,) = torch.autograd.grad(AF.normalized_focal(logits, labels).sum(), logits)
    assert not torch.allclose(found, through)


def over_labels(loss, logits: Tensor) -> Tensor:
    return torch.stack([loss(logits, torch.full((len(logits),), k)) for k in range(logits.shape[1])], 1)


def test_sums_over_labels():
    """MAE: 2 (K - 1) whatever the logits; normalised losses: 1. That is what makes them symmetric."""
    logits, _ = random_logits()
    torch.testing.assert_close(over_labels(AF.mae, logits).sum(1), torch.full((7,), 8.0, dtype=torch.float64))
    for loss in (AF.nce, AF.normalized_focal):
        values = over_labels(loss, logits)
        torch.testing.assert_close(values.sum(1), torch.ones(7, dtype=torch.float64))
        assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("loss", [AF.mae, AF.nce, AF.rce, AF.normalized_focal])
@pytest.mark.parametrize("rate", [0.2, 0.6])
def test_risk_of_symmetric_losses_under_symmetric_noise(loss, rate: float):
    """E over noisy labels = (1 - eta K / (K - 1)) L + eta C / (K - 1), C the sum over labels; by enumeration."""
    logits, labels = random_logits()
    classes = logits.shape[1]
    every = over_labels(loss, logits)
    chance = torch.full_like(every, rate / (classes - 1)).scatter(1, labels[:, None], 1 - rate)
    expected = (1 - rate * classes / (classes - 1)) * loss(logits, labels) + rate * every.sum(1) / (classes - 1)
    torch.testing.assert_close((chance * every).sum(1), expected)


@pytest.mark.parametrize("name", ["agce", "aul", "ael", "mae", "gce", "rce", "js", "nce"])
def test_losses_fall_as_the_label_grows_likelier(name: str):
    p = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
    logits = torch.stack([p, (1 - p) / 2, (1 - p) / 2], 1).log()
    values = LOSSES[name](logits, torch.zeros(25, dtype=torch.int64))
    assert (values.diff() < 0).all()


def test_where_losses_end():
    sure = torch.tensor([[1e4, 0.0, 0.0]], dtype=torch.float64)
    for name in ("agce", "aul", "mae", "gce", "rce", "nce", "js"):
        assert LOSSES[name](sure, LABEL).item() == pytest.approx(0, abs=1e-9), name
    assert AF.ael(sure, LABEL, 2.5).item() == pytest.approx(math.exp(-1 / 2.5))


def test_gradients_by_hand():
    logits, labels = random_logits()
    logits.requires_grad_()
    p, hot = logits.detach().softmax(1), F.one_hot(labels, 5).double()
    given = p.gather(1, labels[:, None])
    (mae,) = torch.autograd.grad(AF.mae(logits, labels).sum(), logits)
    torch.testing.assert_close(mae, -2 * given * (hot - p))
    (gce,) = torch.autograd.grad(AF.gce(logits, labels, 0.7).sum(), logits)
    torch.testing.assert_close(gce, given**0.7 * (p - hot))
    (truncated,) = torch.autograd.grad(AF.truncated_gce(logits, labels, 0.7, 0.5).sum(), logits)
    torch.testing.assert_close(truncated, torch.where(given > 0.5, gce, 0))
    assert (given < 0.5).any()
    assert (given > 0.5).any()


def test_truncation_is_pruning_at_its_best():
    """min over w in {0, 1} of sum w L_q(p) - L_q(k) sum w, plus N L_q(k), is the sum of truncated losses."""
    logits, labels = random_logits()
    values, bound = AF.gce(logits, labels), (1 - 0.5**0.7) / 0.7
    kept = (AF.cross_entropy(logits, labels).neg().exp() > 0.5).double()
    objective = (kept * values).sum() - bound * kept.sum() + len(labels) * bound
    torch.testing.assert_close(AF.truncated_gce(logits, labels).sum(), objective)


def test_elr_by_hand():
    """t = (.1, .8, .1), lambda 3: loss -0.466636, gradient (0.086842, -0.242105, 0.155263)."""
    logits, target = TOY.clone().requires_grad_(), torch.tensor([[0.1, 0.8, 0.1]], dtype=torch.float64)
    loss = AF.cross_entropy(logits, LABEL) + 3 * AF.elr_regularizer(logits, target)
    assert loss.item() == pytest.approx(-0.466636, abs=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient[0].tolist() == pytest.approx([0.086842, -0.242105, 0.155263], abs=1e-6)
    sure = torch.tensor([[20.0, 0.0, 0.0]], dtype=torch.float64)
    for target, expected in (([0.0, 1.0, 0.0], math.log(1 - 1e-4)), ([1.0, 0.0, 0.0], math.log(1e-4))):
        clamped = AF.elr_regularizer(sure, torch.tensor([target], dtype=torch.float64))
        assert clamped.item() == pytest.approx(expected, rel=1e-6), "p is clamped to [1e-4, 1 - 1e-4]"
    uniform = torch.full((1, 3), 0.2, dtype=torch.float64)
    (flat,) = torch.autograd.grad(AF.elr_regularizer(logits, uniform).sum(), logits)
    assert flat.abs().max() < 1e-12
    target = torch.tensor([[0.1, 0.8, 0.1]], dtype=torch.float64, requires_grad=True)
    assert not AF.elr_regularizer(TOY, target).requires_grad


def test_jensen_shannon_falls_apart_into_agreement_and_consistency():
    """D_GJS = D_JS(label, mean view) + (1 - pi_1) D_GJS(views)."""
    first, labels = random_logits(seed=1)
    second, _ = random_logits(seed=2)
    weights = (0.3, 0.5, 0.2)
    found = AF.jensen_shannon([first, second], labels, weights, scaled=False)
    share = [0.5 / 0.7, 0.2 / 0.7]
    views = [first.softmax(1), second.softmax(1)]
    mean = share[0] * views[0] + share[1] * views[1]
    hot = F.one_hot(labels, 5).double()
    mixture = 0.3 * hot + 0.7 * mean
    agreement = 0.3 * -mixture.gather(1, labels[:, None])[:, 0].log() + 0.7 * (mean * (mean / mixture).log()).sum(1)
    consistency = sum(w * (v * (v / mean).log()).sum(1) for w, v in zip(share, views, strict=True))
    torch.testing.assert_close(found, agreement + 0.7 * consistency)
    same = AF.jensen_shannon([first, first], labels, (0.3, 0.35, 0.35))
    torch.testing.assert_close(same, AF.jensen_shannon([first], labels, (0.3, 0.7)))
    torch.testing.assert_close(
        AF.jensen_shannon([first], labels, (0.3, 0.7)) * -(0.7 * math.log(0.7)),
        AF.jensen_shannon([first], labels, (0.3, 0.7), scaled=False),
    )


def test_the_virtual_teacher():
    """K = 100, T = 20: tempering probabilities gives .0105021 and .0099949, tempering in log space .015741, .009942."""
    for legacy, (on, off) in ((True, (0.0105021, 0.0099949)), (False, (0.015741, 0.009942))):
        p = torch.full((100,), 0.01 / 99, dtype=torch.float64)
        p[3] = 0.99
        teacher = (p / 20).softmax(0) if legacy else (p.log() / 20).softmax(0)
        assert teacher[3].item() == pytest.approx(on, rel=1e-4)
        assert teacher[0].item() == pytest.approx(off, rel=1e-4)
        logits, labels = 3 * torch.randn(1, 100, dtype=torch.float64), torch.tensor([3])
        student = logits.log_softmax(1) if legacy else (logits / 20).log_softmax(1)
        divergence = (teacher * (teacher.log() - student)).sum(1)
        expected = 0.9 * AF.cross_entropy(logits, labels) + 0.1 * divergence
        torch.testing.assert_close(AF.tf_kd(logits, labels, legacy=legacy), expected)
    smoothed = AF.label_smoothing(logits, labels, 0.1) - 0.1 * math.log(100)
    torch.testing.assert_close(AF.tf_kd(logits, labels, temperature=1e6, legacy=True), smoothed, rtol=1e-5, atol=1e-5)


def test_extreme_temperatures_and_small_label_weights():
    logits, labels = random_logits()
    for legacy in (False, True):
        for temperature in (1e-3, 1e3):
            assert AF.tf_kd(logits, labels, a=0.1, temperature=temperature, legacy=legacy).isfinite().all()
    for weight in (1e-2, 1e-3, 1e-4):
        single = AF.jensen_shannon([logits.float()], labels, (weight, 1 - weight))
        exact = AF.jensen_shannon([logits], labels, (weight, 1 - weight))
        torch.testing.assert_close(single.double(), exact, rtol=2e-3, atol=2e-3)


def test_distillation():
    student, _ = random_logits(seed=1)
    teacher, _ = random_logits(seed=2)
    expected = F.kl_div((student / 3).log_softmax(1), (teacher / 3).softmax(1), reduction="none").sum(1)
    torch.testing.assert_close(AF.distillation(student, teacher, 3.0), expected)
    assert AF.distillation(student, student, 3.0).abs().max() < 1e-12
    assert not AF.distillation(student, teacher.requires_grad_(), 3.0).requires_grad


def test_gradient_through_a_soft_bootstrap_is_an_option():
    logits, labels = random_logits()
    logits.requires_grad_()
    (through,) = torch.autograd.grad(AF.bootstrapping(logits, labels, 0.6).sum(), logits)
    (held,) = torch.autograd.grad(AF.bootstrapping(logits, labels, 0.6, detach=True).sum(), logits)
    target = 0.6 * F.one_hot(labels, 5).double() + 0.4 * logits.detach().softmax(1)
    torch.testing.assert_close(held, logits.detach().softmax(1) - target)
    assert not torch.allclose(through, held)


@pytest.mark.parametrize("name", LOSSES)
def test_gradcheck(name: str):
    logits, labels = random_logits(4)
    assert torch.autograd.gradcheck(lambda z: LOSSES[name](z / 3, labels), logits.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_stay_finite(name: str, dtype: torch.dtype):
    rows = [[1e4, -1e4, 0.0], [-1e4, -1e4, 1e4], [0.0, 0.0, 0.0], [1e4, 1e4, 1e4], [-1e4, 1e4, 9999.0], [12.0, 0, 0]]
    logits = torch.tensor(rows, dtype=dtype).repeat_interleave(3, 0).requires_grad_()
    labels = torch.arange(len(logits)) % 3
    loss = LOSSES[name](logits, labels)
    assert loss.dtype == torch.float32
    assert loss.shape == labels.shape
    assert loss.isfinite().all()
    assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("distillation", "elr")])
def test_labels_and_shapes_are_checked(name: str):
    logits, labels = random_logits(4)
    for wrong, words in (
        (torch.tensor([0, 1, 2, 5]), "labels: outside 0..4"),
        (torch.tensor([0, 1, 2, -1]), "labels: outside 0..4"),
        (labels.double(), "labels: torch.float64, expected integers"),
        (labels[:2], "labels: shape"),
        (labels[:, None], "labels: shape"),
    ):
        with pytest.raises(ValueError, match=rf"^{words}"):
            LOSSES[name](logits, wrong)
    with pytest.raises(ValueError, match=r"^logits: "):
        LOSSES[name](logits.long(), labels)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: AF.mae(TOY, LABEL, scale=0.0), "scale"),
        (lambda: AF.rce(TOY, LABEL, log_zero=0.0), "log_zero"),
        (lambda: AF.gce(TOY, LABEL, q=0.0), "q"),
        (lambda: AF.gce(TOY, LABEL, q=1.5), "q"),
        (lambda: AF.gce(TOY, LABEL, q=float("nan")), "q"),
        (lambda: AF.truncated_gce(TOY, LABEL, k=1.0), "k"),
        (lambda: AF.normalized_focal(TOY, LABEL, gamma=-1.0), "gamma"),
        (lambda: AF.agce(TOY, LABEL, 0.0, 1.0), "a"),
        (lambda: AF.agce(TOY, LABEL, 1.0, 0.0), "q"),
        (lambda: AF.aul(TOY, LABEL, 1.0, 1.0), "a"),
        (lambda: AF.ael(TOY, LABEL, -1.0), "a"),
        (lambda: AF.jensen_shannon([TOY], LABEL, (0.5, 0.3, 0.2)), "weights"),
        (lambda: AF.jensen_shannon([TOY], LABEL, (0.5, 0.6)), "weights"),
        (lambda: AF.jensen_shannon([TOY], LABEL, (0.0, 1.0)), "weights"),
        (lambda: AF.bootstrapping(TOY, LABEL, 1.5), "beta"),
        (lambda: AF.tf_kd(TOY, LABEL, alpha=2.0), "alpha"),
        (lambda: AF.tf_kd(TOY, LABEL, a=1.0), "a"),
        (lambda: AF.tf_kd(TOY, LABEL, temperature=0.0), "temperature"),
        (lambda: AF.elr_regularizer(TOY, torch.ones(1, 2)), "target"),
        (lambda: AF.distillation(TOY, torch.ones(1, 2)), "teacher"),
        (lambda: AF.distillation(TOY, TOY, 0.0), "temperature"),
    ],
)
def test_options_out_of_range_are_named(call, words: str):
    with pytest.raises(ValueError, match=rf"^{words}: "):
        call()
