"""What a step must be so that it can be recorded and replayed; see `alasca.engine.capture`."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from alasca.core import Batch, Clock, Method
from alasca.engine import Workbench
from alasca.engine.tape import Tape
from alasca.engine.update import Update
from alasca.testing.planted import HELD, job, planted, settings

NOWHERE = torch.device("meta")
"""Where tensors have shapes and no numbers, so that whatever looks at one fails."""


def noted_steps(method: Method, epoch: int) -> Iterator[tuple[Tape, Tape]]:
    """Two successive steps of each phase of an epoch of the last stage, carried out on tensors without numbers."""
    last = len(method.stages(4)) - 1
    bench = Workbench(job(method, planted(8, HELD), settings(4)), last)
    clock = Clock.at(last, epoch, bench.stage.epochs, 0, 4)
    for number, phase in enumerate(bench.plan(clock)):
        batches = {name: without_numbers(batch) for name, batch in next(bench.batches(phase, epoch, number)).items()}
        drawn = method.draws(phase, clock)
        twin, nets, trace = copy.deepcopy((method, bench.nets, bench.trace))
        for module in (twin, *nets, trace):
            module.to(NOWHERE)
        update = Update(twin, nets, bench.job.recipe, trace)
        there = clock._replace(step=clock.step.to(NOWHERE), draws=emptied(drawn))
        noted = []
        for _ in range(3):  # optimisers begin in the first one
            noted.append(Tape())
            with noted[-1]:
                update.run(phase, batches, there)
        yield noted[1], noted[2]


def without_numbers(batch: Batch) -> Batch:
    """A batch of the same shapes."""
    return replace(
        batch, views=tuple(view.to(NOWHERE) for view in batch.views), labels=batch.labels.to(NOWHERE),
        index=batch.index.to(NOWHERE), weight=batch.weight.to(NOWHERE),
    )  # fmt: skip


def emptied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the same shapes."""
    return {name: value.to(NOWHERE) for name, value in tensors.items()}
