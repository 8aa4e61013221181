"""Per-sample state, by index: persistent buffers, written in place, without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from alasca.core import full_precision
from alasca.distributed import gather_rows


def mean_of_duplicates(index: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Give every row the mean of the finite rows that share its index; a boolean says where there was one.

    Args:
        index: ``[B]``, may repeat.
        rows: ``[B, K]``.

    Returns:
        Means ``[B, K]``, equal for equal indices, and ``[B]``: whether any finite row had that index.

    >>> mean_of_duplicates(torch.tensor([7, 3, 7]), torch.tensor([[1.0], [5.0], [3.0]]))[0].flatten()
    tensor([2., 5., 2.])
    """
    ordered, order = index.sort(stable=True)
    opens = torch.ones_like(ordered, dtype=torch.bool)
    opens[1:] = ordered[1:] != ordered[:-1]
    group = torch.empty_like(index).scatter_(0, order, opens.cumsum(0) - 1)
    finite = rows.isfinite().all(-1)
    counted = torch.cat([rows.where(finite[:, None], 0), finite[:, None].to(rows.dtype)], 1)
    sums = torch.zeros_like(counted).index_add_(0, group, counted)[group]
    return sums[:, :-1] / sums[:, -1:].clamp(min=1), sums[:, -1] > 0


class SampleStore(nn.Module):
    """A moving average of one row a sample: ``z[n] <- w z[n] + (1 - w) row``, from zero.

    Args:
        num_samples: N, rows of the table.
        width: K, columns.
        dtype: of the table; updates are computed in float32 and clamped to its range.

    The table is part of ``state_dict``. Under an initialised process group rows are gathered, so that every
    process holds the same table; each must bring the same number of rows. A non-finite row leaves the old one
    and is counted in `skipped`.
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
        index, rows = gather_rows(index), gather_rows(full_precision(rows.detach()))
        self.skipped += rows.isfinite().all(-1).logical_not().sum()
        mean, seen = mean_of_duplicates(index, rows)
        old = self.value[index].to(mean.dtype)
        new = torch.where(seen[:, None], momentum * old + (1 - momentum) * mean, old)
        limit = torch.finfo(self.value.dtype).max
        self.value.index_copy_(0, index, new.clamp(-limit, limit).to(self.value.dtype))
        self.visits.index_copy_(0, index, self.visits[index] + seen.to(self.visits.dtype))

    def read(self, index: Tensor) -> Tensor:
        """Rows at `index`, in float32 at least: ``[B, K]``."""
        return full_precision(self.value[index])

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"num_samples={self.value.shape[0]}, width={self.value.shape[1]}"
