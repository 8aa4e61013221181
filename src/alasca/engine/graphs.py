"""What records a step and runs it again: a CUDA graph; on a CPU a tape, so that tests see what a graph would do."""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Protocol

import torch

from alasca.engine.tape import Tape


class Graph(Protocol):
    """One recorded step. It may be recorded anew; what it held before is then gone."""

    executes: bool
    """Whether recording is itself a step."""

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """Where all work of a phase happens, recorded or not."""

    def tape(self) -> Tape:
        """To note a step on."""

    def record(self, work: Callable[[], object], tape: Tape) -> None:
        """Record what `work` does, which notes itself on a tape of ours."""

    def replay(self) -> None:
        """Do it again: with the numbers that its tensors hold now, drawing at random from the default generators."""


class CudaGraph:
    """A CUDA graph with a stream and a memory pool of its own, which it keeps from one recording to the next.

    Graphs that live at the same time must share neither: those recorded on one stream share cuBLAS's workspace.

    Args:
        device: of all tensors.
    """

    executes = False

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own
        self.pool = torch.cuda.graph_pool_handle()
        self.graph: torch.cuda.CUDAGraph | None = None
        self.keeper = torch.cuda.CUDAGraph()  # empty: a pool that no graph uses is gone, and can't be recorded in again
        torch.cuda.synchronize(device)
        with warnings.catch_warnings(), torch.cuda.stream(self.stream):
            warnings.filterwarnings("ignore", "The CUDA Graph is empty")
            self.keeper.capture_begin(pool=self.pool, capture_error_mode="thread_local")
            self.keeper.capture_end()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """On its stream, after all that came before; what comes later waits for it."""
        outside = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(outside)
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            outside.wait_stream(self.stream)

    def tape(self) -> Tape:
        """One that holds no tensor."""
        return Tape()

    def record(self, work: Callable[[], object], tape: Tape) -> None:
        """Nothing is computed while it records. Memory of the last recording is used again."""
        torch.cuda.synchronize(self.device)
        if self.graph is None:
            torch.cuda.empty_cache()  # what eager steps and evaluation hold can't be given back while recording
        else:
            self.graph.reset()
        self.graph = torch.cuda.CUDAGraph()
        collecting = gc.isenabled()
        gc.disable()  # what it frees would be freed on a stream that records
        try:
            self.graph.capture_begin(pool=self.pool, capture_error_mode="thread_local")  # loaders copy meanwhile
            try:
                work()
            except BaseException:
                self._give_up()
                raise
            self.graph.capture_end()
        finally:
            if collecting:
                gc.enable()

    def _give_up(self) -> None:
        """Leave allocator and generator as they are outside of a recording, which an error in one does not do."""
        assert self.graph is not None
        number = self.device.index or 0
        with contextlib.suppress(RuntimeError):  # the recording is broken already
            self.graph.capture_end()
        with contextlib.suppress(RuntimeError):  # some versions have done it by then
            torch._C._cuda_endAllocateToPool(number, self.pool)
        generator = torch.cuda.default_generators[number]
        generator.graphsafe_set_state(torch.Generator(self.device).graphsafe_get_state())  # the next step seeds it
        self.graph = None

    def replay(self) -> None:
        """One launch for the whole step."""
        assert self.graph is not None
        self.graph.replay()


class TapeGraph:
    """The same on any device, without its speed: a step's operators with the arguments that they had."""

    executes = True

    def __init__(self, device: torch.device) -> None:
        self.recorded = Tape()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Nowhere else."""
        yield

    def tape(self) -> Tape:
        """One that holds all tensors: gradients are copied where something else holds them."""
        return Tape(keep=True)

    def record(self, work: Callable[[], object], tape: Tape) -> None:
        """`work` runs, operator by operator."""
        work()
        self.recorded = tape

    def replay(self) -> None:
        """All operators again."""
        self.recorded.replay()
