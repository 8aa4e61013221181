"""Audit: evidence, verdicts, label issues from probabilities of any model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

import alasca
from alasca import InputError, Recipe, Task, find_label_issues, train
from alasca.audit.evidence import (
    Witnesses,
    agreement,
    by_features,
    cheap_weight,
    exchanges,
    log_odds,
    margins,
    scaled,
    skill,
    weigh,
)  # fmt: skip
from alasca.audit.out_of_sample import (
    FOLDS,
    LeastSquares,
    Neighbours,
    cheap_probabilities,
    fold_numbers,
    linear_probabilities,
    narrowed,
    neighbour_probabilities,
    text_probabilities,
)
from alasca.audit.patches import dictionary, encoded, patch_features, reduced
from alasca.audit.quality import Known, assess
from alasca.audit.rounds import decide
from alasca.audit.verdict import FIX, KEEP, REVIEW, clean_probability, estimated_share, judge, parted
from alasca.stores import Traced


def planted(count: int = 600, classes: int = 4, share: float = 0.2, spread: float = 0.5, seed: int = 0):
    """Points about a corner for each class, and labels of which a share is redrawn among the other classes."""
    rng = np.random.default_rng(seed)
    true = np.arange(count) % classes
    points = np.eye(classes)[true] + rng.normal(size=(count, classes)) * spread / 2
    given = true.copy()
    wrong = rng.permutation(count)[: round(share * count)]
    given[wrong] = (true[wrong] + rng.integers(1, classes, len(wrong))) % classes
    return torch.from_numpy(points).float(), given, true


# --- samples of other folds


def test_a_group_lies_in_one_fold_and_folds_are_even():
    groups = np.arange(1000) // 4
    folds = fold_numbers(1000, groups)
    assert all(len(set(folds[groups == group])) == 1 for group in range(250))
    assert np.bincount(folds, minlength=FOLDS).tolist() == [200] * 5
    assert np.bincount(fold_numbers(11)).tolist() == [3, 2, 2, 2, 2]


def test_a_sample_and_its_fold_have_no_vote():
    points = torch.tensor([[0.0], [0.0], [0.0], [1.0]])
    labels, folds = np.array([0, 0, 1, 2]), np.array([0, 0, 1, 2])
    found = neighbour_probabilities(points, labels, 3, folds, neighbours=1)
    assert found.argmax(1).tolist() == [1, 1, 0, 0]  # of the last, any of the first three, of which the first is taken
    assert found.sum(1) == pytest.approx(np.ones(4), abs=1e-6)


def test_votes_by_hand():
    """Distances 1 and 3, their mean 2: weights exp(-1/2) and exp(-3/2), and half a vote that is spread evenly."""
    points = torch.tensor([[0.0], [1.0], [3.0]])
    found = neighbour_probabilities(points, np.array([-1, 0, 1]), 2, np.array([0, 1, 1]), neighbours=2)
    near, far = np.exp(-0.5), np.exp(-1.5)
    assert found[0] == pytest.approx([(near + 0.25) / (near + far + 0.5), (far + 0.25) / (near + far + 0.5)], rel=1e-5)
    assert found[1] == pytest.approx([0.5, 0.5])  # all others are of its own fold or have no label


def test_blocks_change_nothing(monkeypatch):
    points, given, _ = planted(101)
    whole = neighbour_probabilities(points, given, 4, fold_numbers(101))
    monkeypatch.setattr("alasca.audit.out_of_sample.BLOCK", 7 * 101)
    assert neighbour_probabilities(points, given, 4, fold_numbers(101)) == pytest.approx(whole, abs=1e-6)


def test_one_s_own_label_changes_nothing():
    """Out of sample: whoever changes one label changes what is said of others, never what is said of that sample."""
    points, given, _ = planted(120)
    folds = fold_numbers(120)
    before = cheap_probabilities(points, given, 4, folds)
    given[7] = (given[7] + 1) % 4
    after = cheap_probabilities(points, given, 4, folds)
    inside = folds == folds[7]
    assert after[inside] == pytest.approx(before[inside], abs=1e-7)
    assert not np.allclose(after[~inside], before[~inside], atol=1e-4)


def test_texts_are_told_apart_by_their_words():
    texts = [f"good film {k % 7}" if k % 2 else f"bad song {k % 5}" for k in range(60)]
    labels = np.arange(60) % 2
    labels[4] = 1
    found = text_probabilities(texts, labels, 2, fold_numbers(60))
    assert (found.argmax(1) == np.arange(60) % 2).all()
    assert text_probabilities(["a", "b", "c"], np.array([0, 1, 0]), 2, np.arange(3)).shape == (3, 2)


def test_classes_that_a_fold_never_meets_get_a_thousandth():
    points, given, _ = planted(60, classes=2, share=0)
    given[0] = 2
    folds = fold_numbers(60)
    found = cheap_probabilities(points, given, 3, folds)
    assert found.shape == (60, 3)
    assert found[folds == folds[0], 2].max() < 0.1
    assert found.sum(1) == pytest.approx(np.ones(60), abs=1e-5)


def test_narrowing_keeps_distances_where_they_are_and_draws_nothing():
    rows = torch.randn(300, 3) @ torch.randn(3, 200) + 5
    state = torch.get_rng_state()
    found = narrowed(lambda: iter(rows.split(64)), width=8)
    assert torch.equal(state, torch.get_rng_state())
    assert found.shape == (300, 8)
    rows -= rows.mean(0)  # far from 0, distances lose digits
    assert torch.allclose(torch.cdist(found, found), torch.cdist(rows, rows), atol=0.05)
    assert torch.equal(narrowed(lambda: iter(rows[:, :5].split(64)), width=8), rows[:, :5] - rows[:, :5].mean(0))
    assert narrowed(lambda: iter(torch.rand(4, 1, 64, 64).split(2))).shape == (4, 4)


@pytest.mark.parametrize("rows", [40, 400])
def test_least_squares_by_another_solver(rows: int):
    """Scores of each fold are those of scikit-learn's Ridge on the other folds; no label speaks for itself."""
    rng = np.random.default_rng(0)
    labels = np.arange(rows) % 3
    labels[:4] = -1
    points = np.eye(3)[np.abs(labels)] @ rng.normal(size=(3, 12)) + rng.normal(size=(rows, 12))
    folds = fold_numbers(rows)
    found = linear_probabilities(torch.from_numpy(points), labels, 3, folds)
    known = labels >= 0
    spread = points[known].std(0)
    scaled_points = (points - points[known].mean(0)) / spread
    targets = np.eye(3)[labels] - np.eye(3)[labels[known]].mean(0)
    scores = np.zeros((rows, 3))
    for fold in range(5):
        inside, outside = folds == fold, (folds != fold) & known
        model = Ridge(alpha=6.0, fit_intercept=False).fit(scaled_points[outside], targets[outside])
        scores[inside] = model.predict(scaled_points[inside])
    prior = np.log(np.eye(3)[labels[known]].mean(0))
    losses = {
        sharp: -np.log(softmax(sharp * scores[known] + prior, 1)[np.arange(known.sum()), labels[known]]).mean()
        for sharp in 2.0 ** (np.arange(-2, 13) / 2)
    }
    scores *= min(losses, key=losses.get)
    for _ in range(20):
        prior = prior + np.log(np.eye(3)[labels[known]].mean(0) / softmax(scores[known] + prior, 1).mean(0))
    assert found == pytest.approx(softmax(scores + prior, 1), abs=2e-3)
    assert found[known].mean(0) == pytest.approx(np.eye(3)[labels[known]].mean(0), abs=0.01)
    changed = labels.copy()
    changed[5] = (changed[5] + 1) % 3
    again = linear_probabilities(torch.from_numpy(points), changed, 3, folds)
    assert again[5] == pytest.approx(found[5], abs=0.02)  # but for what all labels decide: mean and temperature


