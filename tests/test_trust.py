"""What a run promises: one process writes it, its files are its own, what may change when it goes on, who may look."""

from __future__ import annotations

import csv
import json
import logging
import multiprocessing
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import pytest
import torch
from PIL import Image

import alasca
from alasca import InputError
from alasca.audit.report import write_report
from alasca.audit.spreadsheet import write_spreadsheet
from alasca.cli.outcome import Ended, ending
from alasca.engine import Diverged, Stopped, lr_factor
from alasca.errors import OutsideError
from alasca.files import read_json, write_sealed, write_tensors
from alasca.runs import RunFolder, claim, claimed
from alasca.terminal import visible
from alasca.training import resume
from alasca.values import conform
from breaking import here, outcome, require_same
from doors import parts, ran, ready, resealed

SHORT: dict[str, Any] = {"noise": "symmetric:0.4", "limit": 60, "epochs": 2, "batch_size": 16}


def stopped(path: Path, **given: Any) -> RunFolder:
    """A run whose end was taken away, so that it goes on from its last checkpoint."""
    run = ran(path, **{**SHORT, **given})
    (path / "done.json").unlink()
    return run


# one run, one process


def test_a_folder_is_held_by_one(tmp_path: Path):
    with claimed(tmp_path) as first:
        first.require()
        with pytest.raises(InputError, match=rf"is in use by process {os.getpid()}; wait for its end"):
            claim.take(tmp_path)
    with claimed(tmp_path) as second:
        assert second.file.name == "00000002"
        with pytest.raises(OutsideError, match="was taken over by another process"):
            first.require()
    assert [entry.name for entry in (tmp_path / "claim").iterdir()] == ["00000002"], "old claims are swept away"


def planted_claim(folder: Path, after: claim.Claim | None = None, **changes: Any) -> Path:
    """A claim of somebody else's."""
    inside = folder / "claim"
    inside.mkdir(exist_ok=True)
    file = inside / f"{1 if after is None else int(after.file.name) + 1:08d}"
    file.write_text(json.dumps({"mark": "other", **claim.identity(), **changes}))
    return file


def test_a_dead_process_of_this_host_holds_nothing(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        process.wait()
    planted_claim(tmp_path, process=process.pid)
    with claimed(tmp_path) as held:
        assert held.file.name == "00000002"
    shutil.rmtree(tmp_path / "claim")
    planted_claim(tmp_path, started=claim.identity()["started"] - 100)  # this process's number, before it was born
    with claimed(tmp_path) as held:
        assert held.file.name == "00000002"


def test_another_host_is_believed_while_it_gives_signs_of_life(tmp_path: Path):
    file = planted_claim(tmp_path, host="elsewhere", process=7)
    with pytest.raises(InputError, match=r"in use by process 7 on elsewhere, last seen \d s ago"):
        claim.take(tmp_path)
    long_ago = time.time() - claim.STALE - 5
    os.utime(file, (long_ago, long_ago))
    assert claim.take(tmp_path).file.name == "00000002"
    assert [entry.name for entry in (tmp_path / "claim").iterdir()] == ["00000002"], "the probe of the clock is gone"


def test_signs_of_life_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claim, "BEAT", 0.02)
    with claimed(tmp_path) as held:
        os.utime(held.file, (0, 0))
        time.sleep(0.3)
        assert time.time() - held.file.stat().st_mtime < 60


def test_who_was_taken_over_publishes_nothing(tmp_path: Path):
    run = ran(tmp_path / "run", **SHORT)
    with pytest.raises(OutsideError, match="taken over"), RunFolder.held(run.path) as held:
        planted_claim(run.path, held.claim)
        held.write_history([])
    assert len(RunFolder(run.path).history()) == 2
    for write in (
        lambda: held.write_settings({}), lambda: held.write_checkpoint({}, {}), lambda: held.append_history({}),
        lambda: held.write_model({}, {}), lambda: held.write_done({}), lambda: held.reopen(),
        lambda: held.write_labels(torch.zeros(1)), lambda: held.write_pictures(torch.zeros(1), torch.zeros(1)),
        lambda: held.write_excerpts({}), lambda: held.write_records(run.records()),
    ):  # fmt: skip
        with pytest.raises(OutsideError, match="taken over"):
            write()


