"""Whether recorded steps are the eager ones, on this machine's GPU: every method, bare and inside ALASCA.

    python benchmarks/capture.py --check                 # some 20 steps of each, then resume, then memory
    python benchmarks/capture.py --check --device cpu    # the same with a tape in the place of a CUDA graph
    python benchmarks/capture.py --check ce "elr + ALASCA"

Every run is made twice, with ``--deterministic`` and cuDNN's autotuner off: step by step, and recorded. All that a run
ends with must be equal, bit by bit: parameters, buffers, stores, the trace, the optimisers' state. It fails too where a
method that says it can be recorded ran eagerly. Exit code 1 tells that something failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from alasca import Place
from alasca.core import Method
from alasca.engine import Stopped, borrowed_process
from alasca.engine.device import arithmetic, precision_on
from alasca.engine.graphs import CudaGraph, Graph, TapeGraph
from alasca.testing import everything, kept_in, planted, require_same, settings, trained, trainer
from alasca.testing.planted import HELD
from alasca.testing.ranks import registered

EPOCHS, BATCH = 3, 8
EAGER_AT_MOST = 4
"""Methods that may say that they can't be recorded."""
FLAT = 20
"""Epochs over which memory must not grow."""


def same_as_eager(make: Callable[[], Method], device: str, graph: type[Graph]) -> str:
    """How a method's recorded run compares with its eager one; raises where they differ."""
    data, recipe = planted(8, HELD), settings(EPOCHS, batch_size=BATCH)
    eager = trained(make(), data, recipe, device=device, deterministic=True, capture=False)
    recorded = trained(make(), data, recipe, device=device, deterministic=True, graph=graph)
    require_same(everything(eager), everything(recorded), "recorded steps")
    if not recorded.job.method.captures:
        return "says that it can't be recorded"
    assert not recorded.notes, recorded.notes[0]
    assert recorded.stepper.replayed, "no step was replayed"
    return f"equal, {recorded.stepper.replayed} steps replayed"


def resumes(make: Callable[[], Method], device: str, graph: type[Graph]) -> str:
    """Stop a recorded run in the middle of an epoch, go on, and compare; raises where it ends elsewhere."""
    data, recipe = planted(8, HELD), settings(EPOCHS, batch_size=BATCH)
    whole = everything(trained(make(), data, recipe, device=device, deterministic=True, graph=graph))
    for step in (2, 6, 13):
        with tempfile.TemporaryDirectory() as folder:
            run = kept_in(Path(folder))
            first = trainer(
                make(), data, recipe, device=device, deterministic=True, graph=graph, run=run, stop_after=step
            )
            try:
                first.fit()
            except Stopped:
                second = trainer(make(), data, recipe, device=device, deterministic=True, graph=graph, run=run)
                second.fit(resume=True)
                require_same(whole, everything(second), f"stopped after step {step}")
            else:
                raise AssertionError(f"it did not stop after step {step}")
    return "equal, stopped after steps 2, 6 and 13"


def stays_small(make: Callable[[], Method], device: str, graph: type[Graph]) -> str:
    """Memory that a recorded run has reserved after 3 epochs and after 20; raises where it grew."""
    made = trainer(make(), planted(8, HELD), settings(FLAT, batch_size=BATCH), device=device, graph=graph)
    made.enter(0)
    reserved = []
    for _ in range(FLAT):
        made.epoch()
        reserved.append(torch.cuda.memory_reserved() / 2**20)
    assert reserved[-1] <= reserved[2], f"{reserved[2]:.0f} MiB after 3 epochs, {reserved[-1]:.0f} after {FLAT}"
    return f"{reserved[-1]:.0f} MiB reserved after {FLAT} epochs, {reserved[2]:.0f} after 3"


def main() -> int:
    """Check, print, and say whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*")
    parser.add_argument("--check", action="store_true", required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    graph: type[Graph] = CudaGraph if given.device.startswith("cuda") else TapeGraph
    makers = {name: make for name, make in registered().items() if not given.methods or name in given.methods}
    if odd := set(given.methods) - makers.keys():
        parser.error(f"no such method: {', '.join(sorted(odd))}; known are {', '.join(registered())}")
    tasks = [(name, same_as_eager, make) for name, make in makers.items()]
    some = list(makers)[:1] if given.methods else ["ce + ALASCA", "dividemix + ALASCA"]
    tasks += [(f"{name}, resumed", resumes, makers[name]) for name in some]
    if graph is CudaGraph:
        tasks += [(f"{name}, memory", stays_small, makers[name]) for name in some]
    failed, eager = [], 0
    place = Place(device=given.device, deterministic=True)
    with borrowed_process(place) as device, arithmetic(device, precision_on(device, "auto"), deterministic=True):
        for name, check, make in tasks:
            begun = time.monotonic()
            try:
                told = check(make, given.device, graph)
            except (AssertionError, RuntimeError) as error:
                told = f"FAILED: {str(error).splitlines()[0]}"
                failed.append(name)
            eager += told.startswith("says")
            print(f"{name:32} {told}  ({time.monotonic() - begun:.1f} s)", flush=True)
    if eager > EAGER_AT_MOST:
        failed.append(f"{eager} methods can't be recorded, at most {EAGER_AT_MOST} may")
    print(
        f"{len(tasks) - len(failed)} of {len(tasks)} passed with {graph.__name__}" + "".join(f"\n- {f}" for f in failed)
    )
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