def test_labels_that_are_distributions_count_in_parts():
    """Neighbours: votes by hand. Least squares: scores follow targets linearly, so those of a mean are the mean."""
    points = torch.tensor([[0.0], [1.0], [3.0]])
    votes = Neighbours(points, np.array([False, True, True]), np.array([0, 1, 1]), neighbours=2)
    near, far = np.exp(-0.5), np.exp(-1.5)
    found = votes(np.array([[0, 0], [0.7, 0.3], [0.2, 0.8]]))[0]
    total = near + far + 0.5
    assert found == pytest.approx([(0.7 * near + 0.2 * far + 0.25) / total, (0.3 * near + 0.8 * far + 0.25) / total])
    rows, given, true = planted(300, share=0.4, seed=1)
    asked = LeastSquares(rows, given, fold_numbers(300))
    noisy, clean = (asked(np.eye(4)[labels]) for labels in (given, true))
    half = asked((np.eye(4)[given] + np.eye(4)[true]) / 2)
    right = [(each.argmax(1) == true).mean() for each in (noisy, half, clean)]
    assert right[0] <= right[1] <= right[2]
    assert right[0] < right[2]
    assert half.mean(0) == pytest.approx(np.bincount(given, minlength=4) / 300, abs=0.01), "given labels' frequency"


def test_other_samples_are_asked_again_by_likelier_labels(monkeypatch):
    """Four in ten of each class go by the next one's name: what rounds of neighbours say comes nearer the truth."""
    points, _, true = planted(800, spread=1.0)
    rng, given = np.random.default_rng(0), true.copy()
    wrong = rng.random(800) < 0.4
    given[wrong] = (true[wrong] + 1) % 4
    votes, asked = Neighbours(points, np.ones(800, dtype=bool), fold_numbers(800)), []

    def others(targets):
        asked.append(targets.copy())
        return None, votes(targets)

    nothing = torch.zeros(800)
    known = Known(
        [str(k) for k in range(800)], "abcd", torch.from_numpy(given), Traced(*[nothing] * 8), torch.zeros(800, 4),
        nothing.numpy() > 0, nothing.numpy() > 0, {}, others, False, False, False, np.full(800, -1), None,
    )  # fmt: skip
    ranked, shares = [], []
    for rounds in (0, 1, 2):
        asked.clear()
        monkeypatch.setattr("alasca.audit.rounds.ROUNDS", rounds)
        records, verdict = assess(known)
        shares.append(verdict.share)
        assert len(asked) == rounds + 1
        assert (asked[0] == np.eye(4)[given]).all()
        assert all(targets.sum(1) == pytest.approx(np.ones(800), abs=1e-5) for targets in asked)
        ranked.append(roc_auc_score(wrong, -records.quality))
    assert ranked[0] + 0.01 < ranked[1] < ranked[2] + 0.005, ranked
    unread = np.arange(800) < 50
    assert len(set(shares)) == 1, "how many are wrong is told by what they say first"
    assess(replace(known, unread=unread))
    assert all((targets[unread] == 0).all() for targets in asked[-3:]), "whose picture can't be read has no vote"


