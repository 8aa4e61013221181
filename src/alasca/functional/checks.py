"""Argument checks that read shapes and types only, never a value on a device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def check_logits(logits: Tensor, labels: Tensor) -> None:
    """Raise `ValueError` unless logits are floating ``[..., B, K]`` and labels integer ``[B]``."""
    if not logits.is_floating_point() or logits.dim() < 2:
        raise ValueError(f"logits: {logits.dtype} {tuple(logits.shape)}, expected floating point [B, K]")
    if labels.dtype not in INTEGERS:
        raise ValueError(f"labels: {labels.dtype}, expected integers")
    if labels.shape != logits.shape[-2:-1]:
        raise ValueError(f"labels: shape {tuple(labels.shape)}, expected ({logits.shape[-2]},) to match the logits")


def check_unit(name: str, value: float) -> None:
    """Raise `ValueError` unless ``0 <= value <= 1``."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: {value}, expected a number from 0 to 1")


def check_above(name: str, value: float, least: float) -> None:
    """Raise `ValueError` unless ``value > least``."""
    if not value > least:
        raise ValueError(f"{name}: {value}, expected above {least}")


def check_weights(name: str, values: Sequence[float], count: int) -> None:
    """Raise `ValueError` unless there are `count` positive numbers that add up to 1."""
    if len(values) != count:
        raise ValueError(f"{name}: {len(values)} numbers, expected {count}")
    if not all(value > 0 for value in values) or abs(sum(values) - 1) > 1e-6:
        raise ValueError(f"{name}: {tuple(values)}, expected positive numbers that add up to 1")


def pick(values: Tensor, labels: Tensor) -> Tensor:
    """``values[..., b, labels[b]]``; on a CPU a label out of range raises `ValueError`."""
    index = labels.long().expand(values.shape[:-1]).unsqueeze(-1)
    try:
        return values.gather(-1, index).squeeze(-1)
    except RuntimeError as error:
        if "out of bounds" not in str(error):
            raise
        raise ValueError(f"labels: outside 0..{values.shape[-1] - 1}") from error
