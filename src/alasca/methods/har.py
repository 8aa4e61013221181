"""HAR: adaptive regularisation by the Jacobian at the hidden layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from alasca.core import (
    Batch,
    Clock,
    InputError,
    Method,
    Net,
    Output,
    Phase,
    Preset,
    Probe,
    Problem,
    Seen,
    Stage,
    Step,
    unwrapped,
)
from alasca.distributed import world
from alasca.functional import cross_entropy
from alasca.functional.gradients import class_strengths, jacobian_norm
from alasca.surgery import OutputNet, hidden_gradients, opened


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
        at: names of modules; None: all BatchNorm layers but the first, as a stem's is left out in the code.

    Differences from the authors' code: it sums norms of gradients of the mean loss (``norm="sum"``,
    ``batch_scaled=True``; its weight is 0.1 by default and 10 in its README, for a batch of 128). Our
    default is not that of the code: on a ResNet-34 at its start our penalty is 0.29 of theirs.
    """

    presets = (
        Preset("cifar10", {"weight": 10.0, "norm": "sum", "batch_scaled": True}, "authors' README"),
        Preset("cifar100", {"weight": 10.0, "norm": "sum", "batch_scaled": True}, "authors' README"),
        Preset("default", {}, "the authors' weight of 10 at a batch of 128, for gradients that are not scaled"),
    )

    def __init__(
        self, weight: float = 0.1, norm: str = "root", batch_scaled: bool = False, at: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        if not weight >= 0:
            raise ValueError(f"weight: {weight}, expected at least 0")
        if norm not in ("root", "sum"):
            raise ValueError(f"norm: {norm!r}, expected one of root, sum")
        self.weight, self.norm, self.batch_scaled, self.at = weight, norm, batch_scaled, at

    def stages(self, epochs: int) -> list[Stage]:
        return [Stage(epochs, part=0.5), Stage(epochs, fresh=True)]

    def attach(self, net: nn.Module, problem: Problem) -> nn.Module:
        assert isinstance(net, OutputNet)
        layers = [name for name, module in net.backbone.named_modules() if isinstance(module, _BatchNorm)]
        names = [self.at] if isinstance(self.at, str) else (layers[1:] or layers) if self.at is None else self.at
        if not names:
            raise InputError(f"at: no BatchNorm layer in {type(net.backbone).__name__}; name modules to regularise")
        net.tap(names)
        try:
            norms = self.jacobian(net.eval(), problem.example, torch.zeros(len(problem.example)).long())[2]
            torch.autograd.grad(norms.sum(), [w for w in net.parameters() if w.requires_grad], allow_unused=True)
        except (RuntimeError, IndexError) as error:
            raise ValueError(f"at: no second derivative through {', '.join(names)} ({error})") from error
        return net.train()

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        if "tau" not in dict(self.named_buffers()):  # else end_stage has set it
            self.register_buffer("tau", torch.ones(problem.num_classes, device=problem.example.device))

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch = batches["all"]
        if clock.stage == 0 or self.weight == 0:
            output = nets[0](batch.views[0])
            losses = cross_entropy(output.logits, batch.labels)
            return Step((batch.weight * losses).mean(), (Seen(0, output, batch),))
        output, losses, norms = self.jacobian(nets[0], batch.views[0], batch.labels)
        penalty = (batch.weight * self.get_buffer("tau")[batch.labels] * norms).mean()
        loss = (batch.weight * losses).mean() + self.weight * penalty
        return Step(loss, (Seen(0, output, batch),), log={"jacobian": norms.detach().mean()})

    def jacobian(self, outer: Net, inputs: Tensor, labels: Tensor) -> tuple[Output, Tensor, Tensor]:
        """A forward's output, its losses ``[B]`` and its Jacobian norms R ``[B]``."""
        net = unwrapped(outer)
        assert isinstance(net, OutputNet)
        with opened(net.taps) as edges, sdpa_kernel(SDPBackend.MATH):  # the other kernels have no second derivative
            output = outer(inputs)
        losses = cross_entropy(output.logits, labels)
        if not edges:
            raise ValueError(f"at: nothing that {', '.join(net.taps)} returns is trained; name other modules")
        norms = jacobian_norm(*hidden_gradients(net.backbone, edges, losses.sum()), self.norm == "sum")
        if self.batch_scaled:  # a mean's gradient is a sum's, divided: so that half precision does not lose it
            norms = norms / (len(losses) * world()[1])
        return output, losses, norms

    def end_stage(self, nets: Sequence[Net], probe: Probe, clock: Clock) -> None:
        if probe.rest is None:
            return
        wrong = probe.rest(nets[0], lambda output, batch: (output.logits.argmax(1) != batch.labels).float())
        given = torch.cat([probe.labels, probe.rest.labels])
        tau = self.get_buffer("tau")
        tau.copy_(class_strengths(wrong, probe.rest.labels, given.bincount(minlength=len(tau))))