def test_what_is_suggested_follows_the_network_too():
    """Of a sample that is surely not of class 0, others waver between 1 and 2: the trained network decides."""
    given = np.repeat([0, 1, 2], 20)
    probability = np.eye(3)[given] * 0.8 + 0.1 / 1.5
    probability[0] = [0.02, 0.49, 0.49]
    for sure in (1, 2):
        predicted = np.full((60, 3), 0.3)
        predicted[0, sure] = 0.6
        witnesses = Witnesses(margins(probability, given), features=probability, cheap=probability)
        _, verdict = decide(given, 3, lambda _, each=witnesses: each, 20.0, predicted)
        assert verdict.suggested[0] == sure
        assert verdict.suggested.tolist()[1:] == given.tolist()[1:]
    points, given, _ = planted(400, share=0.3)
    near = neighbour_probabilities(points, given, 4, fold_numbers(400))
    evidence, verdict = decide(given, 4, lambda _: Witnesses(margins(near, given), cheap=near))
    alone, both = (clean_probability(evidence.score, verdict.share, alike) for alike in (None, evidence.agreement))
    assert verdict.clean_probability == pytest.approx(both)
    assert abs(both - alone).max() > 0.01


def test_features_of_any_model_are_asked_again(monkeypatch):
    points, _, true = planted(800, spread=1.0)
    rng, given = np.random.default_rng(0), true.copy()
    wrong = rng.random(800) < 0.4
    given[wrong] = (true[wrong] + 1) % 4
    ranked = {}
    for rounds in (0, 2):
        monkeypatch.setattr("alasca.audit.rounds.ROUNDS", rounds)
        found = find_label_issues(given, features=points.numpy())
        ranked[rounds] = roc_auc_score(wrong, -found["label_quality"])
        outside = find_label_issues(given, np.eye(4)[true] * 0.6 + 0.1)
        assert outside.equals(find_label_issues(given, np.eye(4)[true] * 0.6 + 0.1)), "probabilities stay what they are"
    assert ranked[2] > ranked[0] + 0.02, ranked


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_a_rare_class_is_not_seen_where_it_is_not(share: float):
    """Least squares on clean data: of the frequent class hardly one in fifty is taken for the rare one."""
    rng, count = np.random.default_rng(0), 1000
    labels = (np.arange(count) < share * count).astype(int)
    points = rng.normal(size=(count, 60))
    points[:, 0] += 2.5 * labels
    found = linear_probabilities(torch.from_numpy(points), labels, 2, fold_numbers(count))
    assert (found.argmax(1) != labels)[labels == 0].mean() < (0.02 if share < 0.5 else 0.2)
    assert found[:, 1].mean() == pytest.approx(share, abs=0.02)


def test_patches_by_hand():
    """One direction, one picture: each patch made alike, whitened, compared; the mean of a ninth, for and against."""
    draw = torch.Generator().manual_seed(0)
    sample = torch.randn(500, 2, 6, 6, generator=draw)
    words = dictionary(sample, 4, torch.Generator().manual_seed(1))
    picture = torch.randn(1, 2, 16, 18, generator=draw)
    rows = sample.flatten(1)
    rows = (rows - rows.mean(1, keepdim=True)) / (rows.var(1, unbiased=False, keepdim=True) + 0.15).sqrt()
    mean = rows.mean(0)
    covariance = (rows - mean).t() @ (rows - mean) / len(rows)
    for step in (1, 2):
        likeness = torch.zeros(4, (16 - 6) // step + 1, (18 - 6) // step + 1)
        for y in range(likeness.shape[1]):
            for x in range(likeness.shape[2]):
                patch = picture[0, :, y * step : y * step + 6, x * step : x * step + 6].flatten()
                patch = (patch - patch.mean()) / (patch.var(unbiased=False) + 0.15).sqrt()
                likeness[:, y, x] = words.filters.flatten(1) @ (patch - mean)
        parts = [
            torch.nn.functional.adaptive_avg_pool2d((s * likeness - 0.25).clamp(min=0), 3).flatten() for s in (1, -1)
        ]
        torch.testing.assert_close(encoded(picture, words, step)[0], torch.cat(parts), atol=1e-4, rtol=1e-4)
    unit = words.filters.flatten(1) @ torch.linalg.inv(whitening(covariance)).t()
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(4), atol=1e-3, rtol=1e-3)  # directions of whitened patches
    both = encoded(picture, words, 1, mirrored=True)
    torch.testing.assert_close(both, encoded(picture.flip(3), words, 1, mirrored=True))
    torch.testing.assert_close(both, (encoded(picture, words, 1) + encoded(picture.flip(3), words, 1)) / 2)


