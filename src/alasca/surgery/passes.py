"""Forward passes that leave something alone: eval mode and back, BatchNorm's statistics, the gradient."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from alasca.core import Batch, Net, Output, Phase, Seen, Step, backbone


@contextlib.contextmanager
def quiet_batchnorm(net: Net | nn.Module) -> Iterator[None]:
    """Let BatchNorm use batch statistics in training mode without moving its running ones."""
    layers = [module for module in net.modules() if isinstance(module, _NormBase) and module.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


@contextlib.contextmanager
def borrowed_buffers(net: nn.Module) -> Iterator[None]:
    """Let a forward write into copies of the buffers: it saves the same tensors for backward, and leaves no trace."""
    owned = [(module, name, value) for module in net.modules() for name, value in module._buffers.items()]
    for module, name, value in owned:
        module._buffers[name] = None if value is None else value.clone()
    try:
        yield
    finally:
        for module, name, value in owned:
            module._buffers[name] = value


def evaluated(net: Net, inputs: Any) -> Output:
    """A network's output in eval mode; it is in the mode that it was in again afterwards."""
    before = net.training
    net.eval()
    try:
        return net(inputs)
    finally:
        net.train(before)


def quiet_forward(net: Net, batch: Batch) -> Output:
    """A forward of plain inputs in training mode, without gradient, that leaves BatchNorm's statistics alone."""
    with torch.no_grad(), quiet_batchnorm(net):
        return net(batch.views[0])


def plain_forward(net: Net, batch: Batch) -> Output:
    """A forward of plain inputs for sub-classifiers alone: the backbone's BatchNorm statistics stay the method's."""
    with quiet_batchnorm(backbone(net)):
        return net(batch.views[0])


def with_plain_forwards(
    step: Step, nets: Sequence[Net], phase: Phase, batches: Mapping[str, Batch], partners: bool = True,
    trained: Collection[int] = (),
) -> Step:  # fmt: skip
    """A step whose trained networks have all been seen on plain samples, by a forward of ours where no `Seen` says so.

    It is the last to draw random numbers in its step, so that a step that needs it draws the same as one that does not.

    Args:
        step: what the method gave.
        nets, phase, batches: what it was given.
        partners: look at streams that follow another one too.
        trained: networks whose sub-classifiers learn from that forward; the others' are without gradient.
    """
    seen = {item.net for item in step.seen}
    missing = [k for k in phase.train if k not in seen]
    if not missing:
        return step
    plain = [
        batch for name, batch in batches.items()
        if name not in phase.observe and (partners or phase.streams[name].follows is None)
    ]  # fmt: skip
    forward = {k: plain_forward if k in trained else quiet_forward for k in missing}
    found = tuple(Seen(k, forward[k](nets[k], batch), batch) for k in missing for batch in plain)
    return step._replace(seen=(*step.seen, *found))


def feature_of(output: Output) -> Tensor:
    """What the classifier layer reads."""
    if output.feature is None:
        raise ValueError("the network has no linear layer whose output is the logits; name it with feature_at=")
    return output.feature
