"""The command line: what it says, what it writes, how it fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from alasca import list_methods
from alasca.cli import main
from alasca.engine import Stopped
from alasca.engine.progress import LineProgress
from alasca.errors import InputError
from alasca.methods import method_of
from alasca.recipe import Recipe
from alasca.runs import RunFolder, claimed
from doors import made_method, resealed

FAST = ["--epochs", "2", "--limit", "80", "--batch-size", "32", "--device", "cpu"]


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def files(root: Path) -> list[str]:
    return sorted(str(entry.relative_to(root)) for entry in root.rglob("*"))


def test_train_resume_report(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("train", "--noise", "symmetric:0.4", *FAST, "--out", "one", capsys=capsys)
    assert (code, err) == (0, "")
    assert "test accuracy, last epoch" in out
    assert "Next: alasca report one" in out
    done = json.loads(Path("one/done.json").read_text())
    assert {"test_accuracy_last", "test_accuracy_last10", "issue_auroc", "seconds_per_epoch"} <= done.keys()
    settings = json.loads(Path("one/run.json").read_text())
    assert settings["recipe"]["options"].keys() == {"alasca.warmup", "alasca.at", "alasca.predict"}
    assert settings["recipe"]["limit"] == settings["train_samples"] == 80
    assert settings["test_samples"] == 80
    assert settings["noise_rate"] == pytest.approx(0.36, abs=0.15)
    before = {name: Path("one", name).stat().st_mtime_ns for name in files(Path("one"))}
    code, out, _ = run("resume", "one", capsys=capsys)
    assert code == 0
    assert before == {name: Path("one", name).stat().st_mtime_ns for name in files(Path("one"))}, (
        "a finished run changed"
    )
    code, _, err = run("train", *FAST, "--out", "one", capsys=capsys)
    assert code == 2
    assert "one exists already" in err
    code, out, _ = run("train", "--no-alasca", "--noise", "symmetric:0.4", *FAST, "--out", "two", capsys=capsys)
    assert code == 0
    code, out, _ = run("report", "one", "two", "--out", "both.html", capsys=capsys)
    assert code == 0
    page = Path("both.html").read_text()
    assert "ce + ALASCA" in page
    assert "http" not in page.replace("http-equiv", "")
    code, out, _ = run("report", ".", capsys=capsys)
    assert code == 0
    assert Path("report.html").is_file()


def test_a_choice_of_samples_is_written_down(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    choosing = ["--method", "fine", "--set", "warmup=1", "--noise", "symmetric:0.4", *FAST]
    code, _, _ = run("train", *choosing, "--out", "one", capsys=capsys)
    assert code == 0
    done, records = json.loads(Path("one/done.json").read_text()), RunFolder.open(Path("one")).records()
    right = records.given == records.true
    assert set(records.extra["selected"]) <= {0.0, 1.0}
    assert done["selected"] == pytest.approx(100 * records.extra["selected"].mean())
    assert done["selection_precision"] == pytest.approx(100 * right[records.extra["selected"] == 1].mean())
    assert done["clean_auroc"] == pytest.approx(roc_auc_score(right, records.extra["clean_probability"]), abs=1e-4)
    assert run("report", "one", capsys=capsys)[0] == 0
    assert "Labels that training kept" in Path("one/report.html").read_text()
    run("train", *FAST, "--out", "plain", capsys=capsys)
    run("report", "plain", capsys=capsys)
    assert "selected" not in RunFolder.open(Path("plain")).records().extra
    assert "Labels that training kept" not in Path("plain/report.html").read_text()


MISTAKES = [
    (["trian"], 'Did you mean "train"'),
    (["train", "--epochz", "3"], "--epochs"),
    (["train", "--epochs", "x"], "--epochs"),
    (["train", "--epochs", "0"], "epochs: 0, expected at least 1"),
    (["train", "--data", "digist"], "did you mean 'digits'"),
    (["train", "--data", "npz:none.npz"], "no such file: none.npz"),
    (["train", "--data", "folder:none"], "no such folder: none"),
    (["train", "--noise", "symmetric:2"], "rate 2"),
    (["train", "--noise", "sym:0.2"], "'sym:0.2' is unknown"),
    (["train", "--method", "cee"], "did you mean 'ce'"),
    (["train", "--network", "small-resent"], "did you mean 'small-resnet'"),
    (["train", "--network", "mlp"], "mlp reads rows of numbers"),
    (["train", "--network", "no.module:net"], "can't be imported"),
    (["train", "--set", "alasca.momentumm=0.9"], "did you mean 'momentum'"),
    (["train", "--set", "alasca.momentum=3"], "momentum: 3"),
    (["train", "--set", "alasca.momentum=fast"], "momentum: 'fast', expected a number"),
    (["train", "--set", "alasca.momentum=[0.7]"], "momentum: (0.7,)"),
    (["train", "--set", "alasca.rest=yes"], "rest: 'yes', expected true or false"),
    (["train", "--set", "momentum"], "expected name=value"),
    (["train", "--method", "gce", "--set", "q=2"], "option q: 2.0, expected above 0 and at most 1"),
    (["train", "--method", "truncated_gce", "--set", "k=half"], "option k: 'half', expected a number"),
    (["train", "--method", "gce", "--preset", "cifar"], "gce has no preset 'cifar'; expected one of cifar10"),
    (["train", "--method", "byot"], "so ALASCA can't wrap it; add --no-alasca"),
    (["train", "--method", "har", "--set", "at=nosuch"], "no module 'nosuch'"),
    (["train", "--method", "tf_kd", "--set", "alpha=inf"], "option alpha: inf, expected a number"),
    (["train", "--method", "one", "--no-alasca", "--set", "at=stage9"], "stage9"),
    (["train", "--method", "har", "--no-alasca", "--set", "at=[]"], "at: "),
    (["train", "--set", "q=0.7"], "ce has no such option"),
    (["train", "--set", "name=1"], "ce has no such option"),
    (["train", "--set", "alasca.method=1"], "alasca has no such option"),
    (["train", "--image-size", "16"], "these pictures are 8x8 already"),
    (["train", "--crop", "9"], "crop: 9, which means nothing for --data digits; leave it out"),
    (["train", "--no-alasca", "--set", "alasca.momentum=0.5"], "leave out --no-alasca"),
    (["train", "--set", "alasca.at=block9"], "block9"),
    (["train", "--limit", "3"], "limit: 3"),
    (["train", "--val-fraction", "1.5"], "val-fraction: 1.5"),
    (["train", "--select", "best"], "expected one of last, noisy-val"),
    (["train", "--select", "noisy-val", "--val-fraction", "0"], "--val-fraction"),
    (["train", "--device", "tpu"], "device"),
    (["train", "--threads", "0"], "threads: 0"),
    (["train", "--shift", "-1"], "shift: -1"),
    (["train", "--config", "none.toml"], "none.toml"),
    (["resume", "none"], "none is no run folder"),
    (["resume"], "requires an argument"),
    (["report"], "no run given"),
    (["report", "none"], "none is no run folder"),
    (["list", "foo"], "methods"),
    (["demo", "--seeds", "0"], "seeds: 0"),
    (["demo", "--noise", "symmetric"], "no number"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_a_mistake_is_one_line_and_writes_nothing(
    arguments: list[str], words: str, tmp_path: Path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments, capsys=capsys)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1, err
    assert err.startswith("alasca: ")
    assert "Traceback" not in out + err
    assert files(tmp_path) == []


def test_config_file_and_command_line_together(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text('epochs = 1\nlimit = 60\nnoise = "symmetric:0.2"\nset = ["alasca.head=linear"]\n')
    code, _, err = run("train", "--config", "a.toml", "--noise", "none", "--out", "r", capsys=capsys)
    assert (code, err) == (0, "")
    settings = json.loads(Path("r/run.json").read_text())["recipe"]
    assert settings["epochs"] == 1
    assert settings["noise"] == "none"
    assert settings["options"]["alasca.head"] == "linear"
    Path("b.toml").write_text("epochz = 1\n")
    code, _, err = run("train", "--config", "b.toml", "--out", "s", capsys=capsys)
    assert code == 2
    assert "b.toml" in err
    assert "epochz" in err
    assert err.count("\n") == 1
    Path("c.toml").write_text("epochs = = 1\n")
    code, _, err = run("train", "--config", "c.toml", "--out", "s", capsys=capsys)
    assert code == 2
    assert "c.toml" in err
    assert err.count("\n") == 1
    assert not Path("s").exists()


def test_rows_of_numbers_and_a_network_of_ones_own(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    draw = np.random.default_rng(0)
    labels = np.array(["red", "green", "blue"])[np.arange(90) % 3]
    np.savez("t.npz", x=draw.normal(size=(90, 4)) + 3 * (np.arange(90) % 3)[:, None], y=labels)
    code, out, err = run("train", "--data", "npz:t.npz", *FAST, "--out", "a", capsys=capsys)
    assert (code, err) == (0, "")
    assert "held-out accuracy (noisy labels)" in out, "without a test set a tenth is held out"
    Path("mynet.py").write_text(
        "from torch import nn\n"
        "def net(num_classes, shape):\n"
        "    return nn.Sequential(nn.Linear(shape[0], 8), nn.ReLU(),\n"
        "        nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, num_classes))\n"
    )
    arguments = ["--data", "npz:t.npz", "--network", "mynet:net", "--set", "alasca.at=['1', '3']"]
    code, _, err = run("train", *arguments, *FAST, "--out", "b", capsys=capsys)
    assert (code, err) == (0, "")
    arguments = ["--data", "npz:t.npz", "--network", "mynet:net", "--set", "alasca.at=[1, 3]"]
    code, _, err = run("train", *arguments, *FAST, "--out", "c", capsys=capsys)
    assert (code, err) == (0, "")
    code, _, err = run("report", "b", capsys=capsys)
    assert (code, err) == (0, "")
    assert "green" in Path("b/report.html").read_text()


def test_diverging_is_one_line_and_resumable(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("train", "--lr", "1e30", *FAST, "--out", "r", capsys=capsys)
    assert code == 1
    assert "try a lower learning rate" in err
    assert err.count("\n") == 1
    assert len(list(Path("r/checkpoint").iterdir())) >= 1


def test_resume_on_other_data_or_machine_is_refused(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("t.npz", x=np.random.default_rng(0).normal(size=(60, 4)), y=np.arange(60) % 3)
    code, _, err = run("train", "--data", "npz:t.npz", *FAST, "--out", "r", capsys=capsys)
    assert (code, err) == (0, "")
    Path("r/done.json").unlink()
    described = json.loads(Path("r/run.json").read_text())
    resealed(Path("r/run.json"), machine={**described["machine"], "torch": "1.0"})
    code, _, err = run("resume", "r", capsys=capsys)
    assert code == 2
    assert "torch is" in err
    assert "--inexact" in err
    code, _, err = run("resume", "r", "--inexact", capsys=capsys)
    assert (code, err) == (0, "")
    Path("r/done.json").unlink()
    np.savez("t.npz", x=np.random.default_rng(1).normal(size=(60, 4)), y=np.arange(60) % 3)
    code, _, err = run("resume", "r", "--inexact", capsys=capsys)
    assert code == 2
    assert "not what r was started on" in err


@pytest.mark.parametrize("command", ["demo", "train", "resume", "report", "list"])
def test_every_command_has_an_example(command: str, capsys):
    code, out, _ = run(command, "--help", capsys=capsys)
    assert code == 0
    assert f"Example: alasca {command}" in out


def test_list_names_everything(capsys):
    code, out, _ = run("list", capsys=capsys)
    assert code == 0
    for word in ("ce", "alasca.NAME", "digits", "npz:FILE", "folder:DIR", "symmetric:R", "small-resnet", "mlp"):
        assert word in out


def test_help_is_quick_and_imports_no_torch():
    code = "import sys; from alasca.cli.commands import app; app(['-h'], result_action='return_value'); print('torch' in sys.modules)"  # noqa: E501
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip().endswith("False")
    times = []
    for _ in range(3):
        start = time.monotonic()
        subprocess.run([sys.executable, "-m", "alasca.cli", "--help"], capture_output=True, check=True)
        times.append(time.monotonic() - start)
    assert min(times) < 1.0, "the goal is half a second on an idle machine"


@pytest.mark.long
def test_demo_on_a_small_budget(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("demo", "--seeds", "1", "--epochs", "1", capsys=capsys)
    assert (code, err) == (0, "")
    (folder,) = Path("runs").iterdir()
    assert (folder / "report.html").is_file()
    assert {entry.name for entry in folder.iterdir()} == {"ce-seed0", "alasca-seed0", "report.html"}
    assert "alasca clean PHOTOS --out runs/mine" in out
    assert "AUROC" in out
    done = RunFolder.open(folder / "alasca-seed0").done()
    for name, head in (("all", "test accuracy, last epoch"), ("main", "main classifier alone")):
        row = next(line for line in out.splitlines() if line.strip().startswith(head))
        assert row.split()[-3:] == [f"{done[f'test_accuracy_{name}_last']:.1f}", "±", "0.0%"]


def test_the_main_classifiers_accuracy_stands_beside_that_of_all(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, out, _ = run("train", *FAST, "--out", "a", capsys=capsys)
    done = RunFolder.open(Path("a")).done()
    accuracy, alone = (f"{done[f'test_accuracy{kind}_last']:.1f}%" for kind in ("_all", "_main"))
    assert f"test accuracy, last epoch: {accuracy} (main classifier alone: {alone})\n" in out
    _, out, _ = run("train", *FAST, "--no-alasca", "--out", "b", capsys=capsys)
    assert "main classifier alone" not in out


def test_options_may_be_true_or_false_in_any_case(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("train", "--set", "alasca.rest=False", *FAST, "--out", "r", capsys=capsys)
    assert (code, err) == (0, "")
    assert json.loads(Path("r/run.json").read_text())["recipe"]["options"]["alasca.rest"] is False


def test_a_demo_that_stops_is_one_line(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def stopped(recipe, task, place, folder, progress):
        raise Stopped("stopped in epoch 1 after step 2", 2)

    monkeypatch.setattr("alasca.training.train", stopped)
    code, _, err = run("demo", "--seeds", "1", "--epochs", "1", "--out", "d", capsys=capsys)
    assert code == 130
    assert err == "alasca: stopped in epoch 1 after step 2. Continue it with: alasca resume d/ce-seed0\n"


def test_presets_and_early_stopping(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--method", "sce", "--preset", "cifar100", "--set", "beta=0.5", "--no-alasca"]
    code, _, err = run("train", *arguments, *FAST, "--out", "a", capsys=capsys)
    assert (code, err) == (0, "")
    method = method_of(Recipe.from_json(json.loads(Path("a/run.json").read_text())["recipe"]))
    assert (method.alpha, method.beta) == (6.0, 0.5)
    code, out, err = run("train", "--method", "early_stopping", *FAST, "--out", "b", capsys=capsys)
    assert (code, err) == (0, "")
    assert "epoch chosen on noisy held-out labels" in out
    assert json.loads(Path("b/run.json").read_text())["val_samples"] == 8
    code, _, err = run("train", "--method", "early_stopping", "--val-fraction", "0", *FAST, "--out", "c", capsys=capsys)
    assert code == 2
    assert "--val-fraction" in err


def test_epochs_of_a_method_shrink_with_the_run():
    gce = made_method(method="truncated_gce", alasca=False, epochs=60)
    assert (gce.start, gce.every) == (20, 5)
    gce = made_method(method="truncated_gce", alasca=False, options={"start": 3}, epochs=60)
    assert (gce.start, gce.every) == (3, 5)
    options = {"method": "truncated_gce", "preset": "cifar100", "alasca": False}
    gce = made_method(**options, epochs=60)
    assert (gce.start, gce.every, gce.k) == (40, 5, 0.5)
    assert made_method(**options, epochs=150).start == 80
    assert made_method(method="als", alasca=False, epochs=200).warmup == 20


def test_list_verbose_names_options_presets_and_sources(capsys):
    code, out, _ = run("list", "methods", "--verbose", capsys=capsys)
    assert code == 0
    for name in list_methods():
        assert f"\n  {name}: " in out
    assert "alpha=6, beta=0.1  [Wang et al. (2019), section 4.3]" in out
    assert "default             q=0.7, k=0.5" in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[train]\nepochs = 2\n", r"has a section \[train\]; write its settings at the top"),
        ("no-alasca = true\n", "no-alasca is no setting; write alasca = false"),
    ],
)
def test_a_file_of_settings_is_not_half_read(text: str, words: str, tmp_path: Path, capsys):
    (tmp_path / "c.toml").write_text(text)
    code, _, err = run("train", "--config", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run"), capsys=capsys)
    assert code == 2
    assert re.search(words, err)
    assert not (tmp_path / "run").exists()


def test_an_error_in_a_network_of_ones_own_says_where(tmp_path: Path, capsys, monkeypatch):
    (tmp_path / "own_net_with_a_bug.py").write_text("def make(num_classes):\n    raise ValueError('boom')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    code, _, err = run("train", "--network", "own_net_with_a_bug:make", "--out", "run", capsys=capsys)
    assert code == 2
    assert re.search(r"network: boom \(ValueError, .*own_net_with_a_bug\.py:2\)", err)


def test_an_unfinished_run_does_not_stop_a_report_of_many(tmp_path: Path, capsys):
    from doors import ran

    for name in ("a", "b"):
        ran(tmp_path / name, limit=60, epochs=1)
    (tmp_path / "b" / "done.json").unlink()
    code, out, _ = run("report", str(tmp_path), capsys=capsys)
    assert code == 0
    assert f"{tmp_path / 'b'} has not ended; continue it with: alasca resume" in out


def test_before_training_it_says_what_will_happen(tmp_path: Path, capsys, monkeypatch):
    """At most eight lines where the data are as expected; a wrong column or class is seen at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "110")
    _, out, _ = run("train", "--noise", "symmetric:0.4", *FAST, "--out", "one", capsys=capsys)
    block = out.split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in block] == [
        "samples",
        "classes",
        "labels",
        "network",
        "method",
        "machine",
        "folder",
    ]
    assert "80 to train on, 80 to test on; pictures of 1x8x8" in block[0]
    assert block[1].startswith("classes  10: 0 (")
    assert "% wrong in truth (symmetric:0.4), which training can't see" in block[2]
    assert "sub-classifiers after block1, block2" in block[3]
    assert "2 epochs of 2 steps of 32" in block[4]
    Path("t.csv").write_text(
        "id,age,city,comment,label\n"
        + "".join(
            f"{k},{(7 * k) % 50},{'Ulm' if k % 3 else 'Bonn'},{k // 4},{'yes' if k % 2 else 'no'}\n" for k in range(60)
        )
    )
    code, out, err = run(
        "train",
        "--data",
        "table:t.csv",
        "--epochs",
        "2",
        "--device",
        "cpu",
        "--limit",
        "50",
        "--out",
        "two",
        capsys=capsys,
    )
    assert (code, err) == (0, "")
    assert "read     t.csv: numbers in age, city (2 categories), comment" in out
    assert "classes  2: no (25), yes (25)" in out
    code, out, _ = run("resume", "two", capsys=capsys)
    assert "samples" not in out.splitlines()[0]


