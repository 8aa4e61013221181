"""`--noise`: wrong labels made from the labels that a source gives, seeded, or read from a file."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from alasca.data.legacy import head_of, read_labels
from alasca.data.seeds import generator
from alasca.errors import InputError
from alasca.files import read_bytes, reason
from alasca.functional import asymmetric_noise, instance_noise, matrix_noise, pair_noise, symmetric_noise

NOISES = {
    "none": "the labels as they come",
    "symmetric:R": "a share R of the labels is drawn anew from all classes (inclusive, as in the paper)",
    "symmetric-exclusive:R": "a share R of the labels becomes another class",
    "asymmetric:R": "a share R of each confused class becomes the class it is confused with; asymmetric:R:MAP with "
    "both, one_way or sequential on CIFAR-10, superclass or id_block on CIFAR-100; pair noise on other data",
    "pair:R": "a share R of each class becomes the next class",
    "instance:R": "about a share R, depending on the input; instance:R:per-class draws a score for each class",
    "matrix:FILE": "each label is drawn from its class's row of a [K, K] matrix in .npy or .csv",
    "file:FILE#KEY": "labels from an array in .npz or .pt, in the order of the training set",
}
Maps = Mapping[str, Mapping[int, int]]


def apply_noise(
    spec: str, labels: Tensor, num_classes: int, seed: int, maps: Maps | None = None, inputs: Tensor | None = None
) -> Tensor:
    """Labels under the noise that `spec` names.

    Args:
        spec: see `NOISES`, such as ``"symmetric:0.6"``; all but ``file``.
        labels: ``[N]``, on the CPU.
        num_classes: K.
        seed: of the noise.
        maps: published confusions for asymmetric noise, by name, the usual one first.
        inputs: ``[N, ...]`` for instance-dependent noise; None where they are not held in memory.

    Raises:
        InputError: an unknown kind, a rate that is no number from 0 to 1, or a matrix that is none.
    """
    kind, _, rest = spec.partition(":")
    draw = generator(seed, "noise")
    if spec == "none":
        return labels.clone()
    if kind == "matrix":
        return matrix_noise(labels, read_matrix(rest, num_classes), draw)
    if kind not in ("symmetric", "symmetric-exclusive", "asymmetric", "pair", "instance"):
        raise InputError(f"noise: {spec!r} is unknown; expected one of {', '.join(NOISES)}")
    value, _, variant = rest.partition(":")
    rate = as_rate(value, kind, spec)
    if variant and kind not in ("asymmetric", "instance"):
        raise InputError(f"noise: {spec!r} has one part too many; expected e.g. {kind}:{value}")
    if kind == "instance":
        if inputs is None:
            raise InputError(f"noise: {spec} needs pictures or numbers that are held in memory; try --in-memory")
        if variant not in ("", "per-class"):
            raise InputError(f"noise: {variant!r} in {spec!r} is unknown; expected {kind}:{value}:per-class")
        return instance_noise(inputs, labels, rate, num_classes, variant == "per-class", draw)
    if kind == "asymmetric" and (maps or variant):
        maps = maps or {}
        name = variant or next(iter(maps))
        if name not in maps:
            known = ", ".join(maps) or f"none for these data; write {kind}:{value}"
            raise InputError(f"noise: map {name!r} in {spec!r} is unknown; there is {known}")
        return asymmetric_noise(labels, rate, maps[name], name == "sequential", draw)
    if kind in ("asymmetric", "pair"):
        return pair_noise(labels, rate, num_classes, draw)
    return symmetric_noise(labels, rate, num_classes, kind == "symmetric", draw)


def as_rate(text: str, kind: str, spec: str) -> float:
    """A rate from 0 to 1."""
    try:
        rate = float(text)
    except ValueError:
        raise InputError(f"noise: rate {text!r} in {spec!r} is no number; expected e.g. {kind}:0.6") from None
    if not 0 <= rate <= 1:
        raise InputError(f"noise: rate {text} in {spec!r}; expected a number from 0 to 1, e.g. {kind}:0.6")
    return rate


def read_matrix(name: str, num_classes: int) -> Tensor:
    """A transition matrix ``[K, K]`` from ``.npy`` or ``.csv``, checked.

    Raises:
        InputError: no such file, or no matrix of that size whose rows add up to 1.
    """
    path = Path(name)
    if not name or not path.is_file():
        raise InputError(f"noise: no such file: {name or '(empty)'}; expected matrix:FILE")
    try:
        content = io.BytesIO(read_bytes(path))
        if path.suffix == ".npy":
            shape, dtype, begins = head_of(content)
            if dtype.kind not in "uif" or begins + math.prod(shape) * dtype.itemsize != len(content.getvalue()):
                raise ValueError(f"it says that it is {dtype} {list(shape)}")
            content.seek(0)
            read = np.load(content, allow_pickle=False)
        else:
            read = np.loadtxt(content, delimiter=",", ndmin=2)
        matrix = torch.from_numpy(np.asarray(read, dtype=np.float64))
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise InputError(f"noise: {path} can't be read as a matrix ({reason(error)})") from error
    if matrix.shape != (num_classes, num_classes):
        raise InputError(f"noise: {path} is {list(matrix.shape)}; expected [{num_classes}, {num_classes}]")
    try:
        matrix_noise(torch.zeros(0, dtype=torch.int64), matrix)
    except ValueError as error:
        raise InputError(f"noise: {path}: {error}") from error
    return matrix


def labels_from_file(name: str, count: int, classes: int) -> Tensor:
    """The labels that ``file:FILE#KEY`` names ``[M]``, M at most `count`.

    Raises:
        InputError: no such file or key, more labels than samples, or labels that are no classes.
    """
    file, _, key = name.partition("#")
    arrays = read_labels(Path(file))
    if key not in arrays:
        raise InputError(f"noise: {file} has no array {key!r}, only {', '.join(arrays) or 'none'}; write file:FILE#KEY")
    labels = arrays[key]
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not 0 < len(labels) <= count:
        raise InputError(
            f"noise: {file}: {key} is {labels.dtype} {list(labels.shape)}; expected {count} whole numbers, or fewer"
        )
    wrong = np.nonzero((labels.astype(np.int64) < 0) | (labels.astype(np.int64) >= classes))[0]
    if len(wrong):
        raise InputError(f"noise: {file}: {key} row {wrong[0]}: label {labels[wrong[0]]}, expected 0 to {classes - 1}")
    return torch.from_numpy(labels.astype(np.int64))
