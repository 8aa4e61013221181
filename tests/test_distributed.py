"""Two processes under torchrun, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from alasca import InputError
from alasca.distributed import any_rank, gather_rows, share, world

TRAIN = ["train", "--noise", "symmetric:0.4", "--limit", "200", "--epochs", "2", "--device", "cpu", "--threads", "1"]


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "alasca.cli",
    ]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=200, check=False)


def test_two_processes_train_one_run(tmp_path: Path):
    run = tmp_path / "run"
    done = torchrun(*TRAIN, "--out", str(run))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy, last epoch") == 1, "one process speaks"
    table = pd.read_csv(run / "samples.csv")
    assert len(table) == 200
    assert (table["visits"] == 2).all(), "three full batches of 64 an epoch, and a look at the eight that rest"
    assert json.loads((run / "run.json").read_text())["machine"]["processes"] == 2
    assert (run / "done.json").is_file()


@pytest.mark.long
def test_processes_must_agree_on_folder_and_batch(tmp_path: Path):
    done = torchrun(*TRAIN)
    assert "give --out DIR" in done.stderr
    assert done.returncode != 0
    done = torchrun(*TRAIN, "--batch-size", "33", "--out", str(tmp_path / "run"))
    assert "batch size 33 does not divide by 2 processes" in done.stderr
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").write_text("kept")
    done = torchrun(*TRAIN, "--out", str(tmp_path / "run"))
    assert "run exists already (it is not empty)" in done.stderr
    assert done.stderr.count("alasca: ") == 1, "one process says it"
    assert "Traceback" not in done.stderr.split("torch/distributed")[0]


def test_alone_nothing_is_gathered():
    assert world() == (0, 1)
    assert share(10) == slice(0, 10)
    rows = pytest.importorskip("torch").ones(3, 2)
    assert gather_rows(rows) is rows
    assert any_rank(True, rows.device) is True


def test_a_share_that_does_not_divide_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alasca.distributed.world", lambda: (1, 4))
    assert share(8) == slice(2, 4)
    with pytest.raises(InputError, match="choose a multiple of 4"):
        share(10)
