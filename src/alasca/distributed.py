"""Several processes under torchrun: who they are, rows and sums across them, and each one's share of a batch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.distributed.distributed_c10d as distributed_c10d
from torch import Tensor, nn

from alasca.errors import InputError
from alasca.terminal import processes


class Followed(InputError):
    """The first process stopped, and says why; there is nothing to add."""

    def __init__(self) -> None:
        super().__init__("process 0 stopped, and says why")


def world() -> tuple[int, int]:
    """This process's rank and the number of processes; ``(0, 1)`` without a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def join() -> bool:
    """Join the process group that torchrun's environment describes; False where there is none or it is joined."""
    if processes()[1] < 2 or dist.is_initialized():
        return False
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    except (ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(
            f"processes: WORLD_SIZE says several, which can't meet ({why}); start them by torchrun"
        ) from error
    return True


def leave() -> None:
    """Leave the process group that `join` joined; what is left of it may not answer."""
    with contextlib.suppress(RuntimeError):
        dist.destroy_process_group()


@contextlib.contextmanager
def saying(follows: bool = False) -> Iterator[bool]:
    """True in the first of all processes that has something to say about its end; the others wait until it is said.

    Whoever ends first is followed by the launcher's signal to all, which would cut a word off.

    Args:
        follows: whether another one is known to say it.
    """
    if world()[1] == 1:
        yield True
        return
    store = distributed_c10d._get_default_store()
    try:
        first = not follows and store.add("alasca/told", 1) == 1
    except RuntimeError:  # the store went with its process
        yield world()[0] == 0
        return
    if not first:
        with contextlib.suppress(RuntimeError):
            store.wait(["alasca/said"], timedelta(seconds=10))
    try:
        yield first
    finally:
        if first:
            with contextlib.suppress(RuntimeError):
                store.set("alasca/said", "1")


def lost_another(error: BaseException) -> bool:
    """Whether an error says that another process went away in the midst of a talk."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in text for word in ("gloo", "nccl", "closed by peer"))
    )


def gather_rows(rows: Tensor) -> Tensor:
    """Rows of every process, concatenated by rank: ``[B, ...] -> [W * B, ...]``. Each brings the same number."""
    _, size = world()
    if size == 1:
        return rows
    parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(size)]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in place."""
    if world()[1] > 1:
        dist.all_reduce(tensor)
    return tensor


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any process. Waits for the device where there are several."""
    if world()[1] == 1:
        return flag
    return bool(sum_over_ranks(torch.tensor(float(flag), device=device)).item())


@contextlib.contextmanager
def first_alone() -> Iterator[bool]:
    """Only the first process acts in the block (True), the others wait; where it fails, every process stops.

    Raises:
        Followed: in the other processes, when the first one raised.
    """
    error: BaseException | None = None
    try:
        yield world()[0] == 0
    except Exception as raised:
        error = raised
    failed = any_rank(error is not None, torch.device("cpu"))
    if error is not None:
        raise error
    if failed:
        raise Followed


def from_first(value: float, device: torch.device) -> float:
    """The first process's value, in every process."""
    rank, size = world()
    if size == 1:
        return value
    return float(sum_over_ranks(torch.tensor(value if rank == 0 else 0.0, dtype=torch.float64, device=device)))


def barrier() -> None:
    """Wait for all processes."""
    if world()[1] > 1:
        dist.barrier()


def share(batch_size: int) -> slice:
    """This process's rows of a global batch.

    Raises:
        InputError: where the batch does not divide by the number of processes.

    >>> share(8)
    slice(0, 8, None)
    """
    rank, size = world()
    if batch_size % size:
        raise InputError(f"batch size {batch_size} does not divide by {size} processes: choose a multiple of {size}")
    each = batch_size // size
    return slice(rank * each, (rank + 1) * each)


def broadcast_buffers(nets: Iterable[nn.Module]) -> None:
    """Give every process the first one's buffers (BatchNorm's statistics differ by process between forwards)."""
    if world()[1] > 1:
        for buffer in (buffer for net in nets for buffer in net.buffers()):
            dist.broadcast(buffer, 0)
