"""Cells are trained: end to end, stopped, killed, held by others, by the command line."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch

import alasca.paper.estimate
from alasca.cli import main
from alasca.errors import InputError
from alasca.files import seal_of
from alasca.paper.catalogue import ALL, cells_of
from alasca.paper.draw import DRAWN, draw_figure
from alasca.paper.estimate import Estimates, timed
from alasca.paper.experiments import ALASCA, CE, ELR, Table, grid
from alasca.paper.figures import FIGURES
from alasca.paper.outcomes import compile_table, file_of, finished, read_outcome, read_outcomes
from alasca.paper.protocols import PROTOCOLS
from alasca.paper.show import grids, page_of
from alasca.paper.tables import TABLES
from alasca.paper.work import Watch, Worker, expected
from alasca.recipe import Place
from alasca.surgery import OutputNet

TINY = PROTOCOLS["tiny"]
PLACE = Place(threads=1, device="cpu", checkpoint_seconds=0.0)


def quiet(text: str) -> None:
    """Say nothing."""


def worked(folder: Path, tables: list[Table], pattern: str = "*", seeds: int = 1, **options) -> list:
    return Worker(folder, PLACE, say=options.pop("say", quiet), **options).work(cells_of(tables, TINY, seeds, pattern))


# ------------------------------------------------------------------------------------------------------- end to end


@pytest.mark.parametrize("name", [*TABLES, *FIGURES, pytest.param("readings", marks=pytest.mark.long)])
def test_tables_and_figures_run_end_to_end(name: str, tmp_path: Path):
    """The first column of each, or the one cell for each row that a small column lacks."""
    table = ALL[name]
    first = {row: next(column for at, column in table.cells if at == row) for row in table.rows}
    part = dataclasses.replace(table, cells={(row, column): table.cells[row, column] for row, column in first.items()})
    if name == "figure5":  # the cells of tables 4 to 6
        part = dataclasses.replace(table, cells={k: v for k, v in part.cells.items() if k[0] in ("Standard", "ALASCA")})
    assert worked(tmp_path, [part]) == []
    outcomes = read_outcomes(tmp_path)
    assert all(outcome["failed"] is None for outcome in outcomes.values())
    assert all(0 <= outcome["figures"]["test_accuracy_last"] <= 100 for outcome in outcomes.values())
    if name in DRAWN:
        svg = draw_figure(name, TINY, outcomes)
        assert svg is not None
        assert ET.fromstring(svg).findall(".//{http://www.w3.org/2000/svg}polyline") or "rect" in svg
    else:
        text = "".join(grid.markdown() for grid in grids(table, TINY, outcomes))
        assert "(1)" in text
        assert name == "readings" or all(f"| {row} |" in text for row in table.rows)


@pytest.mark.long
def test_all_tables_and_figures_run_end_to_end(tmp_path: Path):
    assert worked(tmp_path, list(ALL.values())) == []
    outcomes = read_outcomes(tmp_path)
    assert len(outcomes) > 250
    assert all(outcome["failed"] is None for outcome in outcomes.values())
    for name in DRAWN:
        assert draw_figure(name, TINY, outcomes) is not None, name
    text = page_of(list(ALL.values()), TINY, outcomes, {})
    assert all(table.title in text for table in TABLES.values())


def test_a_cell_that_stops_goes_on_and_ends_as_one_that_never_did(tmp_path: Path):
    part = Table("part", "one", grid({"ALASCA": ELR.wrapped()}, ("cifar10/sym60",)))
    assert worked(tmp_path / "whole", [part]) == []
    cell = cells_of([part], TINY, 1)[0]
    said: list[str] = []

    class Soon(Worker):
        def _left(self) -> float:
            return 1.0

    stopped = Soon(tmp_path / "stopped", PLACE, until=time.monotonic() - 1, say=said.append)
    assert [one.id for one in stopped.work([cell])] == [cell.id]
    assert "the time is over; it goes on next time" in said[-1]
    assert (tmp_path / "stopped" / "work" / cell.id / "run" / "checkpoint").is_dir()
    assert not finished(tmp_path / "stopped")
    assert worked(tmp_path / "stopped", [part]) == []
    one, other = (read_outcome(file_of(tmp_path / name, cell.id)) for name in ("whole", "stopped"))
    assert one["epochs"] == other["epochs"]
    assert not (tmp_path / "stopped" / "work" / cell.id).exists()


def test_no_cell_is_begun_that_would_not_end_in_time(tmp_path: Path):
    part = Table("part", "two", grid({"CE": CE}, ("cifar10/sym60", "cifar10/sym40")))
    first, second = cells_of([part], TINY, 1)
    assert Worker(tmp_path, PLACE, say=quiet).work([first]) == []
    path = file_of(tmp_path, first.id)
    slow = {**json.loads(path.read_text()), "wall": 5000.0}
    path.write_text(json.dumps({**slow, "sha256": seal_of(slow)}))
    assert expected(second, read_outcomes(tmp_path), "cpu") == 5000.0
    assert Worker(tmp_path, PLACE, until=time.monotonic() + 1000, say=quiet).work([first, second]) == [second]
    assert Worker(tmp_path, PLACE, until=time.monotonic() + 9000, say=quiet).work([first, second]) == []


def test_a_cell_of_another_method_is_estimated_by_what_finished_cells_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Estimates, "step", lambda self, recipe: (0.001 if recipe.alasca else 0.0005, 1.0))
    part = Table("part", "three", grid({"CE": CE, "+": ALASCA, "ELR": ELR}, ("cifar10/sym60",)))
    first, second, third = cells_of([part], TINY, 1)
    alone = Estimates(PLACE, {})
    assert alone.seconds(first) == pytest.approx(2 * 0.0005 * (100 * 0.8 + 450 / 3))
    assert alone.seconds(second) == pytest.approx(2 * alone.seconds(first))
    assert Worker(tmp_path, PLACE, say=quiet).work([first]) == []
    path = file_of(tmp_path, first.id)
    slow = {**json.loads(path.read_text()), "wall": 10 * alone.seconds(first)}
    path.write_text(json.dumps({**slow, "sha256": seal_of(slow)}))
    after = Estimates(PLACE, read_outcomes(tmp_path))
    assert after.seconds(first) == pytest.approx(10 * alone.seconds(first))
    assert after.seconds(second) == alone.seconds(second)  # another network: with sub-classifiers
    assert after.seconds(third) == pytest.approx(10 * alone.seconds(third))


def test_a_cell_that_another_worker_holds_is_left_to_it(tmp_path: Path):
    from alasca.runs import claimed

    part = Table("part", "one", grid({"CE": CE}, ("cifar10/sym60",)))
    (cell,) = cells_of([part], TINY, 1)
    path = tmp_path / "work" / cell.id
    path.mkdir(parents=True)
    with claimed(path):
        assert worked(tmp_path, [part]) == [cell]
    assert worked(tmp_path, [part]) == []


def test_a_cell_goes_on_only_on_the_kind_of_machine_that_began_it(tmp_path: Path):
    part = Table("part", "one", grid({"CE": CE}, ("cifar10/sym60",)))
    (cell,) = cells_of([part], TINY, 1)

    class Soon(Worker):
        def _left(self) -> float:
            return 1.0

    Soon(tmp_path, PLACE, until=time.monotonic() - 1, say=quiet).work([cell])
    path = tmp_path / "work" / cell.id / "run" / "run.json"
    moved = json.loads(path.read_text())
    moved["machine"]["device"] = "NVIDIA H100"
    path.write_text(json.dumps({**moved, "sha256": seal_of(moved)}))
    said: list[str] = []
    assert worked(tmp_path, [part], say=said.append) == [cell]
    assert "was begun on NVIDIA H100" in said[-1]
    assert worked(tmp_path, [part], inexact=True) == []


def test_a_copied_folder_is_nobodys(tmp_path: Path):
    """A claim of a process that lives, in a copy of its folder, holds nothing."""
    import shutil

    from alasca.runs import claimed

    part = Table("part", "one", grid({"CE": CE}, ("cifar10/sym60",)))
    (cell,) = cells_of([part], TINY, 1)
    (tmp_path / "a" / "work" / cell.id).mkdir(parents=True)
    with claimed(tmp_path / "a" / "work" / cell.id):
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        assert worked(tmp_path / "a", [part]) == [cell]
        assert worked(tmp_path / "b", [part]) == []


def test_a_loss_that_leaves_the_numbers_is_a_result(tmp_path: Path):
    part = Table("part", "one", grid({"CE": CE.using(lr=1e12)}, ("cifar10/sym60",)))
    said: list[str] = []
    assert worked(tmp_path, [part], say=said.append) == []
    (outcome,) = read_outcomes(tmp_path).values()
    assert "not finite" in (outcome["failed"] or "")
    assert "not finite" in said[-1]
    text = "".join(grid.markdown() for grid in grids(part, TINY, {**read_outcomes(tmp_path)}))
    assert "1 of 1 diverged" in text
    assert worked(tmp_path, [part]) == []  # not tried again


def test_what_was_changed_by_hand_is_refused(tmp_path: Path):
    part = Table("part", "one", grid({"CE": CE}, ("cifar10/sym60",)))
    worked(tmp_path, [part])
    (path,) = (tmp_path / "cells").glob("*.json")
    better = json.loads(path.read_text())
    better["figures"]["test_accuracy_last"] = 99.9
    path.write_text(json.dumps(better))
    with pytest.raises(InputError, match="was changed after it was written"):
        read_outcomes(tmp_path)


def test_compiled_tables_are_a_line_a_cell(tmp_path: Path):
    part = Table("part", "one", grid({"CE": CE}, ("cifar10/sym60",)))
    worked(tmp_path, [part], seeds=2)
    lines = compile_table(tmp_path, "part", cells_of([part], TINY, 3), read_outcomes(tmp_path)).read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [(one["name"], one["seed"]) for one in found] == [("cifar10/sym60/ce", 0), ("cifar10/sym60/ce", 1)]
    assert "looks" not in found[0]
    assert found[0]["recipe"]["data"] == "digits"


def kill_some(tmp_path: Path, cells: int, seeds: int, kills: int, limit: float) -> None:
    """Four workers on one folder, killed at random and started again: nothing is lost, nothing done twice."""
    command = [sys.executable, "-m", "alasca.cli", "reproduce", "table4", "--protocol", "tiny", "--cells", "cifar10/*",
               "--seeds", str(seeds), "--out", str(tmp_path), "--device", "cpu", "--threads", "1"]  # fmt: skip
    draw, logs, deadline = random.Random(0), [], time.monotonic() + limit
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start() -> subprocess.Popen:
        logs.append(tmp_path / f"log{len(logs)}")
        with logs[-1].open("w") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    workers, folder = [start() for _ in range(4)], tmp_path / "tiny"
    killed = 0
    while len(finished(folder)) < cells and time.monotonic() < deadline:
        time.sleep(draw.uniform(0.2, 1.2))
        ready = [k for k, worker in enumerate(workers) if worker.poll() is None and "seed" in logs_of(tmp_path)]
        if killed < kills and ready:
            workers[draw.choice(ready)].send_signal(signal.SIGKILL)
            killed += 1
        for k, worker in enumerate(workers):
            if worker.poll() is not None:
                assert worker.returncode in (0, -signal.SIGKILL), logs_of(tmp_path)
                if len(finished(folder)) < cells:
                    workers[k] = start()
    for worker in workers:
        assert worker.wait(60) in (0, -signal.SIGKILL), logs_of(tmp_path)
    assert killed == kills
    outcomes = read_outcomes(folder)
    assert len(outcomes) == cells
    ends = [
        line.partition(": ")[2].partition(": test")[0] for line in logs_of(tmp_path).splitlines() if ": test " in line
    ]
    assert len(ends) == len(set(ends))
    assert len(ends) >= cells - kills  # whoever is killed just after its file was written says nothing


def logs_of(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.glob("log*")))


def test_workers_that_are_killed_lose_nothing_and_do_nothing_twice(tmp_path: Path):
    kill_some(tmp_path, 32, 1, 4, 250)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_many_workers_that_are_killed_often_lose_nothing(tmp_path: Path):
    kill_some(tmp_path, 320, 10, 20, 1000)


def test_a_cell_whose_begin_is_damaged_keeps_no_other_waiting(tmp_path: Path):
    part = Table("part", "two", grid({"CE": CE, "ELR": ELR}, ("cifar10/sym60",)))
    first, second = cells_of([part], TINY, 1)
    path = tmp_path / "work" / first.id / "run"
    path.mkdir(parents=True)
    (path / "run.json").write_text("{")
    with pytest.raises(InputError, match=rf"run.json can't be read.*to train it from its start remove .*{first.id}"):
        Worker(tmp_path, PLACE, say=quiet).work([first, second])
    assert finished(tmp_path) == {second.id}


def test_files_that_cannot_be_read_are_named_with_what_to_do(tmp_path: Path):
    part = Table("part", "two", grid({"CE": CE, "ELR": ELR}, ("cifar10/sym60",)))
    first, second = cells_of([part], TINY, 1)
    assert Worker(tmp_path, PLACE, say=quiet).work([first, second]) == []
    for cell in (first, second):
        text = file_of(tmp_path, cell.id).read_text()
        file_of(tmp_path, cell.id).write_text(text[:200])
    ids = sorted((first.id, second.id))
    words = rf"{ids[0]}.json can't be read.*remove that file, and the same command trains its cell anew .*{ids[1]}.json"
    with pytest.raises(InputError, match=words):
        read_outcomes(tmp_path)


def test_a_worker_stops_when_what_started_it_is_gone(tmp_path: Path):
    part = Table("part", "one", grid({"ALASCA": ELR.wrapped()}, ("cifar10/sym60",)))
    cells, said = cells_of([part], TINY, 1), []
    assert Worker(tmp_path, PLACE, parent=os.getppid(), say=quiet).work([]) == []
    assert Worker(tmp_path, PLACE, parent=1 << 30, say=said.append).work(cells) == cells
    assert not said
    assert Watch(None, os.getppid()).enough() is False
    assert Watch(None, 1 << 30).enough() is True
    assert Worker(tmp_path, PLACE, parent=os.getppid(), say=quiet).work(cells) == []


# ------------------------------------------------------------------------------------------------------ command line


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_the_command_line_trains_and_shows(tmp_path: Path, capsys):
    base = ["reproduce", "table9", "--protocol", "tiny", "--out", str(tmp_path)]
    assert code_of(*base, "--cells", "cifar10/sym60/*", "--seeds", "1", "--device", "cpu") == 0
    told = capsys.readouterr().out
    assert "4 of 4 cells are done" in told
    assert f"Next: alasca reproduce table9 --protocol tiny --out {tmp_path} --show" in told
    assert (tmp_path / "tiny" / "table9.jsonl").read_text().count("\n") == 4
    assert code_of(*base, "--show") == 0
    shown = capsys.readouterr().out
    assert "(1)" in shown
    assert "digits in the place of CIFAR-10" in shown
    assert "the paper's" not in shown  # no row of table 9 is a method without and with it
    assert "Table 9" in (tmp_path / "tiny" / "paper.md").read_text()
    assert code_of("reproduce", "table3", *base[2:], "--show") == 0  # the page keeps all that there is
    assert "Table 9" in (tmp_path / "tiny" / "paper.md").read_text()
    assert code_of("reproduce", "figure2", *base[2:], "--show") == 0
    assert "figure2, " in capsys.readouterr().out
    assert code_of("reproduce", "--list", "--protocol", "tiny", "--out", str(tmp_path)) == 0
    assert "table9" in capsys.readouterr().out


def test_a_dry_run_needs_no_data(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.delenv("ALASCA_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert code_of("reproduce", "table9", "--protocol", "small", "--dry-run", "--seeds", "1", "--device", "cpu") == 0
    told = capsys.readouterr().out
    assert "cifar10/asym40/als-(s)" in told
    assert "16 of 16 cells are left" in told
    assert "MiB" in told
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_tells_the_rest_where_a_network_cannot_be_made(tmp_path: Path, capsys, monkeypatch):
    real = alasca.paper.estimate.create_network

    def create(name, *rest):
        if name.startswith("timm:"):
            raise InputError("network: timm is not there")
        return real(name, *rest)

    monkeypatch.setattr(alasca.paper.estimate, "create_network", create)
    monkeypatch.chdir(tmp_path)
    assert code_of("reproduce", "table3", "--dry-run", "--seeds", "1", "--device", "cpu") == 0
    told = capsys.readouterr().out
    assert "10 can't be estimated here: network: timm is not there" in told
    assert "10 of 10 cells are left" in told


def test_several_workers_at_once(tmp_path: Path, capfd):
    done = subprocess.run(
        [sys.executable, "-m", "alasca.cli", "reproduce", "table9", "--protocol", "tiny", "--parallel", "2",
         "--seeds", "1", "--out", str(tmp_path), "--cells", "*/sym60/*"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(finished(tmp_path / "tiny")) == 4
    assert done.stdout.count("cells are done") == 1
    assert (tmp_path / "tiny" / "table9.jsonl").read_text().count("\n") == 4


@pytest.mark.parametrize("parallel", ["1", pytest.param("2", marks=pytest.mark.long)])
def test_a_command_that_is_stopped_says_so(parallel: str, tmp_path: Path):
    command = [sys.executable, "-m", "alasca.cli", "reproduce", "table9", "--protocol", "tiny", "--seeds", "50",
               "--parallel", parallel, "--out", str(tmp_path)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert "seed 0" in worker.stdout.readline()
        worker.send_signal(signal.SIGTERM)
        _, told = worker.communicate(timeout=120)
    assert worker.returncode == 128 + signal.SIGTERM
    assert "SIGTERM; the same command goes on from there" in told


def test_memory_is_that_of_what_a_batch_saves():
    """A linear layer without bias: its input is saved, and there are weights, gradients and momentum."""
    net = OutputNet(torch.nn.Linear(50, 10, bias=False), example=torch.zeros(2, 50))
    seconds, memory = timed(net, torch.randn(8, 50), 80)
    saved = memory - 3 * 4 * 500
    assert 80 * 50 * 4 <= saved <= 80 * (50 + 8 * 10) * 4  # and what the loss saves of its 10 logits
    assert 0 < seconds < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a table or figure"),
        (("table1",), "'table1' is unknown"),
        (("table4", "--seeds", "0"), "seeds: 0, expected at least 1"),
        (("table4", "--parallel", "0"), "parallel: 0"),
        (("table4", "--minutes", "0"), "minutes: 0, expected above 0"),
        (("table4", "--page", "x.md"), "page: nothing is shown; add --show"),
        (("table4", "--cells", "nothing"), "'nothing' fits no whole name in table4"),
        (("table4", "--cells", "nothing", "--show"), "leave out --cells"),
        (("table4", "--dry-run", "--show"), "--dry-run and --show together; choose one"),
        (("table4", "--dry-run", "--out", "file"), "out: file is a file, expected a folder"),
        (("figure8",), "figure8 is a drawing"),
        (("table4", "--out", "file/x", "--cells", "cifar10/sym60/standard"), "can't be made"),
        (("table4", "--show", "--out", "nowhere"), "nowhere/paper is not there"),
        (("table4", "--data-dir", "nowhere", "--cells", "cifar10/sym60/standard", "--device", "cpu"), "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALASCA_DATA", "")
    (tmp_path / "file").touch()
    assert code_of("reproduce", *arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
