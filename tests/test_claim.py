"""The demo's claim on a smaller budget: ALASCA keeps a network from memorising wrong labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from alasca.runs import RunFolder
from doors import ran


def run(folder: Path, alasca: bool) -> RunFolder:
    """60% symmetric noise on half of the digits, long enough for cross-entropy to memorise."""
    settings = {"noise": "symmetric:0.6", "limit": 700, "epochs": 60, "batch_size": 64, "lr": 0.1, "threads": 1}
    return ran(folder / ("alasca" if alasca else "ce"), alasca=alasca, **settings)


@pytest.mark.long
def test_alasca_is_ahead_of_cross_entropy_under_noise(tmp_path: Path):
    plain, robust = run(tmp_path, False).done(), run(tmp_path, True).done()
    assert robust["test_accuracy_last"] >= plain["test_accuracy_last"] + 5
    assert robust["memorised"] < plain["memorised"]
    assert robust["issue_auroc"] > 0.95
