"""One step of one phase: draws, forward, backward, the method's hooks, the optimisers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from alasca.core import Batch, Clock, Method, Phase, Step, backbone
from alasca.data.loader import moved
from alasca.distributed import world
from alasca.engine.metrics import add_step
from alasca.engine.optimizers import Optimizers
from alasca.engine.stopping import FiniteWatch
from alasca.recipe import Recipe
from alasca.stores import Trace
from alasca.surgery import with_plain_forwards


class Update:
    """``update(phase, batches, clock, factor)``: one micro-batch, and with it the optimisers' step where one is due.

    Args:
        method: what trains.
        nets: its networks.
        recipe: how to train.
        trace: what is told of each sample.

    Attributes:
        optimizers, scaler: what steps.
        sums: of losses and logs over the epoch.
        watch: whether all losses were finite.
    """

    def __init__(self, method: Method, nets: Sequence[nn.Module], recipe: Recipe, trace: Trace) -> None:
        self.method, self.nets, self.recipe, self.trace = method, nets, recipe, trace
        self.device = trace.visits.device
        self.optimizers = Optimizers(nets, method, recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self.sums: dict[str, Tensor] = {}
        self.watch = FiniteWatch(self.device)

    def __call__(
        self, phase: Phase, batches: Mapping[str, Batch], clock: Clock, factor: float | None = 1.0, parts: int = 1
    ) -> Step:
        """One forward and backward; then the optimisers' step, unless more micro-batches of it follow.

        Args:
            phase: what the batches belong to.
            batches: of each stream.
            clock: where training stands.
            factor: of the learning rate; None: more micro-batches follow.
            parts: micro-batches of the step.
        """
        drawn = self.ready(phase, clock, factor)
        return self.run(phase, batches, clock._replace(draws=drawn), factor is not None, parts)

    def ready(self, phase: Phase, clock: Clock, factor: float | None) -> dict[str, Tensor]:
        """The host's part of a step: set the learning rate, draw what is drawn on the CPU."""
        if factor is not None:
            self.optimizers.set_lr(factor)
        return {name: moved(value, self.device) for name, value in self.method.draws(phase, clock).items()}

    def run(self, phase: Phase, batches: Mapping[str, Batch], clock: Clock, due: bool = True, parts: int = 1) -> Step:
        """The device's part: nothing in it depends on a number that changes within a phase and is no tensor."""
        trained = [self.nets[k] for k in phase.train]
        for net in trained:
            if isinstance(net, DistributedDataParallel):
                net.require_backward_grad_sync = due
        step = self.method.step(self.nets, batches, phase, clock)
        self.watch.see(step.loss)
        torch.autograd.backward(self.scaler.scale(step.loss / parts))
        self._note(step, phase, batches)
        if due:
            self._step(trained, phase, clock)
        return step

    def _note(self, step: Step, phase: Phase, batches: Mapping[str, Batch]) -> None:
        """Sum up, and trace what was seen of each sample; whoever was not looked at plainly is, with the last draw."""
        add_step(self.sums, step, self.device)
        for seen in with_plain_forwards(step, self.nets, phase, batches, partners=False).seen:
            self.trace.update(seen.batch.index, seen.output, seen.batch.labels)

    def _step(self, trained: Sequence[nn.Module], phase: Phase, clock: Clock) -> None:
        self.optimizers.average_shared()  # before unscaling: an overflow on one process is then seen by all
        self.optimizers.unscale(self.scaler)
        for net in trained:
            self.method.on_gradients(backbone(net), clock)
            if self.recipe.clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), self.recipe.clip)
        before = self.scaler.get_scale()
        self.optimizers.step(self.scaler)
        self.scaler.update()
        self.optimizers.zero_grad()
        if self.scaler.get_scale() >= before:  # else the step was skipped for a gradient that overflowed
            self.method.on_updated(self.nets, phase, clock)

    @property
    def sees_at_once(self) -> bool:
        """Whether a look at a loss is free, so that each step can be looked at before the next one."""
        return self.device.type == "cpu" and world()[1] == 1