def whitening(covariance: torch.Tensor) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors / (values + 0.1).sqrt()) @ vectors.t()


def test_patches_tell_what_neighbours_in_pixels_do_not():
    """Short strokes at random places, lying or standing."""
    rng, count = np.random.default_rng(0), 240
    labels, pictures = np.arange(count) % 2, rng.normal(0, 0.3, (count, 1, 24, 24)).astype(np.float32)
    for k in range(count):
        for _ in range(6):
            top, left, along = rng.integers(0, 20), rng.integers(0, 20), np.arange(4)
            pictures[k, 0, top + along * labels[k], left + along * (1 - labels[k])] += 2
    folds, batches = fold_numbers(count), torch.from_numpy(pictures).split(50)
    points = patch_features(
        lambda rows: iter(batches) if rows is None else iter([torch.cat(batches)[rows]]), count, mirrored=False
    )
    assert points.shape == (count, 2 * 200 * 9)
    right = (linear_probabilities(points, labels, 2, folds).argmax(1) == labels).mean()
    near = (neighbour_probabilities(narrowed(lambda: iter(batches)), labels, 2, folds).argmax(1) == labels).mean()
    assert right > 0.95
    assert near < 0.9
    assert torch.equal(
        points,
        patch_features(
            lambda rows: iter(batches) if rows is None else iter([torch.cat(batches)[rows]]), count, mirrored=False
        ),
    )
    large = torch.rand(5, 3, 50, 100)
    assert reduced(large).shape == (5, 3, 32, 64)
    assert patch_features(lambda rows: iter([large]), 5, mirrored=True).shape == (5, 3600)


# --- evidence


def test_skill_and_margins_by_hand():
    probability = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.35, 0.25], [0.2, 0.3, 0.5]])
    given = np.array([0, 2, 1, 2])
    assert margins(probability, given) == pytest.approx([0.2, 0.5, -0.05, 0.2])
    assert skill(probability, given) == pytest.approx((2 / 3 - 1 / 3) / (1 - 1 / 3))  # of recalls 1, 0 and 1
    assert skill(np.eye(3)[[2, 2, 2, 2]], given) == 0.0
    assert skill(probability, np.zeros(4, dtype=int)) == 0.0  # one class: nothing to be told
    assert scaled(np.array([0.0, 0.0, 0.0, 100.0])).max() == pytest.approx(100 / np.std([0, 0, 0, 100]))
    assert scaled(np.arange(1000.0) ** 9).max() == 4
    assert np.isfinite(scaled(np.array([1.0, np.nan, 3.0]))).all()


def test_odds_of_evenly_spread_errors_are_those_of_the_given_class():
    """log(p / (1 - p)) with two classes, and with more, less log of the mean of what the others get."""
    rng = np.random.default_rng(0)
    true = np.repeat(np.arange(4), 400)
    probability = np.eye(4)[true] * 0.5 + rng.dirichlet(np.ones(4), 1600) * 0.5
    given = true.copy()
    for k in range(4):  # of each class 20 to each other one
        for step in (1, 2, 3):
            given[400 * k + 20 * step : 400 * k + 20 * (step + 1)] = (k + step) % 4
    p = probability[np.arange(1600), given]
    assert np.corrcoef(log_odds(probability, given), np.log(p / (1 - p)))[0, 1] > 0.95
    halves = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9]])
    assert log_odds(halves, np.array([0, 0, 1, 1])) == pytest.approx(np.log([9, 7 / 3, 4, 9]))
    assert np.isfinite(log_odds(np.eye(2)[[0, 1, 0, 1]], np.array([0, 1, 1, 0]))).all()


def test_a_thousand_classes_have_odds_too():
    """What is surely one of a thousand classes has odds of a hundred at least, and does not depend on their number."""
    for classes in (2, 10, 100, 1000):
        probability = np.zeros((classes, classes), dtype=np.float32)
        probability[np.arange(classes), np.arange(classes)] = 1.0
        assert log_odds(probability, np.arange(classes)).min() > np.log(90)


def test_exchanges_by_hand():
    """120 samples, as sure each: half of class 0 are called 1. Off the diagonal 20 of 120 are 1/12 a class and other
    class; 20 + 0.5 * 120 / 3 = 40 samples of such even exchanges stand beside the 40 of each class.
    """
    probability = np.repeat(np.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.1, 0.0, 0.9]]), 40, axis=0)
    given = np.repeat([0, 1, 2], [20, 60, 40])
    rate, rest = (20 + 40 / 12) / 80, (40 / 12) / 80
    mean = (rate + 5 * rest) / 6
    expected = np.full((3, 3), rest / mean)
    expected[0, 1] = rate / mean
    np.fill_diagonal(expected, 0)
    assert exchanges(probability, given) == pytest.approx(expected)
    order = np.random.default_rng(0).permutation(120)
    assert exchanges(probability[order], given[order]) == pytest.approx(expected)
    unsure = np.concatenate([probability, probability * 0.4 + 0.2])  # the other 60% are not counted
    assert exchanges(unsure[:300], np.concatenate([given, 2 - given])[:300]) == pytest.approx(expected)


