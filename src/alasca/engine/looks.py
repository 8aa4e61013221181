"""Looks at the same samples again and again while a network trains: what the theory's figures are drawn from.

Each sample is looked at plainly, in eval mode, in float32, and nothing that trains is touched: a run that looks ends in
the same bits as one that does not. True labels are kept beside the looks, for evaluation only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alasca.core import Method, unwrapped
from alasca.data import Samples, Split
from alasca.data.seeds import fold, generator
from alasca.engine.probe import evaluating, plain_views
from alasca.functional import cross_entropy, smoothness
from alasca.functional.gradients import jacobian_norm
from alasca.stores import Trace
from alasca.surgery import OutputNet
from alasca.surgery.stages import Stage, stage_names, stages_of

SAMPLES = 1_000
"""Training samples that are looked at, and test samples, at most."""
ROWS = 200
"""Samples that are looked at together: gradients take memory."""
STEP = 0.05
"""Length of the step that slopes are measured over, as a part of the input's own."""


@dataclass(frozen=True)
class Looks:
    """Looks at some samples of a run, always the same ones.

    Attributes:
        split: of the run, on the device.
        rows: training positions ``[M]``.
        test_rows: of the test set ``[T]``, or None.
        stages: names of the modules at the ends of the network's stages.
        seed: of the directions in which slopes are measured.
    """

    split: Split
    rows: Tensor
    test_rows: Tensor | None
    stages: tuple[str, ...]
    seed: int

    @classmethod
    def of(cls, split: Split, net: nn.Module, seed: int) -> Looks:
        """Looks at a run's first network."""
        inner = unwrapped(net)
        assert isinstance(inner, OutputNet)
        example = split.samples.view("plain", split.train[:2].to(split.samples.labels.device))
        labelled = split.train[split.samples.labels.cpu()[split.train] >= 0]
        test = None if split.test is None else chosen(torch.arange(len(split.test)), fold(seed, "look", "test"))
        return cls(split, chosen(labelled, fold(seed, "look")), test, stage_names(inner, example), seed)

    def samples(self) -> dict[str, Tensor]:
        """Which samples are looked at: positions ``rows``, ``given`` labels, ``true`` ones (-1: not known), and the
        test samples' ``test_true``."""
        found = {"rows": self.rows, "given": self.split.samples.labels.cpu()[self.rows]}
        unknown = torch.full_like(self.rows, -1)
        found["true"] = unknown if self.split.truth is None else self.split.truth[self.rows]
        if self.split.test is not None and self.test_rows is not None:
            found["test_true"] = self.split.test.labels.cpu()[self.test_rows]
        return found

    def __call__(self, method: Method | None, net: nn.Module, trace: Trace | None) -> dict[str, Tensor]:
        """One look.

        Args:
            method: in training, with what it knows of each sample; None: no such.
            net: its first network.
            trace: of training; None: no such.

        Returns:
            ``jacobian`` and ``slope`` ``[S, M]`` (of each stage: the norm of the gradient of plain cross-entropy with
            the given label, and how far the stage moves for a step of the input, a unit of its length); of each
            classifier, shallow to deep, the main one last, ``confidence`` in the given label, ``predicted`` class, its
            probability ``top``, ``entropy``, and ``omega``, Omega(f) / K of eq. 1 ``[C, M]``; ``visits`` and
            ``probability``, sums over training so far of the main classifier's confidence ``[M]``; ``ema_confidence``
            ``[M]`` where the method has it; ``test_predicted``, ``test_top``, ``test_entropy`` ``[C, T]``.
        """
        inner = unwrapped(net)
        assert isinstance(inner, OutputNet)
        device = self.split.samples.labels.device
        parts: dict[str, list[Tensor]] = {}
        before, inner.autocast = inner.autocast, None
        try:
            with evaluating([inner]):
                for found in self._training(inner):
                    for name, value in found.items():
                        parts.setdefault(name, []).append(value)
                if self.split.test is not None and self.test_rows is not None:
                    for name, value in classified(inner, self.split.test, self.test_rows):
                        parts.setdefault(f"test_{name}", []).append(value)
        finally:
            inner.autocast = before
        result = {name: torch.cat(values, -1) for name, values in parts.items()}
        if trace is not None:
            seen = trace.read(self.rows.to(device))
            result |= {"visits": seen.visits, "probability": seen.probability}
        known = {} if method is None else method.columns(self.split.samples.labels.clamp(min=0))
        if "ema_confidence" in known:
            result["ema_confidence"] = known["ema_confidence"][self.rows.to(device)]
        return {name: value.cpu() for name, value in result.items()}

    def _training(self, net: OutputNet) -> Iterator[dict[str, Tensor]]:
        """The training samples, batch by batch."""
        samples = self.split.samples
        for k, rows in enumerate(torch.split(self.rows.to(samples.labels.device), ROWS)):
            (view,) = plain_views(samples, rows)
            labels = samples.labels[rows]
            floats = view.is_floating_point()
            with stages_of(net, self.stages) as stages:
                with torch.enable_grad():
                    output = net(view.requires_grad_() if floats else view)
                    loss = cross_entropy(output.logits, labels).sum()
                    edges = {name: stage.edge for name, stage in stages.items() if stage.edge is not None}
                    gradients = torch.autograd.grad(loss, list(edges.values()), allow_unused=True) if edges else ()
                norms = dict(zip(edges, gradients, strict=True))
                jacobian = [norm_of(norms.get(name), labels) for name in self.stages]
                found = {"jacobian": torch.stack(jacobian)} if jacobian else {}
                if floats and jacobian:
                    found["slope"] = self._slopes(net, view.detach(), stages, k)
            heads = torch.stack([*output.aux, output.logits]).detach()
            p = heads.softmax(-1)
            found |= {"confidence": p.gather(-1, labels.expand(len(p), -1)[..., None])[..., 0], **told(heads)}
            found["omega"] = smoothness(heads) / heads.shape[-1]
            yield found

    def _slopes(self, net: OutputNet, view: Tensor, stages: Mapping[str, Stage], number: int) -> Tensor:
        """How far each stage moves ``[S, B]`` for a small step of the input in a random direction, a unit of it."""
        here = {name: stage.value for name, stage in stages.items()}
        direction = torch.randn(view.shape, generator=generator(self.seed, "look", "slope", number)).to(view)
        lengths = view.flatten(1).norm(dim=1).clamp(min=1e-6) / direction.flatten(1).norm(dim=1)
        step = STEP * lengths.view(-1, *[1] * (view.dim() - 1)) * direction
        net(view + step)
        size = step.flatten(1).norm(dim=1)
        return torch.stack([(stages[name].value - here[name]).norm(dim=1) / size for name in self.stages])


