"""The laws over every registered method, bare and wrapped."""

from __future__ import annotations

import pytest
import torch

from alasca.testing import LAWS
from alasca.testing.ranks import law_7_ranks_agree, registered

SLOW = ("1 learns", "10 may be recorded")
EVERY_KIND = {"ce", "als", "elr", "coteaching", "fine", "har", "dividemix"}
"""Methods of one loss, of a store, of two networks, that choose, that differentiate twice, that have stages: the slow
laws of all others are held to in the long run of the tests."""


def held(name: str, law: str):
    """A method and a law that it is to hold."""
    long = law in SLOW and name.partition(" ")[0] not in EVERY_KIND
    return pytest.param(name, law, marks=[pytest.mark.long] if long else [])


@pytest.mark.parametrize(("name", "law"), [held(name, law) for name in registered() for law in LAWS])
def test_law(name: str, law: str):
    torch.set_num_threads(1)
    epochs = 75 if law == "1 learns" else 0  # what law 1 trains for
    LAWS[law](registered(epochs)[name])


@pytest.mark.long
def test_law_7_ranks_agree():
    law_7_ranks_agree()
