"""A sample of the campaign against the product; `make break` carries out all of it and prints what was tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from breaking import carry_out, command_lines, data_files, disks, kills, processes, repairs, run_files, signals, some

whole = [pytest.mark.long, pytest.mark.timeout(2400)]
Note = Callable[[str, object], None]


@pytest.mark.long
def test_two_kills(tmp_path: Path, record_property: Note):
    moments = ("epoch", "last writes")
    carry_out(kills.attempts("ce", tmp_path, moments), tmp_path / "own", record_property, "kills")


@pytest.mark.parametrize("method", [pytest.param(name, marks=whole) for name in kills.METHODS])
def test_kills(method: str, tmp_path: Path, record_property: Note):
    carry_out(kills.attempts(method, tmp_path, seed=1), tmp_path / "own", record_property, "kills")


@pytest.mark.parametrize("count", [pytest.param(None, marks=pytest.mark.long), pytest.param(25, marks=whole)])
def test_signals_and_streams(count: int | None, tmp_path: Path, record_property: Note):
    chosen = list(signals.attempts(tmp_path, count or 1))
    if count is None:
        chosen = [each for each in chosen if each[0] in ("| head -1", "SIGINT")]
    carry_out(chosen, tmp_path / "own", record_property, "signals and streams")


@pytest.mark.parametrize("sizes", [pytest.param(disks.SIZES, marks=whole)])
def test_full_disks(sizes: tuple[int, ...], tmp_path: Path, record_property: Note):
    carry_out(disks.attempts(tmp_path, sizes), tmp_path / "own", record_property, "full disks")


@pytest.mark.parametrize("count", [pytest.param(12, marks=whole)])
def test_repairs(count: int, tmp_path: Path, record_property: Note):
    carry_out(repairs.attempts(tmp_path, count), tmp_path / "own", record_property, "repairs")


LONGER = ("damaged", "swapped", "empty")


def test_some_run_files(tmp_path: Path, record_property: Note):
    chosen = some(run_files.attempts(tmp_path, "signed again", "edited"), 12)
    carry_out(chosen, tmp_path / "own", record_property, "run files")


@pytest.mark.parametrize("part", [*(pytest.param(name, marks=whole) for name in ("signed again", "edited", *LONGER))])
def test_run_files(part: str, tmp_path: Path, record_property: Note):
    carry_out(run_files.attempts(tmp_path, part), tmp_path / "own", record_property, "run files")


@pytest.mark.parametrize("count", [15, pytest.param(None, marks=whole)])
def test_data_files(count: int | None, tmp_path: Path, record_property: Note):
    carry_out(some(data_files.attempts(), count), tmp_path, record_property, "data files")


@pytest.mark.parametrize("count", [40, pytest.param(None, marks=whole)])
def test_command_lines(count: int | None, tmp_path: Path, record_property: Note):
    carry_out(some(command_lines.attempts(), count), tmp_path, record_property, "command lines")


@pytest.mark.long
def test_two_commands_for_one_run(tmp_path: Path, record_property: Note):
    chosen = [
        each
        for each in processes.attempts(tmp_path)
        if each[0] in ("two commands for one run", "3 processes, a mistake")
    ]
    carry_out(chosen, tmp_path / "own", record_property, "several processes")


@pytest.mark.parametrize("size", [pytest.param(size, marks=whole) for size in (2, 3)])
def test_processes(size: int, tmp_path: Path, record_property: Note):
    carry_out(processes.attempts(tmp_path, (size,)), tmp_path / "own", record_property, "several processes")