TABLES = [
    ("Unnamed: 0,label\n0,a\n1,b\n2,a\n", "none to learn from (its column Unnamed: 0 (counts the rows)); name the"),
    ("k,label\n5,a\n6,b\n7,a\n8,b\n", "none to learn from (its column k (counts the rows))"),
    ("title,note,label\n" + "".join(f"a title {k},text {k},{k % 2}\n" for k in range(200)),
     "t.csv: which column holds the inputs? --input title or --input note"),
    ("comment,label\nx,a\ny,b\n", "has no column 'coment', only comment, label; did you mean 'comment'?"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), TABLES)
def test_a_table_that_would_teach_nothing_is_refused(text: str, words: str, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(text)
    options = ["--input", "coment"] if "coment'" in words else []
    code, _, err = run("train", "--data", "table:t.csv", *options, "--out", "r", capsys=capsys)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert not Path("r").exists()


def test_categories_are_read_one_hot_or_by_position(tmp_path: Path):
    from doors import read

    towns = [f"town{k % 70:02d}" for k in range(280)]
    lines = [f"{town},{'x' if k % 2 else 'y'},{k % 2}" for k, town in enumerate(towns)]
    (tmp_path / "t.csv").write_text("\n".join(["town,kind,label", *lines]) + "\n")
    task = read(f"table:{tmp_path / 't.csv'}")
    assert task.inputs.shape == (280, 3)
    assert task.inputs[:3].tolist() == [[0, 0, 1], [1, 1, 0], [2, 0, 1]], "70 towns by position, two kinds one-hot"
    assert task.notes[0] == "t.csv: numbers in town (70 categories, by position), kind (2 categories)"
    assert task.notes[1].startswith("kind tells every label by itself: where it was made from it, name the inputs")


@pytest.mark.parametrize("width", [60, 80, 110])
def test_the_line_of_progress_fits_a_terminal(width: int):
    """In a terminal of that width, no line is longer, and no accuracy against noisy labels is called one."""
    import fcntl
    import pty
    import select
    import struct
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    code = (
        "from alasca.engine import Progress\n"
        "import time\n"
        "p = Progress.for_terminal(); p.begin('early_stopping + ALASCA', 120, 0)\n"
        "for k in range(3):\n"
        "    time.sleep(0.12); p.step(k + 0.5)\n"
        "    p.epoch({'epoch': k, 'loss': 1.5, 'test_accuracy': 78.25, 'val_accuracy': 60.5, 'train_accuracy': 45.0})\n"
        "p.end()\n"
    )
    clean = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen([sys.executable, "-c", code], stdout=child, stderr=child, stdin=child, env=clean) as process:
        process.wait(60)
    said = b""
    while select.select([parent], [], [], 0.2)[0]:
        said += os.read(parent, 65536)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode())
    lines = [line.strip("\r") for part in text.split("\n") for line in part.split("\r") if line.strip("\r")]
    assert max(map(len, lines)) <= width, lines
    assert "epoch 3/120" in lines[-1]
    assert "test 78.2%" in lines[-1]
    assert ("held out (noisy labels) 60.5%" in lines[-1]) == (width == 110)
    assert "accuracy" not in text


