"""The loop, written once. Read `Trainer.fit` from top to bottom; everything else serves it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from alasca import checkpoint
from alasca.core import Batch, Clock, Method, Phase, Stage, Stream, backbone, network
from alasca.data.loader import Loader
from alasca.data.seeds import fold
from alasca.distributed import any_rank, barrier, broadcast_buffers, sum_over_ranks, world
from alasca.engine.metrics import add_step, means, selection_quality, training_accuracies
from alasca.engine.probe import SampleProbe, held_accuracies, parts
from alasca.engine.progress import Progress
from alasca.engine.settings import PRECISIONS, Training, make_optimizer, resolve_device
from alasca.engine.setup import Data, attach_networks, check_data, seed_generators
from alasca.engine.state import (
    Fitted,
    Position,
    Progressing,
    Trained,
    best_networks,
    load_networks,
    pack,
    timed,
    unpack,
)
from alasca.engine.stopping import Diverged, FiniteWatch, Stopped, StopRequest, stop_on_signals
from alasca.engine.trace import Trace
from alasca.heads import Network
from alasca.runs import RunFolder

CHECK_EVERY = 16
"""Steps between two looks at a device or at other processes, where each look costs."""


class Trainer:
    """One run in memory: ``Trainer(...).fit()``.

    Args:
        method: a fresh method.
        make_network: makes one backbone; called with the default generator seeded, once for each network.
        data: samples.
        training: settings.
        run: where checkpoints and metrics go; None keeps nothing.
        progress: who is told; None: nobody.
        title: of the run, for `progress`.
        stop_after: stop, resumably, after this many steps of this call.
    """

    def __init__(
        self,
        method: Method,
        make_network: Callable[[], nn.Module],
        data: Data,
        training: Training,
        run: RunFolder | None = None,
        progress: Progress | None = None,
        title: str = "",
        stop_after: int | None = None,
    ) -> None:
        self.device = resolve_device(training.device)
        self.method = method
        self.make_network = make_network
        self.data = replace(
            data,
            train=data.train.to(self.device),
            val=None if data.val is None else data.val.to(self.device),
            test=None if data.test is None else data.test.to(self.device),
        )
        self.training = training
        self.run = run
        self.progress = progress or Progress()
        self.title = title
        self.steps_left = stop_after
        check_data(method, data, training)
        if training.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
            torch.use_deterministic_algorithms(True)
        self.trace = Trace(len(data.train)).to(self.device)
        self.state = Progressing()
        self.stages = method.stages(training.epochs)
        self.epochs = sum(stage.epochs for stage in self.stages)
        self.select = training.select or method.select
        self.watch = FiniteWatch(self.device)
        self.saved = time.monotonic()

    def fit(self, resume: bool = False) -> Fitted:
        """All stages, epochs, phases and steps, from wherever the run stands.

        Args:
            resume: go on from the newest whole checkpoint of the run; from the start where it has none yet.

        Raises:
            Stopped: SIGINT, SIGTERM or `stop_after`; a checkpoint was written.
            Diverged: the loss is not finite; the newest checkpoint is from before.
        """
        restored = self._restore() if resume else None
        where = self.state.position
        self.progress.begin(self.title, self.epochs, self._epochs_done(0))
        try:
            with stop_on_signals() as stop:
                while where.stage < len(self.stages):
                    stage = self.stages[where.stage]
                    self._enter(stage, restored)
                    if restored is None:
                        self._save()
                    restored = None
                    while where.epoch < stage.epochs:
                        self._epoch(stage, stop)
                    self.method.end_stage(self.nets, self.probe, self._clock(stage, self._pass_steps()))
                    self.state.position = where = Position(where.stage + 1)
        finally:
            self.progress.end()
        chosen = self.epochs - 1
        if self.select == "noisy-val":
            load_networks(self.nets, self.state.best)
            chosen = self.state.best_epoch
        return Fitted(
            self.method, [network(net) for net in self.nets], self.trace, self.state.history, self.select, chosen
        )

    def _epoch(self, stage: Stage, stop: StopRequest) -> None:
        where, state = self.state.position, self.state
        if self.loader.pool.size is not None:
            self._look()
        if state.phases is None:
            self._seed("plan")
            state.phases = self.method.plan(self.nets, self.probe, self._clock(stage, self._pass_steps()))
        while where.phase < len(state.phases):
            self._phase(stage, state.phases, stop)
            where.phase, where.step = where.phase + 1, 0
        self._end_epoch(stage)
        where.epoch, where.phase, where.step, state.phases = where.epoch + 1, 0, 0, None

    def _phase(self, stage: Stage, phases: list[Phase], stop: StopRequest) -> None:
        """The steps of one phase that are still to do."""
        where, phase = self.state.position, phases[self.state.position.phase]
        steps, each = [self.loader.steps(each) for each in phases], self.training.accumulate
        updates = [-(-count // each) for count in steps]
        clock = self._clock(stage, sum(updates))
        broadcast_buffers(self.nets)
        last = steps[where.phase]
        begun = time.monotonic()
        coming = self.loader.batches(phase, (where.stage, where.epoch, where.phase), where.step)
        for batches in timed(coming, self.state):
            due = (where.step + 1) % each == 0 or where.step + 1 == last
            clock = clock._replace(step=where.optimizer_step)
            factor = self.training.lr_factor(clock, sum(updates[: where.phase]) + where.step // each)
            self._seed("step", where.phase, where.step)
            parts = min(each, last - where.step + where.step % each)
            self._micro_batch(phase, batches, clock, self.training.lr * factor if due else None, parts)
            where.step += 1
            if not due:
                continue
            where.optimizer_step += 1
            self.state.seconds += time.monotonic() - begun
            begun = time.monotonic()
            self.progress.step(self._epochs_done((sum(steps[: where.phase]) + where.step) / sum(steps)))
            self._answer(stop, where.step)
        self._answer(stop, 0)

    def _micro_batch(self, phase: Phase, batches: dict[str, Batch], clock: Clock, lr: float | None, parts: int) -> None:
        """One forward and backward; with a learning rate the optimiser's step too, over `parts` micro-batches."""
        nets = [self.nets[k] for k in phase.train]
        for net in nets:
            if isinstance(net, DistributedDataParallel):
                net.require_backward_grad_sync = lr is not None
        step = self.method.step(self.nets, batches, phase, clock)
        self.watch.see(step.loss)
        if self.device.type == "cpu" and world()[1] == 1:  # a look is free here; elsewhere where one is due anyway
            self._require_finite(networks=False)
        torch.autograd.backward(self.scaler.scale(step.loss / parts))
        add_step(self.state.sums, step, self.device)
        for seen in step.seen:
            self.trace.update(seen.batch.index, seen.output.logits.detach(), seen.batch.labels)
        if lr is None:
            return
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.scaler.unscale_(self.optimizer)
        for net in nets:
            self.method.on_gradients(backbone(net), clock)
            if self.training.clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), self.training.clip)
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.scaler.get_scale() >= before:  # else the step was skipped for a gradient that overflowed
            self.method.on_updated(self.nets, phase, clock)

    def _require_finite(self, networks: bool = True) -> None:
        """All processes stop where a loss of any, or a number in a network, is not finite."""
        found = self.watch.found(self.nets if networks else [])
        if found is None:
            return
        where = self.state.position
        kept = f"; the checkpoint in {self.run.checkpoints} is from before" if self.run else ""
        raise Diverged(
            f"the {found} is not finite at epoch {where.epoch + 1}, step {where.step + 1}: try a lower learning rate "
            f"(now {self.training.lr}) or --clip 5{kept}"
        )

    def _answer(self, stop: StopRequest, step: int) -> None:
        """After an optimiser step: stop where asked, save where it is time."""
        if self.steps_left is not None and step:
            self.steps_left -= 1
        due = self.run is not None and time.monotonic() - self.saved >= self.training.checkpoint_seconds
        asked = bool(stop) or self.steps_left == 0
        if world()[1] > 1:  # all processes save and stop at the same step; to agree on it costs a look
            if step % CHECK_EVERY and self.steps_left != 0:
                return
            due, asked = any_rank(due, self.device), any_rank(asked, self.device)
            self._require_finite(networks=False)
        elif not step:
            due = False
        if due or asked:
            self._save()
        if asked:
            where = self.state.position
            raise Stopped(f"stopped in epoch {where.epoch + 1} after step {where.step}", stop.number)

    def _end_epoch(self, stage: Stage) -> None:
        """Evaluate, write the epoch's line, keep the best networks."""
        self._require_finite()
        state, where = self.state, self.state.position
        broadcast_buffers(self.nets)
        record: dict[str, Any] = {"epoch": self._epochs_before() + where.epoch, "stage": where.stage}
        record |= means(state.sums)
        record |= training_accuracies(self.trace, self.data)
        record |= selection_quality(self.method.selected(), self.probe.index, self.data)
        record |= held_accuracies(self.method, self.nets, self.data, self.device)
        record |= {"seconds": state.seconds, "waited": 100 * state.waited / max(state.seconds, 1e-9)}
        state.sums, state.seconds, state.waited = {}, 0.0, 0.0
        if self.select == "noisy-val" or self.method.uses_best:
            state.keep_best(record, self.nets)
        state.history.append(record)
        if self.run is not None and world()[0] == 0:
            self.run.append_history(record)
        self.progress.epoch(record)

    def _enter(self, stage: Stage, restored: tuple[dict[str, Tensor], dict[str, Any]] | None) -> None:
        """Make what a stage trains with: pool, networks, stores, optimiser; then put a checkpoint's state in."""
        where, training, data = self.state.position, self.training, self.data
        pool, self.rest = parts(data, stage.part, training.seed, where.stage)
        self.holdout = None if data.val is None else SampleProbe(data.val, torch.arange(len(data.val)))
        self.loader = Loader(data.train, pool, training.batch_size, training.seed)
        self._look()
        if where.stage == 0 or stage.fresh or not hasattr(self, "nets"):
            self._make_networks()
            if restored is None:  # what earlier networks reached is no measure for fresh ones
                self.state.best, self.state.best_accuracy, self.state.best_epoch = {}, -1.0, -1
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=training.precision == "fp16")
        if restored is not None:
            tensors, values = restored
            self._trained().load(tensors, values["scaler"])
        for net in self.nets:
            net.train()

    def _look(self) -> None:
        """A probe over the epoch's pool."""
        where = self.state.position
        index = self.loader.pool.draw(where.stage, where.epoch)
        self.probe = SampleProbe(
            self.data.train, index, self.rest, self.holdout, lambda: best_networks(self.nets, self.state.best)
        )

    def _make_networks(self) -> None:
        """Order: attach, device and memory format, begin, DDP, optimiser."""
        where, training = self.state.position, self.training
        made, problem = attach_networks(self.method, self.make_network, self.data, training, self.device, where.stage)
        for net in made:
            net.to(self.device)
            if isinstance(net, Network):
                net.autocast = PRECISIONS[training.precision]
            if training.channels_last and problem.example.dim() == 4:
                net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own signature lacks it
        self.method.to(self.device)
        self._seed("begin")
        self.method.begin(made, replace(problem, example=problem.example.to(self.device)))
        if world()[1] > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            made = [DistributedDataParallel(net, device_ids=ids, broadcast_buffers=False) for net in made]
        self.nets = made
        self.optimizer = make_optimizer([network(net) for net in made], training)

    def _save(self) -> None:
        """Write a checkpoint, once the state is known to be sound."""
        self._require_finite()
        self.saved = time.monotonic()
        if self.run is None:
            return
        kept, own = self.state.sums, {name: sum_over_ranks(value.clone()) for name, value in self.state.sums.items()}
        self.state.sums = own
        tensors, values = pack(self.state)
        self.state.sums = kept
        tensors |= self._trained().tensors()
        values["scaler"] = self.scaler.state_dict()
        if world()[0] == 0:
            checkpoint.save(self.run.checkpoints, tensors, values)
        barrier()

    def _trained(self) -> Trained:
        return Trained(self.nets, self.method, self.trace, self.optimizer, self.scaler)

    def _restore(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Read the newest whole checkpoint; the networks are filled when their stage is entered."""
        if self.run is None:
            raise ValueError("resume needs a run folder")
        if not checkpoint.numbers(self.run.checkpoints):  # killed before the first one
            return None
        tensors, values = checkpoint.load(self.run.checkpoints)
        self.state = unpack(tensors, values, self.device)
        if world()[0] == 0:
            self.run.write_history(self.state.history)
        else:
            self.state.sums = {name: torch.zeros_like(value) for name, value in self.state.sums.items()}
        return tensors, values

    def _seed(self, *place: int | str) -> None:
        """Seed the default generators from where the run stands, so that no random state needs saving.

        Steps differ by process; what is planned or begun must not.
        """
        where, rank = self.state.position, world()[0] if place[0] == "step" else 0
        seed_generators(self.device, fold(self.training.seed, rank, where.stage, where.epoch, *place))

    def _clock(self, stage: Stage, steps_per_epoch: int) -> Clock:
        where = self.state.position
        return Clock(where.stage, where.epoch, stage.epochs, where.optimizer_step, steps_per_epoch)

    def _pass_steps(self) -> int:
        """Optimiser steps of one pass over the pool."""
        return -(-self.loader.steps(Phase((), {"all": Stream()})) // self.training.accumulate)

    def _epochs_before(self) -> int:
        return sum(stage.epochs for stage in self.stages[: self.state.position.stage])

    def _epochs_done(self, share: float) -> float:
        return self._epochs_before() + self.state.position.epoch + share
