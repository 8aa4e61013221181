"""Law 7: two processes. Run as ``python -m alasca.testing.ranks FOLDER``, it is one of them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alasca.core import Batch, Clock, LossMethod, Net, Problem, backbone, unwrapped
from alasca.data.loader import Loader
from alasca.distributed import barrier, gather_rows, join, leave, world
from alasca.engine import Progress, Stopped, Trainer
from alasca.functional import cross_entropy
from alasca.methods import create_method, list_methods, method_class, short_run, wrap
from alasca.runs import RunFolder
from alasca.testing.laws import Make, everything, require_same
from alasca.testing.planted import BATCH, CLASSES, HELD, SAMPLES, LawNet, planted, settings, trained, trainer


def registered(epochs: int = 0) -> dict[str, Make]:
    """Every registered method, bare and (where it can be) wrapped, for runs of so many epochs; 0: of very few."""
    found: dict[str, Make] = {}
    for name in list_methods():
        cls = method_class(name)
        options = short_run(cls, epochs) if epochs else dict.fromkeys(cls.epoch_options, 1)
        make = functools.partial(create_method, name, **options)
        found[name] = make
        if not cls.owns_branches:
            found[f"{name} + ALASCA"] = lambda make=make: wrap(make(), warmup=1)  # type: ignore[misc]  # bound per name
    return found


class Digests(Progress):
    """A fingerprint after every step of what all processes must agree on: stores, method-owned networks, phases."""

    def __init__(self) -> None:
        self.owner: Trainer | None = None
        self.found: list[str] = []

    def step(self, epochs_done: float) -> None:
        """Note the fingerprint."""
        assert self.owner is not None
        state = hashlib.sha256()
        tensors = dict(self.owner.job.method.state_dict())
        for k, phase in enumerate(self.owner.state.phases or []):
            for name, stream in phase.streams.items():
                if stream.index is not None:
                    tensors[f"plan/{k}/{name}"] = stream.index
        for net in self.owner.bench.nets:
            tensors |= {f"parameter/{name}": value for name, value in unwrapped(net).named_parameters()}
        for name in sorted(tensors):
            state.update(name.encode() + tensors[name].detach().cpu().contiguous().numpy().tobytes())
        self.found.append(state.hexdigest())


def law_7_ranks_agree() -> None:
    """Two gloo processes hold bit-identical stores, phases and networks after every step, for every method.

    Stopped in the second phase of an epoch they resume to the same bits; three do so too, whose sums round by the order
    in which they are made. On a network without BatchNorm and dropout, two processes end where one ends, to 1e-5.
    """
    started(3)
    first, second = started(2)
    for name in first["digests"]:
        assert len(first["digests"][name]) >= 8, f"{name}: no steps"
        assert first["digests"][name] == second["digests"][name], f"{name}: processes differ"
    assert first["own"] == second["own"], "processes differ in a method's own parameters"
    assert first["own"]["used"] != first["own"]["first"] != [1.0] * CLASSES, "own parameters did not learn"
    assert first["own"]["idle"] == [1.0] * CLASSES, "what no process used has moved"
    for result in (first, second):
        assert result["probed"] == list(range(SAMPLES)), "the probe lost samples"
        assert result["reduced"] == sum(range(SAMPLES)), "the probe's sum lost samples"
    alone = parameters_of(trained(create_method("ce"), planted(8, HELD), settings(3), net=lambda: LawNet(False)))
    for name, value in alone.items():
        torch.testing.assert_close(torch.tensor(first["ce"][name]), value, rtol=1e-5, atol=1e-5)


def started(size: int) -> list[dict[str, Any]]:
    """What so many processes found, by rank."""
    with tempfile.TemporaryDirectory() as temporary:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        common = {**os.environ, "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        common["OMP_NUM_THREADS"] = "1"
        workers = [
            subprocess.Popen(
                [sys.executable, "-m", "alasca.testing.ranks", temporary],
                env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True,
            )
            for rank in range(size)
        ]  # fmt: skip
        outputs = [worker.communicate(timeout=280)[0] for worker in workers]
        for worker, output in zip(workers, outputs, strict=True):
            assert worker.returncode == 0, output
        return [json.loads((Path(temporary) / f"{rank}.json").read_text()) for rank in range(size)]


def parameters_of(made: Trainer) -> dict[str, Tensor]:
    """Parameters of the first network."""
    return {name: value.detach() for name, value in backbone(made.bench.nets[0]).named_parameters()}


def worker(folder: Path) -> None:
    """One of the processes of law 7."""
    join()
    rank, size = world()
    resume(folder, 8 * size)
    found = agreement() if size == 2 else {}
    (folder / f"{rank}.json").write_text(json.dumps(found))
    barrier()  # as runs end: whoever serves the others does not leave before them
    leave()


def agreement() -> dict[str, Any]:
    """What two processes must agree on, or share."""
    found: dict[str, Any] = {"digests": {}}
    fresh = trainer(create_method("ce"), planted(8, HELD), settings(3)).enter(0).nets[0]
    seen = [int(value) for name, value in fresh.named_buffers() if name.endswith("num_batches_tracked")]
    assert seen, "no BatchNorm to look at"
    assert not any(seen), "what is done before the first step has left a trace"
    drawn: dict[str, Make] = {"a plan that draws": lambda: create_method("crust", start=1, epsilon=0.5)}
    for name, make in {**registered(), **drawn}.items():
        digests = Digests()
        digests.owner = trainer(make(), planted(8, HELD), settings(3), progress=digests)
        digests.owner.fit(resume=False)
        found["digests"][name] = digests.found
    found["own"] = own_parameters()
    ce = trained(create_method("ce"), planted(8, HELD), settings(3), net=lambda: LawNet(False))
    found["ce"] = {name: value.tolist() for name, value in parameters_of(ce).items()}
    found["probed"] = ce.bench.probe(ce.bench.nets[0], lambda output, batch: batch.index.double()).tolist()
    found["reduced"] = float(ce.bench.probe.reduce(ce.bench.nets[0], lambda output, batch: batch.index.sum()))
    shares = rank_shares()
    assert sorted(shares) == sorted(set(shares)), "two processes drew the same sample"
    return found


class Offset(LossMethod):
    """Cross-entropy with offsets of its own: each process uses one, the first another, none the last."""

    def begin(self, nets: Sequence[Net], problem: Problem) -> None:
        """Three offsets."""
        self.used, self.first, self.idle = (nn.Parameter(torch.ones(problem.num_classes)) for _ in range(3))

    def loss(self, logits: Tensor, batch: Batch, clock: Clock) -> Tensor:
        """Cross-entropy."""
        offset = self.used + self.first if world()[0] == 0 else self.used
        return cross_entropy(logits + offset, batch.labels)


def own_parameters() -> dict[str, list[float]]:
    """Offsets of a method after a short run with weight decay."""
    made = trained(Offset(), planted(8, HELD), settings(2, weight_decay=0.1))
    return {name: value.tolist() for name, value in made.job.method.named_parameters()}


def resume(folder: Path, batch: int) -> None:
    """DivideMix reads the peer's BatchNorm statistics, which its phases must find alike in all processes."""

    def made(**options: Any) -> Trainer:
        recipe = settings(3, batch_size=batch)
        return trainer(create_method("dividemix", warmup=1), planted(24, HELD), recipe, **options)

    whole = made()
    whole.fit(resume=False)
    phases = set()
    for stop in (6, 9, 11, 13):
        path = folder / f"resume-{stop}"
        path.mkdir(exist_ok=True)
        first = made(run=RunFolder(path), stop_after=stop)
        with contextlib.suppress(Stopped):
            first.fit(resume=False)
        phases.add(first.state.position.phase)
        second = made(run=RunFolder(path))
        second.fit(resume=True)
        require_same(everything(whole), everything(second), f"process {world()[0]} stopped after step {stop}")
    assert 1 in phases, "never stopped in a second phase"


def rank_shares() -> list[int]:
    """Indices of one epoch over both processes."""
    data = planted()
    loader = Loader(data.samples, data.pool(0), BATCH, 0)
    phase = create_method("ce").plan([], None, Clock.at(0, 0, 1, 0, 4))[0]  # type: ignore[arg-type]  # ce's plan probes nothing
    return [int(k) for batches in loader.batches(phase, (0, 0, 0)) for k in gather_rows(batches["all"].index)]


if __name__ == "__main__":
    worker(Path(sys.argv[1]))
