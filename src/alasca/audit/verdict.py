"""From evidence to decisions: how many labels are wrong, which, what they should be, and how sure that is.

The rules and their few numbers were chosen by ``benchmarks/audit.py`` on data sets with known true labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alasca.audit.evidence import skill

KEEP, REVIEW, FIX = "keep", "review", "fix"
SUREST = 0.4
"""The share of samples that are asked how many labels are wrong: see `estimated_share`."""
EVEN_FROM, EVEN_SURE = 0.72, 0.82
"""Ratio of mean to highest certainty, from where on data are easy, and from where on entirely."""
EASY_ERROR, HARD_ERROR = 0.065, 0.125
"""Half the width of the 90% interval of the estimated share, on easy and on hard data, beside that of chance."""
SEEN_ERROR = 0.2
"""The same where only a training on the labels themselves is known, and scores do not part into two groups."""
PARTED_FROM, PARTED_SURE = 0.66, 0.72
"""How clearly scores part into two groups, from where on the lower group tells the share, and from where on alone."""
LOOKS_WRONG = 0.4
"""Probability of being wrong from where on a label is marked."""
SURELY_WRONG, WORTH = 0.75, 1.4
"""Probability of being wrong from where on a label may be marked fix, and how much likelier its change must mend than
spoil."""
SLOPE, SLOPE_ALONE = (-0.84, 1.59, 0.96), (-2.25, 4.4)
"""Logarithm of the steepness of `clean_probability`: a constant, and so much for the agreement of two witnesses and for
how clearly scores part; the same without the former where there is one witness."""
SMALL_CLASS = 5
"""Labels below which a class is too small for decisions."""
NEAR_CHANCE = 0.05
"""Skill below which the evidence is as good as none."""
TOGETHER = 0.6
"""Power of the product of what two witnesses say of a suggestion: 1 for independent ones, 0.5 for the same twice."""
FEW_VISITS = 5
"""Epochs below which a training says little of its labels."""


@dataclass(frozen=True)
class Verdict:
    """What is to be thought and done about N labels.

    Attributes:
        clean_probability: that the given label is right ``[N]``.
        issue: whether a label is taken for wrong ``[N]``.
        suggested: the class to put in the given one's place ``[N]``; the given one where there is no issue.
        suggested_probability: that `suggested` is right ``[N]``.
        decision: ``"keep"``, ``"review"``, or ``"fix"``: applying the suggestion is expected to help ``[N]``.
        share: estimated share of wrong labels, 0 to 1; `low` and `high`: its 90% interval.
        findings: a line each for what a person should know: the reason for the cut, and warnings.
    """

    clean_probability: np.ndarray
    issue: np.ndarray
    suggested: np.ndarray
    suggested_probability: np.ndarray
    decision: np.ndarray
    share: float
    low: float
    high: float
    findings: tuple[str, ...]


def judge(
    given: np.ndarray, probability: np.ndarray, score: np.ndarray, visits: float | None = None,
    predicted: np.ndarray | None = None, in_sample: bool = False, agreement: float | None = None,
    first: tuple[float, float] | None = None,
) -> Verdict:  # fmt: skip
    """Decide about every label.

    Args:
        given: labels ``[N]``, all known.
        probability: of each class by evidence that the sample's own label had no part in, or little ``[N, K]``.
        score: the higher, the likelier the label is right ``[N]``.
        visits: how often training saw a sample, on average; None: no training of ours.
        predicted: probability of each class by the trained network ``[N, K]``, where there is one.
        in_sample: `probability` is that of a training on these very labels, averaged over its epochs.
        agreement: of two witnesses, see `Evidence`; None: there is one.
        first: what `estimated_share` says, where that is known already; None: it is asked here.
    """
    share, easy = first or estimated_share(given, probability)
    widest = HARD_ERROR
    if in_sample:
        share, easy = share_in_sample(share, score)
        widest = SEEN_ERROR
    chance_error = 1.64 * (share * (1 - share) / len(given)) ** 0.5
    half = float(np.hypot(widest + easy * (EASY_ERROR - widest), chance_error))
    told = skill(probability, given) >= NEAR_CHANCE
    low, high = (max(0.0, share - half), min(1.0, share + half)) if told else (0.0, 1.0)
    right = clean_probability(score, share, agreement)
    wrong = 1 - right
    counts = np.bincount(given, minlength=probability.shape[1])
    rival, chance = rivals(given, probability, share, predicted)
    doubts = reasons_to_wait(given, probability, low, visits)
    issue = (wrong > LOOKS_WRONG) & told
    if low == 0:  # they may all be right: those are marked that disagree
        marked = (share + float((probability.argmax(1) != given).mean())) / 2
        issue = (score <= np.quantile(score, marked)) & (score < score.max()) & told & (marked > 0)
    fix = issue & pays(right, wrong * chance) & (counts[rival] >= SMALL_CLASS) & (counts[given] >= SMALL_CLASS)
    fix &= not doubts
    decision = np.where(fix, FIX, np.where(issue, REVIEW, KEEP))
    return Verdict(
        right, issue, np.where(issue, rival, given), np.where(issue, wrong * chance, right), decision,
        share, low, high, (*([reason_of(share, low, high, int(issue.sum()), in_sample)] if told else []), *doubts),
    )  # fmt: skip


def rivals(
    given: np.ndarray, probability: np.ndarray, share: float, predicted: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The likeliest class beside the given one, and how likely it is right where the given one is wrong, each ``[N]``.

    By other samples, less what wrong labels alone would give each class, and by the trained network: what each says of
    the classes beside the given one, multiplied. They are no independent witnesses, hence the power of `TOGETHER`.

    Args:
        given, probability, predicted: see `judge`.
        share: of wrong labels.

    >>> others, net = np.array([[0.2, 0.5, 0.3]]), np.array([[0.8, 0.05, 0.15]])
    >>> rivals(np.array([0]), others, 0.0, None), rivals(np.array([0]), others, 0.0, net)[0]
    ((array([1]), array([0.625])), array([2]))
    """
    rows, classes = np.arange(len(given)), probability.shape[1]
    base = share * np.bincount(given, minlength=classes) / len(given)
    rest = np.maximum(probability - base, 0.01 / classes).astype(np.float64)
    if predicted is not None:
        rest = (rest * np.maximum(predicted, 1e-4)) ** TOGETHER
    rest[rows, given] = 0
    return rest.argmax(1), rest.max(1) / np.maximum(rest.sum(1), 1e-12)


