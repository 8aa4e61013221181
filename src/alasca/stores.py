"""Per-sample state, by index: persistent buffers, written in place, without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alasca.core import full_precision
from alasca.distributed import gather_rows


def mean_by_index(index: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Sort by index, and give every row the mean of the rows that share its index.

    Args:
        index: ``[B]``, may repeat.
        rows: ``[B, K]``.

    Returns:
        The sorted index ``[B]`` and the means ``[B, K]``, equal for equal indices.

    >>> mean_by_index(torch.tensor([7, 3, 7]), torch.tensor([[1.0], [5.0], [3.0]]))[1].flatten()
    tensor([5., 2., 2.])
    """
    ordered, order = index.sort(stable=True)
    group = F.pad((ordered[1:] != ordered[:-1]).cumsum(0), (1, 0))
    counted = F.pad(rows[order], (0, 1), value=1.0)
    sums = torch.zeros_like(counted).index_add_(0, group, counted)[group]
    return ordered, sums[:, :-1] / sums[:, -1:]


class SampleStore(nn.Module):
    """A moving average of one row a sample: ``z[n] <- w z[n] + (1 - w) row``, from zero.

    Args:
        num_samples: N, rows of the table.
        width: K, columns.
        dtype: of the table; updates are computed in float32 and clamped to its range.

    The table is part of ``state_dict``. Under an initialised process group rows are gathered, so that every
    process holds the same table; each must bring the same number of rows. A row that is not finite leaves the old
    one and is counted in `skipped`.
    """

    value: Tensor
    visits: Tensor
    skipped: Tensor

    def __init__(self, num_samples: int, width: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if num_samples < 1:
            raise ValueError(f"num_samples: {num_samples}, expected at least 1")
        self.register_buffer("value", torch.zeros(num_samples, width, dtype=dtype))
        self.register_buffer("visits", torch.zeros(num_samples, dtype=torch.int32))
        self.register_buffer("skipped", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, index: Tensor, rows: Tensor, momentum: float) -> None:
        """Average `rows` ``[B, K]`` into the table at `index` ``[B]``; duplicates count as one visit of their mean."""
        index, mean = mean_by_index(gather_rows(index), gather_rows(full_precision(rows.detach())))
        old = self.value[index].to(mean.dtype)
        new = torch.lerp(old, mean, 1 - momentum)
        sound = new.abs().amax(-1) < torch.inf
        new = torch.where(sound[:, None], new, old)
        if self.value.dtype == torch.float16:
            new = new.clamp(-65504, 65504)
        self.value.index_copy_(0, index, new.to(self.value.dtype))
        self.visits.index_copy_(0, index, self.visits[index] + sound)
        self.skipped += len(index) - sound.sum()

    def read(self, index: Tensor) -> Tensor:
        """Rows at `index`, in float32 at least: ``[B, K]``."""
        return full_precision(self.value[index])

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"num_samples={self.value.shape[0]}, width={self.value.shape[1]}"
