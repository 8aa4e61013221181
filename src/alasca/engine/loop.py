"""The loop, written once. Read `Trainer.fit` from top to bottom; everything else serves it."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from alasca.core import Clock, Phase, Stage, unwrapped
from alasca.data.seeds import fold
from alasca.distributed import any_rank, barrier, broadcast_buffers, sum_over_ranks, world
from alasca.engine.capture import Stepper, obstacle
from alasca.engine.device import arithmetic, seed_generators
from alasca.engine.graphs import CudaGraph, Graph
from alasca.engine.looks import Looks, due
from alasca.engine.metrics import finite, held_accuracies, means, selection_quality, training_accuracies
from alasca.engine.probe import see_the_unseen
from alasca.engine.progress import Progress
from alasca.engine.restored import check_place, check_values
from alasca.engine.schedule import lr_factor
from alasca.engine.setup import Job
from alasca.engine.state import Fitted, LoopState, Position, best_networks, load_networks, pack, timed, under, unpack
from alasca.engine.stopping import Diverged, Stopped, StopRequest, stop_on_signals
from alasca.engine.workbench import Workbench
from alasca.runs import RunFolder
from alasca.stores import Trace

log = logging.getLogger("alasca")
CHECK_EVERY = 16
"""Steps between two looks at a device or at other processes, where each look costs."""


class Trainer:
    """One run in memory: ``Trainer(job).fit()``.

    Args:
        job: what the run is made of.
        run: where checkpoints and metrics go; None keeps nothing.
        progress: who is told; None: nobody.
        stop_after: stop, resumably, after this many steps of this call.
        graph: what steps are recorded in, where they can be.

    Attributes:
        bench: what the stage in progress trains with.
        stepper: how its steps are carried out.
        notes: what a person was told on the way.
        trace: what is told of each sample.
        looks: looks at some samples again and again, where that is asked for.
        state: where the run stands.
    """

    bench: Workbench
    stepper: Stepper
    looks: Looks | None = None

    def __init__(
        self, job: Job, run: RunFolder | None = None, progress: Progress | None = None, stop_after: int | None = None,
        graph: type[Graph] = CudaGraph,
    ) -> None:  # fmt: skip
        job.check()
        self.job = replace(job, split=job.split.to(job.device))
        self.run, self.progress, self.steps_left = run, progress or Progress(), stop_after
        self.graph = graph if obstacle(job, graph) is None else None
        self.trace = Trace(len(job.split.samples)).to(job.device)
        self.state = LoopState()
        self.notes: list[str] = []
        self.stages = job.method.stages(job.recipe.epochs)
        self.epochs = sum(stage.epochs for stage in self.stages)
        self.stop = StopRequest()
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
        where, method = self.state.position, self.job.method
        self.progress.begin(self.job.recipe.title, self.epochs, self._epochs_done(0))
        try:
            with (
                stop_on_signals(self.progress.stopping) as self.stop,
                arithmetic(self.job.device, self.job.precision, self.job.place.deterministic),
            ):
                while where.stage < len(self.stages):
                    stage = self.stages[where.stage]
                    self.enter(where.stage, restored)
                    if restored is None:
                        self._save()
                    restored = None
                    while where.epoch < stage.epochs:
                        self.epoch()
                    if where.stage + 1 == len(self.stages):
                        self._save()  # what comes is only to be written down, or gone on from with more epochs
                    self._seed("end")
                    method.end_stage(self.bench.nets, self.bench.probe, self._clock(stage, self.bench.pass_steps()))
                    self.state.position = where = Position(where.stage + 1)
        finally:
            self.progress.end()
        chosen = self.epochs - 1
        if self.job.select == "noisy-val":
            load_networks(self.bench.nets, self.state.best)
            method.load_state_dict(under("method", self.state.best), strict=False)
            chosen = self.state.best_epoch
        nets = [unwrapped(net) for net in self.bench.nets]
        return Fitted(method, nets, self.trace, self.state.history, self.job.select, chosen)

    def enter(self, number: int, restored: tuple[dict[str, Tensor], dict[str, Any]] | None = None) -> Workbench:
        """Make what a stage trains with, and put a checkpoint's state in."""
        before = getattr(self, "bench", None)
        self.bench = Workbench(
            self.job, number, self.trace, before, lambda nets: best_networks(list(nets), self.state.best)
        )
        if restored is not None:
            check_place(self.state, self.bench.loader)
            self.bench.load(restored[0], self.state.best)
            if self.state.position.epoch == self.bench.stage.epochs:
                self.bench.look(self.state.position.epoch - 1)  # what the stage's end looks at
            self.bench.update.sums = self.state.sums
            if restored[1]["scaler"]:
                self.bench.update.scaler.load_state_dict(restored[1]["scaler"])
            self.bench.train()
        elif before is None or self.bench.stage.fresh:  # what earlier networks reached is no measure for fresh ones
            self.state.best, self.state.best_accuracy, self.state.best_epoch = {}, -1.0, -1
        if self.job.place.history and self.run is not None and world()[0] == 0:
            self.looks = Looks.of(self.job.split, self.bench.nets[0], self.job.recipe.seed)
        self.stepper = Stepper(self.bench.update, self.graph, self._tell, looks=not self.job.place.compile)
        return self.bench

    def epoch(self) -> None:
        """One epoch of the stage that was entered, from wherever it stands."""
        where, state, stage = self.state.position, self.state, self.bench.stage
        if self.bench.loader.pool.size is not None:
            self.bench.look(where.epoch)
        if state.phases is None:
            self.trace.new_epoch()
            self._seed("plan")
            state.phases = self.bench.plan(self._clock(stage, self.bench.pass_steps()))
        while where.phase < len(state.phases):
            self._phase(stage, state.phases)
            where.phase, where.step = where.phase + 1, 0
        self._end_epoch()
        where.epoch, where.phase, where.step, state.phases = where.epoch + 1, 0, 0, None

    def _phase(self, stage: Stage, phases: list[Phase]) -> None:
        """The steps of one phase that are still to do."""
        where, phase, bench = self.state.position, phases[self.state.position.phase], self.bench
        steps, each = [bench.loader.steps(each) for each in phases], self.job.recipe.accumulate
        updates = [-(-count // each) for count in steps]
        clock = self._clock(stage, sum(updates))
        broadcast_buffers(bench.nets)
        last = steps[where.phase]
        begun = time.monotonic()
        with self.stepper.phase(where.phase, phase, clock) as advance:
            for batches in timed(bench.batches(phase, where.epoch, where.phase, where.step), self.state):
                due = (where.step + 1) % each == 0 or where.step + 1 == last
                clock.step.fill_(where.optimizer_step)
                factor = lr_factor(self.job.recipe, clock, sum(updates[: where.phase]) + where.step // each)
                self._seed("step", where.phase, where.step)
                parts = min(each, last - where.step + where.step % each)
                advance(batches, factor if due else None, parts)
                if bench.update.sees_at_once:
                    self._require_finite(networks=False)
                where.step += 1
                if not due:
                    continue
                where.optimizer_step += 1
                self.state.seconds += time.monotonic() - begun
                begun = time.monotonic()
                self.progress.step(self._epochs_done((sum(steps[: where.phase]) + where.step) / sum(steps)))
                self._answer(where.step)
            if self.job.device.type == "cuda":
                torch.cuda.synchronize(self.job.device)  # its time is this epoch's
            self.state.seconds += time.monotonic() - begun
            self._answer(0)

    def _tell(self, note: str) -> None:
        """Say what a person should know, and keep it with the run."""
        log.warning("%s", note)
        self.notes.append(note)
        if self.run is not None:
            self.run.note(note)

    def _require_finite(self, networks: bool = True) -> None:
        """All processes stop where a loss of any, or a number in a network, is not finite."""
        found = self.bench.update.watch.found(self.bench.nets if networks else [])
        if found is None:
            return
        where = self.state.position
        kept = f"; the checkpoint in {self.run.checkpoints} is from before" if self.run else ""
        raise Diverged(
            f"the {found} is not finite at epoch {where.epoch + 1}, step {where.step + 1}: try a lower learning rate "
            f"(now {self.job.recipe.lr}) or --clip 5{kept}"
        )

    def _answer(self, step: int) -> None:
        """After an optimiser step: stop where asked, save where it is time."""
        if self.steps_left is not None and step:
            self.steps_left -= 1
        due = self.run is not None and time.monotonic() - self.saved >= self.job.place.checkpoint_seconds
        asked = bool(self.stop) or self.steps_left == 0 or (bool(step) and self.progress.enough())
        if world()[1] > 1:  # all processes save and stop at the same step; to agree on it costs a look
            if step % CHECK_EVERY and self.steps_left != 0:  # else all of them agree
                return
            device = self.job.device
            due, asked = any_rank(due, device), any_rank(asked, device)
            self._require_finite(networks=False)
        elif not step:
            due = False
        if due or asked:
            self._save()
        if asked:
            where = self.state.position
            raise Stopped(f"stopped in epoch {where.epoch + 1} after step {where.step}", self.stop.number)

    def _end_epoch(self) -> None:
        """See who was not seen, evaluate, write the epoch's line, keep the best networks."""
        self._require_finite()
        state, where, bench, split = self.state, self.state.position, self.bench, self.job.split
        broadcast_buffers(bench.nets)
        see_the_unseen(self.trace, bench.nets, bench.probe)
        record: dict[str, Any] = {"epoch": self._epochs_before() + where.epoch, "stage": where.stage}
        record |= means(bench.update.sums)
        record |= training_accuracies(self.trace, split)
        record |= selection_quality(self.job.method.selected(), bench.probe.index, split)
        record |= held_accuracies(self.job.method, bench.nets, split, self.job.device)
        record |= {"seconds": state.seconds, "waited": 100 * state.waited / max(state.seconds, 1e-9)}
        state.seconds, state.waited = 0.0, 0.0
        for value in bench.update.sums.values():
            value.zero_()  # a recorded step goes on to add to them
        if self.job.select == "noisy-val" or self.job.method.uses_best:
            state.keep_best(record, bench.nets, self.job.method)
        record = finite(record)
        state.history.append(record)
        if self.run is not None and world()[0] == 0:
            self.run.append_history(record)
            if self.looks is not None and due(record["epoch"], self.epochs, self.job.place.history):
                found = self.looks(self.job.method, bench.nets[0], self.trace)
                self.run.write_look(record["epoch"], found, self.looks.samples())
        self.progress.epoch(record)

    def _save(self) -> None:
        """Write a checkpoint, once the state is known to be sound."""
        self._require_finite()
        self.saved = time.monotonic()
        if self.run is None:
            return
        sums = {name: sum_over_ranks(value.clone()) for name, value in self.bench.update.sums.items()}
        tensors, values = pack(self.state, sums)
        tensors |= self.bench.tensors()
        values["scaler"] = self.bench.update.scaler.state_dict()
        if world()[0] == 0:
            self.run.write_checkpoint(tensors, values)
        barrier()

    def _restore(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Read the newest whole checkpoint; the networks are filled when their stage is entered."""
        if self.run is None:
            raise ValueError("resume needs a run folder")
        found = self.run.read_checkpoint()
        if found is None:  # killed before the first one, or they were removed
            if world()[0] == 0:
                log.warning("%s holds no checkpoint: the run starts over", self.run.path)
                self.run.write_history([])
            return None
        tensors, values = found
        check_values(tensors, values, len(self.job.split.samples), self.job.method.networks, self.stages)
        self.state = unpack(tensors, values, self.job.device)
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
        seed_generators(self.job.device, fold(self.job.recipe.seed, rank, where.stage, where.epoch, *place))

    def _clock(self, stage: Stage, steps_per_epoch: int) -> Clock:
        where = self.state.position
        step = torch.tensor(where.optimizer_step, device=self.job.device)
        return Clock(where.stage, where.epoch, stage.epochs, step, steps_per_epoch)

    def _epochs_before(self) -> int:
        return sum(stage.epochs for stage in self.stages[: self.state.position.stage])

    def _epochs_done(self, share: float) -> float:
        return self._epochs_before() + self.state.position.epoch + share
