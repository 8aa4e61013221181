"""Everything a run is in the middle of, as tensors and JSON values, and back: the ground of exact resume."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from alasca.core import Batch, Method, Phase, Stream, own_tensors, unwrapped
from alasca.errors import InputError
from alasca.stores import Trace


@dataclass
class Position:
    """Where a run stands: `step` micro-batches of `phase` are done; `optimizer_step` counts in the stage."""

    stage: int = 0
    epoch: int = 0
    phase: int = 0
    step: int = 0
    optimizer_step: int = 0


@dataclass
class LoopState:
    """What the loop carries from step to step, beside networks, stores and optimiser.

    `sums` are those that a checkpoint held, for the update to go on with.
    """

    position: Position = field(default_factory=Position)
    phases: list[Phase] | None = None
    sums: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    waited: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_accuracy: float = -1.0
    best_epoch: int = -1

    def keep_best(self, record: Mapping[str, Any], nets: list[nn.Module], method: Method) -> None:
        """Keep what predicts in an epoch whose accuracy on held-out noisy labels is the highest so far."""
        if record.get("val_accuracy", -1.0) > self.best_accuracy:
            self.best_accuracy, self.best_epoch = record["val_accuracy"], record["epoch"]
            tensors = network_tensors(nets) | prefixed("method", own_tensors(method))
            self.best = {name: value.detach().cpu().clone() for name, value in tensors.items()}


def timed(batches: Iterator[dict[str, Batch]], state: LoopState) -> Iterator[dict[str, Batch]]:
    """The same batches, with the time counted that the loop waits for them."""
    while True:
        begun = time.monotonic()
        found = next(batches, None)
        state.waited += time.monotonic() - begun
        if found is None:
            return
        yield found


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under ``prefix/name``."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under ``prefix/``, without it."""
    return {name.removeprefix(prefix + "/"): value for name, value in tensors.items() if name.startswith(prefix + "/")}


def network_tensors(nets: list[nn.Module]) -> dict[str, Tensor]:
    """All networks with their sub-classifiers, by ``k/name``."""
    return {
        name: value
        for k, net in enumerate(nets)
        for name, value in prefixed(str(k), unwrapped(net).state_dict()).items()
    }


def load_networks(nets: list[nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Put networks back, every key used."""
    for k, net in enumerate(nets):
        load_module(unwrapped(net), under(str(k), tensors), f"network {k}")


def best_networks(nets: list[nn.Module], best: Mapping[str, Tensor]) -> list[nn.Module] | None:
    """Copies of the networks with the tensors of the best epoch, or None where none was kept."""
    if not best:
        return None
    copies = [copy.deepcopy(unwrapped(net)) for net in nets]
    load_networks(copies, best)
    return copies


def load_module(module: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Put a module's state back, in place and every key used.

    Raises:
        InputError: names, shapes or types differ.
    """
    require_fitting(tensors, module.state_dict(), name)
    module.load_state_dict(dict(tensors), strict=True)


def require_fitting(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    """Raise `InputError` unless tensors have the names, shapes and types of those whose place they will take."""
    if odd := sorted(found.keys() ^ expected.keys()):
        lacks = "lacks" if odd[0] in expected else "should not have"
        raise InputError(f"checkpoint: {what} does not fit these settings: it {lacks} {odd[0]!r}")
    for name, value in found.items():
        if value.shape != expected[name].shape or value.dtype != expected[name].dtype:
            raise InputError(
                f"checkpoint: {what} does not fit these settings: {name!r} is {value.dtype} {list(value.shape)}, "
                f"expected {expected[name].dtype} {list(expected[name].shape)}"
            )


def pack(state: LoopState, sums: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON values of the loop's own state, and the epoch's sums so far."""
    tensors = prefixed("sums", sums) | prefixed("best", state.best)
    plan: list[dict[str, Any]] | None = None
    if state.phases is not None:
        plan = []
        for k, phase in enumerate(state.phases):
            streams = []
            for name, stream in phase.streams.items():
                for part in ("index", "weight"):
                    value = getattr(stream, part)
                    if value is not None:
                        tensors[f"plan/{k}/{name}/{part}"] = value
                streams.append({
                    "name": name, "views": stream.views, "follows": stream.follows, "draw": stream.draw,
                    "batch": stream.batch,
                })  # fmt: skip
            plan.append({"train": phase.train, "observe": phase.observe, "streams": streams})
    values = {
        "position": asdict(state.position), "plan": plan, "seconds": state.seconds, "waited": state.waited,
        "history": state.history,
        "best_accuracy": state.best_accuracy, "best_epoch": state.best_epoch,
    }  # fmt: skip
    return tensors, values


def unpack(tensors: Mapping[str, Tensor], values: Mapping[str, Any], device: torch.device) -> LoopState:
    """The inverse of `pack`, of what `restored.check_values` has looked through."""
    phases = None
    if values["plan"] is not None:
        phases = [
            Phase(
                tuple(phase["train"]),
                {
                    stream["name"]: Stream(
                        tensors.get(f"plan/{k}/{stream['name']}/index"),
                        tensors.get(f"plan/{k}/{stream['name']}/weight"),
                        tuple(stream["views"]), stream["follows"], stream["draw"], stream["batch"],
                    )
                    for stream in phase["streams"]
                },
                tuple(phase["observe"]),
            )
            for k, phase in enumerate(values["plan"])
        ]  # fmt: skip
    sums = {name: value.to(device) for name, value in under("sums", tensors).items()}
    return LoopState(
        Position(**values["position"]), phases, sums, values["seconds"], values["waited"], values["history"],
        under("best", tensors), values["best_accuracy"], values["best_epoch"],
    )  # fmt: skip


@dataclass(frozen=True)
class Fitted:
    """The outcome: networks (as `select` chose them), per-sample trace, metrics an epoch, the chosen epoch."""

    method: Method
    nets: list[nn.Module]
    trace: Trace
    history: list[dict[str, Any]]
    select: str
    chosen_epoch: int
