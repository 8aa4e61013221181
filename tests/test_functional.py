"""Losses, targets and smoothness against hand values, identities and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import alasca.functional as AF

TOY = torch.tensor([[0.7, 0.2, 0.1]]).log()
LABEL = torch.tensor([0])


def random_logits(rows: int = 7, classes: int = 5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, classes, generator=draw, dtype=torch.float64)
    return logits, torch.randint(classes, (rows,), generator=draw)


def test_hand_values():
    assert AF.cross_entropy(TOY, LABEL).item() == pytest.approx(0.356675, abs=1e-6)
    assert AF.label_smoothing(TOY, LABEL, 0.5).item() == pytest.approx(0.889787, abs=1e-6)
    assert AF.label_smoothing(TOY, LABEL, -1).item() == pytest.approx(-0.709549, abs=1e-6)
    target = torch.tensor([[0.5, 0.25, 0.25]])
    by_hand = -(0.5 * math.log(0.7) + 0.25 * math.log(0.2) + 0.25 * math.log(0.1))
    assert AF.soft_cross_entropy(TOY, target).item() == pytest.approx(by_hand, abs=1e-6)


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_smoothing_is_cross_entropy_plus_omega(seed: int, alpha: float):
    logits, labels = random_logits(seed=seed)
    classes = logits.shape[1]
    smoothed = AF.label_smoothing(logits, labels, alpha)
    torch.testing.assert_close(smoothed, F.cross_entropy(logits, labels, label_smoothing=alpha, reduction="none"))
    by_omega = (1 - alpha) * AF.cross_entropy(logits, labels) + alpha / classes * AF.smoothness(logits)
    torch.testing.assert_close(smoothed, by_omega)


@given(st.integers(0, 10**6), st.floats(0, 1), st.sampled_from(["uniform", "others"]))
def test_efficient_form_equals_the_built_target(seed: int, gamma: float, off_target: str):
    logits, labels = random_logits(seed=seed)
    classes = logits.shape[1]
    hot = F.one_hot(labels, classes).double()
    spread = torch.full_like(hot, 1 / classes) if off_target == "uniform" else (1 - hot) / (classes - 1)
    built = AF.soft_cross_entropy(logits, gamma * hot + (1 - gamma) * spread)
    torch.testing.assert_close(AF.smoothed_cross_entropy(logits, labels, gamma, off_target), built)
    per_sample = torch.full((len(labels),), gamma, dtype=torch.float64)
    stacked = AF.smoothed_cross_entropy(torch.stack([logits, -logits]), labels, per_sample, off_target)
    torch.testing.assert_close(stacked[0], built)


def test_confidence_one_and_zero():
    logits, labels = random_logits()
    torch.testing.assert_close(AF.smoothed_cross_entropy(logits, labels, 1.0), AF.cross_entropy(logits, labels))
    torch.testing.assert_close(AF.smoothed_cross_entropy(logits, labels, 0.0), AF.smoothness(logits) / logits.shape[1])


def test_gradient_of_the_auxiliary_loss():
    logits, labels = random_logits()
    logits.requires_grad_()
    gamma = torch.linspace(0, 1, len(labels), dtype=torch.float64)
    (found,) = torch.autograd.grad(AF.smoothed_cross_entropy(logits, labels, gamma).sum(), logits)
    hot = F.one_hot(labels, logits.shape[1]).double()
    expected = logits.detach().softmax(1) - gamma[:, None] * hot - (1 - gamma[:, None]) / logits.shape[1]
    torch.testing.assert_close(found, expected)


def test_als_against_eq_2():
    logits, labels = random_logits()
    beta = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    ce, omega = AF.cross_entropy(logits, labels), AF.smoothness(logits)
    torch.testing.assert_close(AF.als(logits, labels, "sum"), beta * ce + (1 - beta) * omega)
    torch.testing.assert_close(AF.als(logits, labels), beta * ce + (1 - beta) * omega / logits.shape[1])
    logits.requires_grad_()
    (found,) = torch.autograd.grad(AF.als(logits, labels).sum(), logits)
    hot = F.one_hot(labels, logits.shape[1]).double()
    expected = logits.softmax(1) - beta[:, None] * hot - (1 - beta[:, None]) / logits.shape[1]
    torch.testing.assert_close(found, expected.detach())  # beta carries no gradient


@pytest.mark.parametrize(
    "loss",
    [
        AF.cross_entropy,
        lambda x, y: AF.label_smoothing(x, y, 0.3),
        lambda x, y: AF.label_smoothing(x, y, -0.5),
        lambda x, y: AF.smoothed_cross_entropy(x, y, 0.6),
        lambda x, y: AF.smoothed_cross_entropy(x, y, 0.6, "others"),
        lambda x, y: AF.smoothness(x),
        lambda x, y: AF.soft_cross_entropy(x, F.one_hot(y, x.shape[1]).double()),
    ],
)
def test_gradcheck(loss):
    logits, labels = random_logits(4)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), logits.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_extreme_logits_stay_finite(dtype: torch.dtype):
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, -1e4, 1e4]], dtype=dtype).repeat(3, 1).requires_grad_()
    labels = torch.arange(6) // 2
    for loss in (
        AF.cross_entropy(logits, labels),
        AF.als(logits, labels),
        AF.smoothed_cross_entropy(logits, labels, 0.5),
    ):
        assert loss.dtype == torch.float32
        assert loss.isfinite().all()
        assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()


def test_confidence_hand_values():
    """One visit from zero with main logits (2, 0, -1), then a second."""
    once, twice = torch.tensor([[0.6, 0.0, -0.3]]), torch.tensor([[1.02, 0.0, -0.51]])
    assert AF.confidence(once, LABEL).item() == pytest.approx(0.811356, abs=1e-6)
    assert AF.confidence(once, torch.tensor([2])).item() == pytest.approx(0.054528, abs=1e-6)
    assert AF.confidence(twice, LABEL).item() == pytest.approx(0.946037, abs=1e-6)
    assert not AF.confidence(once.requires_grad_(), LABEL).requires_grad


def test_agreement_truth_table():
    main, deepest, shallow = torch.eye(3)[[1, 1, 0]], torch.eye(3)[[1, 2, 0]], torch.eye(3)[[2, 1, 0]]
    zeros = torch.zeros(3, dtype=torch.int64)
    assert AF.agreed_labels(zeros, main, (shallow, deepest)).tolist() == [1, 0, 0]
    assert AF.agreed_labels(zeros, main, (shallow, deepest), "all").tolist() == [0, 0, 0]
    assert AF.agreed_labels(zeros, main, (main, deepest), "all").tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: AF.cross_entropy(TOY, torch.tensor([3])), "labels"),
        (lambda: AF.cross_entropy(TOY, torch.tensor([-1])), "labels"),
        (lambda: AF.cross_entropy(TOY, torch.tensor([0.0])), "labels"),
        (lambda: AF.cross_entropy(TOY, torch.tensor([0, 0])), "labels"),
        (lambda: AF.cross_entropy(TOY.int(), LABEL), "logits"),
        (lambda: AF.cross_entropy(TOY[0], LABEL), "logits"),
        (lambda: AF.soft_cross_entropy(TOY, torch.ones(2, 3)), "targets"),
        (lambda: AF.label_smoothing(TOY, LABEL, 1.5), "alpha"),
        (lambda: AF.smoothed_cross_entropy(TOY, LABEL, 2.0), "confidence"),
        (lambda: AF.smoothed_cross_entropy(TOY, LABEL, 0.5, "elsewhere"), "off_target"),
        (lambda: AF.als(TOY, LABEL, "max"), "scale"),
        (lambda: AF.agreed_labels(LABEL, TOY, ()), "aux_logits"),
        (lambda: AF.agreed_labels(LABEL, TOY, (TOY,), "most"), "agreement"),
        (lambda: AF.symmetric_noise(LABEL, 1.5, 3), "rate"),
        (lambda: AF.symmetric_noise(LABEL, 0.5, 1), "num_classes"),
        (lambda: AF.symmetric_noise(torch.tensor([3]), 0.5, 3), "labels"),
    ],
)
def test_errors_name_the_argument(call, words: str):
    with pytest.raises(ValueError, match=rf"^{words}"):
        call()


@pytest.mark.parametrize(("inclusive", "expected"), [(True, 0.36), (False, 0.40)])
def test_symmetric_noise_rate(inclusive: bool, expected: float):
    clean = torch.arange(50_000) % 10
    draw = torch.Generator().manual_seed(3)
    noisy = AF.symmetric_noise(clean, 0.4, 10, inclusive, draw)
    changed = (noisy != clean).double()
    assert changed.mean().item() == pytest.approx(expected, abs=0.006)
    for k in range(10):
        assert changed[clean == k].mean().item() == pytest.approx(expected, abs=0.02)
    again = AF.symmetric_noise(clean, 0.4, 10, inclusive, torch.Generator().manual_seed(3))
    assert torch.equal(noisy, again)
    assert torch.equal(clean, torch.arange(50_000) % 10), "the input was changed"
