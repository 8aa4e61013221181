"""What training saw of each sample, in a few numbers a sample: the ground of label issues."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from alasca.distributed import gather_rows


class Trace(nn.Module):
    """Running sums over the training visits of each sample, and its rival class.

    The rival is the class predicted most often in the given one's place, by majority vote in constant memory (Boyer
    and Moore, 1981).
    """

    visits: Tensor
    differing: Tensor
    probability: Tensor
    margin: Tensor
    prediction: Tensor
    rival: Tensor
    votes: Tensor

    def __init__(self, num_samples: int) -> None:
        super().__init__()
        for name, dtype in (
            ("visits", torch.int32), ("differing", torch.int32), ("probability", torch.float32),
            ("margin", torch.float32), ("prediction", torch.int32), ("rival", torch.int32), ("votes", torch.int32),
        ):  # fmt: skip
            self.register_buffer(name, torch.zeros(num_samples, dtype=dtype))
        self.prediction.fill_(-1)

    @torch.no_grad()
    def update(self, index: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add one visit of each row; rows are gathered over processes."""
        given = logits.gather(1, labels[:, None])[:, 0]
        others = logits.scatter(1, labels[:, None], -torch.inf)
        best, rival = others.max(1)
        margin = given - best
        probability = (given - logits.logsumexp(1)).exp()
        row = gather_rows(torch.stack([probability.float(), margin.float(), rival.float()], 1))
        index = gather_rows(index)
        rival = row[:, 2].int()
        differs = row[:, 1] < 0
        one = torch.ones_like(rival)
        self.visits.index_add_(0, index, one)
        self.differing.index_add_(0, index, differs.int())
        self.probability.index_add_(0, index, row[:, 0])
        self.margin.index_add_(0, index, row[:, 1])
        labels = gather_rows(labels)
        self.prediction.index_copy_(0, index, torch.where(differs, rival, labels.int()))
        held, votes = self.rival[index], self.votes[index]
        change = torch.where((votes == 0) | (held == rival), one, -one)
        self.rival.index_copy_(0, index, torch.where(differs & (votes == 0), rival, held))
        self.votes.index_copy_(0, index, torch.where(differs, votes + change, votes))
