"""Views that are made of many steps at once are those that each step would make for itself, bit by bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from alasca.core import Batch, Phase, Stream
from alasca.data import Loader, Samples, Transform
from alasca.data import loader as loading
from alasca.data.pool import Pool
from alasca.data.rows import MappedRows
from alasca.testing import everything, planted, require_same, settings, trained

ROWS, BATCH = 330, 16
WHERE = (0, 2, 1)


def pictures(channels: int = 3) -> Tensor:
    draw = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (ROWS, channels, 12, 12), generator=draw).to(torch.uint8)


def samples(inputs: Tensor | MappedRows) -> Samples:
    labels = torch.randint(5, (ROWS,), generator=torch.Generator().manual_seed(4))
    return Samples(inputs, labels, Transform("pictures", shift=2, flip=True)).fitted()


def loader(of: Samples) -> Loader:
    weight = torch.tensor([1.0, 2, 3, 4, 5])
    return Loader(of, Pool(torch.arange(ROWS)), BATCH, 7, class_weight=weight)


def phase(views: tuple[str, ...]) -> Phase:
    """The second stream starts anew within the phase, the third follows, only a wrapper sees the fourth."""
    streams = {
        "all": Stream(views=views),
        "few": Stream(torch.arange(50), torch.linspace(0, 1, 50), views=("weak", views[0]), batch=8, draw=1),
        "partner": Stream(torch.arange(40, 200), follows="all", views=views),
        "rest": Stream(torch.arange(100, 300)),
    }
    return Phase((0,), streams, ("rest",))


def tensors(batches: Iterator[dict[str, Batch]]) -> list[dict[str, Tensor]]:
    return [flat(step) for step in batches]


def flat(step: Mapping[str, Batch]) -> dict[str, Tensor]:
    found = {}
    for name, batch in step.items():
        found |= {f"{name} {k}": view for k, view in enumerate(batch.views)}
        found |= {f"{name} {part}": getattr(batch, part) for part in ("labels", "index", "weight")}
    return found


@pytest.mark.parametrize("views", [("plain",), ("weak",), ("strong", "weak"), ("randaugment",)])
@pytest.mark.parametrize("each", [3, 7, 1000])
def test_chunks_are_the_steps_one_by_one(views: tuple[str, ...], each: int, monkeypatch: pytest.MonkeyPatch):
    made, given = loader(samples(pictures())), phase(views)
    monkeypatch.setattr(Loader, "steps_at_once", lambda self, phase: 1)
    alone = tensors(made.batches(given, WHERE))
    assert len(alone) == ROWS // BATCH
    monkeypatch.setattr(Loader, "steps_at_once", lambda self, phase: each)
    for start in (0, 1, each, each + 2):
        together = tensors(made.batches(given, WHERE, start))
        for one, other in zip(alone[start:], together, strict=True):
            require_same(one, other, f"from step {start}")


def test_views_of_one_channel_and_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.save(tmp_path / "x.npy", pictures(1).numpy())
    array = np.load(tmp_path / "x.npy", mmap_mode="r")
    mapped = MappedRows(torch.arange(ROWS), torch.device("cpu"), array=array)
    given = phase(("strong",))
    assert loader(samples(mapped)).steps_at_once(given) == 1
    alone = tensors(loader(samples(mapped)).batches(given, WHERE))
    monkeypatch.setattr(Loader, "steps_at_once", lambda self, phase: 5)
    for inputs in (pictures(1), mapped):
        for one, other in zip(alone, tensors(loader(samples(inputs)).batches(given, WHERE)), strict=True):
            require_same(one, other, "files and memory")


def test_how_many_steps_fit(monkeypatch: pytest.MonkeyPatch):
    made = loader(samples(pictures()))
    assert made.steps_at_once(Phase((0,), {"all": Stream()})) == (4 << 20) // (4 * 3 * 12 * 12) // BATCH
    assert made.steps_at_once(Phase((0,), {"all": Stream(views=("weak", "strong"))})) == 2427 // (2 * BATCH)
    monkeypatch.setitem(loading.AT_ONCE, "cpu", 1 << 40)
    assert made.steps_at_once(Phase((0,), {"all": Stream()})) == 8192 // BATCH
    monkeypatch.setitem(loading.AT_ONCE, "cpu", 1)
    assert made.steps_at_once(Phase((0,), {"all": Stream()})) == 1


def test_a_run_is_the_same_however_many_steps_are_made_at_once(monkeypatch: pytest.MonkeyPatch):
    from alasca.methods import create_method

    whole = everything(trained(create_method("dividemix"), planted(8), settings(6, batch_size=8)))
    monkeypatch.setattr(Loader, "steps_at_once", lambda self, phase: 1)
    require_same(whole, everything(trained(create_method("dividemix"), planted(8), settings(6, batch_size=8))), "runs")


def test_only_a_stream_that_may_bring_a_sample_twice_is_looked_at():
    streams = {"all": Stream(), "few": Stream(torch.arange(3)), "partner": Stream(torch.arange(40), follows="all")}
    step = next(loader(samples(pictures())).batches(Phase((0,), streams), WHERE))
    assert [step[name].distinct for name in streams] == [True, True, False]
    tiny = Phase((0,), {"all": Stream(torch.arange(1))})
    step = next(loader(samples(pictures())).batches(tiny, WHERE))
    assert len(step["all"].index) == 2
    assert not step["all"].distinct
