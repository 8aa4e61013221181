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
from alasca.data import Loader, Pool, Samples, Transform
from alasca.data.pictures import Decoder, PictureFiles
from alasca.data.rows import MappedRows, ahead
from alasca.data.views import centre_crop, crop_and_flip
from alasca.engine import Trainer
from alasca.testing.laws import everything, require_same
from alasca.testing.planted import kept_in, planted, settings, trained
from alasca.training import resume
from doors import ran, read, ready
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


def settings_for(photos: Path, policy: str, **changes: object) -> dict[str, object]:
    return {
        "data": f"folder:{photos}", "val_fraction": 0.0, "image_size": 16, "on_bad_image": policy, "workers": 0,
        "epochs": 2, "batch_size": 4, "threads": 1, **changes,
    }  # fmt: skip


def test_a_bad_picture_is_fatal_before_anything_is_written(photos: Path, tmp_path: Path):
    with pytest.raises(
        InputError, match=r"a/2\.jpg can't be read as a picture .*, nor can .*b/1\.jpg; mend or remove it"
    ):
        ran(tmp_path / "run", **settings_for(photos, "fatal"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("held", [True, False])
def test_bad_pictures_are_left_out(photos: Path, tmp_path: Path, held: bool):
    run = ran(tmp_path / "run", **settings_for(photos, "skip", in_memory=held))
    records = run.records()
    assert len(records.ids) == 10
    assert not {"a/2.jpg", "b/1.jpg"} & set(records.ids)
    assert run.settings()["notes"] == [
        "12 pictures found",
        f"left out 2 pictures that can't be read: {photos}/a/2.jpg, {photos}/b/1.jpg",
    ]


@pytest.mark.parametrize("held", [True, pytest.param(False, marks=pytest.mark.long)])
@pytest.mark.parametrize("method", ["ce", "coteaching", "fine", "har"])
def test_blank_pictures_keep_their_rows_and_are_never_trained_on(photos: Path, tmp_path: Path, held: bool, method: str):
    run = ran(tmp_path / "run", **settings_for(photos, "blank", in_memory=held, method=method, noise="symmetric:0.5"))
    records = run.records()
    assert len(records.ids) == 12
    bad = np.array([name in ("a/2.jpg", "b/1.jpg") for name in records.ids])
    assert (records.visits[bad] == 0).all()
    assert records.visits[~bad].sum() >= 12
    assert not records.issue[bad].any()
    assert np.isnan(records.quality[bad]).all()
    assert not np.isnan(records.quality[~bad]).any()
    assert 0 <= run.done()["issue_auroc"] <= 1
    assert set(records.ranking()[-2:]) == set(np.nonzero(bad)[0]), "unknown ones come last"


def test_blank_pictures_are_not_held_out(photos: Path):
    split = ready(**settings_for(photos, "blank", val_fraction=0.5)).split
    assert split.held is not None
    assert bool(split.samples.inputs[split.held].flatten(1).any(1).all()), "a black one was held out"
    assert len(split.held) == 5, "half of the ten that can be read"


def test_blank_pictures_are_known_before_they_are_read_again(photos: Path):
    split = ready(**settings_for(photos, "blank", in_memory=False)).split
    sound = split.samples.sound(torch.arange(12))
    assert sound is not None
    assert [name for name, whole in zip(split.ids, sound.tolist(), strict=True) if not whole] == ["a/2.jpg", "b/1.jpg"]


def test_another_stands_in_for_a_picture_lost_in_the_night(photos: Path, caplog: pytest.LogCaptureFixture):
    """Neither its label nor its row of any store is touched, and the log names it once."""
    split = ready(**settings_for(photos, "skip", in_memory=False)).split
    row = split.ids.index("b/3.jpg")
    loader = Loader(split.samples, split.pool(0), 10, 0)
    phase = Phase((0,), {"all": Stream()})
    (whole,) = loader.batches(phase, (0, 0, 0))
    (photos / "b" / "3.jpg").unlink()
    with caplog.at_level(logging.WARNING, "alasca"):
        for _ in range(2):
            (batches,) = loader.batches(phase, (0, 0, 0))
            batch, before = batches["all"], whole["all"]
            assert row not in batch.index.tolist()
            assert len(batch.index) == 10
            same = batch.index == before.index
            assert same.sum() == 9
            assert torch.equal(batch.views[0][same], before.views[0][same])
            stood_in = batch.index[~same].item()
            assert batch.labels[~same].item() == split.samples.labels[stood_in].item()
    assert [record.message.count("b/3.jpg can't be read") for record in caplog.records] == [1], "said once"


def test_a_lost_disk_stops_a_run_that_can_go_on(tmp_path: Path):
    import shutil

    from alasca.engine import Trainer

    for name in "ab":
        for k in range(8):
            picture(tmp_path / "p" / name / f"{k}.png", k + 10 * ord(name))
    given = settings_for(tmp_path / "p", "fatal", in_memory=False)
    prepared = ready(**given)
    shutil.move(tmp_path / "p", tmp_path / "elsewhere")
    run = kept_in(tmp_path / "run")
    made = Trainer(prepared.job, run)
    with pytest.raises(InputError, match="not one picture of a step can be read any more"):
        made.fit()
    shutil.move(tmp_path / "elsewhere", tmp_path / "p")
    prepared = ready(**given)
    again = Trainer(prepared.job, run)
    again.fit(resume=True)
    whole = Trainer(ready(**given).job)
    whole.fit()
    require_same(everything(whole), everything(again), "after the disk came back")


def test_kinds_of_pixels(tmp_path: Path):
    """More than 8 bits are scaled, turned pictures are turned back, what is transparent is white; NaN is refused."""
    deep = np.full((8, 8), 128 * 257, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(deep).save(tmp_path / "deep.tif")
    turned = np.zeros((8, 16, 3), np.uint8)
    turned[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: left is top
    Image.fromarray(turned).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    Image.fromarray(np.full((8, 8, 4), 90, np.uint8), "RGBA").save(tmp_path / "alpha.png")
    clear = Image.new("P", (8, 8), 1)
    clear.putpalette([9, 9, 9, 90, 90, 90])
    clear.save(tmp_path / "clear.gif", transparency=1)
    with Image.open(tmp_path / "clear.gif") as found:
        found.convert("RGBA").convert("LA").save(tmp_path / "clear.png")
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(tmp_path / "nan.tif")
    Image.fromarray(np.full((8, 8), 90, np.uint8)).convert("P").save(tmp_path / "palette.gif")
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "float.tif")
    (tmp_path / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    names = ["deep.png", "deep.tif", "turned.jpg", "alpha.png", "palette.gif", "float.tif", "script.png",
             "clear.gif", "clear.png", "nan.tif"]  # fmt: skip
    decoder = Decoder(PictureFiles(tuple(tmp_path / name for name in names)), 8, span=(0, 65535))
    pictures, wrong, spans, several = decoder.measured(list(range(len(names))))
    assert (set(wrong), several) == ({6, 9}, 0)
    assert "no finite numbers" in wrong[9]
    assert spans == [(32896, 32896), (32896, 32896), (0.5, 0.5)]
    assert (pictures[5] == 0).all()
    assert (pictures[7:9] == 255).all()
    assert (pictures[0] == 128).all()
    assert (pictures[1] == 128).all()
    assert pictures[2, :, :3].min() > 240
    assert pictures[2, :, 5:].max() < 15
    assert (pictures[3] == round(255 - (255 - 90) * 90 / 255)).all(), "90 of 255 of it, on white"
    assert (pictures[4] == 90).all()


def test_labels_from_a_file_stay_with_their_pictures(photos: Path, tmp_path: Path):
    """The file's order is that of all pictures, also of those that are left out."""

    given = settings_for(photos, "skip")
    np.savez(tmp_path / "y.npz", y=np.arange(12) % 2, short=np.arange(9) % 2)
    prepared = ready(**{**given, "noise": f"file:{tmp_path / 'y.npz'}#y"}).split
    order = [f"{name}/{k}.jpg" for name in "ab" for k in range(6)]
    found = dict(zip(prepared.ids, prepared.samples.labels.tolist(), strict=True))
    assert found == {name: k % 2 for k, name in enumerate(order) if name in found}
    assert len(found) == 10
    fewer = ready(**{**given, "noise": f"file:{tmp_path / 'y.npz'}#short"})
    assert fewer.split.ids == tuple(name for name in order[:9] if name not in ("a/2.jpg", "b/1.jpg"))


def test_a_crop_must_fit_and_something_must_be_readable(photos: Path):
    with pytest.raises(InputError, match=r"crop: 64, expected at most image-size \(32\)"):
        read(f"folder:{photos}", crop=64, on_bad_image="skip", workers=0)
    for file in photos.rglob("*.jpg"):
        file.write_bytes(b"gone")
    with pytest.raises(InputError, match=r"not one of 12 pictures can be read, such as .*a/0\.jpg"):
        read(f"folder:{photos}", on_bad_image="skip", workers=0)


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
    given = settings_for(tmp_path / "p", "fatal", crop=12, workers=workers, in_memory=False, val_fraction=0.25)

    def made(settings: dict[str, object], **options: object) -> Trainer:
        return Trainer(ready(**settings).job, **options)

    held = made({**given, "in_memory": True})
    held.fit()
    run = kept_in(tmp_path / "run")
    with pytest.raises(Stopped):
        made(given, run=run, stop_after=4).fit()
    again = made(given, run=run)
    again.fit(resume=True)
    require_same(everything(held), everything(again), "held in memory, and resumed from files")


def test_a_signal_to_all_processes_stops_a_run_that_can_go_on(tmp_path: Path):
    """As schedulers send it: to the workers that decode, too."""
    import os
    import signal
    import subprocess
    import sys

    for name in "ab":
        for k in range(20):
            picture(tmp_path / "p" / name / f"{k}.jpg", k)
    command = [
        sys.executable, "-m", "alasca.cli", "train", "--data", f"folder:{tmp_path / 'p'}", "--image-size", "16",
        "--no-in-memory", "--workers", "1", "--epochs", "500", "--batch-size", "8", "--device", "cpu", "--threads", "1",
        "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        for _ in range(600):
            if (tmp_path / "run" / "metrics.jsonl").is_file() and (tmp_path / "run" / "metrics.jsonl").read_text():
                break
            time.sleep(0.1)
        os.killpg(run.pid, signal.SIGTERM)
        _, said = run.communicate(timeout=60)
    assert run.returncode == 128 + signal.SIGTERM, said
    assert said.count("\n") == 2
    assert said.startswith("alasca: SIGTERM: stopping after this step")
    assert "Continue it with: alasca resume" in said


def test_a_signal_while_a_process_starts_does_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import os
    import signal

    from alasca.data import pictures

    leave = pictures.leave_signals

    def signalled(worker: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        leave(worker)

    monkeypatch.setattr(pictures, "leave_signals", signalled)
    picture(tmp_path / "0.png", 1)
    decoder = Decoder(PictureFiles((tmp_path / "0.png",)), size=8)
    [(found, wrong)] = decoder.batches([[0]], workers=1)
    assert torch.equal(found[0], decoder.decoded(0))
    assert not wrong
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGTERM, signal.SIGINT}


def test_changed_files_are_not_resumed_on(tmp_path: Path):
    for name in "ab":
        for k in range(4):
            picture(tmp_path / "p" / name / f"{k}.png", k)
    run = ran(tmp_path / "run", **settings_for(tmp_path / "p", "fatal", in_memory=False, val_fraction=None, epochs=1))
    (run.path / "done.json").unlink()
    picture(tmp_path / "p" / "a" / "0.png", 99, (50, 50))
    with pytest.raises(InputError, match=r"is not what .* was started on"):
        resume(run.path)


def test_mapped_rows_train_as_rows_in_memory(tmp_path: Path):
    from dataclasses import replace

    from alasca.methods import create_method

    data = planted(8)
    assert isinstance(data.samples.inputs, torch.Tensor)
    np.save(tmp_path / "x.npy", data.samples.inputs.numpy())
    array = np.load(tmp_path / "x.npy", mmap_mode="r", allow_pickle=False)
    mapped = MappedRows(torch.arange(len(array)), torch.device("cpu"), array=array)
    lazy_samples = replace(data.samples, inputs=mapped)
    for name, options in (("fine", {"warmup": 1}), ("crust", {"start": 1})):
        held = trained(create_method(name, **options), data, settings(3))
        lazy = trained(create_method(name, **options), replace(data, samples=lazy_samples), settings(3))
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
    samples = Samples(torch.randn(104, 2), labels, Transform("numbers"))
    loader = Loader(samples, pool, 8, 0)
    phase = Phase((0,), {"all": Stream()})
    seen = [
        sorted(k for b in loader.batches(phase, (0, epoch, 0)) for k in b["all"].index.tolist()) for epoch in (0, 1)
    ]
    assert loader.steps(phase) == 3
    assert seen[0] == sorted(first.tolist())
    assert seen[1] == sorted(second.tolist())


def test_a_probe_covers_what_its_epoch_draws_from():
    from dataclasses import replace

    from alasca import create_method
    from alasca.testing.planted import trainer

    data = replace(planted(8), epoch_samples=32)
    seen: list[tuple[list[int], list[int]]] = []
    method = create_method("ce")
    made = trainer(method, data, settings(3))
    plan = type(method).plan

    def looked(nets: object, probe: object, clock: object) -> object:
        drawn = made.bench.loader.pool.draw(0, clock.epoch)  # type: ignore[attr-defined]  # a Clock
        seen.append((probe.index.tolist(), drawn.tolist()))  # type: ignore[attr-defined]  # a Probe
        return plan(method, nets, probe, clock)  # type: ignore[arg-type]  # handed on

    method.plan = looked  # type: ignore[method-assign,assignment]  # to look at what it is given
    made.fit()
    assert len(seen) == 3
    assert all(probed == drawn for probed, drawn in seen)
    assert seen[0] != seen[1]


def test_every_method_trains_on_per_epoch_subsets():
    from dataclasses import replace

    from alasca.testing.ranks import registered

    data = replace(planted(8), epoch_samples=32)
    for name in ("ce + ALASCA", "dividemix + ALASCA", "elr_plus", "fine", "crust", "jocor", "har"):
        made = trained(registered()[name](), data, settings(3))
        assert len(made.bench.probe.index) == (32 if name != "har" else made.bench.probe.index.unique().numel())
        assert made.state.history[-1]["epoch"] >= 2


def test_data_in_memory_cost_no_waiting():
    """No reading thread or process, and all that a batch takes are operations on the training device."""
    import threading

    data = planted(8)
    loader = Loader(data.samples, data.pool(0), 16, 0)
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
    source = read(f"folder:{tmp_path / 'p'}", image_size=16)
    assert isinstance(source.inputs, torch.Tensor), "what fits is held in memory"
