"""ELR+: ELR with two networks, mixup and averaged weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from alasca.core import Batch, Clock, Method, Mixed, Net, Phase, Preset, Probe, Problem, Step, Stream, backbone
from alasca.functional import elr_regularizer, soft_cross_entropy
from alasca.functional.targets import mix, mixing_weight, one_hot
from alasca.stores import SampleStore
from alasca.surgery import EmaWeights

SOURCE = "authors' configuration"


class EarlyLearningPlus(Method):
    """ELR+: two networks with mixup; each one's memory averages predictions of the *other's* averaged weights.

    ``CE(mixed) + ramp * lam * log(1 - <q, p>)``, q being the same mixture of two samples' memories.

    Paper: Liu et al., "Early-Learning Regularization Prevents Memorization of Noisy Labels", NeurIPS 2020.

    Args:
        lam: lambda, at least 0.
        beta: momentum of the memories, from 0 to below 1.
        alpha: of mixup's Beta(alpha, alpha), at least 0.01.
        decay: final momentum of the averaged weights, from 0 to below 1.
        averaging: ``"ramped"``: the momentum rises as ``exp(-5 (1 - s)^2)`` over `decay_steps`, as for CIFAR; or
            ``"counted"``: ``min(1 - 1 / (step + 1), decay)``, as for Clothing1M.
        decay_steps: steps of a network in which it rises; None: half of its run (40,000 of 78,000 in the code).
        ramp_steps: steps in which lambda rises; 0: at once.
        reweight: multiply mixed targets by q, as for CIFAR-100.

    Differences from the authors' code: averaged networks start as copies, not as random initialisations of their own;
    they normalise by the batch that they see, as in the code; the prediction is the mean over both trained
    networks.
    """

    networks = 2
    mixes = True
    presets = (
        Preset("cifar10", {"lam": 3.0, "beta": 0.7}, SOURCE),
        Preset("cifar10-asymmetric", {"lam": 1.0, "beta": 0.9}, SOURCE),
        Preset("cifar100", {"lam": 7.0, "beta": 0.9, "ramp_steps": 40000, "reweight": True}, SOURCE),
        Preset("clothing1m", {"lam": 3.0, "beta": 0.7, "decay": 0.9999, "averaging": "counted"}, SOURCE),
        Preset("default", {}, "the CIFAR-10 values"),
    )

    def __init__(
        self,
        lam: float = 3.0,
        beta: float = 0.7,
        alpha: float = 1.0,
        decay: float = 0.997,
        averaging: str = "ramped",
        decay_steps: int | None = None,
        ramp_steps: int = 0,
        reweight: bool = False,
    ) -> None:
        super().__init__()
        for name, value, least in (("lam", lam, 0), ("alpha", alpha, 0.01), ("ramp_steps", ramp_steps, 0)):
            if not value >= least:
                raise ValueError(f"{name}: {value}, expected at least {least}")
        for name, value in (("beta", beta), ("decay", decay)):
            if not 0 <= value < 1:
                raise ValueError(f"{name}: {value}, expected at least 0 and below 1")
        if decay_steps is not None and decay_steps < 1:
            raise ValueError(f"decay_steps: {decay_steps}, expected at least 1, or none")
        if averaging not in ("ramped", "counted"):
            raise ValueError(f"averaging: {averaging!r}, expected one of ramped, counted")
        self.lam, self.beta, self.alpha, self.decay, self.averaging = lam, beta, alpha, decay, averaging
        self.decay_steps, self.ramp_steps, self.reweight = decay_steps, ramp_steps, reweight

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        device = problem.example.device
        self.memories = nn.ModuleList(SampleStore(problem.num_samples, problem.num_classes) for _ in nets).to(device)
        self.averages = nn.ModuleList(EmaWeights(net) for net in nets)

    def plan(self, nets: Sequence[Net], probe: Probe, clock: Clock) -> list[Phase]:
        return [Phase((k,), {"all": Stream(draw=k)}) for k in (0, 1)]

    def draws(self, phase: Phase, clock: Clock) -> dict[str, Tensor]:
        return {"lam": mixing_weight(self.alpha, self.alpha, upper=True)}

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        (k,), batch = phase.train, batches["all"]
        x, memory, own, peer = batch.views[0], self.memories[k], self.averages[k], self.averages[1 - k]
        assert isinstance(memory, SampleStore)
        assert isinstance(own, EmaWeights)
        memory.update(batch.index, peer(x).softmax(1), self.beta, distinct=batch.distinct)
        lam = clock.draws["lam"]
        order = torch.randperm(len(x), device=x.device)
        output = nets[k](mix(x, order, lam))
        t = memory.read(batch.index)
        target = mix(t, order, lam)
        wanted = mix(one_hot(batch.labels, t), order, lam)
        if self.reweight:
            wanted = reweighted(wanted, target)
        logits = output.logits
        losses = soft_cross_entropy(logits, wanted.to(logits.dtype))
        losses = losses + self.ramp(own.updates) * self.lam * elr_regularizer(logits, target.to(logits.dtype))
        rows = torch.arange(len(x), device=x.device)
        mixed = Mixed(k, output.aux, rows, order, lam.expand(len(x)))
        return Step((batch.weight * losses).mean(), mixed=(mixed,))

    def on_updated(self, nets: Sequence[Net], phase: Phase, clock: Clock) -> None:
        (k,) = phase.train
        average = self.averages[k]
        assert isinstance(average, EmaWeights)
        average.update(backbone(nets[k]), self.momentum(average.updates, clock))

    def momentum(self, done: Tensor, clock: Clock) -> Tensor:
        """Of the averaged weights after so many updates."""
        if self.averaging == "counted":
            return (1 - 1 / (done + 2)).clamp(max=self.decay)
        steps = self.decay_steps or max(1, clock.epochs * clock.steps_per_epoch // 4)
        return self.decay * rising((done + 2) / steps)

    def ramp(self, done: Tensor) -> Tensor:
        """rho: what lambda is multiplied by after so many steps."""
        return rising((done + 1) / self.ramp_steps) if self.ramp_steps else torch.ones_like(done)


def rising(share: Tensor) -> Tensor:
    """``exp(-5 (1 - share)^2)``, 1 from share 1 on."""
    return (-5 * (1 - share.clamp(max=1)).square()).exp()


def reweighted(target: Tensor, memory: Tensor) -> Tensor:
    """``y q / sum(y q)``; the target itself where the memory is still empty."""
    product = target * memory
    total = product.sum(1, keepdim=True)
    return torch.where(total > 1e-12, product / total.clamp(min=1e-12), target)
