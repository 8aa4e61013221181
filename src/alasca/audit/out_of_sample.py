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
RIDGE = 1.0
"""Least squares' penalty of weights, a column; strong, for labels that are partly wrong."""
SHARPNESS = tuple(2.0 ** (k / 2) for k in range(-2, 13))
"""What scores of least squares may be multiplied by before they are logits: 0.5 to 64."""
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


def neighbour_probabilities(
    points: Tensor, labels: np.ndarray, num_classes: int, folds: np.ndarray, neighbours: int = 30, seed: int = 0
) -> np.ndarray:
    """Votes of the nearest labelled samples of other folds ``[N, K]``: the nearer, the more they count.

    Args:
        points: where samples lie ``[N, D]``.
        labels: given labels ``[N]``; -1 has no vote.
        num_classes: K.
        folds: of each sample ``[N]``.
        neighbours: how many vote.
        seed: of the draw of `REFERENCES` where there are more labels.
    """
    known = np.flatnonzero(labels >= 0)
    if len(known) > REFERENCES:
        known = np.sort(np.random.default_rng(seed).permutation(known)[:REFERENCES])
    device = points.device
    reference, owners = points[torch.from_numpy(known).to(device)].float(), torch.from_numpy(folds[known]).to(device)
    votes_for, own = torch.from_numpy(labels[known]).to(device), torch.from_numpy(folds).to(device)
    found = np.full((len(points), num_classes), 1 / num_classes, dtype=np.float32)
    step = max(1, BLOCK // max(1, len(known)))
    for start in range(0, len(points), step):
        rows = slice(start, start + step)
        distance = torch.cdist(points[rows].float(), reference)
        distance = distance.masked_fill(own[rows][:, None] == owners[None], torch.inf)
        near, which = distance.topk(min(neighbours, len(known)), largest=False)
        there = near.isfinite()
        scale = near.masked_fill(~there, 0).sum(1, keepdim=True) / there.sum(1, keepdim=True).clamp(min=1)
        weight = torch.exp(-near / scale.clamp(min=1e-9)).masked_fill(~there, 0)
        votes = torch.zeros(len(near), num_classes, device=device).scatter_add_(1, votes_for[which], weight)
        found[rows] = ((votes + 0.5 / num_classes) / (votes.sum(1, keepdim=True) + 0.5)).cpu().numpy()
    return found


def cheap_probabilities(points: Tensor, labels: np.ndarray, num_classes: int, folds: np.ndarray) -> np.ndarray:
    """Mean out-of-sample probabilities ``[N, K]`` of neighbours, a linear classifier and extremely randomised trees.

    Args:
        points: raw inputs as rows of numbers ``[N, D]``, of about one scale.
        labels, num_classes, folds: as in `neighbour_probabilities`.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression

    parts = [neighbour_probabilities(points, labels, num_classes, folds, count) for count in (10, 30)]
    if num_classes <= FITTED_CLASSES:
        rows = points.cpu().double().numpy()
        spread = max(float(rows.std()), 1e-9)
        trees = ExtraTreesClassifier(100, min_samples_leaf=3, random_state=0)
        for model in (LogisticRegression(C=0.1, max_iter=200), trees):
            parts += [fitted_probabilities(model, rows / spread, labels, num_classes, folds)]
    found: np.ndarray = np.stack(parts).mean(0)
    return found


def text_probabilities(texts: Sequence[str], labels: np.ndarray, num_classes: int, folds: np.ndarray) -> np.ndarray:
    """Out-of-sample probabilities ``[N, K]`` of texts: a linear classifier of weighted words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    from alasca.data.text import words

    weights = TfidfVectorizer(
        tokenizer=words, token_pattern=None, lowercase=False, ngram_range=(1, 2), min_df=2 if len(texts) > 20 else 1,
        sublinear_tf=True, max_features=100_000,
    )  # fmt: skip
    try:
        rows = weights.fit_transform(texts)
    except ValueError:  # no word comes twice
        return np.full((len(texts), num_classes), 1 / num_classes, dtype=np.float32)
    model = LogisticRegression(C=10.0, max_iter=200)
    return fitted_probabilities(model, rows, labels, num_classes, folds, most=REFERENCES)


def linear_probabilities(points: Tensor, labels: np.ndarray, num_classes: int, folds: np.ndarray) -> np.ndarray:
    """Out-of-sample probabilities ``[N, K]`` of a linear classifier by least squares, which takes many columns.

    Scores become probabilities as those of logistic regression do, beside how frequent each class is, by the one
    temperature at which they fit the given labels best.

    Args:
        points: features ``[N, D]``.
        labels, num_classes, folds: as in `neighbour_probabilities`.
    """
    known = torch.from_numpy(labels >= 0).to(points.device)
    rows = points.float()
    rows = (rows - rows[known].mean(0)) / rows[known].std(0, unbiased=False).clamp(min=1e-3)
    targets = torch.zeros(len(rows), num_classes, device=rows.device)
    targets[known] = one_hot(torch.from_numpy(labels).to(rows.device)[known], num_classes).float()
    often = targets[known].mean(0)
    targets[known] -= often
    squares, products = rows[known].t() @ rows[known], rows[known].t() @ targets[known]
    ridge = RIDGE * rows.shape[1] * torch.eye(rows.shape[1], device=rows.device)
    scores, fold_of = torch.zeros_like(targets), torch.from_numpy(folds).to(rows.device)
    for fold in range(FOLDS):
        inside = fold_of == fold
        own, theirs = rows[inside & known], targets[inside & known]
        factor = torch.linalg.cholesky(squares - own.t() @ own + ridge)
        scores[inside] = rows[inside] @ torch.cholesky_solve(products - own.t() @ theirs, factor)
    given = torch.from_numpy(labels).to(rows.device)[known]
    prior = often.clamp(min=0.5 / len(rows)).log()
    losses = {sharp: float(cross_entropy(sharp * scores[known] + prior, given)) for sharp in SHARPNESS}
    scores *= min(losses, key=losses.__getitem__)
    for _ in range(20):  # until each class is as frequent in them as among the labels
        prior = prior + (often.clamp(min=1e-6) / (scores[known] + prior).softmax(1).mean(0).clamp(min=1e-6)).log()
    found: np.ndarray = (scores + prior).softmax(1).cpu().numpy()
    return found


def fitted_probabilities(
    model: Any, rows: Any, labels: np.ndarray, num_classes: int, folds: np.ndarray, most: int = FITTED
) -> np.ndarray:
    """Probabilities ``[N, K]`` of a scikit-learn classifier that was fitted to the labels of all folds but one."""
    found = np.full((len(labels), num_classes), 1 / num_classes, dtype=np.float32)
    for fold in range(FOLDS):
        inside = np.flatnonzero(folds == fold)
        outside = np.flatnonzero((folds != fold) & (labels >= 0))
        if not len(inside) or len(np.unique(labels[outside])) < 2:
            continue
        if len(outside) > most:
            outside = np.sort(np.random.default_rng(fold).permutation(outside)[:most])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged in 200 steps: it is one opinion of several
            model.fit(rows[outside], labels[outside])
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
