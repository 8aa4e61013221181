"""ALASCA: adaptive label smoothing on sub-classifiers, around any other method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from alasca.core import (
    Batch,
    Clock,
    InputError,
    Method,
    Mixed,
    Output,
    Phase,
    Probe,
    Problem,
    Selection,
    Stage,
    Step,
    Stream,
    backbone,
    network,
)
from alasca.criterion import AuxiliaryObjective, Momentum, Ramp, Targets, check_objective
from alasca.distributed import world
from alasca.heads import HEADS, Network, quiet_batchnorm
from alasca.stores import STORES, SampleStore


class Alasca(Method):
    """Any method with sub-classifiers on intermediate layers, smoothed by each sample's own averaged confidence.

    ``loss = method's loss + aux_weight * sum_i CE(q^i, gamma e_y^ + (1 - gamma) / K)``, eq. 3. gamma is the
    confidence of averaged logits in the label y^, which is corrected where main classifier and sub-classifier
    agree. The main classifier keeps the given label and is not smoothed.

    Paper: Ko, Yi and Yun, "ALASCA: Rethinking Label Smoothing for Deep Learning Under Label Noise", ICML workshop
    on Principles of Distribution Shift, 2022.

    Args:
        method: the method that trains the main classifier.
        aux_weight: lambda; multiplies the sum over sub-classifiers.
        momentum: w of the averaged logits, or ``(start, end, epochs)``; 0 is instantaneous.
        temperature: tau, multiplies the averaged logits.
        warmup: first epoch of label correction; None: never.
        off_target: ``"uniform"`` or ``"others"``.
        agreement: ``"deepest"`` or ``"all"``.
        ramp: None, ``("mix", start, end, epochs)`` or ``("cap", start, end, epochs)``.
        confidence_from: ``"main"`` or ``"own"``, whose averaged logits give gamma; a number from 0 to 1: uniform label
            smoothing with that confidence.
        rest: sub-classifiers also learn from samples that the method left out of the epoch.
        on: ``"mixed"`` takes the penalty on a method's mixed forward, ``"plain"`` on an extra one of plain inputs.
        predict: ``"main"`` or ``"average"`` of main classifier and deepest sub-classifier.
        at: names of modules, or None for the end of every stage but the last.
        head: ``"bottleneck"``, ``"pooled"`` or ``"linear"``.
        store: of the averaged logits: ``"float32"``, ``"float16"``, or ``"compact"``, 58 bytes a sample; what a
            smaller one loses is measured on a thousand samples and told at the end.
        store_dir: folder of a file that holds them, mapped into memory; None: in memory.
        smooths: ``"sub"`` classifiers, or ``"main"``: no sub-classifiers, the penalty is the main classifier's, and
            labels are not corrected.

    Differences from the authors' code: eq. 3's uniform part is divided by K, as a distribution must be; the alpha
    schedule of D.1.2 is off (`ramp` and `momentum` offer its readings); one store for each network.
    """

    epoch_options = ("warmup",)

    def __init__(
        self,
        method: Method,
        aux_weight: float = 2.0,
        momentum: Momentum = 0.7,
        temperature: float = 3.0,
        warmup: int | None = 20,
        off_target: str = "uniform",
        agreement: str = "deepest",
        ramp: Ramp = None,
        confidence_from: str | float = "main",
        rest: bool = False,
        on: str = "mixed",
        predict: str = "main",
        at: str | Sequence[str] | None = None,
        head: str = "bottleneck",
        smooths: str = "sub",
        store: str = "float32",
        store_dir: str | None = None,
    ) -> None:
        super().__init__()
        inner = type(method).__name__
        if isinstance(method, Alasca):
            raise InputError("Alasca(Alasca(...)) would attach two sets of sub-classifiers to one network: wrap once")
        if method.owns_branches:
            raise InputError(f"{inner} attaches classifiers of its own to intermediate layers: it can't be wrapped")
        if not aux_weight >= 0:
            raise InputError(f"aux_weight: {aux_weight}, expected at least 0")
        for name, value, known in (
            ("on", on, ("mixed", "plain")), ("smooths", smooths, ("sub", "main")),
            ("predict", predict, ("main", "average")), ("head", head, HEADS), ("store", store, STORES),
        ):  # fmt: skip
            if value not in known:
                raise InputError(f"{name}: {value!r}, expected one of {', '.join(known)}")
        if smooths == "main":
            if predict == "average" or at is not None:
                raise InputError("predict='average' and at need sub-classifiers, and smooths='main' attaches none")
            warmup = None  # a classifier always agrees with itself
        check_objective(momentum, temperature, warmup, off_target, agreement, ramp, confidence_from)
        self.method = method
        self.networks = method.networks
        self.aux_weight = aux_weight
        self.smooths = smooths
        self.rest = rest
        self.on = on
        self.predict_with = predict
        self.at = at
        self.head = head
        self.options = {
            "momentum": momentum, "temperature": temperature, "warmup": warmup, "off_target": off_target,
            "agreement": agreement, "ramp": ramp, "confidence_from": confidence_from, "store": store,
            "store_dir": store_dir,
        }  # fmt: skip
        self.objectives = nn.ModuleList()

    @property
    def select(self) -> str:  # type: ignore[override]  # a class constant of methods, derived here
        return self.method.select

    @property
    def uses_best(self) -> bool:  # type: ignore[override]  # a class constant of methods, derived here
        return self.method.uses_best

    @property
    def mixes(self) -> bool:  # type: ignore[override]  # a class constant of methods, derived here
        return self.method.mixes

    def stages(self, epochs: int) -> list[Stage]:
        return self.method.stages(epochs)

    def attach(self, net: nn.Module, problem: Problem) -> nn.Module:
        net = self.method.attach(net, problem)
        if not isinstance(net, Network):
            raise TypeError(f"{type(self.method).__name__}.attach() must return a Network to be wrapped")
        if self.smooths == "main":
            return net
        net.attach(self.at, problem.example, self.head, problem.seed)
        net.heads_in_eval = self.predict_with == "average"
        return net

    def begin(self, nets: Sequence[nn.Module], problem: Problem) -> None:
        self.method.begin(nets, problem)
        self.objectives = nn.ModuleList(
            AuxiliaryObjective(problem.num_samples, problem.num_classes, len(heads_of(net)) or 1, **self.options)  # type: ignore[arg-type]  # checked in __init__
            for net in nets
        ).to(problem.example.device)

    def plan(self, nets: Sequence[nn.Module], probe: Probe, clock: Clock) -> list[Phase]:
        phases = self.method.plan(nets, probe, clock)
        return [with_rest(phase, probe) for phase in phases] if self.rest else phases

    def step(self, nets: Sequence[nn.Module], batches: Mapping[str, Batch], phase: Phase, clock: Clock) -> Step:
        inner_phase = phase._replace(observe=())
        own = {name: batch for name, batch in batches.items() if name not in phase.observe}
        inner = self.method.step(nets, own, inner_phase, clock)
        losses, gammas = [], []
        for item in inner.seen:
            if item.net not in phase.train:
                output = self._smoothed(item.output).detach()
                self._objective(item.net).observe(output, item.batch.labels, item.batch.index, clock.epoch)
        for k in phase.train:
            loss, gamma = self._penalty(k, nets[k], inner, list(own.values()), clock.epoch)
            for name in phase.observe:
                extra, _ = self._extra(k, nets[k], batches[name], clock.epoch)
                loss = torch.cat([loss, extra])
            losses.append(loss.mean())
            gammas.append(gamma)
        auxiliary = torch.stack(losses).sum()
        log = {**inner.log, "aux_loss": auxiliary.detach(), "confidence": torch.stack(gammas).mean()}
        return Step(inner.loss + self.aux_weight * auxiliary, inner.seen, inner.mixed, log)

    def _penalty(self, k: int, net: nn.Module, inner: Step, batches: list[Batch], epoch: int) -> tuple[Tensor, Tensor]:
        """The auxiliary loss of network k ``[rows]`` and its mean confidence; its store learns on the way."""
        objective = self._objective(k)
        seen = [seen for seen in inner.seen if seen.net == k]
        mixed = [mixed for mixed in inner.mixed if mixed.net == k]
        plain = [(self._smoothed(item.output), item.batch) for item in seen] or [
            (self._smoothed(quiet_forward(net, batch)), batch) for batch in batches
        ]
        for output, batch in plain:
            objective.observe(output.detach(), batch.labels, batch.index, epoch)
        targets = [objective.targets(output, b.labels, b.index, epoch) for output, b in plain]
        confidence = torch.cat([target.confidence for target in targets], -1).mean()
        if mixed and self.on == "mixed" and self.smooths == "sub":
            by_position = self._by_position(targets, plain, batches)
            return torch.cat([self._mixed_loss(objective, item, by_position) for item in mixed]), confidence
        if mixed or not seen:  # the method trains on mixed inputs: take the penalty on plain ones
            forwards = [
                (self._smoothed(plain_forward(net, b)), target) for (_, b), target in zip(plain, targets, strict=True)
            ]
        else:
            forwards = [(output, target) for (output, _), target in zip(plain, targets, strict=True)]
        losses = [objective.loss(self._with_gradient(output), target) for output, target in forwards]
        return torch.cat(losses), confidence

    def _extra(self, k: int, net: nn.Module, batch: Batch, epoch: int) -> tuple[Tensor, Targets]:
        """A forward with gradient that only the sub-classifiers learn from."""
        objective, output = self._objective(k), self._smoothed(plain_forward(net, batch))
        objective.observe(output.detach(), batch.labels, batch.index, epoch)
        targets = objective.targets(output, batch.labels, batch.index, epoch)
        return objective.loss(self._with_gradient(output), targets), targets

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

    def _mixed_loss(self, objective: AuxiliaryObjective, item: Mixed, targets: Targets) -> Tensor:
        """``lam CE(q, s_first) + (1 - lam) CE(q, s_second)``, s being each picture's own smoothed target."""
        aux = self._with_gradient(Output(item.lam, aux=item.aux))
        first, second = (objective.loss(aux, targets.take(rows)) for rows in (item.first, item.second))
        return torch.lerp(second, first, item.lam.to(first.dtype))

    def _with_gradient(self, output: Output) -> tuple[Tensor, ...]:
        """The sub-classifiers' logits; a penalty that trains nothing must not pass silently."""
        if not output.aux or not all(logits.requires_grad for logits in output.aux):
            raise RuntimeError(
                f"{type(self.method).__name__} gave sub-classifiers' logits without gradient: "
                "a Seen of a trained network must hold the output of its training forward"
            )
        return output.aux

    @property
    def temperature(self) -> float:
        """tau."""
        return float(self.options["temperature"])  # type: ignore[arg-type]  # checked in __init__

    def stores(self) -> list[SampleStore]:
        """The averaged logits of every network."""
        return [store for k in range(len(self.objectives)) for store in self._objective(k).all_stores()]

    def store_errors(self, labels: Tensor) -> Tensor | None:
        """How far confidences in the labels ``[N]`` are from those of float32 stores; None where they are such."""
        found = [self._objective(k).errors(labels) for k in range(len(self.objectives))]
        return torch.cat([errors for errors in found if errors is not None]) if found[0] is not None else None

    def _objective(self, k: int) -> AuxiliaryObjective:
        objective = self.objectives[k]
        assert isinstance(objective, AuxiliaryObjective)
        return objective

    def on_gradients(self, backbone: nn.Module, clock: Clock) -> None:
        self.method.on_gradients(backbone, clock)

    def on_updated(self, nets: Sequence[nn.Module], phase: Phase, clock: Clock) -> None:
        self.method.on_updated(nets, phase, clock)

    def selected(self) -> Selection | None:
        return self.method.selected()

    def end_stage(self, nets: Sequence[nn.Module], probe: Probe, clock: Clock) -> None:
        self.method.end_stage(nets, probe, clock)

    def predict(self, nets: Sequence[nn.Module], inputs: Tensor) -> Tensor:
        if self.predict_with == "main":
            return self.method.predict(nets, inputs)
        outputs = [net(inputs) for net in nets]
        return torch.stack([(output.logits + output.aux[-1]) / 2 for output in outputs]).mean(0)


def heads_of(net: nn.Module) -> nn.ModuleList:
    """The sub-classifiers of a network, through DDP and compile."""
    inner = network(net)
    assert isinstance(inner, Network)
    return inner.branches


def quiet_forward(net: nn.Module, batch: Batch) -> Output:
    """A forward in training mode without gradient that leaves BatchNorm's buffers and the random state alone."""
    rows = batch.views[0]
    with torch.no_grad(), quiet_batchnorm(net), torch.random.fork_rng(devices=[rows.device] if rows.is_cuda else []):
        output: Output = net(rows)
    return output


def plain_forward(net: nn.Module, batch: Batch) -> Output:
    """A forward of plain inputs for the sub-classifiers alone: the backbone's BatchNorm buffers stay the method's."""
    with quiet_batchnorm(backbone(net)):
        output: Output = net(batch.views[0])
    return output


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
