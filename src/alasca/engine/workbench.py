"""What one stage trains with: networks, data, probes, the update; and all of it as tensors and back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from alasca.core import Batch, Clock, Phase, Stage, Stream, own_tensors, unwrapped
from alasca.data.balance import class_weights
from alasca.data.loader import Loader
from alasca.data.seeds import fold
from alasca.distributed import world
from alasca.engine.device import seed_generators
from alasca.engine.probe import SampleProbe, parts
from alasca.engine.setup import Job
from alasca.engine.state import load_module, load_networks, network_tensors, prefixed, require_fitting, under
from alasca.engine.update import Update
from alasca.stores import Trace
from alasca.surgery import compile_training, recompute_maps, set_arithmetic


class Workbench:
    """One stage, ready to train: ``for batches in bench.batches(phase): bench.update(phase, batches, clock)``.

    Args:
        job: what the run is made of, its data on the device.
        number: of the stage.
        trace: what is told of each sample; None: a new one.
        before: the bench of the stage before, whose networks and optimisers go on unless this stage is fresh.
        best: gives the networks of the best epoch so far, or None.

    Attributes:
        nets: the networks, as methods get them.
        update: one step.
        probe: looks at the epoch's pool; `rest` at what a partial stage leaves out, `holdout` at what is held out.
    """

    def __init__(
        self,
        job: Job,
        number: int = 0,
        trace: Trace | None = None,
        before: Workbench | None = None,
        best: Callable[[Sequence[nn.Module]], Sequence[nn.Module] | None] = lambda nets: None,
    ) -> None:
        self.job, self.number, self.best = job, number, best
        self.device = job.device
        self.trace = Trace(len(job.split.samples)).to(self.device) if trace is None else trace
        self.stages: list[Stage] = job.method.stages(job.recipe.epochs)
        self.stage = self.stages[number]
        pool, rest = parts(job.split, self.stage.part, job.recipe.seed, number)
        self.rest = rest
        self.holdout = None if job.split.held is None else SampleProbe(job.split.samples, job.split.held)
        drawn = job.split.samples.labels.cpu()[pool.draw(number, 0)]  # balanced already where an epoch is a part
        weights = class_weights(drawn, job.split.num_classes, job.recipe.balance)
        self.loader = Loader(
            job.split.samples, pool, job.recipe.batch_size, job.recipe.seed, job.recipe.augment, weights
        )
        self.look(0)
        if before is None or self.stage.fresh:
            self.nets = self._networks()
            self.update = Update(job.method, self.nets, job.recipe, self.trace)
        else:
            self.nets, self.update = before.nets, before.update
        self.train()

    def train(self) -> None:
        """All networks into training mode."""
        for net in self.nets:
            net.train()

    def look(self, epoch: int) -> None:
        """A probe over an epoch's pool."""
        index = self.loader.pool.draw(self.number, epoch)
        self.probe = SampleProbe(self.job.split.samples, index, self.rest, self.holdout, lambda: self.best(self.nets))

    def plan(self, clock: Clock) -> list[Phase]:
        """The phases of an epoch."""
        return self.job.method.plan(self.nets, self.probe, clock)

    def batches(self, phase: Phase, epoch: int = 0, number: int = 0, start: int = 0) -> Iterator[dict[str, Batch]]:
        """Batches of each stream of a phase, from step `start` on; `number` is the phase's in its epoch."""
        return self.loader.batches(phase, (self.number, epoch, number), start)

    def pass_steps(self) -> int:
        """Optimiser steps of one pass over the pool."""
        return -(-self.loader.steps(Phase((), {"all": Stream()})) // self.job.recipe.accumulate)

    def _networks(self) -> list[nn.Module]:
        """Order: attach, device and memory format, begin, DDP; the optimisers come after."""
        job = self.job
        made, problem = job.networks(self.number)
        for net in made:
            net.to(self.device)
            set_arithmetic(net, job.precision, job.place.channels_last and problem.example.dim() == 4)
            if job.place.compile:
                compile_training(net)
            # a processor has memory and no time to spare, and torch.compile does not know this kind of checkpoint
            recompute_maps(net, self.device.type == "cuda" and not job.place.compile)
        job.method.to(self.device)
        seed_generators(self.device, fold(job.recipe.seed, 0, self.number, 0, "begin"))
        job.method.begin(made, replace(problem, example=problem.example.to(self.device)))
        if world()[1] > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")  # for what torch 2.10 lacks
                parallel = [DistributedDataParallel(net, device_ids=ids, broadcast_buffers=False) for net in made]
            for net in parallel:
                settle(net, problem.example.to(self.device))
            return [*parallel]
        return made

    def tensors(self) -> dict[str, Tensor]:
        """Networks, the method's state, the trace, the optimisers' state, by name."""
        return (
            prefixed("net", network_tensors(self.nets))
            | prefixed("method", self.job.method.state_dict())
            | prefixed("trace", self.trace.state_dict())
            | prefixed("optimizer", self.update.optimizers.tensors())
        )

    def load(self, tensors: dict[str, Tensor], best: Mapping[str, Tensor]) -> None:
        """Put everything back, once it is known to fit; `best` are the networks of the best epoch, if any."""
        if best:
            expected = network_tensors(self.nets) | prefixed("method", own_tensors(self.job.method))
            require_fitting(best, expected, "the best epoch")
        require_fitting(under("net", tensors), network_tensors(self.nets), "the networks")
        load_networks(self.nets, under("net", tensors))
        load_module(self.job.method, under("method", tensors), "the method")
        load_module(self.trace, under("trace", tensors), "the trace")
        self.update.optimizers.load(under("optimizer", tensors))


def settle(net: DistributedDataParallel, example: Tensor) -> None:
    """One backward pass that trains nothing.

    DDP cuts gradients into buckets anew after its first one, by the order in which they came, and sums over three or
    more processes round by how they are cut. With this pass they are cut alike from the first step of a run, new or
    resumed.
    """
    inner = unwrapped(net)
    kept = {name: value.clone() for name, value in inner.named_buffers()}
    output = net(example)
    torch.autograd.backward(torch.stack([part.sum() for part in (output.logits, *output.aux)]).sum())
    with torch.no_grad():
        for name, value in inner.named_buffers():
            value.copy_(kept[name])
    net.zero_grad(set_to_none=True)
