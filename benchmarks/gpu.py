"""What a training step costs, in time and memory, beside loops written by hand: one command, under four minutes.

    python benchmarks/gpu.py                             # CIFAR's ResNet-34 on a GPU, every method too
    python benchmarks/gpu.py --quick                     # without the table of methods
    python benchmarks/gpu.py --compile                   # fused networks too, which takes minutes to begin
    python benchmarks/gpu.py --side-by-side 4            # several runs at once against one after the other
    python benchmarks/gpu.py --device cpu                # ResNet-34 at batch 8, ResNet-18 at 32, digits

Ours is the whole loop as `alasca train` runs it: loader, stores, trace, sums, checks. The loops by hand do no more than
gather a batch, forward, loss, backward, step; one launches operator by operator, one replays a CUDA graph. All train on
random pictures that lie on the device. Epochs of the contestants take turns; told are medians, ratios within each turn,
and cross-entropy against itself (A/A), which says what the machine can tell apart. Tables go to
``docs/performance.md``, figures to ``results/``.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from pages import ROOT, put, table
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from alasca import Place, Recipe
from alasca.core import Clock
from alasca.data import Samples, Split, Transform
from alasca.engine import Job, Trainer, Workbench, borrowed_process
from alasca.engine.capture import EAGER, Stepper
from alasca.engine.device import arithmetic, precision_on
from alasca.engine.graphs import CudaGraph
from alasca.methods import create_method, list_methods, method_class, wrap
from alasca.networks import create_network

CASES = {
    "cuda": [("ResNet-34, 3x32x32, batch 128", "resnet34", 3, 32, 128, 390)],
    "cpu": [
        ("ResNet-34, 3x32x32, batch 8", "resnet34", 3, 32, 8, 4),
        ("ResNet-18, 3x32x32, batch 32", "resnet18", 3, 32, 32, 2),
        ("digits, 1x8x8, batch 64", "small-resnet", 1, 8, 64, 28),
    ],
}
"""Label, network, channels, side, batch, steps of an epoch."""
OURS = {
    "ce": {}, "ce again (A/A)": {}, "ce, not recorded": {"capture": False},
    "ALASCA": {"head": "bottleneck"}, "ALASCA, pooled heads": {"head": "pooled"},
    "ALASCA, linear heads": {"head": "linear"}, "ALASCA, not recorded": {"head": "bottleneck", "capture": False},
    "elr + ALASCA": {"head": "bottleneck", "method": "elr"},
    "ce, compiled": {"compile": True}, "ALASCA, compiled": {"head": "bottleneck", "compile": True},
}  # fmt: skip


def pictures(channels: int, side: int, rows: int, device: torch.device) -> Split:
    """Random pictures: only the time counts."""
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (rows, channels, side, side), generator=draw).to(torch.uint8)
    samples = Samples(inputs, torch.randint(10, (rows,), generator=draw), Transform("pictures", shift=4)).fitted()
    return Split(samples, 10, torch.arange(rows)).to(device)


def recipe_of(batch: int) -> Recipe:
    """Long enough that no run ends."""
    return Recipe(epochs=1000, batch_size=batch, lr=1e-3, select="last")


class Ours:
    """Our loop, an epoch at a time."""

    def __init__(self, case: tuple[Any, ...], split: Split, device: str, options: dict[str, Any]) -> None:
        _, network, channels, side, batch, self.steps = case
        method = create_method(options.get("method", "ce"))
        method = wrap(method, head=options["head"]) if "head" in options else method
        place = Place(device=device, **{name: options[name] for name in ("capture", "compile") if name in options})
        shape = (channels, side, side)
        job = Job(method, lambda: create_network(network, shape, 10), split, recipe_of(batch), place)
        self.trainer = Trainer(job)
        self.trainer.enter(0)

    def epoch(self) -> None:
        """One epoch of `steps` steps."""
        self.trainer.epoch()


class ByHand:
    """A minimal loop, of which a person would say that it is as fast as PyTorch goes."""

    def __init__(self, case: tuple[Any, ...], split: Split, device: str, graph: bool) -> None:
        _, network, channels, side, self.batch, self.steps = case
        self.device, gpu = torch.device(device), device != "cpu"
        self.net = create_network(network, (channels, side, side), 10).to(
            self.device, memory_format=torch.channels_last
        )
        rate = torch.tensor(1e-3, device=self.device)
        self.optimizer = torch.optim.SGD(self.net.parameters(), rate, 0.9, weight_decay=5e-4, fused=True)
        inputs = split.samples.inputs
        assert isinstance(inputs, torch.Tensor)
        self.inputs, self.labels, self.half = inputs, split.samples.labels, gpu
        self.graph: torch.cuda.CUDAGraph | None = None
        self.x = self.view(torch.arange(self.batch, device=self.device))
        self.y = self.labels[: self.batch].clone()
        if graph:
            side_stream = torch.cuda.Stream()
            side_stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side_stream):
                for _ in range(3):
                    self.step(self.x, self.y)
            torch.cuda.current_stream().wait_stream(side_stream)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.step(self.x, self.y)

    def view(self, rows: torch.Tensor) -> torch.Tensor:
        """Pictures as the network reads them, without augmentation."""
        return (self.inputs[rows].float() / 255 - 0.5).div_(0.25).contiguous(memory_format=torch.channels_last)

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Forward, backward, optimiser."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            loss = F.cross_entropy(self.net(x).float(), y)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def epoch(self) -> None:
        """One epoch of `steps` steps."""
        order = torch.randperm(len(self.labels), device=self.device)
        for k in range(self.steps):
            rows = order[k * self.batch : (k + 1) * self.batch]
            if self.graph is None:
                self.step(self.view(rows), self.labels[rows])
            else:
                self.x.copy_(self.view(rows))
                self.y.copy_(self.labels[rows])
                self.graph.replay()


def wait(device: str) -> None:
    """Until the device has done all."""
    if device != "cpu":
        torch.cuda.synchronize()


def seconds(work: Callable[[], None], device: str) -> float:
    """How long it takes."""
    wait(device)
    begun = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - begun


def race(
    case: tuple[Any, ...], device: str, rounds: int, compiled: bool = False, only: list[str] | None = None
) -> pd.DataFrame:
    """Milliseconds a step of each contestant, ratios to our cross-entropy, memory of each alone."""
    _, _, channels, side, batch, steps = case
    split = pictures(channels, side, batch * steps, torch.device(device))
    makers: dict[str, Callable[[], Any]] = {
        name: (lambda options=options: Ours(case, split, device, options))  # type: ignore[misc]  # bound per name
        for name, options in OURS.items()
        if (device != "cpu" or "capture" not in options) and (compiled or "compile" not in options)
    }
    makers["by hand, ce"] = lambda: ByHand(case, split, device, False)
    if device != "cpu":
        makers["by hand, ce, a graph"] = lambda: ByHand(case, split, device, True)
    everyone, peaks = {}, {}
    for name, make in makers.items():
        if only is not None and name not in only:
            continue
        before = 0
        if device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_reserved()  # what a graph holds counts as free, but is reserved
        everyone[name] = make()
        everyone[name].epoch()
        peaks[name] = (torch.cuda.max_memory_reserved() - before) / 2**20 if device != "cpu" else float("nan")
    times: dict[str, list[float]] = {name: [] for name in everyone}
    names = list(everyone)
    for turn in range(rounds):
        for k in range(len(names)):
            name = names[(turn + k) % len(names)]
            times[name].append(1000 * seconds(everyone[name].epoch, device) / steps)
    base = times[names[0]]
    rows = [
        {
            "case": case[0], "what": name, "ms": statistics.median(own),
            "ratio": statistics.median(a / b for a, b in zip(own, base, strict=True)),
            "low": min(a / b for a, b in zip(own, base, strict=True)),
            "high": max(a / b for a, b in zip(own, base, strict=True)),
            "peak_mib": peaks[name], **told(everyone[name], device, statistics.median(own) / 1000),
        }
        for name, own in times.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def told(contestant: Any, device: str, each: float) -> dict[str, float]:
    """Of our loops on a GPU: how long kernels run in an epoch, in percent of it, and how fast they multiply.

    Args:
        contestant: whose epoch it is.
        device: where.
        each: seconds of a step, as they were raced.
    """
    if device == "cpu" or not isinstance(contestant, Ours):
        return {}
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        contestant.epoch()
        wait(device)
    kernels = sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6
    bench = contestant.trainer.bench
    clock = Clock.at(0, 999, 1000, 0, contestant.steps)
    clock = clock._replace(step=clock.step.to(bench.device))
    phase = bench.plan(clock)[0]
    batches = next(bench.batches(phase))
    with FlopCounterMode(display=False) as counter:
        bench.update(phase, batches, clock)
    flops = counter.get_total_flops()
    return {"kernels": 100 * kernels / contestant.steps / each, "tflops": flops / each / 1e12}


def methods(case: tuple[Any, ...], device: str, steps: int = 20) -> pd.DataFrame:
    """Milliseconds a step of every method in its last phase, recorded, on one batch."""
    _, network, channels, side, batch, _ = case
    split, shape = pictures(channels, side, 2 * batch, torch.device(device)), (channels, side, side)
    rows: list[dict[str, Any]] = []
    for name in list_methods():
        for plus in [""] if method_class(name).owns_branches else ["", " + ALASCA"]:
            made = wrap(create_method(name)) if plus else create_method(name)
            job = Job(made, lambda: create_network(network, shape, 10), split, recipe_of(batch), Place(device=device))
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_reserved()
            bench = Workbench(job, len(made.stages(1000)) - 1)
            clock = Clock.at(bench.number, bench.stage.epochs - 1, bench.stage.epochs, 0, 2)
            clock = clock._replace(step=clock.step.to(bench.device))
            phase = bench.plan(clock)[-1]
            batches = next(bench.batches(phase))
            notes: list[str] = []
            stepper = Stepper(bench.update, CudaGraph, notes.append)
            with stepper.phase(0, phase, clock) as advance:

                def some(count: int, advance: Any = advance, batches: Any = batches) -> None:
                    for _ in range(count):
                        advance(batches, 1.0, 1)

                some(EAGER + 3)
                each = 1000 * seconds(lambda some=some: some(steps), device) / steps  # type: ignore[misc]  # now
            peak = (torch.cuda.max_memory_reserved() - before) / 2**20
            rows.append({"what": name + plus, "ms": each, "peak_mib": peak, "note": "; ".join(notes)})
            del bench, stepper, advance, some, batches
            torch.cuda.empty_cache()
    frame = pd.DataFrame(rows)
    base = frame[frame["what"] == "ce"]["ms"].iloc[0]
    return frame.assign(case=case[0], ratio=frame["ms"] / base)


def side_by_side(count: int) -> str:
    """Runs of ALASCA in so many processes at once, against one after the other."""
    begun = time.perf_counter()
    command = [sys.executable, __file__, "--solo"]
    alone = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    together = [float(process.communicate()[0]) for process in running]
    gain = count * alone / max(together)
    return (
        f"{count} runs of ALASCA at once: {max(together):.2f} ms a step each, alone {alone:.2f}: {gain:.2f} times the "
        f"work in the same time (measured in {time.perf_counter() - begun:.0f} s).\n"
    )


def shown(frame: pd.DataFrame) -> str:
    """A table for the page."""
    heads = ["", "ms a step", "ratio to ce", "reserved MiB", "kernels run, %", "TFLOP/s"]
    rows = []
    for row in frame.to_dict("records"):
        spread = (
            f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})" if "low" in row else f"{row['ratio']:.2f}"
        )
        cells = [row["what"], f"{row['ms']:.2f}", spread]
        for name, form in (("peak_mib", "{:.0f}"), ("kernels", "{:.0f}"), ("tflops", "{:.0f}")):
            value = row.get(name, float("nan"))
            cells.append("" if value != value else form.format(value))
        rows.append(cells)
    keep = [k for k in range(len(heads)) if k < 3 or any(row[k] for row in rows)]
    return table([heads[k] for k in keep], [[row[k] for k in keep] for row in rows])


def machine(device: str, threads: int) -> str:
    """On what it was measured."""
    if device == "cpu":
        return f"{platform.machine()}, {threads} threads, torch {torch.__version__}"
    return f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bf16, one process"


def main() -> None:
    """Race, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of a processor")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--side-by-side", type=int, metavar="N")
    parser.add_argument("--solo", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    kind = "cpu" if given.device == "cpu" else "cuda"
    place = Place(device=given.device, threads=given.threads if kind == "cpu" else None)
    with borrowed_process(place) as device, arithmetic(device, precision_on(device, "auto"), deterministic=False):
        if given.solo:
            print(race(CASES[kind][0], given.device, 3, only=["ALASCA"])["ms"].iloc[0])
            return
        if given.side_by_side:
            print(side_by_side(given.side_by_side))
            return
        every = None if given.quick or kind == "cpu" else methods(CASES[kind][0], given.device)
        frames = [race(case, given.device, given.rounds, given.compile) for case in CASES[kind]]  # profiles, so last
    text = f"{machine(given.device, given.threads)}; {given.rounds} rounds.\n"
    for frame in frames:
        text += f"\n{frame['case'].iloc[0]}:\n\n{shown(frame)}"
    if every is not None:
        text += f"\nEvery method, recorded, the same step again and again:\n\n{shown(every)}"
    print(text)
    put(kind, text, "performance.md")
    results = ROOT / "results" / f"steps-{kind}.csv"
    everything = pd.concat([*frames, *([] if every is None else [every])])
    everything.assign(machine=machine(given.device, given.threads)).round(4).to_csv(results, index=False)


if __name__ == "__main__":
    main()
