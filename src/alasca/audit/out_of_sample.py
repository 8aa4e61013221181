"""What other samples say of each label: out-of-sample probabilities of cheap classifiers, without training again.

A sample is judged by classifiers that were fitted to the labels of other folds, so that its own label had no say.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

FOLDS = 5
REFERENCES = 20_000
"""Labels that a sample is compared with, at most."""
FITTED = 5_000
"""Labels that a linear or a tree classifier is fitted to, at most: more would cost more than they tell."""
FITTED_CLASSES = 50
"""Classes up to which such classifiers are fitted at all; above, neighbours alone vote."""
RIDGE = 0.5
"""Least squares' penalty of weights, a column; strong, for labels that are partly wrong."""
SHARPNESS = tuple(2.0 ** (k / 2) for k in range(-2, 13))
"""What scores of least squares may be multiplied by before they are logits: 0.5 to 64."""
LEAST_PART = 0.05
"""Part of a label's distribution that a class must have to be fitted."""
BLOCK = 1 << 24
"""Distances that are held at once."""


def fold_numbers(count: int, groups: Sequence[Any] | np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """A fold from 0 to `FOLDS` - 1 for each of `count` samples; samples of one group share theirs.

    Args:
        count: N.
        groups: a value for each sample, such as the product that a picture shows; None: each is its own.
        seed: of the draw.

    >>> len(set(fold_numbers(4, ["a", "b", "a", "b"])[[0, 2]].tolist()))
    1
    """
    if groups is None:
        return np.random.default_rng(seed).permutation(count) % FOLDS
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    draw = np.random.default_rng(seed).permutation(int(group.max(initial=-1)) + 1) % FOLDS
    found: np.ndarray = draw[group]
    return found


def as_targets(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Labels as distributions over classes ``[N, K]``; zeros for -1.

    >>> as_targets(np.array([1, -1]), 2)
    array([[0., 1.],
           [0., 0.]], dtype=float32)
    """
    found = np.zeros((len(labels), num_classes), dtype=np.float32)
    known = np.flatnonzero(labels >= 0)
    found[known, labels[known]] = 1
    return found


class Neighbours:
    """The nearest labelled samples of other folds, found once: they vote by whatever labels they are taken to have.

    Args:
        points: where samples lie ``[N, D]``.
        known: which have a label ``[N]``; the others have no vote.
        folds: of each sample ``[N]``.
        neighbours: how many vote.
        seed: of the draw of `REFERENCES` where there are more labels.
    """

    def __init__(
        self, points: Tensor, known: np.ndarray, folds: np.ndarray, neighbours: int = 30, seed: int = 0
    ) -> None:
        owners = np.flatnonzero(known)
        if len(owners) > REFERENCES:
            owners = np.sort(np.random.default_rng(seed).permutation(owners)[:REFERENCES])
        device, count = points.device, min(neighbours, len(owners))
        reference, fold_of = points[torch.from_numpy(owners).to(device)].float(), torch.from_numpy(folds).to(device)
        theirs = fold_of[torch.from_numpy(owners).to(device)]
        self.which = np.zeros((len(points), count), dtype=np.int32)
        self.weight = np.zeros((len(points), count), dtype=np.float32)
        step = max(1, BLOCK // max(1, len(owners)))
        for start in range(0, len(points), step):
            rows = slice(start, start + step)
            distance = torch.cdist(points[rows].float(), reference)
            distance = distance.masked_fill(fold_of[rows][:, None] == theirs[None], torch.inf)
            near, which = distance.topk(count, largest=False)
            there = near.isfinite()
            scale = near.masked_fill(~there, 0).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp(min=1)
            weight = torch.exp(-near / scale.clamp(min=1e-9)).masked_fill(~there, 0)
            self.which[rows], self.weight[rows] = owners[which.cpu().numpy()], weight.cpu().numpy()

    def __call__(self, targets: np.ndarray) -> np.ndarray:
        """Votes ``[N, K]``, the nearer, the more they count; of labels that are distributions ``[N, K]``."""
        votes = np.zeros_like(targets)
        for weight, which in zip(self.weight.T, self.which.T, strict=True):
            votes += weight[:, None] * targets[which]
        found: np.ndarray = (votes + 0.5 / targets.shape[1]) / (votes.sum(1, keepdims=True) + 0.5)
        return found


def neighbour_probabilities(
    points: Tensor, labels: np.ndarray, num_classes: int, folds: np.ndarray, neighbours: int = 30, seed: int = 0
) -> np.ndarray:
    """Votes of the nearest labelled samples of other folds ``[N, K]``: the nearer, the more they count.

    Args:
        points: where samples lie ``[N, D]``.
        labels: given labels ``[N]``; -1 has no vote.
        num_classes: K.
        folds, neighbours, seed: see `Neighbours`.
    """
    return Neighbours(points, labels >= 0, folds, neighbours, seed)(as_targets(labels, num_classes))


class Numbers:
    """Neighbours, a linear classifier and extremely randomised trees on raw inputs.

    Args:
        points: raw inputs as rows of numbers ``[N, D]``, of about one scale.
        labels: given labels ``[N]``; -1: none.
        folds: of each sample ``[N]``.
    """

    def __init__(self, points: Tensor, labels: np.ndarray, folds: np.ndarray) -> None:
        self.known, self.folds = labels >= 0, folds
        self.votes = [Neighbours(points, self.known, folds, count) for count in (10, 30)]
        rows = points.cpu().double().numpy()
        self.rows = rows / max(float(rows.std()), 1e-9)

    def __call__(self, targets: np.ndarray) -> np.ndarray:
        """Mean out-of-sample probabilities ``[N, K]`` by labels that are distributions ``[N, K]``."""
        from sklearn.ensemble import ExtraTreesClassifier
        from sklearn.linear_model import LogisticRegression

        parts = [votes(targets) for votes in self.votes]
        if targets.shape[1] <= FITTED_CLASSES:
            trees = ExtraTreesClassifier(100, min_samples_leaf=3, n_jobs=torch.get_num_threads(), random_state=0)
            for model in (LogisticRegression(C=0.1, max_iter=200), trees):
                parts += [fitted_probabilities(model, self.rows, targets, self.known, self.folds)]
        found: np.ndarray = np.stack(parts).mean(0)
        return found


def cheap_probabilities(points: Tensor, labels: np.ndarray, num_classes: int, folds: np.ndarray) -> np.ndarray:
    """Mean out-of-sample probabilities ``[N, K]`` of cheap classifiers; see `Numbers`."""
    return Numbers(points, labels, folds)(as_targets(labels, num_classes))


class Words:
    """A linear classifier of weighted words and pairs of words.

    Args:
        texts: N of them.
        labels: given labels ``[N]``; -1: none.
        folds: of each sample ``[N]``.
    """

    def __init__(self, texts: Sequence[str], labels: np.ndarray, folds: np.ndarray) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        from alasca.data.text import words

        self.known, self.folds = labels >= 0, folds
        weights = TfidfVectorizer(
            tokenizer=words, token_pattern=None, lowercase=False, ngram_range=(1, 2),
            min_df=2 if len(texts) > 20 else 1, sublinear_tf=True, max_features=100_000,
        )  # fmt: skip
        try:
            self.rows = weights.fit_transform(texts)
        except ValueError:  # no word comes twice
            self.rows = None

    def __call__(self, targets: np.ndarray) -> np.ndarray:
        """Out-of-sample probabilities ``[N, K]`` by labels that are distributions ``[N, K]``."""
        from sklearn.linear_model import LogisticRegression

        if self.rows is None:
            return np.full(targets.shape, 1 / targets.shape[1], dtype=np.float32)
        model = LogisticRegression(C=10.0, max_iter=200)
        return fitted_probabilities(model, self.rows, targets, self.known, self.folds, most=REFERENCES)


def text_probabilities(texts: Sequence[str], labels: np.ndarray, num_classes: int, folds: np.ndarray) -> np.ndarray:
    """Out-of-sample probabilities ``[N, K]`` of texts; see `Words`."""
    return Words(texts, labels, folds)(as_targets(labels, num_classes))


class LeastSquares:
    """A linear classifier by least squares, which takes many columns, on all folds but one; it fits any labels at once.

    Scores become probabilities as those of logistic regression do, beside how frequent each class is, by the one
    temperature at which they fit the given labels best.

    Args:
        points: features ``[N, D]``.
        labels: given labels ``[N]``; -1: none.
        folds: of each sample ``[N]``.
    """

    def __init__(self, points: Tensor, labels: np.ndarray, folds: np.ndarray) -> None:
        self.given, self.folds = (torch.from_numpy(values).to(points.device) for values in (labels, folds))
        self.known = self.given >= 0
        rows = points.float()
        self.rows = (rows - rows[self.known].mean(0)) / rows[self.known].std(0, unbiased=False).clamp(min=1e-3)
        seen = self.rows[self.known]
        squares, self.factors = seen.t() @ seen, []
        ridge = RIDGE * rows.shape[1] * torch.eye(rows.shape[1], device=rows.device)
        for fold in range(FOLDS):
            own = self.rows[(self.folds == fold) & self.known]
            self.factors.append(torch.linalg.cholesky(squares - own.t() @ own + ridge))

    def __call__(self, targets: np.ndarray) -> np.ndarray:
        """Out-of-sample probabilities ``[N, K]`` by labels that are distributions ``[N, K]``."""
        known, wanted = self.known, torch.from_numpy(targets).float().to(self.rows.device)
        wanted = torch.where(known[:, None], wanted - wanted[known].mean(0), 0)
        products, scores = self.rows.t() @ wanted, torch.zeros_like(wanted)
        for fold, factor in enumerate(self.factors):
            inside = self.folds == fold
            theirs = products - self.rows[inside].t() @ wanted[inside]
            scores[inside] = self.rows[inside] @ torch.cholesky_solve(theirs, factor)
        given = self.given[known]
        often = one_hot(given, targets.shape[1]).float().mean(0)
        prior = often.clamp(min=0.5 / len(scores)).log()
        losses = {sharp: float(cross_entropy(sharp * scores[known] + prior, given)) for sharp in SHARPNESS}
        scores *= min(losses, key=losses.__getitem__)
        for _ in range(20):  # until each class is as frequent in them as among the labels
            prior = prior + (often.clamp(min=1e-6) / (scores[known] + prior).softmax(1).mean(0).clamp(min=1e-6)).log()
        found: np.ndarray = (scores + prior).softmax(1).cpu().numpy()
        return found


def linear_probabilities(points: Tensor, labels: np.ndarray, num_classes: int, folds: np.ndarray) -> np.ndarray:
    """Out-of-sample probabilities ``[N, K]`` of a linear classifier by least squares; see `LeastSquares`."""
    return LeastSquares(points, labels, folds)(as_targets(labels, num_classes))


def fitted_probabilities(
    model: Any, rows: Any, targets: np.ndarray, known: np.ndarray, folds: np.ndarray, most: int = FITTED
) -> np.ndarray:
    """Probabilities ``[N, K]`` of a scikit-learn classifier that was fitted to all folds but one.

    Args:
        model: takes weights of samples.
        rows: inputs ``[N, ...]``.
        targets: labels as distributions ``[N, K]``: a sample counts for a class by its share, from `LEAST_PART` on.
        known: which have a label ``[N]``.
        folds: of each sample ``[N]``.
        most: samples that it is fitted to, at most.
    """
    found = np.full(targets.shape, 1 / targets.shape[1], dtype=np.float32)
    for fold in range(FOLDS):
        inside, outside = np.flatnonzero(folds == fold), np.flatnonzero((folds != fold) & known)
        if len(outside) > most:
            outside = np.sort(np.random.default_rng(fold).permutation(outside)[:most])
        of, classes = np.nonzero(targets[outside] >= LEAST_PART)
        if not len(inside) or len(np.unique(classes)) < 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged in 200 steps: it is one opinion of several
            model.fit(rows[outside[of]], classes, sample_weight=targets[outside[of], classes])
        found[inside] = 1e-3
        found[np.ix_(inside, model.classes_)] = model.predict_proba(rows[inside])
    total: np.ndarray = found / found.sum(1, keepdims=True)
    return total


def narrowed(batches: Callable[[], Iterator[Tensor]], width: int = 64, measured: int = 5_000) -> Tensor:
    """Rows of many numbers in `width` of them: their coordinates along the main directions of the first ones.

    Args:
        batches: gives the rows ``[B, ...]``, batch by batch, each time it is called.
        width: of the result; narrower rows stay as they are.
        measured: rows that the directions are measured on.

    Returns:
        ``[N, D]``, float32.
    """
    first: list[Tensor] = []
    for batch in batches():
        first.append(flat(batch))
        if sum(map(len, first)) >= measured:
            break
    rows = torch.cat(first)[:measured]
    centre = rows.mean(0)
    if rows.shape[1] <= width:
        return torch.cat([flat(batch) - centre for batch in batches()])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, _, directions = torch.svd_lowrank((rows - centre).cpu(), min(width, len(rows)), niter=4)
    directions = directions.to(rows.device)
    return torch.cat([(flat(batch) - centre) @ directions for batch in batches()])


def flat(batch: Tensor) -> Tensor:
    """Samples as rows ``[B, D]``, float32; pictures larger than 32 pixels are shrunk to that."""
    batch = batch.float()
    if batch.dim() == 4 and max(batch.shape[2:]) > 32:
        batch = torch.nn.functional.adaptive_avg_pool2d(batch, 32)
    return batch.flatten(1)
