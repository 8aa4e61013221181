"""A release that could go out: wheel and source archive build, and the wheel's demo runs where nothing else is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: str, cwd: Path) -> str:
    bare = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    found = subprocess.run(command, cwd=cwd, env=bare, capture_output=True, text=True, check=False, timeout=900)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both archives, made in a copy of what is under version control."""
    copy, dist = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy / name)
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    code = f"from setuptools import build_meta as b; b.build_wheel({str(dist)!r}); b.build_sdist({str(dist)!r})"
    run(sys.executable, "-c", code, cwd=copy)
    return dist


def test_both_archives_hold_the_whole_package(built: Path):
    (wheel,), (archive,) = built.glob("*.whl"), built.glob("*.tar.gz")
    files = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "alasca").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as found:
        names = set(found.namelist())
    assert files <= names
    assert not [name for name in names if not name.startswith(("alasca/", "alasca-"))], "nothing but the package"
    assert any(name.endswith("licenses/NOTICE") for name in names)
    with tarfile.open(archive) as found:
        inside = {name.partition("/")[2] for name in found.getnames()}
    assert {f"src/{name}" for name in files} <= inside
    assert {"LICENSE", "NOTICE", "README.md", "pyproject.toml"} <= inside


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_demo_of_the_wheel_runs_in_an_empty_environment(built: Path, tmp_path: Path):
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "venv", "empty", cwd=tmp_path)
    python = str(tmp_path / "empty" / "bin" / "python")
    limits = ("--constraint", str(ROOT / "constraints.txt"))
    run(python, "-m", "pip", "install", "--quiet", *limits, "torch", cwd=tmp_path)
    run(python, "-m", "pip", "install", "--quiet", *limits, str(wheel), cwd=tmp_path)
    said = run(str(tmp_path / "empty/bin/alasca"), "demo", "--seeds", "1", "--epochs", "2", "--out", "d", cwd=tmp_path)
    assert "AUROC" in said
    assert (tmp_path / "d" / "report.html").is_file()
    where = run(python, "-c", "import alasca; print(alasca.__file__)", cwd=tmp_path)
    assert "site-packages" in where