def chosen(positions: Tensor, seed: int) -> Tensor:
    """`SAMPLES` of some positions, in order."""
    order = torch.randperm(len(positions), generator=torch.Generator().manual_seed(seed))
    return positions[order[:SAMPLES].sort().values]


def norm_of(gradient: Tensor | None, labels: Tensor) -> Tensor:
    """Norm of each sample's gradient ``[B]``; 0 where the loss does not depend on the stage."""
    return torch.zeros(len(labels), device=labels.device) if gradient is None else jacobian_norm([gradient], [None])


def told(heads: Tensor) -> dict[str, Tensor]:
    """What classifiers say ``[C, B, K]``: the class, its probability, and the entropy of all of them ``[C, B]``."""
    log_p = heads.log_softmax(-1)
    top, predicted = log_p.exp().max(-1)
    return {"predicted": predicted.int(), "top": top, "entropy": -(log_p.exp() * log_p).sum(-1)}


def classified(net: OutputNet, samples: Samples, rows: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What all classifiers say of plain samples, batch by batch; see `told`."""
    for view in plain_views(samples, rows.to(samples.labels.device)):
        output = net(view)
        yield from told(torch.stack([*output.aux, output.logits])).items()


def due(epoch: int, epochs: int, every: int) -> bool:
    """Whether an epoch that ends is looked at: every so many, the first and the last; 0: none.

    >>> [epoch for epoch in range(10) if due(epoch, 10, 4)]
    [0, 3, 7, 9]
    """
    return every > 0 and (epoch in (0, epochs - 1) or (epoch + 1) % every == 0)
