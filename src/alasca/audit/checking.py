"""Samples that a person checks by hand, and what the answers say of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from alasca.audit.spreadsheet import guarded
from alasca.audit.verdict import FIX, KEEP, REVIEW, logistic, pays
from alasca.data import Texts, load_task
from alasca.data.sources import read_tables
from alasca.data.sources.table_files import whole
from alasca.errors import InputError
from alasca.recipe import Place, found_from
from alasca.runs import Records, RunFolder
from alasca.values import nearest

ANSWERS = {"yes": True, "y": True, "true": True, "1": True, "no": False, "n": False, "false": False, "0": False}
Z = 1.645
"""Of a 90% interval."""
RIGHT, NAMED = "label_is_right", "right_label"
"""Columns of what a person says: whether the label is right, and which class is, where that is known."""
STRATA = (FIX, REVIEW, KEEP)
FEWEST = 3
"""Answers, at least."""


class Answer(NamedTuple):
    """What a person says of a label: whether it is right, and which class is, where it is not and that was written."""

    right: bool
    label: int | None = None


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


def sheet(records: Records, rows: np.ndarray, texts: Sequence[str] | None = None) -> pd.DataFrame:
    """What a person fills in: ``label_is_right`` with yes or no, and beside a no, where known, ``right_label``.

    Args:
        records: of the run.
        rows: that were drawn.
        texts: what the samples say ``[N]``; None: they are no texts.
    """
    found = pd.DataFrame({
        "id": [records.ids[k] for k in rows], "given_label": [records.name(records.given[k]) for k in rows],
        "suggested_label": [records.name(records.suggested[k]) for k in rows], "label_is_right": "", "right_label": "",
    })  # fmt: skip
    if texts is not None:
        found.insert(1, "text", [guarded(texts[k]) for k in rows])
    return found


def texts_of(run: RunFolder, records: Records) -> list[str] | None:
    """What the samples of a run say ``[N]``, read from its data; None: they are no texts, or are in memory only.

    Raises:
        InputError: the data are not there any more, or others.
    """
    described = run.settings()
    if not run.excerpts() or described["from_program"]:
        return None
    place = Place.from_json(described["place"])
    task = load_task(*found_from(run.recipe(), place, Path(described["started_in"])))
    assert isinstance(task.inputs, Texts), "a run with excerpts is one of texts"
    texts = dict(zip(task.ids, task.inputs.values, strict=True))
    kept = {records.ids[row]: text for row, text in run.excerpts().items()}
    for sample in records.ids:
        if sample not in texts or not texts[sample].startswith(kept.get(sample, "")):
            raise InputError(f"sample: {sample} of {run.recipe().data} is not what it was; put the run's data back")
    return [texts[sample] for sample in records.ids]


def answers_in(path: Path, records: Records) -> Mapping[int, Answer]:
    """The answers in a filled sheet, by row. Rows without an answer are left out; a right label alone is one.

    Raises:
        InputError: no such column, an id or a class that the run does not have, or an answer that is neither yes nor
            no.
    """
    table = read_tables(str(path))
    where, found = {sample: row for row, sample in enumerate(records.ids)}, {}
    ids = table.column("id", "checked")
    classes = table.column(NAMED, "checked") if NAMED in table.names else [None] * len(ids)
    alone = NAMED in table.names and RIGHT not in table.names
    cells = [None] * len(ids) if alone else table.column(RIGHT, "checked")
    for k, (sample, cell, named) in enumerate(zip(ids, cells, classes, strict=True)):
        said, name = ("" if each is None else whole(each) for each in (cell, named))
        said, name = said.strip(), name if name in records.classes else name.strip()
        if not said and not name:
            continue
        if str(sample) not in where:
            near = nearest(str(sample), where, "see samples.csv")
            raise InputError(f"checked: {table.where(k)}: id {str(sample)!r} is none of the run's; {near}")
        row = where[str(sample)]
        label = records.classes.index(name) if name in records.classes else None
        if name and label is None:
            near = nearest(name, records.classes, f"expected one of {', '.join(records.classes[:20])}")
            raise InputError(f"checked: {table.where(k)}: {NAMED} {name!r} is no class of the run; {near}")
        same = label == records.given[row]
        right = ANSWERS.get(said.lower(), None if said else same)
        if right is None:
            raise InputError(f"checked: {table.where(k)}: {RIGHT} is {cell!r}; expected yes or no")
        if label is not None and right != same:
            raise InputError(
                f"checked: {table.where(k)}: {RIGHT} is {said}, but {NAMED} is {name!r} and the label "
                f"{records.name(records.given[row])!r}"
            )
        found[row] = Answer(right, label)
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


def checked(records: Records, answers: Mapping[int, Answer]) -> tuple[Records, tuple[float, float, float], list[str]]:
    """What answers say: records whose probabilities fit them, the share of wrong labels with its interval, and words.

    Each decision is a stratum: the answers of one speak for all labels with that decision.

    Raises:
        InputError: a decision that most labels have was not checked.
    """
    known = (records.given >= 0) & np.isfinite(records.quality)
    total, share, variance, lines = int(known.sum()), 0.0, 0.0, []
    for name in STRATA:
        size = int((records.decision[known] == name).sum())
        own = [each.right for row, each in answers.items() if known[row] and records.decision[row] == name]
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


def by_answers(records: Records, before: Records, answers: Mapping[int, Answer]) -> Records:
    """The labels that a person looked at, as was said: right ones are kept.

    Wrong ones are changed to the class that was named, or where the suggestion is likelier than not, and else left for
    review.

    Args:
        records: with probabilities that fit the answers.
        before: as the run judged them.
        answers: by row.
    """
    quality, decision, issue = records.quality.copy(), records.decision.copy(), records.issue.copy()
    suggested, sure = records.suggested.copy(), records.suggested_probability.copy()
    for row, (right, label) in answers.items():
        if right:
            quality[row], decision[row], issue[row] = 1.0, KEEP, False
            suggested[row], sure[row] = records.given[row], 1.0
            continue
        other = before.suggested[row] != before.given[row]
        chance = before.suggested_probability[row] / max(1 - before.quality[row], 1e-12) if other else 0.0
        if label is not None:
            chance = 1.0
        quality[row], issue[row] = 0.0, True
        suggested[row] = before.suggested[row] if label is None else label
        sure[row], decision[row] = min(1.0, chance), FIX if chance > 0.5 else REVIEW
    return replace(
        records, quality=quality, decision=decision, issue=issue, suggested=suggested, suggested_probability=sure
    )


def answered(path: Path) -> bool:
    """Whether a sheet is there that holds enough answers."""
    if not path.is_file():
        return False
    table = read_tables(str(path))
    columns = [table.column(name, "checked") for name in (RIGHT, NAMED) if name in table.names]
    return sum(any(cell is not None and str(cell).strip() for cell in row) for row in zip(*columns)) >= FEWEST  # noqa: B905


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
        decision[other & records.issue & pays(quality, suggested)] = FIX
    decision[other & ~pays(quality, suggested)] = REVIEW
    decision[other & (quality >= 0.5)] = KEEP
    issue = records.issue & (decision != KEEP)
    kept = np.where(issue | ~known, records.suggested, records.given)
    suggested = np.where(known & ~issue, quality, suggested)
    return replace(
        records, quality=quality, suggested_probability=suggested, decision=decision, issue=issue, suggested=kept
    )
