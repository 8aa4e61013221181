"""A step that is recorded once a phase and then replayed, so that a GPU never waits for the host to launch it.

Launching is what limits small networks on a GPU: a step is some hundreds of operators, and the host takes longer to ask
for one than the device to carry it out. A graph asks once. It fixes all that Python decides, so a step is recorded anew
in each phase of each epoch, and what changes from step to step (inputs, learning rate, `Clock.step`, draws) is a tensor
that the engine fills. A recorded step is the eager one, bit for bit.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from alasca.core import Batch, Clock, Phase
from alasca.distributed import world
from alasca.engine.graphs import CudaGraph, Graph
from alasca.engine.setup import Job
from alasca.engine.tape import Tape, difference
from alasca.engine.update import Update

log = logging.getLogger("alasca")
EAGER = 3
"""Steps that run eagerly before the first recording of a phase: libraries choose and allocate in them."""
LOOKED = 2
"""The last of them, which are compared with each other."""
TRIES = 2
"""Times that a step may differ from the one before, as the first of a network that had not trained does."""
Advance = Callable[[Mapping[str, Batch], float | None, int], object]
"""A step: batches, factor of the learning rate (None: more micro-batches follow), micro-batches of the step."""


def obstacle(job: Job, graph: type[Graph] = CudaGraph) -> str | None:
    """Why the steps of a run are all eager; None: they may be recorded."""
    name = type(job.method).__name__
    reasons = {
        "--no-capture": not job.place.capture,
        f"{job.device.type} launches nothing": graph is CudaGraph and job.device.type != "cuda",
        "several processes": world()[1] > 1,
        "fp16 looks at every gradient": job.precision == "fp16",
        "several micro-batches a step": job.recipe.accumulate > 1,
        f"{name} can't be recorded": not job.method.captures,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


class Inputs(NamedTuple):
    """All that a step reads and that is another in each: batches by stream, draws by name."""

    batches: dict[str, Batch]
    drawn: dict[str, Tensor]

    def tensors(self) -> list[Tensor]:
        """In an order that only names decide."""
        parts = [
            each for batch in self.batches.values() for each in (*batch.views, batch.labels, batch.index, batch.weight)
        ]
        return [*parts, *self.drawn.values()]

    def copy(self) -> Inputs:
        """The same numbers in memory of their own."""
        batches = {
            name: replace(
                batch, views=tuple(view.clone() for view in batch.views), labels=batch.labels.clone(),
                index=batch.index.clone(), weight=batch.weight.clone(),
            )
            for name, batch in self.batches.items()
        }  # fmt: skip
        return Inputs(batches, {name: value.clone() for name, value in self.drawn.items()})

    def fill(self, others: Inputs) -> None:
        """Put another step's numbers into this memory."""
        for mine, other in zip(self.tensors(), others.tensors(), strict=True):
            if mine.shape != other.shape:
                raise RuntimeError(f"a batch of another shape in a phase: {list(other.shape)}, not {list(mine.shape)}")
            mine.copy_(other)


class Stepper:
    """The steps of a stage, phase by phase: ``with stepper.phase(number, phase, clock) as advance: ...``.

    Args:
        update: what a step is.
        make: makes a graph for each position of a phase in its epoch; None: all steps are eager.
        tell: told why a phase can't be recorded, once.
        looks: whether eager steps are noted and compared; compiled code runs where nobody notes only.
    """

    def __init__(
        self,
        update: Update,
        make: Callable[[torch.device], Graph] | None = None,
        tell: Callable[[str], None] = log.warning,
        looks: bool = True,
    ) -> None:
        self.update, self.make, self.tell, self.looks = update, make, tell, looks
        self.graphs: dict[int, Graph] = {}
        self.eager: set[int] = set()
        self.replayed = 0

    @contextlib.contextmanager
    def phase(self, number: int, phase: Phase, clock: Clock) -> Iterator[Advance]:
        """How one phase of an epoch advances.

        Args:
            number: of the phase in its epoch.
            phase, clock: what every step of it is given.
        """
        if self.make is None or number in self.eager:
            yield lambda batches, factor, parts: self.update(phase, batches, clock, factor, parts)
            return
        wait = 1 if number in self.graphs else EAGER
        if number not in self.graphs:
            self.graphs[number] = self.make(self.update.device)
        with self.graphs[number].entered():
            yield Recorder(self, number, phase, clock, self.graphs[number], wait)
        if number in self.eager:
            del self.graphs[number]  # and its memory

    def refuse(self, number: int, why: str) -> None:
        """From now on the phase at this position is eager."""
        self.eager.add(number)
        self.tell(f"steps are launched one by one, which is slower: {why}")


