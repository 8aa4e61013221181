"""Choosing samples, against hand values, planted cases, scikit-learn, and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

import alasca.functional as AF
from alasca.functional.selection import (
    alignment,
    class_confidence,
    class_directions,
    class_grams,
    confident_joint,
    forget_rate,
    joint_noise_rate,
    kept_count,
    masked_mean,
    mixture_noise_rate,
)
from alasca.functional.targets import from_uniform, mix, mixing_weight, sharpen
from test_functional import random_logits
from test_losses import LABEL, TOY, VIEW


def test_small_loss_by_hand():
    losses = torch.tensor([[3.0, 1, 2, 0], [0, 3, 1, 2]])
    kept = [AF.small_loss(own, 2) for own in losses]
    assert kept[0].nonzero()[:, 0].tolist() == [1, 3]
    assert kept[1].nonzero()[:, 0].tolist() == [0, 2]
    assert masked_mean(losses[0], kept[1]).item() == 2.5
    assert masked_mean(losses[1], kept[0]).item() == 2.5
    assert masked_mean(losses[0], torch.zeros(4, dtype=torch.bool)).item() == 0
    assert AF.small_loss(torch.zeros(5), 2).tolist() == [True, True, False, False, False], "ties go to the first"
    assert AF.small_loss(losses[0], torch.tensor(3)).sum() == 3
    assert AF.small_loss(losses[0], 9).all()
    for call, words in (
        (lambda: AF.small_loss(losses[0], 0), "keep"),
        (lambda: AF.small_loss(losses, 2), "losses"),
        (lambda: AF.disagreement(losses, losses[:1]), "logits2"),
    ):
        with pytest.raises(ValueError, match=rf"^{words}: "):
            call()


def test_disagreement_is_symmetric():
    first, second = torch.eye(3)[[0, 1, 2, 1]], torch.eye(3)[[0, 2, 2, 0]]
    assert AF.disagreement(first, second).tolist() == [False, True, False, True]
    assert torch.equal(AF.disagreement(first, second), AF.disagreement(second, first))


def test_schedules_by_hand():
    found = [round(forget_rate(epoch, 0.5, 10), 4) for epoch in range(12)]
    assert found == [0, 0.0556, 0.1111, 0.1667, 0.2222, 0.2778, 0.3333, 0.3889, 0.4444, 0.5, 0.5, 0.5]
    assert [kept_count(128, 0.2), kept_count(100, 0.8), kept_count(130, 0.9), kept_count(4, 1.0)] == [102, 20, 13, 1]


def test_jocor_by_hand():
    """p = (.7, .2, .1), p' = (.5, .3, .2), lambda .9: J .177156, CEs 1.049822, loss .264422."""
    assert AF.jocor(TOY, VIEW, LABEL, 1.0).item() == pytest.approx(0.177156, abs=1e-6)
    assert AF.jocor(TOY, VIEW, LABEL, 0.0).item() == pytest.approx(1.049822, abs=1e-6)
    assert AF.jocor(TOY, VIEW, LABEL, 0.9).item() == pytest.approx(0.264422, abs=1e-6)
    torch.testing.assert_close(AF.jocor(TOY, VIEW, LABEL), AF.jocor(VIEW, TOY, LABEL))
    torch.testing.assert_close(AF.jocor(TOY, TOY, LABEL, 0.9), 0.2 * AF.cross_entropy(TOY, LABEL))
    first, labels = random_logits(4, seed=1)
    second, _ = random_logits(4, seed=2)
    both = (first.requires_grad_(), second.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: AF.jocor(a, b, labels, 0.7), both)


def two_heaps(first: int = 700, second: int = 300) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    low = 0.1 + 0.02 * torch.randn(first, generator=draw)
    return torch.cat([low, 0.8 + 0.05 * torch.randn(second, generator=draw)])


def test_mixture_splits_two_heaps():
    values = two_heaps()
    low = AF.two_component_posterior(values)
    assert ((low > 0.5) == (torch.arange(1000) < 700)).double().mean() >= 0.995
    torch.testing.assert_close(AF.two_component_posterior(values, "high"), 1 - low)
    order = values.argsort()
    between = order[(values[order] > 0.1) & (values[order] < 0.8)]
    assert (low[between].diff() <= 1e-6).all(), "monotone between the means"
    assert mixture_noise_rate(values) == pytest.approx(0.3, abs=0.01)


