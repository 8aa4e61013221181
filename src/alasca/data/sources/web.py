"""Clothing1M (Xiao et al., 2015) and mini-WebVision (Li et al., 2017), in the layouts in which they are published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from alasca.data.pictures import PictureFiles
from alasca.data.sources.cifar import data_dir, no_argument
from alasca.data.sources.pictures import picture_source
from alasca.data.task import Reading, Task
from alasca.errors import InputError
from alasca.files import read_bytes, reason

CLOTHING_HOME = "https://github.com/Cysu/noisy_label"
CLOTHING_MEAN, CLOTHING_STD = (0.6959, 0.6537, 0.6371), (0.3113, 0.3192, 0.3214)
CLOTHING_EPOCH = 64 * 2000
"""Samples of an epoch's class-balanced subset, as published for single networks."""
WEBVISION_HOME = "https://data.vision.ee.ethz.ch/cvl/webvision/dataset2017.html"
WEBVISION_CLASSES = 50


def clothing1m(argument: str, reading: Reading) -> Task:
    """Clothing1M: a million noisy pictures in 14 classes, clean ones to test (clothing1m:val: the validation set)"""
    if argument not in ("", "test", "val"):
        raise InputError(
            f"data: clothing1m:{argument} is unknown; expected clothing1m, or clothing1m:val to test on it"
        )
    root = data_dir(reading)
    root = root / "clothing1m" if (root / "clothing1m").is_dir() else root
    texts = next((place for place in (root, root / "annotations") if (place / "noisy_label_kv.txt").is_file()), None)
    if texts is None:
        raise InputError(
            f"data: {root} has no noisy_label_kv.txt, nor annotations/ with it; get it from {CLOTHING_HOME}"
        )
    classes = [line.strip() for line in lines(texts / "category_names_eng.txt", CLOTHING_HOME) if line.strip()]
    noisy, clean = (
        labelled(texts / f"{kind}_label_kv.txt", len(classes), CLOTHING_HOME) for kind in ("noisy", "clean")
    )
    keys, labels = joined(texts / "noisy_train_key_list.txt", noisy)
    test_keys, test_labels = joined(texts / f"clean_{argument or 'test'}_key_list.txt", clean)
    pictures, tests = (PictureFiles(tuple(located(root, names))) for names in (keys, test_keys))
    source = picture_source(pictures, labels, keys, classes, reading, 256, (tests, test_labels), 224, True)
    return replace(source, mean=CLOTHING_MEAN, std=CLOTHING_STD, epoch_samples=CLOTHING_EPOCH)


def webvision(argument: str, reading: Reading) -> Task:
    """mini-WebVision: the first 50 classes of WebVision 1.0, pictures by Google to train on, validation set to test"""
    no_argument(argument, "webvision")
    root = data_dir(reading)
    root = root / "webvision" if (root / "webvision").is_dir() else root
    train = in_first(pairs(root / "info" / "train_filelist_google.txt", WEBVISION_HOME))
    test = in_first(pairs(root / "info" / "val_filelist.txt", WEBVISION_HOME))
    names = [str(k) for k in range(WEBVISION_CLASSES)]
    if (root / "info" / "synsets.txt").is_file():
        known = [line.partition(" ")[2].partition(",")[0].strip() for line in lines(root / "info" / "synsets.txt", "")]
        names = [name or str(k) for k, name in enumerate(known[:WEBVISION_CLASSES])]
    pictures = PictureFiles(tuple(root / name for name, _ in train))
    tests = PictureFiles(tuple(root / "val_images_256" / Path(name).name for name, _ in test)), numbers(test)
    return picture_source(
        pictures, numbers(train), [name for name, _ in train], names, reading, 320, tests, 299, True
    )  # fmt: skip


def lines(path: Path, home: str) -> list[str]:
    """Lines of a text file.

    Raises:
        InputError: no such file, or no UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"data: no such file: {path}; get it from {home}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"data: {path} is no UTF-8 ({error})") from error
    except OSError as error:
        raise InputError(f"data: {path} can't be read ({reason(error)})") from error


def pairs(path: Path, home: str) -> list[tuple[str, int]]:
    """A name and a number on each line.

    Raises:
        InputError: a line that is none, with its number.
    """
    found = []
    for row, line in enumerate(lines(path, home)):
        if not line.strip():
            continue
        name, _, value = line.strip().rpartition(" ")
        if not name or not value.isdecimal():
            raise InputError(f"data: {path} row {row}: {line[:80]!r}; expected a picture's name and its label")
        found.append((name, int(value)))
    return found


def labelled(path: Path, classes: int, home: str) -> dict[str, int]:
    """Labels by key.

    Raises:
        InputError: a label out of range, with its row.
    """
    found = pairs(path, home)
    wrong = next((row for row, (_, label) in enumerate(found) if label >= classes), None)
    if wrong is not None:
        raise InputError(f"data: {path} row {wrong}: label {found[wrong][1]}, expected 0 to {classes - 1}")
    return dict(found)


def joined(path: Path, labels: dict[str, int]) -> tuple[list[str], Tensor]:
    """The keys of a list, and their labels.

    Raises:
        InputError: a key that has none, or comes twice, with its row.
    """
    keys = [line.strip() for line in lines(path, CLOTHING_HOME) if line.strip()]
    seen: set[str] = set()
    for row, key in enumerate(keys):
        if key not in labels:
            raise InputError(f"data: {path} row {row}: {key} has no label")
        if key in seen:
            raise InputError(f"data: {path} row {row}: {key} comes twice")
        seen.add(key)
    return keys, torch.tensor([labels[key] for key in keys], dtype=torch.int64)


def located(root: Path, keys: Sequence[str]) -> list[Path]:
    """Where the pictures of the keys are: under ``images/`` or, in some copies, without that folder."""
    whole = not keys or (root / keys[0]).exists() or not (root / keys[0].removeprefix("images/")).exists()
    return [root / (key if whole else key.removeprefix("images/")) for key in keys]


def in_first(found: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """The pairs of the first classes."""
    return [pair for pair in found if pair[1] < WEBVISION_CLASSES]


def numbers(found: list[tuple[str, int]]) -> Tensor:
    """The labels of pairs."""
    return torch.tensor([label for _, label in found], dtype=torch.int64)