def pays(right: np.ndarray, suggested: np.ndarray) -> np.ndarray:
    """Whether labels are surely enough wrong, and changes likely enough to mend them, to be made unseen ``[N]``.

    Args:
        right: probability that each label is right ``[N]``.
        suggested: that its suggestion is ``[N]``.

    >>> pays(np.array([0.1, 0.2, 0.2, 0.3]), np.array([0.5, 0.3, 0.25, 0.7])).tolist()
    [True, True, False, False]
    """
    found: np.ndarray = (1 - right > SURELY_WRONG) & (suggested > WORTH * right)
    return found


def likely_labels(given: np.ndarray, probability: np.ndarray, right: np.ndarray) -> np.ndarray:
    """What labels probably are ``[N, K]``: the given one as far as it is right, else the others as the evidence has it.

    Args:
        given, probability: see `judge`.
        right: probability that each label is right ``[N]``.

    >>> likely_labels(np.array([0]), np.array([[0.5, 0.3, 0.2]]), np.array([0.9]))
    array([[0.9 , 0.06, 0.04]])
    """
    rows = np.arange(len(given))
    rest = probability.astype(np.float64)
    rest[rows, given] = 0
    found: np.ndarray = (1 - right)[:, None] * rest / np.maximum(rest.sum(1, keepdims=True), 1e-12)
    found[rows, given] = right
    return found


def reason_of(share: float, low: float, high: float, marked: int, in_sample: bool) -> str:
    """Why so many labels are marked."""
    why = (
        "that is the share of labels that training was slow to believe" if in_sample else
        "so many of the samples that are easiest to tell have another label than they should"
    )  # fmt: skip
    cut = (
        "the cut is half way between that share and all labels that disagree with other samples" if low == 0 else
        f"each is wrong with a probability above {100 * LOOKS_WRONG:.0f}%"
    )  # fmt: skip
    return (
        f"About {100 * share:.0f}% of the labels are wrong (90% interval {100 * low:.0f} to {100 * high:.0f}%): {why}. "
        f"{marked:,} labels look wrong: {cut}."
    )