def test_who_takes_labels_from_one_class_is_measured_against_it():
    """Every wrong 1 was a 0: of two labels 1 of which others say 0.4, that with 0.5 for 0 is worse off than that with
    0.5 for 2, though margins are the same."""
    true = np.repeat(np.arange(3), 200)
    probability = np.eye(3)[true] * 0.85 + 0.05
    given = true.copy()
    given[:80] = 1
    probability[-2:] = [[0.5, 0.4, 0.1], [0.1, 0.4, 0.5]]
    given[-2:] = 1
    found = log_odds(probability, given)
    assert margins(probability, given)[-2] == pytest.approx(margins(probability, given)[-1])
    assert found[-2] < found[-1] - 0.5


def test_agreement_is_the_correlation_of_network_and_others():
    given, rng = np.arange(200) % 2, np.random.default_rng(0)
    certain = rng.uniform(0.2, 0.8, 200)
    others = np.stack([1 - certain, certain], 1)
    others = np.where(given[:, None] == 1, others, others[:, ::-1])
    margin = log_odds(others, given)
    assert agreement(given, Witnesses(margin=margin, cheap=others)) == pytest.approx(1.0)
    assert agreement(given, Witnesses(margin=-margin, cheap=others)) == pytest.approx(-1.0)
    assert agreement(given, Witnesses(margin=margin, features=others)) is None, "they are the network's own"
    assert agreement(given, Witnesses(margin=margin, cheap=others, features=others[::-1])) == pytest.approx(1.0)
    assert agreement(given, Witnesses(cheap=others)) is None
    assert agreement(given, Witnesses(margin=margin)) is None
    assert agreement(given, Witnesses(margin=np.zeros(200), cheap=others)) == 0.0
    assert weigh(given, Witnesses(margin, cheap=others)).agreement == pytest.approx(1.0)
    assert weigh(given, Witnesses(margin, cheap=others, beside=True)).agreement == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("alike", "slope"), [(None, -2.25 + 4.4), (1.0, -0.84 + 1.59 + 0.96), (0.5, -0.84 + 0.795 + 0.96)]
)
def test_probabilities_are_the_steeper_the_more_alike_witnesses_judge(alike: float | None, slope: float):
    """Scores of two values part entirely; the log-odds of their probabilities lie apart by the slope times 2."""
    score = np.repeat([-1.0, 1.0], [30, 70])
    found = clean_probability(score, 0.3, alike)
    assert found.mean() == pytest.approx(0.7)
    odds = np.log(found / (1 - found))
    assert odds[-1] - odds[0] == pytest.approx(2 * np.exp(slope), rel=1e-4)


def test_what_is_marked_and_what_is_changed():
    """Marked from 40% on; changed from 75% on where the suggestion is 1.4 times likelier right than the label."""
    points, given, _ = planted(600, share=0.3)
    probability = neighbour_probabilities(points, given, 4, fold_numbers(600))
    for alike in (0.0, 0.5, 1.0):
        score = scaled(margins(probability, given))
        found = judge(given, probability, score, agreement=alike)
        assert found.clean_probability == pytest.approx(clean_probability(score, found.share, alike))
        wrong = 1 - found.clean_probability
        assert found.low > 0
        assert (found.issue == (wrong > 0.4)).all()
        fix = found.decision == FIX
        better = found.suggested_probability > 1.4 * found.clean_probability
        assert (fix == (found.issue & better & (wrong > 0.75))).all()
        assert fix.any() or alike == 0, "of two witnesses that do not agree, none is sure enough"
        assert "a probability above 40%" in found.findings[0]


@pytest.mark.parametrize(("ratio", "weight"), [(0.4, 0.0), (0.55, 0.0), (0.7, 0.5), (0.85, 1.0), (1.2, 1.0)])
def test_cheap_classifiers_are_believed_where_they_do_as_well(ratio, weight):
    """Of 100 samples features get 80 right beyond chance, the cheap classifier a share of that."""
    given = np.arange(200) % 2

    def right(share: float) -> np.ndarray:
        answer = given.copy()
        answer[: round(100 * (1 - share))] = 1 - answer[: round(100 * (1 - share))]
        return np.eye(2)[answer]

    found = cheap_weight(given, Witnesses(features=right(0.8), cheap=right(0.8 * ratio)))
    assert found == pytest.approx(weight, abs=1e-6)


def test_features_that_see_no_more_are_not_asked():
    given = np.arange(40) % 2
    leaky, cheap = np.eye(2)[given], np.full((40, 2), 0.5)
    assert cheap_weight(given, Witnesses(features=leaky, cheap=cheap)) == 0.0
    assert cheap_weight(given, Witnesses(features=leaky, cheap=cheap, deeper=False)) == 1.0
    assert cheap_weight(given, Witnesses(features=leaky, deeper=False)) == 0.0  # there is nobody else
    assert weigh(given, Witnesses(features=leaky, cheap=cheap, deeper=False)).probability == pytest.approx(cheap)


