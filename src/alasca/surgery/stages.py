"""Stages of a network as the theory counts them: what each returned, and where in the graph it was made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from alasca.surgery.calls import arguments, first_tensor
from alasca.surgery.dry_run import survey
from alasca.surgery.output_net import OutputNet

FEATURES = "features"
"""The last stage of networks that do not name theirs: what the classifier layer reads."""


@dataclass
class Stage:
    """What one stage returned in the last forward ``[B, ...]``, and where in the graph; None where no gradient goes."""

    value: Tensor
    edge: GradientEdge | None


def stage_names(net: OutputNet, example: Any) -> tuple[str, ...]:
    """The modules at the ends of a network's stages, the last one too.

    Args:
        net: the network.
        example: a batch of inputs.
    """
    inputs, keywords = arguments(net.backbone, example)
    seen = survey(net.backbone, inputs, keywords, net.num_classes)
    try:
        names = seen.places()
    except ValueError:  # a network without a place for sub-classifiers still has features
        names = []
    last = seen.last_stage()
    if last is None and seen.classifier() is not None:
        last = FEATURES
    return (*names, *([] if last is None or last in names else [last]))


@contextlib.contextmanager
def stages_of(net: OutputNet, names: Sequence[str]) -> Iterator[dict[str, Stage]]:
    """The stages of the forwards of the block, by name, each forward's in the place of the one before."""
    found: dict[str, Stage] = {}

    def keep(name: str, value: object) -> None:
        output = first_tensor(value)
        if output is not None:
            edge = get_gradient_edge(output) if output.requires_grad else None
            found[name] = Stage(output.detach().flatten(1).clone(), edge)  # what follows may write into it

    def hooked(name: str) -> Any:
        if name == FEATURES:
            layer: nn.Module = net.classifier
            return layer.register_forward_pre_hook(lambda module, inputs: keep(name, inputs))
        return net.backbone.get_submodule(name).register_forward_hook(lambda module, inputs, value: keep(name, value))

    handles = [hooked(name) for name in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