def test_narrow_heaps_need_a_small_reg():
    """Spreads of .002 and .008: added variance of 5e-4 hides them, 1e-6 (FINE's) does not."""
    draw = torch.Generator().manual_seed(0)
    upper = 0.995 + 0.002 * torch.randn(700, generator=draw)
    values, own = torch.cat([upper, 0.98 + 0.008 * torch.randn(300, generator=draw)]), torch.arange(1000) < 700
    agrees = {
        reg: ((AF.two_component_posterior(values, "high", tol=1e-6, reg=reg) > 0.5) == own).double().mean()
        for reg in (5e-4, 1e-6)
    }
    assert agrees[1e-6] > 0.95
    assert agrees[5e-4] < 0.75


def test_numbers_that_are_not_finite_are_refused():
    for call in (
        lambda: AF.two_component_posterior(torch.tensor([0.1, torch.nan])),
        lambda: AF.facility_location(torch.tensor([[0.1], [torch.nan]]), 1),
        lambda: AF.centrality(torch.tensor([[0.1], [torch.inf]]), 1),
    ):
        with pytest.raises(ValueError, match="not all are finite"):
            call()


@pytest.mark.parametrize("seed", range(5))
def test_mixture_agrees_with_scikit_learn(seed: int):
    draw = torch.Generator().manual_seed(seed)
    values = torch.cat([torch.randn(400, generator=draw) * 0.1 + 0.2, torch.randn(250, generator=draw) * 0.2 + 0.9])
    reference = GaussianMixture(2, max_iter=200, tol=1e-9, reg_covar=5e-4, random_state=0).fit(values[:, None].numpy())
    expected = reference.predict_proba(values[:, None].numpy())[:, reference.means_[:, 0].argmin()]
    found = AF.two_component_posterior(values, max_iter=200, tol=1e-9)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-3)


def test_mixture_of_next_to_nothing():
    assert AF.two_component_posterior(torch.tensor([0.3])).tolist() == [1.0]
    assert AF.two_component_posterior(torch.full((9,), 0.3)).tolist() == [1.0] * 9
    assert AF.two_component_posterior(torch.tensor([0.0, 1.0])).round().tolist() == [1.0, 0.0]
    assert AF.two_component_posterior(torch.tensor([0.0] * 50 + [1e-20])).isfinite().all()
    for call in (
        lambda: AF.two_component_posterior(torch.zeros(2, 2)),
        lambda: AF.two_component_posterior(torch.zeros(2), "middle"),
        lambda: AF.two_component_posterior(torch.zeros(2), max_iter=0),
        lambda: AF.two_component_posterior(torch.zeros(2), reg=0.0),
    ):
        with pytest.raises(ValueError, match=r"^(values|component|max_iter|reg): "):
            call()


def test_confident_joint_by_hand():
    """Thresholds are the mean own probabilities: class 0 (.9 + .2) / 2 = .55, class 1 (.8 + .6) / 2 = .7."""
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.2, 0.8], [0.4, 0.6]])
    labels = torch.tensor([0, 0, 1, 1])
    assert confident_joint(p, labels).tolist() == [[1, 1], [0, 1]]
    whole = class_confidence(p, labels)
    assert joint_noise_rate(confident_joint(p, labels), whole[1]) == pytest.approx(0.25)
    halves = [slice(0, 3), slice(3, 4)]
    torch.testing.assert_close(sum(class_confidence(p[rows], labels[rows]) for rows in halves), whole)
    parts = [confident_joint(p[rows], labels[rows], whole) for rows in halves]
    assert sum(parts).tolist() == [[1, 1], [0, 1]], "samples that are not confident of any class do not count"
    empty = confident_joint(p[:, [0, 1, 1]] * torch.tensor([1, 1, 0]), labels)
    assert empty[2].sum() == 0, "a class without samples is never confident"
    assert joint_noise_rate(torch.zeros(2, 2, dtype=torch.int64), torch.tensor([3.0, 5.0])) == 0
    for count in (100, 1000, 5000):  # a network that says the same of all: rounding of a mean must not decide
        same, given = torch.full((count, 10), 0.1), torch.arange(count) % 10
        assert confident_joint(same, given).sum() == count


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("squared", [False, True])
def test_fine_finds_planted_samples(seed: int, squared: bool):
    draw = torch.Generator().manual_seed(seed)
    u, v = torch.linalg.qr(torch.randn(64, 2, generator=draw)).Q.T
    noise = 0.1 * torch.randn(100, 64, generator=draw) / 8
    clean = torch.arange(100) < 70
    z = torch.where(clean[:, None], u, v) + noise
    labels = torch.zeros(100, dtype=torch.int64)
    direction = class_directions(class_grams(z, labels, 1))[0]
    assert (direction @ u).abs() > 0.99
    scores = AF.fine_scores(z, labels, squared=squared)
    assert scores[clean].min() > 0.7
    assert scores[~clean].max() < 0.3
    assert torch.equal(AF.two_component_posterior(scores, "high") > 0.5, clean)
    torch.testing.assert_close(AF.fine_scores(-z, labels, squared=squared), scores)
    rotation = torch.linalg.qr(torch.randn(64, 64, generator=draw)).Q
    torch.testing.assert_close(AF.fine_scores(z @ rotation, labels, squared=squared), scores, rtol=1e-4, atol=1e-5)
    if not squared:
        torch.testing.assert_close(AF.fine_scores(7 * z, labels), scores)
        assert ((scores >= 0) & (scores <= 1 + 1e-6)).all()


