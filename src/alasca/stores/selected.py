"""Which samples each network learned from."""

from __future__ import annotations

import torch
from torch import Tensor

from alasca.distributed import gather_rows
from alasca.stores.table import Table


class Kept(Table):
    """Which samples each network learned from when training last saw them: ``[N, networks]``, True at first.

    For evaluation (`alasca.core.Selection`), part of ``state_dict``; rows are gathered over processes.
    """

    value: Tensor

    def __init__(self, num_samples: int, networks: int) -> None:
        super().__init__()
        self.register_buffer("value", torch.ones(num_samples, networks, dtype=torch.bool))

    @torch.no_grad()
    def update(self, index: Tensor, *masks: Tensor) -> None:
        """Note one mask ``[B]`` a network for the samples at `index` ``[B]``."""
        rows = gather_rows(torch.stack(masks, 1).byte())
        self.value.index_copy_(0, gather_rows(index), rows.bool())

    def read(self, index: Tensor) -> Tensor:
        """The masks of the samples at `index`: ``[B, networks]``."""
        return self.value[index]