def test_who_is_believed_decides_the_score():
    given = np.arange(8) % 2
    features, cheap = np.full((8, 2), 0.5), np.eye(2)[given] * 0.8 + 0.1
    features[np.arange(8), given] += np.linspace(0.01, 0.2, 8)
    features[:, :] /= features.sum(1, keepdims=True)
    margin, sub = np.linspace(-1, 1, 8), np.linspace(1, -1, 8)
    network = weigh(given, Witnesses(margin, sub, features, 1 - cheap))
    assert network.cheap_weight == 0
    assert network.score == pytest.approx((scaled(margin) + scaled(log_odds(features, given))) / 2)
    assert network.probability == pytest.approx(features)
    crowd = weigh(given, Witnesses(margin, sub, features, cheap))
    assert crowd.cheap_weight == 1
    assert crowd.score == pytest.approx((scaled(sub) + scaled(log_odds(cheap, given))) / 2)
    assert crowd.probability == pytest.approx(cheap)
    unseen = sub.copy()
    unseen[3] = np.nan
    partly = weigh(given, Witnesses(margin, unseen, features, cheap))
    assert partly.score[3] == pytest.approx((scaled(margin)[3] + scaled(log_odds(cheap, given))[3]) / 2)
    alone = weigh(given, Witnesses(margin=margin, cheap=cheap))
    assert alone.score == pytest.approx((scaled(margin) + scaled(log_odds(cheap, given))) / 2)


def test_a_classifier_of_patches_is_believed_beside_the_network():
    """Of 100 samples features get 80 right beyond chance, patches 56 (0.7 of that): the latter count half."""
    given = np.arange(200) % 2
    margin, rng = np.linspace(-1, 1, 200), np.random.default_rng(0)

    def right(share: float) -> np.ndarray:
        answer = given.copy()
        answer[: round(100 * (1 - share))] = 1 - answer[: round(100 * (1 - share))]
        return np.eye(2)[answer] * 0.5 + 0.25 + rng.uniform(-0.1, 0.1, (200, 2))

    features, patches = right(0.8), right(0.56)
    found = weigh(given, Witnesses(margin, -margin, features, patches, beside=True))
    assert found.cheap_weight == pytest.approx(0.5)
    assert found.probability == pytest.approx((features + 0.5 * patches) / 1.5)
    parts = scaled(margin), scaled(log_odds(features, given)), scaled(log_odds(patches, given))
    assert found.score == pytest.approx((parts[0] + parts[1] + 0.5 * parts[2]) / 2.5)
    alone = weigh(given, Witnesses(margin, cheap=patches, beside=True))
    assert alone.probability == pytest.approx(patches)
    assert alone.score == pytest.approx((parts[0] + parts[2]) / 2)


# --- verdicts


def test_the_share_is_that_of_the_samples_that_are_surest():
    """80 samples at 1.0, with a tenth wrong, 120 at 0.4, where all disagree: their mean, 0.64, is far below 0.72."""
    probability = np.zeros((200, 3))
    probability[:80, 0], probability[80:] = 1.0, [0.4, 0.3, 0.3]
    given = np.array([0] * 72 + [1] * 8 + [2] * 120)
    assert estimated_share(given, probability) == (pytest.approx(0.1), 0.0)
    assert estimated_share(given[::-1], probability[::-1]) == (pytest.approx(0.1), 0.0)
    probability[80:] = [0.617, 0.2, 0.183]  # 0.4 + 0.6 * 0.617 = 0.77: half way between hard and easy
    assert estimated_share(given, probability) == (pytest.approx(0.1), pytest.approx(0.5, abs=0.01))
    probability[80:] = [0.9, 0.05, 0.05]
    assert estimated_share(given, probability) == (pytest.approx(0.1), 1.0)


def test_two_groups_are_parted_where_otsu_says():
    """Of 0, 1, 7, 8 the variance is 12.5; between {0, 1} and {7, 8} lies 7^2 / 4 = 12.25 of it."""
    assert parted(np.array([8.0, 0.0, 7.0, 1.0])) == (pytest.approx(12.25 / 12.5), 0.5)
    assert parted(np.array([0.0, 5.0, 5.0, 5.0, 5.0])) == (pytest.approx(1.0), 0.2)
    assert parted(np.ones(6)) == (0.0, 0.0)
    assert parted(np.array([1.0])) == (0.0, 0.0)


def test_probabilities_have_the_share_for_their_mean():
    score = np.random.default_rng(0).normal(size=500)
    for share in (0.001, 0.1, 0.5, 0.9):
        found = clean_probability(score, share)
        assert found.mean() == pytest.approx(1 - share, abs=1e-6)
        assert (np.diff(found[np.argsort(score)]) >= 0).all()
    assert clean_probability(np.ones(5), 0.2) == pytest.approx(np.full(5, 0.8))
    apart = clean_probability(np.repeat([-1.0, 1.0], 50), 0.5)
    near = clean_probability(np.linspace(-1, 1, 100), 0.5)
    assert apart.max() - apart.min() > near.max() - near.min() or apart.max() > 0.99