def test_fine_fits_on_some_and_scores_all():
    z = torch.eye(4)[[0, 0, 1, 1, 1]]
    labels = torch.zeros(5, dtype=torch.int64)
    first = torch.tensor([True, True, False, False, False])
    assert AF.fine_scores(z, labels).tolist() == [0, 0, 1, 1, 1]
    assert AF.fine_scores(z, labels, first).tolist() == [1, 1, 0, 0, 0]
    assert alignment(torch.zeros(1, 4), torch.tensor([0]), torch.eye(4)[:1]).tolist() == [0]


def objective(points: Tensor, chosen: list[int]) -> float:
    distances = torch.cdist(points, points).double()
    return float((distances.max() - distances[:, chosen]).amax(1).sum())


def naive(points: Tensor, budget: int) -> list[int]:
    distances = torch.cdist(points.double(), points.double(), compute_mode="donot_use_mm_for_euclid_dist")
    best, chosen = torch.full((len(points),), float(distances.max()), dtype=torch.float64), []
    for _ in range(budget):
        gains = (best - distances).clamp(min=0).sum(1)
        gains[chosen] = -1
        chosen.append(int((gains >= gains.max() - 1e-10).byte().argmax()))  # ties but for rounding: the first
        best = torch.minimum(best, distances[chosen[-1]])
    return chosen


@pytest.mark.parametrize("entries", [2**26, 300])
@pytest.mark.parametrize("seed", range(4))
def test_lazy_greedy_is_greedy(seed: int, entries: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alasca.functional.coresets.ENTRIES", entries)
    points = torch.randn(90, 6, generator=torch.Generator().manual_seed(seed))
    index, weight = AF.facility_location(points, 45)
    assert index.tolist() == naive(points, 45)
    nearest = torch.cdist(points, points[index]).argmin(1)
    assert weight.tolist() == torch.bincount(nearest, minlength=45).tolist()
    assert weight.sum() == 90


@pytest.mark.parametrize("cached", [2**17, 64])
def test_ties_go_to_the_first_even_when_all_is_covered(cached: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alasca.functional.coresets.CACHED", cached)
    draw = torch.Generator().manual_seed(0)
    distinct = torch.rand(8, 3, generator=draw)
    points = distinct[torch.randint(8, (60,), generator=draw)]
    index, weight = AF.facility_location(points, 20)
    assert index.tolist() == naive(points, 20)
    assert weight[:8].sum() == 60
    assert (weight[8:] == 0).all(), "copies of medoids stand for nothing"
    grid = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0))
    assert AF.facility_location(grid, 18)[0].tolist() == naive(grid, 18)


def test_stochastic_greedy_is_nearly_as_good():
    points = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    exact = objective(points, AF.facility_location(points, 40)[0].tolist())
    torch.manual_seed(1)
    drawn = [AF.facility_location(points, 40, epsilon=0.1) for _ in range(5)]
    found = [objective(points, index.tolist()) for index, _ in drawn]
    assert all(0.9 * exact < value < exact for value in found), "random picks, but nearly as good"
    assert len({tuple(index.tolist()) for index, _ in drawn}) == 5
    for index, weight in drawn:
        assert len(set(index.tolist())) == 40
        assert weight.tolist() == torch.bincount(torch.cdist(points, points[index]).argmin(1), minlength=40).tolist()
    everyone, _ = AF.facility_location(points, 200, epsilon=0.5)
    assert sorted(everyone.tolist()) == list(range(200))
    greedy, _ = AF.facility_location(points, 40, epsilon=1e-9)
    assert objective(points, greedy.tolist()) >= min(found), "with nearly all points drawn it is greedy"
    worst = objective(points, torch.randperm(200)[:40].tolist())
    assert worst < min(found)
    for epsilon in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"^epsilon: "):
            AF.facility_location(points, 2, epsilon)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_is_close_to_the_best(seed: int):
    points = torch.randn(9, 3, generator=torch.Generator().manual_seed(seed))
    for budget in (2, 3, 4):
        best = max(objective(points, list(s)) for s in itertools.combinations(range(9), budget))
        found = objective(points, AF.facility_location(points, budget)[0].tolist())
        assert found >= (1 - np.exp(-1)) * best
        assert objective(points, [0, 1]) <= objective(points, [0, 1, 2]), "monotone"


