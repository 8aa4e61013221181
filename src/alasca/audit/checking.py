"""Samples that a person checks by hand, and what the answers say of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from alasca.audit.verdict import FIX, KEEP, REVIEW, WORTH, logistic
from alasca.data.sources import read_tables
from alasca.errors import InputError
from alasca.runs import Records
from alasca.values import nearest

ANSWERS = {"yes": True, "y": True, "true": True, "1": True, "no": False, "n": False, "false": False, "0": False}
Z = 1.645
"""Of a 90% interval."""
STRATA = (FIX, REVIEW, KEEP)
FEWEST = 3
"""Answers, at least."""


def draw(records: Records, count: int, seed: int = 0) -> np.ndarray:
    """Rows to check by hand: a third of each decision, as far as there are so many, in an order that tells nothing.

    Args:
        records: of the run.
        count: how many.
        seed: of the draw.

    Raises:
        InputError: fewer than 3, or more than there are labels.
    """
    known = np.flatnonzero((records.given >= 0) & np.isfinite(records.quality))
    if not 3 <= count <= len(known):
        raise InputError(f"sample: {count}, expected 3 to {len(known)}")
    rng = np.random.default_rng(seed)
    strata = [rng.permutation(known[records.decision[known] == name]) for name in STRATA]
    found: list[np.ndarray] = []
    left = count
    for k, rows in enumerate(sorted(strata, key=len)):
        take = min(len(rows), round(left / (len(strata) - k)))
        found.append(rows[:take])
        left -= take
    return rng.permutation(np.concatenate(found))


def sheet(records: Records, rows: np.ndarray) -> pd.DataFrame:
    """What a person fills in: ``label_is_right`` with yes or no."""
    return pd.DataFrame({
        "id": [records.ids[k] for k in rows], "given_label": [records.name(records.given[k]) for k in rows],
        "suggested_label": [records.name(records.suggested[k]) for k in rows], "label_is_right": "",
    })  # fmt: skip


def answers_in(path: Path, records: Records) -> Mapping[int, bool]:
    """The answers in a filled sheet: by row, whether the label is right. Rows without an answer are left out.

    Raises:
        InputError: no such column, an id that the run does not have, or an answer that is neither yes nor no.
    """
    table = read_tables(str(path))
    where, found = {sample: row for row, sample in enumerate(records.ids)}, {}
    ids, cells = table.column("id", "checked"), table.column("label_is_right", "checked")
    for k, (sample, cell) in enumerate(zip(ids, cells, strict=True)):
        if cell is None or not str(cell).strip():
            continue
        if str(sample) not in where:
            near = nearest(str(sample), where, "see samples.csv")
            raise InputError(f"checked: {table.where(k)}: id {str(sample)!r} is none of the run's; {near}")
        answer = ANSWERS.get(str(cell).strip().lower())
        if answer is None:
            raise InputError(f"checked: {table.where(k)}: label_is_right is {cell!r}; expected yes or no")
        found[where[str(sample)]] = answer
    if len(found) < FEWEST:
        raise InputError(f"checked: {path} has {len(found)} answers; expected at least {FEWEST}")
    return found


def wilson(hits: int, count: int) -> tuple[float, float]:
    """90% interval of a share (Wilson, 1927).

    >>> [round(end, 3) for end in wilson(9, 10)]
    [0.652, 0.977]
    """
    if not count:
        return 0.0, 1.0
    share, z = hits / count, Z**2 / count
    middle, half = share + z / 2, Z * (share * (1 - share) / count + Z**2 / (4 * count**2)) ** 0.5
    return max(0.0, (middle - half) / (1 + z)), min(1.0, (middle + half) / (1 + z))


def checked(records: Records, answers: Mapping[int, bool]) -> tuple[Records, tuple[float, float, float], list[str]]:
    """What answers say: records whose probabilities fit them, the share of wrong labels with its interval, and words.

    Each decision is a stratum: the answers of one speak for all labels with that decision.

    Raises:
        InputError: a decision that most labels have was not checked.
    """
    known = (records.given >= 0) & np.isfinite(records.quality)
    total, share, variance, lines = int(known.sum()), 0.0, 0.0, []
    for name in STRATA:
        size = int((records.decision[known] == name).sum())
        own = [right for row, right in answers.items() if known[row] and records.decision[row] == name]
        if not size:
            continue
        if not own:
            raise InputError(f"checked: none of the {size:,} labels marked {name} was answered; draw with --sample")
        wrong = sum(not right for right in own)
        smooth = (wrong + 0.5) / (len(own) + 1)
        share += size / total * wrong / len(own)
        variance += (size / total) ** 2 * smooth * (1 - smooth) / len(own) * max(0.0, 1 - len(own) / size)
        if name == FIX:
            low, high = wilson(wrong, len(own))
            lines.append(
                f"Of labels marked fix, {100 * wrong / len(own):.0f}% are wrong (90% interval {100 * low:.0f} to "
                f"{100 * high:.0f}%), by {len(own)} answers."
            )
    half = Z * variance**0.5
    low, high = max(0.0, share - half), min(1.0, share + half)
    lines.append(
        f"{100 * share:.0f}% of all labels are wrong (90% interval {100 * low:.0f} to {100 * high:.0f}%), by "
        f"{len(answers)} answers."
    )
    return by_answers(shifted(records, known, share), records, answers), (share, low, high), lines


def by_answers(records: Records, before: Records, answers: Mapping[int, bool]) -> Records:
    """The labels that a person looked at, as was said: right ones are kept.

    Wrong ones are changed where the suggestion is likelier than not, and else left for review.

    Args:
        records: with probabilities that fit the answers.
        before: as the run judged them.
        answers: by row, whether the label is right.
    """
    quality, decision, issue = records.quality.copy(), records.decision.copy(), records.issue.copy()
    suggested, sure = records.suggested.copy(), records.suggested_probability.copy()
    for row, right in answers.items():
        if right:
            quality[row], decision[row], issue[row] = 1.0, KEEP, False
            suggested[row], sure[row] = records.given[row], 1.0
            continue
        other = before.suggested[row] != before.given[row]
        chance = before.suggested_probability[row] / max(1 - before.quality[row], 1e-12) if other else 0.0
        quality[row], issue[row], suggested[row] = 0.0, True, before.suggested[row]
        sure[row], decision[row] = min(1.0, chance), FIX if chance > 0.5 else REVIEW
    return replace(
        records, quality=quality, decision=decision, issue=issue, suggested=suggested, suggested_probability=sure
    )


def answered(path: Path) -> bool:
    """Whether a sheet is there that holds enough answers."""
    if not path.is_file():
        return False
    table = read_tables(str(path))
    cells = table.column("label_is_right", "checked") if "label_is_right" in table.names else []
    return sum(cell is not None and bool(str(cell).strip()) for cell in cells) >= FEWEST


def shifted(records: Records, known: np.ndarray, share: float) -> Records:
    """Records whose probabilities have another share of wrong labels for their mean: their log-odds move together.

    Decisions follow: what is no longer likelier than the label is for review, and labels more likely right are kept.
    """
    clean = 1 - min(max(share, 0.2 / int(known.sum())), 1 - 0.2 / int(known.sum()))
    sure = np.clip(records.quality[known], 1e-12, 1 - 1e-12)
    odds = np.log(sure) - np.log1p(-sure)
    low, high = -60.0, 60.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if logistic(odds + middle).mean() < clean else (low, middle)
    quality = records.quality.copy()
    quality[known] = logistic(odds + middle)
    suggested = records.suggested_probability.copy()
    same = known & (records.suggested == records.given)
    other = known & ~same
    suggested[same] = quality[same]
    suggested[other] *= (1 - quality[other]) / np.maximum(1 - records.quality[other], 1e-12)
    suggested = np.clip(suggested, 0, 1)
    decision = records.decision.copy()
    if (decision == FIX).any():
        decision[other & records.issue & (suggested > WORTH * quality)] = FIX
    decision[other & (suggested <= WORTH * quality)] = REVIEW
    decision[other & (quality >= 0.5)] = KEEP
    issue = records.issue & (decision != KEEP)
    kept = np.where(issue | ~known, records.suggested, records.given)
    suggested = np.where(known & ~issue, quality, suggested)
    return replace(
        records, quality=quality, suggested_probability=suggested, decision=decision, issue=issue, suggested=kept
    )