def test_a_planted_case_is_found_and_mended():
    points, given, true = planted(800, share=0.2)
    found = find_label_issues(given, features=points)
    wrong = given != true
    fix = (found["decision"] == FIX).to_numpy()
    low, high = found.attrs["wrong_share_interval"]
    assert low <= 0.2 <= high
    assert abs(found.attrs["wrong_share"] - 0.2) < 0.04
    assert wrong[fix].mean() > 0.9
    assert fix[wrong].mean() > 0.8
    mended = np.where(fix, found["suggested_label"], given)
    assert (mended != true).mean() < 0.05
    bins = np.clip((found["label_quality"] * 10).astype(int), 0, 9)
    gaps = [
        abs(found["label_quality"][bins == k].mean() - (~wrong)[bins == k].mean()) * (bins == k).mean()
        for k in range(10)
        if (bins == k).any()
    ]
    assert sum(gaps) < 0.06


def test_clean_data_are_left_alone():
    points, given, _ = planted(800, share=0.0)
    found = find_label_issues(given, features=points)
    assert not (found["decision"] == FIX).any()
    assert found.as_mask().mean() < 0.03
    assert any("look clean" in line for line in found.attrs["findings"])


def test_labels_of_no_relation_are_left_alone():
    rng = np.random.default_rng(1)
    found = find_label_issues(rng.integers(0, 4, 500), features=rng.normal(size=(500, 6)))
    assert not found.as_mask().any()
    assert found.attrs["wrong_share_interval"] == (0.0, 1.0)
    assert any("chance" in line for line in found.attrs["findings"])


def test_tiny_classes_and_short_trainings_decide_nothing():
    points, given, _ = planted(400, share=0.2)
    given[given == 3] = 0
    given[[3, 7, 11, 15]] = 3  # four that are in truth
    verdict_of = find_label_issues(given, features=points)
    fix = (verdict_of["decision"] == FIX).to_numpy()
    assert not fix[given == 3].any()
    assert not (verdict_of["suggested_label"][fix] == 3).any()
    probability = neighbour_probabilities(points, given, 4, fold_numbers(400))
    score = margins(probability, given)
    assert (judge(given, probability, score, visits=5).decision == FIX).any()
    short = judge(given, probability, score, visits=4)
    assert not (short.decision == FIX).any()
    assert "4 times" in short.findings[1]


def test_a_fix_is_expected_to_help():
    points, given, _ = planted(600, share=0.3)
    probability = neighbour_probabilities(points, given, 4, fold_numbers(600))
    found = judge(given, probability, margins(probability, given))
    fix = found.decision == FIX
    assert (found.suggested_probability[fix] > found.clean_probability[fix]).all()
    assert (found.suggested[found.decision == KEEP] == given[found.decision == KEEP]).all()
    assert set(found.decision) == {KEEP, REVIEW, FIX}
    assert ((found.decision != KEEP) == found.issue).all()


def test_a_suggestion_is_another_class_and_its_probability_by_hand():
    """100 labels, of which the last 10 say 1 for 0: 1 in 4 of the surest 40 disagree, so 0.25 of each class's share is
    noise: 0.7 - 0.25 * 0.45 and 0.1 - 0.25 * 0.1 for classes 0 and 2 of the last ones.
    """
    given = np.array([0] * 45 + [1] * 45 + [2] * 10)
    probability = np.full((100, 3), 0.05)
    probability[np.arange(100), given] = 0.9
    given[35:45] = 1
    probability[35:45] = [0.94, 0.03, 0.03]
    probability[44] = [0.3, 0.5, 0.2]  # suspicious by its score alone
    score = margins(probability, given)
    score[44] = -0.9
    found = judge(given, probability, score)
    counts = np.array([35, 55, 10]) / 100
    rest = probability[36] - found.share * counts
    wrong = 1 - found.clean_probability
    assert found.issue[35:45].all()
    assert (found.suggested[found.issue] != given[found.issue]).all()
    assert found.suggested[44] == 0
    expected = wrong[36] * rest[0] / (rest[0] + max(rest[2], 0.01 / 3))
    assert found.suggested_probability[36] == pytest.approx(expected, rel=1e-5)


def test_clean_labels_are_marked_half_way_to_all_that_disagree():
    """Nobody of the surest 40% disagrees, 10% of the others do: a twentieth is to be looked at."""
    probability = np.full((200, 2), 0.1)
    given = np.arange(200) % 2
    probability[np.arange(200), given] = 0.9
    probability[180:] = 0.55
    probability[np.arange(180, 200), given[180:]] = 0.45
    score = np.linspace(1, 0, 200)
    found = judge(given, probability, score)
    assert found.share == found.low == 0
    assert found.issue.sum() == 10
    assert found.issue[-10:].all()
    assert set(found.decision) == {KEEP, REVIEW}


def test_nothing_moves_to_a_class_of_four():
    points, given, _ = planted(400, classes=2, share=0.2)
    given[:4] = 2
    probability = np.concatenate(
        [neighbour_probabilities(points, given % 2, 2, fold_numbers(400)), np.zeros((400, 1))], 1
    )
    wrong = np.flatnonzero(probability.argmax(1) != given)[:50]
    probability[wrong] = probability[wrong][:, [2, 2, 0]] * 0 + [0.02, 0.02, 0.96]
    found = judge(given, probability, margins(probability, given))
    assert (found.suggested[wrong] == 2).sum() > 20
    assert (found.decision == FIX).any()
    assert not (found.decision[found.suggested == 2] == FIX).any()