class Recorder:
    """The steps of one phase: eager ones, a recording, replays.

    Eager steps are noted operator by operator and compared with each other and with the one that is recorded, so that
    what changes in Python from step to step is found, not fixed in silence.

    Args:
        owner: whose steps they are.
        number, phase, clock: see `Stepper.phase`.
        graph: records.
        wait: eager steps before the recording; at most the last `LOOKED` are noted.
    """

    def __init__(self, owner: Stepper, number: int, phase: Phase, clock: Clock, graph: Graph, wait: int) -> None:
        self.owner, self.number, self.phase, self.clock = owner, number, phase, clock
        self.update, self.graph, self.wait = owner.update, graph, wait
        self.last: Tape | None = None
        self.inputs: Inputs | None = None
        self.tries = TRIES

    def __call__(self, batches: Mapping[str, Batch], factor: float | None, parts: int) -> None:
        """One step."""
        given = Inputs(dict(batches), self.update.ready(self.phase, self.clock, factor))
        if self.inputs is not None:
            self.inputs.fill(given)
            self.graph.replay()
            self.owner.replayed += 1
        elif self.number in self.owner.eager or self.wait > (LOOKED if self.owner.looks else 0):
            self._run(given)
            self.wait -= 1
        elif self.wait:
            self.wait -= 1
            self._look(given)
        else:
            self._record(given)

    def _run(self, given: Inputs) -> None:
        self.update.run(self.phase, given.batches, self.clock._replace(draws=given.drawn))

    def _look(self, given: Inputs) -> None:
        """An eager step that is watched for what no graph repeats."""
        modules = [self.update.method, *self.update.nets, self.update.trace]
        before, drawn = owned(modules), host_states(self.update.device)
        tape = self.graph.tape()
        with tape:
            self._run(given)
        after = owned(modules)
        moved = sorted(name for name, value in after.items() if value is not before.get(name))
        if (why := tape.obstacle(self.update.device)) is not None:
            self.owner.refuse(self.number, why)
        elif moved:
            self.owner.refuse(self.number, f"{moved[0]} is another tensor after a step; write into it (copy_, add_)")
        elif drawn != host_states(self.update.device):
            self.owner.refuse(self.number, "a step draws random numbers on the host; see Method.draws")
        else:
            self._alike(tape)

    def _record(self, given: Inputs) -> None:
        """Record a step, and do it: by replay where it is what the step before was, else eagerly."""
        inputs, tape, counted = given.copy(), self.graph.tape(), set(self.update.sums)

        def work() -> None:
            with tape if self.owner.looks else contextlib.nullcontext():
                self._run(inputs)

        try:
            self.graph.record(work, tape)
        except RuntimeError as error:
            if self.graph.executes:
                raise
            self.update.optimizers.zero_grad()
            self.owner.refuse(self.number, f"recording failed ({str(error).partition(chr(10))[0]})")
        else:
            self.inputs = inputs if self._alike(tape) else None
        if self.graph.executes:
            return
        if self.inputs is None:
            for name in self.update.sums.keys() - counted:
                del self.update.sums[name]  # made while recording: it holds nothing
            self._run(given)
        else:
            self.graph.replay()

    def _alike(self, tape: Tape) -> bool:
        """Whether a step is what the last one was; where not, a second try follows."""
        why = None if self.last is None else difference(self.last, tape)
        if why is not None:
            self.wait, self.tries = LOOKED, self.tries - 1
            if not self.tries:
                self.owner.refuse(self.number, why)
        self.last = tape if why is None else None
        return why is None


def owned(modules: Sequence[nn.Module]) -> dict[str, Tensor]:
    """All parameters and buffers by name, the tensors themselves."""
    return {
        f"{type(module).__name__} {k}, {name}": value
        for k, module in enumerate(modules)
        for name, value in (*module.named_parameters(), *module.named_buffers())
    }


def host_states(device: torch.device) -> tuple[object, ...]:
    """The random states that no graph moves."""
    kind, numbers, *rest = np.random.get_state()  # noqa: NPY002  # what others may draw from
    own = () if device.type == "cpu" else (torch.default_generator.get_state().numpy().tobytes(),)
    return (random.getstate(), kind, np.asarray(numbers).tobytes(), *rest, *own)
