"""ALASCA: adaptive label smoothing on sub-classifiers, around any other method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from alasca.core import (
    Batch,
    Clock,
    Method,
    MethodWrapper,
    Mixed,
    Net,
    Output,
    Phase,
    Probe,
    Problem,
    Seen,
    Step,
    Stream,
    unwrapped,
)
from alasca.distributed import world
from alasca.errors import InputError
from alasca.functional.ensembles import log_mean_softmax
from alasca.methods.alasca.objective import AuxiliaryObjective, Smoothing, Targets, takes
from alasca.surgery import HEADS, OutputNet, plain_forward, with_plain_forwards

PREDICTIONS = ("main", "average", "all", "sub")


@takes(Smoothing)
class Alasca(MethodWrapper):
    """Any method with sub-classifiers on intermediate layers, smoothed by each sample's own averaged confidence.

    ``loss = method's loss + aux_weight * sum_i CE(q^i, gamma e_y^ + (1 - gamma) / K)``, eq. 3. gamma is the
    confidence of averaged logits in the label y^, which is corrected where main classifier and sub-classifier
    agree. The main classifier keeps the given label and is not smoothed.

    Paper: Ko, Yi and Yun, "ALASCA: Rethinking Label Smoothing for Deep Learning Under Label Noise", ICML workshop
    on Principles of Distribution Shift, 2022.

    Args:
        method: the method that trains the main classifier.
        aux_weight: lambda; multiplies the sum over sub-classifiers.
        rest: sub-classifiers also learn from samples that the method left out of the epoch.
        on: ``"mixed"`` takes the penalty on a method's mixed forward, ``"plain"`` on an extra one of plain inputs.
        predict: by the mean probability of the ``"main"`` classifier (the paper's text), the ``"average"`` of main
            classifier and deepest sub-classifier (the authors' released code), ``"all"`` classifiers, or the
            ``"sub"``-classifiers; None: all, and the main one where it has no sub-classifiers.
        at: names of modules, or None for the end of every stage but the last.
        head: ``"bottleneck"``, ``"pooled"`` or ``"linear"``.
        smooths: ``"sub"`` classifiers, or ``"main"``: no sub-classifiers, the penalty is the main classifier's, and
            labels are not corrected.
        **options: see `Smoothing`.

    Differences from the authors' code: eq. 3's uniform part is divided by K, as a distribution must be; the alpha
    schedule of D.1.2 is off (`ramp` and `momentum` offer its readings); one store for each network; correction begins
    in epoch `warmup`, 20, as the paper says (their code: after it, ``epoch > 20``).
    """

    epoch_options = ("warmup",)

    def __init__(
        self,
        method: Method,
        aux_weight: float = 2.0,
        rest: bool = False,
        on: str = "mixed",
        predict: str | None = None,
        at: str | Sequence[str] | None = None,
        head: str = "bottleneck",
        smooths: str = "sub",
        **options: Any,
    ) -> None:
        super().__init__(method)
        inner = type(method).__name__
        if isinstance(method, Alasca):
            raise InputError("Alasca(Alasca(...)) would attach two sets of sub-classifiers to one network: wrap once")
        if method.owns_branches:
            raise InputError(f"{inner} attaches classifiers of its own to intermediate layers: it can't be wrapped")
        if not aux_weight >= 0:
            raise InputError(f"aux_weight: {aux_weight}, expected at least 0")
        for name, value, known in (
            ("on", on, ("mixed", "plain")), ("smooths", smooths, ("sub", "main")),
            ("predict", predict, (None, *PREDICTIONS)), ("head", head, HEADS),
        ):  # fmt: skip
            if value not in known:
                raise InputError(f"{name}: {value!r}, expected one of {', '.join(filter(None, known))}")
        smoothing = Smoothing(**options)
        if smooths == "main":
            if predict not in (None, "main") or at is not None:
                raise InputError(f"predict={predict!r} and at need sub-classifiers, and smooths='main' attaches none")
            smoothing = replace(smoothing, warmup=None)  # a classifier always agrees with itself
        self.aux_weight, self.rest, self.on, self.smooths = aux_weight, rest, on, smooths
        self.predict = predict or ("main" if smooths == "main" else "all")
        self.at, self.head, self.smoothing = at, head, smoothing
        self.objectives = nn.ModuleList()

    def attach(self, network: nn.Module, problem: Problem) -> nn.Module:
        net = self.method.attach(network, problem)
        if not isinstance(net, OutputNet):
            raise TypeError(f"{type(self.method).__name__}.attach() must return an OutputNet to be wrapped")
        if self.smooths == "sub":
            net.attach(self.at, problem.example, self.head, problem.seed)
        return net

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        self.method.begin(nets, problem)
        size = problem.num_samples, problem.num_classes
        self.objectives = nn.ModuleList(
            AuxiliaryObjective(*size, len(heads_of(net)) or 1, self.smoothing) for net in nets
        ).to(problem.example.device)

    def plan(self, nets: Sequence[Net], probe: Probe, clock: Clock) -> list[Phase]:
        phases = self.method.plan(nets, probe, clock)
        return [with_rest(phase, probe) for phase in phases] if self.rest else phases

    def step(self, nets: Sequence[Net], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        own = {name: batch for name, batch in batches.items() if name not in phase.observe}
        inner = self.method.step(nets, own, phase._replace(observe=()), clock)
        shown = {seen.net for seen in inner.seen}  # networks that the method itself showed on plain samples
        on_mixed = {mixed.net for mixed in inner.mixed} if self.on == "mixed" and self.smooths == "sub" else set()
        inner = with_plain_forwards(inner, nets, phase, own, trained=set(phase.train) - on_mixed)
        losses, gammas, extras = [], [], []
        for item in inner.seen:
            if item.net not in phase.train:
                self._observe(item.net, item.output, item.batch, clock.epoch)
        for k in phase.train:
            loss, gamma = self._penalty(k, nets[k], inner, list(own.values()), clock.epoch, k in shown)
            for name in phase.observe:
                output = plain_forward(nets[k], batches[name])
                loss = torch.cat([loss, self._loss(k, output, self._observe(k, output, batches[name], clock.epoch))])
                extras.append(Seen(k, output.detach(), batches[name]))
            losses.append(loss.mean())
            gammas.append(gamma)
        auxiliary = torch.stack(losses).sum()
        log = {**inner.log, "aux_loss": auxiliary.detach(), "confidence": torch.stack(gammas).mean()}
        return Step(inner.loss + self.aux_weight * auxiliary, (*inner.seen, *extras), inner.mixed, log)

    def _penalty(
        self, k: int, net: Net, inner: Step, batches: list[Batch], epoch: int, shown: bool
    ) -> tuple[Tensor, Tensor]:
        """The auxiliary loss of network k ``[rows]`` and its mean confidence; its store learns on the way."""
        plain = [(seen.output, seen.batch) for seen in inner.seen if seen.net == k]
        mixed = [mixed for mixed in inner.mixed if mixed.net == k]
        for output, batch in plain:
            self._learn(k, output, batch, epoch)
        targets = [self._targets(k, output, batch, epoch) for output, batch in plain]
        confidence = torch.cat([target.confidence for target in targets], -1).mean()
        if mixed and self.on == "mixed" and self.smooths == "sub":
            by_position = self._by_position(targets, plain, batches)
            return torch.cat([self._mixed_loss(k, item, by_position) for item in mixed]), confidence
        if mixed and shown:  # it trains on mixed inputs, and what it showed has no gradient
            plain = [(plain_forward(net, batch), batch) for _, batch in plain]
        losses = [self._loss(k, output, target) for (output, _), target in zip(plain, targets, strict=True)]
        return torch.cat(losses), confidence

    def _observe(self, k: int, output: Output, batch: Batch, epoch: int) -> Targets:
        """Let a store learn from an output, then read its targets."""
        self._learn(k, output, batch, epoch)
        return self._targets(k, output, batch, epoch)

    def _learn(self, k: int, output: Output, batch: Batch, epoch: int) -> None:
        seen = self._smoothed(output).detach()
        self._objective(k).observe(seen, batch.labels, batch.index, epoch, batch.distinct)

    def _targets(self, k: int, output: Output, batch: Batch, epoch: int) -> Targets:
        return self._objective(k).targets(self._smoothed(output), batch.labels, batch.index, epoch)

    def _loss(self, k: int, output: Output, targets: Targets) -> Tensor:
        """The penalty on one output ``[B]``."""
        return self._objective(k).loss(self._with_gradient(self._smoothed(output).aux), targets)

    def _mixed_loss(self, k: int, item: Mixed, targets: Targets) -> Tensor:
        """``lam CE(q, s_first) + (1 - lam) CE(q, s_second)``, s being each picture's own smoothed target."""
        aux = self._with_gradient(item.aux)
        first, second = (self._objective(k).loss(aux, targets.take(rows)) for rows in (item.first, item.second))
        return torch.lerp(second, first, item.lam.to(first.dtype))

    def _smoothed(self, output: Output) -> Output:
        """The output with the classifiers that the penalty is for as `aux`."""
        return output if self.smooths == "sub" else output._replace(aux=(output.logits,))

    def _by_position(self, targets: list[Targets], plain: list[tuple[Output, Batch]], batches: list[Batch]) -> Targets:
        """Targets in the order that `Mixed` counts: the step's batches, concatenated in stream order."""
        order = [next((j for j, (_, seen) in enumerate(plain) if seen is batch), None) for batch in batches]
        if None in order:
            raise RuntimeError(f"{type(self.method).__name__} mixes a batch that it did not report as Seen")
        chosen = [targets[j] for j in order if j is not None]
        return Targets(torch.cat([t.labels for t in chosen]), torch.cat([t.confidence for t in chosen], -1))

    def _with_gradient(self, aux: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The sub-classifiers' logits; a penalty that trains nothing must not pass silently."""
        if not aux or not all(logits.requires_grad for logits in aux):
            raise RuntimeError(
                f"{type(self.method).__name__} gave sub-classifiers' logits without gradient: "
                "a Seen of a trained network must hold the output of its training forward"
            )
        return aux

    def _objective(self, k: int) -> AuxiliaryObjective:
        objective = self.objectives[k]
        assert isinstance(objective, AuxiliaryObjective)
        return objective

    def columns(self, labels: Tensor) -> dict[str, Tensor]:
        found = [self._objective(k).confidence(labels) for k in range(len(self.objectives))]
        return {"ema_confidence": torch.stack(found).mean(0), **self.method.columns(labels)}

    def figures(self, labels: Tensor) -> dict[str, float]:
        errors = torch.cat([self._objective(k).errors(labels) for k in range(len(self.objectives))])
        told = self.method.figures(labels)
        if not len(errors):
            return told
        return told | {"store_error_mean": float(errors.mean()), "store_error_p99": float(errors.quantile(0.99))}

    @property
    def prediction(self) -> str:  # type: ignore[override]  # a constant of methods, an option here
        return self.predict

    def predictions(self, outputs: Sequence[Output]) -> dict[str, Tensor]:
        found = self.method.predictions(outputs)
        if self.smooths == "main":
            return found
        mains, subs = [output.logits for output in outputs], [q for output in outputs for q in output.aux]
        return found | {
            "average": log_mean_softmax([*mains, *(output.aux[-1] for output in outputs)]),
            "all": log_mean_softmax([*mains, *subs]),
            "sub": log_mean_softmax(subs),
        }


def heads_of(net: Net) -> nn.ModuleList:
    """The sub-classifiers of a network, through DDP and compile."""
    inner = unwrapped(net)
    assert isinstance(inner, OutputNet)
    return inner.branches


def with_rest(phase: Phase, probe: Probe) -> Phase:
    """The same phase with one more stream, which only sub-classifiers see: what its streams leave out."""
    indices = [stream.index for stream in phase.streams.values() if stream.follows is None]
    if any(index is None for index in indices):
        return phase
    used = torch.cat([index for index in indices if index is not None])
    left = probe.index[~torch.isin(probe.index, used.to(probe.index.device))]
    if len(left) < 2 * world()[1]:  # BatchNorm needs two rows in every process
        return phase
    return phase._replace(streams={**phase.streams, "rest": Stream(left)}, observe=(*phase.observe, "rest"))
