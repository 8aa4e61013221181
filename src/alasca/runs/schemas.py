"""What the JSON files of a run hold: every field and its type. Who reads one has it checked against these."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

Count = Annotated[int, {"least": 0}]
Share = Annotated[float | None, {"least": 0}]
Figure = float | None
"""What an epoch's record and a run's final figures may hold beside the fields that all have."""


class Machine(TypedDict):
    """What the bits of a result depend on beside recipe and data."""

    machine: str
    torch: str
    device: str
    threads: Annotated[int, {"least": 1}]
    processes: Annotated[int, {"least": 1}]


class Change(TypedDict):
    """What was changed when a run was resumed."""

    when: str
    was: dict[str, Any]
    now: dict[str, Any]
    recipe_sha256: str


class Arithmetic(TypedDict):
    """How a run's device multiplied numbers."""

    precision: str
    tf32: bool
    autotuner: bool


class Later(TypedDict, total=False):
    """What earlier versions did not write into ``run.json``; `eager_because`: why no step was recorded and replayed."""

    arithmetic: Arithmetic
    eager_because: str | None


class Settings(Later):
    """``run.json``.

    `started_in` is where relative paths lead from; `changes` are those made on resuming, the oldest first, each with
    the digest until then.
    """

    format: int
    alasca: str
    run: str
    created: str
    started_in: str
    title: str
    recipe: dict[str, Any]
    place: dict[str, Any]
    recipe_sha256: str
    data_sha256: str
    classes: list[str]
    train_samples: Count
    val_samples: Count
    test_samples: Count
    noise_rate: Share
    places: list[str]
    notes: list[str]
    reads_files: bool
    machine: Machine
    exact_resume: bool
    from_program: bool
    changes: list[Change]
    sha256: str


class Record(TypedDict):
    """A line of ``metrics.jsonl``; further figures go by their own names."""

    epoch: Count
    stage: Count
    seconds: Annotated[float, {"least": 0}]
    waited: Annotated[float, {"least": 0}]


class Described(TypedDict):
    """``model.json``. `tensors` is the digest of the file beside it."""

    format: int
    run: str
    recipe: dict[str, Any]
    classes: list[str]
    shape: list[Count]
    raw_shape: list[Count]
    channels_last: bool
    transform: dict[str, Any]
    tensors: str
    sha256: str


class Done(TypedDict):
    """``done.json``: final figures, further ones by their own names, and the digests of the run's files."""

    format: int
    run: str
    epochs: Count
    select: str
    chosen_epoch: int
    prediction: str
    seconds_per_epoch: Annotated[float, {"least": 0}]
    label_issues: Count
    label_fixes: Count
    findings: list[str]
    waited: Annotated[float, {"least": 0}]
    noise_rate: Share
    files: dict[str, str]
    sha256: str
