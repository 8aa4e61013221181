"""The laws over every registered method, bare and wrapped."""

from __future__ import annotations

import pytest
import torch

from alasca.testing import LAWS
from alasca.testing.ranks import law_7_ranks_agree, registered


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", registered())
def test_law(name: str, law: str):
    torch.set_num_threads(1)
    epochs = 75 if law == "1 learns" else 0  # what law 1 trains for
    LAWS[law](registered(epochs)[name])


def test_law_7_ranks_agree():
    law_7_ranks_agree()
