"""What training saw of each sample, in a few numbers a sample: the ground of label issues."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from alasca.core import Output
from alasca.distributed import gather_rows
from alasca.functional.ensembles import log_mean_softmax
from alasca.stores.table import Table


class Traced(NamedTuple):
    """Sums over the visits of some samples, ``[B]`` each.

    Attributes:
        visits: how often the sample was seen.
        differing: visits whose prediction was not the given label.
        probability: of the given label, summed.
        margin: logit of the given label less the largest other, summed.
        rival: the class predicted most often in the given one's place.
        sub_visits, sub_probability, sub_margin: the same of the sub-classifiers' mean probabilities; the margin is of
            log-probabilities.
    """

    visits: Tensor
    differing: Tensor
    probability: Tensor
    margin: Tensor
    rival: Tensor
    sub_visits: Tensor
    sub_probability: Tensor
    sub_margin: Tensor


class Trace(Table):
    """Running sums over the training visits of each sample, its rival class, and whether this epoch has seen it.

    The rival is found by majority vote in constant memory (Boyer and Moore, 1981).
    """

    visits: Tensor
    differing: Tensor
    probability: Tensor
    margin: Tensor
    prediction: Tensor
    rival: Tensor
    votes: Tensor
    sub_visits: Tensor
    sub_probability: Tensor
    sub_margin: Tensor
    fresh: Tensor

    def __init__(self, num_samples: int) -> None:
        super().__init__()
        for name, dtype in (
            ("visits", torch.int32), ("differing", torch.int32), ("probability", torch.float32),
            ("margin", torch.float32), ("prediction", torch.int32), ("rival", torch.int32), ("votes", torch.int32),
            ("sub_visits", torch.int32), ("sub_probability", torch.float32), ("sub_margin", torch.float32),
            ("fresh", torch.bool),
        ):  # fmt: skip
            self.register_buffer(name, torch.zeros(num_samples, dtype=dtype))
        self.prediction.fill_(-1)

    def new_epoch(self) -> None:
        """No sample has been seen yet."""
        self.fresh.zero_()

    @torch.no_grad()
    def update(self, index: Tensor, output: Output, labels: Tensor) -> None:
        """Add one visit of each row; rows are gathered over processes."""
        self.add(gather_rows(index), gather_rows(visit_of(output, labels)), gather_rows(labels))

    @torch.no_grad()
    def add(self, index: Tensor, rows: Tensor, labels: Tensor) -> None:
        """Add one visit of each row, which all processes have: `rows` as `visit_of` gives them."""
        rival, differs = rows[:, 2].int(), rows[:, 1] < 0
        one = torch.ones_like(rival)
        self.visits.index_add_(0, index, one)
        self.differing.index_add_(0, index, differs.int())
        self.probability.index_add_(0, index, rows[:, 0])
        self.margin.index_add_(0, index, rows[:, 1])
        self.prediction.index_copy_(0, index, torch.where(differs, rival, labels.int()))
        if rows.shape[1] > 3:
            self.sub_visits.index_add_(0, index, one)
            self.sub_probability.index_add_(0, index, rows[:, 3])
            self.sub_margin.index_add_(0, index, rows[:, 4])
        held, votes = self.rival[index], self.votes[index]
        change = torch.where((votes == 0) | (held == rival), one, -one)
        self.rival.index_copy_(0, index, torch.where(differs & (votes == 0), rival, held))
        self.votes.index_copy_(0, index, torch.where(differs, votes + change, votes))
        self.fresh.index_fill_(0, index, True)

    def read(self, index: Tensor) -> Traced:
        """The sums of the samples at `index`."""
        return Traced(*(getattr(self, name)[index] for name in Traced._fields))


def visit_of(output: Output, labels: Tensor) -> Tensor:
    """What one visit tells of each row ``[B, 3]``: probability of the label, margin, rival; ``[B, 5]`` with those of

    the sub-classifiers' mean probabilities, first two.
    """
    probability, margin, rival = against_others(output.logits.detach(), labels)
    parts = [probability, margin, rival]
    if output.aux:
        parts += against_others(log_mean_softmax([logits.detach() for logits in output.aux]), labels)[:2]
    return torch.stack([part.float() for part in parts], 1)


def against_others(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probability of the labels ``[B]``, their logit less the largest other, and which class that is."""
    given = logits.gather(1, labels[:, None])[:, 0]
    best, rival = logits.scatter(1, labels[:, None], -torch.inf).max(1)
    return (given - logits.logsumexp(1)).exp(), given - best, rival
