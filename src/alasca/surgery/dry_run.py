"""One dry run through a network: what each module returns, and along which of its axes samples and channels lie."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from alasca.surgery.calls import changed, first_tensor, main_logits
from alasca.surgery.survey import Survey, Visit

CHANNELS_LAST, CHANNELS_FIRST, BATCH_SECOND = (0, 3, 1, 2), (0, 2, 1), (1, 0, 2)
"""Orders of axes: of ``[B, H, W, C]`` to ``[B, C, H, W]``, of ``[B, D, T]`` and of ``[T, B, D]`` to ``[B, T, D]``."""


def survey(net: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], num_classes: int | None) -> Survey:
    """Run the network once, in eval mode and without gradient, and write down what every module returned.

    Where a module's output could have the batch as its second axis, the network is run once more with one sample
    changed: what other samples do not notice lies along the axis of samples. Modes, buffers and the random state are as
    before afterwards.
    """
    if first_tensor((inputs, keywords)) is None:
        raise TypeError("example: expected a batch of inputs, a tuple of arguments or a dict of keyword arguments")
    value, seen = watched(net, inputs, keywords)
    logits = logits_in(value, seen, num_classes)
    if logits.dim() != 2:
        raise ValueError(f"the network gives {list(logits.shape)}; expected logits of classes, [B, K]")
    batch = len(logits)
    visits = [visit for visit in seen if batch in visit.output.shape[:2] and visit.output.dim() >= 2]
    if any(visit.output.dim() == 3 and visit.output.shape[1] == batch for visit in visits) and batch > 1:
        mark_second(net, inputs, keywords, visits, logits)
    visits = [visit for visit in visits if visit.output.shape[0] == batch or visit.order == BATCH_SECOND]
    before: list[Visit] = []
    for visit in visits:
        if visit.order is None:
            visit.order = order_of(visit, before)
        before.append(visit)
    last = any(visit.order == CHANNELS_LAST and not visit.leaf for visit in visits)  # else they are norms of heads
    for k, visit in enumerate(visits):
        visit.is_map = (last or visit.order != CHANNELS_LAST) and shows_places(visit, visits[:k])
    names = {name: module for name, module in net.named_modules() if name}
    at = next((k for k, item in enumerate(value) if item is logits), None) if isinstance(value, (tuple, list)) else None
    return Survey(visits, logits, batch, names, net, at)


def watched(net: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, list[Visit]]:
    """What a network returns, and what every module in it returned, in the order in which they finished."""
    visits: list[Visit] = []

    def note(name: str, module: nn.Module, value: object) -> None:
        output = first_tensor(value)
        if output is not None:
            visits.append(Visit(name, module, output, output._version))

    modes = {module: module.training for module in net.modules()}
    handles = [
        module.register_forward_hook(lambda module, given, value, name=name: note(name, module, value))
        for name, module in net.named_modules() if name
    ]  # fmt: skip
    rows = first_tensor((inputs, keywords))
    fast = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # it hands on nested tensors, which training never sees
        net.eval()
        devices = [rows.device] if rows is not None and rows.is_cuda else []
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            return net(*inputs, **keywords), visits
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode


def logits_in(value: object, visits: list[Visit], num_classes: int | None) -> Tensor:
    """The logits in what a network returned; of several tensors that could be such, what the last linear layer gave."""
    if isinstance(value, (tuple, list)):
        for visit in reversed(visits):
            fits = num_classes in (None, visit.output.shape[-1]) and visit.output.dim() == 2
            if isinstance(visit.module, nn.Linear) and fits and any(item is visit.output for item in value):
                return visit.output
    return main_logits(value, num_classes)


def order_of(visit: Visit, before: list[Visit]) -> tuple[int, ...] | None:
    """How the axes of an output must be ordered to be ``[B, C, H, W]`` or ``[B, T, D]``; None: they are so.

    Layers in the module tell by their widths; a module without such returns what is like the last output before it.
    """
    output = visit.output
    same = next((each for each in before if each.output is output), None)
    if same is not None:
        return same.order
    parts = list(visit.module.modules())
    linear = [part.normalized_shape[-1] for part in parts if isinstance(part, nn.LayerNorm)]
    linear += [part.out_features for part in parts if isinstance(part, nn.Linear)]
    if output.dim() == 4:
        maps = any(isinstance(part, nn.Conv2d) for part in parts)
        return CHANNELS_LAST if output.shape[-1] in linear and not maps else None
    if output.dim() != 3:
        return None
    spread = [part.out_channels for part in parts if isinstance(part, _ConvNd)]
    spread += [part.num_features for part in parts if isinstance(part, _BatchNorm)]
    last = next((each for each in reversed(before) if each.output.dim() == 3), None)
    over_time = isinstance(visit.module, nn.LayerNorm) and last is not None and last.output.shape == output.shape
    if (spread or linear) and not over_time:
        weighted = [part for part in parts if isinstance(part, _ConvNd | _BatchNorm | nn.LayerNorm | nn.Linear)]
        ends = [isinstance(part, _ConvNd | _BatchNorm) for part in (weighted[0], weighted[-1])]
        fits = output.shape[1] in spread and (output.shape[2] not in linear or any(ends))
        return CHANNELS_FIRST if fits else None
    alike = last is not None and last.order == CHANNELS_FIRST and last.output.shape[1] == output.shape[1]
    return CHANNELS_FIRST if alike else None


def shows_places(visit: Visit, before: list[Visit]) -> bool:
    """Whether an output of four axes or five is a map: convolutions and their norms make such, and what has no weights
    hands one on; attention has four axes too, but heads and tokens are none of a picture's."""
    output = visit.output
    if output.dim() not in (4, 5):
        return False
    if visit.order == CHANNELS_LAST or any(isinstance(part, _ConvNd | _BatchNorm) for part in visit.module.modules()):
        return True
    if any(each.output is output and each.is_map for each in before):
        return True
    if any(True for _ in visit.module.parameters()) and not isinstance(visit.module, nn.GroupNorm | nn.InstanceNorm2d):
        return False
    return any(each.is_map and each.output.shape[1] == output.shape[1] for each in before)


