"""The per-sample store: hand values, duplicates, rows that are no numbers, types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import alasca.functional as AF
from alasca.stores import CompactStore, SampleStore, Shadow, make_store, mean_by_index

LOGITS = torch.tensor([[2.0, 0.0, -1.0]])


def test_two_visits_by_hand():
    store = SampleStore(4, 3)
    store.update(torch.tensor([2]), LOGITS, 0.7)
    torch.testing.assert_close(store.read(torch.tensor([2])), torch.tensor([[0.6, 0.0, -0.3]]))
    store.update(torch.tensor([2]), LOGITS, 0.7)
    torch.testing.assert_close(store.value[2], torch.tensor([1.02, 0.0, -0.51]))
    assert store.value[[0, 1, 3]].abs().max() == 0
    assert store.visits.tolist() == [0, 0, 2, 0]


def test_duplicates_give_their_mean_once():
    store = SampleStore(4, 3)
    rows = torch.tensor([[1.0, 2.0, 3.0], [9.0, 9.0, 9.0], [3.0, 2.0, 1.0]])
    store.update(torch.tensor([1, 3, 1]), rows, 0.5)
    torch.testing.assert_close(store.value[1], torch.tensor([1.0, 1.0, 1.0]))
    torch.testing.assert_close(store.value[3], torch.tensor([4.5, 4.5, 4.5]))
    assert store.visits.tolist() == [0, 1, 0, 1]


def test_distinct_rows_need_no_sorting():
    index, rows = torch.tensor([3, 0, 2]), torch.randn(3, 5)
    looked, told = SampleStore(4, 5), SampleStore(4, 5)
    for store, distinct in ((looked, False), (told, True)):
        store.update(index, rows, 0.7)
        store.update(index.flip(0), rows, 0.7, distinct=distinct)
    assert torch.equal(looked.value, told.value)
    assert torch.equal(looked.visits, told.visits)


def test_means_are_deterministic_and_leave_single_rows_alone():
    index = torch.tensor([5, 2, 5, 5, 0])
    rows = torch.randn(5, 7)
    ordered, means = mean_by_index(index, rows)
    assert ordered.tolist() == [0, 2, 5, 5, 5]
    assert torch.equal(means[:2], rows[[4, 1]])
    assert torch.equal(means[2], means[3])
    assert torch.equal(means[2], means[4])
    torch.testing.assert_close(means[2], rows[[0, 2, 3]].mean(0))


def test_rows_that_are_no_numbers_keep_the_old_ones():
    store = SampleStore(3, 2)
    store.update(torch.arange(3), torch.ones(3, 2), 0.0)
    bad = torch.tensor([[float("nan"), 1.0], [5.0, 5.0], [float("inf"), 0.0]])
    store.update(torch.arange(3), bad, 0.0)
    assert store.value.tolist() == [[1, 1], [5, 5], [1, 1]]
    assert store.skipped.item() == 2
    assert store.visits.tolist() == [1, 2, 1]


def test_half_precision_tables_are_clamped_to_their_range():
    store = SampleStore(2, 2, torch.float16)
    store.update(torch.tensor([0]), torch.tensor([[1e6, -1e6]]), 0.0)
    assert store.value[0].tolist() == [65504, -65504]
    assert store.read(torch.tensor([0])).dtype == torch.float32


def test_state_is_saved_and_updates_are_in_place():
    store = SampleStore(3, 2)
    where = store.value.data_ptr()
    store.update(torch.tensor([1]), torch.ones(1, 2), 0.7)
    assert store.value.data_ptr() == where
    twin = SampleStore(3, 2)
    twin.load_state_dict(store.state_dict())
    assert torch.equal(twin.value, store.value)
    assert set(store.state_dict()) == {"value", "visits", "skipped"}


def test_no_samples_is_refused():
    with pytest.raises(ValueError, match="num_samples"):
        SampleStore(0, 3)


def bytes_a_sample(store: SampleStore) -> float:
    tables = [buffer for buffer in store.buffers() if buffer.dim()]
    return sum(buffer.numel() * buffer.element_size() for buffer in tables) / len(store.visits)


def drifting(classes: int, samples: int, visits: int, seed: int = 0) -> Iterator[torch.Tensor]:
    """Logits of a network that learns: noise, and a class a sample that rises."""
    draw = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, (samples,), generator=draw)
    start = torch.randn(samples, classes, generator=draw)
    for visit in range(visits):
        rows = start + 0.7 * torch.randn(samples, classes, generator=draw)
        rows[torch.arange(samples), target] += 8 * visit / visits
        yield rows


@pytest.mark.parametrize(
    ("kind", "classes", "most"), [("float16", 10, 0.008), ("compact", 100, 0.008), ("compact", 30, 0.02)]
)
def test_smaller_stores_lose_little_confidence(kind: str, classes: int, most: float):
    """What 99% of the confidences stay below, after 15 visits of drifting logits."""
    samples = 600
    exact, small = SampleStore(samples, classes), make_store(kind, samples, classes, 3.0)
    shadow = Shadow(samples, classes)
    index, labels = (
        torch.arange(samples),
        torch.randint(classes, (samples,), generator=torch.Generator().manual_seed(1)),
    )
    for rows in drifting(classes, samples, 15):
        for store in (exact, small):
            store.update(index, rows, 0.7, labels)
        shadow.update(index, rows, 0.7)
    kept, true = (AF.confidence(store.read(index), labels) for store in (small, exact))
    assert (kept - true).abs().quantile(0.99) < most
    assert (kept != true).any()
    torch.testing.assert_close(shadow.errors(small, labels, 3.0), (kept - true).abs())
    assert shadow.errors(exact, labels, 3.0).max() == 0
    predicted = exact.read(index).argmax(1)
    kept, true = (AF.confidence(store.read(index), predicted) for store in (small, exact))
    assert (kept - true).abs().quantile(0.99) < 5 * most, "a class that rises out of the others"
    assert bytes_a_sample(SampleStore(9, classes)) == 4 * classes + 4
    assert bytes_a_sample(small) <= (64 if kind == "compact" else 2 * classes + 4)


def test_a_compact_row_by_hand():
    """Twelve entries and the label's as they are, and one level with the softmax mass of all others."""
    store = CompactStore(3, 20, 3.0)
    row = torch.linspace(2, 0, 20)[None]
    store.update(torch.tensor([1]), row, 0.0, torch.tensor([19]))
    (found,) = store.read(torch.tensor([1]))
    torch.testing.assert_close(found[:12], row[0, :12], atol=1e-3, rtol=1e-3)
    assert found[19].item() == pytest.approx(0, abs=1e-3)
    others = row[0, 12:19]
    torch.testing.assert_close(found[12:19], ((3 * others).exp().mean().log() / 3).expand(7), atol=1e-3, rtol=1e-3)
    assert store.read(torch.tensor([0, 2])).abs().max() == 0
    for label in (0, 11, 19):
        given = torch.tensor([label])
        kept = AF.confidence(store.read(torch.tensor([1])), given)
        torch.testing.assert_close(kept, AF.confidence(row, given), atol=1e-3, rtol=5e-3)
    with pytest.raises(ValueError, match="compact is for 16 to 32,768 classes, not 10"):
        CompactStore(3, 10, 3.0)
    with pytest.raises(ValueError, match="expected one of float32, float16, compact"):
        make_store("float8", 3, 20, 3.0)