def test_folders_that_are_there_already(tmp_path: Path, capsys, monkeypatch):
    """What a kill left before it was a run begins anew; a finished one is to be looked at, a stopped one goes on."""
    monkeypatch.chdir(tmp_path)
    Path("left").mkdir()
    for name in ("labels.safetensors", "metrics.jsonl", ".run.json.0a1b2c3d.tmp", ".tmpVm36uy"):
        Path("left", name).write_bytes(b"")
    code, _, err = run("train", *FAST, "--out", "left", capsys=capsys)
    assert (code, err) == (0, "")
    code, _, err = run("train", *FAST, "--out", "left", capsys=capsys)
    assert code == 2
    assert "left exists already (a finished run; look at it with: alasca report left)" in err
    Path("left/done.json").unlink()
    code, _, err = run("train", *FAST, "--out", "left", capsys=capsys)
    assert "continue it with: alasca resume left" in err
    Path("mine").mkdir()
    Path("mine/labels.safetensors").write_bytes(b"")
    Path("mine/notes.txt").write_text("kept")
    code, _, err = run("train", *FAST, "--out", "mine", capsys=capsys)
    assert (code, Path("mine/notes.txt").read_text()) == (2, "kept")
    Path("other").mkdir()
    Path("other/metrics.jsonl").write_text('{"of": "another tool"}')
    code, _, err = run("train", *FAST, "--out", "other", capsys=capsys)
    assert (code, Path("other/metrics.jsonl").exists()) == (2, True)
    code, _, err = run("demo", "--out", "other/metrics.jsonl", capsys=capsys)
    assert (code, err) == (
        2,
        "alasca: out: other/metrics.jsonl exists already and is no empty folder; choose another\n",
    )


