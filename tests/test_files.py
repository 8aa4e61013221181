"""Data that are not held in memory: pictures decoded by worker processes, bad ones, mapped arrays, parts of epochs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alasca import InputError
from alasca.core import Phase, Stream
from alasca.data import Loader, Pool, Reading, Samples, load_source
from alasca.data.pictures import Decoder, PictureFiles
from alasca.data.rows import MappedRows, ahead
from alasca.data.views import centre_crop, crop_and_flip
from alasca.engine import Progress, Training
from alasca.experiment import Settings, prepare, resume, train
from alasca.testing.laws import everything, require_same
from alasca.testing.planted import planted, settings, trained
from lookalikes import picture


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve pictures of two classes, of which a/2 is cut short and b/1 is text."""
    root = tmp_path / "photos"
    for name in "ab":
        for k in range(6):
            picture(root / name / f"{k}.jpg", k + 10 * ord(name))
    whole = (root / "a" / "2.jpg").read_bytes()
    (root / "a" / "2.jpg").write_bytes(whole[: len(whole) // 3])
    (root / "b" / "1.jpg").write_bytes(b"not a picture")
    return root


def settings_for(photos: Path, policy: str, epochs: int = 2, **changes: object) -> Settings:
    reading = Reading(image_size=16, on_bad_image=policy, workers=0, **changes)  # type: ignore[arg-type]  # by name
    training = Training(epochs=epochs, batch_size=4, device="cpu", checkpoint_seconds=1e9)
    return Settings(data=f"folder:{photos}", val_fraction=0.0, reading=reading, training=training, threads=1)


def test_a_bad_picture_is_fatal_before_anything_is_written(photos: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"a/2\.jpg can't be read as a picture .*, nor can 1 more; mend or remove it"):
        train(settings_for(photos, "fatal"), tmp_path / "run", Progress())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("held", [True, False])
def test_bad_pictures_are_left_out(photos: Path, tmp_path: Path, held: bool):
    run = train(settings_for(photos, "skip", in_memory=held), tmp_path / "run", Progress())
    records = run.records()
    assert len(records.ids) == 10
    assert not {"a/2.jpg", "b/1.jpg"} & set(records.ids)
    assert run.settings()["notes"] == [f"left out 2 pictures that can't be read: {photos}/a/2.jpg, {photos}/b/1.jpg"]


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("method", ["ce", "coteaching", "fine", "har"])
def test_blank_pictures_keep_their_rows_and_are_never_trained_on(photos: Path, tmp_path: Path, held: bool, method: str):
    from dataclasses import replace

    given = replace(settings_for(photos, "blank", in_memory=held), method=method)
    run = train(given, tmp_path / "run", Progress())
    records = run.records()
    assert len(records.ids) == 12
    bad = np.array([name in ("a/2.jpg", "b/1.jpg") for name in records.ids])
    assert (records.visits[bad] == 0).all()
    assert records.visits[~bad].sum() >= 12
    assert not records.issue[bad].any()
    assert np.isnan(records.quality[bad]).all()
    assert not np.isnan(records.quality[~bad]).any()
    assert set(records.ranking()[-2:]) == set(np.nonzero(bad)[0]), "unknown ones come last"


def test_a_picture_lost_in_the_night_weighs_nothing(photos: Path, caplog: pytest.LogCaptureFixture):
    prepared = prepare(settings_for(photos, "skip", in_memory=False))
    (photos / "b" / "3.jpg").unlink()
    row = prepared.ids.index("b/3.jpg")
    loader = Loader(prepared.data.train, prepared.data.pool(0), 10, 0)
    phase = Phase((0,), {"all": Stream()})
    with caplog.at_level(logging.WARNING, "alasca"):
        for epoch in range(2):
            (batches,) = loader.batches(phase, (0, epoch, 0))
            batch = batches["all"]
            assert batch.weight[batch.index == row].item() == 0
            assert batch.weight.sum() == 9
    assert [record.message.count("b/3.jpg can't be read") for record in caplog.records] == [1], "said once"


def test_workers_bring_what_one_process_brings(tmp_path: Path):
    for k in range(30):
        picture(tmp_path / f"{k}.png", k)
    files = PictureFiles(tuple(tmp_path / f"{k}.png" for k in range(30)))
    decoder = Decoder(files, 12)
    before = torch.get_rng_state()
    batches = [[3, 1], [29], [4, 5, 6]]
    alone = [pictures for pictures, _ in decoder.batches(batches, 0)]
    several = [pictures for pictures, _ in decoder.batches(batches, 2)]
    assert all(torch.equal(one, other) for one, other in zip(alone, several, strict=True))
    assert torch.equal(torch.get_rng_state(), before), "the default generator was drawn from"


def test_ratio_is_kept_by_cutting_the_middle(tmp_path: Path):
    array = np.zeros((40, 80, 3), np.uint8)
    array[:, 20:60] = 255
    Image.fromarray(array).save(tmp_path / "x.png")
    files = PictureFiles((tmp_path / "x.png",))
    assert Decoder(files, 8, keep_ratio=True).decoded(0).min() > 200
    bright = Decoder(files, 8).decoded(0)[0, 0] > 200
    assert bright.tolist() == [False, False, True, True, True, True, False, False]


def test_crops():
    pictures = torch.arange(36, dtype=torch.uint8).view(1, 1, 6, 6)
    assert torch.equal(centre_crop(pictures, 4), pictures[:, :, 1:5, 1:5])
    seen = {
        tuple(crop_and_flip(pictures, 4, 0, True, seed, torch.tensor([0])).flatten().tolist()) for seed in range(400)
    }
    expected = set()
    for top in range(3):
        for left in range(3):
            part = pictures[0, 0, top : top + 4, left : left + 4]
            expected |= {tuple(part.flatten().tolist()), tuple(part.flip(1).flatten().tolist())}
    assert seen == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_from_files_resumes_in_the_same_bits(tmp_path: Path, workers: int):
    """Held in memory or decoded by any number of processes, stopped or not: the same networks and stores."""
    from alasca.engine import Stopped, Trainer

    for name in "ab":
        for k in range(8):
            picture(tmp_path / "p" / name / f"{k}.png", k + 10 * ord(name))
    training = Training(epochs=2, batch_size=4, device="cpu", checkpoint_seconds=1e9)
    reading = Reading(image_size=16, crop=12, workers=workers, in_memory=False)
    given = Settings(data=f"folder:{tmp_path / 'p'}", val_fraction=0.25, reading=reading, training=training, threads=1)

    def made(settings: Settings, **options: object) -> Trainer:
        prepared = prepare(settings)
        return Trainer(prepared.make_method(), prepared.make_network, prepared.data, training, **options)  # type: ignore[arg-type]  # by name

    from dataclasses import replace

    from alasca.runs import RunFolder

    held = made(replace(given, reading=replace(reading, in_memory=True)))
    held.fit()
    run = RunFolder.create(tmp_path / "run")
    with pytest.raises(Stopped):
        made(given, run=run, stop_after=4).fit()
    again = made(given, run=run)
    again.fit(resume=True)
    require_same(everything(held), everything(again), "held in memory, and resumed from files")


def test_changed_files_are_not_resumed_on(tmp_path: Path):
    for name in "ab":
        for k in range(4):
            picture(tmp_path / "p" / name / f"{k}.png", k)
    reading = Reading(image_size=16, workers=0, in_memory=False)
    training = Training(epochs=1, batch_size=4, device="cpu")
    run = train(
        Settings(data=f"folder:{tmp_path / 'p'}", reading=reading, training=training), tmp_path / "run", Progress()
    )
    (run.path / "done.json").unlink()
    picture(tmp_path / "p" / "a" / "0.png", 99, (50, 50))
    with pytest.raises(InputError, match=r"is not what .* was started on"):
        resume(run.path, progress=Progress())


def test_mapped_rows_train_as_rows_in_memory(tmp_path: Path):
    from dataclasses import replace

    from alasca.methods import create_method

    data = planted(8)
    assert isinstance(data.train.inputs, torch.Tensor)
    np.save(tmp_path / "x.npy", data.train.inputs.numpy())
    array = np.load(tmp_path / "x.npy", mmap_mode="r", allow_pickle=False)
    mapped = MappedRows(torch.arange(len(array)), torch.device("cpu"), array=array)
    train_set = replace(data.train, inputs=mapped)
    for name, options in (("fine", {"warmup": 1}), ("crust", {"start": 1})):
        held = trained(create_method(name, **options), data, settings(3))
        lazy = trained(create_method(name, **options), replace(data, train=train_set), settings(3))
        require_same(everything(held), everything(lazy), name)


def test_reading_ahead_is_bounded_and_in_order():
    begun: list[int] = []

    def work(batch: torch.Tensor) -> torch.Tensor:
        begun.append(int(batch))
        return batch * 10

    def batches() -> Iterator[torch.Tensor]:
        for k in range(10):
            yield torch.tensor(k)

    reading = ahead(work, batches(), depth=2)
    assert int(next(reading)) == 0
    time.sleep(0.05)
    assert begun == [0, 1, 2], "two more than were asked for"
    assert [int(value) for value in reading] == [10 * k for k in range(1, 10)]


def test_a_balanced_subset_is_drawn_anew_every_epoch():
    """Clothing1M's rule: at most size / K of each class; a small class gives all it has."""
    labels = torch.tensor([0] * 50 + [1] * 50 + [2] * 4)
    pool = Pool(torch.arange(104), labels, 30, 0)
    first, second, other = pool.draw(0, 0), pool.draw(0, 1), pool.draw(0, 0, draw=1)
    for drawn in (first, second, other):
        assert labels[drawn].bincount().tolist() == [10, 10, 4]
        assert len(set(drawn.tolist())) == 24
    assert torch.equal(first, pool.draw(0, 0))
    assert not torch.equal(first.sort().values, second.sort().values)
    assert not torch.equal(first.sort().values, other.sort().values)
    samples = Samples(torch.randn(104, 2), labels)
    loader = Loader(samples, pool, 8, 0)
    phase = Phase((0,), {"all": Stream()})
    seen = [
        sorted(k for b in loader.batches(phase, (0, epoch, 0)) for k in b["all"].index.tolist()) for epoch in (0, 1)
    ]
    assert loader.steps(phase) == 3
    assert seen[0] == sorted(first.tolist())
    assert seen[1] == sorted(second.tolist())


def test_every_method_trains_on_per_epoch_subsets():
    from dataclasses import replace

    from alasca.testing.ranks import registered

    data = replace(planted(8), epoch_samples=32)
    for name in ("ce + ALASCA", "dividemix + ALASCA", "elr_plus", "fine", "crust", "jocor", "har"):
        made = trained(registered()[name](), data, settings(3))
        assert len(made.probe.index) == (32 if name != "har" else made.probe.index.unique().numel())
        assert made.state.history[-1]["epoch"] >= 2


def test_data_in_memory_cost_no_waiting():
    """No reading thread or process, and all that a batch takes are operations on the training device."""
    import threading

    data = planted(8)
    loader = Loader(data.train, data.pool(0), 16, 0)
    phase = Phase((0,), {"all": Stream()})
    begun = threading.active_count()
    batches = loader.batches(phase, (0, 0, 0))
    next(batches)
    assert threading.active_count() == begun
    assert not list(torch.multiprocessing.active_children())


def test_time_waited_for_files_is_measured_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from alasca.cli import main

    for name in "ab":
        for k in range(6):
            picture(tmp_path / "p" / name / f"{k}.jpg", k)
    options = ["--image-size", "16", "--epochs", "1", "--batch-size", "4", "--device", "cpu", "--workers", "0"]
    with pytest.raises(SystemExit) as end:
        main(
            ["train", "--data", f"folder:{tmp_path / 'p'}", "--no-in-memory", *options, "--out", str(tmp_path / "run")]
        )
    assert end.value.code == 0
    assert "time that training waited for files: " in capsys.readouterr().out
    source = load_source(f"folder:{tmp_path / 'p'}", Reading(image_size=16))
    assert isinstance(source.inputs, torch.Tensor), "what fits is held in memory"
