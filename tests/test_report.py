"""The report as a tool: every issue in it, safe to open, runs compared by what is known of them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from alasca import Place, Recipe, Task, train
from alasca.audit.browser import inline
from alasca.audit.report import noted, write_report
from alasca.runs import RunFolder

NASTY = '</script><script>alert("x")</script><img src=x onerror=alert(1)>'
ROWS = 300


def texts_and_labels() -> tuple[list[str], list[str]]:
    """Texts of two kinds; a tenth of the labels wrong, one text and one class that no page may run."""
    rng = np.random.default_rng(0)
    words = [[f"w{kind}{j}" for j in range(6)] for kind in range(2)]
    texts = [" ".join(rng.choice([*words[k % 2], "and"], 9)) + (NASTY if k % 3 == 0 else "") for k in range(ROWS)]
    names = ["<b>cat</b>", 'dog "& co"']
    return texts, [names[(k + (k % 10 == 9)) % 2] for k in range(ROWS)]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    task = Task.from_arrays(*texts_and_labels(), ids=[f"{NASTY} {k}" for k in range(ROWS)])
    recipe = Recipe(epochs=12, method="elr", val_fraction=0.0)
    return train(recipe, task, Place(threads=1), tmp_path_factory.mktemp("report") / "run")


def listed(page: str, number: int = 0) -> dict:
    (content,) = re.findall(rf'<script type="application/json" id="issues-{number}">(.*?)</script>', page, re.S)
    return json.loads(content)


def test_every_issue_is_in_it_and_nothing_in_it_runs(run: RunFolder, tmp_path: Path):
    page = write_report([run], tmp_path / "r.html").read_text()
    records, found = run.records(), listed(page)
    assert records.issue.sum() > 10
    assert [row["id"] for row in found["rows"]] == [records.ids[k] for k in records.ranking() if records.issue[k]]
    assert found["classes"] == list(records.classes)
    first = found["rows"][0]
    assert first["quality"] == pytest.approx(records.quality.min(), abs=1e-4)
    assert any(NASTY in row["text"] for row in found["rows"])
    assert page.count("<script") == 2  # the list and our own
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page
    assert "innerHTML" not in script
    assert "<b>cat</b>" not in page.replace("\\u003c", "")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
def test_a_browser_lists_pages_and_runs_nothing_else(run: RunFolder, tmp_path: Path):
    path = write_report([run], tmp_path / "r.html")
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    count = int(run.records().issue.sum())
    assert f"{count} of {count}, page 1 of {-(-count // 48)}" in dom
    assert dom.count('class="item text"') == min(count, 48)
    assert "&lt;b&gt;cat&lt;/b&gt; (" in dom  # an option of the filter


@pytest.mark.long
def test_pictures_of_all_issues_and_notes_folded_away(tmp_path: Path):
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    pictures = rng.integers(0, 100, (120, 100, 60, 3), dtype=np.uint8)
    pictures[labels == 1, :50] += 100
    given = labels.copy()
    given[:20] = 1 - given[:20]
    run = train(Recipe(epochs=5), Task.from_arrays(pictures, given), Place(threads=1), tmp_path / "run")
    kept = run.pictures()
    assert len(kept) == 120
    assert {picture.shape for picture in kept.values()} == {(3, 96, 58)}
    rows = listed(write_report([run], tmp_path / "r.html").read_text())["rows"]
    assert len(rows) == run.records().issue.sum() > 0
    assert all(row["picture"].startswith("data:image/jpeg;base64,") for row in rows)
    assert inline(np.zeros((1, 8, 8), dtype=np.uint8)).startswith("data:image/png;base64,")
    assert noted(["short"]) == "<p class='soft'>short</p>"
    assert noted(["x" * 200, "y" * 200]).startswith("<details><summary>How the data were read: 2 notes</summary>")


def test_runs_on_ones_own_data_are_compared_by_what_is_known(run: RunFolder, tmp_path: Path):
    own = Task.from_arrays(*texts_and_labels(), ids=[f"{NASTY} {k}" for k in range(ROWS)])
    other = train(Recipe(epochs=12, val_fraction=0.1), own, Place(threads=1), tmp_path / "other")
    digits = train(Recipe(epochs=1, limit=100), None, Place(threads=1), tmp_path / "digits")
    page = write_report([run, other, digits], tmp_path / "r.html").read_text()
    mine, theirs = (set(np.array(each.records().ids)[each.records().issue]) for each in (run, other))
    assert f"{len(mine & theirs):,} of {len(mine | theirs):,}" in page
    assert f"{other.done()['val_accuracy_last']:.1f}%" in page
    assert page.count('<table class="results stacked"><tr><th>method</th>') == 1  # digits, one run, is no comparison
    for words in (
        "agrees with held-out labels",
        "No true labels are known here",
        "data from a program",
        "<h2>digits</h2>",
    ):
        assert words in page, words
    assert "test accuracy, last epoch" not in page
