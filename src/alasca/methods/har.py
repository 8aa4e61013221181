"""HAR: adaptive regularisation by the Jacobian at the hidden layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from alasca.core import Batch, Clock, InputError, Method, Phase, Preset, Probe, Problem, Seen, Stage, Step, network
from alasca.functional import cross_entropy
from alasca.functional.gradients import class_strengths, jacobian_norm
from alasca.heads import Network, opened

NORMS = ("root", "sum")


class HeteroskedasticRegularization(Method):
    """Heteroskedastic adaptive regularisation: the Jacobian's norm, penalised more in rare and uncertain classes.

    ``CE + weight * tau_y * R(x)`` with ``R = (sum_j |dl/dh_j|^2)^(1/2)``, h_j being what BatchNorm layers return before
    their affine map. Two stages of all epochs each: cross-entropy on half the data, whose error on the other half gives
    every class its tau; then fresh networks on all data with the penalty.

    Paper: Cao et al., "Heteroskedastic and Imbalanced Deep Learning with Adaptive Regularization", ICLR 2021.

    Args:
        weight: lambda, at least 0.
        norm: ``"root"`` of the summed squares, the paper's; ``"sum"`` of norms, the code's.
        batch_scaled: gradients of the batch's *mean* loss, as in the code: the penalty then falls with the batch size.
        at: names of modules; None: all BatchNorm layers but the first, which belongs to the stem.

    Differences from the authors' code: it sums norms of gradients of the mean loss (``norm="sum"``,
    ``batch_scaled=True``; its weight is 0.1 by default and 10 in its README, for a batch of 128).
    """

    presets = (
        Preset("cifar10", {"weight": 10.0, "norm": "sum", "batch_scaled": True}, "authors' README"),
        Preset("cifar100", {"weight": 10.0, "norm": "sum", "batch_scaled": True}, "authors' README"),
        Preset("unknown", {}, "the authors' weight of 10 at a batch of 128, for gradients that are not scaled"),
    )

    def __init__(
        self, weight: float = 0.1, norm: str = "root", batch_scaled: bool = False, at: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        if not weight >= 0:
            raise ValueError(f"weight: {weight}, expected at least 0")
        if norm not in NORMS:
            raise ValueError(f"norm: {norm!r}, expected one of {', '.join(NORMS)}")
        self.weight, self.norm, self.batch_scaled, self.at = weight, norm, batch_scaled, at

    def stages(self, epochs: int) -> list[Stage]:
        return [Stage(epochs, part=0.5), Stage(epochs, fresh=True)]

    def attach(self, net: nn.Module, problem: Problem) -> nn.Module:
        assert isinstance(net, Network)
        norms = [name for name, module in net.backbone.named_modules() if isinstance(module, _BatchNorm)]
        names = [self.at] if isinstance(self.at, str) else (norms[1:] or norms) if self.at is None else self.at
        if not names:
            raise InputError(f"at: no BatchNorm layer in {type(net.backbone).__name__}; name modules to regularise")
        net.tap(names)
        return net

    def begin(self, nets: Sequence[nn.Module], problem: Problem) -> None:
        if "tau" not in dict(self.named_buffers()):  # else end_stage has set it
            self.register_buffer("tau", torch.ones(problem.num_classes, device=problem.example.device))

    def step(self, nets: Sequence[nn.Module], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch, net = batches["all"], network(nets[0])
        assert isinstance(net, Network)
        with opened(net.taps) as edges:
            output = nets[0](batch.views[0])
        losses = cross_entropy(output.logits, batch.labels)
        loss, seen = (batch.weight * losses).mean(), (Seen(0, output, batch),)
        if clock.stage == 0 or self.weight == 0:
            return Step(loss, seen)
        total = losses.mean() if self.batch_scaled else losses.sum()
        gradients = torch.autograd.grad(total, list(edges.values()), create_graph=True)
        affine = [scale_of(net.backbone.get_submodule(name)) for name in edges]
        norms = jacobian_norm(gradients, affine, self.norm == "sum")
        penalty = (batch.weight * self.get_buffer("tau")[batch.labels] * norms).mean()
        return Step(loss + self.weight * penalty, seen, log={"jacobian": norms.detach().mean()})

    def end_stage(self, nets: Sequence[nn.Module], probe: Probe, clock: Clock) -> None:
        if probe.rest is None:
            return
        wrong = probe.rest(nets[0], lambda output, batch: (output.logits.argmax(1) != batch.labels).float())
        given = torch.cat([probe.labels, probe.rest.labels])
        tau = self.get_buffer("tau")
        tau.copy_(class_strengths(wrong, probe.rest.labels, given.bincount(minlength=len(tau))))


def scale_of(module: nn.Module) -> Tensor | None:
    """The affine scale of a BatchNorm layer: ``dl/dh`` is this times the gradient of what the layer returns."""
    return module.weight if isinstance(module, _BatchNorm) else None
