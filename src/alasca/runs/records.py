"""Records: what a run knows of every sample, as arrays and as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from alasca.values import shown

DECISIONS = ("keep", "review", "fix")


@dataclass(frozen=True)
class Records:
    """What training saw of each sample: ``[N]`` arrays in the order of the data.

    Attributes:
        ids: stable names.
        classes: class names; labels are positions in them.
        given: given labels; -1 where there is none: then there is no issue, and the suggestion is the prediction.
        predicted: the trained network's prediction on the plain sample.
        suggested: the label to put in the given one's place; equal to it where there is no issue.
        issue: whether the given label is taken for wrong.
        quality: probability that the given label is right, 0 to 1; NaN where the sample could not be read or has no
            label.
        decision: ``"keep"``, ``"review"``, or ``"fix"``: putting `suggested` in its place is expected to help.
        suggested_probability: that `suggested` is right, likewise.
        margin: mean logit of the given label less the largest other over training visits, likewise. Where training
            never saw the sample: the trained network's.
        differing: share of training visits whose prediction was not the given label, likewise.
        visits: training visits.
        held: whether the sample was held out.
        extra: further numbers by column: mean probability of the given label over training visits, of the main
            classifier (`mean_probability`) and of the sub-classifiers (`sub_probability`, `sub_margin`), by samples of
            other folds (`out_of_sample`), and what the method says.
        true: true labels where they are known (-1 elsewhere), else None. For evaluation only.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    given: np.ndarray
    predicted: np.ndarray
    suggested: np.ndarray
    issue: np.ndarray
    quality: np.ndarray
    decision: np.ndarray
    suggested_probability: np.ndarray
    margin: np.ndarray
    differing: np.ndarray
    visits: np.ndarray
    held: np.ndarray
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)
    true: np.ndarray | None = None

    @property
    def judged(self) -> np.ndarray:
        """Which samples have a given and a known true label, bool ``[N]``. For evaluation only."""
        return np.zeros(len(self.given), dtype=bool) if self.true is None else (self.given >= 0) & (self.true >= 0)

    def name(self, label: int) -> str:
        """A label's class, for people."""
        return self.classes[label] if label >= 0 else "none"

    def ranking(self) -> np.ndarray:
        """Rows from the most suspicious to the least; ties in the order of the data."""
        return np.argsort(self.quality, kind="stable")

    def table(self) -> pd.DataFrame:
        """As a table: cleanlab's four columns first, then ours; labels as class names."""
        names = np.array([*self.classes, ""], dtype=object)  # -1 is no label
        columns: dict[str, Any] = {
            "is_label_issue": self.issue,
            "label_quality": self.quality,
            "given_label": names[self.given],
            "predicted_label": names[self.predicted],
            "id": list(self.ids),
            "suggested_label": names[self.suggested],
            "decision": self.decision,
            "suggested_probability": self.suggested_probability,
            "mean_margin": self.margin,
            "differing_share": self.differing,
            "visits": self.visits,
            "held_out": self.held,
            **self.extra,
        }
        if self.true is not None:
            columns["true_label"] = names[self.true]
        return pd.DataFrame(columns)

    @classmethod
    def from_table(cls, table: pd.DataFrame, classes: tuple[str, ...]) -> Records:
        """The inverse of `table`, from columns of text.

        Raises:
            ValueError: a column is missing, or a cell is not what its column holds, with its line.
        """
        position = {name: k for k, name in enumerate(classes)}

        def cells(column: str, read: Callable[[str], Any], expected: str) -> np.ndarray:
            if column not in table:
                raise ValueError(f"it has no column {column!r}")
            found = []
            for row, cell in enumerate(table[column]):
                try:
                    found.append(read(cell))
                except (KeyError, ValueError, OverflowError):
                    raise ValueError(f"row {row}: {column} is {shown(cell)}, expected {expected}") from None
            return np.array(found)

        def labels(column: str, known: Mapping[str, int] = position) -> np.ndarray:
            return cells(column, known.__getitem__, "one of the classes").astype(np.int64)

        maybe = {"": -1, **position}  # no label

        def floats(column: str) -> np.ndarray:
            return cells(column, lambda cell: float(cell or "nan"), "a number or nothing").astype(np.float64)

        def flags(column: str) -> np.ndarray:
            return cells(column, {"True": True, "False": False}.__getitem__, "True or False").astype(bool)

        own = {
            "is_label_issue", "label_quality", "given_label", "predicted_label", "id", "suggested_label", "decision",
            "suggested_probability", "mean_margin", "differing_share", "visits", "held_out", "true_label",
        }  # fmt: skip
        return cls(
            tuple(cells("id", str, "a text").tolist()), classes, labels("given_label", maybe),
            labels("predicted_label"), labels("suggested_label"), flags("is_label_issue"),
            floats("label_quality"),
            cells("decision", {name: name for name in DECISIONS}.__getitem__, f"one of {', '.join(DECISIONS)}"),
            floats("suggested_probability"), floats("mean_margin"), floats("differing_share"),
            cells("visits", np.int64, "a whole number").astype(np.int64), flags("held_out"),
            {str(name): floats(name) for name in table.columns if name not in own},
            labels("true_label", maybe) if "true_label" in table else None,
        )  # fmt: skip