def test_a_report_on_a_stopped_run_shows_what_there_is(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("train", *FAST, "--out", "a", capsys=capsys)
    for name in ("done.json", "samples.csv", "model.json"):
        Path("a", name).unlink()
    code, out, err = run("report", "a", capsys=capsys)
    assert (code, err) == (0, "")
    assert "a has not ended; continue it with: alasca resume a" in out
    with (
        claimed(Path("a")),
        pytest.raises(InputError, match=f"it is in use by process {os.getpid()}; wait for its end"),
    ):
        RunFolder.open(Path("a")).done()
    page = Path("a/report.html").read_text()
    assert "It has ended 2 of 2 epochs" in page
    assert "Accuracy over epochs" in page
    assert "Most suspicious labels" not in page
    Path("a/metrics.jsonl").write_text("")
    code, _, err = run("report", "a", capsys=capsys)
    assert code == 2
    assert "a has not ended an epoch" in err


def test_where_a_mistake_was_found_is_shown_on_demand(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("odd.py").write_text("def net(num_classes):\n    raise KeyError('nothing there')\n")
    code, _, err = run("train", "--network", "odd:net", "--out", "r", capsys=capsys)
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = run("train", "--network", "odd:net", "--out", "r", "--traceback", capsys=capsys)
    assert code == 2
    assert "odd.py" in err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("alasca: network: ")


def test_what_is_broken_in_an_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    from alasca.errors import missing

    assert missing("nosuchlibrary", "hf", ImportError("no")) == (
        "nosuchlibrary is not installed; type: pip install 'alasca[hf]'"
    )
    assert "timm is installed but broken (No module named 'huggingface_hub'); mend" in missing(
        "timm", "timm", ImportError("No module named 'huggingface_hub'")
    )


def test_an_empty_class_folder_is_told_and_left_out(tmp_path: Path):
    from doors import read
    from lookalikes import picture

    for name in "ab":
        picture(tmp_path / name / "0.png", 0)
    (tmp_path / "c").mkdir()
    task = read(f"folder:{tmp_path}", image_size=8, workers=0)
    assert task.classes == ("a", "b")
    assert task.notes[:2] == ("2 pictures found", "folders without pictures are no classes: c")


@pytest.mark.parametrize(("seconds", "said"), [(1.0, ["ce  5 epochs, about 7:53"]), (0.01, [])])
def test_after_ten_steps_it_says_how_long_all_will_take(seconds: float, said: list[str], monkeypatch, capsys):
    """100 steps an epoch, the first three slow; the seven that follow tell of the 490 that are left."""
    now = [0.0]
    monkeypatch.setattr("alasca.engine.progress.time.monotonic", lambda: now[0])
    line = LineProgress()
    line.begin("ce", 5, 0.0)
    for step in range(1, 30):
        now[0] += 60 if step <= 3 else seconds * 473 / 490
        line.step(step / 100)
    assert capsys.readouterr().out.splitlines() == said
