"""The demo's claim on a smaller budget: ALASCA keeps a network from memorising wrong labels."""

from __future__ import annotations

from pathlib import Path

from alasca.engine import Progress, Training
from alasca.experiment import Settings, train
from alasca.runs import RunFolder


def run(folder: Path, alasca: bool) -> RunFolder:
    """60% symmetric noise on half of the digits, long enough for cross-entropy to memorise."""
    training = Training(epochs=60, batch_size=64, lr=0.1, device="cpu")
    settings = Settings(noise="symmetric:0.6", limit=700, alasca=alasca, training=training, threads=1)
    return train(settings, folder / ("alasca" if alasca else "ce"), Progress())


def test_alasca_is_ahead_of_cross_entropy_under_noise(tmp_path: Path):
    plain, robust = run(tmp_path, False).done(), run(tmp_path, True).done()
    assert robust["test_accuracy_last"] >= plain["test_accuracy_last"] + 5
    assert robust["memorised"] < plain["memorised"]
    assert robust["issue_auroc"] > 0.95