def test_a_store_in_a_file_is_the_same_and_leaves_none(tmp_path: Path):
    held, mapped = SampleStore(50, 4), make_store("float32", 50, 4, 3.0, str(tmp_path))
    assert not list(tmp_path.iterdir()), "the file has no name any more"
    index, rows = torch.tensor([3, 7, 3]), torch.randn(3, 4)
    for store in (held, mapped):
        store.update(index, rows, 0.7)
    where = mapped.value.data_ptr()
    assert torch.equal(held.value, mapped.value)
    mapped.load_state_dict(SampleStore(50, 4).state_dict())
    assert mapped.value.data_ptr() == where
    assert mapped.value.abs().max() == 0
    mapped.to(torch.float64)
    assert mapped.value.dtype == torch.float32, "it stays as it is"
    anonymous = [line for line in Path("/proc/self/maps").read_text().splitlines() if "alasca-store-" in line]
    assert len(anonymous) == 1, "mapped from a file"
    with pytest.raises(ValueError, match=r"store_dir: .*none is no folder"):
        make_store("float32", 50, 4, 3.0, str(tmp_path / "none"))


@pytest.mark.parametrize("options", [{"store": "float16"}, {"store": "float32", "store_dir": "."}])
def test_runs_with_smaller_stores_resume_exactly(options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from alasca import Alasca, create_method
    from alasca.engine import Stopped
    from alasca.testing.laws import everything, require_same
    from alasca.testing.planted import kept_in, planted, settings, trained, trainer

    monkeypatch.chdir(tmp_path)
    data = planted(8)
    whole = trained(Alasca(create_method("ce"), warmup=1, **options), data, settings(3))
    run = kept_in(tmp_path / "run")
    with pytest.raises(Stopped):
        trainer(Alasca(create_method("ce"), warmup=1, **options), data, settings(3), run=run, stop_after=6).fit(False)
    second = trainer(Alasca(create_method("ce"), warmup=1, **options), data, settings(3), run=run)
    second.fit(resume=True)
    require_same(everything(whole), everything(second), str(options))
    method = whole.job.method
    assert isinstance(method, Alasca)
    figures = method.figures(data.samples.labels)
    assert figures.keys() == (set() if options["store"] == "float32" else {"store_error_mean", "store_error_p99"})
    assert not figures or 0 < figures["store_error_mean"] <= figures["store_error_p99"] < 0.01


def test_what_a_compact_store_loses_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from alasca.cli import main

    draw = np.random.default_rng(0)
    centres = draw.normal(size=(20, 8))
    labels = np.arange(200) % 20
    np.savez(tmp_path / "x.npz", x=centres[labels] + 0.1 * draw.normal(size=(200, 8)), y=labels)
    command = ["train", "--data", f"npz:{tmp_path / 'x.npz'}", "--epochs", "2", "--device", "cpu", "--set"]
    with pytest.raises(SystemExit) as end:
        main([*command, "alasca.store=compact", "--out", str(tmp_path / "run")])
    assert end.value.code == 0
    assert re.search(
        r"error of the store's confidence: mean 0\.\d+, 99% of samples below 0\.0\d+", capsys.readouterr().out
    )
    with pytest.raises(SystemExit):
        main([*command, "alasca.store=float8", "--out", str(tmp_path / "other")])
    assert "store: 'float8', expected one of float32, float16, compact" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "--set", "alasca.store=compact", "--out", str(tmp_path / "other")])
    assert "method: store: compact is for 16 to 32,768 classes, not 10" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_shadow_follows_evenly_spread_samples():
    """Every second of 3,000: their averages are exact, the others leave no trace."""
    exact, shadow = SampleStore(3000, 4), Shadow(3000, 4)
    assert (shadow.stride, shadow.count) == (2, 1500)
    index = torch.tensor([0, 1, 2, 2998, 2999, 777])
    rows = torch.randn(6, 4)
    for store in (exact, shadow):
        store.update(index, rows, 0.7)
    assert torch.equal(shadow.store.value[[0, 1, 1499]], exact.value[[0, 2, 2998]])
    assert shadow.store.visits[:1500].sum() == 3
    labels = torch.randint(4, (3000,))
    assert shadow.errors(exact, labels, 3.0).tolist() == [0, 0, 0]
