"""ONE: branches that share a trunk, and their gated ensemble as teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from alasca.core import Batch, Clock, Method, Net, Output, Phase, Preset, Problem, Seen, Step
from alasca.distributed import broadcast_buffers
from alasca.functional import cross_entropy, distillation
from alasca.functional.checks import check_above
from alasca.surgery import OutputNet


class Gate(nn.Module):
    """How much each branch counts: ``softmax(ReLU(BN(FC(pooled trunk))))``, ``[B, m]``."""

    def __init__(self, width: int, branches: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.layers = nn.Sequential(nn.Linear(width, branches), nn.BatchNorm1d(branches), nn.ReLU())

    def forward(self, feature: Tensor) -> Tensor:
        """From ``[B, D]``."""
        return self.layers(feature).softmax(1)  # type: ignore[no-any-return]  # a Sequential's result has no type


class OnTheFlyNativeEnsemble(Method):
    """On-the-fly native ensemble: branches after a shared trunk learn from their gated ensemble.

    ``sum_b CE(z_b) + CE(z_e) + w T^2 sum_b KL(z_e || z_b; T)``, the teacher without gradient. The last stage and the
    classifier are replicated; the network itself is the first branch and predicts alone.

    Paper: Lan, Zhu and Gong, "Knowledge Distillation by On-the-Fly Native Ensemble", NeurIPS 2018.

    Args:
        branches: m, at least 2.
        temperature: T, above 0.
        ramp: w rises as ``exp(-5 (1 - epoch / ramp)^2)`` for so many epochs; 0: w is 1, as in the paper.
        predict: ``"main"``, one branch, or ``"ensemble"``, z_e (ONE-E).
        at: name of the module where the trunk ends; None: the end of the last stage but one.

    Differences from the authors' code: it ramps w over 80 epochs (``ramp=80``) and adds 1e-7 to the teacher; the
    divergence is a mean over samples, not over elements.
    """

    owns_branches = True
    epoch_options = ("ramp",)
    presets = (
        Preset("cifar10", {"ramp": 80}, "authors' code"),
        Preset("cifar100", {"ramp": 80}, "authors' code"),
        Preset("default", {}, "Lan et al. (2018), section 3"),
    )

    def __init__(
        self, branches: int = 3, temperature: float = 3.0, ramp: int = 0, predict: str = "main", at: str | None = None
    ) -> None:
        super().__init__()
        if branches < 2:
            raise ValueError(f"branches: {branches}, expected at least 2")
        check_above("temperature", temperature, 0.0)
        if at is not None and not (isinstance(at, str) and at):
            raise ValueError(f"at: {at!r}, expected the name of one module")
        if ramp < 0:
            raise ValueError(f"ramp: {ramp}, expected at least 0")
        if predict not in ("main", "ensemble"):
            raise ValueError(f"predict: {predict!r}, expected one of main, ensemble")
        self.branches, self.temperature, self.ramp, self.predict, self.at = branches, temperature, ramp, predict, at

    def attach(self, net: nn.Module, problem: Problem) -> nn.Module:
        assert isinstance(net, OutputNet)
        visit = net.replicate(self.at, self.branches - 1, problem.example, problem.seed)
        net.show(visit)
        self.width = visit.shape[0] if len(visit.shape) == 3 else visit.shape[-1]
        return net

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        self.gate = Gate(self.width, self.branches, problem.seed).to(problem.example.device)

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        batch = batches["all"]
        output = nets[0](batch.views[0])
        logits = torch.stack([output.logits, *output.aux])
        ensemble = self.ensemble(logits, self.gate(output.shown[0]))
        losses = cross_entropy(ensemble, batch.labels)
        factor = self.weight(clock) * self.temperature**2
        for own in logits:
            losses = losses + cross_entropy(own, batch.labels) + factor * distillation(own, ensemble, self.temperature)
        return Step((batch.weight * losses).mean(), (Seen(0, output, batch),))

    def on_updated(self, nets: Sequence[Net], phase: Phase, clock: Clock) -> None:
        broadcast_buffers([self.gate])  # each process has seen samples of its own

    def ensemble(self, logits: Tensor, gates: Tensor) -> Tensor:
        """``z_e = sum_b g_b z_b`` from ``[m, B, K]`` and ``[B, m]``."""
        return torch.einsum("mbk,bm->bk", logits, gates.to(logits.dtype))

    def weight(self, clock: Clock) -> float:
        """w at an epoch."""
        return math.exp(-5 * (1 - min(clock.epoch / self.ramp, 1.0)) ** 2) if self.ramp else 1.0

    @property
    def prediction(self) -> str:  # type: ignore[override]  # a constant of methods, an option here
        return self.predict

    def predictions(self, outputs: Sequence[Output]) -> dict[str, Tensor]:
        (output,) = outputs
        ensemble = self.ensemble(torch.stack([output.logits, *output.aux]), self.gate(output.shown[0]))
        return {**super().predictions(outputs), "ensemble": ensemble.log_softmax(1)}
