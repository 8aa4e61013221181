"""CRUST: a coreset of medoids that cover the gradients of each class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from alasca.core import (
    Batch,
    Clock,
    Method,
    Mixed,
    Net,
    Output,
    Phase,
    Preset,
    Probe,
    Problem,
    Seen,
    Selection,
    Step,
    Stream,
    unwrapped,
)
from alasca.functional import centrality, cross_entropy, facility_location
from alasca.functional.targets import mixing_weight
from alasca.surgery import OutputNet

SELECTIONS = ("facility", "centrality")


class Crust(Method):
    """CRUST: learns from a weighted coreset, the medoids of each class's gradients, chosen anew every epoch.

    The gradient of a sample's loss at the input of the classifier layer stands for its whole gradient; clean ones form
    a low-rank cluster. Medoids weigh as much as the points that lie nearest to them.

    Paper: Mirzasoleiman, Cao and Leskovec, "Coresets for Robust Training of Neural Networks against Noisy Labels",
    NeurIPS 2020.

    Args:
        fraction: size of the coreset, above 0 and at most 1.
        start: first epoch of choosing.
        selection: ``"facility"``: greedy facility location with cluster sizes as weights, the paper's; or
            ``"centrality"``: the dense core with equal weights, which is what the authors' code amounts to.
        group_by: classes in which medoids are chosen: ``"predicted"``, the paper's, or ``"given"`` labels, the code's.
        epsilon: facility location by stochastic greedy, above 0 and below 1: fewer distances for classes of more than
            8,192 samples, whose matrix is not held; no faster for smaller ones. None: exact.
        mix: mix each medoid with a sample of the same given label, lam from Beta(1, 0.1); the label stays.

    Differences from the authors' code: it groups by given label (`group_by`), takes
    gradients of the batch's mean loss in training mode on augmented pictures, and its greedy algorithm picks by
    centrality with equal weights (``selection="centrality"``).
    """

    mixes = True
    epoch_options = ("start",)
    presets = (
        Preset("cifar10", {"fraction": 0.5, "start": 5}, "Mirzasoleiman et al. (2020), section 5"),
        Preset("cifar100", {"fraction": 0.5, "start": 5}, "Ko et al. (2022)"),
        Preset("default", {}, "the CIFAR-10 values"),
    )

    def __init__(
        self,
        fraction: float = 0.5,
        start: int = 5,
        selection: str = "facility",
        group_by: str = "predicted",
        epsilon: float | None = None,
        mix: bool = True,
    ) -> None:
        super().__init__()
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction: {fraction}, expected above 0 and at most 1")
        if start < 0:
            raise ValueError(f"start: {start}, expected at least 0")
        if selection not in SELECTIONS:
            raise ValueError(f"selection: {selection!r}, expected one of {', '.join(SELECTIONS)}")
        if group_by not in ("predicted", "given"):
            raise ValueError(f"group_by: {group_by!r}, expected one of predicted, given")
        if epsilon is not None and not 0 < epsilon < 1:
            raise ValueError(f"epsilon: {epsilon}, expected above 0 and below 1, or none")
        self.fraction, self.start, self.selection, self.epsilon, self.mix = fraction, start, selection, epsilon, mix
        self.group_by = group_by

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        classifier_of(nets[0])  # without one, training need not begin
        weight = torch.ones(problem.num_samples, device=problem.example.device)
        self.register_buffer("weight", weight)
        self.register_buffer("kept", torch.ones_like(weight, dtype=torch.bool))

    def plan(self, nets: Sequence[Net], probe: Probe, clock: Clock) -> list[Phase]:
        if clock.epoch < self.start:
            return super().plan(nets, probe, clock)
        index, weight = self.coreset(nets[0], probe)
        self.get_buffer("kept").fill_(False)[index] = True
        self.get_buffer("weight")[index] = weight
        streams = {"coreset": Stream(index, weight)}
        if self.mix:
            streams["partners"] = Stream(follows="coreset")
        return [Phase((0,), streams)]

    def coreset(self, net: Net, probe: Probe) -> tuple[Tensor, Tensor]:
        """Medoids of every class, and how many points lie nearest to each."""
        metric = gram_root(classifier_of(net).weight.detach())

        def gradient(output: Output, batch: Batch) -> Tensor:
            hot = torch.nn.functional.one_hot(batch.labels, output.logits.shape[1])
            residual = output.logits.softmax(1) - hot
            return torch.cat([residual @ metric.to(residual), output.logits.argmax(1, keepdim=True).to(residual)], 1)

        found = probe(net, gradient)
        points, group = found[:, :-1], probe.labels if self.group_by == "given" else found[:, -1].long()
        index, weight = [], []
        for k in torch.unique(group):
            own = (group == k).nonzero()[:, 0]
            budget = math.ceil(self.fraction * len(own) - 1e-9)
            if self.selection == "facility":
                medoids, sizes = facility_location(points[own], budget, self.epsilon)
                medoids, sizes = medoids[sizes > 0], sizes[sizes > 0]  # a copy of a medoid stands for nothing
            else:
                medoids = centrality(points[own], budget)
                sizes = torch.ones_like(medoids)
            index.append(own[medoids])
            weight.append(sizes.float())
        return probe.index[torch.cat(index)], torch.cat(weight)

    def draws(self, phase: Phase, clock: Clock) -> dict[str, Tensor]:
        return {"lam": mixing_weight(1.0, 0.1)} if "partners" in phase.streams else {}

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch = batches["coreset"] if "coreset" in batches else batches["all"]
        x = batch.views[0]
        if "partners" not in batches:
            output = nets[0](x)
            losses = batch.weight * cross_entropy(output.logits, batch.labels)
            return Step(losses.sum() / batch.weight.sum(), (Seen(0, output, batch),))
        rows = torch.arange(len(x), device=x.device)
        lam = clock.draws["lam"]
        output = nets[0](torch.lerp(batches["partners"].views[0], x, lam.to(x.dtype)))
        losses = batch.weight * cross_entropy(output.logits, batch.labels)
        mixed = Mixed(0, output.aux, rows, rows + len(rows), lam.expand(len(rows)))
        return Step(losses.sum() / batch.weight.sum(), mixed=(mixed,))

    def selected(self) -> Selection:
        return Selection(self.get_buffer("kept")[:, None], weight=self.get_buffer("weight")[:, None])


def classifier_of(net: Net) -> nn.Linear:
    """The linear layer that gives the logits."""
    inner = unwrapped(net)
    assert isinstance(inner, OutputNet)
    return inner.classifier


def gram_root(weight: Tensor) -> Tensor:
    """R ``[K, K]`` with ``R R^T = W W^T``: distances of ``(p - e_y) R`` are those of ``(p - e_y) W``, in K columns."""
    values, vectors = torch.linalg.eigh(weight.cpu().double() @ weight.cpu().double().mT)
    return torch.as_tensor(vectors * values.clamp(min=0).sqrt())