def test_two_clusters_get_a_medoid_each():
    draw = torch.Generator().manual_seed(0)
    points = torch.cat([torch.randn(30, 2, generator=draw) * 0.1, torch.randn(10, 2, generator=draw) * 0.1 + 7.07])
    index, weight = AF.facility_location(points, 2)
    assert sorted((index >= 30).tolist()) == [False, True]
    assert weight.tolist() == [30, 10]
    assert (AF.centrality(points, 2) < 30).all(), "the degenerate rule takes both from the larger cluster"
    for call in (lambda: AF.facility_location(points, 0), lambda: AF.centrality(points, 41)):
        with pytest.raises(ValueError, match=r"^budget: "):
            call()
    same, weight = AF.facility_location(torch.zeros(5, 2), 3)
    assert len(set(same.tolist())) == 3
    assert weight.sum() == 5


@pytest.mark.parametrize("seed", range(5))
def test_medoids_among_planted_gradients(seed: int):
    """70 points near one gradient, 30 isotropic: weights, not counts, tell them apart; the dense core is planted."""
    draw = torch.Generator().manual_seed(seed)
    centre = torch.nn.functional.normalize(torch.randn(32, generator=draw), dim=0)
    planted = centre + 0.05 * torch.randn(70, 32, generator=draw) / 32**0.5
    points = torch.cat([planted, torch.nn.functional.normalize(torch.randn(30, 32, generator=draw), dim=1)])
    for budget in (10, 50):
        index, weight = AF.facility_location(points, budget)
        assert index[weight.argmax()] < 70
        assert 65 <= int(weight[index < 70].sum()) <= 80
    assert (AF.centrality(points, 50) < 70).all()


def test_sharpening_and_the_uniform_prior():
    p = torch.tensor([[0.7, 0.2, 0.1]])
    assert sharpen(p, 0.5)[0].tolist() == pytest.approx([0.907407, 0.074074, 0.018519], abs=1e-6)
    torch.testing.assert_close(sharpen(torch.eye(3), 0.5), torch.eye(3))
    assert from_uniform(torch.full((4, 3), 1 / 3)).abs() < 1e-6
    assert from_uniform(p) > 0
    expected = sum(1 / 3 * np.log(1 / 3 / q) for q in (0.7, 0.2, 0.1))
    assert from_uniform(p).item() == pytest.approx(expected, rel=1e-5)
    low = sharpen(torch.full((1, 100), 0.01), 0.04)
    torch.testing.assert_close(low, torch.full((1, 100), 0.01))
    assert sharpen(torch.tensor([[1.0, 0.0]]), 0.5).tolist() == [[1, 0]]


def test_mixing():
    draws = torch.stack([mixing_weight(4.0, 4.0, generator=torch.Generator().manual_seed(seed)) for seed in range(400)])
    assert draws.mean().item() == pytest.approx(0.5, abs=0.03)
    assert draws.var().item() == pytest.approx(1 / 36, rel=0.2)  # ab / ((a + b)^2 (a + b + 1))
    for seed in range(9):
        lam = mixing_weight(1.0, 1.0, upper=True, generator=torch.Generator().manual_seed(seed))
        other = mixing_weight(1.0, 1.0, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(lam, torch.maximum(other, 1 - other))
    x, order = torch.arange(6.0).view(3, 2), torch.tensor([2, 0, 1])
    torch.testing.assert_close(mix(x, order, torch.tensor(0.25)), 0.25 * x + 0.75 * x[order])


def test_directions_of_few_samples_in_many_dimensions():
    """Single precision, rank 20 of 256, half of the units dead, scales a thousand apart: the exact directions."""
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(20, 256, generator=draw).relu() * (torch.arange(256) % 2) * torch.logspace(-2, 1, 256)
    grams = class_grams(features, torch.zeros(20, dtype=torch.int64), 1)
    (found,) = class_directions(grams)
    exact = torch.linalg.svd(features.double(), full_matrices=False)[2][0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double().abs(), exact.abs(), atol=1e-4, rtol=1e-3)
