"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) from the official python or binary release, and CIFAR-N's human labels."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alasca.data.legacy import read_batch, read_file, read_labels
from alasca.data.sources.base import in_range
from alasca.data.task import Reading, Task
from alasca.errors import InputError

HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"
HUMAN_HOME = "http://www.noisylabels.com"
MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f", "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751", "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb", "test_batch": "40351d587109b95175f43aff81a1287e",
    "train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "batches.meta": "5ff9c542aee3614f3951f8cda6e48888", "meta": "7973b15100ade9c7d40fb424638fde48",
}  # fmt: skip
TEN_MAP = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
"""Truck to automobile, bird to airplane, deer to horse, cat to dog and back (Patrini et al., 2017)."""
PIXELS = 3 * 32 * 32
RECORDS = {name: {"train": 50_000, "test": 10_000}.get(name, 10_000) for name in MD5}
"""Pictures in each file of the official release."""


def cifar10(argument: str, reading: Reading) -> Task:
    """CIFAR-10: 50,000 pictures of 32x32 in 10 classes to train on, 10,000 to test"""
    no_argument(argument, "cifar10")
    root = data_dir(reading)
    parts = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    folder, names = release(root, "cifar-10-batches", "batches.meta", parts, "label_names", reading)
    pictures, labels = [], []
    for part in parts:
        pixels, (found,) = batch(folder, part, ("labels",), reading)
        pictures.append(pixels)
        labels.append(in_range(found, len(names), f"{folder / part}"))
    given = torch.cat(labels[:-1])
    maps = {"both": TEN_MAP, "one_way": {k: v for k, v in TEN_MAP.items() if k != 5}, "sequential": TEN_MAP}
    return Task(
        torch.cat(pictures[:-1]), given, tuple(f"cifar10/{k}" for k in range(len(given))), names, pictures[-1],
        labels[-1], shift=4, flip=True, maps=maps if len(names) == 10 else {},
    )  # fmt: skip


def cifar100(argument: str, reading: Reading) -> Task:
    """CIFAR-100: 50,000 pictures of 32x32 in 100 classes to train on, 10,000 to test"""
    no_argument(argument, "cifar100")
    folder, names = release(data_dir(reading), "cifar-100", "meta", ["train", "test"], "fine_label_names", reading)
    keys = ("coarse_labels", "fine_labels")
    inputs, (coarse, fine) = batch(folder, "train", keys, reading)
    test_inputs, (_, test_fine) = batch(folder, "test", keys, reading)
    labels = in_range(fine, len(names), f"{folder / 'train'}")
    return Task(
        inputs, labels, tuple(f"cifar100/{k}" for k in range(len(labels))), names, test_inputs,
        in_range(test_fine, len(names), f"{folder / 'test'}"), shift=4, flip=True,
        maps={"superclass": next_in_group(labels, coarse), "id_block": next_in_block(len(names))},
    )  # fmt: skip


def cifar10n(argument: str, reading: Reading) -> Task:
    """CIFAR-10 with human labels (Wei et al., 2022): cifar10n:worse, aggre, random1, random2, random3"""
    keys = {"aggre": "aggre_label", "worse": "worse_label", **{f"random{k}": f"random_label{k}" for k in (1, 2, 3)}}
    return with_human_labels(cifar10("", reading), argument or "worse", keys, "c10", data_dir(reading), "CIFAR-10")


def cifar100n(argument: str, reading: Reading) -> Task:
    """CIFAR-100 with human labels (Wei et al., 2022)"""
    keys = {"noisy": "noisy_label"}
    return with_human_labels(cifar100("", reading), argument or "noisy", keys, "c100", data_dir(reading), "CIFAR-100")


def with_human_labels(source: Task, kind: str, keys: dict[str, str], prefix: str, root: Path, title: str) -> Task:
    """The source with CIFAR-N's labels, its own as the truth."""
    if kind not in keys:
        raise InputError(f"data: {title}N has no labels {kind!r}; expected one of {', '.join(keys)}")
    files = [f"{title}_human.pt", f"{title}_human.npz", "cifar_n.npz"]
    found = next(
        (root / place / file for file in files for place in (".", "data") if (root / place / file).is_file()), None
    )
    if found is None:
        raise InputError(f"data: {root} has none of {', '.join(files)}; get {files[0]} from {HUMAN_HOME}")
    arrays = read_labels(found)
    given = human(arrays, (keys[kind], f"{prefix}_{kind}"), found, len(source.labels))
    clean = human(arrays, ("clean_label", f"{prefix}_clean"), found, len(source.labels))
    if not np.array_equal(clean, source.labels.numpy()):
        row = int(np.nonzero(clean != source.labels.numpy())[0][0])
        raise InputError(
            f"data: {found} row {row}: its clean label is {clean[row]}, CIFAR's {int(source.labels[row])}; expected "
            "the order of the python release"
        )
    labels = in_range(given, len(source.classes), str(found))
    return replace(source, labels=labels, truth=source.labels)


def human(arrays: dict[str, np.ndarray], names: tuple[str, str], path: Path, count: int) -> np.ndarray:
    """One array of labels, under either of its names."""
    name = next((name for name in names if name in arrays), None)
    if name is None:
        raise InputError(f"data: {path} has no array {names[0]!r}, only {', '.join(arrays)}")
    if arrays[name].shape != (count,) or arrays[name].dtype.kind not in "iu":
        array = arrays[name]
        raise InputError(f"data: {path}: {name} is {array.dtype} {list(array.shape)}; expected {count} whole numbers")
    return arrays[name]


