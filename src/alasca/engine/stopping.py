"""How training ends before its end: a signal, or a loss that is not a number."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import torch
from torch import Tensor, nn

from alasca.data.pictures import STOPPING
from alasca.distributed import any_rank


class Stopped(Exception):
    """Training was asked to stop and can be resumed. `signal` is the signal's number, or 0."""

    def __init__(self, where: str, number: int = 0) -> None:
        super().__init__(where)
        self.signal = number


class Diverged(Exception):
    """The loss is not finite. The message is one line: where, and what to try."""


class StopRequest:
    """Set by the first signal that asks to stop; the second acts as usual."""

    def __init__(self) -> None:
        self.number = 0

    def __bool__(self) -> bool:
        return bool(self.number)


class FiniteWatch:
    """Sees whether losses and networks stay finite, without waiting for the device until asked."""

    def __init__(self, device: torch.device) -> None:
        self.finite = torch.ones((), dtype=torch.bool, device=device)

    def see(self, loss: Tensor) -> None:
        """Look at a step's loss.

        Raises:
            RuntimeError: it is no scalar.
        """
        if loss.dim():
            raise RuntimeError(f"the method's step() gave a loss of shape {tuple(loss.shape)}, expected a scalar")
        self.finite &= loss.detach().isfinite()

    def found(self, nets: Sequence[nn.Module] = ()) -> str | None:
        """What is not finite in any process: ``"loss"``, ``"network"`` or, where all is well, None."""
        values = [value for net in nets for value in net.state_dict().values() if value.is_floating_point()]
        whole = self.finite if not values else torch.stack([value.isfinite().all() for value in values]).all()
        if not any_rank(not bool(self.finite & whole), self.finite.device):
            return None
        return "loss" if any_rank(not bool(self.finite), self.finite.device) else "network"


@contextlib.contextmanager
def stop_on_signals(tell: Callable[[int], None] = lambda number: None) -> Iterator[StopRequest]:
    """Turn SIGINT, SIGTERM and SIGHUP into a request that the loop answers after the step it is in.

    A signal that is ignored stays so: under nohup a run outlives its terminal.

    Args:
        tell: called with the signal's number when it comes; a second one acts as usual.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: handler for number in STOPPING if (handler := signal.getsignal(number)) != signal.SIG_IGN}

    def ask(number: int, frame: FrameType | None) -> None:
        request.number = number
        restore()
        tell(number)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        restore()