def estimated_share(given: np.ndarray, probability: np.ndarray) -> tuple[float, float]:
    """The share of wrong labels, and how easy the data are, 0 to 1.

    Of the samples that the evidence is surest of, whoever has another label than it says has a wrong one; of the
    others, the evidence may be mistaken itself. Errors that follow from the inputs, as those of rules do, are not seen
    by this: the evidence has learned them. Data are easy where it is about equally sure of all samples.

    >>> sure = np.array([[0.9, 0.1]] * 10 + [[0.3, 0.7]] * 10)
    >>> estimated_share(np.array([0] * 6 + [1] * 4 + [1] * 10), sure)
    (0.25, 1.0)
    """
    certainty = probability.max(1)
    order = np.argsort(-certainty, kind="stable")
    differs = (probability.argmax(1) != given)[order]
    ratio = certainty.mean() / certainty[order][: max(1, round(0.3 * len(given)))].mean()
    easy = float(np.clip((ratio - EVEN_FROM) / (EVEN_SURE - EVEN_FROM), 0, 1))
    return float(differs[: max(1, round(SUREST * len(given)))].mean()), easy


def share_in_sample(surest: float, score: np.ndarray) -> tuple[float, float]:
    """The share of wrong labels by a training that saw them all, and how plain it is, 0 to 1.

    Where the scores part into two groups, the lower group's share; where they hardly do, what the surest samples say,
    which is too little once a network has learned wrong labels by heart.

    Args:
        surest: disagreement among the samples that the averaged probabilities are surest of; see `estimated_share`.
        score: the higher, the likelier the label is right ``[N]``.

    >>> share_in_sample(0.1, np.array([0.0, 1.0, 1.0, 1.0])), share_in_sample(0.1, np.ones(4))
    ((0.25, 1.0), (0.1, 0.0))
    """
    clear, lower = parted(score)
    plain = float(np.clip((clear - PARTED_FROM) / (PARTED_SURE - PARTED_FROM), 0, 1))
    return plain * lower + (1 - plain) * surest, plain


def clean_probability(score: np.ndarray, share: float, agreement: float | None = None) -> np.ndarray:
    """Probability that each label is right ``[N]``: a logistic curve of the score whose mean is that of right labels.

    It is the steeper, the more alike two witnesses judge, and the further the scores lie apart in two groups.

    Args:
        score: the higher, the likelier a label is right ``[N]``.
        share: of wrong labels.
        agreement: of two witnesses, see `Evidence`; None: there is one.
    """
    least = 0.2 / len(score)
    clean = 1 - min(max(share, least), 1 - least)
    if score.max() - score.min() < 1e-9:
        return np.full(len(score), clean)
    plain = parted(score)[0]
    if agreement is None:
        slope = SLOPE_ALONE[0] + SLOPE_ALONE[1] * plain
    else:
        slope = SLOPE[0] + SLOPE[1] * agreement + SLOPE[2] * plain
    steep = float(np.exp(slope)) * score.astype(np.float64)
    low, high = -float(steep.max()) - 40, 40 - float(steep.min())
    for _ in range(80):  # the mean grows with the middle of the curve
        middle = (low + high) / 2
        low, high = (middle, high) if logistic(middle + steep).mean() < clean else (low, middle)
    return logistic(middle + steep)


def logistic(values: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(-x))``.

    >>> logistic(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    small = np.exp(-np.abs(values))
    found: np.ndarray = np.where(values >= 0, 1, small) / (1 + small)
    return found


def parted(score: np.ndarray) -> tuple[float, float]:
    """How well scores part into two groups, 0 to 1, and the lower group's share of them.

    The share of their variance that lies between the groups, at the cut where it is largest (Otsu, 1979).

    >>> parted(np.array([0.0, 0.0, 0.0, 1.0]))
    (1.0, 0.75)
    """
    ordered = np.sort(score.astype(np.float64))
    count, variance = len(ordered), float(ordered.var())
    if count < 2 or variance < 1e-18:
        return 0.0, 0.0
    lower = np.arange(1, count)
    sums = ordered.cumsum()
    below, above = sums[:-1] / lower, (sums[-1] - sums[:-1]) / (count - lower)
    between = lower * (count - lower) / count**2 * (above - below) ** 2
    best = int(between.argmax())
    return min(1.0, float(between[best] / variance)), float(lower[best] / count)


def reasons_to_wait(given: np.ndarray, probability: np.ndarray, low: float, visits: float | None) -> list[str]:
    """Why nothing should be changed unseen, a line each; empty where nothing speaks against it."""
    found = []
    if visits is not None and visits < FEW_VISITS:
        found.append(
            f"Nothing is marked fix: training saw each sample {visits:.0f} times, and {FEW_VISITS} are the least; "
            "train for more epochs."
        )
    if skill(probability, given) < NEAR_CHANCE:
        found.append(
            "Nothing can be said of these labels: they can hardly be told from the inputs, no better than by chance. "
            "Are these the right columns?"
        )
    elif low == 0:
        found.append("Nothing is marked fix: the labels look clean, or the evidence is too weak to say otherwise.")
    return found