def test_a_claim_that_was_begun_and_never_written_is_nobodys(tmp_path: Path):
    (tmp_path / "claim").mkdir()
    (tmp_path / "claim" / "00000001").touch()
    assert claim.take(tmp_path).file.name == "00000002"


# a checkpoint belongs to its run, and what may change


def test_more_epochs_follow_the_new_total(tmp_path: Path):
    run = ran(tmp_path / "run", **SHORT, method="gce")
    before = run.settings()
    rates: list[float] = []

    def noted(recipe: Any, clock: Any, step: int = 0) -> float:
        rates.append(lr_factor(recipe, clock, step))
        return rates[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alasca.engine.loop.lr_factor", noted)
        resume(run.path, epochs=5)
    now, options = run.settings(), run.recipe().options
    assert (now["recipe"]["epochs"], run.done()["epochs"], len(run.history())) == (5, 5, 5)
    assert options == alasca.Recipe.from_json(before["recipe"]).options, "what is counted in epochs stays"
    assert now["run"] == before["run"]
    assert now["recipe_sha256"] == run.recipe().digest() != before["recipe_sha256"]
    (change,) = now["changes"]
    assert (change["was"], change["now"]) == ({"epochs": 2}, {"epochs": 5})
    assert change["recipe_sha256"] == before["recipe_sha256"]
    steps = len(rates) // 3
    cosine = [0.5 * (1 + np.cos(np.pi * (2 + k / steps) / 5)) for k in range(3 * steps)]
    np.testing.assert_allclose(rates, cosine, atol=1e-6)


@pytest.mark.long
def test_more_epochs_of_a_stopped_run_and_again(tmp_path: Path):
    run = stopped(tmp_path / "run")
    resume(run.path, epochs=3)
    resume(run.path, epochs=4)
    assert [each["now"]["epochs"] for each in run.settings()["changes"]] == [3, 4]
    assert run.done()["epochs"] == 4
    assert alasca.load(run.path).predict(np.zeros((2, 1, 8, 8), np.uint8)).shape == (2, 10)


def test_fewer_epochs_and_stages_are_refused(tmp_path: Path):
    run = stopped(tmp_path / "a")
    for epochs in (1, 2):
        with pytest.raises(InputError, match=rf"epochs: {epochs}, but the run was to have 2 already; expected more"):
            resume(run.path, epochs=epochs)
    staged = stopped(tmp_path / "b", method="har", alasca=False)
    with pytest.raises(InputError, match="har trains in several stages, which can't be made longer"):
        resume(staged.path, epochs=9)
    assert staged.settings()["changes"] == []


@pytest.mark.long
def test_another_number_of_threads_is_a_change_that_is_kept(tmp_path: Path):
    run = stopped(tmp_path / "run", threads=1)
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core")
    resume(run.path, threads=2)
    assert run.settings()["machine"]["threads"] == 2
    assert run.settings()["place"]["threads"] == 2
    assert run.settings()["changes"][0]["was"] == {"threads": 1}


def test_a_run_without_changes_ends_in_the_bits_of_one_that_was_never_stopped(tmp_path: Path):
    whole = ran(tmp_path / "whole", **SHORT, checkpoint_seconds=0)
    run = stopped(tmp_path / "run", checkpoint_seconds=0)
    shutil.rmtree(max((run.path / "checkpoint").iterdir()))
    resume(run.path)
    require_same(outcome(run.path), outcome(whole.path))


@pytest.mark.long
def test_where_there_is_no_checkpoint_it_says_that_it_starts_over(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    run = stopped(tmp_path / "run")
    shutil.rmtree(run.checkpoints)
    with caplog.at_level(logging.WARNING, "alasca"):
        resume(run.path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{run.path} holds no checkpoint: the run starts over"
    ]
    assert [record["epoch"] for record in run.history()] == [0, 1]


@pytest.mark.long
def test_room_is_asked_for_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from alasca.training import run as door

    prepared = ready(**SHORT)
    run = ran(tmp_path / "run", **SHORT)
    real = sum(file.stat().st_size for file in max(run.checkpoints.iterdir()).iterdir())
    assert 0.8 < prepared.checkpoint_bytes / real < 1.2
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(door.shutil, "disk_usage", lambda path: usage._replace(free=3 * prepared.checkpoint_bytes - 1))
    with pytest.raises(InputError, match=r"has \d+ MB of room, but checkpoints of this run take \d+ MB"):
        ran(tmp_path / "full" / "run", **SHORT)
    assert not (tmp_path / "full").exists()


@pytest.mark.long
def test_a_change_takes_effect_at_one_step_whatever_is_damaged_later(tmp_path: Path):
    """The older checkpoint follows the schedule from before: it is no fallback after the change."""
    expected = outcome(resume(ran(tmp_path / "a", **SHORT).path, epochs=4).path)
    run = ran(tmp_path / "b", **SHORT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alasca.training.run.complete", lambda prepared, run, *rest: run)
        resume(run.path, epochs=4)
    with pytest.raises(InputError, match="has not ended"):
        run.done()
    with pytest.raises(InputError, match="has no model yet"):  # the old one is no result of these settings
        alasca.load(run.path)
    with open(max(run.checkpoints.iterdir()) / "values.json", "a") as file:
        file.write("x")
    with pytest.warns(UserWarning, match="is damaged"):
        resume(run.path)
    require_same(outcome(run.path), expected)
    other = ran(tmp_path / "c", **SHORT)
    (max(other.checkpoints.iterdir()) / "values.json").write_text("{}")
    with pytest.raises(InputError, match=r"values\.json is damaged"):
        resume(other.path, epochs=4)
    assert other.done()["epochs"] == 2, "nothing was changed"


def test_a_finished_run_takes_no_other_change(tmp_path: Path):
    run = ran(tmp_path / "run", **SHORT)
    for change in ({"threads": 2}, {"device": "cpu"}, {"workers": 1}):
        with pytest.raises(InputError, match=r"but the run has ended; it goes on with more --epochs only"):
            resume(run.path, **change)


# links, copies, environments


@pytest.mark.long
def test_links_that_were_planted_lead_nowhere(tmp_path: Path):
    run = stopped(tmp_path / "run")
    victim = tmp_path / "victim"
    victim.write_text("kept")
    for name in (".report.html.tmp", ".metrics.jsonl.tmp", ".labels.safetensors.tmp", ".done.json.tmp", "metrics.jsonl",
                 "report.html", "done.json.tmp", "samples.csv", "model.safetensors", "labels.safetensors"):  # fmt: skip
        (run.path / name).unlink(missing_ok=True)
        (run.path / name).symlink_to(victim)
    assert here("resume", str(run.path)).code == 0
    assert here("report", str(run.path)).code == 0
    assert victim.read_text() == "kept"
    assert not (run.path / "report.html").is_symlink()
    for name in ("claim", "checkpoint", "network"):
        other = stopped(tmp_path / f"with-{name}")
        shutil.rmtree(other.path / name, ignore_errors=True)
        (tmp_path / "outside").mkdir(exist_ok=True)
        (other.path / name).symlink_to(tmp_path / "outside")
        with pytest.raises(InputError, match=f"{name} is a link"):
            resume(other.path)
    assert not list((tmp_path / "outside").iterdir())


def test_what_a_kill_left_of_files_is_swept_away(tmp_path: Path):
    run = stopped(tmp_path / "run")
    for name in (".model.json.0a1b2c3d.tmp", ".mine.0a1b2c3d.tmp", ".tmpVm36uy"):
        (run.path / name).touch()
    resume(run.path)
    assert [entry.name for entry in run.path.glob(".*")] == [".mine.0a1b2c3d.tmp"]


def test_a_copy_is_nobodys(tmp_path: Path):
    run = stopped(tmp_path / "run")
    with claimed(run.path):
        copy = shutil.copytree(run.path, tmp_path / "copy")
        resume(copy)
        with pytest.raises(InputError, match="is in use by process"):
            resume(run.path)


@pytest.mark.long
def test_numbers_at_the_end_of_the_range(tmp_path: Path):
    (tmp_path / "claim").mkdir()
    for name in ("99999999", "٩" * 8, "9" * 30, "x"):
        (tmp_path / "claim" / name).touch()
    assert claim.take(tmp_path).file.name == "100000000"
    with pytest.raises(InputError, match="is in use"):
        claim.take(tmp_path)
    run = stopped(tmp_path / "run")
    max(run.checkpoints.iterdir()).rename(run.checkpoints / "99999999")
    resume(run.path)
    assert (run.checkpoints / "100000000").exists()


def test_a_folder_named_network_means_nothing_to_a_run_without(tmp_path: Path):
    run = ran(tmp_path / "run", **SHORT)
    run.network.mkdir()
    (run.network / "config.json").write_text('{"auto_map": {"AutoConfig": "evil.C"}}')
    assert alasca.load(run.path).predict(np.zeros((1, 1, 8, 8), np.uint8)).shape == (1, 10)


@pytest.mark.parametrize(("name", "value", "words"), [
    ("WORLD_SIZE", "abc", "WORLD_SIZE: 'abc' in the environment"), ("WORLD_SIZE", "2", "can't meet"),
    ("RANK", "x", "RANK: 'x' in the environment"),
])  # fmt: skip
def test_environments_of_launchers_that_are_none(name: str, value: str, words: str, tmp_path: Path, monkeypatch):
    for other in ("MASTER_ADDR", "RANK"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    said = here("train", "--device", "cpu", "--epochs", "1", "--limit", "60", "--out", str(tmp_path / "r"))
    assert said.code == 2, said
    assert words in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_a_rank_that_a_scheduler_left_silences_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "")
    assert "alasca: " in here("train", "--bogus").err


@pytest.mark.long
def test_streams_that_are_closed(tmp_path: Path):
    command = f"{sys.executable} -m alasca.cli"
    for rest in (">&-", "2>&-", ">&- 2>&-", "> /dev/full"):
        done = subprocess.run(
            ["sh", "-c", f"{command} list networks {rest}"], capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 1), done
        assert "Traceback" not in done.stderr
        done = subprocess.run(
            ["sh", "-c", f"{command} train --bogus {rest}"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (2, ""), done


def test_what_it_says_to_type_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("my run", "a;b$(touch x)", "-d"):
        Path(f"./{name}").mkdir()
        run = ran(Path(f"./{name}/r"), **SHORT)
        (run.path / "done.json").unlink()
        said = here("report", f"./{name}/r")
        typed = said.out.splitlines()[0].partition("continue it with: alasca ")[2]
        told = subprocess.run(
            ["sh", "-c", f"printf '%s\\n' {typed}"], capture_output=True, text=True, check=True
        ).stdout
        assert Path(told.splitlines()[1]).resolve() == run.path.resolve()
    assert not Path("x").exists()


# nothing that is read runs


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of a network of somebody's own, whose module leaves a trace when it is imported."""
    monkeypatch.chdir(tmp_path)
    name = f"net_{tmp_path.name.replace('-', '_')}"
    code = "import torch\nfrom pathlib import Path\nPath('trace').write_text('ran')\n"
    Path(f"{name}.py").write_text(
        code
        + "def net(num_classes):\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes))\n"
    )
    run = ran(tmp_path / "run", **SHORT, network=f"{name}:net", alasca=False)
    sys.modules.pop(name)
    Path("trace").unlink()
    return run


def test_a_network_of_ones_own_is_imported_only_where_it_is_named_again(evil: RunFolder, capsys):
    network = evil.settings()["recipe"]["network"]
    assert here("report", str(evil.path)).code == 0
    with pytest.raises(
        InputError, match=rf"names {network}, which is code that would run.*load\(folder, network='{network}'\)"
    ):
        alasca.load(evil.path)
    (evil.path / "done.json").rename(evil.path / "kept")
    said = here("resume", str(evil.path))
    assert said.code == 2
    assert f"if you trust it, name it again: alasca resume {evil.path} --network {network}" in said.err
    said = here("resume", str(evil.path), "--network", "other:net")
    assert said.code == 2
    assert not Path("trace").exists(), "it ran"
    (evil.path / "kept").rename(evil.path / "done.json")
    assert alasca.load(evil.path, network=network).predict(np.zeros((1, 1, 8, 8), np.uint8)).shape == (1, 10)
    (evil.path / "done.json").unlink()
    assert here("resume", str(evil.path), "--network", network).code == 0
    assert Path("trace").exists()


def test_the_line_to_go_on_with_names_what_it_takes(evil: RunFolder):
    (evil.path / "done.json").unlink()
    network = evil.settings()["recipe"]["network"]
    found = ending(OSError(28, "No space left on device"), evil.path)
    assert found is not None
    assert found.line.endswith(f"Continue it with: alasca resume {evil.path} --network {network}")
    resealed(evil.path / "run.json", machine={**evil.settings()["machine"], "processes": 3})
    found = ending(Stopped("stopped", 2), evil.path)
    assert found is not None
    assert found.line.endswith(
        f"with: torchrun --nproc-per-node 3 -m alasca.cli resume {evil.path} --network {network}"
    )


def test_the_current_folder_is_never_searched_first(tmp_path: Path):
    for name in ("rich", "tomllib", "psutil", "torch"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('it ran')")
    done = subprocess.run([sys.executable, "-m", "alasca.cli", "list", "networks"], capture_output=True, text=True,
                          cwd=tmp_path, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "mine.py").write_text(
        "import torch\ndef net(num_classes):\n    return torch.nn.Linear(3, num_classes)\n"
    )
    (tmp_path / "torch.py").unlink()
    code = "import sys, alasca.networks as n; before = list(sys.path); n.create_network('mine:net', (3,), 2); assert sys.path == before"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# fields


class Inner(TypedDict):
    count: Annotated[int, {"least": 0}]


class Outer(TypedDict):
    inner: list[Inner] | None
    kind: Literal["a", "b"]
    share: float


@pytest.mark.parametrize(("change", "words"), [
    ({"kind": "c"}, "f: kind: 'c', expected one of a, b"), ({"share": "x"}, "f: share: 'x', expected a number"),
    ({"share": True}, "f: share: True, expected a number"), ({"share": float("inf")}, "f: share: inf"),
    ({"share": 10**400}, "f: share: 1000"), ({"inner": [{"count": -1}]}, r"f: inner\[0\]: count: -1, expected at least 0"),
    ({"inner": [{"count": 1.5}]}, r"inner\[0\]: count: 1.5, expected a whole number"), ({"inner": [{}]}, "lacks 'count'"),
    ({"inner": [{"count": 1, "more": 2}]}, "'more' is no field"), ({"inner": "x"}, "inner: 'x', expected"),
    ({"inner": {}}, "inner: {}, expected a list"), ({"inner": [[]]}, r"inner\[0\]: expected a JSON object"),
    ({"share": [1]}, r"share: \[1\], expected a number"), ({"kind": ["a"]}, r"kind: \['a'\], expected one of"),
])  # fmt: skip
def test_fields_are_checked_by_name(change: dict[str, Any], words: str):
    whole = {"inner": [{"count": 3}], "kind": "a", "share": 0.5}
    conform(whole, Outer, "f")
    conform({**whole, "inner": None, "share": 1}, Outer, "f")
    with pytest.raises(InputError, match=words):
        conform({**whole, **change}, Outer, "f")


def test_a_seal_notices_every_change(tmp_path: Path):
    run = ran(tmp_path / "run", **SHORT)
    settings = read_json(run.path / "run.json")
    for name, value in settings.items():
        changed = {**settings, name: f"{value}x" if isinstance(value, str) else [value]}
        (run.path / "run.json").write_text(json.dumps(changed))
        with pytest.raises(InputError, match=r"run\.json"):
            run.settings()
    write_sealed(run.path / "run.json", settings)
    assert run.settings() == settings
    resealed(run.path / "done.json", run="another")
    with pytest.raises(InputError, match=r"done\.json is another run's"):
        run.done()


def test_a_model_of_another_run_is_refused(tmp_path: Path):
    run, other = ran(tmp_path / "a", **SHORT), ran(tmp_path / "b", **SHORT, seed=1)
    kept = (run.path / "model.safetensors").read_bytes()
    shutil.copy(other.path / "model.safetensors", run.path)
    with pytest.raises(InputError, match=r"model\.safetensors was changed.*not the one in model\.json"):
        alasca.load(run.path)
    (run.path / "model.safetensors").write_bytes(kept)
    for name in ("model.safetensors", "model.json"):
        shutil.copy(other.path / name, run.path)
    with pytest.raises(InputError, match=r"model\.json is another run's"):
        alasca.load(run.path)


# output


def test_files_have_the_permissions_of_the_person(tmp_path: Path):
    before = os.umask(0o027)
    try:
        write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(3)})
        run = ran(tmp_path / "run", **SHORT)
    finally:
        os.umask(before)
    for file in [tmp_path / "a.safetensors", *(path for path in run.path.rglob("*") if path.is_file())]:
        assert stat.S_IMODE(file.stat().st_mode) == 0o640, file


def test_a_spreadsheet_computes_nothing_and_the_table_stays_exact(tmp_path: Path):
    formulas = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "plain"]
    rows = [{"x": k, "label": formulas[k % 5], "id": f"{formulas[k % 5]} {k}"} for k in range(40)]
    with open(tmp_path / "t.jsonl", "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    run = ran(tmp_path / "run", data=f"table:{tmp_path / 't.jsonl'}", input="x", epochs=1, batch_size=8)
    write_spreadsheet(run, tmp_path / "s.csv")
    exact, guarded = (list(csv.DictReader((run.path / "samples.csv").read_text().splitlines())),
                      list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines())))  # fmt: skip
    assert {row["given_label"] for row in exact} == set(formulas)
    assert {row["given_label"] for row in guarded} == {f"'{text}" for text in formulas[:4]} | {"plain"}
    assert not [cell for row in guarded for name, cell in row.items() if cell.startswith(("=", "@", "+"))]
    assert any(float(row["mean_margin"]) < 0 for row in guarded), "numbers stay numbers"
    assert here("report", str(run.path), "--spreadsheet", str(tmp_path / "t.csv")).code == 0
    assert (tmp_path / "t.csv").read_bytes() == (tmp_path / "s.csv").read_bytes()


PAYLOADS = (
    "<script>document.title='ran'</script>", "<img src=x onerror=\"document.title='ran'\">", "</title><svg onload=alert(1)>",
    "</script><script>document.title='ran'</script>", "\" onmouseover=\"document.title='ran'", "javascript:alert(1)",
    "<link rel=stylesheet href=http://127.0.0.1:9/x>", "$title ${body}", "&lt;b&gt;", "<base href=//evil>",
)  # fmt: skip


def test_names_are_no_markup_in_a_browser(tmp_path: Path):
    rows = [
        {"text": f"{PAYLOADS[k % 10]} {k}", "label": PAYLOADS[k % 10], "id": f"{PAYLOADS[k % 10]}{k}"}
        for k in range(60)
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = ran(tmp_path / "run", data=f"table:{tmp_path / 't.jsonl'}", epochs=1, batch_size=8)
    page = write_report([run], tmp_path / "r.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].split("; ")[0] == "default-src 'none'"
    (digest,) = re.findall(r"script-src ([^;]*);", policy[1])
    assert re.fullmatch(r"'sha256-[\w+/=]+'", digest), "no script but ours"
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser")
    done = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom",
                           f"file://{tmp_path / 'r.html'}"], capture_output=True, text=True, timeout=100, check=False)  # fmt: skip
    shown = done.stdout
    assert "<title>Label noise report" in shown
    alive = re.findall(r"<(?:script|link|base)\b[^>]*>|<img[^>]*onerror", shown)
    assert alive == ['<script type="application/json" id="issues-0">', "<script>"], "markup came to life"
    for payload in PAYLOADS:
        assert payload.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split('"')[0] in shown


def test_terminals_are_not_steered():
    assert (
        visible("a\x1b]0;t\x07\x9b2J\u202e\u2066\u200f\r\x00é漢") == r"a\x1b]0;t\x07\x9b2J\u202e\u2066\u200f\r\x00é漢"
    )


# endings


@pytest.mark.parametrize(("error", "code", "words"), [
    (Stopped("stopped in epoch 1", 15), 143, "stopped in epoch 1. Continue it with: alasca resume"),
    (Stopped("stopped in epoch 1"), 130, "Continue"), (Diverged("the loss is not finite"), 1, "the loss is not finite"),
    (InputError("lr: x"), 2, "lr: x"), (KeyboardInterrupt(), 130, "stopped at once. Continue"), (BrokenPipeError(), 141, ""),
    (OSError(28, "No space left on device", "r/x"), 1, "No space left on device: r/x. Continue"),
    (PermissionError(13, "Permission denied", "r"), 1, "Permission denied: r"), (MemoryError(), 1, "try a smaller --batch-size"),
    (torch.OutOfMemoryError("CUDA out of memory"), 1, "try a smaller --batch-size"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 1, "try a smaller --batch-size"),
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), 1, "was ended from outside"),
    (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]"), 1, "has gone away. Continue"),
    (OutsideError("x was taken over"), 1, "x was taken over"),
])  # fmt: skip
def test_how_errors_end_a_command(error: BaseException, code: int, words: str, tmp_path: Path):
    (tmp_path / "run.json").touch()
    found = ending(error, tmp_path)
    assert found is not None
    assert found.code == code
    assert words in found.line
    assert "\n" not in found.line
    assert ending(Ended(found)) == found


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("shape"), KeyError("x"), AssertionError(), RecursionError()]
)
def test_a_mistake_of_ours_is_shown_with_what_to_report(error: Exception, capsys, monkeypatch: pytest.MonkeyPatch):
    assert ending(error) is None

    def broken(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr("alasca.training.train", broken)
    said = here("train", "--device", "cpu", "--out", "nothing")
    assert said.code == 1
    assert "Traceback" in said.err
    assert said.err.splitlines()[-1].startswith("alasca: this is a mistake in alasca")


# platforms


@pytest.mark.long
def test_processes_that_are_spawned_read_the_same(tmp_path: Path):
    """As macOS and Windows start them."""
    for k in range(24):
        (tmp_path / "p" / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(k).integers(0, 255, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "p" / "ab"[k % 2] / f"{k}.png")
    given = {"data": f"folder:{tmp_path / 'p'}", "image_size": 8, "in_memory": False, "epochs": 1, "batch_size": 8}
    alone = ran(tmp_path / "alone", **given, workers=0)
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        spawned = ran(tmp_path / "spawned", **given, workers=2)
    finally:
        multiprocessing.set_start_method(before, force=True)
    require_same(outcome(spawned.path), outcome(alone.path))


def test_a_whole_number_may_be_written_with_an_exponent(tmp_path: Path):
    said = here("train", "--epochs", "1", "--limit", "6e1", "--batch-size", "1.6e1", "--device", "cpu", "--out",
                str(tmp_path / "r"))  # fmt: skip
    assert said.code == 0, said.err
    assert (RunFolder(tmp_path / "r").recipe().limit, RunFolder(tmp_path / "r").recipe().batch_size) == (60, 16)
    assert parts(**SHORT)
