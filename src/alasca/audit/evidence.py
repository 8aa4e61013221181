"""From what is known of each label to one score and one set of probabilities a sample.

There are two kinds of witnesses. A network that was trained on the labels: how far its main classifier, and its
sub-classifiers, put the given label before all others, averaged over its training. And samples of other folds: the
nearest in the network's features, and cheap classifiers on the raw inputs. Features were made of all labels, wrong ones
too: they are believed only where a network sees more than a cheap classifier can (in pictures, or after pretraining),
and that is read off the run: where the cheap classifier does nearly as well all the same, the network is larger than
the problem and learns wrong labels by heart, and its sub-classifiers and the cheap classifier are better witnesses.
Of pictures there is a cheap classifier that sees much of what a network does (`alasca.audit.patches`): it is believed
beside the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CHEAP_FROM, CHEAP_SURE = 0.55, 0.85
"""How well a cheap classifier does, as a share of what the network's features do, from where on it is believed at all,
and from where on entirely. Chosen with the rest of this file by ``benchmarks/audit.py``."""


COUNTED = 0.4
"""Share of samples among which `exchanges` counts, those that the evidence is surest of."""
EVEN, EVEN_AT_LEAST = 0.5, 20
"""Samples of each class that stand for even exchanges there: a share of the mean class, and some beside them."""
LEAST = 1e-3
"""Of a probability whose logarithm is taken; of more than ten classes, 0.01 of all together."""
BY_HEART = 0.85
"""Share of given labels from which on a network that predicts so many has learned them by heart."""


@dataclass(frozen=True)
class Witnesses:
    """What is known of N labels beside the labels; each None where there is no such witness.

    Attributes:
        margin: of the given label over the largest other, by the main classifier, averaged over training ``[N]``.
        sub_margin: the same of the sub-classifiers; NaN where they never saw the sample.
        features: out-of-sample probabilities of neighbours in the network's features ``[N, K]``.
        cheap: out-of-sample probabilities of cheap classifiers on the raw inputs ``[N, K]``.
        deeper: whether `features` may see more than the cheap classifiers do.
        beside: whether `cheap` is believed beside the network, not in its place.
    """

    margin: np.ndarray | None = None
    sub_margin: np.ndarray | None = None
    features: np.ndarray | None = None
    cheap: np.ndarray | None = None
    deeper: bool = True
    beside: bool = False


@dataclass(frozen=True)
class Evidence:
    """What the witnesses say together.

    Attributes:
        probability: of each class ``[N, K]``, by labels of other samples.
        score: the higher, the likelier the given label is right ``[N]``; of no unit.
        cheap_weight: how far cheap classifiers and sub-classifiers were believed, 0 to 1.
        agreement: correlation of what the network and other samples say of the given labels; None where one is silent.
    """

    probability: np.ndarray
    score: np.ndarray
    cheap_weight: float
    agreement: float | None = None


def weigh(given: np.ndarray, witnesses: Witnesses) -> Evidence:
    """Put the witnesses together.

    Args:
        given: labels ``[N]``, all known.
        witnesses: at least one that has probabilities.

    >>> cheap = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.7, 0.3]], dtype=np.float32)
    >>> weigh(np.array([0, 0, 1, 1]), Witnesses(cheap=cheap)).score.argmin().item()
    3
    """
    weight = cheap_weight(given, witnesses)
    if witnesses.beside:
        return together(given, witnesses, weight)
    by_network = [scaled(witnesses.margin)] if witnesses.margin is not None else []
    by_cheap = list(by_network)
    if witnesses.sub_margin is not None and np.isfinite(witnesses.sub_margin).any():
        seen = np.isfinite(witnesses.sub_margin)
        by_cheap = [np.where(seen, scaled(witnesses.sub_margin), mean(by_network, given))]
    if witnesses.features is not None:
        by_network.append(scaled(log_odds(witnesses.features, given)))
    if witnesses.cheap is not None:
        by_cheap.append(scaled(log_odds(witnesses.cheap, given)))
    score = (1 - weight) * mean(by_network, given) + weight * mean(by_cheap, given)
    parts = [(1 - weight, witnesses.features), (weight, witnesses.cheap)]
    probability = sum(share * part for share, part in parts if part is not None and share > 0)
    assert isinstance(probability, np.ndarray), "a witness with probabilities"
    return Evidence(probability, score, weight, agreement(given, witnesses))


def together(given: np.ndarray, witnesses: Witnesses, weight: float) -> Evidence:
    """Network, features and cheap classifier as equals, the last weighted by how well it does beside the features."""
    assert witnesses.cheap is not None, "a cheap classifier to believe"
    scores = [(1.0, scaled(witnesses.margin))] if witnesses.margin is not None else []
    parts = [(weight, witnesses.cheap)]
    if witnesses.features is not None:
        parts.append((1.0, witnesses.features))
    scores += [(share, scaled(log_odds(part, given))) for share, part in parts]
    probability = sum(share * part for share, part in parts) / sum(share for share, _ in parts)
    score = sum(share * part for share, part in scores) / sum(share for share, _ in scores)
    assert isinstance(probability, np.ndarray), "parts are arrays"
    assert isinstance(score, np.ndarray), "parts are arrays"
    return Evidence(probability, score, weight, agreement(given, witnesses))


def agreement(given: np.ndarray, witnesses: Witnesses) -> float | None:
    """How alike the network and a cheap classifier, which knows nothing of it, judge the given labels, -1 to 1.

    None where there are not both: features are the network's own.
    """
    if witnesses.margin is None or witnesses.cheap is None:
        return None
    both = scaled(witnesses.margin), scaled(log_odds(witnesses.cheap, given))
    return float(np.corrcoef(both)[0, 1]) if min(part.std() for part in both) > 0 else 0.0


def cheap_weight(given: np.ndarray, witnesses: Witnesses) -> float:
    """How far cheap classifiers and sub-classifiers are believed, 0 to 1: see `CHEAP_FROM`."""
    if witnesses.cheap is None:
        return 0.0
    if witnesses.features is None or not witnesses.deeper:
        return 1.0
    ratio = skill(witnesses.cheap, given) / max(skill(witnesses.features, given), 0.02)
    return float(np.clip((ratio - CHEAP_FROM) / (CHEAP_SURE - CHEAP_FROM), 0, 1))


def by_features(levels: Sequence[np.ndarray], fits: float) -> np.ndarray:
    """What neighbours in a network's features say ``[N, K]``: the mean of its shallowest and its deepest level.

    Where the network has learned the labels by heart, the wrong ones too, its deepest features agree with all of them:
    then the shallowest level, a sub-classifier's, is believed alone.

    Args:
        levels: out-of-sample probabilities by the features of each level, shallow to deep, each ``[N, K]``.
        fits: share of given labels that the trained network predicts.

    >>> shallow, deep = np.array([[0.6, 0.4]]), np.array([[0.2, 0.8]])
    >>> by_features([shallow, deep], 0.7), by_features([shallow, deep], 0.9)
    (array([[0.4, 0.6]]), array([[0.6, 0.4]]))
    """
    if fits > BY_HEART:
        return levels[0]
    found: np.ndarray = (levels[0] + levels[-1]) / 2
    return found


def skill(probability: np.ndarray, given: np.ndarray) -> float:
    """Agreement with the given labels, 0 for that of chance to 1 for all; every class counts alike.

    >>> skill(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]), np.array([0, 0, 1, 1]))
    0.5
    """
    counts = np.bincount(given)
    there = counts > 0
    right = np.bincount(given, weights=probability.argmax(1) == given)
    if there.sum() < 2:
        return 0.0
    chance = 1 / there.sum()
    return float(max(0.0, ((right[there] / counts[there]).mean() - chance) / (1 - chance)))


def log_odds(probability: np.ndarray, given: np.ndarray) -> np.ndarray:
    """How much likelier the given class is than those whose samples go by its name, a logarithm ``[N]``.

    ``log p_g - log sum_k p_k r_kg``, where r_kg is how often a sample of class k is labelled g, as far as can be told
    (`exchanges`). Of errors that are spread evenly these are the log-odds of the given class; where class g gets the
    samples of one other class, what counts is how far that one is behind.

    Args:
        probability: of each class, by samples other than the one judged ``[N, K]``.
        given: labels ``[N]``.

    >>> log_odds(np.array([[0.75, 0.25], [0.25, 0.75]]), np.array([0, 1])).round(4)  # log 3
    array([1.0986, 1.0986])
    """
    often, found = exchanges(probability, given), np.empty(len(given))
    least = min(LEAST, 10 * LEAST / probability.shape[1])
    order = np.argsort(given, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(given[order])) + 1):
        label = given[rows[0]]
        likely = np.maximum(probability[rows].astype(np.float64), least)
        found[rows] = np.log(likely[:, label]) - np.log(likely @ often[:, label])
    return found


def exchanges(probability: np.ndarray, given: np.ndarray) -> np.ndarray:
    """How often a sample of one class is labelled as another ``[K, K]``, over the mean of that; 0 on the diagonal.

    Counted among the samples of which the evidence is surest, the rest of the samples standing for even exchanges.

    Args:
        probability, given: see `log_odds`.

    >>> sure = np.repeat(np.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.1, 0.0, 0.9]]), 40, axis=0)
    >>> exchanges(sure, np.repeat([0, 1, 2], [20, 60, 40])).round(2)  # half of class 0 go by the name of 1
    array([[0. , 3.5, 0.5],
           [0.5, 0. , 0.5],
           [0.5, 0.5, 0. ]])
    """
    classes = probability.shape[1]
    certainty, count = probability.max(1), max(1, round(COUNTED * len(given)))
    surest = np.flatnonzero(certainty >= np.partition(certainty, -count)[-count])
    counts = np.zeros((classes, classes))
    np.add.at(counts, (probability[surest].argmax(1), given[surest]), 1)
    sizes, off = counts.sum(1, keepdims=True), ~np.eye(classes, dtype=bool)
    even = max(1.0, float(counts[off].sum())) / len(surest) / max(1, classes - 1)
    weight = EVEN * len(surest) / classes + EVEN_AT_LEAST
    rates = np.where(off, (counts + weight * even) / (sizes + weight), 0.0)
    found: np.ndarray = rates / rates[off].mean() if classes > 1 else rates
    return found


def margins(probability: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Probability of the given label less the largest other ``[N]``.

    >>> margins(np.array([[0.7, 0.2, 0.1]]), np.array([1]))
    array([-0.5])
    """
    rows = np.arange(len(given))
    others = probability.copy()
    others[rows, given] = -np.inf
    found: np.ndarray = probability[rows, given] - others.max(1)
    return found


def scaled(values: np.ndarray) -> np.ndarray:
    """Values of no unit: distance from the median in standard deviations, 4 at most.

    >>> scaled(np.array([1.0, 2.0, 3.0])).round(2)
    array([-1.22,  0.  ,  1.22])
    """
    values = np.nan_to_num(values.astype(np.float64), nan=float(np.nanmedian(values)))
    found: np.ndarray = np.clip((values - np.median(values)) / max(float(values.std()), 1e-9), -4, 4)
    return found


def mean(parts: list[np.ndarray], given: np.ndarray) -> np.ndarray:
    """The mean of some scores ``[N]``, zeros of none."""
    return np.mean(parts, axis=0) if parts else np.zeros(len(given))
