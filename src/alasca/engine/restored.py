"""What a checkpoint must hold before any of it is used: every value and every tensor, by name, type and range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypedDict

import torch
from torch import Tensor

from alasca.core import Stage
from alasca.data.loader import Loader
from alasca.engine.state import LoopState, under
from alasca.errors import InputError
from alasca.runs import check_history
from alasca.values import conform

Count = Annotated[int, {"least": 0}]
PREFIXES = ("net", "method", "trace", "optimizer", "sums", "best", "plan")
"""What names of tensors begin with."""


class PositionValues(TypedDict):
    """See `Position`."""

    stage: Count
    epoch: Count
    phase: Count
    step: Count
    optimizer_step: Count


class StreamValues(TypedDict):
    """See `Stream`; its tensors are kept beside."""

    name: str
    views: list[Literal["plain", "weak", "strong", "randaugment"]]
    follows: str | None
    draw: int
    batch: Annotated[int | None, {"least": 1}]


class PhaseValues(TypedDict):
    """See `Phase`."""

    train: list[Count]
    observe: list[str]
    streams: list[StreamValues]


class Values(TypedDict):
    """All of a checkpoint that is no tensor."""

    position: PositionValues
    plan: list[PhaseValues] | None
    seconds: Annotated[float, {"least": 0}]
    waited: Annotated[float, {"least": 0}]
    history: list[dict[str, Any]]
    best_accuracy: Annotated[float, {"least": -1}]
    best_epoch: Annotated[int, {"least": -1}]
    scaler: dict[str, float]


def check_values(
    tensors: Mapping[str, Tensor], values: Mapping[str, Any], samples: int, networks: int, stages: Sequence[Stage]
) -> None:
    """Look through a checkpoint.

    Args:
        tensors, values: of the checkpoint.
        samples: N.
        networks: of the method.
        stages: of the run.

    Raises:
        InputError: a value that can't be, by name.
    """
    conform(dict(values), Values, "checkpoint")
    check_history(values["history"], "checkpoint: history", "record")
    if odd := [name for name in tensors if name.partition("/")[0] not in PREFIXES]:
        raise InputError(f"checkpoint: {odd[0]!r} is no tensor of it")
    where = values["position"]
    within("position: stage", where["stage"], len(stages) - 1)
    within("position: epoch", where["epoch"], stages[where["stage"]].epochs)
    ended = sum(stage.epochs for stage in stages[: where["stage"]]) + where["epoch"]
    if len(values["history"]) != ended:
        raise InputError(f"checkpoint: history has {len(values['history'])} records, expected {ended}")
    within("best_epoch", values["best_epoch"], ended - 1)
    for name, value in under("sums", tensors).items():
        if value.dim() or not value.is_floating_point():
            raise InputError(f"checkpoint: sums/{name} is {value.dtype} {list(value.shape)}, expected one number")
        if name.endswith("#"):
            continue
        count = float(tensors.get(f"sums/{name}#", -1))
        if not (count > 0 or (count == 0 and float(value) == 0)):  # zeros: of an epoch that has just ended
            raise InputError(f"checkpoint: sums/{name} has no count beside it")
    planned = set()
    for k, phase in enumerate(values["plan"] or ()):
        check_phase(phase, f"checkpoint: plan[{k}]", networks)
        for stream in phase["streams"]:
            planned |= check_stream(tensors, f"plan/{k}/{stream['name']}", samples)
    if odd := [name for name in tensors if name.startswith("plan/") and name not in planned]:
        raise InputError(f"checkpoint: {odd[0]!r} belongs to no stream of the plan")


def check_phase(phase: PhaseValues, where: str, networks: int) -> None:
    """Raise `InputError` for networks and streams that there are none of."""
    names = [stream["name"] for stream in phase["streams"]]
    if not names or len(set(names)) < len(names):
        raise InputError(f"{where}: streams {names}, expected one or more of different names")
    for number in phase["train"]:
        within(f"{where[12:]}: train", number, networks - 1)
    follows = [stream["follows"] for stream in phase["streams"] if stream["follows"] is not None]
    if odd := [name for name in (*phase["observe"], *follows) if name not in names]:
        raise InputError(f"{where}: {odd[0]!r} is none of its streams")
    if any(not stream["views"] for stream in phase["streams"]):
        raise InputError(f"{where}: a stream without views")


def check_stream(tensors: Mapping[str, Tensor], name: str, samples: int) -> set[str]:
    """The names of a stream's tensors, once they are known to be positions of samples and weights of those."""
    index, weight = tensors.get(f"{name}/index"), tensors.get(f"{name}/weight")
    if index is not None:
        if index.dtype != torch.int64 or index.dim() != 1 or not len(index):
            raise InputError(f"checkpoint: {name}/index is {index.dtype} {list(index.shape)}, expected int64 [n]")
        for value in (int(index.min()), int(index.max())):
            within(f"{name}/index", value, samples - 1)
    if weight is not None:
        if index is None or weight.shape != index.shape or not weight.is_floating_point():
            raise InputError(f"checkpoint: {name}/weight is {weight.dtype} {list(weight.shape)}, expected one an index")
        if not bool(weight.isfinite().all()):
            raise InputError(f"checkpoint: {name}/weight is not finite")
    return {f"{name}/{part}" for part, value in (("index", index), ("weight", weight)) if value is not None}


def check_place(state: LoopState, loader: Loader) -> None:
    """Raise `InputError` for a position beyond the epoch's phases and steps."""
    where, phases = state.position, state.phases
    if phases is None:
        within("position: phase", where.phase, 0)
        within("position: step", where.step, 0)
        return
    within("position: phase", where.phase, len(phases) - 1)
    within("position: step", where.step, loader.steps(phases[where.phase]))


def within(what: str, value: int, last: int) -> None:
    """Raise `InputError` for a number below 0 (below -1 for an epoch that there may be none of) or above the last."""
    if not -1 <= value <= last or (value < 0 and what != "best_epoch"):
        raise InputError(f"checkpoint: {what} is {value}, expected at most {last}")