def mark_second(
    net: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], visits: list[Visit], logits: Tensor
) -> None:  # fmt: skip
    """Find the outputs whose second axis is that of samples, by changing the last sample: the one whose logits move."""
    batch = len(logits)
    for axis in (0, 1):
        others = changed((inputs, keywords), functools.partial(with_other_sample, batch=batch, first=axis))
        try:
            value, again = watched(net, *others)
        except (IndexError, RuntimeError, ValueError):  # no such sample can be; then nothing is known
            return
        if rows_of(logits_in(value, again, logits.shape[1]) != logits, 0) == [batch - 1]:
            break
    else:
        return
    again = [visit for visit in again if batch in visit.output.shape[:2] and visit.output.dim() >= 2]
    if [visit.name for visit in again] != [visit.name for visit in visits]:
        return
    for visit, other in zip(visits, again, strict=True):
        if visit.output.dim() == 3 and visit.output.shape == other.output.shape:
            unlike = visit.output != other.output
            if rows_of(unlike, 1) == [batch - 1] and rows_of(unlike, 0) != [batch - 1]:
                visit.order = BATCH_SECOND


def rows_of(unlike: Tensor, axis: int) -> list[int]:
    """Positions along an axis at which anything differs."""
    rows: list[int] = unlike.movedim(axis, 0).flatten(1).any(1).nonzero()[:, 0].tolist()
    return rows


def with_other_sample(tensor: Tensor, batch: int, first: int) -> Tensor:
    """A batch whose last sample is another one, made of values that it has; samples may lie along either axis."""
    axes = (first, 1 - first)
    axis = next((axis for axis in axes if tensor.dim() > axis and tensor.shape[axis] == batch), None)
    if axis is None:
        return tensor
    found = tensor.clone()
    row = found.select(axis, batch - 1)
    if tensor.is_floating_point():
        draw = torch.rand(row.shape, generator=torch.Generator().manual_seed(0)).to(row)
        row.copy_(row.flip(-1) + draw if row.dim() else row + draw)
        return found
    if tensor.dtype == torch.bool or not row.dim():
        return found
    for other in (tensor.select(axis, 0), row.roll(1, -1), (row - 1).abs()):  # an order may not matter
        if not torch.equal(other, row):
            row.copy_(other.clone())
            break
    return found