def data_dir(reading: Reading) -> Path:
    """Where published data sets are.

    Raises:
        InputError: nobody said.
    """
    named = reading.place.data_dir or os.environ.get("ALASCA_DATA")
    if not named:
        raise InputError("data: where are the files? Give --data-dir DIR, or set $ALASCA_DATA")
    if not Path(named).is_dir():
        raise InputError(f"data-dir: no such folder: {named}")
    return Path(named)


def release(
    root: Path, stem: str, meta: str, parts: list[str], key: str, reading: Reading
) -> tuple[Path, tuple[str, ...]]:
    """The folder of the python or the binary release under `root`, or `root` itself, and its class names.

    Raises:
        InputError: neither is there whole.
    """
    ten = stem.endswith("batches")
    folders = [root / f"{stem}-{'py' if ten else 'python'}", root / f"{stem}-{'bin' if ten else 'binary'}", root]
    for folder in folders:
        for suffix in ("", ".bin"):
            there = [(folder / f"{part}{suffix}").is_file() for part in parts]
            if not any(there):
                continue
            if not all(there):
                missing = folder / f"{parts[there.index(False)]}{suffix}"
                raise InputError(f"data: no such file: {missing}; get the whole release from {HOME}")
            return folder, class_names(folder, meta, key, suffix, reading)
    raise InputError(f"data: {root} has neither {folders[0].name} nor {folders[1].name}; get one from {HOME}")


def class_names(folder: Path, meta: str, key: str, suffix: str, reading: Reading) -> tuple[str, ...]:
    """Class names of a release."""
    if not suffix:
        names = read_batch(folder / meta, MD5[meta] if reading.place.checksums else None).get(key)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"data: {folder / meta} has no list {key!r}; get the release from {HOME}")
        return tuple(names)
    text = folder / ("fine_label_names.txt" if key.startswith("fine") else f"{meta}.txt")
    if not text.is_file():
        raise InputError(f"data: no such file: {text}; get the whole release from {HOME}")
    return tuple(
        line.strip() for line in read_file(text).decode(errors="backslashreplace").splitlines() if line.strip()
    )


def batch(folder: Path, part: str, keys: tuple[str, ...], reading: Reading) -> tuple[Tensor, list[np.ndarray]]:
    """Pictures ``[M, 3, 32, 32]`` uint8 of one file, and their labels under each key.

    Args:
        folder: of the release.
        part: name of the file, without ``.bin``.
        keys: of the labels, in the order in which the binary release has them before the pixels.
        reading: whether checksums count.
    """
    path = folder / part
    if path.is_file():
        value: dict[str, Any] = read_batch(path, MD5[part] if reading.place.checksums else None)
        if missing := [key for key in ("data", *keys) if key not in value]:
            raise InputError(f"data: {path} has no {missing[0]!r}, only {', '.join(value)}")
        pixels, labels = np.asarray(value["data"]), [as_numbers(value[key], f"{path}: {key}") for key in keys]
    else:
        path = folder / f"{part}.bin"
        content, record = read_file(path), len(keys) + PIXELS
        whole = RECORDS[part] * record if reading.place.checksums else len(content)
        if len(content) % record or not content or len(content) != whole:
            raise InputError(
                f"data: {path} has {len(content):,} bytes, not {RECORDS[part]:,} records of {record:,}: it was cut"
            )
        records = np.frombuffer(content, dtype=np.uint8).reshape(-1, record)
        pixels, labels = records[:, len(keys) :], [records[:, k].astype(np.int64) for k in range(len(keys))]
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != PIXELS:
        raise InputError(f"data: {path}: data is {pixels.dtype} {list(pixels.shape)}; expected uint8 [M, {PIXELS}]")
    if len(labels[0]) != len(pixels):
        raise InputError(f"data: {path}: {len(labels[0])} labels for {len(pixels)} pictures")
    return torch.from_numpy(pixels.reshape(-1, 3, 32, 32).copy()), labels


def as_numbers(values: Any, where: str) -> np.ndarray:
    """A list of whole numbers as an array."""
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise InputError(f"data: {where} is no list of whole numbers")
    if wrong := [value for value in values if not 0 <= value < 1 << 31]:
        raise InputError(f"data: {where} holds {wrong[0]}; expected classes from 0")
    return np.array(values, dtype=np.int64)


def next_in_group(fine: Tensor, coarse: np.ndarray) -> dict[int, int]:
    """Each class to the next one of its superclass, the last to the first."""
    groups: dict[int, set[int]] = {}
    for label, group in zip(fine.tolist(), coarse.tolist(), strict=True):
        groups.setdefault(group, set()).add(label)
    ordered = [sorted(group) for group in groups.values()]
    return {group[k]: group[(k + 1) % len(group)] for group in ordered for k in range(len(group))}


def next_in_block(classes: int, size: int = 5) -> dict[int, int]:
    """Each class to the next one of five consecutive numbers, the last to the first: what most published code does."""
    return {k: k - k % size + (k % size + 1) % size for k in range(classes) if k - k % size + size <= classes}


def no_argument(argument: str, name: str) -> None:
    """Raise `InputError` where ``name:argument`` has one."""
    if argument:
        raise InputError(f"data: {name} takes no argument, got {argument!r}; write --data {name}")