# --- from arrays


def test_cleanlab_reads_the_frame():
    points, given, _ = planted(200, classes=2)
    found = find_label_issues(given, features=points)
    assert list(found)[:4] == ["is_label_issue", "label_quality", "given_label", "predicted_label"]
    assert [str(found[name].dtype) for name in list(found)[:4]] == ["bool", "float64", "int64", "int64"]
    assert found.as_mask().dtype == bool
    assert isinstance(found[found.as_mask()], alasca.LabelIssues)


def test_epochs_and_names_and_groups():
    points, given, true = planted(300, classes=3)
    folds = fold_numbers(300)
    probability = neighbour_probabilities(points, given, 3, folds)
    epochs = np.stack([np.full_like(probability, 1 / 3), probability, probability])
    by_epoch = find_label_issues(given, epochs)
    names = ["cat", "dog", "eel"]
    named = find_label_issues([names[k] for k in given], epochs, classes=names)
    sorted_names = find_label_issues(np.array(names)[given], epochs)
    assert named["label_quality"].tolist() == by_epoch["label_quality"].tolist()
    assert named["suggested_label"].tolist() == [names[k] for k in by_epoch["suggested_label"]]
    pd.testing.assert_frame_equal(named, sorted_names)
    both = find_label_issues(given, probability, features=points, groups=np.arange(300) // 2)
    assert (given != true)[(both["decision"] == FIX).to_numpy()].mean() > 0.8
    missing = find_label_issues(np.where(given == 2, 0, given), probability)  # the last class has no label
    assert len(missing) == 300


@pytest.mark.parametrize(
    ("labels", "keywords", "words"),
    [
        ([], {"features": []}, "expected one label a sample"),
        ([0, 1], {}, "neither pred_probs nor features"),
        ([0, 0], {"features": [[0.0], [1.0]]}, "all are 0; expected at least two classes"),
        ([0, -1], {"features": [[0.0], [1.0]]}, "-1, expected whole numbers from 0"),
        (["a", None], {"features": [[0.0], [1.0]]}, "None at position 1"),
        (["a", "b"], {"features": [[0.0], [1.0]], "classes": ["a", "c"]}, "'b' is none of the classes (a, c)"),
        (["a", "b"], {"features": [[0.0], [1.0]], "classes": ["a", "b", "a"]}, "comes twice"),
        ([0, 1], {"pred_probs": [[2.0, -1.0], [0.5, 0.5]]}, "rows are no probabilities"),
        ([0, 1], {"pred_probs": [[0.5, 0.5]]}, "of shape [1, 2], expected [2, 2]"),
        ([0, 1], {"pred_probs": "no"}, "no table of numbers"),
        ([0, 2], {"pred_probs": [[0.5, 0.5], [0.5, 0.5]]}, "2 columns for 3 classes"),
        ([0, 1], {"features": [[0.0], [np.nan]]}, "some are not finite"),
        ([0, 1], {"features": [0.0, 1.0]}, "of shape [2], expected [2, D]"),
    ],
)  # fmt: skip
def test_bad_arrays_are_one_line(labels, keywords, words):
    with pytest.raises(InputError, match=r".") as error:
        find_label_issues(labels, **keywords)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


# --- of a run


def test_a_run_judges_its_labels(tmp_path):
    points, given, true = planted(400, share=0.25)
    task = Task.from_arrays(points.numpy(), given, truth=true)
    run = train(Recipe(epochs=6, batch_size=32, val_fraction=0.0), task, folder=tmp_path / "run")
    records, done = run.records(), run.done()
    fix = records.decision == FIX
    assert (given != true)[fix].mean() > 0.9
    assert fix[given != true].mean() > 0.7
    assert done["label_fixes"] == fix.sum()
    assert done["wrong_share_low"] <= 0.25 <= done["wrong_share_high"]
    assert done["findings"][0].startswith("About ")
    assert (records.suggested[records.decision == KEEP] == records.given[records.decision == KEEP]).all()
    table = records.table()
    assert {"decision", "suggested_probability", "mean_probability", "out_of_sample", "sub_margin"} <= set(table)


def test_features_of_a_network_that_learned_all_by_heart_are_shallow():
    shallow, middle, deep = (np.array([[share, 1 - share]]) for share in (0.6, 0.1, 0.2))
    assert by_features([shallow, middle, deep], 0.85) == pytest.approx(np.array([[0.4, 0.6]]))
    assert by_features([shallow, middle, deep], 0.86) == pytest.approx(shallow)
    assert by_features([deep], 0.5) == pytest.approx(deep)


def test_one_epoch_fixes_nothing(tmp_path):
    points, given, _ = planted(200, share=0.25)
    run = train(Recipe(epochs=1, batch_size=32), Task.from_arrays(points.numpy(), given), folder=tmp_path / "run")
    assert run.done()["label_fixes"] == 0
    assert any("train for more epochs" in line for line in run.done()["findings"])
