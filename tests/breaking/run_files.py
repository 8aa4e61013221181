"""Run folders that were damaged, swapped, signed again or edited by hand: a line, or the same result; never another."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import alasca
from alasca import InputError
from alasca.files import digest, write_json, write_sealed
from breaking import BASE, Attempt, Said, here, outcome, require_line, require_same

LINE = [*BASE, "--epochs", "3", "--val-fraction", "0.1", "--select", "noisy-val", "--method", "gce"]
TEXT = (".json", ".jsonl", ".csv")


class Runs:
    """A finished run, the same stopped in its last epoch, another of the same shape, and what the first ends with."""

    def __init__(self, folder: Path) -> None:
        self.finished, self.stopped, self.other = (folder / name for name in ("finished", "stopped", "other"))
        for run, seed in ((self.finished, "0"), (self.other, "1")):
            if not run.exists():
                said = here(*LINE, "--seed", seed, "--out", str(run))
                assert said.code == 0, said.err
        if not self.stopped.exists():
            shutil.copytree(self.finished, self.stopped)
            for name in ("done.json", "model.json", "model.safetensors", "samples.csv", "pictures.safetensors"):
                (self.stopped / name).unlink()
            newest = max((self.stopped / "checkpoint").iterdir())
            shutil.rmtree(newest)
        self.expected = outcome(self.finished)
        self.predicted = alasca.load(self.finished).predict(pictures())


def pictures() -> np.ndarray:
    """Some pictures to predict."""
    return np.random.default_rng(0).integers(0, 255, (8, 1, 8, 8), dtype=np.uint8)


def goes_on(runs: Runs, run: Path, notes: int = 2, must: str = "") -> None:
    """A stopped run resumes to the same result or is refused in a line, which has these words."""
    said = here("resume", str(run))
    if said.code:
        require_line(said, 1, 2, notes=notes)
        assert must in said.err, said.err
        return
    assert not must, f"it went on in silence: {said.err}"
    require_same(outcome(run), runs.expected)


def is_read(runs: Runs, run: Path) -> None:
    """A finished run is reported and predicts as it did, or is refused in a line."""
    said = here("report", str(run))
    if said.code:
        require_line(said, 2)
    else:
        page = (run / "report.html").read_text()
        assert said.err == ""
        whole = runs.finished / "report.html"
        if not whole.exists():
            here("report", str(runs.finished))
        assert page == whole.read_text() or not (run / "done.json").exists(), "another report"
    with contextlib.suppress(InputError):
        found = alasca.load(run).predict(pictures())
        np.testing.assert_array_equal(found, runs.predicted)


def damages() -> dict[str, Callable[[Path], None]]:
    """Ways to damage a file."""

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)

    def nested(path: Path) -> None:
        path.write_text("[" * 100_000 + "]" * 100_000)

    def fifo(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    def folder(path: Path) -> None:
        path.unlink()
        path.mkdir()

    def link(path: Path) -> None:
        path.unlink()
        path.symlink_to("/dev/zero")

    return {
        "flipped": flip, "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]) and None,
        "emptied": lambda path: path.write_bytes(b"") and None, "removed": lambda path: path.unlink(),
        "nested": nested, "a pipe": fifo, "a folder": folder, "a device": link,
    }  # fmt: skip


def attempts(folder: Path, *parts: str) -> Iterator[Attempt]:
    """Those of some parts."""
    runs = Runs(folder)
    for part in parts:
        yield from PARTS[part](runs)


def damaged(runs: Runs) -> Iterator[Attempt]:
    """Each file in each way, before resuming and before a report."""
    for kind, damage in damages().items():
        for whole, act in ((runs.stopped, goes_on), (runs.finished, is_read)):
            for file in sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file()):
                if file.suffix == ".html" or (kind == "nested" and file.suffix not in TEXT):
                    continue

                def attempt(
                    own: Path, file: Path = file, damage: Any = damage, whole: Path = whole, act: Any = act
                ) -> None:
                    run = shutil.copytree(whole, own / "run")
                    damage(run / file)
                    act(runs, run)

                yield f"{whole.name}: {file} {kind}", attempt


def swapped(runs: Runs) -> Iterator[Attempt]:
    """Each file, and all checkpoints, from the other run."""
    for whole, act in ((runs.stopped, goes_on), (runs.finished, is_read)):
        names = sorted(
            path.name for path in whole.iterdir() if path.suffix not in (".html", "") or path.name == "checkpoint"
        )
        for name in names:

            def attempt(own: Path, name: str = name, whole: Path = whole, act: Any = act) -> None:
                run = shutil.copytree(whole, own / "run")
                if (run / name).is_dir():
                    shutil.rmtree(run / name)
                    shutil.copytree(runs.other / name, run / name)
                else:
                    shutil.copy(runs.other / name, run / name)
                if whole == runs.stopped and name in ("run.json", "checkpoint"):
                    goes_on(runs, run, must="another run's")
                else:
                    act(runs, run)

            yield f"{whole.name}: another run's {name}", attempt


def newest(run: Path) -> Path:
    """The newest checkpoint."""
    return max(entry for entry in (run / "checkpoint").iterdir() if entry.name.isdigit())


def sign(entry: Path) -> None:
    """Write the digests of a checkpoint anew, as somebody who means harm would."""
    write_json(entry / "manifest.json", {name: digest(entry / name) for name in ("tensors.safetensors", "values.json")})


def signed_again(runs: Runs) -> Iterator[Attempt]:
    """Values and tensors that no run has, with right digests."""
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    values: dict[str, Callable[[dict[str, Any]], object]] = {
        "position: stage 7": lambda v: v["position"].update(stage=7),
        "position: epoch -1": lambda v: v["position"].update(epoch=-1),
        "position: epoch 99": lambda v: v["position"].update(epoch=99),
        "position: phase 3": lambda v: v["position"].update(phase=3),
        "position: step 10**9": lambda v: v["position"].update(step=10**9),
        "position: step 2**70": lambda v: v["position"].update(step=2**70),
        "position: step 1.5": lambda v: v["position"].update(step=1.5),
        "position: step none": lambda v: v["position"].update(step=None),
        "position: step true": lambda v: v["position"].update(step=True),
        "position: a field more": lambda v: v["position"].update(more=1),
        "position: a list": lambda v: v.update(position=[0, 0, 0, 0, 0]),
        "no position": lambda v: v.pop("position"),
        "history: none": lambda v: v.update(history=None),
        "history: a text": lambda v: v.update(history="x"),
        "history: of numbers": lambda v: v.update(history=[1, 2]),
        "history: shorter": lambda v: v["history"].pop(),
        "history: longer": lambda v: v["history"].append(v["history"][-1]),
        "history: a text in it": lambda v: v["history"][0].update(test_accuracy="<script>"),
        "history: no epoch": lambda v: v["history"][0].pop("epoch"),
        "history: other epochs": lambda v: v["history"][0].update(epoch=5),
        "history: deep": lambda v: v["history"][0].update(loss=deep),
        "seconds: -1": lambda v: v.update(seconds=-1),
        "seconds: a text": lambda v: v.update(seconds="long"),
        "best_accuracy: a text": lambda v: v.update(best_accuracy="x"),
        "best_epoch: 99": lambda v: v.update(best_epoch=99),
        "best_epoch: -7": lambda v: v.update(best_epoch=-7),
        "scaler: a list": lambda v: v.update(scaler=[1]),
        "scaler: of texts": lambda v: v.update(scaler={"scale": "x"}),
        "plan: a text": lambda v: v.update(plan="x"),
        "plan: empty phases": lambda v: v.update(plan=[{}]),
        "plan: no streams": lambda v: v.update(plan=[{"train": [0], "observe": [], "streams": []}]),
        "plan: network 5": lambda v: v.update(plan=plan(train=[5])),
        "plan: network -1": lambda v: v.update(plan=plan(train=[-1])),
        "plan: view": lambda v: v.update(plan=plan(views=["../x"])),
        "plan: no view": lambda v: v.update(plan=plan(views=[])),
        "plan: batch 0": lambda v: v.update(plan=plan(batch=0)),
        "plan: follows none": lambda v: v.update(plan=plan(follows="nobody")),
        "plan: observes none": lambda v: v.update(plan=plan(observe=["nobody"])),
        "another run": lambda v: v.update(run="f" * 32),
        "no run": lambda v: v.pop("run"),
        "another recipe": lambda v: v.update(recipe="0" * 64),
        "a field more": lambda v: v.update(payload="x"),
    }  # fmt: skip
    for name, change in values.items():

        def attempt(own: Path, change: Any = change) -> None:
            run = shutil.copytree(runs.stopped, own / "run")
            kept = json.loads((newest(run) / "values.json").read_text())
            change(kept)
            write_json(newest(run) / "values.json", kept)
            sign(newest(run))
            refused(run)

        yield f"signed again: {name}", attempt
    yield from signed_tensors(runs)


def plan(**changes: Any) -> list[dict[str, Any]]:
    """A plan of one phase, with something wrong."""
    phase = {"train": [0], "observe": []}
    stream = {"name": "all", "views": ["weak"], "follows": None, "draw": 0, "batch": None}
    for name, value in changes.items():
        (phase if name in phase else stream)[name] = value
    return [{**phase, "streams": [stream]}]


def refused(run: Path) -> Said:
    """Resuming is refused in a line that names the checkpoint."""
    said = here("resume", str(run))
    require_line(said, 2)
    assert "checkpoint" in said.err, said.err
    return said


def signed_tensors(runs: Runs) -> Iterator[Attempt]:
    """Tensors of other names, shapes and types."""
    tensors = load_file(newest(runs.stopped) / "tensors.safetensors")

    def first(*words: str) -> str:
        return next(name for name in sorted(tensors) if all(word in name for word in words))

    moment, weight, store, trace = (
        first("optimizer", "conv", "momentum"),
        first("net/0", "weight"),
        first("method/", "stores", "value"),
        first("trace/"),
    )
    best = first("best/", "weight")
    changes: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
        "momentum of shape [1]": lambda t: t.update({moment: torch.zeros(1)}),
        "momentum without axes": lambda t: t.update({moment: torch.tensor(1.0)}),
        "momentum of other axes": lambda t: t.update({moment: t[moment].flatten()}),
        "momentum of doubles": lambda t: t.update({moment: t[moment].double()}),
        "momentum of halves": lambda t: t.update({moment: t[moment].half()}),
        "momentum of whole numbers": lambda t: t.update({moment: t[moment].long()}),
        "momentum of nobody": lambda t: t.update({"optimizer/0/nobody/momentum_buffer": torch.zeros(3)}),
        "an unknown state": lambda t: t.update({moment.replace("momentum_buffer", "exp_avg"): t[moment].clone()}),
        "a state without a name": lambda t: t.update({"optimizer/": torch.zeros(3)}),
        "a weight of shape [1]": lambda t: t.update({weight: torch.zeros(1)}),
        "a weight of doubles": lambda t: t.update({weight: t[weight].double()}),
        "a weight too few": lambda t: t.pop(weight),
        "a weight too many": lambda t: t.update({"net/0/more": torch.zeros(2)}),
        "a network too many": lambda t: t.update({"net/7/more": torch.zeros(2)}),
        "a store of fewer rows": lambda t: t.update({store: t[store][:5].clone()}),
        "a store of halves": lambda t: t.update({store: t[store].half()}),
        "no store": lambda t: t.pop(store),
        "a trace of one row": lambda t: t.update({trace: t[trace][:1].clone()}),
        "no trace": lambda t: t.pop(trace),
        "the best of other shape": lambda t: t.update({best: torch.zeros(1)}),
        "a best too few": lambda t: t.pop(best),
        "sums of two numbers": lambda t: t.update({"sums/loss": torch.zeros(2), "sums/loss#": torch.ones(2)}),
        "sums without a count": lambda t: t.update({"sums/more": torch.tensor(1.0)}),
        "sums of nothing": lambda t: t.update({"sums/more": torch.tensor(1.0), "sums/more#": torch.tensor(0.0)}),
        "a plan's index of nobody": lambda t: t.update({"plan/0/x/index": torch.arange(3)}),
        "a name of nothing": lambda t: t.update({"payload": torch.zeros(3)}),
    }  # fmt: skip
    indices: dict[str, torch.Tensor] = {
        "beyond": torch.tensor([0, 10**6]), "below": torch.tensor([-1, 0]), "of halves": torch.zeros(4).half(),
        "of two axes": torch.zeros(2, 2, dtype=torch.int64), "of none": torch.zeros(0, dtype=torch.int64),
    }  # fmt: skip
    for name, index in indices.items():
        changes[f"a plan's index {name}"] = lambda t, index=index: t.update({"plan/0/all/index": index})  # type: ignore[misc]  # bound per name
    changes["weights without an index"] = lambda t: t.update({"plan/0/all/weight": torch.ones(3)})
    changes["weights that are no numbers"] = lambda t: t.update(
        {"plan/0/all/index": torch.arange(3), "plan/0/all/weight": torch.tensor([1.0, float("nan"), 1.0])}
    )
    for name, change in changes.items():

        def attempt(own: Path, change: Any = change, name: str = name) -> None:
            run = shutil.copytree(runs.stopped, own / "run")
            kept = load_file(newest(run) / "tensors.safetensors")
            change(kept)
            save_file(kept, newest(run) / "tensors.safetensors")
            if any("plan/0/all" in each for each in kept):
                held = json.loads((newest(run) / "values.json").read_text())
                held["plan"] = plan()
                write_json(newest(run) / "values.json", held)
            sign(newest(run))
            refused(run)

        yield f"signed again: {name}", attempt


def edited(runs: Runs) -> Iterator[Attempt]:
    """Every setting in run.json by hand; and signed again, where only the checkpoint can tell."""
    settings = json.loads((runs.stopped / "run.json").read_text())
    other = {
        "noise": "symmetric:0.3", "method": "ce", "alasca": False, "epochs": 5, "batch_size": 32, "lr": 0.01,
        "optimizer": "adamw", "schedule": "constant", "seed": 3, "noise_seed": 7, "val_fraction": 0.2, "flip": True,
        "shift": 0, "weight_decay": 0.0, "momentum": 0.5, "precision": "bf16", "select": "last", "clip": 1.0,
        "accumulate": 2, "limit": 64, "network": "evil:net", "data": "digits:x", "lr_min": 0.01,
    }  # fmt: skip
    for name, value in other.items():
        for again in ("", " and signed", " and signed with its digest"):

            def attempt(own: Path, name: str = name, value: object = value, again: str = again) -> None:
                run = shutil.copytree(runs.stopped, own / "run")
                (own / "evil.py").write_text("raise SystemExit('it ran')")
                found = {**settings, "recipe": {**settings["recipe"], name: value}}
                if "digest" in again:
                    found["recipe_sha256"] = alasca.Recipe.from_json(found["recipe"]).digest()
                if again:
                    write_sealed(run / "run.json", found)
                else:
                    write_json(run / "run.json", found)
                said = here("resume", str(run), cwd=own)
                require_line(said, 2)
                assert "it ran" not in said.err

            yield f"run.json by hand{again}: {name} = {value}", attempt
    kinds: dict[str, object] = {
        "classes": "0123456789", "machine": None, "machine ": {}, "place": [], "recipe": None, "train_samples": "many",
        "run": 5, "changes": [{}], "notes": [1], "noise_rate": "x", "format": "2", "exact_resume": "yes", "title": None,
    }  # fmt: skip
    for field, wrong in kinds.items():
        for whole, act in ((runs.stopped, "resume"), (runs.finished, "report")):

            def typed(
                own: Path, field: str = field, wrong: object = wrong, whole: Path = whole, act: str = act
            ) -> None:
                run = shutil.copytree(whole, own / "run")
                write_sealed(run / "run.json", {**settings, field.strip(): wrong})
                said = here(act, str(run))
                require_line(said, 2)
                assert "run.json" in said.err
                assert field.strip() in said.err, said.err

            yield f"{act} of run.json signed with {field} = {wrong!r}", typed
    for field, wrong in (
        ("epochs", "many"),
        ("files", {}),
        ("run", "x"),
        ("label_issues", -1),
        ("test_accuracy_last", "<b>"),
    ):

        def done(own: Path, field: str = field, wrong: object = wrong) -> None:
            run = shutil.copytree(runs.finished, own / "run")
            write_sealed(run / "done.json", {**json.loads((run / "done.json").read_text()), field: wrong})
            require_line(here("report", str(run)), 2)

        yield f"report of done.json signed with {field} = {wrong!r}", done
    lines = {"a text for a number": '"x"', "not a number": "NaN", "infinity": "1e999", "a list": "[1]", "nothing": ""}
    for name, written in lines.items():

        def metrics(own: Path, written: str = written) -> None:
            run = shutil.copytree(runs.stopped, own / "run")
            text = (run / "metrics.jsonl").read_text()
            (run / "metrics.jsonl").write_text(text.replace('"stage": 0', f'"stage": {written}', 1))
            said = here("report", str(run))
            require_line(said, 2)
            assert "metrics.jsonl line 1" in said.err

        yield f"metrics.jsonl: {name}", metrics
    for column, cell in (
        ("visits", "many"),
        ("given_label", "nobody"),
        ("is_label_issue", "maybe"),
        ("label_quality", "x"),
    ):

        def samples(own: Path, column: str = column, cell: str = cell) -> None:
            run = shutil.copytree(runs.finished, own / "run")
            head, first, *rest = (run / "samples.csv").read_text().splitlines()
            cells = first.split(",")
            cells[head.split(",").index(column)] = cell
            (run / "samples.csv").write_text("\n".join([head, ",".join(cells), *rest]) + "\n")
            require_line(here("report", str(run)), 2)
            described = json.loads((run / "done.json").read_text())
            described["files"]["samples.csv"] = digest(run / "samples.csv")
            write_sealed(run / "done.json", described)
            said = here("report", str(run))
            require_line(said, 2)
            assert "samples.csv: row 0" in said.err
            assert column in said.err

        yield f"samples.csv: {column} = {cell}", samples


def empty(runs: Runs) -> Iterator[Attempt]:
    """Checkpoints that were removed."""

    def starts_over(own: Path) -> None:
        run = shutil.copytree(runs.stopped, own / "run")
        shutil.rmtree(run / "checkpoint")
        said = here("resume", str(run))
        assert said.code == 0, said.err
        assert "holds no checkpoint: the run starts over" in said.err
        assert (run / "metrics.jsonl").read_bytes().count(b"\n") == 3
        require_same(outcome(run), runs.expected)

    yield "checkpoints removed", starts_over


PARTS = {"damaged": damaged, "swapped": swapped, "signed again": signed_again, "edited": edited, "empty": empty}
