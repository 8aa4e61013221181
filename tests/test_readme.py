"""The README's code runs as it is printed, and prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from alasca.methods import create_method
from alasca.networks.small import SmallResNet
from doors import read

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_readme_blocks_run(capsys: pytest.CaptureFixture[str]):
    torch.manual_seed(0)
    labels = torch.arange(128) % 10
    images = torch.randn(128, 1, 8, 8) + torch.randn(10, 1, 8, 8)[labels]
    names = {"net": SmallResNet(1, 10), "images": images, "labels": labels, "epochs": 8}
    names["pixels"] = (images.sigmoid() * 255).byte()
    for block in BLOCKS:
        exec(block, names)  # noqa: S102  # the README's own code
    assert len(BLOCKS) == 8
    assert len([line for line in BLOCKS[1].splitlines() if line.strip()]) <= 15
    logits = names["logits"]
    assert isinstance(logits, torch.Tensor)
    assert (logits.argmax(1) == labels).double().mean() > 0.9
    said = re.findall(r"print\(.*\) +# (.*)", "\n".join(BLOCKS))
    assert capsys.readouterr().out.splitlines() == said


def test_contributing_shows_a_method_that_trains():
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    from alasca import functional
    from alasca.core import LossMethod, Preset
    from alasca.testing import LAWS

    names = {"LossMethod": LossMethod, "Preset": Preset, "label_smoothing": functional.label_smoothing}
    exec(block, names)  # noqa: S102  # the guide's own code
    method = names["LabelSmoothing"]
    assert isinstance(method, type)
    for name in ("1 learns", "2 wrapping adds nothing", "9 says what it is"):
        LAWS[name](method)
    assert isinstance(method(0.2), nn.Module)
    assert create_method("ce") is not None


def test_the_page_of_texts_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its code makes a table that trains."""
    from alasca.data import Texts

    text = (ROOT / "docs" / "texts.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.S)
    monkeypatch.chdir(tmp_path)
    names = {"texts": ["see my channel", "check out this free song", "what a voice", "hello", "free song"] * 4}
    exec(block, names)  # noqa: S102  # the page's own code
    source = read("table:comments.jsonl")
    assert isinstance(source.inputs, Texts)
    assert len(source.labels) == 16
    assert set(source.inputs.values) == set(names["texts"]) - {"hello"}


def test_the_page_of_data_names_what_there_is():
    from alasca.data import SOURCES
    from alasca.networks import NETWORKS

    text = (ROOT / "docs" / "data.md").read_text()
    for form in SOURCES:
        assert f"`{form}" in text, f"the page does not have {form}"
    for network in NETWORKS:
        assert f"`{network}`" in text, f"the page does not have {network}"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_no_page_has_an_empty_table(page: Path):
    assert not re.search(r"<!-- ([\w-]+):begin -->\n<!-- \1:end -->", page.read_text())
